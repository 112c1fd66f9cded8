package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	images "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// export returns the command that makes a bundle of repositories.
func (c *commands) export() *cobra.Command {
	var f bundleFlags
	cmd := &cobra.Command{
		Use: "export HOST[/REPOSITORY]…", Args: atLeastOne("HOST"), Short: "Make a bundle of repositories, or of a whole registry",
		Long: `Make a bundle of all images with tags in some repositories of a registry, or in all that it lists, with signatures and other referrers.
ecrin import pushes it to another registry, under the same names. The format, and what --have and --part-size do, are those of ecrin bundle.`,
		Example: "  ecrin export localhost:5100 --output all.tar\n  ecrin export localhost:5100/team/app localhost:5100/team/web --output team.tar\n" +
			"  ecrin export registry.example.com --have have.json --output next.tar",
	}
	c.dataFlag(cmd)
	f.add(cmd)
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		hosts, done := c.registries(f.access)
		defer done()
		var r bundle.Request
		for _, arg := range args {
			host, repo, _ := strings.Cut(strings.Trim(strings.TrimPrefix(arg, "https://"), "/"), "/")
			reg, err := hosts(cmd.Context(), host)
			if err != nil {
				return err
			}
			repos := []string{repo}
			if repo == "" {
				if repos, err = reg.Repositories(cmd.Context()); err != nil {
					return fmt.Errorf("listing the repositories of %s: %w", host, err)
				}
			}
			for _, repo := range repos {
				err := reg.Tags(cmd.Context(), repo, "", func(tags []string) error {
					for _, tag := range tags {
						ref, err := images.ParseReference(host + "/" + repo + ":" + tag)
						if err != nil {
							return err
						}
						r.Images = append(r.Images, ref)
					}
					return nil
				})
				if err != nil && !(errors.Is(err, upstream.NotFound) && len(repos) > 1) {
					return fmt.Errorf("listing the tags of %s/%s: %w", host, repo, err)
				}
			}
		}
		if len(r.Images) == 0 {
			return errors.New("there are no images with tags")
		}
		return c.makeBundle(cmd, f, r, nil, *asJSON)
	}
	return cmd
}
