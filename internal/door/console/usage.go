package console

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// usageSpans are the times that the page of usage can show.
var usageSpans = []struct {
	Days int
	Text string
}{{1, "24 hours"}, {30, "30 days"}, {90, "90 days"}}

// usageView is what a registry holds and serves.
type usageView struct {
	Spans                []link
	CSV                  string
	Denied               *trouble
	Pulls, Pushes        int64 // of the last 24 hours
	Denials, Sent        int64
	Held, Repositories   int64
	HeldMore             bool // there are repositories that are not in the sum
	HeldDenied           *trouble
	Charts               []chart
	Largest              []largestRow
	ByOwn                bool // Largest are by what only they hold
	DeniedBy             []deniedByRow
	Jobs                 []jobRow
	JobsDenied           *trouble
	Empty                bool
	Command, JobsAt, Who string
}

// chart is a picture with its name and what its colours mean.
type chart struct {
	ID, Title string
	Key       []keyPart
	Figure    *figure
	Total     string
}

// keyPart is a colour of a chart.
type keyPart struct{ Class, Text string }

// largestRow is a repository of the table of the largest.
type largestRow struct {
	Name, To    string
	Bytes, Size int64
	Share       string // of 100
}

// deniedByRow is a principal whose requests were denied.
type deniedByRow struct {
	Principal, To string
	Denials       int64
}

// usagePoint is an hour or a day.
type usagePoint struct {
	At                                   time.Time
	Pulls, Pushes, Denials, Sent, Stored int64
	Released                             int64
}

// usagePage shows what the registry holds and serves over time.
func (x *request) usagePage() error {
	days := 30
	for _, s := range usageSpans {
		if x.r.URL.Query().Get("days") == strconv.Itoa(s.Days) {
			days = s.Days
		}
	}
	if x.r.URL.Query().Has("csv") {
		return x.usageSheet(days)
	}
	v := usageView{CSV: x.query("csv", "1"), JobsAt: x.base() + "/jobs", Who: x.iam() + "/denied",
		Command: "ecrin usage --since " + strconv.Itoa(days) + "d --by repository"}
	for _, s := range usageSpans {
		v.Spans = append(v.Spans, link{Text: s.Text, To: x.query("days", strconv.Itoa(s.Days)), Here: s.Days == days, Count: -1})
	}
	points, err := x.usagePoints("", days)
	switch {
	case err != nil && x.status(err) != http.StatusForbidden:
		return err
	case err != nil:
		v.Denied = x.troubleOf(err)
	default:
		last := points
		if days != 1 {
			if last, err = x.usagePoints("", 1); err != nil {
				return err
			}
		}
		for _, p := range last {
			v.Pulls, v.Pushes, v.Denials, v.Sent = v.Pulls+p.Pulls, v.Pushes+p.Pushes, v.Denials+p.Denials, v.Sent+p.Sent
		}
		v.charts(points, days)
	}
	if err := x.largest(&v); err != nil {
		return err
	}
	if err := x.deniedBy(&v, days); err != nil {
		return err
	}
	jobs, _, err := x.jobRows(&ecrintypes.ListJobsRequest{AccountId: x.account.String(), MaxResults: some[int32](5)})
	if err != nil {
		v.JobsDenied = x.troubleOf(err)
	}
	v.Jobs = jobs
	return x.render(http.StatusOK, "usage", &view{Title: "Usage", Section: "usage", Main: v})
}

// usageTimes returns the granularity and the first hour or day of a number of days before now.
func (x *request) usageTimes(days int) (ecrintypes.UsageGranularity, time.Duration, time.Time) {
	if days == 1 {
		return ecrintypes.UsageGranularityHOURLY, time.Hour, x.begun.UTC().Truncate(time.Hour).Add(-23 * time.Hour)
	}
	return ecrintypes.UsageGranularityDAILY, 24 * time.Hour, x.begun.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-days)
}

// usagePoints returns what was done in each hour of a day, or each day of more, of a repository or of all.
func (x *request) usagePoints(repository string, days int) ([]usagePoint, error) {
	granularity, unit, from := x.usageTimes(days)
	out, err := do[ecrintypes.GetUsageHistoryResponse](x, "ecrin", "GetUsageHistory", &ecrintypes.GetUsageHistoryRequest{
		RegistryId: x.account.String(), RepositoryName: repository, GroupBy: ecrintypes.UsageGroupREGISTRY, Granularity: granularity,
		StartTime: awswire.At(from), EndTime: awswire.At(x.begun.Add(time.Second))})
	if err != nil {
		return nil, err
	}
	var all []usagePoint
	for at := from; !at.After(x.begun); at = at.Add(unit) {
		all = append(all, usagePoint{At: at})
	}
	for _, u := range out.Usage {
		if i := int(u.StartTime.Sub(from) / unit); i >= 0 && i < len(all) {
			all[i] = usagePoint{At: all[i].At, Pulls: u.Pulls, Pushes: u.Pushes, Denials: u.Denials, Sent: u.SentBytes,
				Stored: u.StoredBytes, Released: u.ReleasedBytes}
		}
	}
	return all, nil
}

// charts draws what was done over time.
func (v *usageView) charts(points []usagePoint, days int) {
	unit := "day"
	if days == 1 {
		unit = "hour"
	}
	v.Empty = !slices.ContainsFunc(points, func(p usagePoint) bool { return p.Pulls+p.Pushes+p.Denials+p.Sent+p.Stored+p.Released > 0 })
	var pulls, denied, stored, sent, released []int64
	for _, p := range points {
		pulls, denied = append(pulls, p.Pulls), append(denied, p.Denials)
		stored, sent, released = append(stored, p.Stored), append(sent, p.Sent), append(released, p.Released)
	}
	number := func(n int64) string { return count(n) }
	v.Charts = []chart{
		{ID: "pulls", Title: "Pulls by " + unit, Key: []keyPart{{"f2", "served"}, {"fbad", "denied requests"}},
			Figure: bars("pulls", "Pulls by "+unit, points, []series{{"f2", pulls, "pulls"}, {"fbad", denied, "denied"}}, days, number)},
		{ID: "stored", Title: "Bytes stored by " + unit, Key: []keyPart{{"f1", "new in a repository"}},
			Figure: bars("stored", "Bytes stored by "+unit, points, []series{{"f1", stored, "stored"}}, days, size)},
		{ID: "released", Title: "Bytes freed by " + unit, Key: []keyPart{{"f3", "collected, or deleted by a client"}},
			Figure: bars("released", "Bytes freed by "+unit, points, []series{{"f3", released, "freed"}}, days, size)},
		{ID: "sent", Title: "Bytes sent by " + unit, Key: []keyPart{{"f2", "to clients"}},
			Figure: bars("sent", "Bytes sent by "+unit, points, []series{{"f2", sent, "sent"}}, days, size)},
	}
}

// series are numbers of a chart, one for each point.
type series struct {
	Class string
	Of    []int64
	Name  string
}

// bars draws numbers over time as bars, those of later series on top.
func bars(id, title string, points []usagePoint, all []series, days int, words func(int64) string) *figure {
	const width, height = 1060.0, 150.0
	most := int64(1)
	var totals []int64
	for _, s := range all {
		total := int64(0)
		for _, n := range s.Of {
			total += n
		}
		totals = append(totals, total)
	}
	for i := range points {
		sum := int64(0)
		for _, s := range all {
			sum += s.Of[i]
		}
		most = max(most, sum)
	}
	top := roundUp(most)
	text := ""
	for i, s := range all {
		if i > 0 {
			text += ", "
		}
		text += words(totals[i]) + " " + s.Name
	}
	f := &figure{Name: title, Title: title, ID: "chart-" + id, Latest: true, Width: 1120, Height: 192,
		Desc: fmt.Sprintf("%s from %s to %s: %s.", title,
			points[0].At.Format("2 Jan 2006"), points[len(points)-1].At.Format("2 Jan 2006"), text)}
	for i := range 4 {
		y := 12 + height*float64(3-i)/3
		f.path("l0", "M0 %sH%s", y, width)
		f.text("", width+8, y+4, words(top*int64(i)/3))
	}
	step := width / float64(len(points))
	for i, p := range points {
		foot := 12 + height
		at := p.At.Format("2 Jan")
		if days == 1 {
			at = p.At.Format("15:04")
		}
		for _, s := range all {
			if s.Of[i] == 0 {
				continue
			}
			h := max(height*float64(s.Of[i])/float64(top), 1.5)
			foot -= h
			f.rect(s.Class, float64(i)*step, foot, max(step-min(3, step/4), 1), h, at+": "+words(s.Of[i])+" "+s.Name)
			foot -= 1
		}
		if every := max(len(points)/6, 1); i%every == 0 && i+every/2 < len(points) {
			f.text("", float64(i)*step, 184, at)
		}
	}
	f.text("e", width, 184, map[bool]string{true: "now", false: "today"}[days == 1])
	return f
}

// roundUp returns a number of three times one, two or five and a power of ten that is not less: the end of an axis with three lines.
func roundUp(n int64) int64 {
	for base := int64(1); base <= 1e17; base *= 10 {
		for _, k := range []int64{1, 2, 5} {
			if base*k*3 >= n {
				return base * k * 3
			}
		}
	}
	return math.MaxInt64
}

// The repositories and images up to which a page finds what only they hold.
const (
	maxOwnRepositories = 100
	maxOwnImages       = 1000
)

// largest fills in what the repositories hold: in a small registry by what only they hold, else by their kept sizes.
func (x *request) largest(v *usageView) error {
	out, err := do[ecrintypes.SearchRepositoriesResponse](x, "ecrin", "SearchRepositories", &ecrintypes.SearchRepositoriesRequest{
		RegistryId: x.account.String(), SortBy: ecrintypes.RepositorySortKeySIZE, SortOrder: ecrintypes.SortOrderDESCENDING,
		Totals: some(true), MaxResults: some[int32](maxOwnRepositories)})
	if err != nil {
		if x.status(err) != http.StatusForbidden {
			return err
		}
		v.HeldDenied = x.troubleOf(err)
		return nil
	}
	v.HeldMore, v.Repositories = out.NextToken != "", int64(len(out.Repositories))
	images := int64(0)
	for _, r := range out.Repositories {
		images += int64(r.Images)
		v.Held += r.SizeInBytes
		v.Largest = append(v.Largest, largestRow{Name: r.RepositoryName, Bytes: r.SizeInBytes, Size: r.SizeInBytes})
	}
	if !v.HeldMore && images <= maxOwnImages {
		x.ownBytes(v)
	}
	if t := out.Totals; t != nil {
		v.Held, v.Repositories, v.HeldMore = t.SizeInBytes, int64(t.Repositories), false
	}
	slices.SortStableFunc(v.Largest, func(a, b largestRow) int { return cmp.Compare(b.Bytes, a.Bytes) })
	v.Largest = v.Largest[:min(len(v.Largest), 8)]
	for i := range v.Largest {
		r := &v.Largest[i]
		r.To = x.repositoryPath(r.Name)
		if most := v.Largest[0].Bytes; most > 0 {
			r.Share = number(100 * float64(r.Bytes) / float64(most))
		}
	}
	return nil
}

// ownBytes replaces the sizes of all repositories of a small registry by what only they hold, if the person may see that.
func (x *request) ownBytes(v *usageView) {
	own, err := do[ecrintypes.ListRepositoryUsageResponse](x, "ecrin", "ListRepositoryUsage", &ecrintypes.ListRepositoryUsageRequest{
		RegistryId: x.account.String(), MaxResults: some[int32](maxOwnRepositories)})
	if err != nil || own.NextToken != "" {
		return
	}
	bytes := map[string]int64{}
	for _, r := range own.Repositories {
		bytes[r.RepositoryName] = r.OwnBytes
	}
	v.ByOwn = true
	for i := range v.Largest {
		v.Largest[i].Bytes = bytes[v.Largest[i].Name]
	}
}

// deniedBy fills in the principals whose requests were denied most often.
func (x *request) deniedBy(v *usageView, days int) error {
	if v.Denied != nil {
		return nil
	}
	granularity, _, from := x.usageTimes(days)
	in := &ecrintypes.GetUsageHistoryRequest{RegistryId: x.account.String(), GroupBy: ecrintypes.UsageGroupPRINCIPAL, Granularity: granularity,
		StartTime: awswire.At(from), EndTime: awswire.At(x.begun.Add(time.Second)), MaxResults: some[int32](1000)}
	sums := map[string]int64{}
	for range 3 { // of a registry with very many principals the first three thousand rows
		out, err := do[ecrintypes.GetUsageHistoryResponse](x, "ecrin", "GetUsageHistory", in)
		if err != nil {
			return err
		}
		for _, u := range out.Usage {
			if u.Denials > 0 {
				sums[u.Principal] += u.Denials
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			break
		}
	}
	for who, n := range sums {
		if who == "" {
			who = "(others)"
		}
		v.DeniedBy = append(v.DeniedBy, deniedByRow{Principal: who, Denials: n, To: x.iam() + "/denied"})
	}
	slices.SortFunc(v.DeniedBy, func(a, b deniedByRow) int {
		return cmp.Or(cmp.Compare(b.Denials, a.Denials), cmp.Compare(a.Principal, b.Principal))
	})
	v.DeniedBy = v.DeniedBy[:min(len(v.DeniedBy), 8)]
	return nil
}

// usageSheet sends the usage by repository as CSV.
func (x *request) usageSheet(days int) error {
	granularity, _, from := x.usageTimes(days)
	in := &ecrintypes.GetUsageHistoryRequest{RegistryId: x.account.String(), Granularity: granularity, StartTime: awswire.At(from),
		EndTime: awswire.At(x.begun.Add(time.Second)), MaxResults: some[int32](1000)}
	return x.sheet("usage.csv", []string{"time", "repository", "pulls", "pushes", "denied", "bytes sent", "bytes stored", "bytes freed"},
		"ask for fewer days, or use ecrin usage", func() (lines [][]string, more bool, err error) {
			out, err := do[ecrintypes.GetUsageHistoryResponse](x, "ecrin", "GetUsageHistory", in)
			if err != nil {
				return nil, false, err
			}
			for _, u := range out.Usage {
				lines = append(lines, []string{u.StartTime.UTC().Format(time.RFC3339), u.RepositoryName, strconv.FormatInt(u.Pulls, 10),
					strconv.FormatInt(u.Pushes, 10), strconv.FormatInt(u.Denials, 10), strconv.FormatInt(u.SentBytes, 10),
					strconv.FormatInt(u.StoredBytes, 10), strconv.FormatInt(u.ReleasedBytes, 10)})
			}
			in.NextToken = out.NextToken
			return lines, out.NextToken != "", nil
		})
}
