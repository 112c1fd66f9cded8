package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) appFleet() *cobra.Command {
	behind := false
	cmd := c.vendorCommand("fleet APP", "List the installations of customers: what each runs, and which are behind",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.ListInstancesRequest{AccountId: account, ApplicationSlug: args[0]}
			all := ecrintypes.ListInstancesResponse{Instances: []ecrintypes.VendorInstance{}}
			rows := [][]string{{"CUSTOMER", "INSTANCE", "CLUSTER", "CHANNEL", "VERSION", "BEHIND", "NEWEST", "PULLED", "STATUS", "SEEN"}}
			for {
				var out ecrintypes.ListInstancesResponse
				if err := s.Call(ctx, "ListInstances", in, &out); err != nil {
					return nil, nil, err
				}
				for _, i := range out.Instances {
					if behind && i.VersionsBehind == 0 {
						continue
					}
					all.Instances = append(all.Instances, i)
					version := i.VersionLabel
					if version == "" {
						version = "-"
					}
					rows = append(rows, []string{i.CustomerName, orDash(i.InstanceId), orDash(i.ClusterId), orDash(i.ChannelSlug), version,
						fmt.Sprint(i.VersionsBehind), i.NewestVersion, orDash(i.PulledVersion), orDash(i.Status), stamp(i.LastSeenAt.Time)})
				}
				if in.NextToken = out.NextToken; in.NextToken == "" {
					return all, c.tabled(rows, "no installation was seen"), nil
				}
			}
		})
	cmd.Example = "  ecrin app fleet shop\n  ecrin app fleet shop --behind --json"
	cmd.Flags().BoolVar(&behind, "behind", false, "only installations that do not run the newest version that they are offered")
	return cmd
}
