package clients_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// maxCommandTime is the maximum duration of a client's command, on a slow machine under load.
const maxCommandTime = 90 * time.Second

// shared has the functions that stop the shared servers and daemons, in the order of their start.
var shared struct {
	sync.Mutex
	stops []func()
}

// A call is one command of a client, in the environment of a session.
type call struct {
	t    *testing.T
	name string
	args []string
	env  []string
	dir  string
	in   string
}

// stdin sets the standard input of the command; by default it is empty.
func (c *call) stdin(text string) *call { c.in = text; return c }

// with adds variables to the environment, as "NAME=value".
func (c *call) with(env ...string) *call {
	c.env = append(c.env[:len(c.env):len(c.env)], env...)
	return c
}

// ok runs the command, which must succeed, and returns its standard output without surrounding white space.
func (c *call) ok() string {
	c.t.Helper()
	stdout, stderr, err := c.run()
	if err != nil {
		c.t.Fatalf("%s: %v\nstdout: %s\nstderr: %s", c, err, stdout, stderr)
	}
	return stdout
}

// all runs the command, which must succeed, and returns its standard output and standard error.
func (c *call) all() string {
	c.t.Helper()
	stdout, stderr, err := c.run()
	if err != nil {
		c.t.Fatalf("%s: %v\nstdout: %s\nstderr: %s", c, err, stdout, stderr)
	}
	return stdout + "\n" + stderr
}

// fails runs the command, which must fail, and returns everything that it printed.
func (c *call) fails() string {
	c.t.Helper()
	stdout, stderr, err := c.run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() < 0 {
		c.t.Fatalf("%s: got error %v, want a failing exit code\nstdout: %s\nstderr: %s", c, err, stdout, stderr)
	}
	return stdout + "\n" + stderr
}

func (c *call) run() (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), maxCommandTime)
	defer cancel()
	path, err := lookPath(c.name, c.env)
	if err != nil {
		return "", "", err
	}
	cmd := exec.CommandContext(ctx, path, c.args...)
	cmd.Args[0] = c.name
	cmd.Env, cmd.Dir = c.env, c.dir
	cmd.Stdin = strings.NewReader(c.in)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	// A client may start child processes (credential helpers, chroots): the whole group is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	start := time.Now()
	err = cmd.Run()
	c.t.Logf("%5.2f s  %s", time.Since(start).Seconds(), c)
	if ctx.Err() == context.DeadlineExceeded {
		err = fmt.Errorf("not done after %v: %w", maxCommandTime, err)
	}
	return strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), err
}

// String returns the command line, without a password.
func (c *call) String() string {
	text := c.name
	for _, a := range c.args {
		if strings.HasPrefix(a, "AWS:") {
			a = "AWS:…"
		}
		text += " " + a
	}
	return text
}

// lookPath finds a program on the PATH of env, not of this process.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(lookup(env, "PATH")) {
		p := filepath.Join(dir, name)
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is not installed; run tools/clients/install", name)
}

// lookup returns the last value of a variable in an environment, which is the one that programs use.
func lookup(env []string, name string) string {
	value := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

// daemon starts a server and returns when ready returns nil. It is stopped by stop, or after all tests: the
// whole process group is terminated first, and killed if it does not end. ready is called every 20 ms for at
// most 60 s.
func daemon(env []string, ready func() error, name string, args ...string) (stop func(), err error) {
	path, err := lookPath(name, env)
	if err != nil {
		return nil, err
	}
	log, err := os.CreateTemp(workDir, filepath.Base(name)+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	stop = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			fmt.Fprintf(os.Stderr, "clients: %s did not stop in 10 s\n", name)
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // remaining processes of the group
		<-gone
	})
	shared.Lock()
	shared.stops = append(shared.stops, stop)
	shared.Unlock()
	tick, end := time.NewTicker(20*time.Millisecond), time.After(60*time.Second)
	defer tick.Stop()
	for {
		why := ready()
		if why == nil {
			return stop, nil
		}
		select {
		case <-tick.C:
		case <-gone:
			return stop, fmt.Errorf("%s ended (%v):\n%s", name, cmd.ProcessState, tail(log.Name()))
		case <-end:
			return stop, fmt.Errorf("%s is not ready after 60 s (%w):\n%s", name, why, tail(log.Name()))
		}
	}
}

// tail returns the end of a log file, at most 4 KiB.
func tail(path string) string {
	b, _ := os.ReadFile(path)
	return string(b[max(0, len(b)-4096):])
}
