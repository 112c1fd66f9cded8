package registry_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// guest returns a session of a role of another account.
func guest(role, session string) identity.Caller {
	return identity.Caller{Kind: identity.RoleSession, Account: name.MustAccount("444455556666"), UserID: role + ":" + session,
		Principal: role}
}

// Guests together take at most half of the quota of a repository, and a refused guest does not make the owner wait.
func TestGuestsLeaveHalfOfTheUploadsToTheOwner(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	s := registry.New(c.store, c.blobs, registry.Options{Now: func() time.Time { return *c.clock }, Log: slog.New(slog.DiscardHandler),
		MaxUploads: registry.UploadLimits{PerPrincipal: 100, PerRepository: 10}})
	begin := func(by identity.Caller) error {
		_, err := s.BeginUpload(t.Context(), by, c.repo, name.SHA256)
		return err
	}
	for i := range 5 {
		if err := begin(guest(fmt.Sprint("AROA", i), "s")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		if err := begin(guest("AROAMORE", "s")); !errors.Is(err, fault.QuotaExceeded) {
			t.Errorf("a guest beyond the half: got %v, want %s", err, fault.QuotaExceeded)
		}
		if err := begin(alice); err != nil {
			t.Errorf("upload %d of the owner: %v", i+1, err)
		}
	}
	if err := begin(alice); !errors.Is(err, fault.QuotaExceeded) {
		t.Errorf("an upload of the owner beyond the quota: got %v, want %s", err, fault.QuotaExceeded)
	}
}

// An upload without a byte is kept for an hour, unless a request is writing to it. One with bytes is kept.
func TestEmptyUploadsExpireAfterAnHour(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	empty, written, writing := c.begin(t), c.begin(t), c.begin(t)
	last := registry.Chunk{Body: strings.NewReader("x"), At: registry.AnyOffset, Length: 1}
	if _, err := c.Append(t.Context(), c.repo, written, last); err != nil {
		t.Fatal(err)
	}
	body := &sweepingReader{reading: func() {
		for range 2 {
			if err := c.SweepUploads(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := c.Upload(t.Context(), alice, c.repo, empty.ID); c.clock.Hour() == 12 && err != nil {
				t.Errorf("an empty upload after an hour less a minute: %v", err)
			}
			*c.clock = c.clock.Add(2 * time.Minute)
		}
	}}
	*c.clock = c.clock.Add(59 * time.Minute)
	chunk := registry.Chunk{Body: body, At: registry.AnyOffset, Length: registry.UnknownCount}
	if _, err := c.Append(t.Context(), c.repo, writing, chunk); err != nil {
		t.Errorf("a chunk during which an hour passes: %v", err)
	}
	if err := c.SweepUploads(t.Context()); err != nil {
		t.Fatal(err)
	}
	for what, one := range map[string]struct {
		id   string
		want bool
	}{"empty": {empty.ID, false}, "with a byte": {written.ID, true}, "written to meanwhile": {writing.ID, true}} {
		_, err := c.Upload(t.Context(), alice, c.repo, one.id)
		if (err == nil) != one.want || err != nil && !errors.Is(err, fault.UploadNotFound) {
			t.Errorf("the upload %s after an hour: got %v, want it there: %t", what, err, one.want)
		}
	}
}

// sweepingReader is a body of one byte that calls reading before it.
type sweepingReader struct {
	reading func()
	body    strings.Reader
}

func (r *sweepingReader) Read(p []byte) (int, error) {
	if r.reading != nil {
		r.reading()
		r.reading = nil
		r.body.Reset("x")
	}
	return r.body.Read(p)
}
