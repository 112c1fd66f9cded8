package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/cli/hostcmd"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) consoleSession() *cobra.Command {
	cmd := &cobra.Command{
		Use: "console-session", Short: "List and end the sessions of browsers",
		Long: `A session of a browser begins with a sign-in to the console, and ends after an hour without use, after twelve hours, or here: it is refused
from the next request on. The sessions are those of a user, of a role, or without --user and --role of the root user of the account.`,
		Example: "  ecrin console-session list --user ann\n  ecrin console-session revoke 0123456789abcdef --user ann",
	}
	c.dataFlag(cmd)
	cmd.AddCommand(c.consoleSessionList(), c.consoleSessionRevoke())
	return cmd
}

// signedInFlags adds the flags that say whose sessions they are.
func signedInFlags(cmd *cobra.Command, account, user, role *string) {
	f := cmd.Flags()
	f.StringVar(account, "account", "", "`account`, 12 digits (default: the account of the caller)")
	f.StringVar(user, "user", "", "`name` of the user who has signed in")
	f.StringVar(role, "role", "", "`name` of the role that has signed in, by single sign-on or a switch")
	cmd.MarkFlagsMutuallyExclusive("user", "role")
}

func (c *commands) consoleSessionList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List the sessions of browsers, the last used first"}
	var in ecrintypes.ListConsoleSessionsRequest
	signedInFlags(cmd, &in.AccountId, &in.UserName, &in.RoleName)
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.ListConsoleSessionsResponse
		if err := s.Call(cmd.Context(), "ListConsoleSessions", &in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		if len(out.Sessions) == 0 {
			c.say("there are no sessions of browsers")
			return nil
		}
		rows := [][]string{{"SESSION", "SIGNED IN BY", "BEGAN", "LAST USED", "ENDS", "ADDRESS", "BROWSER"}}
		for _, one := range out.Sessions {
			rows = append(rows, []string{one.SessionId, one.SignedInBy, stamp(one.CreatedAt.Time), stamp(one.LastUsedAt.Time),
				stamp(one.EndsAt.Time), one.SourceIp, orDash(one.UserAgent)})
		}
		return c.table(rows)
	}
	return cmd
}

func (c *commands) consoleSessionRevoke() *cobra.Command {
	cmd := &cobra.Command{Use: "revoke SESSION", Args: exactly("SESSION"), Short: "End a session of a browser at once",
		Example: "  ecrin console-session revoke 0123456789abcdef --user ann"}
	var in ecrintypes.RevokeConsoleSessionRequest
	signedInFlags(cmd, &in.AccountId, &in.UserName, &in.RoleName)
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in.SessionId = args[0]
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.RevokeConsoleSessionResponse
		if err := s.Call(cmd.Context(), "RevokeConsoleSession", &in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("the session %s has ended", in.SessionId)
		return nil
	}
	return cmd
}

// doctorServer returns the command about the machine of the server.
func (c *commands) doctorServer() *cobra.Command {
	cmd := &cobra.Command{Use: "server", Args: cobra.NoArgs, Short: "Show what the server finds on its own machine, also from elsewhere",
		Long: `Show what the checks of "ecrin doctor" find on the machine of the server, which makes them: its space, clock, certificates and names. It starts
no other program. With --url and AWS credentials the server can be anywhere; the caller needs ecrin:DiagnoseServer.`,
		Example: "  ecrin doctor server\n  ecrin doctor server --url https://registry.example.com:5100 --profile admin"}
	c.dataFlag(cmd)
	age := cmd.Flags().Int32("max-age", 0, "`seconds` that earlier results may be old, at most 3600")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.DiagnoseServerResponse
		if err := s.Call(cmd.Context(), "DiagnoseServer", &ecrintypes.DiagnoseServerRequest{MaxAgeSeconds: age}, &out); err != nil {
			return err
		}
		fails := false
		rows := [][]string{{"STATUS", "CHECK", "FOUND", "FIX"}}
		for _, one := range out.Checks {
			fails = fails || one.Status == ecrintypes.DiagnosisStatusFAIL
			rows = append(rows, []string{string(one.Status), one.Name, oneLine(one.Detail), orDash(oneLine(one.Fix))})
		}
		if *asJSON {
			err = c.printJSON(out)
		} else {
			err = c.table(rows)
		}
		if err == nil && fails {
			err = hostcmd.ErrUnhealthy
		}
		return err
	}
	return cmd
}

// oneLine returns a text with its lines in one.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
