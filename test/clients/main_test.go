// Package clients_test drives ecrin, the real binary, with the real clients that people use against ECR.
//
// Every client does what it can of login, push, pull and delete on two doors: plain HTTP on localhost:PORT, and TLS
// under the real ECR host names. No client is told anything that it would not be told against ECR, except an endpoint
// or a plain-HTTP switch on the first door.
//
// The tests run in namespaces of their own (mounts, network, processes), so /etc/hosts, port 443, /run and every
// daemon in here are private, and whatever is left over dies with the namespace. That needs root. A client that is not
// installed is a failure: run tools/clients/install. With -short nothing here runs.
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

// insideEnv names the work folder and says that this process is already in its own namespaces.
const insideEnv = "ECRIN_CLIENTS_WORK"

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("clients: left out with -short; the whole run needs root and tools/clients/install")
		os.Exit(0)
	}
	// Listing tests starts nothing, so it needs no namespace either.
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

// outside prepares what needs the real machine (the binaries), runs this test binary again in new namespaces, and
// removes everything afterwards.
func outside() (code int, err error) {
	if runtime.GOOS != "linux" {
		return 1, fmt.Errorf("these tests need Linux namespaces; use -short on %s", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return 1, fmt.Errorf("these tests need root (dockerd, containerd, namespaces); use -short without it")
	}
	// Short, because the path of a Unix socket has at most 107 bytes.
	work, err := os.MkdirTemp("", "ecrin-c-")
	if err != nil {
		return 1, err
	}
	// An interrupt ends the namespace first, so that all of this is removed also then.
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

	// The shell is process 1 in there: it waits for orphans, which daemons leave and a Go program would not reap.
	args := append([]string{"--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child",
		"--mount-proc", "sh", "-c", `"$@"; exit $?`, "sh", self}, os.Args[1:]...)
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"="+work)
	// When this process is killed the kernel ends unshare, and with it the namespace. The signal is bound to the thread.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() > 0 {
			return cmd.ProcessState.ExitCode(), nil // the tests have said why
		}
		return 1, fmt.Errorf("running the tests in their own namespaces: %w", err)
	}
	return 0, nil
}

// prepare fills WORK/bin with the ecrin binary ($ECRIN_BIN, or built from the tree) and the built clients.
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
	ecrin := filepath.Join(bin, "ecrin")
	if given := os.Getenv("ECRIN_BIN"); given != "" {
		return os.Symlink(given, ecrin)
	}
	build := exec.Command("go", "build", "-o", ecrin, "./cmd/ecrin")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building ecrin: %w\n%s", err, out)
	}
	return nil
}

// inside runs the tests in the namespaces that outside made, then stops the shared servers and daemons.
func inside(m *testing.M, work string) int {
	if err := furnish(work); err != nil {
		fmt.Fprintln(os.Stderr, "clients: furnishing the namespaces:", err)
		return 1
	}
	code := m.Run()
	for _, stop := range slices.Backward(shared.stops) {
		stop()
	}
	return code
}
