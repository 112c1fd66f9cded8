package console

import (
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// sparkDays is how many days the pulls of a row are of: today and those before.
const sparkDays = 30

// pullCount is how often something was pulled in the last 30 days.
type pullCount struct {
	Known bool   // the person may see it
	Why   string // if not
	Total int64
	Spark string // the path of a picture with a bar for each day; "" without pulls
}

// sparkOf returns the bars of a picture of 80 by 16: the highest day has all of it.
func sparkOf(days []int64) string {
	most := int64(0)
	for _, n := range days {
		most = max(most, n)
	}
	var b strings.Builder
	for i, n := range days {
		if n > 0 {
			b.WriteString("M" + number(1+float64(i)*80/float64(len(days))) + " 16V" + number(16-max(1, 15*float64(n)/float64(most))))
		}
	}
	return b.String()
}

// pullCounts returns the pulls of repositories, or of tags of a repository, at most 50 of a page: one request for all that the person may
// see.
func (x *request) pullCounts(repository string, names []string) (map[string]pullCount, error) {
	all := map[string]pullCount{}
	if len(names) == 0 {
		return all, nil
	}
	from := x.begun.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-sparkDays)
	in := &ecrintypes.GetUsageHistoryRequest{RegistryId: x.account.String(), RepositoryName: repository, GroupBy: ecrintypes.UsageGroupTAG,
		Granularity: ecrintypes.UsageGranularityDAILY, StartTime: awswire.At(from), EndTime: awswire.At(x.begun.Add(time.Second))}
	const action = "ecrin:GetUsageHistory"
	see := func(repository string) (right, error) {
		may, err := x.may(repository, action)
		return may[action], err
	}
	var own right
	var err error
	if repository != "" {
		if own, err = see(repository); err != nil {
			return nil, err
		}
	}
	var allowed []string
	for _, name := range names {
		may := own
		if repository == "" {
			if may, err = see(name); err != nil {
				return nil, err
			}
		}
		if all[name] = (pullCount{Known: may.OK, Why: may.Reason}); may.OK {
			allowed = append(allowed, name)
		}
	}
	if len(allowed) == 0 {
		return all, nil
	}
	if in.ImageTags = allowed; repository == "" {
		in.ImageTags, in.RepositoryNames, in.GroupBy = nil, allowed, ecrintypes.UsageGroupREPOSITORY
	}
	out, err := do[ecrintypes.GetUsageHistoryResponse](x, "ecrin", "GetUsageHistory", in)
	if err != nil {
		return nil, err
	}
	days := map[string][]int64{}
	for _, u := range out.Usage {
		name := u.ImageTag
		if repository == "" {
			name = u.RepositoryName
		}
		if days[name] == nil {
			days[name] = make([]int64, sparkDays)
		}
		if i := int(u.StartTime.Sub(from) / (24 * time.Hour)); i >= 0 && i < sparkDays {
			days[name][i] += u.Pulls
		}
	}
	for name, of := range days {
		one := all[name]
		for _, n := range of {
			one.Total += n
		}
		one.Spark = sparkOf(of)
		all[name] = one
	}
	return all, nil
}
