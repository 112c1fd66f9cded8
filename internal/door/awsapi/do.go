package awsapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Call is one call of an operation.
type Call struct {
	Service   string // the name of the API: ecr, sts, iam or ecrin
	Operation string // as in the API, such as DescribeImages
	// Request is who calls, and from where. The caller has been authenticated before. Operations that carry their own proof
	// of who calls do not read Request.By: the token in their input is verified instead.
	Request guard.Request
	Input   awswire.Input // the type of the operation's request
	// Event is what the audit trail keeps. The RequestID, the address and the agent are set by whoever calls Do, all else by Do.
	Event *guard.Event
}

// Do is the one way to an operation, for the HTTP door, the console and tests alike: it checks the input by the rules of
// the model, resolves the target once, has the guard decide, runs the operation on what was decided, and writes the audit
// line. When the target changes between decision and action the call starts again.
//
// It returns the type of the operation's answer. Errors: fault.UnknownOperation, fault.UnsupportedOperation, *awswire.Violation,
// those of guard.Guard.Decide and guard.Guard.Settled, and those of the operation.
func (a *API) Do(ctx context.Context, c Call) (output any, err error) {
	s := serviceNamed(c.Service)
	if s == nil || s.operations[c.Operation] == nil {
		return nil, fault.UnknownOperation.New("%s has no operation %s", c.Service, c.Operation)
	}
	op := s.operations[c.Operation]
	if op.resolve == nil {
		return nil, op.unsupported()
	}
	if err := s.validate(c.Input); err != nil {
		return nil, err
	}
	// What is not decided about, because the caller is unknown or the request cannot be read, has no line.
	begun, returned := false, false
	defer func() {
		if c.Event.Err = err; !returned {
			c.Event.Err = errors.New("panic")
		}
		if begun {
			a.trail.End(ctx, c.Event)
		}
	}()
	err = a.guard.Settled(ctx, func() error {
		req := c.Request
		target, err := op.resolve(a, ctx, &req, c.Input)
		if err != nil && op.unsigned && req.By == (identity.Caller{}) {
			return err
		}
		if !begun {
			begun = true
			s.describe(c.Event, op, req, c.Input)
			ctx = a.trail.Begin(ctx, c.Event)
		}
		if err != nil {
			return err
		}
		if err := a.guard.Decide(ctx, req.By, req.From, &c.Event.Record, op.fill(target.asks)...); err != nil {
			return err
		}
		if target.absent != nil {
			return target.absent
		}
		output, err = target.act(ctx, req.By)
		return err
	})
	if err == nil && op.quiet != nil && op.quiet(c.Event.Caller, c.Input) {
		c.Event.Name = ""
	}
	returned = true
	return output, err
}

// fill gives the action of the row to the asks that have none, and the row's reservation to all.
func (op *operation) fill(asks []guard.Ask) []guard.Ask {
	for i := range asks {
		if asks[i].Action == "" {
			asks[i].Action = op.action
		}
		asks[i].Reserved = op.reserved
	}
	return asks
}

func (op *operation) unsupported() error {
	return fault.UnsupportedOperation.New("ecrin does not have the operation %s yet; docs/ecr-operations.md lists those it has", op.wire.Name)
}

// resolved is the target of a call with the operation bound to it.
type resolved struct {
	asks   []guard.Ask
	absent error
	act    func(ctx context.Context, by identity.Caller) (any, error)
}

// bind makes the resolver of a row: on resolves the target, run acts on it.
func bind[S, In, T, Out any, P interface {
	*In
	awswire.Input
}](of func(*API) *S, on func(*S, context.Context, guard.Request, *In) (guard.Target[T], error), run func(*S, context.Context, identity.Caller, T, *In) (*Out, error)) resolver {
	return func(a *API, ctx context.Context, req *guard.Request, input awswire.Input) (resolved, error) {
		in, ok := input.(P)
		if !ok {
			return resolved{}, fmt.Errorf("awsapi: the input is a %T, not a %T", input, in)
		}
		s := of(a)
		t, err := on(s, ctx, *req, (*In)(in))
		if err != nil {
			return resolved{}, err
		}
		return resolved{t.Asks, t.Absent, func(ctx context.Context, by identity.Caller) (any, error) { return run(s, ctx, by, t.Value, (*In)(in)) }}, nil
	}
}
