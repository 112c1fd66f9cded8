package guard

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// TakeTurn holds the turn of expensive decisions until release is called.
func (g *Guard) TakeTurn(ctx context.Context) (release func(), err error) { return g.turn.take(ctx) }

// DecideWithEachTag decides an ask for an image by its digest with all of its tags, none of which stands for another.
func (g *Guard) DecideWithEachTag(ctx context.Context, by identity.Caller, from Origin, a Ask) (policy.Decision, error) {
	who, err := g.identity.Subject(ctx, by)
	if err != nil {
		return policy.Decision{}, err
	}
	p, err := g.plan(ctx, who, from, &a, true)
	if err != nil {
		return policy.Decision{}, err
	}
	tags, err := g.meta.TagsLeadingTo(ctx, a.Repository.ID, a.Image.Digest)
	if err != nil {
		return policy.Decision{}, err
	}
	p.request.Context.SetList(imageTag, tags...)
	if p.releases != nil {
		p.releases(p.request.Context, tags)
	}
	return p.evaluate(ctx)
}

// DecideAlone returns the decision of an ask.
func (g *Guard) DecideAlone(ctx context.Context, by identity.Caller, from Origin, a Ask) (policy.Decision, error) {
	_, d, err := g.decided(ctx, by, from, &a)
	return d, err
}
