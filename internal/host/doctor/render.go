package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteText writes checks as text: one line each, followed by the instruction.
func WriteText(w io.Writer, checks []Check) error {
	var b strings.Builder
	count := map[Status]int{}
	for _, c := range checks {
		count[c.Status]++
		fmt.Fprintf(&b, "%-4s  %s: %s\n", mark(c.Status), line(c.Name), line(c.Detail))
		if c.Fix != "" {
			fmt.Fprintf(&b, "      %s %s\n", arrow(c.Status), line(c.Fix))
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %d to look at, %d failed, %d not applicable\n", count[OK], count[Warn], count[Fail], count[Skip])
	_, err := io.WriteString(w, b.String())
	return err
}

func mark(s Status) string {
	if s == Fail {
		return "FAIL"
	}
	return string(s)
}

func arrow(s Status) string {
	if s == Skip {
		return "if needed:"
	}
	return "do:"
}

// line makes a value from outside (an error text, a server's response) safe for one line of a terminal.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// WriteJSON writes checks as JSON: {"ok": bool, "checks": [{"name", "status", "detail", "fix"}]}. ok is false
// if a check failed.
func WriteJSON(w io.Writer, checks []Check) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		OK     bool    `json:"ok"`
		Checks []Check `json:"checks"`
	}{Failed(checks) == 0, checks})
}
