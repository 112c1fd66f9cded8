package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a running server.
type process struct {
	name    string
	address string // HOST:PORT
	cmd     *exec.Cmd
	ended   chan error
	log     string
	tls     *tls.Config   // of clients, nil for a server without TLS
	profile string        // address of net/http/pprof, or ""
	ready   time.Duration // time from the start to the first successful response
}

const maxStartTime = time.Minute

// start runs a program and waits until GET path returns 200 or 401. The program's output goes to the file
// NAME.log in dir, since the cost of a server's log is part of its speed.
func start(ctx context.Context, dir, name, address, path string, cmd *exec.Cmd) (*process, error) {
	return startSecure(ctx, dir, name, address, path, nil, cmd)
}

// startSecure is start for a server with TLS; secure is nil for one without.
func startSecure(ctx context.Context, dir, name, address, path string, secure *tls.Config, cmd *exec.Cmd) (*process, error) {
	began := time.Now()
	p, err := launch(dir, name, cmd)
	if err != nil {
		return nil, err
	}
	p.address, p.tls = address, secure
	wait := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: secure}}
	for {
		r, err := wait.Get(p.url() + path)
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK || r.StatusCode == http.StatusUnauthorized {
				p.ready = time.Since(began)
				return p, nil
			}
		}
		select {
		case err := <-p.ended:
			p.ended <- err
			return nil, fmt.Errorf("%s ended instead of serving: %v\n%s", name, err, p.tail())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), p.stop())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Since(began) > maxStartTime {
			return nil, errors.Join(fmt.Errorf("%s was not ready after %s\n%s", name, maxStartTime, p.tail()), p.stop())
		}
	}
}

// launch starts a program, whose output goes to the file NAME.log in dir.
func launch(dir, name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, ended: make(chan error, 1), log: filepath.Join(dir, name+".log")}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() { p.ended <- cmd.Wait() }()
	return p, nil
}

// url returns the scheme and the address.
func (p *process) url() string {
	if p.tls != nil {
		return "https://" + p.address
	}
	return "http://" + p.address
}

// stopped stops the process of a door, if there is one.
func (d *door) stopped() error {
	if d == nil || d.process == nil {
		return nil
	}
	return d.stop()
}

// stop terminates the process, and kills it if it does not end in time.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(20 * time.Second):
		err := p.cmd.Process.Kill()
		<-p.ended
		return errors.Join(fmt.Errorf("%s did not stop and was killed", p.name), err)
	}
}

func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// tick is the unit of /proc/PID/stat. It is 100 Hz on every Linux that Go supports.
const tick = 10 * time.Millisecond

// cpu returns the processor time that the process and its running children have used.
func (p *process) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range p.pids() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		used, err := cpuOf(text)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// cpuOf adds the user and system time of a stat line. The program's name, in parentheses, may contain spaces.
func cpuOf(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading processor time: %d fields in %q", len(fields), stat)
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// pids returns the process and its children; nginx serves in its children.
func (p *process) pids() []int {
	pid := p.cmd.Process.Pid
	all := []int{pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return all
	}
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			all = append(all, child)
		}
	}
	return all
}

// memory returns a value of /proc/PID/status in MB: VmRSS is the current size, VmHWM the largest since
// resetPeak.
func (p *process) memory(key string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	return memoryOf(string(text), key)
}

func memoryOf(status, key string) float64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			if err != nil {
				return 0
			}
			return kb / 1024
		}
	}
	return 0
}

// resetPeak resets VmHWM to the current size.
func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

// freeAddress finds a free port. If another program takes the port before the server does, the server fails to
// start.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
