// Package ecr implements the operations of the ECR API: repositories, images, layers, policies and settings of a
// registry.
//
// Each operation is one method of [Service] with the name that it has in the ECR API. It takes the caller, the target,
// and the input. The target has been resolved and the guard has allowed the operation on it; the input has been checked
// against the model. An operation does not depend on a protocol and does not check permissions. The functions On…
// resolve the targets of requests.
package ecr

import (
	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/pullthrough"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Service implements the operations of ECR. It is safe for concurrent use.
type Service struct {
	meta     *meta.Store
	registry *registry.Service
	pull     *pullthrough.Service
	identity *identity.Service
	guard    *guard.Guard
	hosts    *endpoint.Map
	links    Links
	pages    pagetoken.Sealer
}

// Links makes signed links to layers.
type Links interface {
	// Make returns path and query of a link by which a client can download layer d with the permissions of c.
	Make(c identity.Caller, reg name.Registry, repo name.Repo, d name.Digest) string
}

// Options holds the parameters of New. All are required.
type Options struct {
	Meta        *meta.Store
	Registry    *registry.Service
	PullThrough *pullthrough.Service
	Identity    *identity.Service
	Guard       *guard.Guard
	Hosts       *endpoint.Map
	Links       Links
	Pages       pagetoken.Sealer
}

// New returns a Service.
func New(o Options) *Service {
	return &Service{meta: o.Meta, registry: o.Registry, pull: o.PullThrough,
		identity: o.Identity, guard: o.Guard, hosts: o.Hosts, links: o.Links, pages: o.Pages}
}

// BadMember returns the error for a member that breaks a rule which the model does not have, in the words of ECR.
func BadMember(member, reason string) *fault.Error {
	return fault.InvalidParameter.New("Invalid parameter at '%s' failed to satisfy constraint: '%s'", member, reason)
}

// pageSize returns the maximum number of entries of a page: maxResults, whose range has been checked against the model,
// or byDefault if the request has no maxResults.
func pageSize(maxResults *int32, byDefault int) int {
	if maxResults == nil {
		return byDefault
	}
	return int(*maxResults)
}

// resume decodes a nextToken of a listing into position, a pointer.
//
// Errors: fault.InvalidParameter.
func (s *Service) resume(scope, token string, position any) error {
	if err := s.pages.Listing(scope).OpenJSON(token, position); err != nil {
		return BadMember("NextToken", "must be a token of an earlier page of this listing").Because(err)
	}
	return nil
}
