package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const lifecycleHelp = `Say which images of a repository are deleted by themselves, test that, and show it.

A repository can have two documents: a lifecycle policy of ECR, which the aws CLI sets too, and an extension of ecrin, which has
"version": "ecrin-lifecycle-1" and more conditions: the last pull, regular expressions, exclusions, groups of tags, semantic versions.
The rules of the extension are applied first. Policies are evaluated when they are set, a few minutes after a push, and each hour.
Images that they delete can be restored for a while (ecrin image deleted, ecrin image restore). Pinned images are kept.`

func (c *commands) lifecycle() *cobra.Command {
	cmd := &cobra.Command{Use: "lifecycle", Short: "Delete images by rules, and test the rules", Long: lifecycleHelp,
		Example: "  ecrin lifecycle test policy.json team/app\n  ecrin lifecycle put team/app policy.json\n  ecrin lifecycle get team/app"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.lifecyclePut(), c.lifecycleGet(), c.lifecycleDelete(), c.lifecycleTest("test FILE|- REPOSITORY", 2),
		c.lifecycleTest("preview REPOSITORY", 1))
	return cmd
}

// connectToRepository is connectToImage for a repository.
func (c *commands) connectToRepository(cmd *cobra.Command, r *registry, text string) (*client.Client, string, error) {
	s, image, err := c.connectToImage(cmd, r, text)
	if err != nil {
		return nil, "", err
	}
	if image.tag != (name.Tag{}) || image.digest != (name.Digest{}) {
		return nil, "", usageError{fmt.Errorf("want REPOSITORY, got %q", text)}
	}
	return s, image.repo.String(), nil
}

// extensionMember is found in documents of the extension, valid or not, and not in those of ECR.
var extensionMember = lazyregexp.New(`"version"\s*:`)

// documents returns the text of a file as the document that it is.
func (c *commands) documents(cmd *cobra.Command, file string) (policy, extension string, err error) {
	text, err := readPolicy(cmd.InOrStdin(), file)
	if err == nil && extensionMember.MatchString(text) {
		return "", text, nil
	}
	return text, "", err
}

func (c *commands) lifecyclePut() *cobra.Command {
	cmd := &cobra.Command{Use: "put REPOSITORY FILE|-", Args: twoOf("REPOSITORY and FILE"),
		Short:   "Set the lifecycle policy of a repository, or its extension",
		Example: "  ecrin lifecycle put team/app policy.json"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		policy, extension, err := c.documents(cmd, args[1])
		if err != nil {
			return err
		}
		s, repo, err := c.connectToRepository(cmd, reg, args[0])
		if err != nil {
			return err
		}
		var out ecrintypes.LifecycleResponse
		if err := s.Call(cmd.Context(), "PutLifecycle", &ecrintypes.PutLifecycleRequest{RegistryId: reg.account, RepositoryName: repo,
			LifecyclePolicyText: policy, ExtensionText: extension}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		what := "lifecycle policy"
		if extension != "" {
			what = "lifecycle extension"
		}
		c.say("set the %s of %s; ecrin job list --kind lifecycle shows what it does", what, repo)
		return nil
	}
	return cmd
}

func (c *commands) lifecycleGet() *cobra.Command {
	cmd := &cobra.Command{Use: "get REPOSITORY", Args: exactly("REPOSITORY"),
		Short: "Print the lifecycle policy of a repository and its extension"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, repo, err := c.connectToRepository(cmd, reg, args[0])
		if err != nil {
			return err
		}
		var out ecrintypes.LifecycleResponse
		if err := s.Call(cmd.Context(), "GetLifecycle", &ecrintypes.GetLifecycleRequest{RegistryId: reg.account, RepositoryName: repo},
			&out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		for _, text := range []string{out.ExtensionText, out.LifecyclePolicyText} {
			if text != "" {
				fmt.Fprintln(c.Out, strings.TrimSuffix(text, "\n"))
			}
		}
		if out.LastEvaluatedAt != nil {
			c.say("last evaluated %s", stamp(out.LastEvaluatedAt.Time))
		} else {
			c.say("not evaluated yet")
		}
		return nil
	}
	return cmd
}

func (c *commands) lifecycleDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete REPOSITORY", Args: exactly("REPOSITORY"),
		Short: "Delete the lifecycle policy of a repository and its extension"}
	document := cmd.Flags().String("document", "", "only this `document`: policy or extension")
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *document != "" && *document != "policy" && *document != "extension" {
			return usageError{fmt.Errorf("--document must be policy or extension, got %q", *document)}
		}
		s, repo, err := c.connectToRepository(cmd, reg, args[0])
		if err != nil {
			return err
		}
		var out ecrintypes.LifecycleResponse
		if err := s.Call(cmd.Context(), "DeleteLifecycle", &ecrintypes.DeleteLifecycleRequest{RegistryId: reg.account, RepositoryName: repo,
			Document: ecrintypes.LifecycleDocument(strings.ToUpper(*document))}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("deleted: no rule of it acts on images of %s any more", repo)
		return nil
	}
	return cmd
}

// lifecycleTest returns a command that shows what documents would do: a file, or those of the repository.
func (c *commands) lifecycleTest(use string, n int) *cobra.Command {
	cmd := &cobra.Command{Use: use, Args: twoOf("FILE and REPOSITORY"),
		Short: "Show what a document would do with the images of a repository, and why",
		Long: "Show which images a document would delete, with the rule, the reason and the bytes, and which images are kept although a rule\n" +
			"is due for them. Nothing is deleted. The other document of the repository is applied as well, if it has one.",
		Example: "  ecrin lifecycle test policy.json team/app"}
	if n == 1 {
		cmd.Args, cmd.Short = exactly("REPOSITORY"), "Show what the documents of a repository would do now, and why"
		cmd.Long, cmd.Example = "", "  ecrin lifecycle preview team/app"
	}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := &ecrintypes.TestLifecycleRequest{}
		if n == 2 {
			var err error
			if in.LifecyclePolicyText, in.ExtensionText, err = c.documents(cmd, args[0]); err != nil {
				return err
			}
		}
		s, repo, err := c.connectToRepository(cmd, reg, args[n-1])
		if err != nil {
			return err
		}
		in.RegistryId, in.RepositoryName = reg.account, repo
		var out ecrintypes.TestLifecycleResponse
		if err := s.Call(cmd.Context(), "TestLifecycle", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		return c.showLifecycle(out)
	}
	return cmd
}

func (c *commands) showLifecycle(out ecrintypes.TestLifecycleResponse) error {
	if len(out.Results) > 0 {
		rows := [][]string{{"ACTION", "DIGEST", "TAGS", "PUSHED", "SIZE", "WHY"}}
		for _, r := range out.Results {
			action := strings.ToLower(string(r.Action))
			if r.Action == ecrintypes.LifecycleActionNONE {
				action = "keep"
			}
			tags := r.ImageTags
			more := ""
			if len(tags) > 3 {
				tags, more = tags[:3], fmt.Sprintf(" and %d more", len(r.ImageTags)-3)
			}
			rows = append(rows, []string{action, r.ImageDigest, orDash(strings.Join(tags, " ")) + more, stamp(r.ImagePushedAt.Time),
				bytesText(r.ImageSizeInBytes), r.Reason})
		}
		if err := c.table(rows); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s of %s with %s would be deleted", counted(int64(out.ExpiringImages), "image", "images"),
		fmt.Sprint(out.Images), bytesText(out.ExpiringBytes))
	if out.ArchivingImages > 0 {
		text += fmt.Sprintf(", %s with %s archived", counted(int64(out.ArchivingImages), "image", "images"), bytesText(out.ArchivingBytes))
	}
	if out.HeldImages > 0 {
		text += fmt.Sprintf("; %s kept although a rule is due", counted(int64(out.HeldImages), "image is", "images are"))
	}
	c.say("%s", text)
	if out.Truncated {
		c.say("only the %d oldest of them are shown", len(out.Results))
	}
	return nil
}
