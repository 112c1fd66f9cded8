package pullthrough

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// places limits the requests to other registries.
type places struct {
	all  chan struct{}
	wait time.Duration
	each int

	mu sync.Mutex
	of map[name.Account]chan struct{}
}

func (p *places) init(l Limits) {
	p.all, p.wait, p.each, p.of = make(chan struct{}, l.Fetches), l.Wait, l.OfAccount, map[name.Account]chan struct{}{}
}

// enter takes a place for an account; leave frees it. The place of the account comes first, so that no account waits in place of others.
//
// Errors: fault.Unavailable (no place was free in time), that of ctx.
func (p *places) enter(ctx context.Context, a name.Account) (leave func(), err error) {
	p.mu.Lock()
	own := p.of[a]
	if own == nil {
		own = make(chan struct{}, p.each)
		p.of[a] = own
	}
	p.mu.Unlock()
	late := time.NewTimer(p.wait)
	defer late.Stop()
	for _, c := range []chan struct{}{own, p.all} {
		select {
		case c <- struct{}{}:
			continue
		case <-late.C:
			err = fault.Unavailable.New("too many images are being fetched from other registries: try again")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if c == p.all {
			<-own
		}
		return nil, err
	}
	return func() { <-p.all; <-own }, nil
}

// maxRemembered is the number of failures, and of fresh tags, that are remembered.
const maxRemembered = 10_000

// failures remembers for a short time what other registries did not give, so that a client that asks again does not ask them. The zero
// value is ready.
type failures struct {
	mu  sync.Mutex
	all map[string]failure
}

type failure struct {
	err   error
	until time.Time
}

// of returns what was remembered of one of the keys; nil for nothing.
func (f *failures) of(now time.Time, keys ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range keys {
		if one, ok := f.all[k]; ok && now.Before(one.until) {
			return one.err
		}
	}
	return nil
}

func (f *failures) add(now time.Time, key string, err error, span time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) >= maxRemembered {
		for k, one := range f.all {
			if !now.Before(one.until) {
				delete(f.all, k)
			}
		}
	}
	if f.all == nil || len(f.all) >= maxRemembered {
		f.all = map[string]failure{}
	}
	f.all[key] = failure{err, now.Add(span)}
}

// The times for which failures are remembered.
const (
	maxRetryAfter   = time.Hour
	absentSpan      = 30 * time.Second // it does not exist there, or may not be read, or is wrong
	unreachableSpan = 5 * time.Second
	limitedSpan     = 30 * time.Second // without a Retry-After
)

// remember keeps a failure: a limit of the rate for the whole registry, another one for what was asked for.
func (s *Service) remember(o origin, key string, err error) {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return
	}
	if e.Reason == upstream.RateLimited {
		key = o.limitKey()
	}
	s.refused.add(s.now(), key, err, spanOf(e))
}

// spanOf returns how long a failure is remembered.
func spanOf(e *upstream.Error) time.Duration {
	switch {
	case e.Reason == upstream.RateLimited && e.After > 0:
		return min(e.After, maxRetryAfter)
	case e.Reason == upstream.RateLimited:
		return limitedSpan
	case e.Reason == upstream.Unavailable, e.Reason == upstream.Refused:
		return unreachableSpan
	}
	return absentSpan
}

// limitKey is the key of a limit of the rate: it is of the registry and the credentials.
func (o origin) limitKey() string { return "limit " + o.key() }

// key distinguishes rules and their versions, and upstreams of the proxy with theirs.
func (o origin) key() string {
	r := o.rule
	if o.upstream != nil {
		return strings.Join([]string{r.Registry.Account.String(), r.Registry.Region.String(), r.Prefix, r.Host, o.upstream.Version}, " ")
	}
	return strings.Join([]string{r.Registry.Account.String(), r.Registry.Region.String(), r.Prefix, r.Host,
		r.UpdatedAt.Format(time.RFC3339Nano)}, " ")
}

// freshness remembers until when tags need not be compared. The zero value is ready.
type freshness struct {
	mu  sync.Mutex
	all map[freshKey]time.Time
}

type freshKey struct {
	repository  int64
	tag, digest string
}

func (f *freshness) is(k freshKey, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Before(f.all[k])
}

func (f *freshness) set(k freshKey, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil || len(f.all) >= maxRemembered {
		f.all = map[freshKey]time.Time{}
	}
	f.all[k] = until
}
