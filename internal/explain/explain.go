// Package explain puts a decision with its reasons into the form of the API, and writes it for people.
package explain

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/policy"
)

// Of puts a request and why it was decided so into the form of the API. The context has all condition keys of the
// request, sorted, as AWS writes those that it has. No secret is ever a condition key. RequestId is left to the caller.
func Of(r *policy.Request, w policy.Why) ecrintypes.Explanation {
	e := ecrintypes.Explanation{
		Allowed: w.Allowed(), Verdict: verdict(w.Verdict), PrincipalArn: r.Caller.ARN, Action: r.Action, Resource: r.Resource,
		Text: w.Decision.Text(r), Layers: []ecrintypes.LayerVerdict{}, Findings: []ecrintypes.Finding{},
		Changes: []ecrintypes.PolicyChange{}, Context: contextOf(r.Context),
	}
	if e.PrincipalArn == "" {
		e.PrincipalArn = "*" // as who asks names it
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
			e.Changes = e.Changes[:0] // without this step the others do not help
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

// finding names the policy of a resource by its kind, for it has no name, and tells what the request has where an element
// failed.
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
		out.Detail = "the request is by " + nobody(r.Caller.ARN)
	}
	if wanted := wants(f); wanted != "" {
		out.Detail += "; the statement has " + wanted
	}
	return out
}

func nobody(arn string) string {
	if arn == "" {
		return "an anonymous caller"
	}
	return arn
}

// wants lists what the statement has in the element that failed, of conditions in the key; "" when it is not known.
func wants(f *policy.Finding) string {
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
	const most = 5
	for i := range all {
		all[i] = name.Clip(all[i])
	}
	if n := len(all) - most; n > 0 {
		all = append(all[:most], strconv.Itoa(n)+" more")
	}
	text := strings.Join(all, ", ")
	if not && text != "" {
		text = "all but " + text
	}
	return text
}

// settable tells whether the kind of policy that a change adds can say what it says: no policy of a repository, for one,
// can speak of ecrin's own actions.
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
