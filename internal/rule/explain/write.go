package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// Write writes an explanation as text: the decision in one sentence, the verdict of each layer, the statements that
// took part in it, and for a denied request the changes that would allow it, as commands to paste.
//
// Errors: those of w.
func Write(w io.Writer, e ecrintypes.Explanation) error {
	var b bytes.Buffer
	t := text{&b}
	t.line("%s", Sentence(e))
	if e.RequestId != "" {
		t.line("request %s", e.RequestId)
	}
	if e.Note != "" {
		t.line("%s", e.Note)
	}
	if !undecided(e) {
		t.layers(e.Layers)
		t.findings(e)
		if !e.Allowed && e.CurrentVerdict != ecrintypes.VerdictAllowed && len(e.Layers) > 0 {
			t.changes(e)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// undecided reports whether the explanation is of a recorded request that no policy decided: it was allowed, and the
// audit trail has no reasons of allowed requests, or it was refused because of the kind of its credentials.
func undecided(e ecrintypes.Explanation) bool { return e.RequestId != "" && e.DecidedBy == "" }

// Sentence returns the decision and the layer that made it, in one sentence.
func Sentence(e ecrintypes.Explanation) string {
	who, what := e.PrincipalArn, e.Action+" on "+e.Resource
	if who == "*" {
		who = "an anonymous caller"
	}
	switch {
	case undecided(e) && e.Allowed:
		return fmt.Sprintf("allowed: %s may %s (the trail keeps the reasons of denials only)", who, what)
	case !e.Allowed && e.DecidedBy == "":
		return "denied: " + e.Text
	case e.Allowed && e.DecidedBy == "":
		return fmt.Sprintf("allowed: %s may %s, as root user of the account that owns it", who, what)
	case e.Allowed:
		return fmt.Sprintf("allowed by %s: %s may %s", decider(e, policy.Allow), who, what)
	case e.Verdict == ecrintypes.VerdictExplicitDeny:
		return fmt.Sprintf("denied by %s: %s may not %s", decider(e, policy.Deny), who, what)
	}
	return fmt.Sprintf("denied because no %s allows it: %s may not %s", noun(e.DecidedBy), who, what)
}

// decider returns the name of the policy that decided and of its statement, if the findings have them.
func decider(e ecrintypes.Explanation, effect policy.Effect) string {
	all := e.Findings
	if e.RequestId != "" && e.Note != "" { // the findings are of now
		all = e.Statements
	}
	for _, f := range all {
		if f.Layer == e.DecidedBy && f.Effect == string(effect) && f.Failed == "" {
			return "the " + noun(f.Layer) + " " + statementName(f)
		}
	}
	return "a " + noun(e.DecidedBy)
}

// noun returns the singular noun for the policies of a layer.
func noun(layer string) string {
	if layer == policy.LayerBoundary.String() {
		return layer
	}
	return layer + " policy"
}

// statementName returns the policy and the statement of a finding, in parentheses.
func statementName(f ecrintypes.Finding) string {
	p := f.Policy
	if f.PolicyArn != "" {
		p = f.PolicyArn
	}
	s := fmt.Sprintf("(%s, Statement[%d]", p, f.Statement)
	if f.Sid != "" {
		s += fmt.Sprintf(", Sid %q", f.Sid)
	}
	return s + ")"
}

type text struct{ *bytes.Buffer }

// line writes one line. Control characters are replaced, because the line contains values that clients have sent.
func (t text) line(format string, args ...any) {
	t.WriteString(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return unicode.ReplacementChar
		}
		return c
	}, fmt.Sprintf(format, args...)))
	t.WriteByte('\n')
}

func (t text) layers(all []ecrintypes.LayerVerdict) {
	if len(all) == 0 {
		return
	}
	t.line("")
	results := map[ecrintypes.Verdict]string{
		ecrintypes.VerdictAllowed: "allows", ecrintypes.VerdictImplicitDeny: "does not allow", ecrintypes.VerdictExplicitDeny: "denies",
	}
	var table bytes.Buffer
	rows := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintln(rows, "LAYER\tRESULT\tNOTE")
	for _, l := range all {
		fmt.Fprintf(rows, "%s\t%s\t%s\n", l.Layer, results[l.Verdict], l.Note)
	}
	_ = rows.Flush() // into memory
	for l := range strings.Lines(table.String()) {
		t.line("%s", strings.TrimRight(l, " \n"))
	}
}

func (t text) findings(e ecrintypes.Explanation) {
	all := e.Findings
	if len(e.Layers) == 0 {
		return // the policies could not be asked
	}
	t.line("")
	if len(all) == 0 {
		t.line("No statement matches it, or would but for one element.")
		return
	}
	t.line("Statements that match it, or would but for one element:")
	for _, f := range all {
		t.line("  %s in the %s %s", f.Effect, noun(f.Layer), statementName(f))
		if f.Failed == "" {
			t.line("    matches")
		} else {
			t.line("    does not match because of its %s: %s", f.Failed, f.Detail)
		}
	}
}

// Cure returns the commands of the first change that would allow a denied request: with what precedes them unless it is one line that a
// shell can execute. It is "" if no policy can allow it.
func Cure(e ecrintypes.Explanation) string {
	if len(e.Changes) == 0 {
		return ""
	}
	step := stepOf(e, e.Changes[0])
	commands := strings.Join(step.lines, "\n")
	if strings.HasPrefix(commands, "ecrin ") && len(e.Changes) == 1 || e.Changes[0].Alternative {
		return commands
	}
	return step.what + "\n" + commands
}

// changes writes the changes that would allow the request. Alternatives are marked with "or".
func (t text) changes(e ecrintypes.Explanation) {
	t.line("")
	if len(e.Changes) == 0 {
		t.line("No policy can allow it.")
		return
	}
	var needed, either []ecrintypes.PolicyChange
	for _, c := range e.Changes {
		if c.Alternative {
			either = append(either, c)
		} else {
			needed = append(needed, c)
		}
	}
	switch {
	case len(either) == 0 && len(needed) > 1:
		t.line("To allow it, do all of this:")
	case len(either) > 1 && len(needed) > 0:
		t.line("To allow it, do one of the two marked \"or\", and all the rest:")
	case len(either) > 1:
		t.line("To allow it, do one of the two:")
	default:
		t.line("To allow it:")
	}
	for i, c := range append(needed, either...) {
		mark := "-"
		if len(either) > 1 && i > len(needed) {
			mark = "- or"
		}
		step := stepOf(e, c)
		t.line("")
		t.line("%s %s", mark, step.what)
		for _, l := range step.lines {
			for one := range strings.Lines(l) {
				t.line("    %s", strings.TrimRight(one, "\n"))
			}
		}
	}
}

// pretty formats a policy with one value on each line.
func pretty(policyText string) string {
	var out bytes.Buffer
	if json.Indent(&out, []byte(policyText), "", "  ") != nil {
		return policyText
	}
	return out.String()
}

// word quotes s, if necessary, so that a shell reads it as one word.
func word(s string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:@%+=,-"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
