package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) appFleet() *cobra.Command {
	behind := false
	cmd := c.vendorCommand("fleet APP", "List the installations of customers: what each runs, and which are behind",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.ListInstancesRequest{AccountId: account, ApplicationSlug: args[0], Reported: new(true)}
			all := ecrintypes.ListInstancesResponse{Instances: []ecrintypes.VendorInstance{}}
			rows := [][]string{{"CUSTOMER", "INSTANCE", "CLUSTER", "CHANNEL", "VERSION", "BEHIND", "NEWEST", "PULLED", "STATUS", "SEEN"}}
			for {
				var out ecrintypes.ListInstancesResponse
				err := s.Call(ctx, "ListInstances", in, &out)
				if denied := (*client.Error)(nil); in.Reported != nil && errors.As(err, &denied) && denied.Name == "AccessDeniedException" {
					c.say("without what is reported to run, which needs ecrin:ListDeployments")
					in.Reported = nil
					err = s.Call(ctx, "ListInstances", in, &out)
				}
				if err != nil {
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
				for _, r := range out.RunningImages {
					if !behind || r.VersionsBehind == nil || *r.VersionsBehind > 0 {
						all.RunningImages = append(all.RunningImages, r)
					}
				}
				if out.RunningLeftOut != nil {
					all.RunningLeftOut = out.RunningLeftOut
				}
				if in.NextToken = out.NextToken; in.NextToken == "" {
					return all, func() error {
						if err := c.tabled(rows, "no installation was seen")(); err != nil {
							return err
						}
						return c.running(all)
					}, nil
				}
			}
		})
	cmd.Example = "  ecrin app fleet shop\n  ecrin app fleet shop --behind --json"
	cmd.Flags().BoolVar(&behind, "behind", false, "only installations that do not run the newest version that they are offered")
	return cmd
}

// running prints what the clusters of the vendor are reported to run.
func (c *commands) running(all ecrintypes.ListInstancesResponse) error {
	if len(all.RunningImages) == 0 {
		return nil
	}
	c.say("images that are reported to run (ecrin report watch):")
	rows := [][]string{{"ENVIRONMENT", "APPLICATION", "IMAGE", "DIGEST", "VERSIONS", "BEHIND", "NEWEST", "REPORTED"}}
	for _, r := range all.RunningImages {
		var versions []string
		for _, v := range r.Versions {
			one := v.ChannelSlug + " " + v.VersionLabel
			if v.ByTag != nil {
				one += " (by tag)"
			}
			versions = append(versions, one)
		}
		if r.VersionsLeftOut != nil {
			versions = append(versions, fmt.Sprintf("%d more", *r.VersionsLeftOut))
		}
		behind := "-"
		if r.VersionsBehind != nil {
			behind = fmt.Sprint(*r.VersionsBehind)
		}
		rows = append(rows, []string{orDash(r.Environment), r.ApplicationName, r.Image, shortDigest(r.ImageDigest),
			orDash(strings.Join(versions, ", ")), behind, orDash(r.NewestVersion), stamp(r.ReportedAt.Time)})
	}
	if all.RunningLeftOut != nil {
		c.say("%d more are left out", *all.RunningLeftOut)
	}
	return c.table(rows)
}
