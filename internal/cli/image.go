package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/ecrintypes"
)

func (c *commands) image() *cobra.Command {
	cmd := &cobra.Command{
		Use: "image", Short: "Tag history, and images that were deleted",
		Long: "Every move of a tag is kept, and a deleted image can be restored until it is collected.",
	}
	c.dataFlag(cmd)
	cmd.AddCommand(c.imageHistory(), c.imageDeleted(), c.imageRestore())
	return cmd
}

// repoFlags are how the commands on a repository name its account.
func (c *commands) accountFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("account", "", "account of the registry (the default account without it)")
}

func (c *commands) imageHistory() *cobra.Command {
	cmd := &cobra.Command{
		Use: "history REPOSITORY[:TAG]", Args: exactly("REPOSITORY[:TAG]"), Short: "Show who moved tags, when, from and to what",
		Example: "  ecrin image history team/app:latest",
	}
	account, asJSON := c.accountFlag(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect()
		if err != nil {
			return err
		}
		repo, tag, _ := strings.Cut(args[0], ":")
		in := &ecrintypes.ListTagHistoryRequest{RegistryId: *account, RepositoryName: repo, ImageTag: tag}
		moves := []ecrintypes.TagMove{}
		for {
			var out ecrintypes.ListTagHistoryResponse
			if err := s.Call(cmd.Context(), "ListTagHistory", in, &out); err != nil {
				return err
			}
			moves = append(moves, out.Moves...)
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		if *asJSON {
			return c.printJSON(map[string]any{"moves": moves})
		}
		rows := [][]string{{"AT", "TAG", "FROM", "TO", "BY"}}
		for _, m := range moves {
			rows = append(rows, []string{stamp(m.At.Time), m.ImageTag, orDash(m.FromDigest), orDash(m.ToDigest), m.PrincipalArn})
		}
		return c.table(rows)
	}
	return cmd
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (c *commands) imageDeleted() *cobra.Command {
	cmd := &cobra.Command{Use: "deleted REPOSITORY", Args: exactly("REPOSITORY"), Short: "List deleted images that can still be restored"}
	account, asJSON := c.accountFlag(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect()
		if err != nil {
			return err
		}
		var out ecrintypes.ListDeletedImagesResponse
		if err := s.Call(cmd.Context(), "ListDeletedImages", &ecrintypes.ListDeletedImagesRequest{RegistryId: *account, RepositoryName: args[0]}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		rows := [][]string{{"DIGEST", "PUSHED", "DELETED", "BYTES"}}
		for _, i := range out.Images {
			rows = append(rows, []string{i.ImageDigest, stamp(i.ImagePushedAt.Time), stamp(i.DeletedAt.Time), fmt.Sprint(*i.ImageSizeInBytes)})
		}
		return c.table(rows)
	}
	return cmd
}

func (c *commands) imageRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore REPOSITORY@DIGEST", Args: exactly("REPOSITORY@DIGEST"), Short: "Take back the deletion of an image",
		Example: "  ecrin image restore team/app@sha256:… --tag 1.0",
	}
	account := c.accountFlag(cmd)
	tag := cmd.Flags().String("tag", "", "tag to give it (its old tags are in ecrin image history)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		repo, digest, ok := strings.Cut(args[0], "@")
		if !ok {
			return usageError{fmt.Errorf("want REPOSITORY@DIGEST, got %q", args[0])}
		}
		s, err := c.connect()
		if err != nil {
			return err
		}
		var out ecrintypes.RestoreImageResponse
		if err := s.Call(cmd.Context(), "RestoreImage", &ecrintypes.RestoreImageRequest{RegistryId: *account, RepositoryName: repo, ImageDigest: digest, ImageTag: *tag}, &out); err != nil {
			return err
		}
		c.say("restored %s@%s", repo, out.ImageDigest)
		return nil
	}
	return cmd
}
