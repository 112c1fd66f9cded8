package meta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// What an error of the PostgreSQL server means, and what clients and the operator read about it.
func TestErrorsOfPostgreSQL(t *testing.T) {
	t.Parallel()
	of := func(state string) error { return fmt.Errorf("running: %w", &pgconn.PgError{Code: state, Message: "m"}) }
	const busy, late, full, slots = "busy with other changes", "took too long", "disk of the database server", "no free connection"
	const readOnly, broken, silent = "read-only", "out of resources", "does not answer"
	for _, test := range []struct {
		err         error
		lost, again bool
		text        string // in the public text, "" for none
		advice      string // in that for the operator, "" for none
	}{
		{of("25006"), true, false, readOnly, "is the server running"}, {of("0A000"), true, false, readOnly, "is the server running"},
		{of("25P03"), true, false, late, "is the server running"}, {of("08006"), true, false, silent, "is the server running"},
		{of("57P01"), true, false, silent, "is the server running"}, {of("57P03"), true, false, silent, "starting or stopping"},
		{of("57P05"), true, false, late, "is the server running"}, {of("57014"), false, false, late, ""},
		{of("55P03"), false, false, late, ""}, {of("28P01"), true, false, silent, "the user or the password"},
		{of("28000"), true, false, silent, "the user or the password"}, {of("28001"), true, false, silent, "is the server running"},
		{of("53300"), true, false, slots, "is the server running"}, {of("53100"), false, false, full, ""},
		{of("53200"), false, false, broken, ""}, {of("58030"), false, false, broken, ""},
		{of("40001"), false, true, busy, ""}, {of("40P01"), false, true, busy, ""}, {of("23505"), false, false, "", ""},
		{of("3D000"), false, false, "", "make the database first"}, {of("42501"), false, false, "", "owner of the database"},
		{of("42704"), false, false, "", "PostgreSQL 14"},
		{fmt.Errorf("x: %w", &pgconn.ConnectError{}), true, false, silent, "is the server running"},
		{fmt.Errorf("x: %w", os.ErrDeadlineExceeded), true, false, silent, "is the server running"}, // a network error
		{driver.ErrBadConn, true, false, silent, "is the server running"}, {sql.ErrConnDone, true, false, silent, "is the server running"},
		{io.EOF, true, false, silent, "is the server running"}, {io.ErrUnexpectedEOF, true, false, silent, "is the server running"},
		{context.DeadlineExceeded, true, false, silent, "is the server running"}, {errNotDue, true, false, silent, "is the server running"},
		{errUndone, true, false, silent, "is the server running"}, {errors.New("x"), false, false, "", ""},
		{context.Canceled, false, false, "", ""},
	} {
		err := test.err
		if got := lost(err); got != test.lost {
			t.Errorf("%v %s: the connection is lost %t, want %t", err, sqlState(err), got, test.lost)
		}
		if got := retryable(err); got != test.again {
			t.Errorf("%v %s: it must run again %t, want %t", err, sqlState(err), got, test.again)
		}
		if got, want := fromPostgres(err), test.lost || sqlState(err) != ""; got != want {
			t.Errorf("%v %s: of PostgreSQL %t, want %t", err, sqlState(err), got, want)
		}
		if got := unavailable(err); (got == "") != (test.text == "") || !strings.Contains(got, test.text) {
			t.Errorf("%v %s: the public text is %q, want %q in it", err, sqlState(err), got, test.text)
		}
		got := advise(err)
		if !errors.Is(got, err) || (got.Error() == err.Error()) != (test.advice == "") || !strings.Contains(got.Error(), test.advice) {
			t.Errorf("%v %s: the advice is %q, want %q in it", err, sqlState(err), got, test.advice)
		}
		if got, want := hung(err), errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded); got != want {
			t.Errorf("%v: it took too long %t, want %t", err, got, want)
		}
	}
}

// No text of an error has the password, and the error stays what it is.
func TestScrub(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("connecting with hunter2: %w", io.EOF)
	for password, want := range map[string]string{"hunter2": "connecting with [secret]: EOF", "": err.Error(), "other": err.Error()} {
		if got := scrub(err, password); got.Error() != want || !errors.Is(got, io.EOF) {
			t.Errorf("with the password %q: got %v, want %s", password, got, want)
		}
	}
	if got := scrub(nil, "hunter2"); got != nil {
		t.Errorf("without an error: got %v", got)
	}
}

// refusing is a database that refuses all connections until open.
type refusing struct {
	tries int
	open  bool
}

func (c *refusing) Driver() driver.Driver { return nil }

func (c *refusing) Connect(context.Context) (driver.Conn, error) {
	if c.tries++; !c.open {
		return nil, io.EOF
	}
	return nil, nil
}

// After a failure no attempt is made for at least 25 ms, later for up to a second; the error says why. A success ends that.
func TestAttemptsToConnectArePaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &refusing{}
		d := &dialer{Connector: c}
		if got := d.due(); !got.IsZero() {
			t.Errorf("before an attempt: the next is due at %v, want none", got)
		}
		pause := minPause
		for try := range 10 {
			if _, err := d.Connect(t.Context()); !errors.Is(err, io.EOF) || errors.Is(err, errNotDue) || c.tries != try+1 {
				t.Fatalf("attempt %d: got %v after %d attempts, want EOF", try, err, c.tries)
			}
			wait := time.Until(d.due())
			if wait < pause/2 || wait >= pause {
				t.Errorf("after failure %d: the next attempt is due in %s, want %s to %s", try, wait, pause/2, pause)
			}
			time.Sleep(wait - 1)
			if _, err := d.Connect(t.Context()); !errors.Is(err, errNotDue) || !errors.Is(err, io.EOF) || c.tries != try+1 {
				t.Errorf("too early: got %v after %d attempts, want the last error and no attempt", err, c.tries)
			}
			time.Sleep(time.Nanosecond)
			pause = min(2*pause, maxPause)
		}
		c.open = true
		if _, err := d.Connect(t.Context()); err != nil || !d.due().IsZero() {
			t.Errorf("after the start of the server: got %v, due %v", err, d.due())
		}
		c.open = false
		if _, err := d.Connect(t.Context()); !errors.Is(err, io.EOF) || time.Until(d.due()) >= minPause {
			t.Errorf("the first failure after a success: got %v, due in %s, want less than %s", err, time.Until(d.due()), minPause)
		}
	})
}

// Files that others may read are taken from them, an absent one is none, and one that cannot be looked at is an error.
func TestCloseToOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for before, want := range map[os.FileMode]os.FileMode{0o666: 0o600, 0o755: 0o700, 0o640: 0o600, 0o601: 0o600, 0o600: 0o600, 0o400: 0o400} {
		path := filepath.Join(dir, before.String())
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, before), closeToOthers(path)); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("of mode %s: got %v, %v, want %s", before, info.Mode(), err, want)
		}
	}
	if err := closeToOthers(filepath.Join(dir, "absent")); err != nil {
		t.Errorf("an absent file: got %v", err)
	}
	if err := closeToOthers(filepath.Join(dir, os.FileMode(0o600).String(), "below")); err == nil {
		t.Error("a file below a file: got no error")
	}
}

// A key is full until the time that was noted, for the limit that was noted, and not after all were forgotten.
func TestFullKeys(t *testing.T) {
	t.Parallel()
	var q fullKeys
	until := time.Unix(1_800_000_000, 0)
	key := countedTo{counted{"text", "a"}, 10}
	if q.has(key, until.Add(-time.Hour)) {
		t.Error("a key is full before it was noted")
	}
	q.note(key, until)
	for _, test := range []struct {
		key  countedTo
		at   time.Time
		want bool
	}{
		{key, until.Add(-1), true}, {key, until, false}, {key, until.Add(1), false}, {countedTo{counted{"text", "b"}, 10}, until.Add(-1), false},
		{countedTo{counted{"other", "a"}, 10}, until.Add(-1), false}, {countedTo{counted{"text", "a"}, 11}, until.Add(-1), false},
	} {
		if got := q.has(test.key, test.at); got != test.want {
			t.Errorf("%v at %s: got %t, want %t", test.key, test.at, got, test.want)
		}
	}
	for i := range 2 * maxFull {
		q.note(countedTo{counted{"text", i}, 10}, until)
	}
	if got := len(q.until); got > maxFull || !q.has(countedTo{counted{"text", 2*maxFull - 1}, 10}, until.Add(-1)) {
		t.Errorf("got %d keys, want at most %d and the last one", got, maxFull)
	}
	q.clear()
	if q.has(countedTo{counted{"text", 2*maxFull - 1}, 10}, until.Add(-1)) {
		t.Error("a key is full after all were forgotten")
	}
}

func TestMatchWildcard(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "", false}, {"*", "", true}, {"*", "abc", true}, {"**", "a", true}, {"a**", "a", true},
		{"a*b", "ab", true}, {"a*b", "acb", true}, {"a*b", "acbd", false}, {"a*b", "acbb", true}, {"a*", "b", false}, {"a*x", "a", false},
		{"*a*b*", "xaxbx", true}, {"*a*b*", "xbxax", false}, {"*ab", "aab", true}, {"*ab", "aba", false}, {"*aab", "aaab", true},
		{"v*", "v1.0", true}, {"v*.0", "v1.0", true}, {"v*.0", "v1.1", false}, {"abc", "abcd", false}, {"abcd", "abc", false},
	} {
		if got := name.Matches(test.pattern, test.s); got != test.want {
			t.Errorf("%q and %q: got %t, want %t", test.pattern, test.s, got, test.want)
		}
	}
}
