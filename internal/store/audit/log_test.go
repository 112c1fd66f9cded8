package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

func openLog(t *testing.T, dir string, opts audit.Options) *audit.Log {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	l, err := audit.OpenLog(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a second Close if the test closed l itself
	return l
}

// numbered returns a record whose request id has the number n; second is its time in seconds after noon.
func numbered(n, second int) *audit.Record {
	return &audit.Record{
		EventID: audit.NewID(), Time: noon.Add(time.Duration(second) * time.Second), Source: "ecr.amazonaws.com",
		Name: "PutImage", Account: "111122223333",
		RequestID: fmt.Sprintf("request-%d", n), Identity: audit.Identity{Type: audit.IAMUser, ARN: "arn:aws:iam::111122223333:user/alice"},
	}
}

func appendAll(t *testing.T, l *audit.Log, records ...*audit.Record) {
	t.Helper()
	for _, r := range records {
		l.Append(r)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".marks") {
			all = append(all, e.Name())
		}
	}
	return all
}

// found returns the request ids of all events of a query, page by page, without their common prefix.
func found(t *testing.T, l *audit.Log, q audit.Query, limit int) string {
	t.Helper()
	var all []string
	for cursor := ""; ; {
		page, err := l.Search(t.Context(), q, cursor, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			all = append(all, strings.TrimPrefix(e.Record.RequestID, "request-"))
		}
		if cursor = page.Next; cursor == "" || len(page.Events) == 0 {
			return strings.Join(all, " ")
		}
	}
}

func TestFilesAndTheirMode(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "audit")
	l := openLog(t, dir, audit.Options{})
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("before the first line: got files %q, want none", got)
	}
	appendAll(t, l, numbered(1, 0), numbered(2, 1))
	const file = "audit-20260102T120000Z-000001.ndjson"
	if got := names(t, dir); !slices.Equal(got, []string{file}) {
		t.Fatalf("got files %q, want %s", got, file)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, file): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s: got %v, %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, dir, audit.Options{})
	appendAll(t, l, numbered(3, 2))
	if got := found(t, l, audit.Query{OldestFirst: true}, 0); got != "1 2 3" || len(names(t, dir)) != 1 {
		t.Errorf("opened again: found %q in files %q, want 1 2 3 in the same file", got, names(t, dir))
	}
}

// A new file begins with a new day, when the file has reached its maximum size, and for a line that is older by
// more than the allowed lateness; not for a line that is slightly late.
func TestRotation(t *testing.T) {
	t.Parallel()
	const day = 24 * 3600
	size := len(numbered(1, 0).AppendJSON(nil)) + 1
	for what, c := range map[string]struct {
		max     int
		seconds []int // times of the lines, in seconds after noon
		want    string
	}{
		"one day":       {0, []int{0, 1, day/2 - 1}, "20260102T120000Z-000001"},
		"two days":      {0, []int{0, day / 2, day/2 + 1}, "20260102T120000Z-000001 20260103T000000Z-000002"},
		"size":          {3 * size, []int{0, 1, 2, 3, 4, 5, 6}, "20260102T120000Z-000001 20260102T120003Z-000002 20260102T120006Z-000003"},
		"every line":    {1, []int{0, 1}, "20260102T120000Z-000001 20260102T120001Z-000002"},
		"a little late": {0, []int{900, 0, 900}, "20260102T121500Z-000001"},
		"much too late": {0, []int{901, 0, 1, 901}, "20260102T121501Z-000001 20260102T120000Z-000002"},
		"of yesterday":  {0, []int{day, 0, day}, "20260103T120000Z-000001 20260102T120000Z-000002 20260103T120000Z-000003"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for _, reopen := range []bool{false, true} {
				dir := t.TempDir()
				l := openLog(t, dir, audit.Options{MaxBytes: int64(c.max)})
				for i, s := range c.seconds {
					l.Append(numbered(i, s))
					if reopen {
						if err := l.Close(); err != nil {
							t.Fatal(err)
						}
						l = openLog(t, dir, audit.Options{MaxBytes: int64(c.max)})
					}
				}
				if err := l.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := names(t, dir)
				slices.SortFunc(got, func(a, b string) int { return strings.Compare(a[22:], b[22:]) })
				if all := strings.NewReplacer("audit-", "", ".ndjson", "").Replace(strings.Join(got, " ")); all != c.want {
					t.Errorf("opened again after each line %t: got files %s, want %s", reopen, all, c.want)
				}
				var want []string
				for i := range c.seconds {
					want = append(want, fmt.Sprint(i))
				}
				if got := found(t, l, audit.Query{OldestFirst: true}, 2); got != strings.Join(want, " ") {
					t.Errorf("opened again after each line %t: found %q, want all, as they were written", reopen, got)
				}
			}
		})
	}
}

// The oldest files are deleted when all files together are too large; the current file is never deleted.
func TestRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	size := len(numbered(10, 0).AppendJSON(nil)) + 1
	l := openLog(t, dir, audit.Options{MaxBytes: int64(2 * size), Keep: int64(5 * size)})
	if err := os.WriteFile(filepath.Join(dir, "other-file"), make([]byte, 100*size), 0o600); err != nil {
		t.Fatal(err)
	}
	var cursor string
	for i := 10; i < 30; i++ {
		appendAll(t, l, numbered(i, i))
		if i == 12 {
			page, err := l.Search(t.Context(), audit.Query{OldestFirst: true}, "", 1)
			if err != nil {
				t.Fatal(err)
			}
			cursor = page.Next
		}
		total := 0
		for _, n := range names(t, dir) {
			if info, err := os.Stat(filepath.Join(dir, n)); err == nil && n != "other-file" {
				total += int(info.Size())
			}
		}
		if total > 5*size {
			t.Errorf("after %d lines: %d bytes, want at most %d", i-9, total, 5*size)
		}
	}
	if got := found(t, l, audit.Query{OldestFirst: true}, 0); got != "26 27 28 29" {
		t.Errorf("got %q, want 26 27 28 29", got)
	}
	page, err := l.Search(t.Context(), audit.Query{OldestFirst: true}, cursor, 1)
	if err != nil || len(page.Events) != 1 || page.Events[0].Record.RequestID != "request-26" {
		t.Errorf("from a cursor whose file is gone: got %d events, %v, want the oldest that is left", len(page.Events), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	tiny := openLog(t, dir, audit.Options{MaxBytes: 1 << 20, Keep: 1})
	appendAll(t, tiny, numbered(30, 30), numbered(31, 31))
	if got := found(t, tiny, audit.Query{OldestFirst: true}, 0); got != "31" {
		t.Errorf("with a Keep below a line: got %q, want the last line", got)
	}
}

// A line that was torn by a crash is not returned, and the next line begins after it.
func TestTornLine(t *testing.T) {
	t.Parallel()
	for what, torn := range map[string]string{
		"part of a line":        `{"eventVersion":"1.11","userIdentity":{"type":"Roo`,
		"a line but its end":    string(numbered(2, 1).AppendJSON(nil)),
		"zeros":                 strings.Repeat("\x00", 5000),
		"more than a line":      strings.Repeat("x", 3<<20),
		"nothing":               "",
		"ends within an escape": `{"a":"\`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l := openLog(t, dir, audit.Options{})
			appendAll(t, l, numbered(1, 0))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, names(t, dir)[0])
			text, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, append(text, torn...), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			l = openLog(t, dir, audit.Options{})
			appendAll(t, l, numbered(3, 2))
			want := "1 3"
			if strings.Contains(torn, "request-2") {
				want = "1 2 3"
			}
			if got := found(t, l, audit.Query{OldestFirst: true}, 1); got != want {
				t.Errorf("oldest first: got %q, want %q", got, want)
			}
			if got, want := found(t, l, audit.Query{}, 1), reversed(want); got != want {
				t.Errorf("newest first: got %q, want %q", got, want)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(after, append(text, torn...)) {
				t.Errorf("the earlier content has been changed (%v)", err)
			}
		})
	}
}

func reversed(s string) string {
	words := strings.Fields(s)
	slices.Reverse(words)
	return strings.Join(words, " ")
}

// Many goroutines append while others search and files rotate: each line is there once, and the lines of one
// goroutine are in order.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := openLog(t, dir, audit.Options{MaxBytes: 50 << 10})
	const writers, each = 8, 300
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	readers.Go(func() {
		for cursor := ""; ctx.Err() == nil; {
			page, err := l.Search(t.Context(), audit.Query{OldestFirst: true}, cursor, 100)
			if err != nil {
				t.Error(err)
				return
			}
			cursor = page.Next
		}
	})
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				r := numbered(w*each+i, 0)
				if i%50 == 0 {
					if err := l.AppendDurable(t.Context(), [][]byte{r.AppendJSON(nil)}); err != nil {
						t.Error(err)
					}
					continue
				}
				l.Append(r)
			}
		})
	}
	wg.Wait()
	stop()
	readers.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, dir, audit.Options{})
	next := make([]int, writers) // by writer: the number of its next line
	for _, word := range strings.Fields(found(t, l, audit.Query{OldestFirst: true}, 1000)) {
		var n int
		if _, err := fmt.Sscan(word, &n); err != nil {
			t.Fatal(err)
		}
		w := n / each
		if n%each != next[w] {
			t.Errorf("writer %d: got line %d, want %d", w, n%each, next[w])
		}
		next[w] = n%each + 1
	}
	for w, n := range next {
		if n != each {
			t.Errorf("writer %d: the last line is %d, want %d", w, n-1, each-1)
		}
	}
}

// A line is written to its file soon, without any other call.
func TestWrittenInTheBackground(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := openLog(t, dir, audit.Options{})
	one := numbered(1, 0)
	l.Append(one)
	want := string(one.AppendJSON(nil)) + "\n"
	deadline := time.After(10 * time.Second)
	for got := ""; got != want; {
		select {
		case <-deadline:
			t.Fatalf("after 10 s the files have %q, want %q", got, want)
		case <-time.After(5 * time.Millisecond):
		}
		got = ""
		for _, file := range names(t, dir) {
			text, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			got += string(text)
		}
	}
}

// A call whose context has ended returns its error, also while another call has the log.
func TestCallsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	l := openLog(t, t.TempDir(), audit.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush: got %v, want context.Canceled", err)
	}
	if err := l.AppendDurable(ctx, [][]byte{numbered(1, 0).AppendJSON(nil)}); !errors.Is(err, context.Canceled) {
		t.Errorf("AppendDurable: got %v, want context.Canceled", err)
	}
	if got := found(t, l, audit.Query{}, 0); got != "" {
		t.Errorf("got the lines %q of a call that failed, want none", got)
	}
}

// The result of each write in the background is reported, under the name of its log.
func TestBackgroundWritesAreReported(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "audit")
	type report struct {
		work string
		err  error
	}
	reports := make(chan report, 100)
	var logged bytes.Buffer
	l, err := audit.OpenLogs(dir, audit.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil)), Report: func(work string, err error) {
		select {
		case reports <- report{work, err}:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	await := func(work string, fails bool) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case r := <-reports:
				if r.work == work && (r.err != nil) == fails {
					return
				}
				if r.work != audit.FilesWork && r.work != audit.StrangersFilesWork {
					t.Fatalf("got a report of %q", r.work)
				}
			case <-deadline:
				t.Fatalf("in 20 s there is no report of %s that failed: %t", work, fails)
			}
		}
	}
	await(audit.FilesWork, false)
	await(audit.StrangersFilesWork, false)
	away := dir + "-away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	l.Append(true, numbered(1, 0))
	await(audit.StrangersFilesWork, true)
	await(audit.FilesWork, false)
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	await(audit.StrangersFilesWork, false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"the audit trail cannot be written": 1, "the audit trail is written again": 1} {
		if got := strings.Count(logged.String(), text); got != want {
			t.Errorf("%q is logged %d times, want %d:\n%s", text, got, want, logged.String())
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	l, err := audit.OpenLog(b.TempDir(), audit.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := full()
	r.Time = time.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.Append(&r)
	}
}
