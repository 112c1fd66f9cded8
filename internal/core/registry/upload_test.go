package registry_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func text(s string) registry.Chunk {
	return registry.Chunk{Body: strings.NewReader(s), At: registry.AnyOffset, Length: int64(len(s))}
}

func digest(s string) name.Digest { return registry.DigestOf(name.SHA256, []byte(s)) }

// append looks an upload up and appends text to it, as a request does.
func (c fixture) append(u meta.Upload, s string) error {
	ctx := context.Background()
	now, err := c.Upload(ctx, alice, c.repo, u.ID)
	if err == nil {
		_, err = c.Append(ctx, c.repo, now, text(s))
	}
	return err
}

func (c fixture) complete(u meta.Upload, last, whole string) error {
	ctx := context.Background()
	now, err := c.Upload(ctx, alice, c.repo, u.ID)
	if err == nil {
		_, err = c.Complete(ctx, c.repo, now, text(last), digest(whole))
	}
	return err
}

// slowBlobs is a blob store whose Append, while hold is set, waits after it has stored the bytes and before it returns.
type slowBlobs struct {
	blob.Store
	hold         atomic.Bool
	stored, goOn chan struct{}
}

func (s *slowBlobs) Append(ctx context.Context, u blob.Upload, r io.Reader, limit int64) (blob.Upload, error) {
	u, err := s.Store.Append(ctx, u, r, limit)
	if s.hold.CompareAndSwap(true, false) {
		s.stored <- struct{}{}
		<-s.goOn
	}
	return u, err
}

func newSlowFixture(t *testing.T) (fixture, *slowBlobs) {
	slow := &slowBlobs{stored: make(chan struct{}), goOn: make(chan struct{})}
	return newFixture(t, func(b blob.Store) blob.Store { slow.Store = b; return slow }, registry.Quirks{}), slow
}

// Between the writing of a chunk and its record no other request may write to the upload: its bytes would replace those
// that the answer to the first request says are stored.
func TestTwoWritersOfOneUpload(t *testing.T) {
	t.Parallel()
	c, slow := newSlowFixture(t)
	u := c.begin(t)
	slow.hold.Store(true)
	first := make(chan error, 1)
	go func() { first <- c.append(u, "first writer") }()
	<-slow.stored
	if err := c.append(u, "SECOND, and longer"); !errors.Is(err, fault.UploadConflict) {
		t.Errorf("a second chunk at the same time: got %v, want UploadConflict", err)
	}
	if err := c.complete(u, "2nd", "2nd"); !errors.Is(err, fault.UploadConflict) {
		t.Errorf("completing at the same time: got %v, want UploadConflict", err)
	}
	if err := c.Cancel(t.Context(), u); !errors.Is(err, fault.UploadConflict) {
		t.Errorf("cancelling at the same time: got %v, want UploadConflict", err)
	}
	slow.goOn <- struct{}{}
	if err := <-first; err != nil {
		t.Fatalf("the first writer: %v", err)
	}
	// u is the state before the first writer wrote.
	if _, err := c.Append(t.Context(), c.repo, u, text("late")); !errors.Is(err, fault.UploadConflict) {
		t.Errorf("a chunk for an outdated state: got %v, want UploadConflict", err)
	}
	if _, err := c.Complete(t.Context(), c.repo, u, text("late"), digest("late")); !errors.Is(err, fault.UploadConflict) {
		t.Errorf("completing an outdated state: got %v, want UploadConflict", err)
	}
	want := "first writer goes on"
	if err := c.complete(u, " goes on", want); err != nil {
		t.Fatalf("completing by the first writer: %v", err)
	}
	if got := c.content(t, digest(want)); got != want {
		t.Errorf("the blob is %q, want %q", got, want)
	}
}

// An upload is unknown to other callers and in other repositories.
func TestAttack12UploadOfAnotherPrincipal(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	u := c.begin(t)
	mallory := identity.Caller{Kind: identity.Root, Account: home.Account, ARN: "arn:aws:iam::000000000000:user/mallory",
		UserID: "AIDAMALLORY"}
	if _, err := c.Upload(t.Context(), mallory, c.repo, u.ID); !errors.Is(err, fault.UploadNotFound) {
		t.Errorf("another principal of the account: got %v, want UploadNotFound", err)
	}
	other, err := c.CreateRepository(t.Context(), meta.Repository{Registry: home, Name: name.MustRepo("team/other")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Upload(t.Context(), alice, other, u.ID); !errors.Is(err, fault.UploadNotFound) {
		t.Errorf("another repository: got %v, want UploadNotFound", err)
	}
	for _, id := range []string{"", "..", u.Blob.ID, "{" + u.ID + "}", strings.ToUpper(u.ID), u.ID + "\x00"} {
		if _, err := c.Upload(t.Context(), alice, c.repo, id); id != u.ID && !errors.Is(err, fault.UploadNotFound) {
			t.Errorf("id %q: got %v, want UploadNotFound", id, err)
		}
	}
}

// If a crash happens after the bytes of an upload became a blob and before the blob was recorded, the next request to
// the upload fails, and the upload is deleted.
func TestUploadWithoutBytes(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	for what, goOn := range map[string]func(meta.Upload) error{
		"Append":   func(u meta.Upload) error { return c.append(u, " more") },
		"Complete": func(u meta.Upload) error { return c.complete(u, " more", "bytes more") },
	} {
		u := c.begin(t)
		if err := c.append(u, "bytes"); err != nil {
			t.Fatal(err)
		}
		now, err := c.Upload(t.Context(), alice, c.repo, u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.blobs.Commit(t.Context(), now.Blob, nil, -1, digest("bytes")); err != nil {
			t.Fatal(err)
		}
		if err := goOn(u); !errors.Is(err, fault.UploadNotFound) {
			t.Errorf("%s: got %v, want UploadNotFound", what, err)
		}
		if _, err := c.Upload(t.Context(), alice, c.repo, u.ID); !errors.Is(err, fault.UploadNotFound) {
			t.Errorf("the upload after %s: got %v, want UploadNotFound", what, err)
		}
	}
}

// An upload is deleted a week after the last write, unless a request is writing to it.
func TestSweepUploads(t *testing.T) {
	t.Parallel()
	c, slow := newSlowFixture(t)
	idle, busy, fresh := c.begin(t), c.begin(t), c.begin(t)
	for _, u := range []meta.Upload{idle, busy} {
		if err := c.append(u, "some bytes"); err != nil {
			t.Fatal(err)
		}
	}
	*c.clock = c.clock.Add(8 * 24 * time.Hour)
	if err := c.append(fresh, "some bytes"); err != nil {
		t.Fatal(err)
	}
	slow.hold.Store(true)
	done := make(chan error, 1)
	go func() { done <- c.append(busy, " and more") }()
	<-slow.stored
	if err := c.SweepUploads(t.Context()); err != nil {
		t.Errorf("sweeping: %v", err)
	}
	slow.goOn <- struct{}{}
	if err := <-done; err != nil {
		t.Errorf("the upload that was being written to: %v", err)
	}
	for what, u := range map[string]meta.Upload{"busy": busy, "fresh": fresh} {
		if _, err := c.Upload(t.Context(), alice, c.repo, u.ID); err != nil {
			t.Errorf("the %s upload was swept: %v", what, err)
		}
	}
	if err := c.complete(busy, "", "some bytes and more"); err != nil {
		t.Errorf("completing the upload that was being written to: %v", err)
	}
	if _, err := c.Upload(t.Context(), alice, c.repo, idle.ID); !errors.Is(err, fault.UploadNotFound) {
		t.Errorf("the idle upload: got %v, want UploadNotFound", err)
	}
}
