package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
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
	var r install.Registry
	var password string
	var none, dryRun bool
	cmd := &cobra.Command{Use: "registry [HOST[/NAMESPACE]]", Args: atMostOne("HOST[/NAMESPACE]"),
		Short: "Pull all images from a registry of your own, to which they are copied", Long: updateRegistryHelp,
		Example: "  ecrin update registry registry.example.com/shop --username shop --password-file password\n" +
			"  ecrin update registry 111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop --role arn:aws:iam::111122223333:role/push --dry-run\n" +
			"  ecrin update registry --none"}
	dir, allow, asJSON := dirFlag(cmd), allowFlag(cmd), c.jsonFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&r.Username, "username", "", "user `name` for the registry")
	f.StringVar(&password, "password-file", "", "`file` with the password")
	f.BoolVar(&r.LastSegment, "last-segment", false, "name images by the last part of their path, as older installers do")
	f.StringVar(&r.Role, "role", "", "the registry is one of ECR, used with the IAM role of this `ARN`")
	f.StringVar(&r.ExternalID, "external-id", "", "external `id` for the role")
	f.StringVar(&r.Profile, "profile", "", "`profile` of the aws CLI for a registry of ECR")
	f.StringVar(&r.API, "api", "", "`URL` of the API of a registry of ECR (default: that of AWS or of the environment)")
	f.StringVar(&r.Config, "config", "", "configuration of credentials, a `file` (default: credentials.yaml of the user)")
	f.BoolVar(&r.NoCopy, "no-copy", false, "copy no images, now and later: they come there by other means")
	f.BoolVar(&dryRun, "dry-run", false, "show what would be copied, with sizes, and change nothing")
	f.BoolVar(&none, "none", false, "pull from the vendor again")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if none == (len(args) == 1) || (r.Username == "") != (password == "") || none && dryRun {
			return usageError{errors.New("HOST or --none is needed, and --username and --password-file belong together")}
		}
		to := &r
		if none {
			to = nil
		} else {
			t, l, err := rewrite.ParseTarget(args[0])
			if err != nil {
				return usageError{err}
			}
			r.Host, r.Plain, r.Namespace = t.Host, t.Plain, l.Namespace
		}
		if password != "" {
			text, err := os.ReadFile(password)
			if err != nil {
				return fmt.Errorf("reading the password: %w", err)
			}
			r.Password = strings.TrimRight(string(text), "\r\n")
		}
		return c.withInstallation(*dir, *allow, *asJSON, func(i *install.Installation) error {
			if dryRun {
				copied, err := i.PlanRegistry(cmd.Context(), r)
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
