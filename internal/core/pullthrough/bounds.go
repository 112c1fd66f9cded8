package pullthrough

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// places limits the requests to other registries.
type places struct {
	all             chan struct{}
	wait            time.Duration
	each, customers int

	mu sync.Mutex
	of map[holder]*held
}

// holder is an account or, in one, a customer of an application.
type holder struct {
	account  name.Account
	customer string // id; "" for the account
}

// held are the places of a holder.
type held struct {
	taken chan struct{}
	users int // that have or await a place
}

func (p *places) init(l Limits) {
	p.all, p.wait, p.each, p.customers, p.of = make(chan struct{}, l.Fetches), l.Wait, l.OfAccount, l.OfCustomer, map[holder]*held{}
}

// use returns the places of a holder, which are kept until done is called.
func (p *places) use(h holder) (c chan struct{}, done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.of[h]
	if own == nil {
		n := p.each
		if h.customer != "" {
			n = p.customers
		}
		own = &held{taken: make(chan struct{}, n)}
		p.of[h] = own
	}
	own.users++
	return own.taken, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(p.of, h)
		}
	}
}

// enter takes a place for an account, or for a customer of an application of it; leave frees it. The place of the customer comes first and
// that of the account next, so that none waits in place of others.
//
// Errors: fault.Unavailable (no place was free in time), that of ctx.
func (p *places) enter(ctx context.Context, by holder) (leave func(), err error) {
	var undo []func()
	leave = func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	own := []chan struct{}{}
	for _, h := range []holder{by, {account: by.account}} {
		c, done := p.use(h)
		own, undo = append(own, c), append(undo, done)
		if by.customer == "" {
			break
		}
	}
	late := time.NewTimer(p.wait)
	defer late.Stop()
	for _, c := range append(own, p.all) {
		select {
		case c <- struct{}{}:
			undo = append(undo, func() { <-c })
			continue
		case <-late.C:
			err = fault.Unavailable.New("too many images are being fetched from other registries: try again")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		leave()
		return nil, err
	}
	return leave, nil
}

// passes limits the layers that are passed on, for as long as their clients read them. The zero value is ready.
type passes struct {
	mu        sync.Mutex
	all       int
	accounts  map[name.Account]int
	customers map[holder]int
}

// The layers that are passed on at the same time, in all and for one account. An account that has fewer than fewPasses still has room
// beyond maxPasses, and a customer beyond maxPassesOfAccount, up to twice these numbers: slow readers take no room of others.
const (
	maxPasses          = 128
	maxPassesOfAccount = 64
	fewPasses          = 4
)

// enter counts a layer of a holder until leave is called.
//
// Errors: fault.Unavailable (there are too many).
func (p *passes) enter(by holder) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of, own := p.accounts[by.account], p.customers[by]
	if p.all >= maxPasses && of >= fewPasses || of >= maxPassesOfAccount && own >= fewPasses ||
		p.all >= 2*maxPasses || of >= 2*maxPassesOfAccount {
		return nil, fault.Unavailable.New("too many layers are being passed on from other registries: try again")
	}
	if p.accounts == nil {
		p.accounts, p.customers = map[name.Account]int{}, map[holder]int{}
	}
	p.all++
	p.accounts[by.account]++
	p.customers[by]++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all--
		if p.accounts[by.account]--; p.accounts[by.account] == 0 {
			delete(p.accounts, by.account)
		}
		if p.customers[by]--; p.customers[by] == 0 {
			delete(p.customers, by)
		}
	}), nil
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
		s.tell(o, meta.CacheCount{Limited: 1, LimitedAt: s.now()})
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
