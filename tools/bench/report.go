package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// measure has the figures of one contender in one round.
type measure struct {
	Value   float64 `json:"value"`            // in the row's unit
	CPU     float64 `json:"cpu_us,omitempty"` // the server's processor time for a request, microseconds
	P50     float64 `json:"p50_ms,omitempty"`
	P99     float64 `json:"p99_ms,omitempty"`
	Memory  float64 `json:"memory_mb,omitempty"` // resident size of the server, for some rows the peak
	Limited float64 `json:"limited,omitempty"`   // responses with the status 429
	Failed  float64 `json:"failed,omitempty"`    // requests without the wanted response, those with 429 left out
	Allocs  float64 `json:"allocs,omitempty"`    // allocations of one call
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// measures are those of a contender, one for each round.
type measures []measure

// median returns the median of each field independently.
func (all measures) median() measure {
	of := func(member func(measure) float64) float64 {
		var values []float64
		for _, m := range all {
			values = append(values, member(m))
		}
		return median(values)
	}
	return measure{
		Value: of(value), CPU: of(func(m measure) float64 { return m.CPU }), P50: of(p50), P99: of(p99), Memory: of(memory),
		Limited: of(limited), Failed: of(failed), Allocs: of(allocs),
	}
}

// spread returns the least and the greatest Value.
func (all measures) spread() (least, most float64) {
	for i, m := range all {
		if i == 0 {
			least, most = m.Value, m.Value
		}
		least, most = min(least, m.Value), max(most, m.Value)
	}
	return least, most
}

// median returns the median, for an even number of values the mean of the two in the middle, and 0 without
// values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// target is the goal of a row. A goal for a ratio has a peer, a goal for a figure alone has a unit.
type target struct {
	who   string                  // the contender that is judged; "" is ecrin
	peer  string                  // the contender to compare with; "" if the target is a figure of who alone
	of    func(m measure) float64 // the compared figure
	what  string                  // name of the figure in the table; "" for the figure of the row
	less  bool                    // smaller is better
	goal  float64                 // value of the ratio, or of the figure
	unit  string                  // unit of the figure; "" for that of the row
	worst bool                    // the ratio of the worst round is judged, not that of the medians
}

func value(m measure) float64    { return m.Value }
func cpu(m measure) float64      { return m.CPU / 1000 }
func cpuMicro(m measure) float64 { return m.CPU }
func p50(m measure) float64      { return m.P50 }
func p99(m measure) float64      { return m.P99 }
func memory(m measure) float64   { return m.Memory }
func limited(m measure) float64  { return m.Limited }
func failed(m measure) float64   { return m.Failed }
func allocs(m measure) float64   { return m.Allocs }

// check is a target with its result.
type check struct {
	Row    string  `json:"row"`
	Who    string  `json:"who"`
	What   string  `json:"what,omitempty"`
	Figure float64 `json:"figure"`
	Peer   string  `json:"peer,omitempty"`
	Other  float64 `json:"other,omitempty"`
	Ratio  float64 `json:"ratio,omitempty"`
	Unit   string  `json:"unit"`
	Target string  `json:"target"`
	OK     bool    `json:"ok"`
	NotRun string  `json:"not_run,omitempty"` // the reason
}

const ecrinName = "ecrin"

// judge compares the figures of a row, by contender, with the target. A contender that was not measured misses it.
func (t target) judge(row, unit string, all map[string]measures) check {
	who := t.who
	if who == "" {
		who = ecrinName
	}
	c := check{Row: row, Who: who, What: t.what, Figure: t.of(all[who].median()), Peer: t.peer, Unit: unit}
	if t.unit != "" {
		c.Unit = t.unit
	}
	got := c.Figure
	sign := "≥"
	if t.less {
		sign = "≤"
	}
	if t.peer == "" {
		c.Target = fmt.Sprintf("%s %s", sign, amount(t.goal, c.Unit))
	} else {
		c.Target = fmt.Sprintf("%s %.4g ×", sign, t.goal)
		c.Other = t.of(all[t.peer].median())
		c.Ratio = ratio(c.Figure, c.Other)
		if t.worst {
			c.Ratio = t.worstRatio(all[who], all[t.peer])
		}
		got = c.Ratio
	}
	if t.goal == 0 && t.peer == "" {
		c.Target = amount(0, c.Unit)
	}
	if t.what != "" {
		c.Target = t.what + " " + c.Target
	}
	c.OK = len(all[who]) > 0 && got >= t.goal
	if t.less {
		c.OK = len(all[who]) > 0 && got <= t.goal && (got > 0 || t.goal == 0)
	}
	return c
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// worstRatio returns the worst ratio of two figures of the same round.
func (t target) worstRatio(who, peer measures) (worst float64) {
	for i := range min(len(who), len(peer)) {
		r := ratio(t.of(who[i]), t.of(peer[i]))
		if i == 0 || t.less == (r > worst) {
			worst = r
		}
	}
	return worst
}

// report is the result of a run.
type report struct {
	Rounds  int                            `json:"rounds"`
	Checks  []check                        `json:"checks"`
	Details map[string]map[string]measures `json:"details"` // row, contender
	Notes   []string                       `json:"notes,omitempty"`

	order []string // of the rows
	units map[string]string
}

// add records the figures of a row, and judges them by its targets.
func (r *report) add(row row, all map[string]measures) {
	for _, t := range row.targets {
		r.Checks = append(r.Checks, t.judge(row.name, row.unit, all))
	}
	r.order = append(r.order, row.name)
	r.units[row.name] = row.unit
	r.Details[row.name] = all
}

// skip records a row that cannot be measured on this machine.
func (r *report) skip(row row, why error) {
	r.Checks = append(r.Checks, check{Row: row.name, Who: ecrinName, NotRun: why.Error()})
}

func (r *report) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
