package clients_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// fakeGo is a go command that builds a program in no time, but only when a second build runs beside it, and writes down what it built. It
// gives up after 20 s.
const fakeGo = `#!/bin/sh
case $1 in
build)
	for package; do :; done
	echo "$package" >>"$BUILT"
	mkdir -p "$BUILDING/$$"
	case $package in *"${FAIL:-none}") echo "it was told to fail"; exit 1 ;; esac
	n=0
	while [ "$(ls "$BUILDING" | wc -l)" -lt 2 ]; do
		n=$((n + 1)); [ $n -lt 200 ] || { echo "no other build runs"; exit 1; }
		sleep 0.1
	done
	while [ $# -gt 0 ]; do
		if [ "$1" = -o ]; then printf '#!/bin/sh\n' >"$2"; chmod 755 "$2"; fi
		shift
	done ;;
esac
`

// installer returns a function that runs tools/clients/install with the fake go command, and the file that lists what was built.
func installer(t *testing.T, environ ...string) (run func(args ...string) (said string, err error), built string) {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"bin", "building", "cache"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "go"), []byte(fakeGo), 0o700); err != nil {
		t.Fatal(err)
	}
	built = filepath.Join(dir, "built")
	return func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "./install", args...)
		cmd.Env = append(os.Environ(), append([]string{"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "BUILT=" + built,
			"BUILDING=" + filepath.Join(dir, "building"), "ECRIN_CLIENTS=" + filepath.Join(dir, "cache"), "ECRIN_BUILDS=2"}, environ...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}, built
}

// Clients are built in parallel, by several runs at the same time each once, and every build says what it does and how long it took.
func TestClientsAreBuiltOnceInParallel(t *testing.T) {
	t.Parallel()
	run, built := installer(t)
	var runs sync.WaitGroup
	said := make([]string, 2)
	for i := range said {
		runs.Go(func() {
			var err error
			if said[i], err = run("modules"); err != nil {
				t.Errorf("install modules: %v\n%s", err, said[i])
			}
		})
	}
	runs.Wait()
	text, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(text))
	if len(packages) != 11 {
		t.Errorf("built %q, want each of the 11 modules once", packages)
	}
	for _, want := range []string{`(?m)^clients: building crane v[0-9.]+ \(log: .*\) …$`,
		`(?m)^clients: building crane v[0-9.]+ \(log: .*\): [0-9]+ s$`} {
		if !regexp.MustCompile(want).MatchString(said[0] + said[1]) {
			t.Errorf("the runs said\n%s%s\nwant a line like %s", said[0], said[1], want)
		}
	}
	if said, err := run("modules"); err != nil || said != "" {
		t.Errorf("a later run: got %q, %v, want nothing to do", said, err)
	}
}

// A build that fails is reported with the end of its log, the others are built, and the next run builds it again.
func TestFailedBuildIsReported(t *testing.T) {
	t.Parallel()
	none, _ := installer(t)
	said, err := none("crane", "nosuch")
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(said, "unknown: nosuch") {
		t.Errorf("install nosuch: got %v, %s", err, said)
	}
	run, built := installer(t, "FAIL=cmd/helm")
	said, err = run("regctl", "helm")
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(said, "it was told to fail") ||
		!regexp.MustCompile(`(?m)^clients: building helm .*: failed after [0-9]+ s$`).MatchString(said) {
		t.Errorf("a build that fails: got %v, %s", err, said)
	}
	if _, err := run("regctl", "helm"); err == nil {
		t.Error("a failed build counts as built")
	}
	text, err := os.ReadFile(built)
	if err != nil || strings.Count(string(text), "cmd/regctl") != 1 || strings.Count(string(text), "cmd/helm") != 2 {
		t.Errorf("built %s, %v, want regctl once and helm twice", text, err)
	}
}

// elapsed says what it runs, tells the time while it runs and at the end, and gives back exit code and output of the command.
func TestElapsed(t *testing.T) {
	t.Parallel()
	run := func(args ...string) (out, said string, code int) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "../elapsed", args...)
		cmd.Env = append(os.Environ(), "ECRIN_PROGRESS=1")
		var o, e bytes.Buffer
		cmd.Stdout, cmd.Stderr = &o, &e
		err := cmd.Run()
		exit := (*exec.ExitError)(nil)
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return o.String(), e.String(), cmd.ProcessState.ExitCode()
	}
	out, said, code := run("the suite", "sh", "-c", "echo result; sleep 1.5; exit 3")
	want := regexp.MustCompile(`^the suite …\n(the suite … [0-9]+ s\n)+the suite: failed after [0-9]+ s\n$`)
	if out != "result\n" || code != 3 || !want.MatchString(said) {
		t.Errorf("got %q, %q and %d", out, said, code)
	}
	want = regexp.MustCompile(`^a …\n(a … [0-9]+ s\n)*a: [0-9]+ s\n$`) // a busy machine may take its time
	if out, said, code = run("a", "true"); out != "" || code != 0 || !want.MatchString(said) {
		t.Errorf("got %q, %q and %d", out, said, code)
	}
	if _, said, code = run("a"); code != 2 || !strings.Contains(said, "elapsed WHAT COMMAND") {
		t.Errorf("without a command: got %q and %d", said, code)
	}
}

// The folder of plug-ins that ECRIN_TERRAFORM_PLUGINS names is linked for the test with Terraform, if it has the provider of AWS.
func TestTerraformPluginsAreLinked(t *testing.T) {
	t.Parallel()
	dir, to := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "registry.terraform.io/hashicorp/aws"), 0o700); err != nil {
		t.Fatal(err)
	}
	run, _ := installer(t, "ECRIN_TERRAFORM_PLUGINS="+dir)
	if said, err := run("link", to); err != nil {
		t.Fatalf("link: %v: %s", err, said)
	}
	if got, err := os.Readlink(filepath.Join(to, "terraform-plugins")); err != nil || got != dir {
		t.Errorf("the linked folder of plug-ins: got %q, %v, want %q", got, err, dir)
	}
}
