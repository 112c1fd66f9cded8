package cli_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
)

// documents are the texts for users, with the directory that the links of each are relative to.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found, err := filepath.Glob("../../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob("../../../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, path := range append(append(found, deeper...), "../../../README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(text)
	}
	return texts
}

var (
	span      = regexp.MustCompile("`([^`\n]+)`")
	link      = regexp.MustCompile(`\]\(([^)#]+)`)
	evaluated = regexp.MustCompile(`^eval "\$\((.*)\)"$`)
	column    = regexp.MustCompile(` {2,}`)
	choice    = regexp.MustCompile(`[a-z]+(\|[a-z]+)+`)
)

// commandLines finds the ecrin commands of a document, in its indented blocks and its code spans. A line with
// alternatives such as list|revoke is one command for each.
func commandLines(text string) []string {
	var candidates, lines []string
	for line := range strings.Lines(text) {
		code, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		if ok {
			code, _, _ = strings.Cut(code, "  #")
			candidates = append(candidates, column.Split(code, -1)...)
			continue
		}
		for _, m := range span.FindAllStringSubmatch(line, -1) {
			candidates = append(candidates, m[1])
		}
	}
	for _, c := range candidates {
		c = strings.TrimSpace(c)
		if m := evaluated.FindStringSubmatch(c); m != nil {
			c = m[1]
		}
		c = strings.TrimPrefix(strings.TrimPrefix(c, "sudo "), "bin/")
		if !strings.HasPrefix(c, "ecrin ") {
			continue
		}
		for _, one := range strings.Split(choice.FindString(c), "|") {
			whole := choice.ReplaceAllLiteralString(c, one)
			if !slices.Contains(lines, whole) {
				lines = append(lines, whole)
			}
		}
	}
	return lines
}

// Every command in a document exists and accepts the flags that it is shown with; every link leads to a file; every
// make target exists.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for path, text := range documents(t) {
		for _, line := range commandLines(text) {
			seen++
			root := cli.Root(cli.Env{Out: io.Discard, Err: io.Discard, Lookup: nothing})
			root.InitDefaultCompletionCmd()
			cmd, rest, err := root.Find(strings.Fields(line)[1:])
			if err != nil || cmd == root {
				t.Errorf("%s: `%s` is no command (%v)", path, line, err)
				continue
			}
			if err := cmd.ParseFlags(rest); err != nil {
				t.Errorf("%s: `%s`: %v", path, line, err)
			} else if err := cmd.ValidateArgs(cmd.Flags().Args()); cmd.HasSubCommands() && err != nil {
				t.Errorf("%s: `%s`: %v", path, line, err)
			}
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil && !strings.Contains(m[1], "://") {
				t.Errorf("%s: the link %s leads nowhere", path, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`(?m)(?:^    |`+"`"+`)make ([a-z]+)`).FindAllStringSubmatch(text, -1) {
			if !bytes.Contains(makefile, []byte("\n"+m[1]+":")) {
				t.Errorf("%s: make has no target %s", path, m[1])
			}
		}
	}
	if seen < 25 {
		t.Errorf("found %d commands, want the 25 and more of the README alone", seen)
	}
}

// Every command of the README that needs no client and does not change the machine works as it is written, one after
// the other, on a server that is used as the README describes.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	_, data := launch(t)
	digests := map[string]string{}
	for _, image := range []string{"kept", "deleted"} {
		tag := map[string]string{"kept": "latest"}[image]
		var err error
		if digests[image], err = push(t.Context(), data, "team/app", tag, image); err != nil {
			t.Fatal(err)
		}
	}
	if err := deleteImage(t.Context(), data, "team/app", digests["deleted"]); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{"ECRIN_DATA": data, "HOME": t.TempDir()}
	if _, err := userKey(t.Context(), data, "ci"); err != nil {
		t.Fatal(err)
	}
	if err := createRole(t.Context(), data, "deploy"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ecrin.yaml")
	if err := os.WriteFile(file, []byte("region: eu-west-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(rules, []byte(`{"version":"ecrin-lifecycle-1","protect":[{"patterns":["latest"]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	desired := filepath.Join(t.TempDir(), "desired.yaml")
	if err := os.WriteFile(desired, []byte(`{accounts: {"000000000000": {}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	// Replacements for the placeholders of the README, and arguments that the verbs of a group need.
	concrete := strings.NewReplacer("apply -f FILE", "apply -f "+desired, "sha256:…", digests["deleted"], "FILE", file, "rules.json", rules,
		"DIR", filepath.Join(t.TempDir(), "backup"),
		"account delete", "account delete 111122223333", "token revoke", "token revoke --all",
		"webhook add NAME https://HOST/PATH", "webhook add deploy https://receiver.invalid/")
	ran := 0
	for _, line := range commandLines(documents(t)["../../../README.md"]) {
		words := strings.Fields(line)
		if slices.Contains([]string{"serve", "trust", "hosts", "doctor", "key"}, words[1]) ||
			slices.Contains([]string{"bundle", "export", "import", "install", "release"}, words[1]) || // which TestReadme of test/clients runs
			strings.HasPrefix(line, "ecrin token list --") ||
			strings.HasSuffix(line, "--follow") || // which goes on until it is stopped
			strings.HasPrefix(line, "ecrin explain pull") || strings.HasPrefix(line, "ecrin refresh") ||
			strings.HasPrefix(line, "ecrin access ") && words[2] != "list" || // which need a user that was denied
			strings.HasPrefix(line, "ecrin credential status") || strings.HasPrefix(line, "ecrin cluster connect") { // which need a cluster
			continue // other tests run these; their output depends on the machine, or on the environment of the process
		}
		args := strings.Fields(concrete.Replace(line))[1:]
		var out, errs bytes.Buffer
		code := cli.Run(t.Context(), cli.Env{Args: args, Out: &out, Err: &errs, Lookup: func(key string) (string, bool) {
			v, ok := environment[key]
			return v, ok
		}})
		if code != 0 || out.Len()+errs.Len() == 0 {
			t.Errorf("`%s`: exit code %d\n%s%s", line, code, out.String(), errs.String())
		}
		ran++
	}
	if ran < 15 {
		t.Errorf("ran %d commands, want the 15 and more of the README", ran)
	}
}
