package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// usageHistory is what the flags of ecrin usage select; the zero value for the bytes that repositories hold.
type usageHistory struct {
	since, by, repository string
	hourly, daily         bool
}

// request returns the request for the first page.
func (h usageHistory) request(now time.Time) (*ecrintypes.GetUsageHistoryRequest, error) {
	in := &ecrintypes.GetUsageHistoryRequest{GroupBy: ecrintypes.UsageGroupREPOSITORY, Granularity: ecrintypes.UsageGranularityDAILY,
		RepositoryName: h.repository}
	switch h.by {
	case "", "repository":
	case "principal":
		in.GroupBy = ecrintypes.UsageGroupPRINCIPAL
	case "tag":
		in.GroupBy = ecrintypes.UsageGroupTAG
	default:
		return nil, usageError{fmt.Errorf("--by: want repository, principal or tag, or rule alone, got %q", h.by)}
	}
	if h.hourly && h.daily {
		return nil, usageError{errors.New("want --hourly or --daily, not both")}
	}
	if h.hourly {
		in.Granularity = ecrintypes.UsageGranularityHOURLY
	}
	if h.since == "" {
		return in, nil
	}
	from, err := momentOf(h.since, now)
	if err != nil {
		return nil, usageError{fmt.Errorf("--since: %w", err)}
	}
	in.StartTime = awswire.At(from)
	return in, nil
}

// showUsageHistory prints what was done: each hour or day if a flag says so, otherwise the sum, the most pulls first.
func (c *commands) showUsageHistory(cmd *cobra.Command, reg *registry, h usageHistory, asJSON bool) error {
	in, err := h.request(time.Now())
	if err != nil {
		return err
	}
	s, err := c.connectTo(cmd, reg)
	if err != nil {
		return err
	}
	in.RegistryId = reg.account
	all := ecrintypes.GetUsageHistoryResponse{Usage: []ecrintypes.UsagePeriod{}}
	for {
		var out ecrintypes.GetUsageHistoryResponse
		if err := s.Call(cmd.Context(), "GetUsageHistory", in, &out); err != nil {
			return err
		}
		all.Usage = append(all.Usage, out.Usage...)
		if in.NextToken = out.NextToken; in.NextToken == "" {
			break
		}
	}
	if asJSON {
		return c.printJSON(all)
	}
	if len(all.Usage) == 0 {
		c.say("nothing was done in this time; requests are counted within 30 s")
		return nil
	}
	each := h.hourly || h.daily
	if !each {
		all.Usage = totalUsage(all.Usage)
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	rows := [][]string{{"TIME", cmp.Or(strings.ToUpper(h.by), "REPOSITORY"), "PULLS", "PUSHES", "DENIED", "SENT", "STORED", "RELEASED"}}
	for _, u := range all.Usage {
		rows = append(rows, []string{stamp(u.StartTime.Time), cmp.Or(usageSubject(u), "(others)"), number(u.Pulls),
			number(u.Pushes), number(u.Denials), bytesText(u.SentBytes), bytesText(u.StoredBytes),
			bytesText(u.ReleasedBytes)})
	}
	if !each {
		for i := range rows {
			rows[i] = rows[i][1:]
		}
	}
	return c.table(rows)
}

// usageSubject returns what a row is of; "" for all that has no row of its own.
func usageSubject(u ecrintypes.UsagePeriod) string {
	if u.ImageTag != "" {
		return u.RepositoryName + ":" + u.ImageTag
	}
	return cmp.Or(u.RepositoryName, u.Principal)
}

// totalUsage returns the sums over time, the most pulls first.
func totalUsage(all []ecrintypes.UsagePeriod) (sums []ecrintypes.UsagePeriod) {
	at := map[string]int{}
	for _, u := range all {
		subject := usageSubject(u)
		i, known := at[subject]
		if !known {
			at[subject] = len(sums)
			sums = append(sums, u)
			continue
		}
		sum := &sums[i]
		sum.Pulls, sum.Pushes, sum.Denials = sum.Pulls+u.Pulls, sum.Pushes+u.Pushes, sum.Denials+u.Denials
		sum.SentBytes, sum.StoredBytes = sum.SentBytes+u.SentBytes, sum.StoredBytes+u.StoredBytes
		sum.ReleasedBytes += u.ReleasedBytes
	}
	slices.SortStableFunc(sums, func(a, b ecrintypes.UsagePeriod) int { return cmp.Compare(b.Pulls, a.Pulls) })
	return sums
}
