// Package replication copies images to the registries that the replication configuration of their registry names, and between
// repositories on request.
//
// A push and its replications are one transaction (meta.Store.PutImage): it enqueues a job for each destination. Inside one
// installation a copy is rows: both registries share the bytes of blobs and manifests.
//
// Sources: ECR user guide, private image replication; docs/ecr-divergences.md.
package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Service copies images. It is safe for concurrent use.
type Service struct {
	meta     *meta.Store
	registry *registry.Service
	guard    *guard.Guard
	remotes  *integration.Service
	now      func() time.Time

	outside outsideState
}

// Options holds the parameters of New. All are required.
type Options struct {
	Meta     *meta.Store
	Registry *registry.Service
	Guard    *guard.Guard
	Remotes  *integration.Service
	Now      func() time.Time
}

// New returns a Service. AddWork adds its background work to a runner.
func New(o Options) *Service {
	return &Service{meta: o.Meta, registry: o.Registry, guard: o.Guard, remotes: o.Remotes, now: o.Now}
}

// Failure codes of DescribeImageReplicationStatus. AWS documents no values.
const (
	codeDenied      = "AccessDenied"
	codeNoAccount   = "RegistryNotFound"
	codeLost        = "ImageNotFound"
	codeTemplate    = "InvalidRepositoryCreationTemplate" // its contents do not allow to create a repository
	codeUnavailable = "InternalError"
)

const (
	// parallel is how many images are copied at once.
	parallel = 4
	// attempts is after how many failures a replication is given up: with pauses that grow to an hour, after more than two days. So a
	// registry policy that is set later lets what was refused before through.
	attempts = 60
)

// AddWork adds the copying of images to a runner.
func (s *Service) AddWork(r *jobs.Runner) {
	r.Add(jobs.Kind{Name: meta.ReplicationKind, What: "replicating images", Parallel: parallel, Attempts: attempts, Pause: 5 * time.Second,
		Forget: true, Work: s.work})
	s.addOutside(r)
	r.Add(jobs.Kind{Name: meta.ArrivalKind, What: "replicating what a pull-through cache has fetched", Parallel: 2, Forget: true,
		Work: s.arrival})
	r.Add(jobs.Kind{Name: meta.BackfillKind, What: "replicating what was pushed before", Parallel: 2, Work: s.backfill})
}

// work copies one image to one destination.
func (s *Service) work(ctx context.Context, j *jobs.Job) error {
	var in meta.ReplicationInput
	if err := j.Input(&in); err != nil {
		return err
	}
	from, digest, to, err := s.parse(ctx, in)
	if err != nil {
		return err
	}
	// An integration may stand for the destination that did not when the image was pushed.
	switch i, err := s.meta.IntegrationFor(ctx, from.Registry.Account, to); {
	case err == nil:
		return s.meta.CopyOutside(ctx, from, in, i.ID)
	case !errors.Is(err, fault.IntegrationNotFound):
		return err
	}
	if err = s.replicate(ctx, in, from, digest, to); err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	code := codeUnavailable
	var refused *refusal
	if errors.As(err, &refused) {
		code = refused.code
	}
	if serr := s.meta.FailReplication(ctx, in, from, digest, to, code); serr != nil {
		return errors.Join(err, serr)
	}
	if refused != nil && refused.final {
		return jobs.Permanent(err)
	}
	return err
}

// refusal is a failure with a code for DescribeImageReplicationStatus.
type refusal struct {
	error
	code  string
	final bool // a repetition would fail alike
}

func (r *refusal) Unwrap() error { return r.error }

// parse returns what a job is about. The error is permanent if that cannot be read, or if the source repository has been deleted.
func (s *Service) parse(ctx context.Context, in meta.ReplicationInput) (from meta.Repository, d name.Digest, to name.Registry, err error) {
	var errs [3]error
	d, errs[0] = name.ParseDigest(in.Digest)
	to.Account, errs[1] = name.ParseAccount(in.Account)
	to.Region, errs[2] = name.ParseRegion(in.Region)
	if err := errors.Join(errs[:]...); err != nil {
		return from, d, to, jobs.Permanent(fmt.Errorf("the input of a replication: %w", err))
	}
	from, err = s.meta.RepositoryByID(ctx, in.Repository)
	if errors.Is(err, fault.RepositoryNotFound) {
		err = jobs.Permanent(err)
	}
	return from, d, to, err
}

// replicate copies the image of a job to a repository of another registry.
func (s *Service) replicate(ctx context.Context, in meta.ReplicationInput, from meta.Repository, digest name.Digest,
	at name.Registry) error {
	to, err := s.destination(ctx, from, at)
	if err != nil {
		return err
	}
	_, err = s.copy(ctx, from, to, digest, meta.Put{Principal: identity.RootARN(from.Registry.Account)},
		meta.CopyOptions{AllTags: true, Last: true, Replication: in})
	if errors.Is(err, fault.ImageNotFound) {
		return &refusal{err, codeLost, true}
	}
	return err
}

// destination returns the repository with the same name in another registry, and creates it if it does not exist, by the template of that
// registry for replications if it has one. If the registry is of another account, its registry policy must allow both to the account of the
// source; of a new repository, with the resource tags of the template. Source: ECR user guide, registry permissions.
func (s *Service) destination(ctx context.Context, from meta.Repository, at name.Registry) (meta.Repository, error) {
	if _, err := s.meta.Account(ctx, at.Account); errors.Is(err, fault.AccountNotFound) {
		return meta.Repository{}, &refusal{err, codeNoAccount, false}
	} else if err != nil {
		return meta.Repository{}, err
	}
	to, err := s.registry.Repository(ctx, at, from.Name)
	missing := errors.Is(err, fault.RepositoryNotFound)
	if err != nil && !missing {
		return meta.Repository{}, err
	}
	var template registry.Template
	if missing {
		if template, err = s.registry.TemplateFor(ctx, at, from.Name, registry.ForReplication); err != nil {
			return meta.Repository{}, err
		}
		if err := template.Check(from.Name); err != nil {
			return meta.Repository{}, &refusal{err, codeTemplate, false}
		}
		to = template.Repository(at, from.Name)
	}
	if at.Account != from.Registry.Account {
		asks := []guard.Ask{{Action: "ecr:ReplicateImage", Owner: guard.OwnedBy(at.Account), Region: at.Region,
			Resource: at.RepositoryARN(from.Name.String()), Known: guard.Known{Repository: &to}}}
		if missing {
			asks = guard.ForCreation(asks, &to, template.Tags)
		}
		root := identity.Caller{Kind: identity.Root, Account: from.Registry.Account, ARN: identity.RootARN(from.Registry.Account),
			UserID: from.Registry.Account.String(), Principal: from.Registry.Account.String()}
		for _, a := range asks {
			ok, err := s.guard.Allowed(ctx, root, guard.Origin{}, a)
			if err != nil {
				return meta.Repository{}, err
			}
			if !ok {
				return meta.Repository{}, &refusal{fault.AccessDenied.New("the registry policy of %s in %s does not allow %s on %s to the account %s",
					at.Account, at.Region, a.Action, a.Resource, from.Registry.Account), codeDenied, false}
			}
		}
	}
	if !missing {
		return to, nil
	}
	to, err = s.registry.Create(ctx, at, from.Name, registry.ForReplication)
	if errors.Is(err, fault.RepositoryAlreadyExists) { // by a push or another replication meanwhile
		return s.registry.Repository(ctx, at, from.Name)
	}
	return to, err
}

// Copy copies an image, with the images of an index, to another repository of the installation, and sets tags there. The copy is a push: it
// is replicated as others are.
//
// Errors: those of meta.Store.CopyImage, with fault.ImageTagAlreadyExists (a tag is immutable).
func (s *Service) Copy(ctx context.Context, by identity.Caller, from, to meta.Repository, d name.Digest,
	tags []name.Tag) (meta.Copied, error) {
	return s.copy(ctx, from, to, d, meta.Put{Principal: by.ARN, Tags: tags}, meta.CopyOptions{})
}

// copy copies an image and, before it, the images to which an index refers and the destination does not have.
func (s *Service) copy(ctx context.Context, from, to meta.Repository, d name.Digest, p meta.Put, o meta.CopyOptions) (meta.Copied, error) {
	body, err := s.meta.Body(ctx, d)
	if err != nil {
		return meta.Copied{}, err
	}
	head, err := s.meta.Head(ctx, from.ID, name.Reference{Digest: d})
	if err != nil {
		return meta.Copied{}, err
	}
	m, err := manifest.Parse(body, head.MediaType)
	if err != nil {
		return meta.Copied{}, err
	}
	for _, child := range m.Manifests { // indexes nest at most meta.MaxDepth deep, and none contains itself
		_, err := s.meta.Head(ctx, to.ID, name.Reference{Digest: child.Digest})
		if err == nil {
			continue
		}
		if !errors.Is(err, fault.ImageNotFound) {
			return meta.Copied{}, err
		}
		_, err = s.copy(ctx, from, to, child.Digest, meta.Put{Principal: p.Principal}, meta.CopyOptions{Last: o.Last})
		partial := o.Last && errors.Is(err, fault.LayersNotFound)           // a cache has fetched a part of it; the rest brings it there
		if err != nil && !partial && !errors.Is(err, fault.ImageNotFound) { // a sparse index
			return meta.Copied{}, err
		}
	}
	p.Manifest, p.Body, p.Digest, p.Sparse = m, body, d, true
	return s.meta.CopyImage(ctx, from, to, p, o)
}
