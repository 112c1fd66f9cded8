package cli_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
)

func nothing(string) (string, bool) { return "", false }

// Every command has a help text; commands with complex arguments have an example, an explanation or --json.
func TestHelp(t *testing.T) {
	t.Parallel()
	root := cli.Root(cli.Env{Out: io.Discard, Err: io.Discard, Lookup: nothing})
	seen := 0
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		seen++
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its short text is %q, want one without a full stop", path, cmd.Short)
		}
		var out, errs bytes.Buffer
		args := append(strings.Fields(path)[1:], "--help")
		if code := cli.Run(t.Context(), cli.Env{Args: args, Out: &out, Err: &errs, Lookup: nothing}); code != 0 || errs.Len() > 0 {
			t.Errorf("%s --help: exit code %d, standard error %q", path, code, errs.String())
		}
		for _, part := range []string{"Usage:", "ecrin"} {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s --help has no %q: %s", path, part, out.String())
			}
		}
		if !cmd.HasSubCommands() && strings.ContainsAny(cmd.Use, "[@") && cmd.Example == "" && cmd.Long == "" &&
			cmd.Flags().Lookup("json") == nil {
			t.Errorf("%s takes more than a name, and has neither an example nor an explanation", path)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	if seen < 25 {
		t.Errorf("the tree has %d commands, want at least the 25 of the first release", seen)
	}
}

// Every command that prints data also prints it as JSON.
func TestListsHaveJSON(t *testing.T) {
	t.Parallel()
	root := cli.Root(cli.Env{Out: io.Discard, Err: io.Discard, Lookup: nothing})
	for _, words := range []string{"env", "account list", "account create", "account keys list", "account keys create",
		"token list", "image history", "image deleted", "policy check", "policy grant", "explain", "audit", "control-policy list", "doctor"} {
		cmd, _, err := root.Find(strings.Fields(words))
		if err != nil || cmd.Flags().Lookup("json") == nil {
			t.Errorf("ecrin %s has no --json (%v)", words, err)
		}
	}
}

// Every command that finds a server works with AWS credentials too, or says that it needs the data directory. The others have neither
// flag.
func TestEveryCommandIsRemoteOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	local := 0
	for _, cmd := range leaves(t) {
		if cmd.Flag("data") == nil || slices.Contains([]string{"trust", "config", "doctor"}, strings.Fields(cmd.CommandPath())[1]) {
			continue // trust and doctor describe the server by flags of their own
		}
		if cmd.CommandPath() == "ecrin explain pull" {
			continue // it takes the steps of a node, which knows a reference and no server
		}
		if cmd.Flag("url") == nil {
			t.Errorf("%s has no --url", cmd.CommandPath())
			continue
		}
		args := append(strings.Fields(cmd.CommandPath())[1:], "--url", "http://localhost:1")
		for range strings.Count(cmd.Use, " ") {
			args = append(args, "x")
		}
		code, out, errs := run(t, args...)
		if code == 0 || out != "" {
			t.Errorf("%v: got %d, %s", args, code, out)
		}
		if !strings.Contains(errs, "needs the data directory of the server, because ") {
			continue
		}
		local++
		if cmd.Long == "" || cmd.Name() != "env" && !strings.Contains(cmd.Long, "needs the data directory of the server") {
			t.Errorf("%s: the help does not say that it needs the data directory", cmd.CommandPath())
		}
	}
	if local < 10 {
		t.Errorf("%d commands need the data directory, want the 10 of the operator", local)
	}
}
