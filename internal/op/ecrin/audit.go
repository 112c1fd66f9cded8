package ecrin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxTrailBytes is how much of the trail a page of ListAuditEvents reads, which takes about 50 ms.
const maxTrailBytes = 48 << 20

// ListAuditEvents returns one page of the lines of the audit trail. A page can have fewer lines than it may have, or none, and a token,
// because it reads 48 MiB. If an event concerns two accounts, the line
// contains only the reasons that the policies of the caller's account gave.
//
// Errors: fault.InvalidParameter (the token), and those of audit.Log.Search.
func (s *Service) ListAuditEvents(ctx context.Context, by identity.Caller, t Trails,
	in *ecrintypes.ListAuditEventsRequest) (*ecrintypes.ListAuditEventsResponse, error) {
	q := audit.Query{
		Account: t.Account, Principal: in.Principal, EventName: in.EventName, Resource: in.Resource, RequestID: in.RequestId,
		OnlyDenied: in.Denied != nil && *in.Denied, OnlyChanges: in.Changes != nil &&
			*in.Changes, OldestFirst: in.OldestFirst != nil && *in.OldestFirst, MaxBytes: maxTrailBytes,
	}
	if in.Since != nil {
		q.Since = in.Since.Time
	}
	if in.Until != nil {
		q.Until = in.Until.Time
	}
	limit := 0
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	// The token is valid with any account and filter, because each page is authorized and filtered by its own request.
	const scope = "trail"
	var from string
	if err := s.resume(scope, in.NextToken, &from); err != nil {
		return nil, err
	}
	page, err := s.trail.Search(ctx, q, from, limit)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListAuditEventsResponse{Events: []string{}}
	if page.Next != "" {
		out.NextToken = s.pages.Listing(scope).SealJSON(page.Next)
	}
	for _, e := range page.Events {
		line := e.Line
		if sharesTrail(by, &e.Record) {
			if line, err = ownSide(e.Record, by.Account.String()); err != nil {
				return nil, err
			}
		}
		out.Events = append(out.Events, string(line))
	}
	return out, nil
}

// ExplainRequest returns why an earlier request was denied: the decision of then, and the reasons that the current policies
// give for the recorded request, with a note that says so. Lines of earlier versions of the program have the reasons of
// then. The explanation of a request that was allowed has none.
//
// Errors: fault.RequestNotFound (the trail has no line of the request, or only one that stands for requests that failed for different
// reasons, or the request was not denied).
func (s *Service) ExplainRequest(ctx context.Context, by identity.Caller, t Trails,
	in *ecrintypes.ExplainRequestRequest) (*ecrintypes.ExplainRequestResponse, error) {
	// Lines of denied requests are found without reading the others.
	page, err := s.trail.Search(ctx, audit.Query{Account: t.Account, RequestID: in.RequestId, OnlyDenied: true}, "", 10)
	if err == nil && len(page.Events) == 0 {
		page, err = s.trail.Search(ctx, audit.Query{Account: t.Account, RequestID: in.RequestId}, "", 10)
	}
	if err != nil {
		return nil, err
	}
	note := ""
	if of, alike := s.trail.Representative(in.RequestId); len(page.Events) == 0 && of != "" {
		if !alike {
			return nil, mixed(in.RequestId)
		}
		note = "This request was counted together with others of the same principal, action, error and resource, and has no line; " +
			"this is the explanation of " + of + "."
		if page, err = s.trail.Search(ctx, audit.Query{Account: t.Account, RequestID: of}, "", 10); err != nil {
			return nil, err
		}
	}
	if len(page.Events) == 0 {
		return nil, fault.RequestNotFound.New(
			"the audit trail has no request with the id %s: of alike refusals only the first of each minute have a line (`ecrin audit --denied`)",
			name.Clip(in.RequestId))
	}
	r := page.Events[0].Record
	for _, other := range page.Events[1:] {
		if r.ErrorCode == "" { // a request that failed after its change has two lines
			r = other.Record
		}
	}
	kept, err := keptOf(&r)
	if err != nil {
		return nil, err
	}
	if kept.counted.Requests > 0 && kept.counted.Scope != audit.CountedCause {
		return nil, mixed(in.RequestId)
	}
	out := kept.explanation
	if kept.decision != nil {
		if out, err = s.recomputed(ctx, &r, kept.decision, kept); err != nil {
			return nil, err
		}
	}
	switch {
	case out != nil && sharesTrail(by, &r):
		keepSide(out, r.Identity.Account == by.Account.String())
	case out != nil:
	case kept.members["cause"] != nil: // the credentials were refused
		out = unexplained(&r)
		if out.Text, err = kept.refusal(); err != nil {
			return nil, err
		}
	case r.ErrorCode != "" && r.ErrorCode != denied:
		return nil, fault.RequestNotFound.New("the request %s was not refused by a policy: it failed with %s: %s",
			name.Clip(in.RequestId), r.ErrorCode, r.ErrorMessage)
	default:
		out = unexplained(&r)
	}
	if out.Text == "" {
		out.Text = r.ErrorMessage
	}
	if n := kept.counted.Requests; n > 0 {
		note = fmt.Sprintf("This line stands for %d requests of the same %s.", n, kept.counted.Scope)
	}
	out.Note = strings.TrimSpace(note + " " + out.Note)
	out.At, out.RequestId = awswire.At(r.Time), in.RequestId
	return &ecrintypes.ExplainRequestResponse{Explanation: *out}, nil
}

// mixed returns the error for a request that was counted together with others and whose reason is not known.
func mixed(request string) error {
	return fault.RequestNotFound.New("the request %s was counted together with requests that failed for other reasons: its own is in the log only",
		name.Clip(request))
}

// denied is the error code of a request whose caller lacks the permission.
const denied = "AccessDenied"

// unexplained returns the explanation of a request that was allowed, or that was denied without an evaluation of
// policies.
func unexplained(r *audit.Record) *ecrintypes.Explanation {
	out := &ecrintypes.Explanation{
		Allowed: r.ErrorCode == "", Verdict: ecrintypes.VerdictAllowed, PrincipalArn: r.Identity.ARN, Action: actionOf(r), Resource: "*",
		Layers: []ecrintypes.LayerVerdict{}, Findings: []ecrintypes.Finding{}, Changes: []ecrintypes.PolicyChange{},
		Context: []ecrintypes.ContextEntry{},
	}
	if !out.Allowed {
		out.Verdict = ecrintypes.VerdictImplicitDeny
	}
	if out.PrincipalArn == "" {
		out.PrincipalArn = "*"
	}
	for _, resource := range r.Resources {
		out.Resource = resource.ARN
	}
	return out
}

// actionOf returns the action that the decision about an event used. Two events of ECR have no action of their own.
//
// Source: ECR user guide, actions for blob mounting and referrers.
func actionOf(r *audit.Record) string {
	service, _, _ := strings.Cut(r.Source, ".")
	operation := r.Name
	switch r.Name {
	case "MountLayer":
		operation = "InitiateLayerUpload"
	case "ListImageReferrers":
		operation = "BatchGetImage"
	}
	return service + ":" + operation
}

// sharesTrail reports whether an event concerns two accounts and the caller belongs to only one of them. Such a caller
// must not see the reasons that the policies of the other account gave.
func sharesTrail(by identity.Caller, r *audit.Record) bool {
	return by.Kind != identity.Operator && r.SharedEventID != (audit.ID{})
}

// ownSide returns the line of an event that concerns two accounts, with only what the given account may see.
func ownSide(r audit.Record, account string) ([]byte, error) {
	kept, err := keptOf(&r)
	if err != nil {
		return nil, err
	}
	callers := r.Identity.Account == account
	own := map[string]any{}
	if kept.explanation != nil {
		keepSide(kept.explanation, callers)
		own[explanationMember] = kept.explanation
	}
	if kept.decision != nil {
		kept.decision.Of(func(layer string) bool { return callersSide[layer] == callers })
		own[explain.KeptMember] = kept.decision
	}
	r.Additional = audit.Params{}
	for _, member := range slices.Sorted(maps.Keys(kept.members)) {
		text := []byte(kept.members[member])
		if v, ok := own[member]; ok {
			if text, err = json.Marshal(v); err != nil {
				return nil, fmt.Errorf("writing a line of the audit trail: %w", err)
			}
		}
		r.Additional.Raw(member, text)
	}
	return r.AppendJSON(nil), nil
}

// kept holds the additional members of an event, some of them decoded.
type kept struct {
	members     map[string]json.RawMessage
	decision    *explain.Kept           // nil for none
	explanation *ecrintypes.Explanation // in lines of earlier versions of the program; nil for none
	address     string                  // of the client, "" if the line has it elsewhere
	program     string                  // likewise
	counted     struct {                // of a line that stands for several requests
		Requests int64
		Scope    string
	}
}

const explanationMember = "explanation"

func keptOf(r *audit.Record) (k kept, err error) {
	err = json.Unmarshal([]byte(r.Additional.JSON()), &k.members)
	for _, member := range []struct {
		name string
		to   any
	}{{explanationMember, &k.explanation}, {explain.KeptMember, &k.decision}, {"clientAddress", &k.address}, {"clientUserAgent", &k.program},
		{audit.CountedMember, &k.counted}} {
		if text := k.members[member.name]; err == nil && text != nil {
			err = json.Unmarshal(text, member.to)
		}
	}
	if err != nil {
		err = fmt.Errorf("reading a line of the audit trail: %w", err)
	}
	return k, err
}

// refusal returns cause and cure of refused credentials.
func (k kept) refusal() (string, error) {
	var cause, cure string
	if err := errors.Join(json.Unmarshal(k.members["cause"], &cause), json.Unmarshal(k.members["cure"], &cure)); err != nil {
		return "", fmt.Errorf("reading a line of the audit trail: %w", err)
	}
	return "the credentials were refused: " + cause + ". " + cure + ".", nil
}

// callersSide holds the layers whose policies belong to the account of the caller. The policies of the other layers
// belong to the account that owns the resource.
var callersSide = map[string]bool{
	policy.LayerSCP.String(): true, policy.LayerIdentity.String(): true, policy.LayerBoundary.String(): true,
	policy.LayerSession.String(): true,
}

// keepSide removes from an explanation what the policies of the other side gave: those of the owner's account if
// callers is true, otherwise those of the caller's account.
func keepSide(e *ecrintypes.Explanation, callers bool) {
	other := func(layer string) bool { return callersSide[layer] != callers }
	e.Layers = slices.DeleteFunc(e.Layers, func(l ecrintypes.LayerVerdict) bool { return other(l.Layer) })
	e.Findings = slices.DeleteFunc(e.Findings, func(f ecrintypes.Finding) bool { return other(f.Layer) })
	e.Changes = slices.DeleteFunc(e.Changes, func(c ecrintypes.PolicyChange) bool { return other(c.Layer) })
	e.Statements = slices.DeleteFunc(e.Statements, func(f ecrintypes.Finding) bool { return other(f.Layer) })
	e.Context = []ecrintypes.ContextEntry{} // it contains tags of both accounts
}
