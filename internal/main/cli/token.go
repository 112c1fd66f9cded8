package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) token() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Short: "List and revoke docker tokens",
		Long: "Docker tokens are the passwords of aws ecr get-login-password; they are valid for 12 hours. A\nrevoked token is refused from the next request on.",
	}
	c.dataFlag(cmd)
	cmd.AddCommand(c.tokenList(), c.tokenRevoke())
	return cmd
}

func (c *commands) tokenList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List tokens that have not expired"}
	account := cmd.Flags().String("account", "", "account (default: the default account)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.ListTokensResponse
		if err := s.Call(cmd.Context(), "ListTokens", &ecrintypes.ListTokensRequest{AccountId: *account}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		rows := [][]string{{"TOKEN", "REGION", "ISSUED", "EXPIRES", "STATE", "PRINCIPAL"}}
		for _, t := range out.Tokens {
			state := "valid"
			if t.RevokedAt != nil {
				state = "revoked"
			}
			rows = append(rows, []string{t.TokenId, t.Region, stamp(t.IssuedAt.Time), stamp(t.ExpiresAt.Time), state, t.PrincipalArn})
		}
		return c.table(rows)
	}
	return cmd
}

func (c *commands) tokenRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke [TOKEN]", Args: atMostOne("TOKEN"), Short: "Revoke one token, or all tokens of an account",
		Example: "  ecrin token revoke 0123456789abcdef\n  ecrin token revoke --all --account 111122223333",
	}
	account := cmd.Flags().String("account", "", "account (default: the default account)")
	all, asJSON := cmd.Flags().Bool("all", false, "revoke all tokens of the account"), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all == (len(args) == 1) {
			return usageError{errOneOf}
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		in := &ecrintypes.RevokeTokenRequest{AccountId: *account, TokenId: first(args)}
		if *all {
			in.All = all
		}
		var out ecrintypes.RevokeTokenResponse
		if err := s.Call(cmd.Context(), "RevokeToken", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		tokens := "tokens"
		if out.Revoked == 1 {
			tokens = "token"
		}
		c.say("revoked %d %s at %s", out.Revoked, tokens, stamp(time.Now()))
		return nil
	}
	return cmd
}
