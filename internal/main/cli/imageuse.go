package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) imagePulls() *cobra.Command {
	cmd := &cobra.Command{Use: "pulls REPOSITORY:TAG|REPOSITORY@DIGEST", Args: exactly("IMAGE"),
		Short: "Show who pulled an image in the last 30 days",
		Long: "Show who pulled an image in the last 30 days, the most pulls first. Sessions of a role are one principal. Of an index, what\n" +
			"clients pull of its images counts for these.",
		Example: "  ecrin image pulls team/app:1.0"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		in := &ecrintypes.ListImagePullsRequest{RegistryId: reg.account, RepositoryName: image.repo.String()}
		if in.ImageTag, in.ImageDigest, err = tagOrDigest(image, args[0]); err != nil {
			return err
		}
		var all ecrintypes.ListImagePullsResponse
		for {
			var out ecrintypes.ListImagePullsResponse
			if err := s.Call(cmd.Context(), "ListImagePulls", in, &out); err != nil {
				return err
			}
			out.Pulls = append(all.Pulls, out.Pulls...)
			if all = out; all.NextToken == "" {
				break
			}
			in.NextToken = all.NextToken
		}
		if *asJSON {
			return c.printJSON(all)
		}
		if all.TotalPulls == 0 {
			c.say("nobody pulled it since %s; pulls are counted within 30 s", stamp(all.StartTime.Time))
			return nil
		}
		rows := [][]string{{"PRINCIPAL", "PULLS", "BY DIGEST", "TAGS", "LAST"}}
		number := func(n int64) string { return strconv.FormatInt(n, 10) }
		for _, p := range all.Pulls {
			rows = append(rows, []string{p.Principal, number(p.Pulls), number(p.DigestPulls), orDash(strings.Join(p.ImageTags, " ")),
				stamp(p.LastPulledAt.Time)})
		}
		if all.OtherPulls > 0 {
			rows = append(rows, []string{"(others)", number(all.OtherPulls), "-", "-", "-"})
		}
		if all.UncountedPulls > 0 {
			c.say("%d pulls of the account are counted for no image, because there were too many to keep", all.UncountedPulls)
		}
		return c.table(rows)
	}
	return cmd
}

func (c *commands) imageLayers() *cobra.Command {
	cmd := &cobra.Command{Use: "layers REPOSITORY:TAG|REPOSITORY@DIGEST", Args: exactly("IMAGE"),
		Short: "Show in how many images each layer of an image is"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		in := &ecrintypes.ListImageLayersRequest{RegistryId: reg.account, RepositoryName: image.repo.String()}
		if in.ImageTag, in.ImageDigest, err = tagOrDigest(image, args[0]); err != nil {
			return err
		}
		var out ecrintypes.ListImageLayersResponse
		if err := s.Call(cmd.Context(), "ListImageLayers", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		if len(out.Layers) == 0 {
			c.say("%s has no layers", args[0])
			return nil
		}
		rows := [][]string{{"LAYER", "IMAGES", "REPOSITORIES"}}
		for _, l := range out.Layers {
			images := strconv.Itoa(int(l.Images))
			if l.More {
				images += " or more"
			}
			var in []string
			for _, r := range l.Repositories {
				in = append(in, fmt.Sprintf("%s (%d)", r.RepositoryName, r.Images))
			}
			rows = append(rows, []string{l.LayerDigest, images, orDash(strings.Join(in, " "))})
		}
		if out.More {
			c.say("there are more layers")
		}
		return c.table(rows)
	}
	return cmd
}

// showRuleUsage prints what the pull through cache rules of a registry did.
func (c *commands) showRuleUsage(cmd *cobra.Command, reg *registry, asJSON bool) error {
	s, err := c.connectTo(cmd, reg)
	if err != nil {
		return err
	}
	var out ecrintypes.ListPullThroughUsageResponse
	if err := s.Call(cmd.Context(), "ListPullThroughUsage", &ecrintypes.ListPullThroughUsageRequest{RegistryId: reg.account},
		&out); err != nil {
		return err
	}
	if asJSON {
		return c.printJSON(out)
	}
	if len(out.Rules) == 0 {
		c.say("no rule was used in the last 30 days; requests are counted within 30 s")
		return nil
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	rows := [][]string{{"PREFIX", "STORED", "FETCHED", "STALE", "SAVED", "RECEIVED", "LIMITED"}}
	for _, r := range out.Rules {
		rows = append(rows, []string{r.EcrRepositoryPrefix, number(r.Hits), number(r.Misses), number(r.StaleHits), bytesText(r.SavedBytes),
			bytesText(r.FetchedBytes), number(r.LimitReached)})
	}
	return c.table(rows)
}
