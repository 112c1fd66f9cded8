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
	Service   string // name of the API: ecr, sts, iam or ecrin
	Operation string // name of the operation, such as DescribeImages
	// Request holds the caller, who has been authenticated, and the origin. Operations whose input authenticates the
	// caller, such as AssumeRoleWithWebIdentity, ignore Request.By and verify the token in the input.
	Request guard.Request
	Input   awswire.Input // of the input type of the operation
	// Event is recorded in the audit trail. The caller of Do sets RequestID and From; Do sets the other fields.
	Event *guard.Event
	// Hold is called after the decision and before the operation with the bytes of stored content that the answer will hold in memory.
	// An error of it is that of the call.
	Hold func(ctx context.Context, bytes int64) error
}

// Do calls an operation: it checks the input against the model, resolves the target once, decides, runs the operation
// on the target of the decision, and writes the audit line. If the target changes between the decision and the action,
// the call starts again. All calls of operations are made by Do.
//
// It returns a value of the output type of the operation.
//
// Errors: fault.UnknownOperation, fault.UnsupportedOperation, fault.InvalidParameter (a precondition of an operation without one),
// fault.PreconditionFailed, *awswire.Violation, those of guard.Guard.Decide and
// guard.Guard.Settled, and those of the operation.
func (a *API) Do(ctx context.Context, c Call) (output any, err error) {
	s := serviceNamed(c.Service)
	if s == nil || s.operations[c.Operation] == nil {
		return nil, fault.UnknownOperation.New("%s has no operation %s", c.Service, c.Operation)
	}
	op := s.operations[c.Operation]
	if op.resolve == nil {
		return nil, op.unsupported()
	}
	if c.Request.If.Given() && !op.matches {
		return nil, fault.InvalidParameter.New("%s replaces nothing that If-Match could name", op.wire.Name)
	}
	if err := s.validate(c.Input); err != nil {
		return nil, err
	}
	partition := c.Request.Region.Partition()
	input := inDefaultPartition(c.Input, partition)
	// A call that ends before the decision, because the caller is unknown or the input is invalid, has no audit line.
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
		req.By = req.By.In(partition)
		target, err := op.resolve(a, ctx, &req, input)
		req.By = req.By.In(partition) // resolve sets the caller of a request without a signature
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
		if err := c.Hold(ctx, target.bytes); err != nil {
			return err
		}
		if op.long {
			leave, err := a.searches.Enter(ctx, req.By.LimitKey())
			if err != nil {
				return err
			}
			defer leave()
		}
		output, err = target.act(ctx, req.By)
		return err
	})
	if err == nil && op.quiet != nil && op.quiet(c.Event.Caller, c.Input) {
		c.Event.Name = ""
	}
	returned = true
	return inPartition(output, partition), s.errorIn(partition, err)
}

// fill sets the action of asks without one to that of the row, unless the target is the caller's own, and the reservation of all asks to
// that of the row.
func (op *operation) fill(asks []guard.Ask) []guard.Ask {
	for i := range asks {
		if asks[i].Action == "" && !asks[i].Own {
			asks[i].Action = op.action
		}
		asks[i].Reserved = op.reserved
	}
	return asks
}

func (op *operation) unsupported() error {
	return fault.UnsupportedOperation.New(
		"ecrin does not have the operation %s yet; docs/ecr-operations.md lists the operations that it has", op.wire.Name)
}

// resolved is the target of a call with the operation bound to it.
type resolved struct {
	asks   []guard.Ask
	absent error                                                      // see guard.Target.Absent
	bytes  int64                                                      // of stored content in the answer
	act    func(ctx context.Context, by identity.Caller) (any, error) // does the operation
}

// bind returns the resolver of a row: of returns the service, on resolves the target, and run does the operation on it.
func bind[S, In, T, Out any, P interface {
	*In
	awswire.Input
}](of func(*API) *S, on func(*S, context.Context, guard.Request, *In) (guard.Target[T], error),
	run func(*S, context.Context, identity.Caller, T, *In) (*Out, error)) resolver {
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
		r := resolved{asks: t.Asks, absent: t.Absent, act: func(ctx context.Context, by identity.Caller) (any, error) {
			return run(s, ctx, by, t.Value, (*In)(in))
		}}
		if v, ok := any(t.Value).(interface{ AnswerBytes() int64 }); ok {
			r.bytes = v.AnswerBytes()
		}
		return r, nil
	}
}
