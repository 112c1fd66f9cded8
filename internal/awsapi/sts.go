package awsapi

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/sts"
	"github.com/ecrin-dev/ecrin/internal/ststypes"
)

// run makes an operation of STS one of this door.
func run[In, Out any](do func(*sts.Service, context.Context, identity.Caller, *In) (*Out, error)) func(*API, *call, *In) (*Out, error) {
	return func(a *API, c *call, in *In) (*Out, error) { return do(a.sts, c.ctx, c.caller, in) }
}

// runDecided makes one that has to know what it was allowed to do.
func runDecided[In, Out any](do func(*sts.Service, context.Context, identity.Caller, []identity.Access, *In) (*Out, error)) func(*API, *call, *In) (*Out, error) {
	return func(a *API, c *call, in *In) (*Out, error) { return do(a.sts, c.ctx, c.caller, c.decided, in) }
}

// unsigned marks an operation that carries its own proof of who calls; as reads it.
func unsigned(r row, as func(*API, *call, awswire.Input) (identity.Caller, error)) row {
	r.op.as = as
	return r
}

// inRegion sets where a right is asked for.
func inRegion(c *call, all []identity.Access, err error) ([]identity.Access, error) {
	for i := range all {
		all[i].Region = c.region
	}
	return all, err
}

func onAssumedRole(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	all, err := a.sts.AssumeRoleAccess(c.ctx, c.caller, in.(*ststypes.AssumeRoleRequest))
	return inRegion(c, all, err)
}

func onFederation(a *API, c *call, in awswire.Input) ([]identity.Access, error) {
	all, err := a.sts.FederationAccess(c.ctx, c.caller, in.(*ststypes.GetFederationTokenRequest))
	return inRegion(c, all, err)
}

// asVouched is the caller that an identity provider vouches for.
func asVouched(a *API, c *call, in awswire.Input) (identity.Caller, error) {
	caller, all, err := a.sts.WebIdentity(c.ctx, in.(*ststypes.AssumeRoleWithWebIdentityRequest))
	c.vouched = all
	return caller, err
}

// onVouched is what the token of asVouched is good for.
func onVouched(_ *API, c *call, _ awswire.Input) ([]identity.Access, error) {
	return inRegion(c, c.vouched, nil)
}
