// Package registry keeps the rules of repositories, images, tags, layers and uploads that the docker door and the ECR
// operations share: what a push stores, what a pull reads, what a deletion takes away, and when.
//
// Its functions do not ask who may: the guard has decided before they are called. They take the caller where they record
// or compare it. Doors reach what is stored by this package alone. The typed operations of package ecr also read and write
// single rows that have no rule (a policy, a setting, resource tags) in package meta.
//
// Errors that are not listed at a function have no code: the store failed.
package registry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Service is the registry core. Safe for concurrent use.
type Service struct {
	meta   *meta.Store
	blobs  blob.Store
	now    func() time.Time
	log    *slog.Logger
	quirks Quirks

	// CreateOnPush makes a repository that a push names and that does not exist.
	createOnPush bool

	held keySet // uploads that someone is writing to, by id

	pullsMu sync.Mutex
	pulls   map[meta.PullKey]time.Time
}

// Options are what New needs beyond its stores.
type Options struct {
	Now          func() time.Time
	Log          *slog.Logger
	Quirks       Quirks
	CreateOnPush bool
}

// New makes the service. Run does its background work.
func New(m *meta.Store, b blob.Store, o Options) *Service {
	return &Service{meta: m, blobs: b, now: o.Now, log: o.Log, quirks: o.Quirks, createOnPush: o.CreateOnPush, pulls: map[meta.PullKey]time.Time{}}
}

// Quirks tells which departures of ECR from the OCI specification are on.
func (s *Service) Quirks() Quirks { return s.quirks }

const (
	pullFlush    = 2 * time.Second
	uploadsSweep = time.Hour
	// uploadLife is how long an upload that nobody writes to is kept.
	uploadLife = 7 * 24 * time.Hour
)

// Run writes pull times and removes abandoned uploads until ctx ends; the last pull times are written before it returns.
func (s *Service) Run(ctx context.Context) error {
	flush, sweep := time.NewTicker(pullFlush), time.NewTicker(uploadsSweep)
	defer flush.Stop()
	defer sweep.Stop()
	for {
		var err error
		select {
		case <-flush.C:
			err = s.flushPulls(ctx)
		case <-sweep.C:
			err = s.sweepUploads(ctx)
		case <-ctx.Done():
			// The pulls were answered; their times are written although the server is stopping.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return s.flushPulls(last)
		}
		if err != nil {
			s.log.ErrorContext(ctx, "background work failed", "error", err)
		}
	}
}

func (s *Service) flushPulls(ctx context.Context) error {
	s.pullsMu.Lock()
	pulls := s.pulls
	s.pulls = map[meta.PullKey]time.Time{}
	s.pullsMu.Unlock()
	if len(pulls) == 0 {
		return nil
	}
	return s.meta.SetPulled(ctx, pulls)
}

// Pulled notes that an image was pulled. The time becomes visible within seconds, as ECR promises no more.
func (s *Service) Pulled(repository int64, d name.Digest) {
	now := s.now()
	s.pullsMu.Lock()
	s.pulls[meta.PullKey{Repository: repository, Digest: d}] = now
	s.pullsMu.Unlock()
}

func (s *Service) sweepUploads(ctx context.Context) error {
	before := s.now().Add(-uploadLife)
	idle, err := s.meta.IdleUploads(ctx, before, 1000)
	if err != nil {
		return err
	}
	for _, u := range idle {
		// Someone may have written after all, or ended it.
		if err := s.Cancel(ctx, u); err != nil && !errors.Is(err, fault.UploadConflict) && !errors.Is(err, fault.UploadNotFound) {
			return err
		}
	}
	for id, err := range s.blobs.Stale(ctx, before) {
		if err != nil {
			return err
		}
		if err := s.blobs.Abort(ctx, blob.Upload{ID: id}); err != nil && !errors.Is(err, fault.UploadConflict) {
			return err
		}
	}
	if len(idle) > 0 {
		s.log.InfoContext(ctx, "removed abandoned uploads", "count", len(idle))
	}
	return nil
}

// Repository finds a repository. Errors: fault.RepositoryNotFound.
func (s *Service) Repository(ctx context.Context, reg name.Registry, repo name.Repo) (meta.Repository, error) {
	return s.meta.Repository(ctx, reg, repo)
}

// CreatesOnPush tells whether a push to a repository that does not exist creates it, by a caller who may create it.
func (s *Service) CreatesOnPush() bool { return s.createOnPush }

// CreateForPush makes the repository of a push with the default settings.
// Errors: fault.TargetChanged (it exists meanwhile, perhaps with a policy of its own), fault.AccountNotFound.
func (s *Service) CreateForPush(ctx context.Context, reg name.Registry, repo name.Repo) (Repository, error) {
	r, err := s.CreateRepository(ctx, Repository{Registry: reg, Name: repo}, nil)
	if errors.Is(err, fault.RepositoryAlreadyExists) {
		err = fault.TargetChanged.New("the repository '%s' was made by another request", repo).Because(err)
	}
	return r, err
}

// CreateRepository makes a repository; empty settings get ECR's defaults (mutable tags, AES256).
// Errors: fault.RepositoryAlreadyExists, fault.TooManyTags, fault.AccountNotFound.
func (s *Service) CreateRepository(ctx context.Context, r meta.Repository, resourceTags map[string]string) (meta.Repository, error) {
	if r.Mutability.Mode == "" {
		r.Mutability.Mode = meta.Mutable
	}
	if r.Encryption == "" {
		r.Encryption = meta.EncryptionAES256
	}
	r.CreatedAt = s.now()
	return s.meta.CreateRepository(ctx, r, resourceTags)
}
