package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) appRegistry() *cobra.Command {
	cmd := &cobra.Command{Use: "registry", Short: "Keep the external registries whose images customers get by their licences",
		Long: `The registry of an integration is reached by customers under HOST/proxy/APP/UPSTREAM, where UPSTREAM is the host of the registry or the
name of the integration, and the image there. Entitlements say which images; without one there are none.`,
		Example: "  ecrin app registry add aws --app my-shop\n  ecrin app registry test aws --image demo-apps/nginx:latest\n" +
			"  ecrin app registry list --app my-shop"}
	test := c.integrationTest()
	c.dataFlag(test)
	cmd.AddCommand(c.appRegistryAdd(), c.appRegistryList(), c.appRegistryRemove(), test)
	return cmd
}

// shared adds the flags of the application with which an integration is shared. The function returns the application, "" for all.
func shared(cmd *cobra.Command) func() (string, error) {
	app := cmd.Flags().String("app", "", "`slug` of the application")
	all := cmd.Flags().Bool("all", false, "all applications of the account, also later ones")
	return func() (string, error) {
		if (*app == "") != *all {
			return "", usageError{errors.New("needed: --app APP or --all")}
		}
		return *app, nil
	}
}

func (c *commands) appRegistryAdd() *cobra.Command {
	var with func() (string, error)
	uncached := false
	cmd := c.vendorCommand("add INTEGRATION", "Let the customers of an application, or of all, get images of the registry of an integration",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			app, err := with()
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.SharedIntegrationResponse
			err = s.Call(ctx, "ShareIntegration", &ecrintypes.ShareIntegrationRequest{AccountId: account, ApplicationSlug: app,
				IntegrationName: args[0], Uncached: &uncached}, &out)
			return out, c.said("customers of %s get images of %s by the integration %s", appOrAll(app), out.Shared.RegistryHost, args[0]), err
		})
	with = shared(cmd)
	cmd.Flags().BoolVar(&uncached, "uncached", false, "pass layers on without storing them")
	cmd.Example = "  ecrin app registry add aws --app my-shop\n  ecrin app registry add hub --all"
	return cmd
}

func appOrAll(app string) string {
	if app == "" {
		return "all applications"
	}
	return app
}

func (c *commands) appRegistryList() *cobra.Command {
	app := ""
	cmd := c.vendorCommand("list", "List the external registries of an application, or of the account",
		func(ctx context.Context, s caller, account string, _ []string) (any, func() error, error) {
			var out ecrintypes.ListSharedIntegrationsResponse
			err := s.Call(ctx, "ListSharedIntegrations", &ecrintypes.ListSharedIntegrationsRequest{AccountId: account, ApplicationSlug: app}, &out)
			rows := [][]string{{"INTEGRATION", "KIND", "REGISTRY", "APP", "LAYERS", "STATE"}}
			for _, one := range out.Integrations {
				layers := "stored"
				if one.Uncached != nil && *one.Uncached {
					layers = "passed on"
				}
				rows = append(rows, []string{one.IntegrationName, string(one.Kind), one.RegistryHost, appOrAll(one.ApplicationSlug), layers,
					testState(one.LastError, one.LastTestedAt)})
			}
			return out, c.tabled(rows, "there are no external registries"), err
		})
	cmd.Flags().StringVar(&app, "app", "", "`slug` of the application (default: how all of the account are shared)")
	return cmd
}

func (c *commands) appRegistryRemove() *cobra.Command {
	var with func() (string, error)
	cmd := c.vendorCommand("remove INTEGRATION", "End what add has begun, from the next pull on",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			app, err := with()
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.UnshareIntegrationResponse
			err = s.Call(ctx, "UnshareIntegration", &ecrintypes.SharedIntegrationRequest{AccountId: account, ApplicationSlug: app,
				IntegrationName: args[0]}, &out)
			return out, c.said("customers of %s get no images by the integration %s any more", appOrAll(app), args[0]), err
		})
	with = shared(cmd)
	return cmd
}
