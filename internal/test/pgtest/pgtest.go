// Package pgtest runs a PostgreSQL server for tests.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Password is the password in the address of every database. The server does not check it. Tests search logs and
// answers for it, because they must not contain it.
const Password = "canary-of-the-database"

// maxConnections is the max_connections of a server, sufficient for the stores of all tests that run at the same time.
const maxConnections = 300

// Server is a PostgreSQL server on a Unix socket, with a data directory of its own. fsync and synchronous_commit are
// on, the locale is C. It ends when the test process ends, also if that is killed.
type Server struct {
	dir  string
	attr *syscall.SysProcAttr
	bin  string

	mu      sync.Mutex
	command *exec.Cmd
	alive   io.WriteCloser // standard input of the supervisor; the server stops when it is closed or this process ends
	ended   chan struct{}  // closed when command has ended
	names   atomic.Int64
}

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Start returns the server that all tests of this process share. Tests must not stop it; a test that stops a server
// uses New. Start fails the test if PostgreSQL (initdb) is not installed.
func Start(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() {
		shared.server, shared.err = Open()
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// New starts a server for one test, which may stop, kill and restart it. The server ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Open starts a server for a program that is not a test. The caller must call Close.
//
// Errors: PostgreSQL is not installed; the server does not start within a minute.
func Open() (*Server, error) {
	s, err := create()
	if err == nil {
		if err = s.start(); err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}
	return s, err
}

// Close stops the server and removes its data.
func (s *Server) Close() {
	s.stop(syscall.SIGQUIT)
	_ = os.RemoveAll(s.dir)
}

// Start starts a server that was stopped or killed, and waits until it accepts connections.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

// Stop shuts the server down: it closes all connections, flushes all data and exits.
func (s *Server) Stop() { s.stop(syscall.SIGINT) }

// Kill ends the server immediately, with SIGKILL.
func (s *Server) Kill() { s.stop(syscall.SIGKILL) }

// Restart stops the server and starts it.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	s.Start(t)
}

// Pause suspends the processes of the server until resume is called. Clients receive no answers meanwhile.
func (s *Server) Pause(t testing.TB) (resume func()) {
	t.Helper()
	all := s.processes(t)
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	return func() {
		for _, pid := range all {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// Socket returns the path of the server's socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// NewDatabase creates an empty database, with the given options of CREATE DATABASE, and returns its address.
func (s *Server) NewDatabase(t testing.TB, options ...string) string {
	t.Helper()
	url, err := s.CreateDatabase(options...)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// CreateDatabase is NewDatabase for a program that is not a test.
func (s *Server) CreateDatabase(options ...string) (url string, err error) {
	name := fmt.Sprintf("t%d", s.names.Add(1))
	return s.URL(name), s.run("postgres", `CREATE DATABASE `+name+` TEMPLATE template0 `+strings.Join(options, " "))
}

// URL returns the address of a database.
func (s *Server) URL(database string) string {
	return "postgres://ecrin:" + Password + "@/" + database + "?host=" + url.QueryEscape(s.dir)
}

// Exec runs statements, separated by semicolons, in the given database.
func (s *Server) Exec(t testing.TB, database, text string) {
	t.Helper()
	if err := s.run(database, text); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) run(database, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	if _, err := c.PgConn().Exec(ctx, text).ReadAll(); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

// Log returns what the server has logged.
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(text)
}

func create() (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ecrin-pg") // not t.TempDir: the path of a socket has at most 107 bytes
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, attr: &syscall.SysProcAttr{Setpgid: true}}
	if os.Getuid() == 0 { // PostgreSQL does not run as root
		uid, gid, err := unprivileged()
		if err != nil {
			return nil, err
		}
		s.attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "ecrin", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = s.attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(dir))
	}
	return s, nil
}

// supervisor is a shell script that runs the server and stops it when its standard input ends, which is when the
// process of the tests ends.
const supervisor = `exec 3<&0 # a background process has no standard input
"$1" -D data -k "$3" -c listen_addresses= -c max_connections="$2" -c shared_buffers=64MB -c fsync=on -c synchronous_commit=on </dev/null 3<&- >>log 2>&1 &
pid=$!
(read line <&3; kill -QUIT $pid; if [ "$line" = "" ]; then rm -rf "$3"; fi) &
wait $pid
`

// start runs the server and waits until it accepts connections. It repeats the attempt for a minute, because after
// SIGKILL processes of the previous server may still be running.
func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := time.Now().Add(time.Minute)
	for {
		err := s.launch(limit)
		if err == nil || time.Now().After(limit) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *Server) launch(limit time.Time) error {
	in, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	c := exec.Command("/bin/sh", "-c", supervisor, "supervisor", filepath.Join(s.bin, "postgres"), strconv.Itoa(maxConnections), s.dir)
	c.SysProcAttr, c.Dir, c.Stdin = s.attr, s.dir, in
	if err := c.Start(); err != nil {
		return errors.Join(err, in.Close(), alive.Close())
	}
	_ = in.Close()
	ended := make(chan struct{})
	go func() {
		_ = c.Wait()
		close(ended)
	}()
	for {
		ctx, cancel := context.WithDeadline(context.Background(), limit)
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		cancel()
		if err == nil {
			_ = conn.Close(context.Background())
			s.command, s.alive, s.ended = c, alive, ended
			return nil
		}
		select {
		case <-ended:
			release(alive)
			return fmt.Errorf("the PostgreSQL server ended:\n%s", s.Log())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(limit) {
			release(alive)
			return fmt.Errorf("the PostgreSQL server does not answer: %w\n%s", err, s.Log())
		}
	}
}

func (s *Server) stop(signal syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command == nil {
		return
	}
	if pid := s.postmaster(); pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGCONT)
		_ = syscall.Kill(pid, signal)
	}
	<-s.ended
	release(s.alive)
	s.command = nil
}

// release ends the supervisor of a server without removing the directory.
func release(alive io.WriteCloser) {
	_, _ = io.WriteString(alive, "keep\n")
	_ = alive.Close()
}

// postmaster returns the process id of the server, 0 if it does not run.
func (s *Server) postmaster() int {
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(first)
	return pid
}

// processes returns the process ids of the server and its children.
func (s *Server) processes(t testing.TB) []int {
	t.Helper()
	parent := s.postmaster()
	all := []int{parent}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the process has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			all = append(all, pid)
		}
	}
	return all
}

// programs returns the directory of initdb and postgres: that on the PATH, otherwise that of the newest installed
// version.
func programs() (bin string, err error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			found = append(found, real)
		}
	}
	if len(found) == 0 {
		return "",
			errors.New("PostgreSQL is not installed: no initdb on the PATH and none in /usr/lib/postgresql/*/bin (on Debian: apt-get install postgresql)")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// Installed reports whether PostgreSQL is installed.
func Installed() bool {
	_, err := programs()
	return err == nil
}

// unprivileged returns the user and group under which root starts the server.
func unprivileged() (uid, gid uint32, err error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return uint32(uid), uint32(gid), errors.Join(err1, err2)
	}
	return 0, 0, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

// Standby makes a stopped server start as a standby, which is read-only until pg_promote() is called.
func (s *Server) Standby(t testing.TB) {
	t.Helper()
	path := filepath.Join(s.dir, "data", "standby.signal")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c := s.attr.Credential; c != nil {
		if err := os.Chown(path, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}
