package console

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// pullRow is a line of the pull log.
type pullRow struct {
	At                            time.Time
	Day                           bool // its day is shown, because the log goes back further than one
	By, Action, Image, Reference  string
	Tag, Digest, Code, Try, Agent string
	Status                        int32
	OK                            bool
	Bytes                         int64
	Address                       string
}

// pullLog is a page of the pull log of a customer.
type pullLog struct {
	Rows    []pullRow
	Pager   pager
	Trouble *trouble
	Days    string // how far it goes back: 1, 7 or 30
	Failed  bool   // only requests that failed
	CSV     string // the path of the whole as a file
	Rest    []choice
}

// logDays are the choices of how far the log goes back.
var logDays = []choice{{Value: "1", Text: "24 hours"}, {Value: "7", Text: "7 days"}, {Value: "30", Text: "30 days"}}

// pullsOf returns the request of the log that the query of the page asks for.
func (x *request) pullsOf(slug, customer string) (in *ecrintypes.ListPullsRequest, days string) {
	q := x.r.URL.Query()
	days = "1"
	for _, d := range logDays {
		if d.Value == q.Get("days") {
			days = d.Value
		}
	}
	n, _ := strconv.Atoi(days)
	failed := q.Get("failed") == "yes"
	in = &ecrintypes.ListPullsRequest{AccountId: x.account.String(), ApplicationSlug: slug, CustomerId: customer, Failed: &failed,
		StartTime: &awswire.Time{Time: x.begun.Add(-time.Duration(n) * 24 * time.Hour)}}
	return in, days
}

// pullLog returns a page of the pull log of a customer.
func (x *request) pullLog(v customerView) pullLog {
	in, days := x.pullsOf(v.Slug, v.ID)
	in.NextToken, in.MaxResults = x.r.URL.Query().Get("after"), some[int32](pageSize)
	l := pullLog{Days: days, Failed: *in.Failed}
	for _, d := range logDays {
		d.On = d.Value == days
		l.Rest = append(l.Rest, d)
	}
	l.CSV = v.To + "/pulls.csv?" + values("days", days, "failed", map[bool]string{true: "yes"}[l.Failed])
	out, err := do[ecrintypes.ListPullsResponse](x, "ecrin", "ListPulls", in)
	if l.Trouble = x.troubleOf(err); err != nil {
		return l
	}
	for _, p := range out.Pulls {
		r := x.pullRow(v, p)
		r.Day = days != "1"
		l.Rows = append(l.Rows, r)
	}
	more := ""
	if out.NextToken != "" {
		more = ", more follow"
	}
	l.Pager = x.pagerOf(many(int64(len(l.Rows)), "request", "requests")+", newest first"+more, out.NextToken)
	return l
}

func (x *request) pullRow(v customerView, p ecrintypes.Pull) pullRow {
	r := pullRow{At: p.At.Time, By: p.TokenName, Action: strings.ToLower(string(p.Action)), Image: p.Image, Reference: p.Reference,
		Digest: p.ImageDigest, Code: p.ErrorCode, Status: p.HttpStatus, OK: p.HttpStatus < 400, Bytes: p.SentBytes, Address: p.Address,
		Agent: p.UserAgent}
	if r.By == "" {
		r.By = "licence"
	}
	if p.Action == ecrintypes.PullActionHEAD || p.Action == ecrintypes.PullActionAUTH {
		r.Action = string(p.Action)
	}
	if p.UpstreamStatus != nil {
		r.Code = strings.TrimSpace(fmt.Sprintf("%s, upstream %d %s", r.Code, *p.UpstreamStatus, p.UpstreamCode))
	}
	if strings.HasPrefix(r.Reference, "sha256:") {
		r.Digest = r.Reference
	} else {
		r.Tag = r.Reference
	}
	manifest := p.Action == ecrintypes.PullActionMANIFEST || p.Action == ecrintypes.PullActionHEAD
	if !r.OK && p.Image != "" && manifest && r.Reference != "" {
		separator := ":"
		if r.Tag == "" {
			separator = "@"
		}
		r.Try = v.To + "?" + values("on", p.Image+separator+r.Reference) + "#try"
	}
	return r
}

// pullsCSV sends the pull log of a customer as a table, page by page, at most 100,000 lines.
func (x *request) pullsCSV() error {
	in, _ := x.pullsOf(x.at["app"], x.at["customer"])
	in.MaxResults = some[int32](1000)
	return x.sheet("pulls.csv", []string{"time", "token", "action", "image", "reference", "digest", "status", "error", "upstream", "bytes",
		"address", "user agent", "request"}, "ask for fewer days, or use ecrin app pulls", func() (lines [][]string, more bool, err error) {
		out, err := do[ecrintypes.ListPullsResponse](x, "ecrin", "ListPulls", in)
		if err != nil {
			return nil, false, err
		}
		for _, p := range out.Pulls {
			upstream := p.UpstreamCode
			if p.UpstreamStatus != nil {
				upstream = strings.TrimSpace(fmt.Sprint(*p.UpstreamStatus) + " " + upstream)
			}
			lines = append(lines, []string{p.At.UTC().Format(time.RFC3339), p.TokenName, string(p.Action), p.Image, p.Reference, p.ImageDigest,
				fmt.Sprint(p.HttpStatus), p.ErrorCode, upstream, fmt.Sprint(p.SentBytes), p.Address, p.UserAgent, p.RequestId})
		}
		in.NextToken = out.NextToken
		return lines, out.NextToken != "", nil
	})
}

// bar is a month of the chart.
type bar struct {
	X, Y, Height, Middle, Label, Title string
	Now                                bool
}

// line is a line of the axis of a chart.
type line struct{ Y, TextY, Text string }

// egressChart is what was sent by month, as a picture.
type egressChart struct {
	Bars      []bar
	Axis      []line
	Threshold string // height of the line; "" for none
	Say, Sum  string
	Size      string // the threshold in the form
	Title     string
}

// The measures of the chart, in units of its picture.
const (
	chartTop, chartFoot = 22.0, 110.0
	barStep, barWidth   = 43.0, 32.0
)

// niceTop returns the end of an axis for values up to n: 1, 2, 4 or 8 of a unit of thousands, or ten or a hundred times that.
func niceTop(n int64) int64 {
	for unit := int64(1); ; unit *= 10 {
		for _, f := range []int64{1, 2, 4, 8} {
			if f*unit >= n || unit > 1<<58 {
				return f * unit
			}
		}
	}
}

// egress adds what was sent to a customer by month.
func (x *request) egress(v customerView, a *accessView) {
	out, err := do[ecrintypes.ListEgressMonthsResponse](x, "ecrin", "ListEgressMonths", &ecrintypes.ListEgressMonthsRequest{
		AccountId: x.account.String(), ApplicationSlug: v.Slug, CustomerId: v.ID})
	if a.NoEgress = x.troubleOf(err); err != nil {
		return
	}
	a.Egress = chartOf(out)
}

func chartOf(out *ecrintypes.ListEgressMonthsResponse) *egressChart {
	c := &egressChart{}
	limit, most := int64(0), int64(1000)
	if out.Threshold != nil {
		limit = out.Threshold.Bytes
		c.Size = size(limit)
	}
	for _, m := range out.Months {
		most = max(most, m.SentBytes)
	}
	top := niceTop(max(most, limit))
	at := func(bytes int64) float64 { return chartFoot - (chartFoot-chartTop)*float64(bytes)/float64(top) }
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }
	for _, n := range []int64{0, top / 2, top} {
		c.Axis = append(c.Axis, line{number(at(n)), number(at(n) + 4), strings.Replace(size(n), ".0 ", " ", 1)})
	}
	for i, m := range out.Months {
		month, _ := time.Parse("2006-01", m.Month)
		left := 4 + barStep*float64(i)
		b := bar{X: number(left), Y: number(at(m.SentBytes)), Height: number(chartFoot - at(m.SentBytes)), Middle: number(left + barWidth/2),
			Label: month.Format("Jan"), Title: month.Format("Jan 2006") + ": " + size(m.SentBytes), Now: i == len(out.Months)-1}
		c.Bars = append(c.Bars, b)
		if b.Now {
			c.Sum = size(m.SentBytes) + " in " + month.Format("January")
		}
	}
	c.Title = "Egress by month, " + c.Sum
	if limit > 0 {
		c.Threshold = number(at(limit))
		c.Say = "; event at " + size(limit)
		c.Title += "; the threshold is " + size(limit)
		if out.Threshold.ReachedAt != nil {
			c.Say += ", reached " + out.Threshold.ReachedAt.UTC().Format("2 Jan")
		}
	}
	return c
}
