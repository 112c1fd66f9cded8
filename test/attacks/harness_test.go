// Package attacks_test runs the real program beside clients that try to exhaust it, and measures the process.
package attacks_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ecrin-attacks-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ecrin")
	build := exec.Command("go", "build", "-o", path, "github.com/ecrin-dev/ecrin/cmd/ecrin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is a running server.
type process struct {
	*apptest.Server
	cmd *exec.Cmd
	log *apptest.Buffer
}

// serve starts the program on a new data directory, by a shell that runs before first, and waits until it is ready.
func serve(t *testing.T, before string, args ...string) *process {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if before != "" {
		before += " && "
	}
	args = append([]string{"-c", before + `exec "$0" serve "$@"`, path, "--data", dir, "--listen", "127.0.0.1:0"}, args...)
	p := &process{cmd: exec.Command("sh", args...), log: &apptest.Buffer{}}
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatalf("starting the program: %v", err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "ecrin is ready") {
		t.Fatalf("the program printed %q, %v\n%s", line, err, p.log)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	p.Server = apptest.Attach(t, dir)
	return p
}

// resetPeak makes peak count from now on.
func (p *process) resetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Skipf("the peak of the memory of a process cannot be measured here: %v", err)
	}
}

// peak is the highest resident memory of the process since resetPeak, in MB.
func (p *process) peak(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb * 1024 / 1e6
}
