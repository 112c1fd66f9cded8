package guard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// A request whose values take too much work to match with the policies is denied with this reason, and a request that was
// cancelled is not decided.
func TestDecideBoundsTheWorkOfPolicies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:*",
		"Condition":{"StringLike":{"aws:UserAgent":"*`+strings.Repeat("a?", 100)+`b*"}}}]}`)
	_, user := f.user(home, "user", allow("*", "*"))
	ask := pull(home, "app")
	ask.From.UserAgent = "docker/29"
	f.decide("an ordinary user agent", user, ask, "")
	ask.From.UserAgent = strings.Repeat("a", 20<<10)
	f.decide("a long user agent", user, ask, "because the request takes too much work to match with the wildcards of the policies")
	var denial *guard.Denial
	if err := f.authorize(user, ask); !errors.As(err, &denial) || !denial.Why.Excess || !strings.Contains(denial.Error(), "too much work") {
		t.Errorf("got %v, want a denial that says why", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ask.From.UserAgent = "docker/29"
	if err := f.guard.Decide(ctx, user, ask.From, new(guard.Record), f.resolved(ask)); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled request: got %v, want context.Canceled", err)
	}
}

// While a decision has the turn of expensive ones, another expensive one waits, for no longer than its client, and all others go on.
func TestExpensiveDecisionsTakeTurns(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:*",
		"Condition":{"StringLike":{"aws:UserAgent":"*`+strings.Repeat("a?", 100)+`b*"}}}]}`)
	_, user := f.user(home, "user", allow("*", "*"))
	_, stranger := f.user(home, "stranger", "")
	cheap, costly := pull(home, "app"), pull(home, "app")
	cheap.From.UserAgent, costly.From.UserAgent = "docker/29", strings.Repeat("a", 2000)
	release, err := f.guard.TakeTurn(t.Context())
	f.must(err)
	f.decide("an ordinary request beside an expensive one", user, cheap, "")
	for who, by := range map[string]identity.Caller{"that is allowed": user, "that is denied": stranger} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := f.guard.Decide(ctx, by, costly.From, new(guard.Record), f.resolved(costly))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an expensive request %s, while another has the turn: got %v, want that it waits until its client ends", who, err)
		}
	}
	decided := make(chan error, 1)
	go func() {
		decided <- f.guard.Decide(t.Context(), user, costly.From, new(guard.Record), f.resolved(costly))
	}()
	release()
	if err := <-decided; err != nil {
		t.Errorf("after the turn of the other: got %v, want that the request is allowed", err)
	}
	f.decide("the next expensive request", user, costly, "")
}

// What policies allow to anonymous callers beyond reads is denied by the settings, and the explanation says so. What
// policies deny is explained by them.
func TestAnonymousCallersOnlyRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", grant("*", "ecr:*"))
	f.repository(home, "closed", "")
	anonymous := identity.Caller{Kind: identity.Anonymous, UserID: "anonymous"}
	push := func(repo string) access {
		a := pull(home, repo)
		a.Action = "ecr:PutImage"
		return a
	}
	const settings = "because clients without credentials can only pull, list and describe"
	f.decide("a pull", anonymous, pull(home, "app"), "")
	f.decide("a push", anonymous, push("app"), settings)
	if _, _, err := f.guard.Explain(t.Context(), "*", guard.Origin{}, f.resolved(push("app"))); !errors.Is(err,
		fault.InvalidInput) || !strings.Contains(err.Error(), settings) {
		t.Errorf("the explanation of a push that policies allow: got %v, want fault.InvalidInput with %q", err, settings)
	}
	if _, why, err := f.guard.Explain(t.Context(), "*", guard.Origin{}, f.resolved(push("closed"))); err != nil || why.Allowed() {
		t.Errorf("the explanation of a push that no policy allows: got %v, %v; want a denial by policies", why.Verdict, err)
	}
	f.guard = guard.New(f.meta, f.Service, f.now, guard.Options{AnonymousWrite: true})
	f.decide("a push, with the setting", anonymous, push("app"), "")
	f.decide("a push that no policy allows, with the setting", anonymous, push("closed"),
		"because no resource-based policy allows the ecr:PutImage action")
}
