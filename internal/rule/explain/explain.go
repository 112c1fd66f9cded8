// Package explain converts a decision with its reasons to the form of the API, and writes it as text.
package explain

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Of returns the explanation of a request and its decision in the form of the API. Context has all condition keys of
// the request, sorted by name, in the spelling of AWS where AWS defines the key; no secret is ever a condition key.
// RequestId is not set.
func Of(r *policy.Request, w policy.Why) ecrintypes.Explanation {
	e := ecrintypes.Explanation{
		Allowed: w.Allowed(), Verdict: verdict(w.Verdict), PrincipalArn: r.Caller.ARN, Action: r.Action, Resource: r.Resource,
		Text: w.Decision.Text(r), Layers: []ecrintypes.LayerVerdict{}, Findings: []ecrintypes.Finding{},
		Changes: []ecrintypes.PolicyChange{}, Context: contextOf(r.Context),
	}
	if e.PrincipalArn == "" {
		e.PrincipalArn = "*" // the caller of Explain names anonymous callers so
	}
	if w.Layer != policy.NoLayer {
		e.DecidedBy = w.Layer.String()
	}
	if r.Context != nil && !r.Context.Time.IsZero() {
		e.At = awswire.At(r.Context.Time)
	}
	for _, l := range w.Layers {
		e.Layers = append(e.Layers, ecrintypes.LayerVerdict{Layer: l.Layer.String(), Verdict: verdict(l.Verdict), Note: l.Note})
	}
	for i := range w.Findings {
		e.Findings = append(e.Findings, finding(r, &w.Findings[i]))
	}
	for _, c := range w.Changes {
		if c.Add != "" && !settable(c) {
			if c.Alternative {
				continue
			}
			e.Changes = e.Changes[:0] // the other steps alone do not allow the request
			break
		}
		change := ecrintypes.PolicyChange{Layer: c.Layer.String(), Alternative: c.Alternative, Add: c.Add}
		if c.Remove != nil {
			f := finding(r, c.Remove)
			change.Remove = &f
		}
		e.Changes = append(e.Changes, change)
	}
	return e
}

func verdict(v policy.Verdict) ecrintypes.Verdict { return ecrintypes.Verdict(v.String()) }

// finding converts a finding. A policy of a resource has no name and gets the name of its kind. For a failed element,
// Detail has the values of the request and of the statement.
func finding(r *policy.Request, f *policy.Finding) ecrintypes.Finding {
	out := ecrintypes.Finding{
		Layer: f.Layer.String(), Policy: f.Policy, PolicyArn: f.ARN, Statement: int32(f.Statement), Sid: f.Sid,
		Effect: string(f.Effect), Failed: string(f.Failed), Detail: f.Detail,
	}
	if f.Policy == "" && f.ARN == "" {
		out.Policy = f.Kind.String() + " policy"
	}
	switch f.Failed {
	case policy.ElementAction:
		out.Detail = "the request is for " + r.Action
	case policy.ElementResource:
		out.Detail = "the request is on " + r.Resource
	case policy.ElementPrincipal:
		out.Detail = "the request is by " + callerName(r.Caller.ARN)
	}
	if values := statementValues(f); values != "" {
		out.Detail += "; the statement has " + values
	}
	return out
}

func callerName(arn string) string {
	if arn == "" {
		return "an anonymous caller"
	}
	return arn
}

// statementValues lists the values of the statement in the element that failed; of a Condition, the values of the key
// that failed. The result is "" if the statement is not known.
func statementValues(f *policy.Finding) string {
	if f.Source == nil {
		return ""
	}
	var not bool
	var all []string
	add := func(p policy.Patterns) {
		not = p.Not
		for _, one := range p.Of {
			all = append(all, one.Text)
		}
	}
	switch f.Failed {
	case policy.ElementAction:
		add(f.Source.Action)
	case policy.ElementResource:
		add(f.Source.Resource)
	case policy.ElementPrincipal:
		not = f.Source.Principal.Not
		for p := range f.Source.Principal.All() {
			all = append(all, p.Text)
		}
	case policy.ElementCondition:
		for _, c := range f.Source.Conditions {
			for _, k := range c.Keys {
				if !strings.HasPrefix(f.Detail, c.Operator.Text+" "+name.Clip(k.Key)+": ") {
					continue
				}
				for _, v := range k.Values {
					all = append(all, strconv.Quote(v.Text))
				}
			}
		}
	}
	const maxValues = 5
	for i := range all {
		all[i] = name.Clip(all[i])
	}
	if n := len(all) - maxValues; n > 0 {
		all = append(all[:maxValues], strconv.Itoa(n)+" more")
	}
	text := strings.Join(all, ", ")
	if not && text != "" {
		text = "all but " + text
	}
	return text
}

// settable reports whether a policy of the kind that a change adds is valid with the text of the change. For example, a
// repository policy cannot have actions of ecrin.
func settable(c policy.Change) bool {
	kinds := map[policy.Layer][]policy.Kind{
		policy.LayerRCP:      {policy.ResourceControl},
		policy.LayerSCP:      {policy.ServiceControl},
		policy.LayerResource: {policy.Repository, policy.Registry},
		policy.LayerTrust:    {policy.Trust},
		policy.LayerIdentity: {policy.Identity},
		policy.LayerBoundary: {policy.Boundary},
		policy.LayerSession:  {policy.Session},
	}[c.Layer]
	return slices.ContainsFunc(kinds, func(k policy.Kind) bool {
		_, err := policy.Parse(c.Add, k)
		return err == nil
	})
}
