package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// policyKinds are the values of --kind. IAM limits the length of a policy by the place that stores it: usual is the
// limit of the usual place, max the greatest limit. Lengths are in characters without white space.
// Sources: quotas of IAM and STS, and of Organizations; ECR service model, RepositoryPolicyText.
var policyKinds = []struct {
	word       string
	kind       policy.Kind
	usual, max int
	place      string // the place with the limit usual
}{
	{"repository", policy.Repository, policy.MaxLength, policy.MaxLength, ""},
	{"registry", policy.Registry, policy.MaxLength, policy.MaxLength, ""},
	{"identity", policy.Identity, 6144, 10240, "a managed policy"},
	{"trust", policy.Trust, 2048, 4096, "a role's trust policy in an account with the usual quota"},
	{"session", policy.Session, 2048, 2048, ""},
	{"boundary", policy.Boundary, 6144, 6144, ""},
	{"scp", policy.ServiceControl, 10240, 10240, ""},
	{"rcp", policy.ResourceControl, 5120, 5120, ""},
}

// maxPolicyFile limits the bytes of a policy's file. It is more than any policy may have, white space included.
const maxPolicyFile = 1 << 20

// finding is one finding of ecrin policy check.
type finding struct {
	Severity string `json:"severity"` // error or warning
	Code     string `json:"code,omitempty"`
	Path     string `json:"path,omitempty"`   // path of the element
	Line     int    `json:"line,omitempty"`   // from 1; only set for errors
	Column   int    `json:"column,omitempty"` // from 1, in characters
	Text     string `json:"text"`
}

func (c *commands) policyCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check FILE|-|REPOSITORY", Args: exactly("FILE"), Short: "Report errors and warnings of a policy, or what a principal may do",
		Long: `Parse a policy as the server does and report errors, with line and column, and warnings about valid but probably
unintended content: access for all principals, statements without effect, actions that ECR does not have.

The exit code is 1 for an error, and with --strict also for a warning.

With --principal the argument is a repository: the server answers which of the 8 actions that deployment platforms ask for the principal has
on it, by its identity policies and the policy of the repository together, and what would allow the others. The exit code is 3 if one is
denied.`,
		Example: "  ecrin policy check policy.json\n  ecrin policy check --kind identity --strict - < role.json\n" +
			"  ecrin policy check team/app --principal arn:aws:iam::111122223333:role/nodes",
	}
	c.dataFlag(cmd)
	var words []string
	for _, k := range policyKinds {
		words = append(words, k.word)
	}
	kind := cmd.Flags().String("kind", words[0], "`kind` of policy: "+strings.Join(words, ", "))
	principal := cmd.Flags().String("principal", "", "the `ARN` or account whose actions on the repository are checked")
	where := registryFlag(cmd, "of the policy, to report ARNs of other registries, or of the repository")
	strict, asJSON := cmd.Flags().Bool("strict", false, "treat warnings as errors"), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("principal") {
			if cmd.Flags().Changed("kind") || cmd.Flags().Changed("strict") {
				return usageError{errors.New("--principal is for a repository of a server, --kind and --strict are for a policy in a file")}
			}
			return c.checkAccess(cmd, args[0], *principal, *where, *asJSON)
		}
		at := -1
		for i, k := range policyKinds {
			if k.word == *kind {
				at = i
			}
		}
		if at < 0 {
			return usageError{fmt.Errorf("--kind must be one of %s, got %q", strings.Join(words, ", "), *kind)}
		}
		reg, err := parseRegistry(*where)
		if err != nil {
			return err
		}
		text, err := readPolicy(cmd.InOrStdin(), args[0])
		if err != nil {
			return err
		}
		k := policyKinds[at]
		d, err := policy.ParseLimit(text, k.kind, k.max)
		findings := []finding{}
		var broken *policy.Problem
		switch {
		case errors.As(err, &broken):
			findings = append(findings, finding{Severity: "error", Path: broken.Path, Line: broken.Line, Column: broken.Column, Text: broken.Reason})
		case err != nil:
			return errors.New(fault.From(err).Public)
		default:
			if _, err := policy.ParseLimit(text, k.kind, k.usual); errors.As(err, &broken) {
				findings = append(findings, finding{Severity: "warning", Code: "long", Line: broken.Line, Column: broken.Column,
					Text: broken.Reason + ", too long for " + k.place})
			}
			for _, w := range policy.Warnings(d, reg) {
				findings = append(findings, finding{Severity: "warning", Code: string(w.Code), Path: w.Path, Text: w.Text})
			}
		}
		if *asJSON {
			err = c.printJSON(map[string]any{"kind": k.word, "valid": d != nil, "findings": findings})
		} else {
			err = c.printFindings(args[0], text, findings)
		}
		switch {
		case err != nil:
			return err
		case d == nil:
			return fmt.Errorf("%s is not a valid %s policy", args[0], k.kind)
		case *strict && len(findings) > 0:
			return fmt.Errorf("%s has warnings", args[0])
		case len(findings) == 0 && !*asJSON:
			c.say("%s is a valid %s policy", args[0], k.kind)
		}
		return nil
	}
	return cmd
}

// readPolicy reads a file, or standard input for "-".
func readPolicy(stdin io.Reader, file string) (string, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		stdin = f
	}
	text, err := io.ReadAll(io.LimitReader(stdin, maxPolicyFile+1))
	if err != nil {
		return "", fmt.Errorf("reading the policy: %w", err)
	}
	if len(text) > maxPolicyFile {
		return "", fmt.Errorf("%s has more than %d bytes: too long for a policy", file, maxPolicyFile)
	}
	return string(text), nil
}

// printFindings prints FILE:LINE:COLUMN: SEVERITY: PATH: TEXT for each finding, then the line with a mark at the
// column.
func (c *commands) printFindings(file, text string, all []finding) error {
	var out strings.Builder
	for _, f := range all {
		out.WriteString(file)
		if f.Line > 0 {
			fmt.Fprintf(&out, ":%d:%d", f.Line, f.Column)
		}
		out.WriteString(": " + f.Severity + ": ")
		if f.Path != "" {
			out.WriteString(f.Path + ": ")
		}
		out.WriteString(f.Text + "\n")
		if f.Line > 0 {
			shown, before := excerpt(text, f.Line, f.Column)
			fmt.Fprintf(&out, "%s\n%s^\n", strings.TrimRight("  "+shown, " "), strings.Repeat(" ", 2+before))
		}
	}
	_, err := io.WriteString(c.Out, out.String())
	return err
}

// maxShown limits the characters of a line that are printed, maxShownBefore those of them before the column.
const (
	maxShown       = 100
	maxShownBefore = 60
)

// excerpt returns the part of a line around a column, and the number of its characters before the column. Unprintable
// characters are replaced by spaces, so that the mark is at the right place.
func excerpt(text string, line, column int) (shown string, before int) {
	lines := strings.Split(text, "\n")
	if line > len(lines) {
		return "", 0 // YAML ends lines at other characters too
	}
	chars := []rune(lines[line-1])
	column = min(column, len(chars)+1)
	start := max(column-1-maxShownBefore, 0)
	end := min(start+maxShown, len(chars))
	part := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, string(chars[start:end]))
	before = column - 1 - start
	if start > 0 {
		part, before = "…"+part, before+1
	}
	if end < len(chars) {
		part += "…"
	}
	return part, before
}
