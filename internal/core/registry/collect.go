package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// CollectPlace is where a collection goes on. The zero value is its beginning; Stage is CollectDone at its end.
type CollectPlace struct {
	Stage CollectStage
	After string // digest of the last blob of the stage
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
	Pinned       bool // blobs are being copied, so that none was deleted
	Next         CollectPlace
}

const (
	// defaultCollectTime is how long one call of Collect goes on.
	defaultCollectTime = 2 * time.Second
	// maxPushWindow is how long a condemned blob is kept at most: a client that found it before may push its image until then.
	maxPushWindow = time.Hour
	// blobsPerStep is the number of blobs whose bytes one step deletes, and for which pushes of them may wait.
	blobsPerStep = 50
	// collectPage is the number of blobs that one query of a dry or a full collection reads.
	collectPage = 500
)

// Collect removes a part of what nothing refers to and returns after a few seconds; the caller continues at Next. It removes
// repositories and images that were deleted more than Grace ago, blobs of repositories to which no image has referred for as long,
// blobs that no repository holds, and abandoned uploads. Pushes and pulls go on meanwhile. Calls wait for each other.
//
// Errors: fault.InvalidParameter (from is no place that an earlier call returned).
func (s *Service) Collect(ctx context.Context, from CollectPlace, o CollectOptions) (Collection, error) {
	select {
	case s.collecting <- struct{}{}:
		defer func() { <-s.collecting }()
	case <-ctx.Done():
		return Collection{}, context.Cause(ctx)
	}
	c := &collector{s: s, o: o, before: s.now().Add(-o.Grace), end: time.Now().Add(s.collectTime), out: Collection{Next: from}}
	for {
		step, err := c.stage()
		if err != nil {
			return c.out, err
		}
		more, err := step(ctx)
		if err != nil {
			return c.out, err
		}
		if !more {
			c.out.Next = CollectPlace{Stage: c.out.Next.Stage + 1}
		}
		if c.out.Next.Stage == CollectDone || time.Now().After(c.end) {
			return c.out, nil
		}
	}
}

// collector is one call of Collect.
type collector struct {
	s      *Service
	o      CollectOptions
	before time.Time // what was deleted or unused since then is removed
	end    time.Time // of the call
	out    Collection
}

// stage returns the step of the current stage, which reports whether the stage goes on.
func (c *collector) stage() (func(context.Context) (more bool, err error), error) {
	dry := func(step func(context.Context) (bool, error)) func(context.Context) (bool, error) {
		if c.o.Dry {
			return func(context.Context) (bool, error) { return false, nil }
		}
		return step
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
	removed, more, err := c.s.meta.CollectRepository(ctx, c.before)
	c.add(removed)
	return more, err
}

func (c *collector) images(ctx context.Context) (bool, error) {
	removed, more, err := c.s.meta.CollectImage(ctx, c.before)
	c.add(removed)
	return more, err
}

func (c *collector) holdings(ctx context.Context) (bool, error) {
	condemned := c.s.now().Add(-min(c.o.Grace, maxPushWindow))
	removed, more, err := c.s.meta.CollectHoldings(ctx, c.before, condemned)
	c.add(removed)
	return more, err
}

func (c *collector) add(removed meta.Collected) {
	c.out.Repositories += removed.Repositories
	c.out.Images += removed.Images
}

func (c *collector) countRecords(ctx context.Context) (bool, error) {
	n, err := c.s.meta.CollectableRecords(ctx, c.before)
	c.out.Repositories, c.out.Images = c.out.Repositories+n.Repositories, c.out.Images+n.Images
	return false, err
}

func (c *collector) countBlobs(ctx context.Context) (bool, error) {
	n, next, err := c.s.meta.CollectableBlobs(ctx, c.out.Next.After, c.before, collectPage)
	c.out.Blobs, c.out.Bytes = c.out.Blobs+n.Blobs, c.out.Bytes+n.Bytes
	c.out.Next.After = next
	return next != "", err
}

// unrecorded makes stored blobs that no repository holds candidates. A crash between the two steps of a push leaves one.
func (c *collector) unrecorded(ctx context.Context) (bool, error) {
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
		if !held {
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
			return false, err
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
			return false, errors.Join(err, c.s.meta.SettleBlobCandidates(ctx, deleted, held))
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

// CollectEvery collects at once and then after each interval, until ctx ends. The first collection is full if full is set: after a
// crash. Failures are logged.
func (s *Service) CollectEvery(ctx context.Context, interval time.Duration, full bool) {
	again := time.NewTicker(interval)
	defer again.Stop()
	for {
		err := s.collectAll(ctx, CollectOptions{Grace: s.grace, Full: full})
		if ctx.Err() == nil {
			s.report(CollectWork, err)
		}
		if again.Reset(interval); err != nil {
			again.Reset(min(interval, workRetry))
		}
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "the collection of what nothing refers to failed", "error", err)
		} else if err == nil {
			full = false
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// collectAll runs a collection to its end, and logs what it removed.
func (s *Service) collectAll(ctx context.Context, o CollectOptions) error {
	var all Collection
	for all.Next.Stage != CollectDone {
		one, err := s.Collect(ctx, all.Next, o)
		all.Repositories, all.Images = all.Repositories+one.Repositories, all.Images+one.Images
		all.Blobs, all.Bytes, all.Next = all.Blobs+one.Blobs, all.Bytes+one.Bytes, one.Next
		if err != nil {
			return err
		}
	}
	if all.Repositories+all.Images+all.Blobs > 0 {
		s.log.InfoContext(ctx, "collected what nothing refers to", "repositories", all.Repositories, "images", all.Images,
			"blobs", all.Blobs, "bytes", all.Bytes)
	}
	return nil
}
