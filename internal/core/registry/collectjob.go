package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// collectWork is where a job of a collection continues.
type collectWork struct {
	From CollectPlace `json:"from"`
	Full bool         `json:"full"`
	Held bool         `json:"held"` // something was held back
	Sum  Collected    `json:"sum"`
}

// Collected is what a collection has removed.
type Collected struct {
	Repositories, Images, Blobs, Uploads, Failed int
	Bytes                                        int64
	Pinned                                       bool
	HeldUntil                                    time.Time
}

func (c *Collected) add(one Collection) {
	c.Repositories, c.Images, c.Blobs = c.Repositories+one.Repositories, c.Images+one.Images, c.Blobs+one.Blobs
	c.Uploads, c.Failed, c.Bytes = c.Uploads+one.Uploads, c.Failed+one.Failed, c.Bytes+one.Bytes
	if c.Pinned = c.Pinned || one.Pinned; !one.HeldUntil.IsZero() {
		c.HeldUntil = one.HeldUntil
	}
}

// Since returns what was removed since an earlier state.
func (c Collected) Since(before Collected) Collected {
	c.Repositories, c.Images, c.Blobs = c.Repositories-before.Repositories, c.Images-before.Images, c.Blobs-before.Blobs
	c.Uploads, c.Failed, c.Bytes = c.Uploads-before.Uploads, c.Failed-before.Failed, c.Bytes-before.Bytes
	return c
}

// collectJob returns the work of a job that collects from where it was interrupted to the end. If full, the jobs compare all stored
// blobs with the records until one of them has not held anything back.
func (s *Service) collectJob(full bool) func(context.Context, *jobs.Job) error {
	return func(ctx context.Context, j *jobs.Job) error {
		var at collectWork
		if err := j.Place(&at); err != nil {
			return err
		}
		if full && !at.Full { // the place is that of a process that crashed
			at = collectWork{Full: true}
		}
		if err := s.collectAll(ctx, j, &at, CollectOptions{Grace: s.grace, Full: at.Full}); err != nil {
			return err
		}
		full = full && at.Held
		return nil
	}
}

// collectAll collects from a place of a job to the end.
func (s *Service) collectAll(ctx context.Context, j *jobs.Job, at *collectWork, o CollectOptions) error {
	for at.From.Stage != CollectDone {
		one, err := s.Collect(ctx, at.From, o)
		at.Sum.add(one)
		at.From, at.Held = one.Next, at.Held || !one.HeldUntil.IsZero()
		if err != nil {
			return err
		}
		if err := j.Save(ctx, *at, at.Sum.Bytes, 0); err != nil {
			return err
		}
	}
	if n := at.Sum; n.Repositories+n.Images+n.Blobs > 0 {
		s.log.InfoContext(ctx, "collected what nothing refers to", "repositories", n.Repositories, "images", n.Images, "blobs", n.Blobs,
			"bytes", n.Bytes)
	}
	return nil
}

// RequestedCollection is the input of a job of CollectNowWork.
type RequestedCollection struct {
	Grace time.Duration `json:"grace"`
	Now   bool          `json:"now"`
	Full  bool          `json:"full"`
}

// StartCollection queues a collection in this process, which has its own blobs, and returns the id of the job. It waits for one that
// runs already.
func (s *Service) StartCollection(ctx context.Context, in RequestedCollection) (job int64, err error) {
	text, err := json.Marshal(in)
	if err != nil {
		return 0, fmt.Errorf("encoding the input of a collection: %w", err)
	}
	return s.meta.StartJob(ctx, meta.NewJob{Kind: CollectNowWork, Node: s.meta.Node(), Input: string(text)})
}

// requestedCollection is the work of a job of StartCollection.
func (s *Service) requestedCollection(ctx context.Context, j *jobs.Job) error {
	var in RequestedCollection
	var at collectWork
	if err := errors.Join(j.Input(&in), j.Place(&at)); err != nil {
		return jobs.Permanent(err)
	}
	return s.collectAll(ctx, j, &at, CollectOptions{Grace: in.Grace, Now: in.Now, Full: in.Full})
}

const (
	// collectionWait is how long RequestedProgress waits for more, and collectionLook the time between two looks.
	collectionWait = 2 * time.Second
	collectionLook = 20 * time.Millisecond
)

// RequestedProgress waits for a few seconds until the job of StartCollection has ended, and returns what it has removed so far.
//
// Errors: fault.JobNotFound; fault.InvalidParameter (another job); fault.Unavailable (the job failed or was canceled).
func (s *Service) RequestedProgress(ctx context.Context, job int64) (sum Collected, ended bool, err error) {
	limit := time.NewTimer(collectionWait)
	defer limit.Stop()
	look := time.NewTicker(collectionLook)
	defer look.Stop()
	for {
		row, err := s.meta.Job(ctx, job)
		if err != nil {
			return sum, false, err
		}
		if row.Kind != CollectNowWork {
			return sum, false, fault.InvalidParameter.New("the job %d is no collection", job)
		}
		var at collectWork
		if row.Place != "" {
			if err := json.Unmarshal([]byte(row.Place), &at); err != nil {
				return sum, false, fmt.Errorf("reading the place of job %d: %w", job, err)
			}
		}
		switch row.State {
		case meta.JobDone:
			return at.Sum, true, nil
		case meta.JobFailed, meta.JobCanceled:
			return at.Sum, true, fault.Unavailable.New("the collection ended: %s (job %d)", row.Error, job)
		}
		select {
		case <-look.C:
		case <-limit.C:
			return at.Sum, false, nil
		case <-ctx.Done():
			return at.Sum, false, context.Cause(ctx)
		}
	}
}
