package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Why is a decision with its reasons.
type Why struct {
	Decision
	Layers   []LayerVerdict // the layers that were evaluated, in the order of evaluation
	Findings []Finding      // in the order of the layers and policies
	Changes  []Change       // would allow a denied request; see [Change]
	Work     int            // comparisons that were made

	gaps []gap
	work meter // of the findings
}

// LayerVerdict is the verdict of one layer. Its note says whether the verdict counts.
type LayerVerdict struct {
	Layer   Layer
	Verdict Verdict
	Note    string // "" or half a sentence, such as "names only the account, which has to allow it too"
}

// Element is an element of a statement.
type Element string

// The elements that can keep a statement from matching.
const (
	ElementAction    Element = "Action"
	ElementPrincipal Element = "Principal"
	ElementResource  Element = "Resource"
	ElementCondition Element = "Condition"
)

// Finding is a statement that matches the request, or that would match it but for one element.
type Finding struct {
	Layer     Layer
	Policy    string // Named.Name
	ARN       string // Named.ARN
	Kind      Kind   // of the policy
	Statement int    // its index in the policy, from 0
	Sid       string
	Effect    Effect
	Source    *Statement // as written; must not be modified
	Failed    Element    // "" when the whole statement matches
	Detail    string     // of a failed Condition: the operator, the key, and the values in the request
}

// gap is a set of policies that must allow the request and does not.
type gap struct {
	layer Layer
	index int
}

// Explain decides as [Evaluate] does, and returns the reasons too.
func Explain(p *Policies, r *Request) Why {
	w := Why{work: meter{keys: r.Context, left: maxWork}}
	d := newDecision(p, r, maxWork)
	d.why = &w
	d.evaluate(p)
	w.Decision, w.Work = d.verdict(), d.work.used(maxWork)+w.work.used(maxWork)
	for l := range d.layers {
		if d.layers[l].evaluated {
			w.Layers = append(w.Layers, d.layerVerdict(Layer(l)))
		}
	}
	if !w.Allowed() && !w.Excess {
		w.Changes = d.changes()
	}
	return w
}

// layerVerdict returns the verdict of a layer, with a note if the verdict does not count or is not sufficient.
func (d *decision) layerVerdict(l Layer) LayerVerdict {
	t := &d.layers[l]
	v := LayerVerdict{Layer: l, Verdict: t.allow.Verdict}
	if t.deny.Verdict == ExplicitlyDenied {
		v.Verdict = ExplicitlyDenied
	}
	same := d.Caller.hasAccount() && d.Caller.Account == d.ResourceAccount && d.Caller.Kind != Account
	named := d.layers[d.resourceLayer()].naming
	switch {
	case !same || v.Verdict == ExplicitlyDenied:
	case (l == LayerResource || l == LayerTrust) && t.naming == toAccount:
		v.Note = "names only the account, which has to allow it too"
	case v.Verdict != ImplicitlyDenied:
	case l == LayerResource && d.layers[LayerIdentity].allow.Allowed():
		v.Note = "is not needed within the account"
	case l == LayerIdentity && named >= toIssuer, l == LayerBoundary && named >= toAnyone, l == LayerSession && named >= toCaller:
		v.Note = "does not count: a resource policy allows the caller itself"
	}
	return v
}

// note adds a statement to the findings if it matched, or would have matched but for one element. A statement that did not
// match is not looked at again once the work of the findings is used up.
func (w *Why) note(d *decision, l Layer, p Named, s *statement, applies bool) {
	f := Finding{
		Layer: l, Policy: p.Name, ARN: p.ARN, Kind: p.Policy.Document.Kind,
		Statement: s.index, Sid: s.source.Sid, Effect: s.source.Effect, Source: s.source,
	}
	if !applies {
		failed := 0
		miss := func(ok bool, e Element) {
			if !ok {
				f.Failed = e
				failed++
			}
		}
		_, named := s.principal(&d.Caller, d.bounded)
		broken := s.condition(&w.work)
		miss(s.action(d.Request, &w.work), ElementAction)
		miss(named, ElementPrincipal)
		miss(s.resource(d.Request, &w.work), ElementResource)
		miss(broken == nil, ElementCondition)
		if failed > 1 || w.work.exceeded() {
			return
		}
		if broken != nil {
			f.Detail = broken.describe(d.Context)
		}
	}
	w.Findings = append(w.Findings, f)
}

// describe returns the operator and the key of a failed condition, and the values that the request has for the key.
func (t *test) describe(c *Context) string {
	has := "the request has no such key"
	if values := c.Values(t.key); len(values) > 0 {
		var quoted []string
		for _, v := range values {
			quoted = append(quoted, strconv.Quote(name.Clip(v)))
		}
		has = "the request has " + strings.Join(quoted, ", ")
	}
	return fmt.Sprintf("%s %s: %s", t.operator.Text, name.Clip(t.source.Key), has)
}

// Refusal returns the words with which AWS begins every message to a caller whose request is denied. An empty caller is the
// anonymous one. What follows them is the reason. Source: IAM user guide, troubleshooting access denied messages.
func Refusal(caller, action, resource string) string {
	if caller == "" {
		caller = "anonymous"
	}
	return "User: " + caller + " is not authorized to perform: " + action + " on resource: " + resource
}

// Unallowed returns the message to a caller whose request no policy of a layer allows.
func Unallowed(l Layer, caller, action, resource string) string {
	return denial(l).Text(&Request{Caller: Caller{ARN: caller}, Action: action, Resource: resource})
}

// Text returns the message that AWS sends to a caller whose request the decision denies; it is empty when the decision
// allows.
// Source: IAM user guide, troubleshooting access denied messages.
func (d Decision) Text(r *Request) string {
	if d.Allowed() {
		return ""
	}
	text := Refusal(r.Caller.ARN, r.Action, r.Resource)
	if d.Excess {
		return text + " because the request takes too much work to match with the wildcards of the policies"
	}
	if d.Verdict == ExplicitlyDenied {
		article := "a "
		switch d.Layer {
		case LayerTrust:
			article = "the "
		case LayerIdentity:
			article = "an "
		}
		text += " with an explicit deny in " + article + d.Layer.String() + " policy"
		if d.ARN != "" {
			text += ": " + d.ARN
		}
		return text
	}
	layer := d.Layer.String() + " policy"
	if d.Layer == LayerBoundary {
		layer = d.Layer.String()
	}
	return text + " because no " + layer + " allows the " + r.Action + " action"
}

// Change is one step towards allowing a denied request: a policy to add, or a statement to remove. The request is
// allowed once all changes are made; of the alternatives, one is sufficient.
type Change struct {
	Layer       Layer
	Alternative bool   // one of two alternatives: on the side of the identity or of the resource
	Level       int    // of control policies: the level to add to, from 0; of boundaries: the index of the boundary
	Add         string // a whole policy, whose statement can also be added to an existing policy; "" for a removal
	Remove      *Finding
}

// changes returns the steps that would allow the request.
func (d *decision) changes() []Change {
	var all []Change
	for _, f := range d.why.Findings {
		if f.Failed == "" && f.Effect == Deny {
			all = append(all, Change{Layer: f.Layer, Remove: &f})
		}
	}
	resource := d.resourceLayer()
	named := d.layers[resource].naming
	for _, g := range d.why.gaps {
		if same := d.Caller.Account == d.ResourceAccount; !same || g.layer == LayerRCP || g.layer == LayerSCP ||
			g.layer == LayerBoundary && named < toAnyone || g.layer == LayerSession && named < toCaller {
			all = append(all, Change{Layer: g.layer, Level: g.index, Add: d.addition(g.layer)})
		}
	}
	identity := d.layers[LayerIdentity].evaluated && !d.layers[LayerIdentity].allow.Allowed()
	customer := d.Caller.Kind == Customer && d.Caller.Account == d.ResourceAccount
	switch {
	case customer && named&toCaller == 0 && !d.layers[LayerIdentity].allow.Allowed():
		all = append(all,
			Change{Layer: LayerIdentity, Alternative: true, Add: d.addition(LayerIdentity)},
			Change{Layer: resource, Alternative: true, Add: d.addition(resource)})
	case customer:
	case !d.Caller.hasAccount() || d.Caller.Account != d.ResourceAccount || resource == LayerTrust && named == 0:
		if identity && d.Caller.Account != d.ResourceAccount {
			all = append(all, Change{Layer: LayerIdentity, Add: d.addition(LayerIdentity)})
		}
		if named == 0 {
			all = append(all, Change{Layer: resource, Add: d.addition(resource)})
		}
	case identity && named < toIssuer:
		all = append(all,
			Change{Layer: LayerIdentity, Alternative: true, Add: d.addition(LayerIdentity)},
			Change{Layer: resource, Alternative: true, Add: d.addition(resource)})
	}
	return slices.DeleteFunc(all, func(c Change) bool { return c.Add == "" && c.Remove == nil })
}

// ByResource reports whether the request is denied for no other reason than that no policy of its resource allows it: one statement there
// for the caller would allow it.
func (w Why) ByResource() bool {
	added := false
	for _, c := range w.Changes {
		switch {
		case c.Remove != nil:
			return false
		case c.Layer == LayerResource:
			added = true
		case !c.Alternative:
			return false
		}
	}
	return added
}

// addition returns the smallest policy of a layer that allows the request, or "" if there is none: a resource policy
// cannot allow an action that has no resource.
func (d *decision) addition(l Layer) string {
	one := func(s string) Patterns { return Patterns{Of: []Pattern{{Text: s}}} }
	s := Statement{Effect: Allow, Action: one(d.Action), Resource: one(d.Resource)}
	switch l {
	case LayerRCP:
		s.Principal = Principals{Bare: true, Groups: []PrincipalGroup{{}}}
	case LayerResource, LayerTrust:
		if d.Resource == "*" {
			return ""
		}
		s.Principal = d.Caller.principal()
		if l == LayerTrust || !scopeV1(d.Action) { // only statements of a registry policy have a Resource
			s.Resource = Patterns{}
		}
	}
	document := Document{Version: Version2012, Statements: []Statement{s}}
	return document.String()
}

// principal returns the principal by which a policy names the caller: the role of a session, else the caller itself.
func (c *Caller) principal() Principals {
	group, text := "AWS", c.ARN
	switch c.Kind {
	case RoleSession:
		text = c.Issuer
	case Service:
		group = "Service"
	case Federated:
		group = "Federated"
	case User, FederatedUser, Account, Customer:
	default:
		return Principals{Bare: true, Groups: []PrincipalGroup{{}}}
	}
	return Principals{Groups: []PrincipalGroup{{Type: group, Of: []Principal{{Text: text}}}}}
}
