package kube

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

// Options say which credentials get to which namespaces. The fields without a default are required.
type Options struct {
	Source     credential.Source
	SourceName string   // for people, such as "profile prod"; has no secret
	Hosts      []string // HOST or HOST:PORT of the registries
	Secret     string   // name of the pull secret

	Namespaces []string        // exactly these, so that no right for the whole cluster is needed; none for all that Selector matches
	Selector   labels.Selector // of the labels of namespaces; nil means all
	Skip       []string        // names of namespaces that get nothing
	Accounts   []string        // names of the service accounts that use the secret; AllAccounts in it stands for all

	// Try asks the registry whether it accepts a credential: credential.ErrRefused if it does not, another error if it cannot be asked.
	// nil means no try.
	Try func(context.Context, credential.Credential) error

	Now func() time.Time
	Log *slog.Logger
}

// AllAccounts stands for all service accounts of a namespace.
const AllAccounts = "*"

// workers is the number of namespaces that are served at once.
const workers = 8

// checkEvery is the time after which a namespace is compared again in which nothing seems to have changed.
const checkEvery = time.Hour

// Refresher keeps the pull secrets of a cluster fresh.
type Refresher struct {
	cluster *Cluster
	o       Options
	wake    chan struct{} // has one element if something changed
	lastRun time.Time     // under mu

	mu     sync.Mutex
	tokens []*token
	places map[string]*place // by namespace
}

// place is a namespace.
type place struct {
	name     string
	active   bool            // exists, is not being deleted, and is chosen
	accounts map[string]bool // those that exist: whether they name the secret
	version  string          // resourceVersion of the secret that was last seen or written; "" if there is none
	dirty    bool            // something has changed since it was served
	served   time.Time
	next     time.Time // after failures, not before
	failures int       // since the last success
	err      error     // of the last attempt
	status   []hostStatus
	reported string    // text of the last event about a failure
	eventAt  time.Time // of that event
}

// New returns a refresher of a cluster, which Run or Once starts.
func New(c *Cluster, o Options) *Refresher {
	r := &Refresher{cluster: c, o: o, wake: make(chan struct{}, 1), places: map[string]*place{}}
	for _, host := range o.Hosts {
		r.tokens = append(r.tokens, &token{host: host})
	}
	for _, name := range o.Namespaces {
		p := r.place(name)
		p.active, p.dirty = true, true
	}
	return r
}

// place returns a namespace, which it adds if it is new. mu must be held once the refresher runs.
func (r *Refresher) place(name string) *place {
	p := r.places[name]
	if p == nil {
		p = &place{name: name, accounts: map[string]bool{}}
		r.places[name] = p
	}
	return p
}

// chosen reports whether a namespace gets the secret.
func (r *Refresher) chosen(n *corev1.Namespace) bool {
	switch {
	case n.DeletionTimestamp != nil || slices.Contains(r.o.Skip, n.Name):
		return false
	case len(r.o.Namespaces) > 0:
		return slices.Contains(r.o.Namespaces, n.Name)
	}
	return r.o.Selector == nil || r.o.Selector.Matches(labels.Set(n.Labels))
}

// uses reports whether a service account of a name is to use the secret.
func (r *Refresher) uses(account string) bool {
	return slices.Contains(r.o.Accounts, account) || slices.Contains(r.o.Accounts, AllAccounts)
}

// changed lets Run serve what is dirty.
func (r *Refresher) changed() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Once serves every namespace one time. Errors: all that failed, joined.
func (r *Refresher) Once(ctx context.Context) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	r.Step(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	var all []error
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.tokens {
		all = append(all, t.err)
	}
	for _, name := range slices.Sorted(maps.Keys(r.places)) {
		all = append(all, r.places[name].err)
	}
	return errors.Join(all...)
}

// Run serves the namespaces until the context ends; it then waits for what is in progress. It waits for an API server that is away.
func (r *Refresher) Run(ctx context.Context) {
	var watches sync.WaitGroup
	defer watches.Wait()
	for _, w := range r.watches() {
		watches.Go(func() { w.RunWithContext(ctx) })
	}
	repeat(ctx, r.wake, r.o.Now, r.Step)
}

// repeat calls step until the context ends: again at the time that it returned, when wake has a value, and after a minute at most.
func repeat(ctx context.Context, wake <-chan struct{}, now func() time.Time, step func(context.Context) time.Time) {
	for ctx.Err() == nil {
		next := step(ctx)
		timer := time.NewTimer(min(time.Minute, max(0, next.Sub(now())))) // a minute for clocks that jump, and for health
		select {
		case <-wake:
			settle(ctx)
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// settle waits a moment after a change, since changes come in groups: a namespace and its service accounts.
func settle(ctx context.Context) {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Step does what is due, and returns when something will be due next if nothing changes.
func (r *Refresher) Step(ctx context.Context) (next time.Time) {
	for _, t := range r.tokens {
		r.mu.Lock()
		copied := *t
		r.mu.Unlock()
		renewed := copied.renew(ctx, &r.o) // without the lock, which the answers about health need
		r.mu.Lock()
		failed := copied.failures != t.failures
		*t = copied
		if renewed || failed {
			for _, p := range r.places {
				p.dirty = true
				if renewed {
					p.next = time.Time{}
				}
			}
		}
		r.mu.Unlock()
	}
	var work sync.WaitGroup
	due := make(chan *place)
	for range workers {
		work.Go(func() {
			for p := range due {
				r.serve(ctx, p)
			}
		})
	}
	for _, p := range r.due() {
		due <- p
	}
	close(due)
	work.Wait()
	return r.nextDue()
}

// due returns the namespaces that are to be served now.
func (r *Refresher) due() (all []*place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.o.Now()
	r.lastRun = now
	for _, name := range slices.Sorted(maps.Keys(r.places)) {
		if p := r.places[name]; p.active && !now.Before(r.dueAt(p)) {
			all = append(all, p)
		}
	}
	return all
}

func (r *Refresher) dueAt(p *place) time.Time {
	switch {
	case p.dirty:
		return p.next
	case p.failures > 0:
		return p.next
	}
	return p.served.Add(checkEvery)
}

func (r *Refresher) nextDue() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.o.Now().Add(checkEvery)
	for _, t := range r.tokens {
		if t.next.Before(next) {
			next = t.next
		}
	}
	for _, p := range r.places {
		if at := r.dueAt(p); p.active && at.Before(next) {
			next = at
		}
	}
	return next
}

// serve brings a namespace to what it should be, and records how that ended.
func (r *Refresher) serve(ctx context.Context, p *place) {
	r.mu.Lock()
	p.dirty = false
	job := r.job(p)
	r.mu.Unlock()
	err := job.run(ctx)
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.o.Now()
	p.served, p.err = now, err
	if job.status != nil {
		p.status = job.status
	}
	p.reported, p.eventAt = job.reported, job.eventAt
	for _, account := range job.patched {
		if _, ok := p.accounts[account]; ok {
			p.accounts[account] = true
		}
	}
	if job.version != "" {
		p.version = job.version
	}
	if err == nil {
		p.failures, p.next = 0, time.Time{}
		return
	}
	p.failures++
	p.next = now.Add(pause(p.failures))
	r.o.Log.Warn("a namespace is not served", "namespace", p.name, "failures", p.failures, "next", p.next, "error", err)
}
