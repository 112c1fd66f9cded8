package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const webhookHelp = `Send the events of a registry to a URL: pushed and deleted images, repositories, policies (see ecrin events).

Each event is one POST with its JSON. The header Ecrin-Signature has the time and the HMAC-SHA256 of time, dot and body, with the secret that
ecrin webhook add prints once. An answer with a status of 200 to 299 means that the event was received; otherwise it is sent again, for a
day, and can be sent again by hand after that (ecrin webhook deliveries, ecrin webhook redeliver). Events of one image arrive in their order,
each at least once: a receiver remembers the id of the event.

Private addresses need the setting egress_allow of the server.`

func (c *commands) webhook() *cobra.Command {
	cmd := &cobra.Command{Use: "webhook", Short: "Send events to a URL", Long: webhookHelp,
		Example: "  ecrin webhook add deploy https://ci.example.com/hooks/ecrin --pattern pushes.json\n  ecrin webhook test deploy\n" +
			"  ecrin webhook deliveries deploy"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.webhookAdd(), c.webhookList(), c.webhookUpdate(), c.webhookDelete(), c.webhookTest(), c.webhookURL(), c.webhookTry(),
		c.webhookDeliveries(), c.webhookRedeliver())
	return cmd
}

func (c *commands) webhookAdd() *cobra.Command {
	cmd := &cobra.Command{Use: "add NAME URL", Args: two("NAME", "URL"), Short: "Add a webhook, and print the secret that signs its events"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	pattern := cmd.Flags().String("pattern", "", "only events that match the event pattern in this `file`, - for standard input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := &ecrintypes.CreateWebhookRequest{WebhookName: args[0], WebhookUrl: args[1]}
		var err error
		if in.Pattern, err = patternIn(cmd, *pattern); err != nil {
			return err
		}
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in.RegistryId = reg.account
		var out ecrintypes.CreateWebhookResponse
		if err := s.Call(cmd.Context(), "CreateWebhook", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("the webhook %s gets the events from now on; its secret is not shown again", args[0])
		_, err = fmt.Fprintln(c.Out, out.Secret)
		return err
	}
	return cmd
}

func (c *commands) webhookList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List webhooks and how their last attempt ended"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in := &ecrintypes.ListWebhooksRequest{RegistryId: reg.account}
		all := ecrintypes.ListWebhooksResponse{Webhooks: []ecrintypes.Webhook{}}
		for {
			var out ecrintypes.ListWebhooksResponse
			if err := s.Call(cmd.Context(), "ListWebhooks", in, &out); err != nil {
				return err
			}
			all.Webhooks = append(all.Webhooks, out.Webhooks...)
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		if *asJSON {
			return c.printJSON(all)
		}
		if len(all.Webhooks) == 0 {
			c.say("the registry has no webhook")
			return nil
		}
		rows := [][]string{{"NAME", "HOST", "RECEIVED", "STATE"}}
		for _, w := range all.Webhooks {
			rows = append(rows, []string{w.WebhookName, w.Host, fmt.Sprint(w.Delivered), webhookState(w)})
		}
		return c.table(rows)
	}
	return cmd
}

// webhookState returns how a webhook is, for people.
func webhookState(w ecrintypes.Webhook) string {
	switch {
	case !w.Enabled:
		return "disabled"
	case w.LastError != "" && w.PausedUntil != nil:
		return w.LastError + ", again " + stamp(w.PausedUntil.Time)
	case w.LastError != "":
		return w.LastError
	case w.LastAttemptAt == nil:
		return "no event yet"
	}
	return "ok, " + stamp(w.LastAttemptAt.Time)
}

func (c *commands) webhookUpdate() *cobra.Command {
	cmd := &cobra.Command{Use: "update NAME", Args: exactly("NAME"), Short: "Change a webhook, and end its pause after failures",
		Example: "  ecrin webhook update deploy --new-secret\n  ecrin webhook update deploy --disable"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	f := cmd.Flags()
	url := f.String("url", "", "send events to this `URL`")
	pattern := f.String("pattern", "", "only events that match the event pattern in this `file`, - for standard input")
	all := f.Bool("all-events", false, "send all events, without a pattern")
	enable, disable := f.Bool("enable", false, "send events from now on"), f.Bool("disable", false, "send no events")
	fresh := f.Bool("new-secret", false, "make a new secret, and print it; the present one also signs for a day")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *enable && *disable || *all && *pattern != "" {
			return usageError{errors.New("--enable and --disable, or --pattern and --all-events, exclude each other")}
		}
		in := &ecrintypes.UpdateWebhookRequest{WebhookName: args[0], WebhookUrl: *url}
		var err error
		if in.Pattern, err = patternIn(cmd, *pattern); err != nil {
			return err
		}
		if *enable || *disable {
			in.Enabled = enable
		}
		if *all {
			in.AllEvents = all
		}
		if *fresh {
			in.NewSecret = fresh
		}
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in.RegistryId = reg.account
		var out ecrintypes.UpdateWebhookResponse
		if err := s.Call(cmd.Context(), "UpdateWebhook", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("the webhook %s was changed", args[0])
		if out.Secret != "" {
			_, err = fmt.Fprintln(c.Out, out.Secret)
		}
		return err
	}
	return cmd
}

func (c *commands) webhookDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Args: exactly("NAME"), Short: "Delete a webhook, and what it has not received"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		var out ecrintypes.DeleteWebhookResponse
		in := &ecrintypes.WebhookRequest{RegistryId: reg.account, WebhookName: args[0]}
		if err := s.Call(cmd.Context(), "DeleteWebhook", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("the webhook %s was deleted", args[0])
		return nil
	}
	return cmd
}

func (c *commands) webhookTest() *cobra.Command {
	cmd := &cobra.Command{Use: "test NAME", Args: exactly("NAME"), Short: "Send a test event now, and print the status of the answer"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		var out ecrintypes.TestWebhookResponse
		in := &ecrintypes.WebhookRequest{RegistryId: reg.account, WebhookName: args[0]}
		if err := s.Call(cmd.Context(), "TestWebhook", in, &out); err != nil {
			return err
		}
		return c.showTest(out, *asJSON)
	}
	return cmd
}

// showTest prints the answer to a test event. Without one it is an error.
func (c *commands) showTest(out ecrintypes.TestWebhookResponse, asJSON bool) error {
	if asJSON {
		return c.printJSON(out)
	}
	if !out.Received {
		return errors.New(out.Error)
	}
	c.say("the receiver answered %d after %d ms", *out.Status, out.Milliseconds)
	return nil
}

func (c *commands) webhookDeliveries() *cobra.Command {
	cmd := &cobra.Command{Use: "deliveries NAME", Args: exactly("NAME"),
		Short:   "List the events that a webhook has not received, the last one first",
		Example: "  ecrin webhook deliveries deploy\n  ecrin webhook deliveries deploy --waiting"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	waiting := cmd.Flags().Bool("waiting", false, "those that will be sent again (default: those that were given up)")
	limit := cmd.Flags().Int("limit", 100, "at most this `number` of events")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *limit < 1 {
			return usageError{fmt.Errorf("--limit is a number from 1 on, got %d", *limit)}
		}
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in := &ecrintypes.ListWebhookDeliveriesRequest{RegistryId: reg.account, WebhookName: args[0], State: "DEAD"}
		if *waiting {
			in.State = "WAITING"
		}
		all := ecrintypes.ListWebhookDeliveriesResponse{Deliveries: []ecrintypes.Delivery{}}
		for {
			page := int32(min(*limit-len(all.Deliveries), 1000))
			in.MaxResults = &page
			var out ecrintypes.ListWebhookDeliveriesResponse
			if err := s.Call(cmd.Context(), "ListWebhookDeliveries", in, &out); err != nil {
				return err
			}
			all.Deliveries = append(all.Deliveries, out.Deliveries...)
			if in.NextToken = out.NextToken; in.NextToken == "" || len(all.Deliveries) >= *limit {
				break
			}
		}
		if *asJSON {
			return c.printJSON(all)
		}
		if len(all.Deliveries) == 0 {
			c.say("there is no such event: the webhook has received the others")
			return nil
		}
		rows := [][]string{{"ID", "ATTEMPTS", "ERROR", "EVENT"}}
		for _, d := range all.Deliveries {
			rows = append(rows, []string{d.DeliveryId, fmt.Sprint(d.Attempts), orDash(d.LastError), eventText(d.Event)})
		}
		return c.table(rows)
	}
	return cmd
}

func (c *commands) webhookRedeliver() *cobra.Command {
	cmd := &cobra.Command{Use: "redeliver NAME ID", Args: two("NAME", "ID"), Short: "Send an event again that was given up",
		Example: "  ecrin webhook redeliver deploy 1867349023457280001"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in := &ecrintypes.RedeliverWebhookRequest{RegistryId: reg.account, WebhookName: args[0], DeliveryId: args[1]}
		var out ecrintypes.RedeliverWebhookResponse
		if err := s.Call(cmd.Context(), "RedeliverWebhook", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("the event %s is sent again", args[1])
		return nil
	}
	return cmd
}

// two makes a command accept two arguments.
func two(first, second string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 2 {
			return usageError{fmt.Errorf("%s and %s are needed, got %d arguments", first, second, len(args))}
		}
		return nil
	}
}
