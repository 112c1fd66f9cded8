package clients_test

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/tools/pack"
)

// TestTestcontainersModule runs the test of deploy/testcontainers, whose lines docs/apply.md has, with a real docker engine and the image
// of ecrin.
func TestTestcontainersModule(t *testing.T) {
	s := withEngine(rowSession(t))
	program, err := exec.LookPath("ecrin")
	if err != nil {
		t.Fatal(err)
	}
	layout := s.path("image")
	binaries := []pack.Binary{{Arch: runtime.GOARCH, Path: program}}
	if _, err := pack.Build(t.Context(), layout, pack.Ecrin("ecrin.test/ecrin:1"), binaries); err != nil {
		t.Fatal(err)
	}
	const repo = "tools/ecrin"
	ref := s.repo(repo) + ":1"
	s.storeLogin(s.password())
	s.cmd("crane", "push", layout, ref).ok()
	s.cmd("docker", "pull", "--quiet", ref).ok()
	page, err := os.ReadFile(treeRoot + "/docs/apply.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(treeRoot + "/deploy/testcontainers/ecrin_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```go\n")
	example, _, _ = strings.Cut(example, "```")
	if n := strings.Count(example, "\n"); n < 15 || n > 20 {
		t.Errorf("the example of docs/apply.md has %d lines, want 15 to 20", n)
	}
	for line := range strings.Lines(example) {
		if !strings.Contains(string(code), line) {
			t.Errorf("docs/apply.md has the line %q, which the test of the module has not", line)
		}
	}
	out := s.cmd("testcontainers.test", "-test.v").with("ECRIN_IMAGE="+ref, "TESTCONTAINERS_RYUK_DISABLED=true").ok()
	if !strings.Contains(out, "--- PASS: TestCrossAccount") {
		t.Errorf("the test of the module: got\n%s", out)
	}
}
