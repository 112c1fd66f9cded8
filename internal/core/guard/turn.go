package guard

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// maxUnqueued is the maximum number of comparisons of a request that are made without waiting for a turn. They take about
// 0.3 ms. A hundred policies of the maximum length that are not made to be expensive need fewer.
const maxUnqueued = 1 << 15

// turn is held by the only decision at a time that may need more than maxUnqueued comparisons. Such decisions take up to 10 ms
// each, and come from a policy that is made to be expensive, together with a request that is. Without turns they occupy all
// processors, and every other request waits for several of them.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn. The caller calls release afterwards.
//
// Errors: the error of ctx, if it ends before.
func (t turn) take(ctx context.Context) (release func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// decide decides the request of the plan as it is, in its turn if the decisions of the plan need more than maxUnqueued
// comparisons.
//
// Errors: the error of ctx, if it ends before the decision.
func (p *plan) decide(ctx context.Context) (policy.Decision, error) {
	if err := ctx.Err(); err != nil {
		return policy.Decision{}, err
	}
	if p.left > 0 {
		d, work := policy.EvaluateWithin(&p.policies, &p.request, p.left)
		p.left -= work
		if !d.Excess {
			return d, ctx.Err()
		}
	}
	release, err := p.turn.take(ctx)
	if err != nil {
		return policy.Decision{}, err
	}
	defer release()
	return policy.Evaluate(&p.policies, &p.request), ctx.Err()
}

// explain returns the decision with its reasons. It is called after evaluate, and waits for the turn as that did.
//
// Errors: the error of ctx, if it ends before.
func (p *plan) explain(ctx context.Context) (policy.Why, error) {
	if p.left <= 0 {
		release, err := p.turn.take(ctx)
		if err != nil {
			return policy.Why{}, err
		}
		defer release()
	}
	return policy.Explain(&p.policies, &p.request), nil
}
