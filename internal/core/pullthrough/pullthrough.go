// Package pullthrough fills repositories from other registries when their images are pulled, by the rules of their registry, and keeps
// what it has fetched.
//
// A manifest is stored when it is asked for, without its layers. A layer is stored when it is asked for, and only if a stored manifest
// of the repository names it, so that its size is known before its first byte. The other registry is not trusted: nothing is stored
// under a digest or a size that it does not have.
package pullthrough

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Limits are the numbers and times of a Service. A zero field means its default.
type Limits struct {
	Fetches    int           // requests to other registries at the same time; 64
	OfAccount  int           // of these for the repositories of one account; 32
	OfCustomer int           // of these for one customer of an application; 8
	Wait       time.Duration // for a place among them; 30 s
	Refresh    time.Duration // after which a tag is compared with the other registry; 24 h
	Referrers  time.Duration // after which referrers are; 6 h
	Compare    time.Duration // maximum time for a comparison, after which what is stored is served; 10 s
	Lease      time.Duration // after which another process takes over a fetch of one that has ended; 10 s
	Look       time.Duration // between two looks at what another process fetches; 100 ms
}

func (l Limits) filled() Limits {
	number := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	span := func(n *time.Duration, d time.Duration) {
		if *n == 0 {
			*n = d
		}
	}
	number(&l.Fetches, 64)
	number(&l.OfAccount, 32)
	number(&l.OfCustomer, 8)
	span(&l.Wait, 30*time.Second)
	span(&l.Refresh, 24*time.Hour)
	span(&l.Referrers, 6*time.Hour)
	span(&l.Compare, 10*time.Second)
	span(&l.Lease, 10*time.Second)
	span(&l.Look, 100*time.Millisecond)
	return l
}

// Keys opens sealed secrets.
type Keys interface {
	OpenForeign(context string, sealed []byte) (secret.String, error)
}

// Options holds the parameters of New. All but Limits and Remotes are required.
type Options struct {
	Meta     *meta.Store
	Registry *registry.Service
	Guard    *guard.Guard
	Keys     Keys
	Client   *upstream.Client
	Remotes  *integration.Service // of requests with an Upstream; nil if there are none
	Now      func() time.Time
	Log      *slog.Logger
	Limits   Limits

	// Counted is told what a rule did; nil for nobody. It must not wait.
	Counted func(reg name.Registry, prefix string, c meta.CacheCount)

	// Place is an id of the blob directory. Processes with the same one read the layers that another of them fetches.
	Place string
}

// Service fills repositories. It is safe for concurrent use.
type Service struct {
	meta     *meta.Store
	registry *registry.Service
	guard    *guard.Guard
	keys     Keys
	client   *upstream.Client
	shared   *integration.Service
	now      func() time.Time
	log      *slog.Logger
	limits   Limits
	place    string
	counted  func(name.Registry, string, meta.CacheCount)

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	work     sync.WaitGroup
	places   places
	passes   passes
	images   singleflight.Group
	layers   layers
	refused  failures
	tidied   func() // waits until what this process left when it ended last is deleted
	fresh    freshness
	remotes  remotes
	reported reported

	counts Counts
}

// Counts counts since the start.
type Counts struct {
	Hits    atomic.Uint64 // manifests and layers that were stored
	Misses  atomic.Uint64 // that were fetched
	Stale   atomic.Uint64 // tags that were served although they could not be compared
	Fetched atomic.Uint64 // bytes of manifests and layers from other registries
	Sent    atomic.Uint64 // bytes of layers that were sent while they arrived
	Saved   atomic.Uint64 // bytes of manifests and layers that were stored, and not fetched again
}

// New returns a Service. Close ends its work.
func New(o Options) *Service {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{meta: o.Meta, registry: o.Registry, guard: o.Guard, keys: o.Keys, client: o.Client, shared: o.Remotes, now: o.Now,
		log: o.Log, limits: o.Limits.filled(), place: o.Place, counted: o.Counted, ctx: ctx, cancel: cancel}
	s.places.init(s.limits)
	s.tidied = sync.OnceFunc(s.tidy)
	s.work.Go(s.tidied)
	return s
}

// Close ends the fetches and waits for their end.
func (s *Service) Close() {
	s.cancel()
	s.work.Wait()
	s.client.Close()
}

// Counts returns the counts.
func (s *Service) Counts() *Counts { return &s.counts }

// Request is a request of a caller for a repository, which the caller may pull from.
type Request struct {
	By       identity.Caller
	From     guard.Origin
	Registry name.Registry
	Name     name.Repo
	Found    registry.Repository // with ID 0 if it does not exist

	// Upstream is what a customer pulls by the proxy: the repository is filled by its integrations, not by a rule, and what the customer
	// was allowed to pull is imported without a further permission. nil for all others.
	Upstream *integration.Upstream
}

// holder returns whose places the fetches of the request take.
func (q Request) holder() holder {
	if q.Upstream == nil {
		return holder{account: q.Registry.Account}
	}
	return holder{q.Registry.Account, q.By.UserID}
}

// creation returns the asks of a fetch that creates the repository: the import is decided as if it existed as its template makes it.
func (s *Service) creation(ctx context.Context, q Request) ([]guard.Ask, error) {
	template, err := s.registry.TemplateFor(ctx, q.Registry, q.Name, meta.ForPullThrough)
	if err != nil {
		return nil, err
	}
	made := template.Repository(q.Registry, q.Name)
	asks := guard.ForCreation([]guard.Ask{{Action: actionImport, Owner: guard.OwnedBy(q.Registry.Account), Region: q.Registry.Region,
		Resource: q.Registry.RepositoryARN(q.Name.String())}}, &made, template.Tags)
	slices.Reverse(asks) // the creation first: without it the repository does not exist for the caller
	return asks, nil
}

// askFor returns the ask for an action on the repository.
func (s *Service) askFor(q Request, action string) guard.Ask {
	ask := guard.Ask{Action: action, Owner: guard.OwnedBy(q.Registry.Account), Region: q.Registry.Region,
		Resource: q.Registry.RepositoryARN(q.Name.String())}
	if q.Found.ID != 0 {
		ask.Repository = &q.Found
	}
	return ask
}

// allowed reports whether the caller may do an action on the repository.
func (s *Service) allowed(ctx context.Context, q Request, action string) (bool, error) {
	if q.Upstream != nil {
		return true, nil
	}
	return s.guard.Allowed(ctx, q.By, q.From, s.askFor(q, action))
}

// origin is where the content of a repository comes from.
type origin struct {
	rule meta.CacheRule
	repo string // its name there

	upstream *integration.Upstream // of the proxy for customers; the rule then has the host alone
}

// from returns where the content of the repository of a request comes from. ok is false if it has only what was pushed.
func (s *Service) from(ctx context.Context, q Request) (o origin, ok bool, err error) {
	if u := q.Upstream; u != nil {
		rule := meta.CacheRule{Registry: q.Registry, Prefix: "proxy/" + u.Label, Host: u.Host, UpstreamPrefix: meta.RootPrefix}
		return origin{rule: rule, repo: u.Path, upstream: u}, true, nil
	}
	return s.origin(ctx, q.Registry, q.Name)
}

// origin returns the origin of a repository by the rule with the longest prefix. ok is false if there is no rule for it.
func (s *Service) origin(ctx context.Context, reg name.Registry, repo name.Repo) (o origin, ok bool, err error) {
	rules, err := s.meta.CacheRules(ctx, reg)
	if err != nil || len(rules) == 0 {
		return origin{}, false, err
	}
	longest := -1
	for _, r := range rules {
		if mapped, fits := Map(r, repo.String()); fits && length(r.Prefix) > longest {
			o, ok, longest = origin{rule: r, repo: mapped}, true, length(r.Prefix)
		}
	}
	return o, ok, nil
}

func length(prefix string) int {
	if prefix == meta.RootPrefix {
		return 0
	}
	return len(prefix)
}

// Map returns the name that a repository has in the registry of a rule. ok is false if the rule is not for the repository.
//
// Source: ECR user guide, customizing repository prefixes for pull through cache rules.
func Map(r meta.CacheRule, repo string) (mapped string, ok bool) {
	rest := repo
	if r.Prefix != meta.RootPrefix {
		if rest, ok = strings.CutPrefix(repo, r.Prefix+"/"); !ok {
			return "", false
		}
	}
	if r.UpstreamPrefix != "" && r.UpstreamPrefix != meta.RootPrefix {
		rest = r.UpstreamPrefix + "/" + rest
	}
	return rest, true
}

// Applies reports whether a rule is for a repository.
func (s *Service) Applies(ctx context.Context, reg name.Registry, repo name.Repo) (bool, error) {
	_, ok, err := s.origin(ctx, reg, repo)
	return ok, err
}

// create makes the repository of a request, by the template of the registry that applies.
//
// Errors: fault.TargetChanged (another request has made it), and those of registry.Service.Create.
func (s *Service) create(ctx context.Context, q Request) (registry.Repository, error) {
	r, err := s.registry.Create(ctx, q.Registry, q.Name, meta.ForPullThrough)
	if errors.Is(err, fault.RepositoryAlreadyExists) {
		err = fault.TargetChanged.New("the repository '%s' was created by another request", q.Name).Because(err)
	}
	return r, err
}

// failed returns the error for a client: of a code, with the public text of the cause.
func failed(code fault.Code, err error) error {
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		if e.Reason == upstream.RateLimited {
			return fault.Throttled.New("the registry %s limits the rate of requests", e.Host).Because(err)
		}
		return code.New("the registry %s did not give it: %s", e.Host, e.Public).Because(err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return code.New("it was not fetched: that took too long, or the server stops").Because(err)
	}
	switch e := fault.From(err); e.Code {
	case fault.Internal, fault.Unavailable, fault.Throttled, fault.QuotaExceeded, fault.TargetChanged, fault.RepositoryNotFound,
		fault.ImageNotFound, fault.AccountNotFound:
		return err
	default:
		return code.New("it was not fetched: %s", e.Public).Because(err)
	}
}
