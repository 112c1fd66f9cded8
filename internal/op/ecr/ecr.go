// Package ecr does the operations of the ECR API: repositories, images, layers, policies and settings of a registry.
//
// Each operation is one method of [Service], named as in the ECR API. It takes the caller, the target that was resolved and
// decided about before, and the request, which has been held to the rules of the model. It knows no protocol and never
// asks who may do what. The functions On… resolve the targets of requests.
package ecr

import (
	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Service does the operations of ECR. Safe for concurrent use.
type Service struct {
	meta     *meta.Store
	registry *registry.Service
	identity *identity.Service
	guard    *guard.Guard
	hosts    *endpoint.Map
	links    Links
	pages    pagetoken.Sealer
}

// Links makes direct addresses of layers.
type Links interface {
	// Make gives path and query of an address that is good for the caller.
	Make(c identity.Caller, reg name.Registry, repo name.Repo, d name.Digest) string
}

// Options are what New needs; all are required.
type Options struct {
	Meta     *meta.Store
	Registry *registry.Service
	Identity *identity.Service
	Guard    *guard.Guard
	Hosts    *endpoint.Map
	Links    Links
	Pages    pagetoken.Sealer
}

// New makes the service.
func New(o Options) *Service {
	return &Service{meta: o.Meta, registry: o.Registry, identity: o.Identity, guard: o.Guard, hosts: o.Hosts, links: o.Links, pages: o.Pages}
}

// BadMember is the answer for a member that breaks a rule which the model does not state, in the words of ECR.
func BadMember(member, reason string) *fault.Error {
	return fault.InvalidParameter.New("Invalid parameter at '%s' failed to satisfy constraint: '%s'", member, reason)
}

// pageSize is what maxResults asks for; the model has checked its range.
func pageSize(maxResults *int32, without int) int {
	if maxResults == nil {
		return without
	}
	return int(*maxResults)
}

// resume reads a nextToken of a listing into position. Errors: fault.InvalidParameter.
func (s *Service) resume(scope, token string, position any) error {
	if err := s.pages.Listing(scope).OpenJSON(token, position); err != nil {
		return BadMember("NextToken", "must be a token of an earlier page of this listing").Because(err)
	}
	return nil
}
