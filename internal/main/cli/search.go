package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const searchHelp = `Search the images of the repositories of a registry, in all that you may describe. TEXT is a part of the name of a repository, of a
tag or of a digest. An image is shown if it has all that is asked for.

The command reads all images of the repositories whose names have the prefix of --repository, and then sorts them: name them as closely as
you can in a large registry.`

func (c *commands) search() *cobra.Command {
	cmd := &cobra.Command{Use: "search", Short: "Search and sort images", Long: searchHelp,
		Example: "  ecrin search images --tag 'v1.*' --sort size"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.searchImages())
	return cmd
}

// imageOrders are the orders of --sort; all but the first begin with the greatest.
var imageOrders = map[string]func(a, b ecrintypes.FoundImage) int{
	"name":   func(a, b ecrintypes.FoundImage) int { return cmp.Compare(a.RepositoryName, b.RepositoryName) },
	"size":   func(a, b ecrintypes.FoundImage) int { return cmp.Compare(b.ImageSizeInBytes, a.ImageSizeInBytes) },
	"pushed": func(a, b ecrintypes.FoundImage) int { return b.ImagePushedAt.Compare(a.ImagePushedAt.Time) },
	"pulled": func(a, b ecrintypes.FoundImage) int { return cmp.Compare(pulled(b), pulled(a)) },
}

// pulled returns the time of the last pull in seconds, 0 for never.
func pulled(i ecrintypes.FoundImage) int64 {
	if i.LastRecordedPullTime == nil {
		return 0
	}
	return i.LastRecordedPullTime.Unix()
}

func (c *commands) searchImages() *cobra.Command {
	cmd := &cobra.Command{Use: "images [TEXT]", Args: cobra.MaximumNArgs(1), Short: "Search images by repository, tag and digest",
		Long:    searchHelp,
		Example: "  ecrin search images --tag 'v1.*' --repository team/ --sort size\n  ecrin search images --digest 3f7a --json"}
	f := cmd.Flags()
	in := &ecrintypes.SearchImagesRequest{}
	f.StringVar(&in.RepositoryPrefix, "repository", "", "only repositories whose names begin with `prefix`")
	f.StringVar(&in.TagPattern, "tag", "", "only images with a tag like `pattern`, in which * and ? stand for any characters and for one")
	f.StringVar(&in.DigestPrefix, "digest", "", "only images whose digests begin with `prefix`, with or without sha256:")
	order := f.String("sort", "name", "order: `name|size|pushed|pulled`, the largest or latest first")
	limit := f.Int("limit", 100, "show at most this `number` of images")
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		compare, known := imageOrders[*order]
		if !known || *limit < 1 {
			return usageError{fmt.Errorf("want --sort name, size, pushed or pulled and a --limit of 1 or more, got %q and %d", *order, *limit)}
		}
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in.RegistryId = reg.account
		if len(args) == 1 {
			in.Text = args[0]
		}
		most := int32(1000)
		in.MaxResults = &most
		all := ecrintypes.SearchImagesResponse{Images: []ecrintypes.FoundImage{}}
		for {
			var out ecrintypes.SearchImagesResponse
			if err := s.Call(cmd.Context(), "SearchImages", in, &out); err != nil {
				return err
			}
			all.Images = append(all.Images, out.Images...)
			slices.SortStableFunc(all.Images, compare)
			all.Images = all.Images[:min(len(all.Images), *limit)]
			in.NextToken = out.NextToken
			if in.NextToken == "" || *order == "name" && len(all.Images) == *limit {
				break
			}
		}
		if *asJSON {
			return c.printJSON(all)
		}
		if len(all.Images) == 0 {
			c.say("no image was found")
			return nil
		}
		rows := [][]string{{"REPOSITORY", "DIGEST", "TAGS", "SIZE", "PUSHED", "LAST PULL"}}
		for _, i := range all.Images {
			last := "never"
			if i.LastRecordedPullTime != nil {
				last = stamp(i.LastRecordedPullTime.Time)
			}
			rows = append(rows, []string{i.RepositoryName, i.ImageDigest, strings.Join(i.ImageTags, ","), bytesText(i.ImageSizeInBytes),
				stamp(i.ImagePushedAt.Time), last})
		}
		return c.table(rows)
	}
	return cmd
}
