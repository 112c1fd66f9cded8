// Package registry implements the rules of repositories, images, tags, layers and uploads that the OCI distribution API
// and the ECR API share: what a push stores, what a pull reads, what a deletion deletes, and when.
//
// Its functions do not check permissions: the guard has decided before they are called. They take the caller if they
// record or compare it. The surfaces use stored data only through this package. The typed operations of package ecr
// also read and write single rows that have no rule (a policy, a setting, resource tags) through package meta.
//
// Errors that the comment of a function does not list have no code: the store failed.
package registry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Service implements the rules over a metadata store and a blob store. It is safe for concurrent use.
type Service struct {
	meta   *meta.Store
	blobs  blob.Store
	now    func() time.Time
	log    *slog.Logger
	quirks Quirks

	grace        time.Duration // see Grace
	createOnPush bool          // see orDefault
	sparse       bool          // indexes of images that do not exist are stored
	maxUploads   UploadLimits

	verifyTime  time.Duration // how long one call of Verify goes on
	collectTime time.Duration // how long one call of Collect goes on

	held       keySet        // ids of the uploads to which a request is writing
	landing    landing       // digests of blobs that are between their bytes and their record
	unrecorded unrecorded    // see Unrecorded
	collecting chan struct{} // has one place, which a call of Collect takes
	evaluating chan struct{} // likewise for a job that evaluates a lifecycle policy
	testing    chan struct{} // likewise for a request that does so
	testers    lanes         // of the requests that wait for that
	collected  atomic.Uint64 // see CollectedBytes
	damaged    atomic.Uint64 // see DamagedBlobs

	pulls    pulls
	pulled   func(Repository, name.Digest) // nil for none
	stored   func(context.Context, Repository, int64)
	pace     *jobs.Pace
	entitled Entitlements
}

// Entitlements knows what customers of vendors may pull.
type Entitlements interface {
	// Check refuses the deletion of an image by the given references if customers would lose it. Errors: fault.ImageEntitled.
	Check(context.Context, Repository, []name.Reference) error
	// In returns what reports whether a customer may pull an image of a repository by one of its references, as of now; nil if customers
	// reach nothing in the repository.
	In(context.Context, Repository) (func(context.Context, []name.Reference) (bool, error), error)
}

// Options holds the parameters of New besides the stores.
type Options struct {
	Now          func() time.Time
	Log          *slog.Logger
	Quirks       Quirks
	CreateOnPush bool          // a push without a template creates its repository with the default settings
	Grace        time.Duration // how long something is deleted or unused before a collection removes it
	// SparseIndexes accepts an index of images that the repository does not have.
	SparseIndexes bool
	MaxUploads    UploadLimits
	// Pulled is called for each pull of an image; nil for none. It must not wait.
	Pulled func(Repository, name.Digest)
	// Stored is called when a repository holds a blob that it did not hold, with the context of the push and the bytes; nil for none. It
	// must not wait.
	Stored   func(context.Context, Repository, int64)
	Entitled Entitlements // nil for none
	// Pace makes evaluations, deletions by lifecycle policies and collections yield to requests; nil if they need not.
	Pace *jobs.Pace
}

// UploadLimits are how many uploads may be open at once, neither completed nor cancelled; 0 for no limit.
type UploadLimits struct {
	PerPrincipal  int // all sessions of a role are one principal
	PerRepository int
}

// New returns a Service. AddWork adds its background work to a runner.
func New(m *meta.Store, b blob.Store, o Options) *Service {
	return &Service{meta: m, blobs: b, now: o.Now, log: o.Log, quirks: o.Quirks, createOnPush: o.CreateOnPush, maxUploads: o.MaxUploads,
		sparse: o.SparseIndexes, grace: o.Grace, verifyTime: defaultVerifyTime, collectTime: defaultCollectTime,
		collecting: make(chan struct{}, 1), evaluating: make(chan struct{}, 1), testing: make(chan struct{}, 1), pulls: newPulls(),
		pulled: o.Pulled, stored: o.Stored, pace: o.Pace, entitled: o.Entitled}
}

// Quirks returns the departures of ECR from the OCI specification that are on.
func (s *Service) Quirks() Quirks { return s.quirks }

// Grace returns how long deleted repositories and images, and unused blobs, are kept before a collection removes them.
func (s *Service) Grace() time.Duration { return s.grace }

// The kinds of background work.
const (
	SweepWork      = "uploads"
	PullTimesWork  = "pull_times"
	CollectWork    = "collection"
	CollectNowWork = "requested_collection"
)

// workRetry is the time after which work that has failed is tried again, if its interval is longer.
const workRetry = time.Minute

const (
	// uploadsSweep is the time between two sweeps of abandoned uploads. The first one is at the start.
	uploadsSweep = 10 * time.Minute
	// maxSwept limits the uploads that one step of a sweep removes, and so the rows of its transaction.
	maxSwept = 200
	// uploadLife is the time after the last write for which an upload is kept.
	uploadLife = 7 * 24 * time.Hour
	// emptyLife is the time for which an upload without a byte is kept.
	emptyLife = time.Hour
)

// AddWork adds the background work of the service to a runner: pull times are written as pullFlush and pullWait say and when the server
// stops, abandoned uploads are removed every uploadsSweep, and a collection runs every interval, the first one at once; 0 for none. If
// full, all stored blobs are compared with the records until one collection has removed everything, as after a crash.
func (s *Service) AddWork(r *jobs.Runner, interval time.Duration, full bool) {
	r.AddTask(jobs.Task{Name: PullTimesWork, What: "recording when images were pulled", Every: pullFlush, Wake: s.pulls.many,
		Run: s.flushDuePulls, Stop: s.flushPulls})
	r.AddTask(jobs.Task{Name: SweepWork, What: "removing abandoned uploads", Every: uploadsSweep, Retry: workRetry, First: true,
		Run: s.sweepUploads})
	s.addLifecycleWork(r)
	s.addLabelsWork(r)
	s.addAccessWork(r)
	r.Add(jobs.Kind{Name: CollectNowWork, What: "collecting what nothing refers to, as the operator has asked", Parallel: 2, Attempts: 1,
		Work: s.requestedCollection})
	if interval > 0 {
		// Each process has its own blobs and collects them.
		r.Add(jobs.Kind{Name: CollectWork, What: "collecting what nothing refers to", Every: interval, AtStart: true, Own: true,
			Pause: workRetry, MaxPause: workRetry, Work: s.collectJob(full)})
	}
}

// Repository returns the repository with the given name.
//
// Errors: fault.RepositoryNotFound.
func (s *Service) Repository(ctx context.Context, reg name.Registry, repo name.Repo) (meta.Repository, error) {
	return s.meta.Repository(ctx, reg, repo)
}

// SparseIndexes reports whether an index of images that the repository does not have is stored.
func (s *Service) SparseIndexes() bool { return s.sparse }
