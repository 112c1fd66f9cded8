package ecrin

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// maxWaiting is up to how many of each CountWaiting counts.
const maxWaiting = 100

// OnWaiting resolves the registry of which a caller counts what waits. Each part of the answer needs a permission too.
func OnWaiting(s *Service, _ context.Context, req guard.Request, in *ecrintypes.CountWaitingRequest) (t guard.Target[ecr.Registry],
	err error) {
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(at, ofRegistry(at, "access-request/*")), err
}

// CountWaiting counts what waits for somebody in a registry: open requests for access, for a caller who may ecrin:ListAccessRequests, and
// integrations of its account whose last test or use failed, for one who may ecrin:DescribeIntegrations; each up to 100.
func (s *Service) CountWaiting(ctx context.Context, by identity.Caller, r ecr.Registry, _ *ecrintypes.CountWaitingRequest) (
	out *ecrintypes.CountWaitingResponse, err error) {
	out = &ecrintypes.CountWaitingResponse{}
	requests := ofRegistry(r, "access-request/*")
	requests.Action = "ecrin:ListAccessRequests"
	if out.OpenAccessRequests, err = s.counted(ctx, by, r, requests, func() (int, error) {
		return s.meta.CountOpenAccessRequests(ctx, r.Registry, maxWaiting)
	}); err != nil {
		return nil, err
	}
	integrations := guard.Ask{Action: "ecrin:DescribeIntegrations", Owner: guard.OwnedBy(r.Account), Region: r.Region,
		Resource: meta.Integration{Account: r.Account, Name: "*"}.ARN()}
	out.FailingIntegrations, err = s.counted(ctx, by, r, integrations, func() (int, error) {
		return s.meta.CountFailingIntegrations(ctx, r.Account, maxWaiting)
	})
	return out, err
}

// counted returns a number for a caller who is allowed to do an ask, and nil for others.
func (s *Service) counted(ctx context.Context, by identity.Caller, r ecr.Registry, ask guard.Ask, count func() (int, error)) (*int32,
	error) {
	ok, err := s.guard.Allowed(ctx, by, r.From, ask)
	if err != nil || !ok {
		return nil, err
	}
	n, err := count()
	of := int32(n)
	return &of, err
}
