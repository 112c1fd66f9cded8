package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) appHost() *cobra.Command {
	cmd := &cobra.Command{Use: "host", Short: "Keep the host names at which customers of an application pull",
		Long: `A host name of an application is one at which its customers pull, by the proxy (HOST/proxy/APP/UPSTREAM) and what the vendor has pushed
(HOST/REPOSITORY). Licences of other applications are refused there. The name must lead to this server, and its certificate must have the name.
An account uses names of the setting application_hosts; the operator can use others.`,
		Example: "  ecrin app host add images.example.com --app my-shop\n  ecrin app host list --app my-shop\n" +
			"  ecrin app host remove images.example.com --app my-shop"}
	cmd.AddCommand(c.appHostAdd(), c.appHostList(), c.appHostRemove())
	return cmd
}

// ofApp adds the flag of the application. The function returns it.
func ofApp(cmd *cobra.Command) func() (string, error) {
	app := cmd.Flags().String("app", "", "`slug` of the application")
	return func() (string, error) {
		if *app == "" {
			return "", usageError{errors.New("needed: --app APP")}
		}
		return *app, nil
	}
}

func (c *commands) appHostAdd() *cobra.Command {
	var with func() (string, error)
	cmd := c.vendorCommand("add HOST", "Give an application a host name, which no other application has",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			app, err := with()
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.ApplicationHostResponse
			err = s.Call(ctx, "PutApplicationHost", &ecrintypes.ApplicationHostRequest{AccountId: account, ApplicationSlug: app,
				Host: args[0]}, &out)
			return out, c.said("customers of %s pull at %s", app, out.Host.Host), err
		})
	with = ofApp(cmd)
	cmd.Example = "  ecrin app host add images.example.com --app my-shop"
	return cmd
}

func (c *commands) appHostList() *cobra.Command {
	var with func() (string, error)
	cmd := c.vendorCommand("list", "List the host names of an application",
		func(ctx context.Context, s caller, account string, _ []string) (any, func() error, error) {
			app, err := with()
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.ListApplicationHostsResponse
			err = s.Call(ctx, "ListApplicationHosts", &ecrintypes.ApplicationRequest{AccountId: account, ApplicationSlug: app}, &out)
			rows := [][]string{{"HOST", "APP", "SINCE", "BY"}}
			for _, h := range out.Hosts {
				rows = append(rows, []string{h.Host, h.ApplicationSlug, h.CreatedAt.UTC().Format("2006-01-02"), h.CreatedBy})
			}
			return out, c.tabled(rows, "the application has no host names of its own"), err
		})
	with = ofApp(cmd)
	return cmd
}

func (c *commands) appHostRemove() *cobra.Command {
	var with func() (string, error)
	cmd := c.vendorCommand("remove HOST", "Take a host name from an application, from the next request on",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			app, err := with()
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.DeleteApplicationHostResponse
			err = s.Call(ctx, "DeleteApplicationHost", &ecrintypes.ApplicationHostRequest{AccountId: account, ApplicationSlug: app,
				Host: args[0]}, &out)
			return out, c.said("%s is no host of %s any more", args[0], app), err
		})
	with = ofApp(cmd)
	return cmd
}
