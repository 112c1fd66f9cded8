package registry_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var (
	home  = name.Registry{Account: name.MustAccount("000000000000"), Region: name.MustRegion("us-east-1")}
	alice = identity.Caller{Kind: identity.Root, Account: home.Account, ARN: "arn:aws:iam::000000000000:root"}
)

// fixture is a Service over real stores, with one account and one repository.
type fixture struct {
	*registry.Service
	repo  meta.Repository
	store *meta.Store
	blobs blob.Store
	dir   string // the data directory
	clock *time.Time
	runs  *time.Time // since when the clock runs; zero while it stands
}

// newFixture returns a fixture. If wrap is not nil, the service uses the blob store that wrap returns.
func newFixture(t *testing.T, wrap func(blob.Store) blob.Store, quirks registry.Quirks) fixture {
	t.Helper()
	dir := t.TempDir()
	clock := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	var runs time.Time
	now := func() time.Time {
		if runs.IsZero() {
			return clock
		}
		return clock.Add(time.Since(runs))
	}
	metatest.Prepare(t, dir)
	m, err := meta.OpenSQLite(t.Context(), dir, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	var b blob.Store
	if b, err = fsblob.Open(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	keys, err := identity.LoadKeyring(dir, "", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.New(m, keys, now, identity.Options{}).EnsureDefault(t.Context(), home.Account); err != nil {
		t.Fatal(err)
	}
	c := fixture{store: m, blobs: b, dir: dir, clock: &clock, runs: &runs}
	if wrap != nil {
		b = wrap(b)
	}
	c.Service = registry.New(m, b, registry.Options{Now: now, Log: slog.New(slog.DiscardHandler), Quirks: quirks})
	c.repo, err = c.CreateRepository(t.Context(), meta.Repository{Registry: home, Name: name.MustRepo("team/app")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c fixture) begin(t *testing.T) meta.Upload {
	t.Helper()
	u, err := c.BeginUpload(t.Context(), alice, c.repo, name.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// content returns the content of a blob of the repository.
func (c fixture) content(t *testing.T, d name.Digest) string {
	t.Helper()
	f, _, err := c.OpenBlob(context.WithoutCancel(t.Context()), c.repo, d)
	if err != nil {
		t.Fatalf("opening %s: %v", d, err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatalf("reading %s: %v", d, err)
	}
	return string(b)
}
