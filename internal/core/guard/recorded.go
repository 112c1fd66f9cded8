package guard

import (
	"context"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Recorded is an earlier request that policies decided, as the audit trail has it.
type Recorded struct {
	Caller identity.Caller
	From   Origin
	At     time.Time
	// Ask has the action and the resource. Known is what is known of the resource now. Keys are the condition keys that the
	// request had, also those of the caller and of the resource; they replace those of now.
	Ask Ask
}

// Reconsider decides a recorded request by the current policies, and returns the decision with all reasons. It decides what
// policies say, also where a setting denies the request whatever they say.
//
// Errors: fault.NoSuchEntity, fault.AccountNotFound (the principal was deleted); an error without a code as for Decide.
func (g *Guard) Reconsider(ctx context.Context, r Recorded) (policy.Request, policy.Why, error) {
	fail := func(err error) (policy.Request, policy.Why, error) { return policy.Request{}, policy.Why{}, err }
	who, err := g.identity.Subject(ctx, r.Caller)
	if errors.Is(err, fault.AccessKeyNotFound) { // the session has ended, and its policies are not known any more
		who, err = g.identity.Named(ctx, r.Caller.ARN)
	}
	if err != nil {
		return fail(err)
	}
	a := r.Ask
	a.Keys = nil
	p, err := g.plan(ctx, who, r.From, &a, true)
	if err != nil {
		return fail(err)
	}
	p.request.Context.Time = r.At
	for _, k := range r.Ask.Keys {
		if k.List {
			p.request.Context.SetList(k.Name, k.Values...)
		} else if len(k.Values) > 0 {
			p.request.Context.Set(k.Name, k.Values[0])
		}
	}
	if _, err := p.evaluate(ctx); err != nil {
		return fail(err)
	}
	why, err := p.explain(ctx)
	if err != nil {
		return fail(err)
	}
	return p.request, why, nil
}
