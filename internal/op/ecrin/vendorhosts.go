package ecrin

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

func showHost(h vendor.Host, a meta.Application) ecrintypes.ApplicationHost {
	return ecrintypes.ApplicationHost{Host: h.Host, ApplicationSlug: a.Slug, CreatedAt: awswire.Time{Time: h.CreatedAt},
		CreatedBy: h.CreatedBy}
}

// PutApplicationHost gives an application a host name, at which its customers pull and those of no other application.
//
// Errors: those of vendor.Service.AddHost.
func (s *Service) PutApplicationHost(ctx context.Context, by identity.Caller, at Shipped, in *ecrintypes.ApplicationHostRequest) (
	*ecrintypes.ApplicationHostResponse, error) {
	h, err := s.vendor.AddHost(ctx, at.Application, in.Host, at.Host, by.Kind == identity.Operator, by.ARN)
	return &ecrintypes.ApplicationHostResponse{Host: showHost(h, at.Application)}, err
}

// ListApplicationHosts returns the host names of an application in their order.
func (s *Service) ListApplicationHosts(ctx context.Context, _ identity.Caller, at Shipped, _ *ecrintypes.ApplicationRequest) (
	*ecrintypes.ListApplicationHostsResponse, error) {
	all, err := s.meta.ApplicationHosts(ctx, at.ID)
	out := &ecrintypes.ListApplicationHostsResponse{Hosts: []ecrintypes.ApplicationHost{}}
	for _, h := range all {
		out.Hosts = append(out.Hosts, showHost(h, at.Application))
	}
	return out, err
}

// DeleteApplicationHost ends what PutApplicationHost has begun, from the next request on.
//
// Errors: fault.ObjectNotFound.
func (s *Service) DeleteApplicationHost(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.ApplicationHostRequest) (
	*ecrintypes.DeleteApplicationHostResponse, error) {
	host, _ := vendor.ParseHost(in.Host)
	return &ecrintypes.DeleteApplicationHostResponse{}, s.meta.DeleteApplicationHost(ctx, at.ID, host)
}
