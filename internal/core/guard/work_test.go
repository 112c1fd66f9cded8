package guard_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
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
