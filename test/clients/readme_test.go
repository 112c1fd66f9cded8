package clients_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxNotRun is the number of blocks of the README that may say `not run: REASON`.
const maxNotRun = 2

// programs are the first words of the commands in code spans of the README.
var programs = []string{"aws", "bin/ecrin", "buildah", "cosign", "crane", "ctr", "docker", "ecrin", "eval", "helm", "make", "podman",
	"psql", "regctl", "skopeo", "sudo"}

// mentions are code spans that begin like a command and are none, with the reason.
var mentions = map[string]string{
	"docker save": "the name of a format", "make demo": "the name of a target", "make demo IMAGE=path": "an option of a target",
	"make demo-vendor":  "the name of a target, whose commands TestVendorWalkthrough runs",
	"make demo-release": "the name of a target, whose commands TestReleaseWalkthrough runs",
	"make test":         "the name of a target", "make bench": "the name of a target",
	"make nightly": "the name of a target, which runs for hours",
	"aws iam create-open-id-connect-provider": "the name of an operation; its arguments are those of an identity provider",
}

// whole are the commands of the README that run all of its commands: the demo is a test too.
var whole = []string{"make demo", "make test"}

// A step is one command of the README.
type step struct {
	line  int    // of the README
	code  string // several lines if a quotation has several
	block bool   // of an indented block; otherwise a code span
	row   string // the client of the table's row, or ""
}

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	notRun   = regexp.MustCompile(`^# not run: (.+)$`)
)

// readmeSteps returns the commands of the README in their order, and the reasons of the blocks that are not run. The commands of
// ecrin that TestReadmeCommands of package cli runs are left out: those in code spans and in the block of everyday commands.
func readmeSteps(t *testing.T, text string) (steps []step, reasons []string) {
	t.Helper()
	var block []step
	skipped, section := "", ""
	flush := func() {
		if skipped == "" {
			steps = append(steps, block...)
		} else {
			reasons = append(reasons, skipped)
		}
		block, skipped = nil, ""
	}
	for i, line := range strings.Split(text, "\n") {
		code, indented := strings.CutPrefix(line, "    ")
		if !indented && line != "" && block != nil || !indented && skipped != "" {
			flush()
		}
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		switch {
		case indented && notRun.MatchString(code):
			skipped = notRun.FindStringSubmatch(code)[1]
		case indented && slices.Contains(whole, strings.TrimSpace(withoutComment(code))):
		case indented:
			if n := len(block); n > 0 && strings.Count(withoutComment(block[n-1].code), "'")%2 == 1 {
				block[n-1].code += "\n" + code // inside of a quotation
				continue
			}
			if section != "Everyday commands" {
				block = append(block, step{line: i + 1, code: code, block: true})
			}
		default:
			row, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
			if !strings.HasPrefix(line, "| ") {
				row = ""
			}
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				words := strings.Fields(m[1])
				if m[1] == "P=$(aws ecr get-login-password)" || row == "buildah" && words[0] == "FROM" ||
					len(words) > 1 && slices.Contains(programs, words[0]) && mentions[m[1]] == "" && !ofPackageCLI(words) {
					steps = append(steps, step{line: i + 1, code: m[1], row: row})
				}
			}
		}
	}
	flush()
	return steps, reasons
}

// ofPackageCLI reports whether TestReadmeCommands of package cli runs a command.
func ofPackageCLI(words []string) bool {
	// Those of account create the account that later commands need.
	return (words[0] == "ecrin" || words[0] == "bin/ecrin") &&
		!slices.Contains([]string{"serve", "trust", "hosts", "doctor", "account"}, words[1])
}

func withoutComment(code string) string {
	code, _, _ = strings.Cut(code, "  #")
	return code
}

// TestReadme runs the commands of the README as they are written there, in their order, with real clients.
func TestReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(treeRoot, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	steps, reasons := readmeSteps(t, string(text))
	if len(reasons) > maxNotRun {
		t.Errorf("%d blocks of the README are not run, want at most %d: %q", len(reasons), maxNotRun, reasons)
	}
	t.Logf("not run: %q", reasons)
	for m, reason := range mentions {
		if !strings.Contains(string(text), "`"+m+"`") {
			t.Errorf("mentions has %s, %s, which the README does not have any more", m, reason)
		}
	}
	u := newReadmeReader(t)
	for _, s := range steps {
		if t.Failed() {
			return // what follows needs what has failed
		}
		u.do(s)
	}
	u.finish()
	for client, want := range map[string]int{"docker": 1, "podman": 1, "skopeo": 1, "buildah": 3, "containerd": 1, "crane": 2, "regctl": 3,
		"helm 3.18 or newer": 3, "cosign": 1} {
		if u.rows[client] != want {
			t.Errorf("ran %d commands of the row of %s, want %d", u.rows[client], client, want)
		}
	}
	if u.ran < 45 {
		t.Errorf("ran %d commands, want the 45 and more of the README", u.ran)
	}
}
