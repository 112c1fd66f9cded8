package main

import (
	"bytes"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const source = `package p

import "errors"

func f(a, b int, s string) (int, error) {
	if a > b && s != "" {
		return 0, errors.New("x" + s)
	}
	n := a + b
	n = b
	for n < 3 {
		n++
		g()
	}
	if err := h(n); err != nil {
		return n, err
	}
	return n, nil
}

func g()            {}
func h(n int) error { return nil }
`

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMutantsOf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(write(t, map[string]string{"p.go": source}), "p.go")
	all, err := mutantsOf(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, m.kind+": "+m.text)
		changed, err := m.changed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := format.Source(changed); err != nil || string(changed) == source {
			t.Errorf("%s: the changed file is no other Go file: %v", m.text, err)
		}
	}
	want := []string{
		`condition: a > b && s != "" → (a > b && s != "") \|\| true`,
		`condition: a > b && s != "" → (a > b && s != "") && false`,
		`operator: a > b && s != "" → \|\|`,
		`operator: a > b → >=`,
		`operator: a > b → <=`,
		`operator: s != "" → ==`,
		`error dropped: errors.New("x" + s) → nil`,
		`number: 0 → (0+1)`,
		`operator: a + b → -`,
		`assignment removed: n = b → _ = b`,
		`condition: n < 3 → false`,
		`operator: n < 3 → <=`,
		`operator: n < 3 → >=`,
		`number: 3 → (3+1)`,
		`assignment removed: n++ → _ = 0`,
		`call removed: g() → _ = 0`,
		`error ignored: err != nil → (err != nil) && false`,
		`operator: err != nil → ==`,
		`error dropped: err → nil`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mutants (-want +got):\n%s", diff)
	}
}

// The same seed gives the same sample, another seed another one.
func TestSample(t *testing.T) {
	t.Parallel()
	var all []mutant
	for i := range 200 {
		all = append(all, mutant{line: i})
	}
	lines := func(seed uint64, n int) (at []int) {
		for _, m := range sample(all, seed, n) {
			at = append(at, m.line)
		}
		return at
	}
	one := lines(1, 20)
	if again := lines(1, 20); !slices.Equal(one, again) || len(one) != 20 || !slices.IsSorted(one) {
		t.Errorf("seed 1: got %v, then %v, want the same 20 in order", one, again)
	}
	if other := lines(2, 20); slices.Equal(one, other) {
		t.Errorf("seeds 1 and 2: got %v for both", one)
	}
	if n := len(lines(1, 0)); n != 200 {
		t.Errorf("n = 0: got %d, want all 200", n)
	}
}

func built(t *testing.T) (tool string) {
	t.Helper()
	tool = filepath.Join(t.TempDir(), "mutate")
	if out, err := exec.Command("go", "build", "-o", tool, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the tool: %v\n%s", err, out)
	}
	return tool
}

// A whole measurement: the survivors are the places that the test does not look at, and the source stays as it is.
func TestRun(t *testing.T) {
	t.Parallel()
	tool := built(t)
	dir := write(t, map[string]string{
		"go.mod": "module example.com/p\n\ngo 1.26\n",
		"p.go": "package p\n\nfunc Larger(a, b int) int {\n\tif a > b {\n\t\treturn a\n\t}\n\treturn b\n}\n\n" +
			"func Unused() bool { return true }\n",
		"p_test.go": "package p\n\nimport \"testing\"\n\nfunc TestLarger(t *testing.T) {\n" +
			"\tif Larger(1, 2) != 2 || Larger(2, 1) != 2 {\n\t\tt.Error(\"wrong\")\n\t}\n}\n\n" +
			"func TestOneSide(t *testing.T) {\n\tif Larger(2, 1) != 2 {\n\t\tt.Error(\"wrong\")\n\t}\n}\n",
	})
	cmd := exec.Command(tool, "-pkg", ".", "-n", "0")
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("running the tool: %v\n%s", err, out.String())
	}
	for _, want := range []string{
		".: 5 of 5 changes", "| p.go:4 | operator | `a > b → >=` |", "| p.go:10 | truth | `true → false` |",
		"3 of 5 noticed (60 %): 3 by a failed test",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", out.String(), want)
		}
	}
	if strings.Count(out.String(), "| p.go:") != 2 {
		t.Errorf("got\n%s\nwant two survivors", out.String())
	}
	// The tests that -run leaves out notice nothing, and a pattern without tests is a mistake.
	for pattern, want := range map[string]string{"Side$": "2 of 5 noticed (40 %)", "Sides$": "no test matches -run Sides$"} {
		cmd := exec.Command(tool, "-pkg", ".", "-n", "0", "-run", pattern)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), want) || (err == nil) != (pattern == "Side$") {
			t.Errorf("with -run %s: got %v and\n%s\nwant %q in it", pattern, err, out, want)
		}
	}
	for lines, want := range map[string]string{
		"p.go:10":        "0 of 1 noticed (0 %)",
		"p.go:10,p.go:4": "3 of 5 noticed (60 %)",
		"p.go:1,q.go:10": "no change of the lines p.go:1,q.go:10",
	} {
		cmd := exec.Command(tool, "-pkg", ".", "-n", "1", "-at", lines)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), want) || (err == nil) != strings.HasSuffix(want, ")") {
			t.Errorf("with -at %s: got %v and\n%s\nwant %q in it", lines, err, out, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("the tool has left files: %v, %v", entries, err)
	}
}

// The packages of -tests run in turn, and the report lists the changes with which a test did not end in time.
func TestTimeLimitInTheSecondPackage(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"go.mod": "module example.com/p\n\ngo 1.26\n",
		"p.go":   "package p\n\nfunc Done() bool { return true }\n",
	})
	if err := os.Mkdir(filepath.Join(dir, "q"), 0o700); err != nil {
		t.Fatal(err)
	}
	const text = "package q\n\nimport (\n\t\"testing\"\n\t\"time\"\n\n\t\"example.com/p\"\n)\n\n" +
		"func TestDone(t *testing.T) {\n\tfor !p.Done() {\n\t\ttime.Sleep(time.Second)\n\t}\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "q", "q_test.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(built(t), "-pkg", ".", "-tests", ".,./q", "-timeout", "5s")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"| (time limit) p.go:3 | truth |", "1 of 1 noticed (100 %): 0 by a failed test, 1 by a time limit"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("got %v and\n%s\nwant %q in it", err, out, want)
		}
	}
}
