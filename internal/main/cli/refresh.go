package cli

import (
	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/cli/credcmd"
)

func (c *commands) refresh() *cobra.Command {
	cmd := credcmd.NewRefreshCommand(c.credentials())
	cmd.AddCommand(c.refreshKubernetes(), c.refreshRancher())
	return cmd
}
