// Package deploy_test checks what users deploy ecrin with: its container image, the compose files, the chart, the unit of
// systemd, the package,
// the alert rules and the dashboard.
package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

const root = "../.."

var workDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ecrin-deploy-")
	if err != nil {
		panic(err)
	}
	workDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir) // temporary
	os.Exit(code)
}

// program compiles ecrin for this machine, once for all tests.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(workDir, "ecrin-"+runtime.GOARCH)
	c := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/ecrin")
	c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := c.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: "go build: " + string(text), Err: err}
	}
	return path, nil
})

func ecrin(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// client returns a client that tools/clients/install installs.
func client(t *testing.T, label string) string {
	t.Helper()
	if path, err := exec.LookPath(label); err == nil {
		return path
	}
	out, err := exec.Command(root+"/tools/clients/install", "where").Output()
	if err == nil {
		if found, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), label+"-*[0-9]")); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatalf("%s is missing: run tools/clients/install", label)
	return ""
}

// run runs a command and returns what it prints. It must succeed.
func run(t *testing.T, args ...string) string {
	t.Helper()
	text, err := try(args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return text
}

// try runs a command and returns what it prints, on both outputs.
func try(args ...string) (string, error) {
	c := exec.Command(args[0], args[1:]...)
	c.Env = append(os.Environ(), "TMPDIR="+workDir, "HELM_CACHE_HOME="+workDir, "HELM_CONFIG_HOME="+workDir, "HELM_DATA_HOME="+workDir)
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	err := c.Run()
	return b.String(), err
}
