package identity_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var (
	home  = name.MustAccount("000000000000")
	other = name.MustAccount("111122223333")
	east  = name.MustRegion("us-east-1")
	west  = name.MustRegion("eu-west-1")
)

// fixture is an installation with the default account, another account, and a clock that the test sets.
type fixture struct {
	*identity.Service
	meta *meta.Store
	ring *identity.Keyring
	at   time.Time
	dir  string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	w := &fixture{at: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	w.dir = dir
	var err error
	if w.ring, err = identity.LoadKeyring(dir, "", true); err != nil {
		t.Fatal(err)
	}
	metatest.Prepare(t, dir)
	if w.meta, err = meta.OpenSQLite(t.Context(), dir, w.now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.meta.Close(); err != nil {
			t.Error(err)
		}
	})
	w.Service = identity.New(w.meta, w.ring, w.now, identity.Options{})
	if created, err := w.EnsureDefault(t.Context(), home); err != nil || !created {
		t.Fatalf("EnsureDefault: got %v, %v, want a new account", created, err)
	}
	if _, err := w.CreateAccount(t.Context(), other, "other"); err != nil {
		t.Fatal(err)
	}
	return w
}

// root returns the root user of an account, as the caller with its oldest active key.
func (w *fixture) root(t testing.TB, account name.Account) identity.Caller {
	t.Helper()
	k, err := w.Credentials(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.KeyCaller(t.Context(), k.ID)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *fixture) now() time.Time { return w.at }

func wantCode(t *testing.T, what string, err error, want fault.Code) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want fault.%s", what, err, want)
	}
}
