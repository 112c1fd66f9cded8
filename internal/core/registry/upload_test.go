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

// append finds an upload and adds text to it, as a door does.
func (c core) append(u meta.Upload, s string) error {
	ctx := context.Background()
	now, err := c.Upload(ctx, alice, c.repo, u.ID)
	if err == nil {
		_, err = c.Append(ctx, now, text(s))
	}
	return err
}

func (c core) complete(u meta.Upload, last, whole string) error {
	ctx := context.Background()
	now, err := c.Upload(ctx, alice, c.repo, u.ID)
	if err == nil {
		_, err = c.Complete(ctx, c.repo, now, text(last), digest(whole))
	}
	return err
}

// slowBlobs can hold an Append after its bytes are stored and before its caller hears of it.
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

func newSlowCore(t *testing.T) (core, *slowBlobs) {
	slow := &slowBlobs{stored: make(chan struct{}), goOn: make(chan struct{})}
	return newCore(t, func(b blob.Store) blob.Store { slow.Store = b; return slow }, registry.Quirks{}), slow
}

// Between the bytes of a chunk and the record of them another writer must not get at the upload: its bytes would take
// the place of those that the first writer is told to be stored.
func TestTwoWritersOfOneUpload(t *testing.T) {
	t.Parallel()
	c, slow := newSlowCore(t)
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
	// Who looked the upload up before the first writer wrote is late.
	if _, err := c.Append(t.Context(), u, text("late")); !errors.Is(err, fault.UploadConflict) {
		t.Errorf("a chunk to a state that is past: got %v, want UploadConflict", err)
	}
	if _, err := c.Complete(t.Context(), c.repo, u, text("late"), digest("late")); !errors.Is(err, fault.UploadConflict) {
		t.Errorf("completing a state that is past: got %v, want UploadConflict", err)
	}
	want := "first writer goes on"
	if err := c.complete(u, " goes on", want); err != nil {
		t.Fatalf("the first writer's end: %v", err)
	}
	if got := c.content(t, digest(want)); got != want {
		t.Errorf("the blob is %q, want %q", got, want)
	}
}

// An upload is its beginner's and its repository's alone.
func TestAttack12UploadOfAnotherPrincipal(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, registry.Quirks{})
	u := c.begin(t)
	mallory := identity.Caller{Kind: identity.Root, Account: home.Account, ARN: "arn:aws:iam::000000000000:user/mallory", UserID: "AIDAMALLORY"}
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

// Where a crash has made a blob of an upload's bytes and lost the record of it, the first who goes on is told, and from
// then on the upload is unknown.
func TestUploadWithoutBytes(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, registry.Quirks{})
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

// An upload that nobody writes to goes after a week; one that was written to meanwhile, or is being written to, stays.
func TestSweepUploads(t *testing.T) {
	t.Parallel()
	c, slow := newSlowCore(t)
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
