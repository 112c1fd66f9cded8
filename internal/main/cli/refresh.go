package cli

import (
	"github.com/spf13/cobra"
)

func (c *commands) refresh() *cobra.Command {
	cmd := &cobra.Command{Use: "refresh", Short: "Keep registry credentials of other programs fresh",
		Long: `Tokens of ECR and ecrin live 12 hours. These commands get new ones at half of that time, and write them where other programs read them.
They work with any registry of ECR or ecrin, and use the environment and the profiles of the aws CLI.`}
	cmd.AddCommand(c.refreshKubernetes())
	return cmd
}
