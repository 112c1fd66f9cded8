package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	maxStartTime = 20 * time.Second // from the start of the process to its first "ready"
	maxStopTime  = 15 * time.Second // from the interrupt to the end of the process
)

// server is a running ecrin.
type server struct {
	ecrin   string // the program
	url     string
	keys    keys
	command *exec.Cmd  // nil if the process has ended
	ended   chan error // receives the result of the process
	log     string     // path of its output
	data    string
}

// keys is the output of `ecrin env --json`. The secret key is never printed.
type keys struct {
	AccessKeyID     string `json:"AWS_ACCESS_KEY_ID"`
	SecretAccessKey string `json:"AWS_SECRET_ACCESS_KEY"`
	Region          string `json:"AWS_REGION"`
	Endpoint        string `json:"AWS_ENDPOINT_URL"`
}

// startServer runs `ecrin serve` and returns when it is ready. database is the address of a PostgreSQL database, "" for SQLite.
func startServer(ctx context.Context, out *screen, ecrin, data, database string) (_ *server, err error) {
	args := []string{"serve", "--data", data, "--listen", "127.0.0.1:0"}
	out.step("Start a server in a fresh directory", "%s %s &", shell([]string{ecrin}), shell(args))
	began := time.Now()
	s := &server{ecrin: ecrin, ended: make(chan error, 1), log: filepath.Join(filepath.Dir(data), "serve.log"), data: data}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// Without ctx: when the demo is interrupted, the server is not killed but stopped by stop.
	command := exec.Command(ecrin, args...)
	command.Env = ownEnvironment(os.Environ())
	if database != "" {
		command.Env = append(command.Env, "ECRIN_DATABASE="+database)
		out.note("its metadata is in PostgreSQL")
	}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting ecrin: %w", err)
	}
	s.command = command
	go func() { s.ended <- command.Wait() }()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop(out))
		}
	}()
	if err := s.awaitReady(ctx); err != nil {
		return nil, fmt.Errorf("waiting for the server: %w\n%s", err, s.tail())
	}
	out.note("ready at %s in %s", s.url, took(time.Since(began)))

	out.step("Set its keys in the shell", `eval "$(%s env --data %s)"`, shell([]string{ecrin}), shell([]string{data}))
	if s.keys, err = s.readKeys(ctx, "env", "--data", data, "--json"); err != nil {
		return nil, err
	}
	out.note("AWS_ACCESS_KEY_ID=%s AWS_REGION=%s AWS_ENDPOINT_URL=%s", s.keys.AccessKeyID, s.keys.Region, s.keys.Endpoint)
	return s, nil
}

// readKeys runs `ecrin env --json`.
func (s *server) readKeys(ctx context.Context, args ...string) (k keys, err error) {
	printed, _, err := s.ask(ctx, 0, args...)
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal([]byte(printed), &k); err != nil {
		return k, errors.New("ecrin env --json printed something else than JSON") // the output may contain the secret
	}
	if k.AccessKeyID == "" || k.SecretAccessKey == "" || k.Region == "" || k.Endpoint == "" {
		return k, errors.New("ecrin env --json did not print a key, the region or the endpoint")
	}
	return k, nil
}

// ownEnvironment removes the variables that would set another data directory or address.
func ownEnvironment(environment []string) (kept []string) {
	for _, pair := range environment {
		if !strings.HasPrefix(pair, "ECRIN_") {
			kept = append(kept, pair)
		}
	}
	return kept
}

// awaitReady waits for DIR/serve.json, which has the address, and then for /readyz.
func (s *server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxStartTime)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ready, err := s.isReady(ctx)
		if ready || err != nil {
			return err
		}
		select {
		case err := <-s.ended:
			s.command = nil // there is no process to stop
			return fmt.Errorf("it ended: %w", orNil(err))
		case <-ctx.Done():
			return fmt.Errorf("not ready after %s: %w", maxStartTime, ctx.Err())
		case <-tick.C:
		}
	}
}

// orNil returns err, or an error for the exit status 0 if err is nil.
func orNil(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func (s *server) isReady(ctx context.Context) (bool, error) {
	body, err := os.ReadFile(filepath.Join(s.data, "serve.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var running struct{ URL string }
	if err := json.Unmarshal(body, &running); err != nil || running.URL == "" {
		return false, nil // serve.json is being written
	}
	s.url = running.URL
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
	if err != nil {
		return false, fmt.Errorf("serve.json: %w", err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, nil
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK, nil
}

// stop interrupts the server, as Ctrl-C does, and returns an error if the server does not exit with status 0 in
// time. It does nothing if the server has ended before.
func (s *server) stop(out *screen) error {
	if s.command == nil {
		return nil
	}
	command := s.command
	s.command = nil
	out.step("Stop the server", "kill -INT %d", command.Process.Pid)
	began := time.Now()
	if err := command.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(fmt.Errorf("stopping the server: %w", err), command.Process.Kill())
	}
	select {
	case err := <-s.ended:
		if err != nil {
			return fmt.Errorf("the server ended with: %w\n%s", err, s.tail())
		}
	case <-time.After(maxStopTime):
		err := command.Process.Kill()
		<-s.ended
		return errors.Join(fmt.Errorf("the server did not stop within %s and was killed\n%s", maxStopTime, s.tail()), err)
	}
	out.note("stopped in %s", took(time.Since(began)))
	if body, err := os.ReadFile(s.log); err == nil {
		out.detail("%s", body)
	}
	return nil
}

// tail returns the end of the server's log, for an error.
func (s *server) tail() string {
	body, err := os.ReadFile(s.log)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	return "the server's last lines:\n  " + strings.Join(lines[max(0, len(lines)-20):], "\n  ")
}
