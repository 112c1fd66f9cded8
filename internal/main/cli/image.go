package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (c *commands) image() *cobra.Command {
	cmd := &cobra.Command{
		Use: "image", Short: "Show the history of tags, copy and pin images, remove tags, restore deleted images",
		Long: "Every move of a tag is recorded, and a deleted image can be restored.\n" +
			"The commands use the default registry, or the one of --account and --region, or of ACCOUNT/REGION/ before the\n" +
			"repository.",
	}
	c.dataFlag(cmd)
	cmd.AddCommand(c.imageHistory(), c.imageDeleted(), c.imageRestore(), c.imageCopy(), c.imagePin(), c.imageUnpin(),
		c.imagePinned(), c.imageUses(), c.imageUntag(), c.imageDelete(), c.imagePulls(), c.imageLayers())
	return cmd
}

// registry holds the flags that select the registry of a repository.
type registry struct{ account, region string }

func registryFlags(cmd *cobra.Command) *registry {
	r := &registry{}
	cmd.Flags().StringVar(&r.account, "account", "", "`account` of the registry (default: the default account)")
	cmd.Flags().StringVar(&r.region, "region", "", "`region` of the registry (default: the default region)")
	return r
}

// connectTo is connect in the region of r: an operation runs in the region of its signature.
func (c *commands) connectTo(cmd *cobra.Command, r *registry) (*client.Client, error) {
	s, err := c.connect(cmd)
	if err != nil {
		return nil, err
	}
	return s, r.enter(s)
}

// enter makes s call in the region of r.
func (r *registry) enter(s *client.Client) error {
	if r.region == "" {
		return nil
	}
	if _, err := name.ParseRegion(r.region); err != nil {
		return errors.New(fault.From(err).Public)
	}
	s.Server.Region = r.region
	return nil
}

// connectToImage is connect in the region of the image that text names. If text names a registry, r is set to it.
// Errors: usageError (r is another registry), the reason why text is not an image reference.
func (c *commands) connectToImage(cmd *cobra.Command, r *registry, text string) (*client.Client, image, error) {
	s, err := c.connect(cmd)
	if err != nil {
		return nil, image{}, err
	}
	i, err := parseImage(s, text)
	if err != nil {
		return nil, image{}, err
	}
	if i.named {
		account, region := i.registry.Account.String(), i.registry.Region.String()
		if r.account != "" && r.account != account || r.region != "" && r.region != region {
			return nil, image{}, usageError{fmt.Errorf("%s is in the registry %s: leave out --account and --region", text, i.registry)}
		}
		r.account, r.region = account, region
	}
	return s, i, r.enter(s)
}

func (c *commands) imageHistory() *cobra.Command {
	cmd := &cobra.Command{
		Use: "history REPOSITORY[:TAG]", Args: exactly("REPOSITORY[:TAG]"), Short: "List the moves of tags: time, images and principal",
		Example: "  ecrin image history team/app:latest",
	}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		if image.digest != (name.Digest{}) {
			return usageError{fmt.Errorf("want REPOSITORY[:TAG], got %q", args[0])}
		}
		in := &ecrintypes.ListTagHistoryRequest{RegistryId: reg.account, RepositoryName: image.repo.String(), ImageTag: image.tag.String()}
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
		if len(moves) == 0 {
			c.say("no tag of %s has ever been set", args[0])
			return nil
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
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		if image.tag != (name.Tag{}) || image.digest != (name.Digest{}) {
			return usageError{fmt.Errorf("want REPOSITORY, got %q", args[0])}
		}
		in := &ecrintypes.ListDeletedImagesRequest{RegistryId: reg.account, RepositoryName: image.repo.String()}
		var out ecrintypes.ListDeletedImagesResponse
		if err := s.Call(cmd.Context(), "ListDeletedImages", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		if len(out.Images) == 0 {
			c.say("no image of %s is deleted", args[0])
			return nil
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
		Use: "restore REPOSITORY@DIGEST", Args: exactly("REPOSITORY@DIGEST"), Short: "Restore a deleted image",
		Example: "  ecrin image restore team/app@sha256:… --tag 1.0",
	}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	tag := cmd.Flags().String("tag", "", "`tag` of the restored image (ecrin image history lists its old tags)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !strings.Contains(args[0], "@") {
			return usageError{fmt.Errorf("want REPOSITORY@DIGEST, got %q", args[0])}
		}
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		if image.tag != (name.Tag{}) {
			return usageError{fmt.Errorf("want REPOSITORY@DIGEST, got %q", args[0])}
		}
		in := &ecrintypes.RestoreImageRequest{
			RegistryId: reg.account, RepositoryName: image.repo.String(), ImageDigest: image.digest.String(), ImageTag: *tag,
		}
		var out ecrintypes.RestoreImageResponse
		if err := s.Call(cmd.Context(), "RestoreImage", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		as := "without a tag"
		if *tag != "" {
			as = "as " + *tag
		}
		c.say("restored %s@%s %s", image.repo, out.ImageDigest, as)
		return nil
	}
	return cmd
}

func (c *commands) imageDelete() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete REPOSITORY:TAG|REPOSITORY@DIGEST", Args: exactly("image"),
		Short: "Delete a tag and with the last one its image, or an image with all its tags",
		Long: `Delete a tag, and with the last one its image; or with a digest an image and all its tags. A deleted image can be
restored until it is collected.

What a customer of a vendor may pull is not deleted: the refusal names the customers. With --force it is.`,
		Example: "  ecrin image delete team/app:1.0\n  ecrin image delete shop/api:1.0 --force",
	}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	force := cmd.Flags().Bool("force", false, "also if customers may pull it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		if (image.tag == (name.Tag{})) == (image.digest == (name.Digest{})) {
			return usageError{fmt.Errorf("want REPOSITORY:TAG or REPOSITORY@DIGEST, got %q", args[0])}
		}
		in := &ecrintypes.DeleteImageRequest{RegistryId: reg.account, RepositoryName: image.repo.String(), ImageTag: image.tag.String(),
			Force: force}
		if image.digest != (name.Digest{}) {
			in.ImageDigest = image.digest.String()
		}
		var out ecrintypes.DeleteImageResponse
		if err := s.Call(cmd.Context(), "DeleteImage", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("deleted %s (%s@%s)", args[0], image.repo, out.ImageDigest)
		return nil
	}
	return cmd
}

func (c *commands) imageUntag() *cobra.Command {
	cmd := &cobra.Command{
		Use: "untag REPOSITORY:TAG", Args: exactly("REPOSITORY:TAG"), Short: "Remove a tag; its image stays, also if it has no other tag",
		Example: "  ecrin image untag team/app:1.0",
	}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		if image.tag == (name.Tag{}) || image.digest != (name.Digest{}) {
			return usageError{fmt.Errorf("want REPOSITORY:TAG, got %q", args[0])}
		}
		in := &ecrintypes.UntagImageRequest{RegistryId: reg.account, RepositoryName: image.repo.String(), ImageTag: image.tag.String()}
		var out ecrintypes.UntagImageResponse
		if err := s.Call(cmd.Context(), "UntagImage", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("removed the tag %s from %s@%s", out.ImageTag, image.repo, out.ImageDigest)
		return nil
	}
	return cmd
}
