package replication

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/net/copier"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// outsideParallel is how many destinations outside of the installation one process sends to at once, and ofAccount how many of one
	// account.
	outsideParallel, ofAccount = 64, 8
	// lines is how many repositories are copied to one destination at once. The images of a repository follow each other, so that a tag
	// that moves is copied in the order of its moves.
	lines = 4
	// outsideTurn is the time after which an attempt takes no further images, so that other destinations have their turn, and outsideBatch
	// how many it takes at once.
	outsideTurn  = 20 * time.Second
	outsideBatch = 50
	// The pauses of a destination, and of one image, after failures. They double.
	outsidePause, maxOutsidePause = 5 * time.Second, 5 * time.Minute
	imagePause, maxImagePause     = 5 * time.Second, time.Hour
	// outsideAge is the time after which the copy of an image is given up.
	outsideAge = 3 * 24 * time.Hour
	// maxUnavailable is how many images fail in succession before the destination counts as unavailable or full.
	maxUnavailable = 3
	// touchEvery is how often a transfer shows that it advances.
	touchEvery = 15 * time.Second
	// LagWork is the task that measures how long copies wait.
	LagWork  = "replication_lag"
	lagEvery = 15 * time.Second

	codeDigest = "DigestNotSupported" // the destination cannot have the image under its digest
)

// outsideState is what this process knows of the destinations outside of the installation.
type outsideState struct {
	sent atomic.Uint64
	held copier.Held

	replications, copies turns

	mu      sync.Mutex
	waiting map[string]time.Time
}

// turns counts the jobs of accounts that run, for their limit.
type turns struct {
	mu sync.Mutex
	of map[string]int
}

// Sent returns the bytes of layers that were sent to destinations outside of the installation.
func (s *Service) Sent() uint64 { return s.outside.sent.Load() }

// Lag returns how long the oldest copy to a destination of a kind of integration has waited.
func (s *Service) Lag(kind string) time.Duration {
	s.outside.mu.Lock()
	defer s.outside.mu.Unlock()
	if since, ok := s.outside.waiting[kind]; ok {
		return max(0, s.now().Sub(since))
	}
	return 0
}

func (s *Service) addOutside(r *jobs.Runner) {
	r.Add(jobs.Kind{Name: meta.OutsideKind, What: "replicating images to other installations", Parallel: outsideParallel, Pause: outsidePause,
		MaxPause: maxOutsidePause, Forget: true, Work: s.sendOutside})
	r.Add(jobs.Kind{Name: meta.SendKind, What: "copying images to other installations", Parallel: outsideParallel, Attempts: sendAttempts,
		Pause: sendPause, MaxPause: maxSendPause, Work: s.sendOne})
	r.AddTask(jobs.Task{Name: LagWork, What: "measuring how long replications wait", Every: lagEvery, Run: func(ctx context.Context) error {
		waiting, err := s.meta.OutsideWaiting(ctx)
		if err == nil {
			s.outside.mu.Lock()
			s.outside.waiting = waiting
			s.outside.mu.Unlock()
		}
		return err
	}})
}

// enter takes a place for a job of an account; false if it has none left.
func (t *turns) enter(account string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[account] >= ofAccount {
		return false
	}
	if t.of == nil {
		t.of = map[string]int{}
	}
	t.of[account]++
	return true
}

func (t *turns) leave(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[account]--; t.of[account] == 0 {
		delete(t.of, account)
	}
}

// sendOutside is the work of the job of an integration: the images that wait for it, until none is due. Its error is one of the destination
// as a whole, after which the job pauses.
func (s *Service) sendOutside(ctx context.Context, j *jobs.Job) error {
	id, err := strconv.ParseInt(j.Key(), 10, 64)
	if err != nil {
		return jobs.Permanent(fmt.Errorf("reading the id of an integration: %w", err))
	}
	if !s.outside.replications.enter(j.Account()) {
		j.Next(s.now().Add(outsidePause))
		return nil
	}
	defer s.outside.replications.leave(j.Account())
	i, err := s.meta.IntegrationByID(ctx, id)
	if errors.Is(err, fault.IntegrationNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	t := &turn{Service: s, i: i, job: j, saved: time.Now()}
	t.to, err = s.remotes.Remote(ctx, i)
	if err != nil {
		t.stop = err
	}
	for end := time.Now().Add(outsideTurn); ; {
		due, err := s.meta.OutsideCopies(ctx, id, outsideBatch)
		if err != nil {
			return err
		}
		if len(due) > 0 {
			if err := t.run(ctx, due); err != nil {
				return err
			}
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case len(due) == 0:
			next, err := s.meta.NextOutsideCopy(ctx, id)
			if err == nil && !next.IsZero() {
				j.Next(next)
			}
			return err
		case t.stop != nil:
			return errors.Join(jobs.After(t.stop, t.after), t.used(ctx, t.stop))
		case time.Now().After(end):
			j.Next(s.now())
			return nil
		}
	}
}

// turn is an attempt of the job of an integration.
type turn struct {
	*Service
	i   meta.Integration
	to  *integration.Remote
	job *jobs.Job

	mu          sync.Mutex
	unavailable int   // images in succession for which the destination did not answer or had no room
	stop        error // of the destination as a whole
	after       time.Duration
	own         error // of this side
	saved       time.Time
	done        int64
}

// used stores what the last use of the integration said.
func (t *turn) used(ctx context.Context, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.remotes.Used(ctx, &t.i, err)
}

// ended reports whether no further image is to be sent.
func (t *turn) ended(ctx context.Context) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return ctx.Err() != nil || t.own != nil || t.stop != nil
}

// touch shows that the attempt advances.
func (t *turn) touch(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.saved) < touchEvery {
		return
	}
	t.saved = time.Now()
	_ = t.job.Save(ctx, struct{}{}, t.done, 0) // a lost lease ends ctx
}

// run sends images, those of up to lines repositories at once. Its error is one of this side.
func (t *turn) run(ctx context.Context, due []meta.OutsideCopy) error {
	if t.stop != nil { // the integration cannot be used
		return t.record(ctx, due[0], meta.Repository{}, name.Digest{}, nil, &refusal{t.stop, "IntegrationInvalid", false})
	}
	var order []int64
	of := map[int64][]meta.OutsideCopy{}
	for _, c := range due {
		if of[c.Input.Repository] == nil {
			order = append(order, c.Input.Repository)
		}
		of[c.Input.Repository] = append(of[c.Input.Repository], c)
	}
	places := make(chan struct{}, lines)
	var wait sync.WaitGroup
	for _, repository := range order {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			for _, c := range of[repository] {
				if t.ended(ctx) {
					return
				}
				if err := t.one(ctx, c); err != nil {
					t.mu.Lock()
					t.own = errors.Join(t.own, err)
					t.mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	return t.own
}

// one sends an image and records the result. Its error is one of this side.
func (t *turn) one(ctx context.Context, c meta.OutsideCopy) error {
	from, digest, _, err := t.parse(ctx, c.Input)
	var tags []name.Tag
	if err == nil {
		x := t.transfer(from, t.to, from.Name.String(), true, touching(func() { t.touch(ctx) }))
		tags, err = x.tagged(ctx, digest)
	} else if errors.Is(err, fault.RepositoryNotFound) {
		err = &refusal{err, codeLost, true}
	}
	if ctx.Err() != nil {
		return nil // sendOutside returns the cause
	}
	return t.record(ctx, c, from, digest, tags, err)
}

// record stores how the copy of an image ended, and what that says of the destination.
func (t *turn) record(ctx context.Context, c meta.OutsideCopy, from meta.Repository, digest name.Digest, tags []name.Tag, err error) error {
	t.mu.Lock()
	t.done++
	if err == nil {
		t.unavailable = 0
	}
	t.mu.Unlock()
	if err == nil {
		if err := t.meta.OutsideCopied(ctx, c, from, digest, tags); err != nil {
			return err
		}
		return t.used(ctx, nil)
	}
	final, limit := false, maxImagePause
	code, shown := integration.Failed(t.i, err)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		code, final = refused.code, refused.final
	case code == "": // a failure of this side, such as a blob that cannot be read
		code, shown = codeUnavailable, err
	default:
		e, _ := errors.AsType[*upstream.Error](err)
		t.judge(e, shown)
		if mayPass(e.Reason) || e.Reason == upstream.Unauthorized {
			limit = maxOutsidePause
		}
		if uerr := t.used(ctx, shown); uerr != nil {
			return uerr
		}
	}
	due := t.now().Add(jobs.PauseAfter(imagePause, limit, c.Attempts+1))
	if final || t.now().Sub(c.Since) > outsideAge {
		due = time.Time{}
	}
	return t.meta.OutsideFailed(ctx, c, from, digest, code, due)
}

// mayPass reports whether what the destination refused for a reason is tried again: it is away, limits the rate or has no room.
func mayPass(r upstream.Reason) bool {
	return r == upstream.Unavailable || r == upstream.RateLimited || r == upstream.Full
}

// judge ends the turn if a failure is one of the destination, not of one image.
func (t *turn) judge(e *upstream.Error, shown error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Reason {
	case upstream.Unavailable, upstream.Full:
		if t.unavailable++; t.unavailable < maxUnavailable {
			return
		}
	case upstream.Unauthorized, upstream.RateLimited, upstream.Refused:
	default:
		t.unavailable = 0
		return
	}
	if t.stop == nil {
		t.stop = shown
	}
	t.after = max(t.after, e.After)
}

// backfillOutside copies one image by an integration and returns the code of its failure. An error is one after which it is tried again.
func (s *Service) backfillOutside(ctx context.Context, i meta.Integration, from meta.Repository, d name.Digest,
	touch func()) (string, error) {
	to, err := s.remotes.Remote(ctx, i)
	if err != nil {
		return "", err
	}
	_, err = s.transfer(from, to, from.Name.String(), true, touching(touch)).tagged(ctx, d)
	var refused *refusal
	code, shown := integration.Failed(i, err)
	switch e, _ := errors.AsType[*upstream.Error](err); {
	case err == nil:
		return "", nil
	case errors.As(err, &refused):
		return refused.code, nil
	case code == "":
		return "", err
	case mayPass(e.Reason):
		return "", jobs.After(shown, e.After)
	}
	return code, nil
}
