package registry_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/faultblob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// Tens of thousands of abandoned uploads of one principal go in one sweep, and uploads of others that are not abandoned
// stay. Meanwhile another principal pushes: its changes have their turn between the steps of the sweep.
func TestAllAbandonedUploadsGoInOneSweep(t *testing.T) {
	t.Parallel()
	const between = 50 // uploads whose bytes are removed between two uploads of another principal
	var c fixture
	removed, pushed, sweeping := 0, 0, false // the sweep alone removes bytes
	c = newFixture(t, func(under blob.Store) blob.Store {
		return faultblob.New(under, func(op faultblob.Op) faultblob.Fault {
			if sweeping && op == faultblob.Abort {
				if removed++; removed%between == 0 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if _, err := c.BeginUpload(ctx, alice, c.repo, name.SHA256); err != nil {
						t.Errorf("the upload of another principal (does the sweep hold the writer?): %v", err)
					}
					pushed++
				}
			}
			return faultblob.None
		})
	}, registry.Quirks{})
	mallory := identity.Caller{Kind: identity.User, Account: home.Account, UserID: "AIDAMALLORY", Principal: "AIDAMALLORY"}
	const attackers = 64
	each := slowtest.Rounds(20, 320)
	var wg sync.WaitGroup
	for range attackers {
		wg.Go(func() {
			for range each {
				if _, err := c.BeginUpload(t.Context(), mallory, c.repo, name.SHA256); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	*c.clock = c.clock.Add(8 * 24 * time.Hour)
	fresh := c.begin(t)

	sweeping = true
	if err := c.SweepUploads(t.Context()); err != nil {
		t.Errorf("sweeping: %v", err)
	}
	sweeping = false
	if want := attackers * each / between; pushed != want {
		t.Errorf("another principal began %d uploads during the sweep, want %d", pushed, want)
	}
	left, err := c.CountUploads(t.Context())
	if want := 1 + pushed; err != nil || left != want {
		t.Errorf("after the sweep: got %d uploads (%v), want %d: none of the %d abandoned ones", left, err, want, attackers*each)
	}
	if _, err := c.Upload(t.Context(), alice, c.repo, fresh.ID); err != nil {
		t.Errorf("an upload that was begun before the sweep, and is not abandoned: %v", err)
	}
}

// brokenAbort is a blob store that cannot remove the bytes of one upload.
type brokenAbort struct {
	blob.Store
	id string
}

func (b *brokenAbort) Abort(ctx context.Context, u blob.Upload) error {
	if u.ID == b.id {
		return errBroken
	}
	return b.Store.Abort(ctx, u)
}

var errBroken = errors.New("broken")

// An upload whose bytes cannot be removed stays, is reported, and does not keep the sweep from the others.
func TestSweepGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	var broken *brokenAbort
	c := newFixture(t, func(b blob.Store) blob.Store { broken = &brokenAbort{Store: b}; return broken }, registry.Quirks{})
	first := c.begin(t)
	broken.id = first.Blob.ID
	for range 450 { // more than two steps
		c.begin(t)
	}
	*c.clock = c.clock.Add(8 * 24 * time.Hour)
	if err := c.SweepUploads(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the error of the upload that cannot be removed", err)
	}
	if left, err := c.CountUploads(t.Context()); err != nil || left != 1 {
		t.Errorf("got %d uploads (%v), want 1: the one that cannot be removed", left, err)
	}
	broken.id = ""
	if err := c.SweepUploads(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Upload(t.Context(), alice, c.repo, first.ID); !errors.Is(err, fault.UploadNotFound) {
		t.Errorf("the upload after another sweep: got %v, want UploadNotFound", err)
	}
}
