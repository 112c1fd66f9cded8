package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const searchHelp = `Search the images, or the repositories, of a registry: in all that you may describe. What is found has all that is asked for.

--sort puts the largest or latest first, and names in their order; with --reverse the smallest or earliest come first, and those that
were never pulled before all others.`

func (c *commands) search() *cobra.Command {
	cmd := &cobra.Command{Use: "search", Short: "Search and sort images and repositories", Long: searchHelp,
		Example: "  ecrin search images --tag 'v1.*' --sort size\n  ecrin search repositories --sort pulled --reverse"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.searchImages(), c.searchRepositories())
	return cmd
}

// sortFlags are the flags of a search for its order.
type sortFlags struct {
	keys    []string
	key     *string
	reverse *bool
	limit   *int
}

func newSortFlags(cmd *cobra.Command, what string, keys ...string) sortFlags {
	f := cmd.Flags()
	return sortFlags{keys: keys, key: f.String("sort", keys[0], "order: `"+strings.Join(keys, "|")+"`, the largest or latest first"),
		reverse: f.Bool("reverse", false, "the smallest or earliest first"), limit: f.Int("limit", 100, "show at most this `number` of "+what)}
}

// order returns the members sortBy and sortOrder of a request.
func (s sortFlags) order() (key string, order ecrintypes.SortOrder, err error) {
	if !slices.Contains(s.keys, *s.key) || *s.limit < 1 || *s.reverse && *s.key == s.keys[0] {
		return "", "", usageError{fmt.Errorf("want --sort %s, --reverse with one of the last %d alone, and a --limit of 1 or more, got %q and %d",
			strings.Join(s.keys, ", "), len(s.keys)-1, *s.key, *s.limit)}
	}
	order = ecrintypes.SortOrderDESCENDING
	if *s.reverse || *s.key == s.keys[0] {
		order = ecrintypes.SortOrderASCENDING
	}
	return strings.ToUpper(*s.key), order, nil
}

// page returns the size of the next page.
func (s sortFlags) page(have int) *int32 {
	n := int32(min(*s.limit-have, 1000))
	return &n
}

// timeOr returns a time, or what stands for none.
func timeOr(t *awswire.Time, none string) string {
	if t == nil {
		return none
	}
	return stamp(t.Time)
}

func (c *commands) searchRepositories() *cobra.Command {
	cmd := &cobra.Command{Use: "repositories [PATTERN]", Args: cobra.MaximumNArgs(1), Short: "Search repositories by name, and sort them",
		Long: searchHelp + `

PATTERN is a name in which * stands for any characters and ? for one. SIZE is that of all layers that a repository holds, also of those that
only deleted images use; PUSHED and LAST PULL are those of any image that it has had.`,
		Example: "  ecrin search repositories --sort size --limit 10\n  ecrin search repositories '*/cache-*' --sort pulled --reverse --json"}
	in := &ecrintypes.SearchRepositoriesRequest{}
	cmd.Flags().StringVar(&in.RepositoryPrefix, "repository", "", "only repositories whose names begin with `prefix`")
	sorted := newSortFlags(cmd, "repositories", "name", "size", "images", "pushed", "pulled")
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		key, order, err := sorted.order()
		if err != nil {
			return err
		}
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in.RegistryId, in.SortBy, in.SortOrder = reg.account, ecrintypes.RepositorySortKey(key), order
		if len(args) == 1 {
			in.NamePattern = args[0]
		}
		all := ecrintypes.SearchRepositoriesResponse{Repositories: []ecrintypes.FoundRepository{}}
		for more := true; more && len(all.Repositories) < *sorted.limit; more = in.NextToken != "" {
			var out ecrintypes.SearchRepositoriesResponse
			in.MaxResults = sorted.page(len(all.Repositories))
			if err := s.Call(cmd.Context(), "SearchRepositories", in, &out); err != nil {
				return err
			}
			all.Repositories, in.NextToken = append(all.Repositories, out.Repositories...), out.NextToken
		}
		if *asJSON {
			return c.printJSON(all)
		}
		if len(all.Repositories) == 0 {
			c.say("no repository was found")
			return nil
		}
		rows := [][]string{{"REPOSITORY", "IMAGES", "SIZE", "PUSHED", "LAST PULL"}}
		for _, r := range all.Repositories {
			rows = append(rows, []string{r.RepositoryName, fmt.Sprint(r.Images), bytesText(r.SizeInBytes), timeOr(r.LastPushedAt, "never"),
				timeOr(r.LastRecordedPullTime, "never")})
		}
		return c.table(rows)
	}
	return cmd
}

func (c *commands) searchImages() *cobra.Command {
	cmd := &cobra.Command{Use: "images [TEXT]", Args: cobra.MaximumNArgs(1), Short: "Search and sort images",
		Long: searchHelp + "\n\nTEXT is a part of the name of a repository, of a tag, of REPOSITORY:TAG, or of a digest.",
		Example: "  ecrin search images --tag 'v1.*' --repository team/ --sort size\n  ecrin search images --digest 3f7a --json\n" +
			"  ecrin search images --label org.opencontainers.image.revision=4d1e2f --label maintainer"}
	f := cmd.Flags()
	in := &ecrintypes.SearchImagesRequest{}
	f.StringVar(&in.RepositoryPrefix, "repository", "", "only repositories whose names begin with `prefix`")
	f.StringVar(&in.TagPattern, "tag", "", "only images with a tag like `pattern`, in which * and ? stand for any characters and for one")
	f.StringVar(&in.DigestPrefix, "digest", "", "only images whose digests begin with `prefix`, with or without sha256:")
	f.StringArrayVar(&in.Labels, "label", nil, "only images with the label `KEY or KEY=VALUE`, of the config or an annotation of the "+
		"manifest; may be repeated")
	sorted := newSortFlags(cmd, "images", "name", "size", "pushed", "pulled")
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		key, order, err := sorted.order()
		if err != nil {
			return err
		}
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in.RegistryId, in.SortBy, in.SortOrder = reg.account, ecrintypes.ImageSortKey(key), order
		if len(args) == 1 {
			in.Text = args[0]
		}
		all := ecrintypes.SearchImagesResponse{Images: []ecrintypes.FoundImage{}}
		for more := true; more && len(all.Images) < *sorted.limit; more = in.NextToken != "" {
			var out ecrintypes.SearchImagesResponse
			in.MaxResults = sorted.page(len(all.Images))
			if err := s.Call(cmd.Context(), "SearchImages", in, &out); err != nil {
				return err
			}
			all.Images, in.NextToken = append(all.Images, out.Images...), out.NextToken
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
			rows = append(rows, []string{i.RepositoryName, i.ImageDigest, strings.Join(i.ImageTags, ","), bytesText(i.ImageSizeInBytes),
				stamp(i.ImagePushedAt.Time), timeOr(i.LastRecordedPullTime, "never")})
		}
		return c.table(rows)
	}
	return cmd
}
