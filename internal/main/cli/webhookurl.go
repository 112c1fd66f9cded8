package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) webhookURL() *cobra.Command {
	cmd := &cobra.Command{Use: "url NAME", Args: exactly("NAME"), Short: "Print the URL of a webhook, which no other command shows",
		Long:    "Print the URL of a webhook. It is often a secret, so that this is a permission of its own: ecrin:GetWebhookUrl.",
		Example: "  ecrin webhook url deploy"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		var out ecrintypes.GetWebhookUrlResponse
		in := &ecrintypes.WebhookRequest{RegistryId: reg.account, WebhookName: args[0]}
		if err := s.Call(cmd.Context(), "GetWebhookUrl", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		_, err = fmt.Fprintln(c.Out, out.WebhookUrl)
		return err
	}
	return cmd
}

func (c *commands) webhookTry() *cobra.Command {
	cmd := &cobra.Command{Use: "try URL", Args: exactly("URL"), Short: "Send a test event to a URL that is that of no webhook yet",
		Example: "  ecrin webhook try https://ci.example.com/hooks/ecrin"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		var out ecrintypes.TestWebhookResponse
		in := &ecrintypes.TryWebhookUrlRequest{RegistryId: reg.account, WebhookUrl: args[0]}
		if err := s.Call(cmd.Context(), "TryWebhookUrl", in, &out); err != nil {
			return err
		}
		return c.showTest(out, *asJSON)
	}
	return cmd
}
