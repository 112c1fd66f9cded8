package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
)

// dataOnlyFlag adds the flag --data, by which a command finds the server of this machine.
func (c *commands) dataOnlyFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&c.data, "data", c.lookup("ECRIN_DATA", config.Default().Data),
		"data directory of the server (also ECRIN_DATA)")
}

// dataFlag adds the flags by which a command finds the server: --data for its operator, or --url and --profile for a caller with AWS
// credentials.
func (c *commands) dataFlag(cmd *cobra.Command) {
	c.dataOnlyFlag(cmd)
	c.urlFlag(cmd)
	cmd.PersistentFlags().StringVar(&c.source, "profile", "",
		"AWS `profile` whose credentials sign, instead of --data; its endpoint_url is the server without --url")
	completeFlag(cmd, "profile", c.profileNames)
}

func (c *commands) urlFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&c.url, "url", "",
		"`address` of a server on any machine, http(s)://HOST[:PORT], called with AWS credentials instead of --data")
	completeFlag(cmd, "url", func(*cobra.Command) []string { return nil })
}

// completeFlag completes the value of a flag of a command, and of those below it, by what list returns. Files are no values.
func completeFlag(cmd *cobra.Command, flag string, list func(*cobra.Command) []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return list(cmd), cobra.ShellCompDirectiveNoFileComp
	}); err != nil {
		panic("cli: " + err.Error()) // cannot happen: the flag is defined by the caller
	}
}

// remote reports whether the flags name a server that is called with AWS credentials.
func (c *commands) remote() bool { return c.url != "" || c.source != "" }

// connect returns a client of the server that the flags of cmd name: as its operator, or with AWS credentials.
func (c *commands) connect(cmd *cobra.Command) (*client.Client, error) {
	if c.remote() {
		if cmd.Flags().Changed("data") {
			return nil, usageError{errors.New("either --data, or --url and --profile")}
		}
		return client.OpenRemote(cmd.Context(), client.Remote{URL: c.url, Profile: c.source})
	}
	s, err := client.Open(c.data, c.lookup(identity.MasterKeyVariable, ""))
	if address := c.lookup("AWS_ENDPOINT_URL", ""); errors.Is(err, client.ErrNotRunning) && address != "" && !onlyHere(cmd) {
		err = fmt.Errorf("%w; or call the server of AWS_ENDPOINT_URL with AWS credentials: --url %s", err, word(address))
	}
	return s, err
}

// localNote is the key under which the commands that need the data directory of the server have the reason.
const localNote = "local"

// here marks a command that needs the data directory of the server, and tells why.
func here(cmd *cobra.Command, why string) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[localNote] = why
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long += "\n\nThis command needs the data directory of the server (--data), because " + why + "."
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if c, err := cmd.Flags().GetString("url"); err == nil && c != "" || cmd.Flags().Changed("profile") {
			return fmt.Errorf("`%s` needs the data directory of the server, because %s: run it on the machine of the server with --data, without --url and --profile",
				cmd.CommandPath(), why)
		}
		return check(cmd, args)
	}
	return cmd
}

// onlyHere reports whether a command needs the data directory of the server.
func onlyHere(cmd *cobra.Command) bool { return cmd.Annotations[localNote] != "" }

// The reasons of here.
const (
	forOperator = "only the operator of the installation, who has the master key, may do it"
	forFiles    = "it reads and writes the files of the directory"
)
