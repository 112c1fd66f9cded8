// Package clients_test tests ecrin, the real binary, with the usual clients of ECR.
//
// Every client performs login, push, pull and delete, as far as it supports them, on two servers: plain HTTP on
// localhost:PORT, and TLS with the real ECR host names. No client gets options that it would not get for ECR,
// except an endpoint or an option for plain HTTP on the first server.
//
// The tests run in separate namespaces (mounts, network, processes), so that /etc/hosts, port 443, /run and all
// daemons are private, and everything that remains ends with the namespace. That requires root. A client that
// is not installed is a failure: run tools/clients/install. With -short, no test runs.
package clients_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
)

// insideEnv is the variable with the work folder; it is set if this process runs in its own namespaces.
const treeRoot = "../.." // of the package's folder, in which tests run

const insideEnv = "ECRIN_CLIENTS_WORK"

func TestMain(m *testing.M) {
	if os.Getenv(loopbackEnv) != "" {
		fmt.Fprintln(os.Stderr, "clients:", becomeOnLoopback())
		os.Exit(1)
	}
	flag.Parse()
	if testing.Short() {
		fmt.Println("clients: skipped with -short; the whole run requires root and tools/clients/install")
		os.Exit(0)
	}
	// -list starts no servers, so that it needs no namespace.
	if flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run())
	}
	if work := os.Getenv(insideEnv); work != "" {
		os.Exit(inside(m, work))
	}
	code, err := outside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
	}
	os.Exit(code)
}

// outside prepares what requires the real machine (the binaries), runs this test binary in new namespaces, and
// removes everything afterwards.
func outside() (code int, err error) {
	if runtime.GOOS != "linux" {
		return 1, fmt.Errorf("these tests need Linux namespaces; use -short on %s", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return 1, fmt.Errorf("these tests need root (dockerd, containerd, namespaces); use -short without it")
	}
	// The name is short, because the path of a Unix socket has at most 107 bytes.
	work, err := os.MkdirTemp("", "ecrin-c-")
	if err != nil {
		return 1, err
	}
	// An interrupt ends the namespace first, so that everything is removed in this case too.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	defer func() {
		if left := removeTraces(work); left != nil && err == nil {
			code, err = 1, left
		}
	}()
	if err := prepare(work); err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}

	// The shell is process 1 of the namespace: it waits for orphans of daemons, which a Go program would not do.
	args := append([]string{"--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child",
		"--mount-proc", "sh", "-c", `"$@"; exit $?`, "sh", self}, os.Args[1:]...)
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"="+work)
	// If this process is killed, the kernel kills unshare, and with it the namespace. The signal is bound to the
	// thread.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() > 0 {
			return cmd.ProcessState.ExitCode(), nil // the tests have printed the reason
		}
		return 1, fmt.Errorf("running the tests in their own namespaces: %w", err)
	}
	return 0, nil
}

// prepare writes the ecrin binary ($ECRIN_BIN, or built from the tree) and the built clients to WORK/bin.
func prepare(work string) error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	bin := filepath.Join(work, "bin")
	link := exec.Command(filepath.Join(root, "tools/clients/install"), "link", bin)
	if out, err := link.CombinedOutput(); err != nil {
		return fmt.Errorf("finding the built clients: %w\n%s", err, out)
	}
	module := exec.Command("go", "test", "-c", "-ldflags=-w", "-o", filepath.Join(bin, "testcontainers.test"), ".")
	module.Dir = filepath.Join(root, "deploy/testcontainers")
	if out, err := module.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling the tests of the Testcontainers module: %w\n%s", err, out)
	}
	ecrin := filepath.Join(bin, "ecrin")
	if given := os.Getenv("ECRIN_BIN"); given != "" {
		return os.Symlink(given, ecrin)
	}
	// As the README does, but without -trimpath, so that the packages that are built for the tests need not be built again.
	build := exec.Command("make", "build", "BUILDFLAGS=")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building ecrin: %w\n%s", err, out)
	}
	content, err := os.ReadFile(filepath.Join(root, "bin", "ecrin"))
	if err != nil {
		return err
	}
	return os.WriteFile(ecrin, content, 0o755) // a copy: another build may replace bin/ecrin during the tests
}

// inside runs the tests in the namespaces that outside created, then stops the shared servers and daemons.
func inside(m *testing.M, work string) int {
	if err := furnish(work); err != nil {
		fmt.Fprintln(os.Stderr, "clients: setting up the namespaces:", err)
		return 1
	}
	code := m.Run()
	for _, stop := range slices.Backward(shared.stops) {
		stop()
	}
	return code
}
