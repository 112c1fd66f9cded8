package meta_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// A database that cannot be opened is refused at once, with a text that says what to do and does not contain the
// password.
func TestPostgreSQLIsRefused(t *testing.T) {
	long(t)
	t.Parallel()
	s := pgtest.Start(t)
	stopped := pgtest.New(t)
	stopped.Stop()
	good := s.NewDatabase(t)
	newer := s.NewDatabase(t)
	openURL(t, newer, time.Now).Close()
	s.Exec(t, database(t, newer), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`)
	icu := s.NewDatabase(t, `LOCALE_PROVIDER icu ICU_LOCALE 'en-US'`)
	latin := s.NewDatabase(t, `ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'`)
	readOnly := s.NewDatabase(t)
	s.Exec(t, "postgres", `ALTER DATABASE `+database(t, readOnly)+` SET default_transaction_read_only = on`)
	s.Exec(t, "postgres", `CREATE ROLE stranger LOGIN`)
	for what, c := range map[string]struct{ url, want string }{
		"not an address":        {"mysql://u:" + pgtest.Password + "@h/d", "must begin with postgres://"},
		"no address":            {"postgres://u:" + pgtest.Password + "%zz@h/d", "cannot be read: want postgres://USER:PASSWORD@HOST/NAME"},
		"a bad parameter":       {"postgres://u:" + pgtest.Password + "@h/d?sslmode=maybe", "cannot be read"},
		"stopped":               {stopped.URL("postgres"), "is the server running"},
		"no such database":      {s.URL("none"), "make the database first: CREATE DATABASE"},
		"no such user":          {strings.Replace(good, "ecrin:", "nobody:", 1), "refuses the user or the password"},
		"a user without rights": {strings.Replace(good, "ecrin:", "stranger:", 1), "make the user the owner of the database"},
		"a newer schema":        {newer, "made by a newer ecrin: use that one"},
		"ordered by language":   {icu, "LC_COLLATE 'C'"},
		"not UTF-8":             {latin, "ENCODING 'UTF8'"},
		"read-only":             {readOnly, "can only be read"},
	} {
		store, err := meta.OpenPostgreSQL(t.Context(), meta.PostgreSQL{URL: secret.New(c.url), Dir: t.TempDir(), Now: time.Now})
		if err == nil {
			t.Errorf("%s: got a store", what)
			_ = store.Close()
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), pgtest.Password) {
			t.Errorf("%s: got %q, want %q in it and no password", what, err, c.want)
		}
	}
	dir := t.TempDir()
	openURLIn(t, good, dir)
	if _, err := meta.OpenPostgreSQL(t.Context(), meta.PostgreSQL{URL: secret.New(good), Dir: dir,
		Now: time.Now}); err == nil || !strings.Contains(err.Error(), "in use by another ecrin") {
		t.Errorf("one data directory twice: got %v", err)
	}
}

func database(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// Two processes that start at the same time on an empty database migrate the schema one after the other.
func TestStartAtOnce(t *testing.T) {
	long(t)
	t.Parallel()
	url := pgtest.Start(t).NewDatabase(t)
	var wg sync.WaitGroup
	for range 4 {
		dir := t.TempDir()
		wg.Go(func() {
			s, err := meta.OpenPostgreSQL(t.Context(), meta.PostgreSQL{URL: secret.New(url), Dir: dir, Now: time.Now})
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(s.Ping(t.Context()), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// work writes and reads from several goroutines until stop, and records which writes were acknowledged. Failures must
// be errors that a client may see.
type work struct {
	s     *meta.Store
	stop  atomic.Bool
	wg    sync.WaitGroup
	mu    sync.Mutex
	acked []string

	failures  atomic.Int64
	successes [3]atomic.Int64 // writes, refreshs and reads
}

func (w *work) run(t *testing.T, writers int) {
	t.Cleanup(func() { // before the store is closed, also when the test has failed
		w.stop.Store(true)
		w.wg.Wait()
	})
	for i := range writers {
		w.wg.Go(func() {
			for n := 0; !w.stop.Load(); n++ {
				key := fmt.Sprintf("w%d-%d", i, n)
				ctx := audit.WithLine(t.Context(), line(key))
				if err := w.s.WriteOnly(ctx, setting(key, fine)); w.judge(t, 0, err) {
					w.mu.Lock()
					w.acked = append(w.acked, key)
					w.mu.Unlock()
				}
			}
		})
		w.wg.Go(func() {
			for !w.stop.Load() {
				w.judge(t, 1, w.s.Refresh(t.Context()))
				_, err := w.s.Accounts(t.Context())
				w.judge(t, 2, err)
			}
		})
	}
}

func (w *work) judge(t *testing.T, what int, err error) bool {
	if err == nil {
		w.successes[what].Add(1)
		return true
	}
	var e *fault.Error
	if !errors.As(err, &e) || e.Code != fault.Unavailable || strings.Contains(err.Error(), pgtest.Password) {
		t.Errorf("%s: got %v, want Unavailable", []string{"write", "refresh", "read"}[what], err)
	}
	w.failures.Add(1)
	time.Sleep(time.Millisecond) // leave processor time to the starting server
	return false
}

// working waits until each kind of call has succeeded again.
func (w *work) working(t *testing.T) {
	t.Helper()
	var before [3]int64
	for i := range before {
		before[i] = w.successes[i].Load()
	}
	limit := time.Now().Add(30 * time.Second)
	for i := range before {
		for w.successes[i].Load() < before[i]+2 { // the first one may have begun earlier
			if time.Now().After(limit) {
				t.Fatalf("not all calls succeed again after 30 s: successes %v, then %v", before, &w.successes)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// check ends the work and compares the stored changes and audit lines with the acknowledged ones.
func (w *work) check(t *testing.T) {
	t.Helper()
	w.stop.Store(true)
	w.wg.Wait()
	have := " " + stored(t, w.s) + " "
	lines := " " + pendingLines(t, w.s) + " "
	for _, key := range w.acked {
		if !strings.Contains(have, " "+key+" ") {
			t.Errorf("write %s was acknowledged and is not stored", key)
		}
		if strings.Count(lines, " "+key+" ") != 1 {
			t.Errorf("write %s was acknowledged and has %d audit lines", key, strings.Count(lines, " "+key+" "))
		}
	}
	if a, b := len(strings.Fields(have)), len(strings.Fields(lines)); a != b {
		t.Errorf("%d changes are stored with %d audit lines", a, b)
	}
	if len(w.acked) == 0 {
		t.Error("nothing was acknowledged")
	}
	t.Logf("%d writes acknowledged, %d failures", len(w.acked), w.failures.Load())
}

// When a server restarts or crashes under load, no acknowledged change is lost, no change is made twice, and the
// store recovers by itself.
func TestServerRestarts(t *testing.T) {
	long(t)
	t.Parallel()
	s := pgtest.New(t)
	store := openURL(t, s.NewDatabase(t), time.Now)
	metatest.NewFixture(t, store)
	w := &work{s: store}
	w.run(t, 4)
	rounds := 3
	if slowtest.Enabled() {
		rounds = 40
	}
	for round := range rounds {
		w.working(t)
		if round%2 == 0 {
			s.Kill()
		} else {
			s.Stop()
		}
		s.Start(t)
	}
	w.working(t)
	w.check(t)
}

// While the server is stopped every call fails soon and few connections are attempted; when it runs again all calls
// succeed.
func TestServerStopped(t *testing.T) {
	long(t)
	t.Parallel()
	s := pgtest.New(t)
	p := newProxy(t, s.Socket())
	store := openWith(t, meta.PostgreSQL{URL: secret.New(p.url(database(t, s.NewDatabase(t)))), Dir: t.TempDir(),
		Now: time.Now, Timeout: time.Second})
	fx := metatest.NewFixture(t, store)
	s.Stop()
	unavailable := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "the database does not answer") {
			t.Errorf("%s: got %v, want Unavailable and a text that says so", what, err)
		}
	}
	unavailable("the first write", store.PutSetting(t.Context(), metatest.Registry, "S", "v"))
	before := p.tries.Load()
	start := time.Now()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for range 10 {
				unavailable("write", store.PutSetting(t.Context(), metatest.Registry, "S", "v"))
				unavailable("refresh", store.Refresh(t.Context()))
				unavailable("ping", store.Ping(t.Context()))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	// 3,000 calls: refreshes and writes make one attempt for each pause, each read of Ping one or two.
	if tries := p.tries.Load() - before; tries > 2*1000+200 {
		t.Errorf("3,000 calls made %d attempts to connect", tries)
	}
	t.Logf("3,000 calls in %s made %d attempts to connect", took, p.tries.Load()-before)
	s.Start(t)
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := errors.Join(store.Ping(t.Context()), store.Refresh(t.Context()))
		if err == nil {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("after the server is back: %v", err)
		}
	}
	fx.Must(store.PutSetting(t.Context(), metatest.Registry, "S", "v"))
}

// Calls to a server that hangs fail after the timeout; when the server continues, so does the store.
func TestServerHangs(t *testing.T) {
	long(t)
	t.Parallel()
	s := pgtest.New(t)
	store := openWith(t, meta.PostgreSQL{URL: secret.New(s.NewDatabase(t)), Dir: t.TempDir(), Now: time.Now, Timeout: 500 * time.Millisecond})
	fx := metatest.NewFixture(t, store)
	fx.Must(store.Refresh(t.Context()))
	resume := s.Pause(t)
	start := time.Now()
	var wg sync.WaitGroup
	for what, call := range map[string]func() error{
		"write":   func() error { return store.PutSetting(t.Context(), metatest.Registry, "S", "v") },
		"read":    func() error { _, err := store.Accounts(t.Context()); return err },
		"refresh": func() error { return store.Refresh(t.Context()) },
	} {
		wg.Go(func() {
			if err := call(); !errors.Is(err, fault.Unavailable) {
				t.Errorf("%s: got %v, want Unavailable", what, err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("the calls took %s, want a small multiple of the timeout of 0.5 s", d)
	}
	resume()
	work := &work{s: store}
	work.run(t, 1)
	work.working(t)
	work.check(t)
}

// A write that waits for the transaction of another client fails after the timeout.
func TestWriteWaitsForAnotherClient(t *testing.T) {
	long(t)
	t.Parallel()
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	store := openWith(t, meta.PostgreSQL{URL: secret.New(url), Dir: t.TempDir(), Now: time.Now, Timeout: 300 * time.Millisecond})
	fx := metatest.NewFixture(t, store)
	other := openURL(t, url, time.Now)
	release := other.Hold()
	if err := store.PutSetting(t.Context(), metatest.Registry, "S", "v"); !errors.Is(err, fault.Unavailable) ||
		!strings.Contains(err.Error(), "took too long") {
		t.Errorf("got %v, want Unavailable and a text that says why", err)
	}
	release()
	fx.Must(store.PutSetting(t.Context(), metatest.Registry, "S", "v"))
}

// Reads that get no connection from the server fail with an error that says so; existing connections continue to work.
func TestNoFreeConnection(t *testing.T) {
	long(t)
	t.Parallel()
	s := pgtest.Start(t)
	url := s.NewDatabase(t)
	openURL(t, url, time.Now).Close()
	s.Exec(t, database(t, url), `CREATE ROLE crowded LOGIN CONNECTION LIMIT 3; GRANT ALL ON ALL TABLES IN SCHEMA public TO crowded`)
	store := openURL(t, strings.Replace(url, "ecrin:", "crowded:", 1), time.Now)
	fx := &metatest.Fixture{T: t, Store: store, Ctx: t.Context()}
	// The writer and Refresh have one connection each; the third connection is for one read.
	fx.Must(store.CreateAccount(t.Context(), meta.Account{ID: metatest.Account}, metatest.Key(metatest.Account, "AKIA")))
	_, err := store.Accounts(t.Context())
	fx.Must(err)
	var wg sync.WaitGroup
	var refused atomic.Int64
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := store.Accounts(t.Context()); err != nil {
					refused.Add(1)
					if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no free connection") {
						t.Errorf("a read: got %v, want Unavailable and a text that says why", err)
					}
				}
				if err := store.PutSetting(fx.Ctx, metatest.Registry, "S", "v"); err != nil {
					t.Errorf("a write: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if refused.Load() == 0 {
		t.Error("no read was refused: the test proves nothing")
	}
	fx.Must(store.Refresh(t.Context()))
}

// A server that becomes a standby refuses changes; the store recovers when the server is the primary again.
func TestServerBecomesStandby(t *testing.T) {
	long(t)
	t.Parallel()
	s := pgtest.New(t)
	url := s.NewDatabase(t)
	store := openWith(t, meta.PostgreSQL{URL: secret.New(url), Dir: t.TempDir(), Now: time.Now, Timeout: time.Second})
	fx := metatest.NewFixture(t, store)
	s.Stop()
	s.Standby(t)
	s.Start(t)
	var err error
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		if err = store.PutSetting(t.Context(), metatest.Registry, "S", "v"); err == nil || strings.Contains(err.Error(), "read-only") {
			break
		}
	}
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a write: got %v, want Unavailable and a text that says why", err)
	}
	if _, err := store.Accounts(t.Context()); err != nil {
		t.Errorf("a read: got %v, want no error", err)
	}
	if err := store.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("Ping: got %v, want the reason", err)
	}
	if _, err := meta.OpenPostgreSQL(t.Context(), meta.PostgreSQL{URL: secret.New(url), Dir: t.TempDir(),
		Now: time.Now}); err == nil || !strings.Contains(err.Error(), "is a standby") {
		t.Errorf("opening a standby: got %v, want a text that says so", err)
	}
	s.Exec(t, "postgres", `SELECT pg_promote()`)
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := store.PutSetting(t.Context(), metatest.Registry, "S", "v")
		if err == nil {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("after the promotion: %v", err)
		}
	}
	fx.Must(store.Refresh(t.Context()))
}
