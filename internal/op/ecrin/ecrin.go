// Package ecrin does the operations that are ecrin's own: accounts and their keys, docker tokens, the history of tags,
// deleted images, access to repositories explained and granted, control policies, and the audit trail.
//
// Each operation is one method of [Service]. It takes the caller, the target that was resolved and decided about before,
// and the request, which has been held to the rules of the model. It knows no protocol and never asks who may do what. The
// functions On… resolve the targets of requests.
package ecrin

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// Service does ecrin's own operations. Safe for concurrent use.
type Service struct {
	meta     *meta.Store
	identity *identity.Service
	guard    *guard.Guard
	ecr      *ecr.Service
	trail    Trail
	hosts    *endpoint.Map
	pages    pagetoken.Sealer
	reserved func(action string) guard.Reserved
	now      func() time.Time
}

// Trail is the audit trail, for those who read it.
type Trail interface {
	// Search gives lines, after all that has happened until now is in them.
	Search(ctx context.Context, q audit.Query, cursor string, limit int) (audit.Page, error)
}

// Options are what New needs; all are required.
type Options struct {
	Meta     *meta.Store
	Identity *identity.Service
	Guard    *guard.Guard
	ECR      *ecr.Service
	Trail    Trail
	Hosts    *endpoint.Map
	Pages    pagetoken.Sealer
	Reserved func(action string) guard.Reserved // for whom an action of the operation tables is reserved
	Now      func() time.Time
}

// New makes the service.
func New(o Options) *Service {
	return &Service{
		meta: o.Meta, identity: o.Identity, guard: o.Guard, ecr: o.ECR, trail: o.Trail, hosts: o.Hosts, pages: o.Pages,
		reserved: o.Reserved, now: o.Now,
	}
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
		return ecr.BadMember("NextToken", "must be a token of an earlier page of this listing").Because(err)
	}
	return nil
}
