package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// CollectPlace is where a collection goes on. The zero value is its beginning; Stage is CollectDone at its end.
type CollectPlace struct {
	Stage  CollectStage
	After  string    // digest of the last blob of the stage
	Before time.Time // what was deleted or unused since then is removed; what comes later is left for the next collection
}

// CollectStage is a part of a collection.
type CollectStage int

// The stages, in their order.
const (
	CollectRepositories CollectStage = iota
	CollectImages
	CollectHoldings   // blobs of repositories
	CollectUnrecorded // finds blobs that are stored and not recorded; only with Full
	CollectBlobs      // bytes
	CollectUploads
	CollectDone
)

// CollectOptions say what a collection removes.
type CollectOptions struct {
	Grace time.Duration // how long something has been deleted or unused
	Now   bool          // remove also what is held back after an upgrade or a long stop
	Full  bool          // compare all stored blobs with the records, and not only those that changes have made candidates
	Dry   bool          // only count
}

// Collection is what one call of Collect removed, or with Dry would remove.
type Collection struct {
	Repositories int
	Images       int
	Blobs        int   // whose bytes were deleted
	Bytes        int64 // of these blobs
	Uploads      int
	Failed       int       // blobs that could not be deleted; the log says why
	Pinned       bool      // blobs are being copied, so that none was deleted
	HeldUntil    time.Time // nothing that can be restored is removed before; zero if nothing is held back
	Next         CollectPlace
}

const (
	// defaultCollectTime is how long one call of Collect goes on.
	defaultCollectTime = 2 * time.Second
	// maxPushWindow is how long a condemned blob is kept at most: a client that found it before may push its image until then.
	maxPushWindow = 24 * time.Hour
	// maxGap is how long no collection has run at most without consequence, and holdAfterGap how long nothing that can be restored is
	// removed after that: a server that was stopped, or a backup that was restored, would otherwise lose at once what somebody wants back.
	maxGap       = 24 * time.Hour
	holdAfterGap = 24 * time.Hour
	// blobsPerStep is the number of blobs whose bytes one step deletes, and for which pushes of them may wait.
	blobsPerStep = 50
	// collectPage is the number of blobs, or of manifests of a preparation, that one query reads.
	collectPage = 500
)

// Collect removes a part of what nothing refers to and returns after a few seconds; the caller continues at Next. It removes
// repositories and images that were deleted more than Grace ago, blobs of repositories to which no image has referred for as long,
// blobs that no repository holds, and abandoned uploads. Pushes and pulls go on meanwhile. Calls wait for each other. While something
// is held back (HeldUntil), only bytes that no repository holds and uploads are removed. The first call for a database of a program
// without collections reads all its manifests.
//
// Errors: fault.InvalidParameter (from is no place that an earlier call returned).
func (s *Service) Collect(ctx context.Context, from CollectPlace, o CollectOptions) (Collection, error) {
	select {
	case s.collecting <- struct{}{}:
		defer func() { <-s.collecting }()
	case <-ctx.Done():
		return Collection{}, context.Cause(ctx)
	}
	c := &collector{s: s, o: o, end: time.Now().Add(s.collectTime), out: Collection{Next: from}}
	if err := c.begin(ctx); err != nil {
		return c.out, err
	}
	for {
		step, err := c.stage()
		if err != nil {
			return c.out, err
		}
		part := c.s.pace.Step()
		more, err := step(ctx)
		if err != nil {
			return c.out, err
		}
		part.Rest(ctx)
		if !more {
			c.out.Next = CollectPlace{Stage: c.out.Next.Stage + 1, Before: c.out.Next.Before}
		}
		if c.out.Next.Stage == CollectDone || time.Now().After(c.end) {
			return c.out, nil
		}
	}
}

// collector is one call of Collect.
type collector struct {
	s    *Service
	o    CollectOptions
	held bool      // nothing that can be restored is removed
	end  time.Time // of the call
	out  Collection
}

// begin prepares the first collection of a database, and finds out what is held back.
func (c *collector) begin(ctx context.Context) error {
	state, err := c.s.meta.CollectionState(ctx)
	if err != nil {
		return err
	}
	now := c.s.now()
	if !state.Prepared {
		if err := c.s.prepareCollection(ctx, now.Add(c.s.grace)); err != nil {
			return err
		}
		if state, err = c.s.meta.CollectionState(ctx); err != nil {
			return err
		}
	}
	if c.out.Next == (CollectPlace{}) {
		c.out.Next.Before = now.Add(-c.o.Grace)
		if gap := now.Sub(state.RanAt); !state.RanAt.IsZero() && gap > maxGap {
			state.HoldUntil = later(state.HoldUntil, now.Add(holdAfterGap))
		}
		if !c.o.Dry {
			if err := c.s.meta.CollectionRan(ctx, state.HoldUntil); err != nil {
				return err
			}
		}
	}
	if state.HoldUntil.After(now.Add(max(c.s.grace, holdAfterGap))) {
		state.HoldUntil = time.Time{} // the clock was wrong when it was stored
	}
	if c.held = now.Before(state.HoldUntil) && !c.o.Now; c.held {
		c.out.HeldUntil = state.HoldUntil
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// prepareCollection completes what programs without collections have stored: the references to layers that may be elsewhere, and the
// candidates. It reads all manifests once.
func (s *Service) prepareCollection(ctx context.Context, hold time.Time) error {
	n := 0
	for after := ""; ; {
		page, err := s.meta.Manifests(ctx, after, collectPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		var found []meta.External
		for _, m := range page {
			after, n = m.Digest, n+1
			if layers := elsewhere(m.Body); len(layers) > 0 {
				found = append(found, meta.External{Digest: m.Digest, Layers: layers})
			}
		}
		if err := s.meta.ReferToExternal(ctx, found); err != nil {
			return err
		}
	}
	if n == 0 {
		hold = time.Time{} // a new installation has nothing to hold back
	}
	return s.meta.FinishPreparation(ctx, hold)
}

// stage returns the step of the current stage, which reports whether the stage goes on.
func (c *collector) stage() (func(context.Context) (more bool, err error), error) {
	ended := func(context.Context) (bool, error) { return false, nil }
	dry := func(step func(context.Context) (bool, error)) func(context.Context) (bool, error) {
		if c.o.Dry {
			return ended
		}
		return step
	}
	if c.held && c.out.Next.Stage <= CollectUnrecorded {
		return ended, nil
	}
	switch c.out.Next.Stage {
	case CollectRepositories:
		if c.o.Dry {
			return c.countRecords, nil
		}
		return c.repositories, nil
	case CollectImages:
		return dry(c.images), nil
	case CollectHoldings:
		if c.o.Dry {
			return c.countBlobs, nil
		}
		return c.holdings, nil
	case CollectUnrecorded:
		return c.unrecorded, nil
	case CollectBlobs:
		return c.blobs, nil
	case CollectUploads:
		return dry(c.uploads), nil
	}
	return nil, fault.InvalidParameter.New("the collection is at its end")
}

func (c *collector) repositories(ctx context.Context) (bool, error) {
	removed, more, err := c.s.meta.CollectRepositories(ctx, c.out.Next.Before)
	c.add(removed)
	return more, err
}

func (c *collector) images(ctx context.Context) (bool, error) {
	removed, more, err := c.s.meta.CollectImage(ctx, c.out.Next.Before)
	c.add(removed)
	return more, err
}

func (c *collector) holdings(ctx context.Context) (bool, error) {
	condemned := c.s.now().Add(-min(c.o.Grace, maxPushWindow))
	removed, more, err := c.s.meta.CollectHoldings(ctx, c.out.Next.Before, condemned)
	c.add(removed)
	return more, err
}

func (c *collector) add(removed meta.Collected) {
	c.out.Repositories += removed.Repositories
	c.out.Images += removed.Images
}

func (c *collector) countRecords(ctx context.Context) (bool, error) {
	n, err := c.s.meta.CollectableRecords(ctx, c.out.Next.Before)
	c.out.Repositories, c.out.Images = c.out.Repositories+n.Repositories, c.out.Images+n.Images
	return false, err
}

func (c *collector) countBlobs(ctx context.Context) (bool, error) {
	n, next, err := c.s.meta.CollectableBlobs(ctx, c.out.Next.After, c.out.Next.Before, collectPage)
	c.out.Blobs, c.out.Bytes = c.out.Blobs+n.Blobs, c.out.Bytes+n.Bytes
	c.out.Next.After = next
	return next != "", err
}

// unrecorded makes stored blobs that no repository holds candidates. A crash between the two steps of a push leaves one.
func (c *collector) unrecorded(ctx context.Context) (bool, error) {
	if !c.o.Dry {
		if err := c.s.unrecorded.settle(ctx, c.s.meta.AddBlobCandidates); err != nil {
			return false, err
		}
	}
	if !c.o.Full {
		return false, nil
	}
	after, err := placeDigest(c.out.Next.After)
	if err != nil {
		return false, err
	}
	var found []name.Digest
	n := 0
	for info, err := range c.s.blobs.List(ctx, after) {
		if err != nil {
			return false, err
		}
		c.out.Next.After = info.Digest.String()
		held, err := c.s.meta.Held(ctx, info.Digest)
		if err != nil {
			return false, err
		}
		// A younger one is perhaps named by a newer copy of the database.
		if !held && !info.StoredAt.After(c.out.Next.Before) {
			found = append(found, info.Digest)
			if c.o.Dry {
				c.out.Blobs, c.out.Bytes = c.out.Blobs+1, c.out.Bytes+info.Size
			}
		}
		if n++; n == collectPage {
			break
		}
	}
	if !c.o.Dry {
		err = c.s.meta.AddBlobCandidates(ctx, found)
	}
	return n == collectPage, err
}

// blobs deletes the bytes of candidates that no repository holds. A blob that is being pushed is left for the next collection.
func (c *collector) blobs(ctx context.Context) (bool, error) {
	page, err := c.s.meta.BlobCandidates(ctx, c.out.Next.After, blobsPerStep)
	if err != nil || len(page) == 0 {
		return false, err
	}
	c.out.Next.After = page[len(page)-1].String()
	var deleted, held []name.Digest
	for _, d := range page {
		if !c.s.landing.seize(d) {
			continue
		}
		defer c.s.landing.free(d) // after the candidates are settled
		isHeld, err := c.s.meta.Held(ctx, d)
		switch {
		case err != nil:
			return false, err
		case isHeld:
			held = append(held, d)
			continue
		}
		size, err := c.size(ctx, d)
		switch {
		case err != nil:
			c.failed(ctx, d, err)
			continue
		case c.o.Dry:
			if !c.o.Full && size >= 0 { // otherwise it was counted
				c.out.Blobs, c.out.Bytes = c.out.Blobs+1, c.out.Bytes+size
			}
			continue
		}
		switch err := c.s.blobs.Delete(ctx, d); {
		case errors.Is(err, blob.ErrPinned):
			c.out.Pinned = true
			return false, c.s.meta.SettleBlobCandidates(ctx, deleted, held)
		case err != nil:
			c.failed(ctx, d, err)
			continue
		}
		deleted = append(deleted, d)
		if size >= 0 {
			c.s.collected.Add(uint64(size))
			c.out.Blobs, c.out.Bytes = c.out.Blobs+1, c.out.Bytes+size
		}
	}
	if c.o.Dry {
		return true, nil
	}
	return true, c.s.meta.SettleBlobCandidates(ctx, deleted, held)
}

// elsewhere returns the layers of a stored manifest that may be elsewhere. A manifest may lack its media type.
func elsewhere(body []byte) []name.Digest {
	for _, mediaType := range []string{"", manifest.OCIManifest, manifest.DockerSchema2} {
		if m, err := manifest.Parse(body, mediaType); err == nil {
			return m.Elsewhere()
		}
	}
	return nil
}

// failed notes that a blob cannot be deleted; the others are.
func (c *collector) failed(ctx context.Context, d name.Digest, err error) {
	c.out.Failed++
	c.s.log.ErrorContext(ctx, "the bytes of a blob that nothing refers to cannot be deleted", "digest", d.String(), "error", err)
}

// size returns the size of a stored blob in bytes, -1 if it is absent or no file.
func (c *collector) size(ctx context.Context, d name.Digest) (int64, error) {
	info, err := c.s.blobs.Stat(ctx, d)
	if errors.Is(err, fault.BlobNotFound) || errors.Is(err, blob.ErrDamaged) {
		return -1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("collecting blob %s: %w", d, err)
	}
	return info.Size, nil
}

func (c *collector) uploads(ctx context.Context) (bool, error) {
	return false, c.s.sweepUploads(ctx)
}

// CollectedBytes returns the size of the blobs that this process has collected.
func (s *Service) CollectedBytes() uint64 { return s.collected.Load() }
