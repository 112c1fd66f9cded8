package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// text writes two tables in Markdown: the targets, in the form of docs/design/speed.md, and all measurements.
func (r *report) text(w io.Writer) error {
	if err := table(w, r.targets()); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nMedians, up to %d rounds [min..max]\n\n", r.Rounds)
	if err := table(w, r.details()); err != nil {
		return err
	}
	for _, n := range r.Notes {
		if _, err := fmt.Fprintf(w, "\n%s\n", n); err != nil {
			return err
		}
	}
	return nil
}

// targets returns the table of targets. The checks of one contender against one peer are one line; a check without a peer belongs to
// the line before it. What misses its target is bold.
func (r *report) targets() [][]string {
	rows := [][]string{{"case", "ecrin", "peer", "ratio", "target"}}
	var line []check
	flush := func() {
		if len(line) > 0 {
			rows = append(rows, r.line(line))
		}
		line = nil
	}
	for _, c := range r.Checks {
		if len(line) > 0 && (line[0].Row != c.Row || line[0].Who != c.Who || c.Peer != "" && c.Peer != line[0].Peer) {
			flush()
		}
		line = append(line, c)
	}
	flush()
	return rows
}

// line returns the cells of checks that share row, contender and peer.
func (r *report) line(checks []check) []string {
	first := checks[0]
	if first.NotRun != "" {
		return []string{first.Row, "not run: " + first.NotRun, "", "", ""}
	}
	title := first.Row
	if first.Who != ecrinName {
		title += ", " + strings.TrimSuffix(first.Who, ", "+ecrinName)
	}
	kind, _, _ := strings.Cut(first.Who, ", ") // of a contender with several figures; it is in the title
	var own, other, ratios, goals []string
	for _, c := range checks {
		goals = append(goals, c.Target)
		if c.Peer == "" {
			own = append(own, bold(!c.OK, named(c.What, c.Figure, c.Unit)))
			continue
		}
		prefix := ""
		if c.What != "" {
			prefix = c.What + " "
		}
		ratios = append(ratios, bold(!c.OK, prefix+figure(c.Ratio)+" ×"))
		if strings.HasPrefix(c.What, "worst") {
			continue // its figures are those of the row
		}
		a, b := named(c.What, c.Figure, c.Unit), named(c.What, c.Other, c.Unit)
		if c.What == "" {
			a, b = a+r.more(c.Row, c.Who), b+r.more(c.Row, c.Peer)
		}
		own, other = append(own, a), append(other, b)
	}
	peer := strings.Join(other, ", ")
	if first.Peer != "" {
		peer = strings.TrimPrefix(first.Peer, kind+", ") + " " + peer
	}
	return []string{title, strings.Join(own, ", "), peer, strings.Join(ratios, ", "), strings.Join(goals, ", ")}
}

// minSpread is the spread of a figure, as a part of its median, from which the table shows it.
const minSpread = 0.2

// more returns the spread of a figure if it is wide, and the processor time of a request if it is known.
func (r *report) more(row, contender string) (text string) {
	all := r.Details[row][contender]
	m := all.median()
	if least, most := all.spread(); most-least > minSpread*m.Value {
		text = fmt.Sprintf(" [%s..%s]", figure(least), figure(most))
	}
	if m.CPU > 0 && r.units[row] == "req/s" {
		text += fmt.Sprintf(", %s µs CPU", figure(m.CPU))
	}
	return text
}

func bold(is bool, text string) string {
	if is {
		return "**" + text + "**"
	}
	return text
}

// named returns a figure with its name, as in "p99 3.1 ms" or "34,800/s".
func named(what string, v float64, unit string) string {
	if what == "" {
		return amount(v, unit)
	}
	return what + " " + amount(v, unit)
}

// amount returns a figure with its unit; a rate has no space before it.
func amount(v float64, unit string) string {
	switch unit {
	case "req/s", "1/s":
		return figure(v) + "/s"
	case "":
		return figure(v)
	}
	return figure(v) + " " + unit
}

// figure returns a number with three digits, and with a comma between the thousands.
func figure(v float64) string {
	if v < 1000 {
		return strconv.FormatFloat(round(v), 'f', -1, 64)
	}
	digits := strconv.FormatFloat(round(v), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// round keeps three significant digits.
func round(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// details returns the table of all measurements.
func (r *report) details() [][]string {
	known := func(v float64) string {
		if v == 0 {
			return ""
		}
		return figure(v)
	}
	rows := [][]string{{"row", "server", "figure", "spread", "CPU µs/request", "p50 ms", "p99 ms", "memory MB", "429s", "failures"}}
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
			least, most := all.spread()
			m := all.median()
			rows = append(rows, []string{row, name, amount(m.Value, r.units[row]), "[" + figure(least) + ".." + figure(most) + "]",
				known(m.CPU), known(m.P50), known(m.P99), known(m.Memory), known(m.Limited), known(m.Failed)})
		}
	}
	return rows
}

// rank returns the place of a server in the table: ecrin first.
func rank(name string) int {
	if name == ecrinName {
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
