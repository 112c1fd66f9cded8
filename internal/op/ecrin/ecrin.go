// Package ecrin implements the operations that AWS does not have: accounts and their keys, docker tokens, the history
// of tags, deleted images, deletion protection, explaining and granting access to repositories, control policies, the
// audit trail, background work, and the verification of what is stored.
//
// Each operation is one method of [Service]. It takes the caller, the target, and the input. The target has been
// resolved and the guard has allowed the operation on it; the input has been checked against the model. An operation
// does not depend on a protocol and does not check permissions. The functions On… resolve the targets of requests.
package ecrin

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/configrepo"
	"github.com/ecrin-dev/ecrin/internal/core/events"
	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/core/replication"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Service implements the operations of the ecrin API. It is safe for concurrent use.
type Service struct {
	meta     *meta.Store
	identity *identity.Service
	guard    *guard.Guard
	ecr      *ecr.Service
	registry *registry.Service
	copies   *replication.Service
	events   *events.Service
	remotes  *integration.Service
	configs  *configrepo.Service
	vendor   *vendor.Service
	keys     Keys
	trail    Trail
	hosts    *endpoint.Map
	pages    pagetoken.Sealer
	reserved func(action string) guard.Reserved
	doctor   Doctor
	now      func() time.Time

	accessFor time.Duration
}

// Trail reads the audit trail.
type Trail interface {
	// Search returns one page of lines. It includes everything that was committed before the call; see
	// audit.Log.Search.
	Search(ctx context.Context, q audit.Query, cursor string, limit int) (audit.Page, error)
	// Representative returns the id of a request with a line that stands for the given one, which has been counted and has no
	// line; "" if none is known. alike reports whether both failed for the same reason.
	Representative(requestID string) (of string, alike bool)
}

// Keys seals secrets.
type Keys interface {
	// SealForeign seals credentials for another service, which open only with the same context.
	SealForeign(context string, s secret.String) []byte
}

// Options holds the parameters of New. All are required.
type Options struct {
	Meta     *meta.Store
	Identity *identity.Service
	Guard    *guard.Guard
	ECR      *ecr.Service
	Registry *registry.Service
	Copies   *replication.Service
	Events   *events.Service
	Remotes  *integration.Service
	Configs  *configrepo.Service
	Vendor   *vendor.Service
	Keys     Keys
	Trail    Trail
	Hosts    *endpoint.Map
	Pages    pagetoken.Sealer
	Reserved func(action string) guard.Reserved // the column Reserved of an action in the operation tables
	Doctor   Doctor
	Now      func() time.Time
	// AccessFor is the longest time for which access can be granted; 0 turns requests for access off.
	AccessFor time.Duration
}

// New returns a Service.
func New(o Options) *Service {
	return &Service{
		meta: o.Meta, identity: o.Identity, guard: o.Guard, ecr: o.ECR, registry: o.Registry, copies: o.Copies, keys: o.Keys,
		events: o.Events, remotes: o.Remotes, configs: o.Configs, vendor: o.Vendor,
		trail: o.Trail, doctor: o.Doctor, hosts: o.Hosts, pages: o.Pages, reserved: o.Reserved, now: o.Now,
		accessFor: o.AccessFor,
	}
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
		return ecr.BadMember("NextToken", "must be a token of an earlier page of this listing").Because(err)
	}
	return nil
}
