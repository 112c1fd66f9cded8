package cli

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/app"
)

func (c *commands) key() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Show and replace the master key"}
	cmd.AddCommand(c.keyShow(), c.keyRotate())
	return cmd
}

func (c *commands) keyShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Args: cobra.NoArgs, Short: "Show the id of the master key",
		Long: `Show the id of the master key, by which backups and the log of the server name it. It says nothing about the key.`,
		Example: `  ecrin key show
  ecrin key show --json`,
	}
	c.dataFlag(cmd)
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		keys, err := identity.LoadKeyring(c.data, c.lookup(identity.MasterKeyVariable, ""), false)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(map[string]any{"masterKey": keys.ID()})
		}
		fmt.Fprintln(c.Out, keys.ID())
		return nil
	}
	return here(cmd, forFiles)
}

const rotateHelp = `Replace the master key: everything that is sealed with it is sealed with a new one, in one transaction. Stop all
servers of the installation first, and start them with the new key afterwards. The command takes about a second for 50,000
access keys, sessions, webhooks and secrets.

The new key is random and in DATA/master.key afterwards; the old one is deleted. Copy the new one to the data
directories of the other servers of a PostgreSQL database, and to the place where you keep it. Keep the old one as
long as you keep backups that were made with it: "ecrin restore" names the key that a backup needs. If the
master key is in ECRIN_MASTER_KEY, give the new one in ECRIN_NEW_MASTER_KEY; no file is written then.

A command that was killed is repeated; a server that starts in its place uses the key that the database has.

Docker passwords and temporary credentials that were issued before stay valid until they expire, by keys that are
sealed with the new master key and kept for 36 hours. --end-tokens ends them all at once. Access keys keep their
secrets: replace them as well (aws iam create-access-key) if somebody had both the old master key and a copy of the database.`

func (c *commands) keyRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate", Args: cobra.NoArgs, Short: "Replace the master key, while all servers are stopped", Long: rotateHelp,
		Example: `  ecrin key rotate --data /var/lib/ecrin
  ecrin key rotate --database postgres://ecrin@db/ecrin --end-tokens`,
	}
	read := c.configFlags(cmd)
	c.urlFlag(cmd) // so that here says why it cannot be used
	end := cmd.Flags().Bool("end-tokens", false, "also end all docker passwords and temporary credentials")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := read()
		if err != nil {
			return err
		}
		r := app.Rotation{Key: c.lookup(identity.NextKeyVariable, ""), Present: c.lookup(identity.MasterKeyVariable, ""), EndTokens: *end,
			Progress: func(table string, values int) { c.say("sealing again %s: %s", table, count(values, "value")) }}
		out, err := app.RotateMasterKey(cmd.Context(), cfg, r)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(map[string]any{"masterKey": out.MasterKey, "before": out.Before, "file": out.File, "values": out.Values,
				"tokensEnded": *end && out.Values != nil})
		}
		n := 0
		for v := range maps.Values(out.Values) {
			n += v
		}
		switch {
		case out.Values == nil:
			c.say("an earlier command has replaced the master key; it is %s", out.MasterKey)
		default:
			c.say("the master key is %s now, and was %s: %s in %s sealed again", out.MasterKey, out.Before, count(n, "value"),
				count(len(slices.Collect(maps.Keys(out.Values))), "table"))
		}
		if out.File != "" {
			c.say("keep a copy of %s in another place, and give it to every server of this database", out.File)
		} else {
			c.say("start every server of this database with the new key in %s", identity.MasterKeyVariable)
		}
		return nil
	}
	return here(cmd, forFiles)
}
