package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// database is a Source in memory. Its calls can be made to fail before or after they take effect.
type database struct {
	mu       sync.Mutex
	last     int64
	pending  []audit.Pending
	failRead error
	failDel  error         // nothing is deleted
	lateDel  error         // the lines are deleted, and then the call fails
	deleted  chan struct{} // receives a value for each deletion, unless nil
}

func (d *database) add(lines ...[]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	p := audit.Pending{ID: d.last}
	for _, line := range lines {
		p.Lines = append(append(p.Lines, line...), '\n')
	}
	d.pending = append(d.pending, p)
}

func (d *database) PendingAudit(_ context.Context, after int64, limit int) (all []audit.Pending, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.pending {
		if p.ID > after && len(all) < limit {
			all = append(all, p)
		}
	}
	return all, d.failRead
}

func (d *database) DeleteAudit(_ context.Context, through int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case d.deleted <- struct{}{}:
	default:
	}
	if d.failDel != nil {
		return d.failDel
	}
	d.pending = slices.DeleteFunc(d.pending, func(p audit.Pending) bool { return p.ID <= through })
	return d.lateDel
}

func (d *database) left() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pending)
}

func pump(l *audit.Log, d *database) *audit.Pump {
	return audit.NewPump(l, d)
}

func flush(t *testing.T, p *audit.Pump) {
	t.Helper()
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// counted checks that the trail has the numbers 0 to want-1 in order, without a gap or a repetition.
func counted(t *testing.T, l *audit.Log, want int) {
	t.Helper()
	words := strings.Fields(found(t, l, audit.Query{OldestFirst: true}, 1000))
	for i, w := range words {
		if w != fmt.Sprint(i) {
			t.Errorf("place %d: got %s", i, w)
			break
		}
	}
	if len(words) != want {
		t.Errorf("got %d lines, want %d", len(words), want)
	}
}

func TestPumpMovesAll(t *testing.T) {
	t.Parallel()
	l, d := openLog(t, t.TempDir(), audit.Options{MaxBytes: 100 << 10}), &database{}
	p := pump(l, d)
	flush(t, p)
	n := 0
	for _, more := range []int{1, 0, 499, 500, 501, 1700} { // less than, exactly and more than one batch
		for range more {
			d.add(numbered(n, 0).AppendJSON(nil), numbered(n+1, 0).AppendJSON(nil)) // two lines in each commit
			n += 2
		}
		flush(t, p)
		if d.left() != 0 {
			t.Errorf("after %d: %d are still pending", n, d.left())
		}
	}
	l.Append(numbered(n, 0))
	flush(t, p) // also writes the lines that wait in the log
	counted(t, l, n+1)
}

// The process ends between writing and deleting, in several ways. The next process neither repeats nor loses a
// line.
func TestPumpAfterCrash(t *testing.T) {
	t.Parallel()
	const batch = 500
	for what, c := range map[string]struct {
		n     int
		late  int // seconds of other lines that follow before the restart
		days  int // age of the pending lines
		extra int
	}{
		"a few":                   {n: 3},
		"more than a batch":       {n: batch + 100},
		"many later lines follow": {n: 10, late: 1000},
		"of long ago":             {n: 10, days: 9, late: 1000},
		"and new ones":            {n: 10, late: 10, extra: 1200},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			opts := audit.Options{MaxBytes: 20 << 10}
			l, d := openLog(t, dir, opts), &database{}
			n := 0
			add := func(more int) {
				for range more {
					d.add(numbered(n, -c.days*24*3600).AppendJSON(nil))
					n++
				}
			}
			add(c.n)
			d.failDel = errors.New("killed before it deleted")
			first := pump(l, d)
			for range 3 { // each call moves a batch
				if err := first.Flush(t.Context()); !errors.Is(err, d.failDel) {
					t.Fatalf("got %v, want the error of the database", err)
				}
			}
			for i := range c.late {
				l.Append(&audit.Record{EventID: audit.NewID(), Time: noon.Add(time.Duration(i) * time.Second), RequestID: "other"})
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			d.failDel = nil
			add(c.extra)
			l = openLog(t, dir, opts)
			p := pump(l, d)
			flush(t, p)
			add(5)
			flush(t, p)
			if d.left() != 0 {
				t.Errorf("%d are still pending", d.left())
			}
			times := map[string]int{}
			for _, id := range strings.Fields(found(t, l, audit.Query{OldestFirst: true}, 1000)) {
				times[id]++
			}
			if times["other"] != c.late {
				t.Errorf("other lines: got %d, want %d", times["other"], c.late)
			}
			for i := range n {
				if got := times[fmt.Sprint(i)]; got != 1 {
					t.Fatalf("line %d of %d is there %d times, want once", i, n, got)
				}
			}
		})
	}
}

// While calls of the database fail, no line is written twice; when they succeed again, all lines are moved.
func TestPumpWithFailingDatabase(t *testing.T) {
	t.Parallel()
	l, d := openLog(t, t.TempDir(), audit.Options{}), &database{}
	p := pump(l, d)
	n := 0
	for round := range 4 {
		broken := errors.New("broken")
		d.failRead, d.failDel, d.lateDel = nil, nil, nil
		switch round {
		case 0:
			d.failRead = broken
		case 1:
			d.failDel = broken
		case 2:
			d.lateDel = broken
		}
		for range 3 {
			d.add(numbered(n, 0).AppendJSON(nil))
			n++
			if err := p.Flush(t.Context()); (err != nil) != (round < 3) {
				t.Errorf("round %d: got %v", round, err)
			}
		}
	}
	if d.left() != 0 {
		t.Errorf("%d are still pending", d.left())
	}
	counted(t, l, n)
}

// A pending text that is not a line of the trail does not block the lines after it.
func TestPumpPassesOverNonsense(t *testing.T) {
	t.Parallel()
	l, d := openLog(t, t.TempDir(), audit.Options{}), &database{}
	for _, line := range []string{"", "nonsense", "{}", `{"eventTime":"yesterday"}`} {
		d.add([]byte(line))
	}
	d.add(numbered(0, 0).AppendJSON(nil))
	p := pump(l, d)
	flush(t, p)
	if d.left() != 0 {
		t.Errorf("%d are still pending", d.left())
	}
	counted(t, l, 1)
}

// A line without an event id cannot be found in the files again: it is written, even if the files have another one.
func TestPumpKeepsLinesWithoutID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, d := openLog(t, dir, audit.Options{}), &database{}
	want := ""
	for i := range 3 {
		line := fmt.Sprintf(`{"eventTime":"2026-01-02T12:00:00Z","n":%d}`, i)
		d.add([]byte(line))
		flush(t, pump(l, d)) // a new pump looks for pending lines in the files
		want += line + "\n"
	}
	got, err := os.ReadFile(filepath.Join(dir, names(t, dir)[0]))
	if err != nil || string(got) != want {
		t.Errorf("the file has %q, %v, want %q", got, err, want)
	}
}

func TestPumpEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l, d := openLog(t, t.TempDir(), audit.Options{}), &database{}
	d.add(numbered(0, 0).AppendJSON(nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := pump(l, d)
	if err := p.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	flush(t, p)
	counted(t, l, 1)
}

// A batch that is written in part, because no new file can be created, is completed later without a repetition.
// A late line that had to wait for that still begins its own file, so that it is found by its time.
func TestPumpWithFailingFiles(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		max  int64
		late int // seconds before noon
		n    int
	}{
		"many":    {5 << 10, 0, 600},
		"one":     {0, 24 * 3600, 1},
		"a batch": {5 << 10, 24 * 3600, 100},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			dir, away := filepath.Join(parent, "audit"), filepath.Join(parent, "away")
			l, d := openLog(t, dir, audit.Options{MaxBytes: c.max}), &database{}
			p := pump(l, d)
			appendAll(t, l, &audit.Record{EventID: audit.NewID(), Time: noon, RequestID: "first"})
			flush(t, p)
			for i := range c.n {
				d.add(numbered(i, -c.late).AppendJSON(nil))
			}
			if err := os.Rename(dir, away); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := p.Flush(t.Context()); err == nil {
					t.Error("without a directory: got no error")
				}
			}
			if err := os.Rename(away, dir); err != nil {
				t.Fatal(err)
			}
			flush(t, p)
			appendAll(t, l, &audit.Record{EventID: audit.NewID(), Time: noon, RequestID: "last"})
			q := audit.Query{OldestFirst: true, Since: noon.Add(-25 * time.Hour), Until: noon.Add(time.Second)}
			if c.late > 0 {
				q.Until = noon.Add(-time.Hour)
			}
			seen := map[string]int{}
			for _, id := range strings.Fields(found(t, l, q, 1000)) {
				seen[id]++
			}
			for i := range c.n {
				if got := seen[fmt.Sprint(i)]; got != 1 {
					t.Fatalf("line %d is found %d times, want once", i, got)
				}
			}
		})
	}
}

// A crash tears the line at any offset: the line is written again, unless all of it was in the file.
func TestPumpAfterTornLine(t *testing.T) {
	t.Parallel()
	r := numbered(0, 0)
	line := r.AppendJSON(nil)
	for end := range len(line) + 2 {
		dir := t.TempDir()
		torn := append(bytes.Clone(line), '\n')[:end]
		if err := os.WriteFile(filepath.Join(dir, "audit-20260102T120000Z-000001.ndjson"), torn, 0o600); err != nil {
			t.Fatal(err)
		}
		l, d := openLog(t, dir, audit.Options{}), &database{}
		d.add(line)
		flush(t, pump(l, d))
		if got := found(t, l, audit.Query{}, 0); got != "0" {
			t.Errorf("torn after %q: got lines %q, want it once", torn[max(0, end-20):], got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
