package awsapi

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/audit"
	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// trailOf keeps callers to the trail of their own account; the operator reads all.
func trailOf(c *call, asked string) string {
	if c.caller.Kind != identity.Operator {
		return c.caller.Account.String()
	}
	return asked
}

// onTrail is for reading the trail of an account: the one named, or the caller's own.
func onTrail(_ *API, c *call, in awswire.Input) ([]identity.Access, error) {
	return onAccount(nil, c, in)
}

func (a *API) listAuditEvents(c *call, in *ecrintypes.ListAuditEventsRequest) (*ecrintypes.ListAuditEventsResponse, error) {
	q := audit.Query{
		Account: trailOf(c, in.AccountId), Principal: in.Principal, EventName: in.EventName, Resource: in.Resource, RequestID: in.RequestId,
		OnlyDenied: in.Denied != nil && *in.Denied, OnlyChanges: in.Changes != nil && *in.Changes, OldestFirst: in.OldestFirst != nil && *in.OldestFirst,
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
	page, err := a.trail.Search(c.ctx, q, in.NextToken, limit)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListAuditEventsResponse{Events: []string{}, NextToken: page.Next}
	for _, e := range page.Events {
		out.Events = append(out.Events, string(e.Line))
	}
	return out, nil
}

// explainRequest tells why a request was denied, as it was decided then. The trail keeps the reasons of denials only: what was
// allowed is told without.
func (a *API) explainRequest(c *call, in *ecrintypes.ExplainRequestRequest) (*ecrintypes.ExplainRequestResponse, error) {
	page, err := a.trail.Search(c.ctx, audit.Query{Account: trailOf(c, ""), RequestID: in.RequestId}, "", 10)
	if err != nil {
		return nil, err
	}
	if len(page.Events) == 0 {
		return nil, fault.RequestNotFound.New("the audit trail has no request with the id %s; `ecrin audit --denied` lists those that were denied", name.Clip(in.RequestId))
	}
	e := page.Events[0]
	for _, other := range page.Events[1:] {
		if e.Record.ErrorCode == "" { // a change that failed after all has two lines
			e = other
		}
	}
	var kept struct {
		AdditionalEventData struct {
			Explanation *ecrintypes.Explanation `json:"explanation"`
		} `json:"additionalEventData"`
	}
	if err := json.Unmarshal(e.Line, &kept); err != nil {
		return nil, fmt.Errorf("reading a line of the audit trail: %w", err)
	}
	out := kept.AdditionalEventData.Explanation
	r := e.Record
	if out == nil {
		if r.ErrorCode != "" {
			return nil, fault.RequestNotFound.New("the request %s was not refused by a policy: it failed with %s: %s", name.Clip(in.RequestId), r.ErrorCode, r.ErrorMessage)
		}
		service, _, _ := strings.Cut(r.Source, ".")
		out = &ecrintypes.Explanation{Allowed: true, Verdict: ecrintypes.VerdictAllowed, PrincipalArn: r.Identity.ARN, Action: service + ":" + r.Name}
		for _, resource := range r.Resources {
			out.Resource = resource.ARN
		}
	}
	out.At, out.RequestId, out.Text = awswire.At(r.Time), r.RequestID, r.ErrorMessage
	return &ecrintypes.ExplainRequestResponse{Explanation: *out}, nil
}
