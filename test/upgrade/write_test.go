package upgrade_test

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The variables of TestWriteData. README.md shows a call.
const (
	nameVariable    = "ECRIN_UPGRADE_WRITE"   // name of the directory to add: a date such as 2026-11-28
	programVariable = "ECRIN_UPGRADE_PROGRAM" // program that writes it; if empty, that of this tree
)

// TestWriteData adds a directory to testdata, and the listing of what the program that wrote it shows. It runs only if
// nameVariable is set, because files in testdata are never rewritten.
func TestWriteData(t *testing.T) {
	name := os.Getenv(nameVariable)
	if name == "" {
		t.Skip("set " + nameVariable + " to add a data directory; see README.md")
	}
	archive, listing := filepath.Join("testdata", name+".tar.gz"), filepath.Join("testdata", name+".json")
	if _, err := os.Stat(listing); err == nil {
		t.Fatalf("%s already exists", listing)
	}
	program := os.Getenv(programVariable)
	if program == "" {
		program = filepath.Join(t.TempDir(), "ecrin")
		if out, err := exec.Command("go", "build", "-o", program,
			"github.com/ecrin-dev/ecrin/cmd/ecrin").CombinedOutput(); err != nil {
			t.Fatalf("building the program: %v\n%s", err, out)
		}
	}
	w := &writer{dir: t.TempDir(), program: program, Listing: Listing{Keys: map[string]Key{},
		Passwords: map[string]string{}}}

	w.start(t, w.dir)
	w.writeIdentities(t)
	w.writeRegistry(t)
	w.stop(t)
	checkpoint(t, w.dir)
	w.start(t, w.dir)
	w.writeLast(t)
	w.kill()
	pack(t, w.dir, archive)
	w.Pending = pendingLines(t, archive)
	// The times of lines are in whole seconds, so the lines that the listing causes must be in a later second.
	for w.Written = time.Now().Truncate(time.Second).Add(time.Second); time.Now().Before(w.Written); time.Sleep(10 * time.Millisecond) {
	}

	// The program opens a copy, so that the archive contains the state after the kill.
	shown := t.TempDir()
	unpack(t, archive, shown)
	w.start(t, shown)
	w.list(t)
	w.stop(t)
	w.write(t, listing)
}

// writer controls the program that writes a directory.
type writer struct {
	Listing
	dir, program string
	server       *apptest.Server
	caller       caller
	operator     Key
	cmd          *exec.Cmd
	log          apptest.Buffer
}

func (w *writer) start(t *testing.T, dir string) {
	t.Helper()
	// The path is relative, so that the directory contains no path of this machine.
	w.cmd = exec.Command(w.program, "serve", "--data", ".", "--listen", "127.0.0.1:0", "--egress-allow", "127.0.0.1/32")
	w.cmd.Dir, w.cmd.Stderr = dir, &w.log
	out, err := w.cmd.StdoutPipe()
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		t.Fatalf("starting the program: %v", err)
	}
	t.Cleanup(w.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "ecrin is ready") {
		t.Fatalf("the program wrote %q, %v\n%s", line, err, w.log.String())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	w.server = apptest.Attach(t, dir)
	w.Account, w.Region = w.server.Running.Account, w.server.Running.Region
	w.caller = caller{url: w.server.URL, region: w.Region, http: w.server.HTTP, now: time.Now, once: onceFor(w.server)}
	w.operator = operatorOf(t, dir)
}

func (w *writer) stop(t *testing.T) {
	t.Helper()
	w.server.HTTP.CloseIdleConnections()
	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Wait(); err != nil {
		t.Fatalf("the program failed: %v\n%s", err, w.log.String())
	}
}

// kill ends the program with SIGKILL. It is not an error if the program has already ended.
func (w *writer) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

// do calls an operation of IAM, STS, ECR or ecrin, written "service Operation", as a principal.
func (w *writer) do(t *testing.T, as, operation string, pairs ...string) map[string]any {
	t.Helper()
	key, ok := w.Keys[as]
	if as == "operator" {
		key, ok = w.operator, true
	}
	if !ok && as != "" {
		t.Fatalf("there is no key of %q", as)
	}
	service, op, _ := strings.Cut(operation, " ")
	in := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		in[pairs[i]] = pairs[i+1]
	}
	return w.caller.do(t, key, service, op, in)
}

// json calls an operation with an input in JSON.
func (w *writer) json(t *testing.T, as, operation, region, input string) map[string]any {
	t.Helper()
	in := map[string]any{}
	if err := json.Unmarshal([]byte(input), &in); err != nil {
		t.Fatalf("%v in %s", err, input)
	}
	service, op, _ := strings.Cut(operation, " ")
	status, out := w.caller.call(t, w.Keys[as], service, region, op, in)
	if status != http.StatusOK {
		t.Fatalf("%s %s: got %d %v, want 200", operation, input, status, out)
	}
	return out
}

// docker returns a client of a registry with the docker password of a principal.
func (w *writer) docker(as, account, region string) ocitest.Client {
	return ocitest.Client{Base: w.server.URL, HTTP: w.server.HTTP, Password: w.Passwords[as], Prefix: account + "/" +
		region + "/"}
}

// at returns a value in an answer by the path of member names.
func at[T any](t *testing.T, v any, path ...string) (value T) {
	t.Helper()
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	value, ok := v.(T)
	if !ok {
		t.Fatalf("%s of an answer is %v, want a %T", strings.Join(path, "."), v, value)
	}
	return value
}

// checkpoint moves the changes of the database from its log to its main file, which keeps the archive small.
func checkpoint(t *testing.T, dir string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "ecrin.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// pendingLines returns the number of lines of the audit trail that are in the database and not in the files yet.
func pendingLines(t *testing.T, archive string) (n int) {
	t.Helper()
	dir := t.TempDir()
	unpack(t, archive, dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "ecrin.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), `SELECT lines FROM audit_pending`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var lines string
		if err := rows.Scan(&lines); err != nil {
			t.Fatal(err)
		}
		n += strings.Count(lines, "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Fatal("no line of the audit trail was pending at the kill: run it again")
	}
	return n
}

func quote(s string) string { return fmt.Sprintf("%q", s) }
