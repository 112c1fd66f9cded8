package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const imageCopyHelp = `Copy an image to another repository of the server, also of another region or account, with the images of an
index. No bytes are moved: the copy is there at once, whatever its size.

The caller needs the permissions to pull the image and to push it under its new tags. Without a tag in DESTINATION the copy gets the
tag of SOURCE; a source that is named by its digest is copied without a tag.`

func sourceAndDestination(_ *cobra.Command, args []string) error {
	if len(args) != 2 {
		return usageError{fmt.Errorf("a SOURCE and a DESTINATION are needed, got %d arguments", len(args))}
	}
	return nil
}

func (c *commands) imageCopy() *cobra.Command {
	cmd := &cobra.Command{
		Use: "copy SOURCE DESTINATION", Args: sourceAndDestination, Long: imageCopyHelp,
		Short: "Copy an image to another repository, region or account, without moving bytes",
		Example: "  ecrin image copy staging/app:1.4 production/app\n" +
			"  ecrin image copy team/app:1.4 111122223333/eu-west-1/team/app:stable --tag 1.4",
	}
	tags := cmd.Flags().StringArray("tag", nil, "a further `tag` of the copy; may be repeated")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		reg := &registry{}
		s, from, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		if from.tag == (name.Tag{}) && from.digest == (name.Digest{}) {
			return usageError{fmt.Errorf("SOURCE is REPOSITORY:TAG or REPOSITORY@DIGEST, got %q", args[0])}
		}
		to, err := parseImage(s, args[1])
		if err != nil {
			return err
		}
		if to.digest != (name.Digest{}) {
			return usageError{fmt.Errorf("DESTINATION is REPOSITORY[:TAG], because the digest of a copy is that of its source; got %q", args[1])}
		}
		in := &ecrintypes.CopyImageRequest{
			RegistryId: reg.account, RepositoryName: from.repo.String(), ImageTag: from.tag.String(), ImageDigest: from.digest.String(),
			DestinationRepositoryName: to.repo.String(), DestinationTags: *tags,
		}
		if to.named {
			in.DestinationRegistryId, in.DestinationRegion = to.registry.Account.String(), to.registry.Region.String()
		}
		if to.tag != (name.Tag{}) {
			in.DestinationTags = append([]string{to.tag.String()}, in.DestinationTags...)
		}
		var out ecrintypes.CopyImageResponse
		if err := s.Call(cmd.Context(), "CopyImage", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		as := "without a tag"
		if len(out.ImageTags) > 0 {
			as = "as " + strings.Join(out.ImageTags, ", ")
		}
		c.say("copied %s to %s %s", out.ImageDigest, strings.TrimSuffix(args[1], ":"+to.tag.String()), as)
		return nil
	}
	return cmd
}
