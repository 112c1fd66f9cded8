package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// measure has the figures of one contender in one round.
type measure struct {
	Value  float64 `json:"value"`            // in the row's unit
	CPU    float64 `json:"cpu_us,omitempty"` // the server's processor time for a request, microseconds
	P50    float64 `json:"p50_ms,omitempty"`
	P99    float64 `json:"p99_ms,omitempty"`
	Memory float64 `json:"memory_mb,omitempty"` // resident size of the server, for some rows the peak
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
		Value: of(func(m measure) float64 { return m.Value }), CPU: of(func(m measure) float64 { return m.CPU }),
		P50: of(func(m measure) float64 { return m.P50 }), P99: of(func(m measure) float64 { return m.P99 }),
		Memory: of(func(m measure) float64 { return m.Memory }),
	}
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

// target is the goal of a row.
type target struct {
	peer string                  // the server to compare with; "" if the target is a figure of ecrin alone
	of   func(m measure) float64 // the compared figure
	less bool                    // smaller is better
	goal float64                 // value of the ratio, or of the figure
	unit string                  // unit of the figure
}

func value(m measure) float64  { return m.Value }
func cpu(m measure) float64    { return m.CPU / 1000 }
func memory(m measure) float64 { return m.Memory }

// line is a target with its result.
type line struct {
	Row    string  `json:"row"`
	Ecrin  float64 `json:"ecrin"`
	Peer   string  `json:"peer,omitempty"`
	Other  float64 `json:"other,omitempty"`
	Ratio  float64 `json:"ratio,omitempty"`
	Unit   string  `json:"unit"`
	Target string  `json:"target"`
	OK     bool    `json:"ok"`
}

func (t target) judge(row string, unit string, medians map[string]measure) line {
	l := line{Row: row, Ecrin: t.of(medians["ecrin"]), Peer: t.peer, Unit: unit}
	got := l.Ecrin
	if t.unit != "" {
		l.Unit = t.unit
	}
	sign := "≥"
	if t.less {
		sign = "≤"
	}
	if t.peer != "" {
		l.Other = t.of(medians[t.peer])
		if l.Other != 0 {
			l.Ratio = l.Ecrin / l.Other
		}
		got = l.Ratio
		l.Target = fmt.Sprintf("%s %.4g ×", sign, t.goal)
	} else {
		l.Target = fmt.Sprintf("%s %.4g %s", sign, t.goal, l.Unit)
	}
	l.OK = got >= t.goal
	if t.less {
		l.OK = got > 0 && got <= t.goal
	}
	return l
}

// report is the result of a run.
type report struct {
	Rounds  int                            `json:"rounds"`
	Lines   []line                         `json:"lines"`
	Details map[string]map[string]measures `json:"details"` // row, contender
	Notes   []string                       `json:"notes,omitempty"`

	order []string // of the rows
	units map[string]string
}

func (r *report) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func figure(v float64) string {
	switch {
	case v == 0:
		return ""
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// text writes two tables in Markdown: the targets, and all measurements.
func (r *report) text(w io.Writer) error {
	rows := [][]string{{"row", "ecrin", "peer", "", "ratio", "target", ""}}
	for _, l := range r.Lines {
		verdict := "ok"
		if !l.OK {
			verdict = "miss"
		}
		rows = append(rows, []string{l.Row, figure(l.Ecrin) + " " + l.Unit, l.Peer, figure(l.Other), figure(l.Ratio), l.Target, verdict})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nMedians of %d rounds [min..max]\n\n", r.Rounds)
	rows = [][]string{{"row", "server", "figure", "spread", "CPU µs/request", "p50 ms", "p99 ms", "memory MB"}}
	for _, row := range r.order {
		names := make([]string, 0, len(r.Details[row]))
		for name := range r.Details[row] {
			names = append(names, name)
		}
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(-cmp.Compare(rank(a), rank(b)), strings.Compare(a, b))
		})
		for _, name := range names {
			all := r.Details[row][name]
			least, most := all[0].Value, all[0].Value
			for _, one := range all {
				least, most = min(least, one.Value), max(most, one.Value)
			}
			m := all.median()
			rows = append(rows, []string{row, name, figure(m.Value) + " " + r.units[row],
				"[" + figure(least) + ".." + figure(most) + "]", figure(m.CPU), figure(m.P50), figure(m.P99), figure(m.Memory)})
		}
	}
	if err := table(w, rows); err != nil {
		return err
	}
	for _, n := range r.Notes {
		if _, err := fmt.Fprintf(w, "\n%s\n", n); err != nil {
			return err
		}
	}
	return nil
}

// rank returns the place of a server in the table: ecrin first.
func rank(name string) int {
	if name == "ecrin" {
		return 1
	}
	return 0
}

func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 1, ' ', 0)
	for i, r := range rows {
		fmt.Fprintf(t, "| %s\t|\n", strings.Join(r, "\t| "))
		if i == 0 {
			fmt.Fprintf(t, "|%s\n", strings.Repeat(" ---\t|", len(r)))
		}
	}
	return t.Flush()
}
