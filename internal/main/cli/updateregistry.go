package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
)

const updateRegistryHelp = `Make a version that pulls all images, public ones too, from a registry of your own; --none goes back. The pull secret then has this host
alone.

The images of the installed and of the newest version are copied there first: all platforms with the same digests, signatures and other
referrers. Private ones come from the proxy of the vendor, by the licence. Versions that are downloaded later copy theirs. What is there
already is not sent again, so that a copy that was interrupted goes on when the command is run again. --dry-run shows the sizes.

A registry of ECR is used with a role (--role), a profile or the credentials of the environment, as by the aws CLI; then there is no pull
secret, and the nodes need credentials of their own. A registry without TLS is named with http:// before it: the nodes must be set up
for it too.`

func (c *commands) updateRegistry() *cobra.Command {
	var own ownRegistry
	var none, dryRun bool
	cmd := &cobra.Command{Use: "registry [HOST[/NAMESPACE]]", Args: atMostOne("HOST[/NAMESPACE]"),
		Short: "Pull all images from a registry of your own, to which they are copied", Long: updateRegistryHelp,
		Example: "  ecrin update registry registry.example.com/shop --username shop --password-file password\n" +
			"  ecrin update registry 111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop --role arn:aws:iam::111122223333:role/push --dry-run\n" +
			"  ecrin update registry --none"}
	dir, allow, asJSON := dirFlag(cmd), allowFlag(cmd), c.jsonFlag(cmd)
	f := cmd.Flags()
	own.add(cmd)
	f.BoolVar(&own.NoCopy, "no-copy", false, "copy no images, now and later: they come there by other means")
	f.BoolVar(&dryRun, "dry-run", false, "show what would be copied, with sizes, and change nothing")
	f.BoolVar(&none, "none", false, "pull from the vendor again")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if none == (len(args) == 1) || none && dryRun {
			return usageError{errors.New("HOST or --none is needed")}
		}
		var to *install.Registry
		if !none {
			var err error
			if to, err = own.at(args[0]); err != nil {
				return err
			}
		}
		return c.withInstallation(*dir, *allow, *asJSON, func(i *install.Installation) error {
			if dryRun {
				copied, err := i.PlanRegistry(cmd.Context(), *to)
				if err != nil {
					return err
				}
				return c.showCopies(copied, *asJSON)
			}
			err := i.SetRegistry(cmd.Context(), to)
			c.endProgress(*asJSON)
			if err != nil {
				return err
			}
			return c.newest(i, *asJSON)
		})
	}
	return cmd
}
