package cli

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const usageHelp = `Show how many bytes the repositories of a registry hold, the largest first.

OWN      bytes of layers that only this repository of the account uses: what its deletion would free
SHARED   bytes of layers that other repositories of the account use too
DELETED  bytes of layers of deleted images, which "ecrin image restore" brings back until they are collected
UNUSED   bytes of layers that no image uses, such as those of a push that has not ended

Layers that several images of a repository have are counted once.

With --since, --by, --hourly or --daily it shows what was done: pulls, pushes, denied requests, bytes that were sent to clients and bytes
that were stored, in total for each repository or principal, or in each hour or day. Hours are kept for two weeks, days for two years. Sessions
of a role count for the role. What has no name is that of all that were beyond the number of rows for an hour or day.`

func (c *commands) usage() *cobra.Command {
	cmd := &cobra.Command{Use: "usage", Args: cobra.NoArgs, Short: "Show how many bytes repositories hold", Long: usageHelp,
		Example: "  ecrin usage\n  ecrin usage --since 30d --by principal\n  ecrin usage --daily --repository team/app\n  ecrin usage --account 111122223333 --region eu-west-1 --json"}
	c.dataFlag(cmd)
	var h usageHistory
	f := cmd.Flags()
	f.StringVar(&h.since, "since", "", "what was done from this `time` on: 30d, 12h, 2026-08-01")
	f.StringVar(&h.by, "by", "",
		"what was done of each `repository|principal|tag|rule`; of tags, pulls alone; of pull through cache rules, 30 days")
	f.BoolVar(&h.hourly, "hourly", false, "what was done in each hour")
	f.BoolVar(&h.daily, "daily", false, "what was done on each day")
	f.StringVar(&h.repository, "repository", "", "what was done for this `repository`")
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if h == (usageHistory{by: "rule"}) {
			return c.showRuleUsage(cmd, reg, *asJSON)
		}
		if h != (usageHistory{}) {
			return c.showUsageHistory(cmd, reg, h, *asJSON)
		}
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in := &ecrintypes.ListRepositoryUsageRequest{RegistryId: reg.account}
		all := ecrintypes.ListRepositoryUsageResponse{Repositories: []ecrintypes.RepositoryUsage{}}
		for {
			var out ecrintypes.ListRepositoryUsageResponse
			if err := s.Call(cmd.Context(), "ListRepositoryUsage", in, &out); err != nil {
				return err
			}
			all.Repositories = append(all.Repositories, out.Repositories...)
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		slices.SortStableFunc(all.Repositories, func(a, b ecrintypes.RepositoryUsage) int {
			return cmp.Compare(b.OwnBytes+b.SharedBytes, a.OwnBytes+a.SharedBytes)
		})
		if *asJSON {
			return c.printJSON(all)
		}
		if len(all.Repositories) == 0 {
			c.say("the registry has no repository")
			return nil
		}
		rows := [][]string{{"REPOSITORY", "IMAGES", "OWN", "SHARED", "DELETED", "UNUSED"}}
		for _, r := range all.Repositories {
			rows = append(rows, []string{r.RepositoryName, fmt.Sprint(r.Images), bytesText(r.OwnBytes), bytesText(r.SharedBytes),
				bytesText(r.KeptBytes), bytesText(r.UnusedBytes)})
		}
		return c.table(rows)
	}
	return cmd
}
