package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// vendorRun calls a server. It returns the answer, and what prints it for people.
type vendorRun func(ctx context.Context, s caller, account string, args []string) (answer any, show func() error, err error)

// vendorCommand returns a command about what a vendor keeps. The words of use after the first are its arguments; the last one may end in …,
// so that it can be there several times.
func (c *commands) vendorCommand(use, short string, run vendorRun) *cobra.Command {
	words := strings.Fields(use)[1:]
	cmd := &cobra.Command{Use: use, Short: short, Args: func(_ *cobra.Command, args []string) error {
		more := len(words) > 0 && strings.HasSuffix(words[len(words)-1], "…")
		if len(args) == len(words) || more && len(args) > len(words) {
			return nil
		}
		if len(words) == 0 {
			return usageError{fmt.Errorf("there are no arguments, got %d", len(args))}
		}
		return usageError{fmt.Errorf("needed: %s, got %d arguments", strings.Join(words, ", "), len(args))}
	}}
	c.dataFlag(cmd)
	account := cmd.Flags().String("account", "", "`account` of the vendor, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		answer, show, err := run(cmd.Context(), s, *account, args)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(answer)
		}
		return show()
	}
	return cmd
}

// said returns what prints one line.
func (c *commands) said(format string, args ...any) func() error {
	return func() error {
		c.say(format, args...)
		return nil
	}
}

// tabled returns what prints a table, or for one without rows that there is nothing.
func (c *commands) tabled(rows [][]string, none string) func() error {
	return func() error {
		if len(rows) == 1 {
			c.say("%s", none)
			return nil
		}
		return c.table(rows)
	}
}

// detailed returns what prints the pairs with a value.
func (c *commands) detailed(pairs ...[]string) func() error {
	return func() error {
		var rows [][]string
		for _, row := range pairs {
			if row[1] != "" {
				rows = append(rows, row)
			}
		}
		return c.table(rows)
	}
}

func (c *commands) app() *cobra.Command {
	cmd := &cobra.Command{Use: "app", Short: "Keep applications that are shipped to customers",
		Long: `An application is what a vendor ships: it has releases, which are offered on channels, and customers, who have licences. Its slug is part
of what customers pull, and never changes.`,
		Example: "  ecrin app create \"My Shop\"\n  ecrin release init shop --name \"My Shop\" --image localhost:5100/shop/api:1.0\n" +
			"  ecrin release create my-shop shop\n  ecrin release promote my-shop 1 stable --version 1.0.0\n" +
			"  ecrin customer create my-shop \"Big Corp\" --channel stable\n" +
			"  ecrin entitlement add my-shop --customer \"Big Corp\" --repository 'shop/*' --channel stable"}
	cmd.AddCommand(c.appCreate(), c.appList(), c.appShow(), c.appDelete(), c.appRegistry(), c.appFleet(), c.appPulls(), c.appEgress(),
		c.appThreshold(), c.appHost())
	return cmd
}

func (c *commands) appCreate() *cobra.Command {
	var in ecrintypes.CreateApplicationRequest
	cmd := c.vendorCommand("create NAME", "Make an application with the channels Unstable, Beta and Stable",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in.AccountId, in.ApplicationName = account, args[0]
			var out ecrintypes.VendorApplicationResponse
			err := s.Call(ctx, "CreateApplication", &in, &out)
			return out, c.said("made the application %s", out.Application.ApplicationSlug), err
		})
	cmd.Example = "  ecrin app create \"My Shop\" --slug shop"
	cmd.Flags().StringVar(&in.ApplicationSlug, "slug", "", "`slug` in names of images (default: made of the name)")
	return cmd
}

func (c *commands) appList() *cobra.Command {
	return c.vendorCommand("list", "List the applications of an account",
		func(ctx context.Context, s caller, account string, _ []string) (any, func() error, error) {
			var out ecrintypes.DescribeApplicationsResponse
			err := s.Call(ctx, "DescribeApplications", &ecrintypes.DescribeApplicationsRequest{AccountId: account}, &out)
			rows := [][]string{{"SLUG", "NAME", "RELEASES", "CREATED"}}
			for _, a := range out.Applications {
				rows = append(rows, []string{a.ApplicationSlug, a.ApplicationName, fmt.Sprint(a.LastRelease), stamp(a.CreatedAt.Time)})
			}
			return out, c.tabled(rows, "there are no applications"), err
		})
}

func (c *commands) appShow() *cobra.Command {
	return c.vendorCommand("show APP", "Show an application",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			var out ecrintypes.DescribeApplicationsResponse
			err := s.Call(ctx, "DescribeApplications", &ecrintypes.DescribeApplicationsRequest{AccountId: account, ApplicationSlug: args[0]}, &out)
			if err != nil {
				return nil, nil, err
			}
			a := out.Applications[0]
			return a, c.detailed([]string{"SLUG", a.ApplicationSlug}, []string{"NAME", a.ApplicationName}, []string{"ID", a.ApplicationId},
				[]string{"ARN", a.Arn}, []string{"RELEASES", fmt.Sprint(a.LastRelease)}, []string{"CREATED", stamp(a.CreatedAt.Time)},
				[]string{"BY", a.CreatedBy}), nil
		})
}

func (c *commands) appDelete() *cobra.Command {
	force := false
	cmd := c.vendorCommand("delete APP", "Delete an application with its channels, releases and customers",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			var out ecrintypes.VendorApplicationResponse
			err := s.Call(ctx, "DeleteApplication", &ecrintypes.DeleteApplicationRequest{AccountId: account, ApplicationSlug: args[0],
				Force: &force}, &out)
			return out, c.said("deleted the application %s", args[0]), err
		})
	cmd.Flags().BoolVar(&force, "force", false, "although it has customers that are not archived: their licences end")
	return cmd
}

func (c *commands) channel() *cobra.Command {
	cmd := &cobra.Command{Use: "channel", Short: "Keep the channels of applications, on which releases are offered to customers",
		Example: "  ecrin channel create my-shop Nightly\n  ecrin channel update my-shop stable --semver\n  ecrin channel list my-shop"}
	cmd.AddCommand(c.channelCreate(), c.channelList(), c.channelUpdate(), c.channelArchive())
	return cmd
}

func (c *commands) channelCreate() *cobra.Command {
	var in ecrintypes.CreateChannelRequest
	semver := false
	cmd := c.vendorCommand("create APP NAME", "Make a channel",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in.AccountId, in.ApplicationSlug, in.ChannelName, in.SemverRequired = account, args[0], args[1], &semver
			var out ecrintypes.ChannelResponse
			err := s.Call(ctx, "CreateChannel", &in, &out)
			return out, c.said("made the channel %s", out.Channel.ChannelSlug), err
		})
	cmd.Flags().StringVar(&in.Description, "description", "", "`text` for people")
	cmd.Flags().BoolVar(&semver, "semver", false, "versions must be semantic versions, each of one release")
	return cmd
}

func (c *commands) channelList() *cobra.Command {
	return c.vendorCommand("list APP", "List the channels of an application",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			var out ecrintypes.ListChannelsResponse
			err := s.Call(ctx, "ListChannels", &ecrintypes.ListChannelsRequest{AccountId: account, ApplicationSlug: args[0]}, &out)
			rows := [][]string{{"SLUG", "NAME", "VERSIONS", "DEFAULT", "SEMVER", "ID"}}
			for _, one := range out.Channels {
				rows = append(rows, []string{one.ChannelSlug, one.ChannelName, fmt.Sprint(one.LastSequence), fmt.Sprint(one.IsDefault),
					fmt.Sprint(one.SemverRequired), one.ChannelId})
			}
			return out, c.tabled(rows, "there are no channels"), err
		})
}

func (c *commands) channelUpdate() *cobra.Command {
	var in ecrintypes.UpdateChannelRequest
	var description, proxy, registry string
	var semver bool
	var changed func(flag string) bool
	cmd := c.vendorCommand("update APP CHANNEL", "Change a channel; its slug stays",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in.AccountId, in.ApplicationSlug, in.ChannelId = account, args[0], args[1]
			if changed("description") {
				in.Description = &description
			}
			if changed("semver") {
				in.SemverRequired = &semver
			}
			if changed("proxy-domain") {
				in.ProxyDomain = &proxy
			}
			if changed("registry-domain") {
				in.RegistryDomain = &registry
			}
			var out ecrintypes.ChannelResponse
			err := s.Call(ctx, "UpdateChannel", &in, &out)
			return out, c.said("changed the channel %s", out.Channel.ChannelSlug), err
		})
	f := cmd.Flags()
	changed = f.Changed
	f.StringVar(&in.ChannelName, "name", "", "new `name`")
	f.StringVar(&description, "description", "", "`text` for people")
	f.BoolVar(&semver, "semver", false, "whether versions must be semantic versions: --semver=false ends it")
	f.StringVar(&proxy, "proxy-domain", "", "`host` at which customers pull by the proxy what is promoted from now on")
	f.StringVar(&registry, "registry-domain", "", "`host` at which they pull what you have pushed, of what is promoted from now on")
	return cmd
}

func (c *commands) channelArchive() *cobra.Command {
	return c.vendorCommand("archive APP CHANNEL", "Archive a channel that no customer is on: nothing is promoted to it any more",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			var out ecrintypes.ChannelResponse
			err := s.Call(ctx, "ArchiveChannel", &ecrintypes.ChannelRequest{AccountId: account, ApplicationSlug: args[0], ChannelId: args[1]}, &out)
			return out, c.said("archived the channel %s", args[1]), err
		})
}
