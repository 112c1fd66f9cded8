package pullthrough

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func account(t *testing.T, id string) name.Account {
	t.Helper()
	a, err := name.ParseAccount(id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// An account that has all its places does not take those of another one, and whoever waits too long is refused.
func TestPlacesAreLimited(t *testing.T) {
	t.Parallel()
	var p places
	p.init(Limits{Fetches: 3, OfAccount: 2, OfCustomer: 1, Wait: time.Millisecond})
	a, b := holder{account: account(t, "111122223333")}, holder{account: account(t, "444455556666")}
	ctx := t.Context()
	var leave []func()
	take := func(what string, of holder, ok bool) {
		t.Helper()
		l, err := p.enter(ctx, of)
		if ok != (err == nil) || err != nil && !errors.Is(err, fault.Unavailable) {
			t.Fatalf("%s: got %v, want a place: %t", what, err, ok)
		}
		if ok {
			leave = append(leave, l)
		}
	}
	take("the first of a", a, true)
	take("the second of a", a, true)
	take("the third of a", a, false)
	take("the first of b", b, true)
	take("one above all", b, false)
	leave[0]()
	take("after one was left", b, true)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := p.enter(ended, a); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: got %v", err)
	}
	for _, l := range leave[1:] {
		l()
	}
	for i := range 2 {
		take(fmt.Sprint("afterwards ", i), a, true)
	}
}

// A customer that has all its places takes none of those of others, and holders without places are forgotten.
func TestPlacesOfCustomers(t *testing.T) {
	t.Parallel()
	var p places
	p.init(Limits{Fetches: 9, OfAccount: 3, OfCustomer: 2, Wait: time.Millisecond})
	one, two := holder{account(t, "111122223333"), "one"}, holder{account(t, "111122223333"), "two"}
	var leave []func()
	for i, c := range []struct {
		of holder
		ok bool
	}{{one, true}, {one, true}, {one, false}, {two, true}, {two, false}} { // the account has no fourth place
		l, err := p.enter(t.Context(), c.of)
		if c.ok != (err == nil) {
			t.Fatalf("%d, a place of %s: got %v, want one: %t", i, c.of.customer, err, c.ok)
		}
		if c.ok {
			leave = append(leave, l)
		}
	}
	for _, l := range leave {
		l()
	}
	if len(p.of) > 0 || len(p.all) > 0 {
		t.Errorf("afterwards: %d holders and %d places are kept", len(p.of), len(p.all))
	}
}

// Failures and fresh tags take bounded memory, however many there are, and end.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	var f failures
	var fresh freshness
	now := time.Now()
	for i := range 3 * maxRemembered {
		f.add(now, fmt.Sprint(i), errors.New("x"), time.Minute)
		fresh.set(freshKey{tag: fmt.Sprint(i)}, now.Add(time.Minute))
	}
	if len(f.all) > maxRemembered || len(fresh.all) > maxRemembered {
		t.Errorf("got %d failures and %d tags, want at most %d", len(f.all), len(fresh.all), maxRemembered)
	}
	last := fmt.Sprint(3*maxRemembered - 1)
	if f.of(now, last) == nil || f.of(now.Add(time.Minute), last) != nil {
		t.Error("the last failure is remembered for another time than a minute")
	}
}

// A limit of the rate holds for the whole rule, for the time of Retry-After but not longer than an hour; what is not a failure of the
// other registry is not remembered.
func TestFailuresAreRemembered(t *testing.T) {
	t.Parallel()
	now := time.Now()
	o := origin{rule: meta.CacheRule{Prefix: "x"}}
	for _, c := range []struct {
		err  error
		span time.Duration
		key  string
	}{
		{&upstream.Error{Reason: upstream.NotFound}, absentSpan, "k"},
		{&upstream.Error{Reason: upstream.Lied}, absentSpan, "k"},
		{&upstream.Error{Reason: upstream.Unavailable}, unreachableSpan, "k"},
		{&upstream.Error{Reason: upstream.RateLimited}, limitedSpan, o.limitKey()},
		{&upstream.Error{Reason: upstream.RateLimited, After: time.Minute}, time.Minute, o.limitKey()},
		{&upstream.Error{Reason: upstream.RateLimited, After: 24 * time.Hour}, time.Hour, o.limitKey()},
		{fault.QuotaExceeded.New("x"), 0, "k"},
	} {
		s := &Service{now: func() time.Time { return now }}
		s.remember(o, "k", c.err)
		before := s.refused.of(now.Add(c.span-time.Nanosecond), c.key) != nil
		if after := s.refused.of(now.Add(c.span), c.key) != nil; before != (c.span > 0) || after {
			t.Errorf("%v: remembered just before %s: %t, then: %t", c.err, c.span, before, after)
		}
	}
}

// Source: ECR user guide, customizing repository prefixes for pull through cache rules.
func TestMap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ prefix, there, repo, want string }{
		{"p", "ROOT", "p/x/y", "x/y"}, {"ROOT", "ROOT", "x/y", "x/y"}, {"team-a", "team-a", "team-a/x", "team-a/x"},
		{"p", "", "p/x/y", "x/y"}, {"ROOT", "", "x/y", "x/y"}, // rules without an upstream prefix
		{"my-app", "upstream-app", "my-app/z", "upstream-app/z"}, {"p", "ROOT", "p", ""}, {"p", "ROOT", "px/y", ""}, {"p/q", "ROOT", "p/x", ""},
		{"p/q", "r/s", "p/q/x", "r/s/x"},
	} {
		got, ok := Map(meta.CacheRule{Prefix: c.prefix, UpstreamPrefix: c.there}, c.repo)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("prefix %s to %s: %s is %q, %t there, want %q", c.prefix, c.there, c.repo, got, ok, c.want)
		}
	}
}

// Customers and accounts that have layers passed on slowly leave room for those that have few.
func TestPassesLeaveRoom(t *testing.T) {
	t.Parallel()
	var p passes
	a, b, c := account(t, "111122223333"), account(t, "444455556666"), account(t, "777788889999")
	var leave []func()
	take := func(of name.Account, customer string, n int) (got int) {
		for range n {
			l, err := p.enter(holder{of, customer})
			if err == nil {
				leave, got = append(leave, l), got+1
			} else if !errors.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
		}
		return got
	}
	expect := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %d, want %d", what, got, want)
		}
	}
	expect("one customer", take(a, "greedy", 1000), maxPassesOfAccount)
	expect("another customer of the account", take(a, "other", 1000), fewPasses)
	expect("another account", take(b, "", 1000), maxPasses-maxPassesOfAccount-fewPasses)
	expect("an account when all are taken", take(c, "", 1000), fewPasses)
	for i := range 500 {
		take(a, fmt.Sprint("many ", i), 1)
		take(account(t, fmt.Sprintf("%012d", i+1)), "", 1)
	}
	expect("all", p.all, 2*maxPasses)
	if of := p.accounts[a]; of > 2*maxPassesOfAccount {
		t.Errorf("the account has %d, want at most %d", of, 2*maxPassesOfAccount)
	}
	for _, l := range leave {
		l()
		l() // a second time changes nothing
	}
	if p.all != 0 || len(p.accounts) != 0 || len(p.customers) != 0 {
		t.Errorf("after all have left: got %d, %v, %v", p.all, p.accounts, p.customers)
	}
}
