package meta_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

func fine(*meta.Tx) error { return nil }

func line(text string) *audit.Line {
	return audit.NewLine(func() []byte { return []byte(text + "\n") })
}

// pendingLines returns the pending audit lines, without their newlines.
func pendingLines(t *testing.T, s *meta.Store) string {
	t.Helper()
	var texts []string
	for after := int64(0); ; {
		page, err := s.PendingAudit(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, one := range page {
			texts = append(texts, strings.Fields(string(one.Lines))...)
			after = one.ID
		}
	}
	return strings.Join(texts, " ")
}

// A line is stored with its change, once for a request, however many changes it makes.
func TestAuditLineIsStoredWithItsChange(t *testing.T) {
	t.Parallel()
	refused := func(*meta.Tx) error { return fault.LimitExceeded.New("no") }
	broken := func(*meta.Tx) error { return errors.New("broken") }
	panics := audit.NewLine(func() []byte { panic("no text") })
	empty := audit.NewLine(func() []byte { return nil })
	for what, c := range map[string]struct {
		line    *audit.Line
		endings []func(*meta.Tx) error
		want    string // the stored changes, then the pending lines
		written bool
	}{
		"one change":               {line("L"), []func(*meta.Tx) error{fine}, "0|L", true},
		"three changes":            {line("L"), []func(*meta.Tx) error{fine, fine, fine}, "0 1 2|L", true},
		"refused":                  {line("L"), []func(*meta.Tx) error{refused}, "|", false},
		"broken":                   {line("L"), []func(*meta.Tx) error{broken}, "|", false},
		"refused, then successful": {line("L"), []func(*meta.Tx) error{refused, broken, fine, refused}, "2|L", true},
		"ends the transaction":     {line("L"), []func(*meta.Tx) error{endTransaction, fine}, "1|L", true},
		"the text panics":          {panics, []func(*meta.Tx) error{fine}, "|", false},
		"the text is empty":        {empty, []func(*meta.Tx) error{fine}, "0|", false},
		"a request without a line": {nil, []func(*meta.Tx) error{fine}, "0|", false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			ctx := t.Context()
			if c.line != nil {
				ctx = audit.WithLine(ctx, c.line)
			}
			for i, end := range c.endings {
				_ = s.Write(ctx, setting(strconv.Itoa(i), end)) // the outcome is checked below
			}
			if got := stored(t, s) + "|" + pendingLines(t, s); got != c.want {
				t.Errorf("stored|pending: got %q, want %q", got, c.want)
			}
			if c.line != nil && c.line.Written() != c.written {
				t.Errorf("Written: got %t, want %t", c.line.Written(), c.written)
			}
		})
	}
}

// If a group of changes fails as a whole, each change is committed alone: each line is stored once all the same, in
// the order of the changes, and lines of failed changes are not.
func TestAuditLinesInGroups(t *testing.T) {
	t.Parallel()
	refused := func(*meta.Tx) error { return fault.LimitExceeded.New("no") }
	for what, middle := range map[string]func(*meta.Tx) error{
		"fine": fine, "refused": refused, "ends transaction": endTransaction,
		"panics": func(*meta.Tx) error { panic("oops") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			texts := []string{"a", "b", "c", "b", "e"} // the second and the fourth are of one request
			shared := line("b")
			calls := map[string]*atomic.Int32{}
			release := s.Hold()
			var wg sync.WaitGroup
			lines := map[string]*audit.Line{"b": shared}
			for i, text := range texts {
				if lines[text] == nil {
					n := new(atomic.Int32)
					calls[text] = n
					lines[text] = audit.NewLine(func() []byte { n.Add(1); return []byte(text + "\n") })
				}
				end := fine
				if text == "c" {
					end = middle
				}
				ctx := audit.WithLine(t.Context(), lines[text])
				wg.Go(func() { _ = s.Write(ctx, setting(strconv.Itoa(i), end)) })
				for s.Waiting() != i+1 {
					runtime.Gosched()
				}
			}
			release()
			wg.Wait()
			wantStored, wantPending := "0 1 3 4", "a b e"
			if what == "fine" {
				wantStored, wantPending = "0 1 2 3 4", "a b c e"
			}
			if got := stored(t, s); got != wantStored {
				t.Errorf("stored: got %q, want %q", got, wantStored)
			}
			if got := pendingLines(t, s); got != wantPending {
				t.Errorf("pending: got %q, want %q", got, wantPending)
			}
			if got := lines["c"].Written(); got != (what == "fine") {
				t.Errorf("Written of the one in the middle: got %t", got)
			}
			for _, text := range []string{"a", "b", "e"} {
				if !lines[text].Written() {
					t.Errorf("Written of %s: got false, want true", text)
				}
			}
		})
	}
}

// The text of a line is made before its change is queued: later changes to the request's event have no effect, and
// the writer calls no code of the request except the change.
func TestAuditLineIsMadeBeforeTheChangeIsQueued(t *testing.T) {
	t.Parallel()
	s := open(t)
	text, calls, made := "before", 0, make(chan struct{}, 9)
	l := audit.NewLine(func() []byte {
		defer func() { made <- struct{}{} }()
		calls++
		return []byte(text + "\n")
	})
	release := s.Hold()
	done := make(chan error)
	go func() { done <- s.Write(audit.WithLine(t.Context(), l), setting("1", fine)) }()
	<-made // while the writer is held
	text = "after"
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := pendingLines(t, s); got != "before" || calls != 1 {
		t.Errorf("got %q from %d calls, want \"before\" from 1", got, calls)
	}
	if err := s.Write(audit.WithLine(t.Context(), l), setting("2", fine)); err != nil || calls != 1 {
		t.Errorf("a later change: got %v and %d calls, want no error and none more: the line is written", err, calls)
	}
}

// A reader reads lines page by page and deletes what it has read; an identifier that it has read is never used again.
func TestPendingAuditPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	n := 0
	add := func(more int) {
		for range more {
			n++
			if err := s.Write(audit.WithLine(t.Context(), line(strconv.Itoa(n))), setting(strconv.Itoa(n), fine)); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(5)
	var got []string
	last := int64(0)
	for round := range 4 {
		page, err := s.PendingAudit(t.Context(), last, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page {
			if one.ID <= last {
				t.Errorf("round %d: identifier %d after %d", round, one.ID, last)
			}
			last = one.ID
			got = append(got, strings.TrimSpace(string(one.Lines)))
		}
		if round == 1 { // all rows are deleted: the identifiers of the next round must still be larger
			if err := s.DeleteAudit(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			if rest := pendingLines(t, s); rest != "" {
				t.Errorf("after deletion: got %q, want nothing", rest)
			}
			add(2)
		}
	}
	if d := cmp.Diff([]string{"1", "2", "3", "4", "5", "6", "7"}, got); d != "" {
		t.Errorf("read (-want +got):\n%s", d)
	}
	if err := s.DeleteAudit(t.Context(), last-1); err != nil {
		t.Fatal(err)
	}
	if got := pendingLines(t, s); got != "7" {
		t.Errorf("after deleting all but the last: got %q, want 7", got)
	}
}

func init() { helpers["audit"] = auditHelper }

func auditRecord(request string) audit.Record {
	return audit.Record{
		EventID: audit.NewID(), Time: time.Now(), Source: "ecr.amazonaws.com", Name: "PutImage", Region: "eu-west-1",
		RequestID: request, Identity: audit.Identity{Type: audit.IAMUser, ARN: metatest.Principal},
	}
}

// smallFiles makes the files of the trail so small that crashes occur at every step of their life.
const smallFiles = 20 << 10

func trail(dir string, s *meta.Store, maxBytes int64) (*audit.Log, *audit.Pump, error) {
	l, err := audit.OpenLog(filepath.Join(dir, "audit"), audit.Options{MaxBytes: maxBytes, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	return l, audit.NewPump(l, s), nil
}

// auditHelper makes changes with lines from several goroutines and moves the lines to files, until it is killed.
func auditHelper(dir string) {
	ctx := context.Background()
	s, err := meta.OpenSQLite(ctx, dir, time.Now)
	if err != nil {
		fatal(err)
	}
	l, pump, err := trail(dir, s, smallFiles)
	if err != nil {
		fatal(err)
	}
	go func() {
		for {
			if err := pump.Flush(ctx); err != nil {
				fatal(err)
			}
		}
	}()
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := strconv.FormatInt(time.Now().UnixNano(), 36)
	for writer := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%s-%d-%d", start, writer, i)
				r := auditRecord(key)
				accounts := []string{metatest.Account.String(), "444455556666"}[:1+i%2]
				line := audit.NewLine(func() []byte { return r.AppendLines(nil, accounts...) })
				if err := s.PutSetting(audit.WithLine(ctx, line), metatest.Registry, key, strconv.Itoa(len(accounts))); err != nil {
					fatal(err)
				}
				read := auditRecord("read-" + key) // lines of reads are written between those of changes
				l.Append(&read)
				mu.Lock()
				_, err := fmt.Println(key)
				mu.Unlock()
				if err != nil {
					os.Exit(0) // the test has ended
				}
			}
		})
	}
	wg.Wait()
}

// After a process was killed at any moment, every change has its line: no line is lost, no line is written twice, and
// no line is without its change.
func TestAuditCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rounds := 4
	if slowtest.Enabled() {
		rounds = 60
	}
	acked := map[string]bool{}
	random := seedtest.New(seedtest.Seed(t), 0)
	for round := range rounds {
		cmd := helper(t, "audit", dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		limit, n := 1+random.IntN(300), 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			acked[lines.Text()] = true
			if n++; n == limit {
				_ = cmd.Process.Kill() // its output until then is still read
			}
		}
		_ = cmd.Wait()
		if n < limit {
			t.Fatalf("round %d: the child ended by itself after %d changes", round, n)
		}
	}
	checkTrail(t, dir, acked)
}

func checkTrail(t *testing.T, dir string, acked map[string]bool) {
	t.Helper()
	s := openAt(t, dir, time.Now)
	l, pump, err := trail(dir, s, smallFiles)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := pump.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := pendingLines(t, s); left != "" {
		t.Errorf("pending after Flush: got %q, want none", left)
	}
	found, ids := map[string]int{}, map[audit.ID]bool{}
	for cursor := ""; ; {
		page, err := l.Search(t.Context(), audit.Query{OldestFirst: true}, cursor, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			if ids[e.Record.EventID] {
				t.Errorf("event id %s is there twice", e.Record.EventID)
			}
			ids[e.Record.EventID] = true
			found[e.Record.RequestID]++
		}
		if len(page.Events) == 0 {
			break
		}
		cursor = page.Next
	}
	names, err := s.Column(t.Context(), `SELECT name || '=' || value FROM account_settings`)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	for _, one := range names {
		key, want, _ := strings.Cut(one, "=")
		made[key] = true
		if strconv.Itoa(found[key]) != want {
			t.Errorf("change %s has %d lines, want %s", key, found[key], want)
		}
	}
	for key := range acked {
		if !made[key] {
			t.Errorf("change %s was acknowledged and is not stored", key)
		}
	}
	for key := range found {
		if !strings.HasPrefix(key, "read-") && !made[key] {
			t.Errorf("there is a line of the change %s, which is not stored", key)
		}
	}
	t.Logf("%d changes, %d acknowledged, %d lines", len(made), len(acked), len(ids))
}

// The cost of a line in a durable write, with eight concurrent writers.
func BenchmarkWrite(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(map[bool]string{false: "without", true: "with"}[with]+" a line", func(b *testing.B) {
			dir := b.TempDir()
			s, err := meta.OpenSQLite(b.Context(), dir, time.Now)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			ctx, stop := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			if with {
				l, pump, err := trail(dir, s, 0)
				if err != nil {
					b.Fatal(err)
				}
				defer l.Close()
				wg.Go(func() {
					tick := time.NewTicker(audit.PumpEvery)
					defer tick.Stop()
					for ctx.Err() == nil {
						<-tick.C
						if err := pump.Flush(ctx); err != nil && ctx.Err() == nil {
							b.Error(err)
						}
					}
				})
			}
			defer wg.Wait()
			defer stop()
			var n atomic.Int64
			b.ResetTimer()
			var writers sync.WaitGroup
			for range 8 {
				writers.Go(func() {
					for {
						i := n.Add(1)
						if i > int64(b.N) {
							return
						}
						ctx := b.Context()
						if with {
							r := auditRecord("r")
							r.Request.String("repositoryName", "team/app")
							r.Request.String("imageTag", "latest")
							ctx = audit.WithLine(ctx, audit.NewLine(func() []byte { return r.AppendLines(nil, "111122223333") }))
						}
						if err := s.PutSetting(ctx, metatest.Registry, strconv.FormatInt(i, 10), "v"); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			writers.Wait()
			b.StopTimer()
		})
	}
}

// After a store was opened with pending lines, which were all moved to files before its first change, the identifiers
// of new lines are larger: a reader asks for those after the last one it has read.
func TestAuditIdentifiersGrowOverRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir, time.Now)
	for _, key := range []string{"1", "2", "3"} {
		if err := s.Write(audit.WithLine(t.Context(), line(key)), setting(key, fine)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, dir, time.Now)
	old, err := s.PendingAudit(t.Context(), 0, 10)
	if err != nil || len(old) != 3 {
		t.Fatalf("after opening again: got %d rows, %v, want 3", len(old), err)
	}
	last := old[2].ID
	if err := s.DeleteAudit(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(audit.WithLine(t.Context(), line("4")), setting("4", fine)); err != nil {
		t.Fatal(err)
	}
	if all, err := s.PendingAudit(t.Context(), last, 10); err != nil || len(all) != 1 || string(all[0].Lines) != "4\n" {
		t.Errorf("after identifier %d: got %v, %v, want the line of the new change", last, all, err)
	}
}
