package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (c *commands) imagePin() *cobra.Command {
	cmd := &cobra.Command{Use: "pin REPOSITORY:TAG|REPOSITORY@DIGEST", Args: exactly("IMAGE"),
		Short:   "Keep an image from all lifecycle policies",
		Long:    "Keep an image from all lifecycle policies until it is unpinned. Its tags can move, and clients can delete it.",
		Example: "  ecrin image pin team/app:1.0 --reason 'runs at a customer'"}
	reason := cmd.Flags().String("reason", "", "`text` that ecrin image pinned shows, at most 256 characters")
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		in := &ecrintypes.PinImageRequest{RegistryId: reg.account, RepositoryName: image.repo.String(), Reason: *reason}
		if in.ImageTag, in.ImageDigest, err = tagOrDigest(image, args[0]); err != nil {
			return err
		}
		var out ecrintypes.PinImageResponse
		if err := s.Call(cmd.Context(), "PinImage", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out.Image)
		}
		c.say("pinned %s@%s", image.repo, out.Image.ImageDigest)
		return nil
	}
	return cmd
}

// tagOrDigest returns the digest of an image reference, or its tag if it has no digest.
func tagOrDigest(i image, text string) (tag, digest string, err error) {
	switch {
	case i.digest != (name.Digest{}):
		return "", i.digest.String(), nil
	case i.tag != (name.Tag{}):
		return i.tag.String(), "", nil
	}
	return "", "", usageError{fmt.Errorf("want REPOSITORY:TAG or REPOSITORY@DIGEST, got %q", text)}
}

func (c *commands) imageUnpin() *cobra.Command {
	cmd := &cobra.Command{Use: "unpin REPOSITORY:TAG|REPOSITORY@DIGEST", Args: exactly("IMAGE"),
		Short: "Let lifecycle policies act on an image again"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		in := &ecrintypes.UnpinImageRequest{RegistryId: reg.account, RepositoryName: image.repo.String()}
		if in.ImageTag, in.ImageDigest, err = tagOrDigest(image, args[0]); err != nil {
			return err
		}
		var out ecrintypes.UnpinImageResponse
		if err := s.Call(cmd.Context(), "UnpinImage", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("unpinned %s@%s", image.repo, out.ImageDigest)
		return nil
	}
	return cmd
}

func (c *commands) imagePinned() *cobra.Command {
	cmd := &cobra.Command{Use: "pinned REPOSITORY", Args: exactly("REPOSITORY"), Short: "List pinned images"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, repo, err := c.connectToRepository(cmd, reg, args[0])
		if err != nil {
			return err
		}
		in := &ecrintypes.ListPinnedImagesRequest{RegistryId: reg.account, RepositoryName: repo}
		all := ecrintypes.ListPinnedImagesResponse{Images: []ecrintypes.PinnedImage{}}
		for {
			var out ecrintypes.ListPinnedImagesResponse
			if err := s.Call(cmd.Context(), "ListPinnedImages", in, &out); err != nil {
				return err
			}
			all.Images = append(all.Images, out.Images...)
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		if *asJSON {
			return c.printJSON(all)
		}
		if len(all.Images) == 0 {
			c.say("no image of %s is pinned", repo)
			return nil
		}
		rows := [][]string{{"DIGEST", "PINNED", "BY", "REASON"}}
		for _, p := range all.Images {
			rows = append(rows, []string{p.ImageDigest, stamp(p.PinnedAt.Time), p.PrincipalArn, orDash(p.Reason)})
		}
		return c.table(rows)
	}
	return cmd
}

func (c *commands) imageUses() *cobra.Command {
	cmd := &cobra.Command{Use: "uses REPOSITORY:TAG|REPOSITORY@DIGEST", Args: exactly("IMAGE"),
		Short: "List what runs an image, as pipelines and clusters report it",
		Long: "List what runs an image now: applications with their namespaces, as pipelines and clusters have reported it, each with the time until " +
			"which that counts. While an image is in use, no lifecycle policy acts on it."}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		in := &ecrintypes.ListImageUsesRequest{RegistryId: reg.account, RepositoryName: image.repo.String()}
		if in.ImageTag, in.ImageDigest, err = tagOrDigest(image, args[0]); err != nil {
			return err
		}
		all := ecrintypes.ListImageUsesResponse{Uses: []ecrintypes.ImageUse{}}
		for {
			var out ecrintypes.ListImageUsesResponse
			if err := s.Call(cmd.Context(), "ListImageUses", in, &out); err != nil {
				return err
			}
			all.Uses = append(all.Uses, out.Uses...)
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		if *asJSON {
			return c.printJSON(all)
		}
		if len(all.Uses) == 0 {
			c.say("nothing that was reported runs %s", args[0])
			return nil
		}
		rows := [][]string{{"USED BY", "UNTIL"}}
		for _, u := range all.Uses {
			rows = append(rows, []string{u.UsedBy, stamp(u.Until.Time)})
		}
		return c.table(rows)
	}
	return cmd
}
