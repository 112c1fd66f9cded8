package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) explainLicense() *cobra.Command {
	cmd := &cobra.Command{Use: "license APP CUSTOMER IMAGE", Args: func(_ *cobra.Command, args []string) error {
		if len(args) != 3 {
			return usageError{fmt.Errorf("needed: APP, CUSTOMER, IMAGE, got %d arguments", len(args))}
		}
		return nil
	},
		Short: "Say whether a customer may pull an image now, and what to do if not",
		Long: `Look at the links between a customer and an image: is the licence valid, is the image one of the application, is its
registry shared with the application, is it there, does an entitlement allow it, and does the other registry give it. The
first link that is broken ends the list, with the command that mends it. It is decided as for a pull; nothing is pulled.

IMAGE is written as the customer writes it; without a host it is an image of the vendor. CUSTOMER is a name, an id or the vendor's own id.

The exit code is 0 if the customer may pull it, 3 if not, and 1 for an error.`,
		Example: "  ecrin explain license my-shop \"Big Corp\" shop/api:2.0\n" +
			"  ecrin explain license my-shop crm-42 registry.example.com/shop/api:2.0 --json"}
	c.dataFlag(cmd)
	account := cmd.Flags().String("account", "", "`account` of the vendor, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		in := &ecrintypes.ExplainLicenseRequest{AccountId: *account, ApplicationSlug: args[0], Image: args[2]}
		if in.CustomerId, err = customerID(cmd.Context(), s, *account, args[0], args[1]); err != nil {
			return err
		}
		var out ecrintypes.ExplainLicenseResponse
		if err := s.Call(cmd.Context(), "ExplainLicense", in, &out); err != nil {
			return err
		}
		if *asJSON {
			err = c.printJSON(out)
		} else {
			for _, step := range out.Steps {
				c.sayLink(step)
			}
		}
		if err == nil && !out.Allowed {
			err = errDenied
		}
		return err
	}
	return cmd
}

// sayLink prints a step: one line if it passes.
func (c *commands) sayLink(s ecrintypes.LicenseStep) {
	if s.Passed {
		fmt.Fprintf(c.Out, "ok    %-12s %s\n", s.Name, s.Found)
		return
	}
	fmt.Fprintf(c.Out, "FAIL  %-12s %s\n", s.Name, strings.ReplaceAll(s.Problem, "\n", "\n      "))
	if s.Cure != "" {
		fmt.Fprintf(c.Out, "      what to do: %s\n", strings.ReplaceAll(s.Cure, "\n", "\n      "))
	}
}
