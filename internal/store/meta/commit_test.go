package meta_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func open(t *testing.T) *meta.Store {
	t.Helper()
	return openAt(t, t.TempDir(), time.Now)
}

func openAt(t *testing.T, dir string, now func() time.Time) *meta.Store {
	t.Helper()
	metatest.Prepare(t, dir)
	s, err := meta.OpenSQLite(t.Context(), dir, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // fails if the test has closed the store
	return s
}

// setting returns a write that stores a row and then calls then.
func setting(key string, then func(*meta.Tx) error) func(*meta.Tx) error {
	return func(t *meta.Tx) error {
		if _, err := t.Exec(`INSERT INTO account_settings (account, region, name, value) VALUES ('a', 'r', $1, 'v')`, key); err != nil {
			return err
		}
		return then(t)
	}
}

func stored(t *testing.T, s *meta.Store) string {
	t.Helper()
	all, err := s.Column(t.Context(), `SELECT name FROM account_settings ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// together runs the writes as one group and returns their errors.
func together(t *testing.T, s *meta.Store, fns ...func(*meta.Tx) error) []error {
	t.Helper()
	errs := make([]error, len(fns))
	release := s.Hold()
	var wg sync.WaitGroup
	for i, fn := range fns {
		wg.Go(func() { errs[i] = s.Write(t.Context(), fn) })
		for s.Waiting() != i+1 {
			runtime.Gosched()
		}
	}
	release()
	wg.Wait()
	return errs
}

// The outcome of one write of a group does not change the outcome of the others: a refusal, an error without a code,
// a panic, or a statement after which the database has ended the transaction by itself.
func TestWritesOfAGroupAreIndependent(t *testing.T) {
	t.Parallel()
	fine := func(*meta.Tx) error { return nil }
	refused := func(*meta.Tx) error { return fault.ImageTagAlreadyExists.New("refused") }
	broken := errors.New("broken")
	endings := map[string]struct {
		fn   func(*meta.Tx) error
		want string
	}{
		"refused":                 {refused, "refused"},
		"no code":                 {func(*meta.Tx) error { return broken }, "broken"},
		"panic":                   {func(*meta.Tx) error { panic("oops") }, "oops"},
		"ends transaction":        {endTransaction, "UNIQUE"},
		"ignores the end":         {func(t *meta.Tx) error { _ = endTransaction(t); return nil }, "no such savepoint"},
		"turns it into a refusal": {func(t *meta.Tx) error { return errors.Join(endTransaction(t), refused(t)) }, "UNIQUE"},
		"constraint": {func(t *meta.Tx) error {
			_, err := t.Exec(`INSERT INTO manifests (digest, body) VALUES ('x', NULL)`)
			return err
		}, "NOT NULL"},
	}
	for what, end := range endings {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			errs := together(t, s, setting("1", fine), setting("2", refused), setting("3", end.fn), setting("4", refused), setting("5", fine))
			for i, err := range errs {
				switch i {
				case 0, 4:
					if err != nil {
						t.Errorf("write %d: got %v, want no error", i+1, err)
					}
				case 1, 3:
					if !errors.Is(err, fault.ImageTagAlreadyExists) {
						t.Errorf("refused write %d: got %v, want its refusal", i+1, err)
					}
				case 2:
					if err == nil || !strings.Contains(err.Error(), end.want) {
						t.Errorf("write 3: got %v, want %q", err, end.want)
					}
				}
			}
			if got := stored(t, s); got != "1 5" {
				t.Errorf("stored: got %q, want \"1 5\"", got)
			}
			if err := s.Write(t.Context(), setting("6", fine)); err != nil {
				t.Errorf("the next write: %v", err)
			}
		})
	}
}

// endTransaction makes the database roll back by itself, as a full disk or an I/O error can.
func endTransaction(t *meta.Tx) error {
	_, err := t.Exec(`INSERT OR ROLLBACK INTO account_settings (account, region, name, value) SELECT account, region, name, value FROM account_settings`)
	return err
}

// Each write uses the connection alone, in the order in which the writes were queued.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	s := open(t)
	var wg sync.WaitGroup
	var failed atomic.Int32
	const n = 400
	for i := range n {
		wg.Go(func() {
			end := func(*meta.Tx) error { return nil }
			if i%4 == 0 {
				end = func(*meta.Tx) error { return fault.LimitExceeded.New("no") }
			}
			if err := s.Write(t.Context(), setting(fmt.Sprint(i), end)); (err != nil) != (i%4 == 0) {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if got, err := s.Count(t.Context(), `SELECT COUNT(*) FROM account_settings`); err != nil || got != n*3/4 || failed.Load() != 0 {
		t.Errorf("got %d rows (%v) and %d wrong answers, want %d and 0", got, err, failed.Load(), n*3/4)
	}
}

// If ctx ends before the write is queued, the write is not executed; a queued write is, and its caller gets the
// outcome.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := s.Hold()
	var wg sync.WaitGroup
	for s.Waiting() < 128 {
		n := s.Waiting()
		wg.Go(func() { _ = s.Write(t.Context(), func(*meta.Tx) error { return nil }) })
		for s.Waiting() == n {
			runtime.Gosched()
		}
	}
	if err := s.Write(ctx, setting("late", func(*meta.Tx) error { return nil })); !errors.Is(err, context.Canceled) {
		t.Errorf("before it was queued: got %v, want context.Canceled", err)
	}
	release()
	wg.Wait()
	ctx, cancel = context.WithCancel(t.Context())
	err := s.Write(ctx, setting("placed", func(*meta.Tx) error { cancel(); return nil }))
	if got := stored(t, s); err != nil || got != "placed" {
		t.Errorf("after it was queued: got %v and stored %q, want no error and \"placed\"", err, got)
	}
}

// The end of a client's context during its own transaction affects neither that write nor the others of the group.
func TestContextEndsInTransaction(t *testing.T) {
	t.Parallel()
	fx := metatest.NewFixture(t, open(t))
	from, to := fx.Repo("from"), fx.Repo("to")
	d := fx.Blob(from, "layer")
	for i, call := range []func(ctx context.Context) error{
		func(ctx context.Context) error { return fx.MountBlob(ctx, from, to, d) },
		func(ctx context.Context) error { return fx.RemoveBlob(ctx, to, d) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		release := fx.Hold()
		done := make(chan error)
		go func() { done <- call(ctx) }()
		for fx.Waiting() != 1 {
			runtime.Gosched()
		}
		cancel()
		release()
		if err := <-done; err != nil {
			t.Errorf("call %d: got %v, want its outcome: it was queued before its context ended", i, err)
		}
	}
}

// Close finishes queued writes, refuses later ones, and returns although new writes are still attempted.
func TestCloseUnderWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir, time.Now)
	var acked sync.Map
	var wg sync.WaitGroup
	var started atomic.Int32
	ctx, stop := context.WithCancel(t.Context())
	for i := range 16 {
		wg.Go(func() {
			for j := 0; ctx.Err() == nil; j++ {
				key := fmt.Sprintf("%d.%d", i, j)
				switch err := s.Write(context.Background(), setting(key, func(*meta.Tx) error { return nil })); {
				case err == nil:
					acked.Store(key, true)
					started.Add(1)
				case !errors.Is(err, fault.Unavailable):
					t.Errorf("got %v, want Unavailable", err)
					return
				}
			}
		})
	}
	for started.Load() < 50 {
		runtime.Gosched()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	stop()
	wg.Wait()
	again := openAt(t, dir, time.Now)
	have := " " + stored(t, again) + " "
	acked.Range(func(key, _ any) bool {
		if !strings.Contains(have, " "+key.(string)+" ") {
			t.Errorf("write %s was acknowledged and is not stored", key)
		}
		return true
	})
}

// If another program locks the database for longer than the timeout, the whole group fails at once: its writes do not
// wait one timeout each.
func TestBusyFailsTheWholeGroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir, time.Now)
	if err := s.Write(t.Context(), func(t *meta.Tx) error {
		_, err := t.Exec(`PRAGMA busy_timeout = 50`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", filepath.Join(dir, "ecrin.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var wg sync.WaitGroup
	const writes = 1000 // one after another they would wait for 50 s
	for i := range writes {
		wg.Go(func() {
			if err := s.Write(t.Context(), setting(fmt.Sprint(i), func(*meta.Tx) error { return nil })); !errors.Is(err, fault.Unavailable) {
				t.Errorf("got %v, want Unavailable", err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("%d writes waited %s, want far less than %d times the timeout of 50 ms", writes, d, writes)
	}
	if _, err := other.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), setting("after", func(*meta.Tx) error { return nil })); err != nil {
		t.Errorf("once the other program has ended: %v", err)
	}
}
