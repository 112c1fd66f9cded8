package ecrin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// recomputed returns the explanation of a denied request of which the trail has the decision k. The decision is that of
// then, with the statements that denied it then; layers, findings, changes and condition keys are those of the current
// policies, and Note says so.
func (s *Service) recomputed(ctx context.Context, r *audit.Record, k *explain.Kept, origin kept) (*ecrintypes.Explanation, error) {
	out := unexplained(r)
	out.Action, out.Verdict, out.DecidedBy = k.Action, k.Verdict, k.DecidedBy
	out.At = awswire.At(r.Time)
	if k.Resource != "" {
		out.Resource = k.Resource
	}
	for _, one := range k.Statements {
		f := ecrintypes.Finding{Layer: one.Layer, Policy: one.Policy, Statement: one.Statement, Sid: one.Sid, Effect: string(policy.Deny)}
		if strings.HasPrefix(one.Policy, "arn:") {
			f.Policy, f.PolicyArn = "", one.Policy
		}
		out.Statements = append(out.Statements, f)
	}
	again, err := s.again(ctx, r, k, origin)
	var request policy.Request
	var why policy.Why
	if err == nil {
		request, why, err = s.guard.Reconsider(ctx, again)
	}
	if errors.Is(err, fault.NoSuchEntity) || errors.Is(err, fault.AccountNotFound) || errors.Is(err, errNotKept) {
		out.Note = "The current policies cannot be asked about this request: " + publicText(err) + "."
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	now := explain.Of(&request, why)
	out.Layers, out.Findings, out.Changes, out.Context = now.Layers, now.Findings, now.Changes, now.Context
	out.CurrentVerdict = now.Verdict
	switch {
	case now.Allowed:
		out.Note = "The policies have changed since then: the current ones allow this request."
	case now.Verdict != k.Verdict || now.DecidedBy != k.DecidedBy:
		out.Note = fmt.Sprintf("The policies have changed since then: now the %s policies deny this request (%s).", now.DecidedBy, now.Verdict)
	default:
		out.Text = now.Text // not cut
		out.Note = "Layers, statements and changes are those of the current policies, which decide this request as it was decided then."
	}
	if k.Omitted {
		out.Note += " Some condition keys or statements of that time were too long for the audit trail."
	}
	return out, nil
}

// errNotKept is the error of a request whose caller or resource is not in the trail in full.
var errNotKept = errors.New("its caller or its resource has a name that was too long for the audit trail")

func publicText(err error) string {
	if errors.Is(err, errNotKept) {
		return err.Error()
	}
	return strings.TrimSuffix(fault.From(err).Public, ".")
}

// again returns a recorded request in the form in which it can be decided again.
func (s *Service) again(ctx context.Context, r *audit.Record, k *explain.Kept, origin kept) (again guard.Recorded, err error) {
	again = guard.Recorded{At: r.Time, From: guard.Origin{Secure: k.Secure, UserAgent: r.UserAgent}}
	address := r.SourceIP
	if origin.address != "" {
		address, again.From.UserAgent = origin.address, origin.program
	}
	again.From.SourceIP, _ = netip.ParseAddr(address) // the zero Addr if the address is not known
	if again.Caller, err = callerOf(r); err != nil {
		return again, err
	}
	region, err := name.ParseRegion(r.Region)
	if err != nil && r.Region != "" {
		return again, err
	}
	a := guard.Ask{Region: region, Resource: "*", Owner: guard.OwnedBy(again.Caller.Account)}
	switch {
	case strings.HasSuffix(k.Resource, "…"):
		return again, errNotKept
	case k.Resource != "":
		a.Resource, a.Owner = k.Resource, guard.Unowned
	case len(r.Resources) > 0:
		arn := r.Resources[0].ARN
		if strings.HasSuffix(arn, "…") {
			return again, errNotKept
		}
		owner := guard.Unowned
		if account, err := name.ParseAccount(r.Resources[0].Account); err == nil {
			owner = guard.OwnedBy(account)
		}
		if a, err = s.onARN(ctx, guard.Request{By: again.Caller, Region: region}, arn, owner); err != nil {
			return again, err
		}
		a.Region, a.Owner = region, owner
	}
	a.Action = k.Action
	if strings.HasPrefix(a.Action, "sts:") && a.Resource != "*" {
		if a.Trust, err = s.trustOf(ctx, a.Resource); err != nil {
			return again, err
		}
	}
	for _, one := range k.Context {
		a.Keys = append(a.Keys, guard.ConditionKey{Name: one.Key, Values: one.Values, List: one.List})
	}
	again.Ask = a
	return again, nil
}

// callerOf returns the caller of a recorded request.
//
// Errors: errNotKept.
func callerOf(r *audit.Record) (identity.Caller, error) {
	i := &r.Identity
	c := identity.Caller{ARN: i.ARN, UserID: i.PrincipalID, Principal: i.PrincipalID, AccessKey: i.AccessKeyID}
	if account, err := name.ParseAccount(i.Account); err == nil {
		c.Account = account
	}
	if i.Session != nil {
		c.SessionKey = i.AccessKeyID
	}
	switch i.Type {
	case audit.Root:
		c.Kind = identity.Root
	case audit.IAMUser:
		c.Kind = identity.User
	case audit.AssumedRole:
		c.Kind = identity.RoleSession
		c.Principal, _, _ = strings.Cut(i.PrincipalID, ":")
	case audit.FederatedUser:
		if c.Kind = identity.FederatedUser; i.Session == nil {
			return c, errNotKept
		}
		c.Principal = i.Session.Issuer.PrincipalID
	case audit.WebIdentityUser:
		c.Kind, c.Principal, c.ARN = identity.WebIdentity, "", i.IdentityProvider
	case audit.AWSService:
		c.Kind, c.Principal = identity.AWSService, ""
	case audit.Customer:
		c.Kind, c.Principal = identity.Customer, ""
	default:
		c.Kind, c.Principal, c.SessionKey = identity.Anonymous, "", ""
	}
	if c.Principal == "" && strings.HasSuffix(c.ARN, "…") {
		return c, errNotKept
	}
	return c, nil
}
