package policy

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/name"
)

// Request is what somebody wants to do.
type Request struct {
	Caller          Caller
	Action          string       // such as ecr:PutImage; case counts for nothing
	Resource        string       // an ARN, or * for actions that have no resource; wildcards in it are plain characters
	ResourceAccount name.Account // the owner of the resource; for *, of the registry
	Context         *Context     // nil has no keys
}

// Named is a policy with what reasons call it.
type Named struct {
	Name   string // such as the name of an inline policy; may be empty
	ARN    string // of a managed or control policy; "" for others
	Policy *Compiled
}

// Policies are all that apply to a request. Whoever gathers them leaves out those that do not: control policies of a
// management account, the repository policy for an action that has no repository, identity policies of a federated user
// whose session was made without a policy. It is only read, and may serve many requests at once.
type Policies struct {
	RCP        [][]Named // resource control policies of the resource's account, level by level, with [FullAccess]; none do not restrict
	SCP        [][]Named // service control policies of the caller's account, likewise
	Repository *Compiled // of the repository; nil when there is none
	Registry   *Compiled // of the registry; nil when there is none
	RegistryV1 bool      // the registry policy counts for three actions only
	Trust      *Compiled // of the role to assume; nil for all but the actions of STS on a role
	Identity   []Named   // of the user and its groups, or of the role
	Boundary   []Named   // each must allow; none do not restrict
	Session    []Named   // one must allow; none do not restrict
}

// Layer is a kind of policy in a decision. Layers are numbered in the order in which they are asked.
type Layer uint8

const (
	NoLayer Layer = iota
	LayerRCP
	LayerSCP
	LayerResource // repository and registry policy
	LayerTrust
	LayerIdentity
	LayerBoundary
	LayerSession
	layers
)

// String is what the texts of AWS call the policies of the layer.
func (l Layer) String() string {
	return [layers]string{"no", "resource control", "service control", "resource-based", "role trust", "identity-based",
		"permissions boundary", "session"}[l]
}

// Verdict is the outcome of a decision. Its zero value denies.
type Verdict uint8

const (
	ImplicitlyDenied Verdict = iota // nothing allows it
	ExplicitlyDenied                // a statement denies it
	Allowed
)

// String is what IAM's simulation calls the verdict.
func (v Verdict) String() string { return [...]string{"implicitDeny", "explicitDeny", "allowed"}[v] }

// Decision is the answer to a request.
type Decision struct {
	Verdict   Verdict
	Layer     Layer  // that decided; NoLayer for a root user in its own account
	Policy    string // Named.Name of the policy that decided; "" for an implicit denial
	ARN       string // Named.ARN of it
	Statement int    // its index in that policy, from 0; -1 when no statement decided
	Sid       string // of that statement
}

// Allowed tells whether the request may go on.
func (d Decision) Allowed() bool { return d.Verdict == Allowed }

// Evaluate decides a request.
//
// An explicit deny of any layer wins. Then each level of control policies must allow. Within an account the identity
// policies or the resource policy must allow, and boundary and session policies too, except that a resource policy that
// names the caller itself is enough alone, one that names everybody leaves only the session policies to ask, and one
// that names the account allows nothing by itself. Across accounts both sides must allow. A root user needs no identity policy; services and anonymous callers have nothing but the resource
// policy. A trust policy must allow in any case.
//
// It does not allocate, unless a condition reads the time or the address of the request as a text.
// Source: IAM user guide, policy evaluation logic.
func Evaluate(p *Policies, r *Request) Decision {
	d := decision{Request: r, bounded: len(p.Boundary) > 0}
	d.read(p)
	return d.verdict()
}

// tally is what the policies of one layer say.
type tally struct {
	asked bool // the layer takes part
	grant grant
	allow Decision // by the statement that allows, of those in a resource policy the one that is worth most
	deny  Decision // by the first that denies
}

// decision gathers the tallies of a request. With a Why it also writes down what it sees.
type decision struct {
	*Request
	layers  [layers]tally
	bounded bool // the caller has a permissions boundary
	why     *Why
}

// read asks all layers that apply to the caller.
func (d *decision) read(p *Policies) {
	owned := d.Caller.hasAccount()
	if !d.Caller.ServiceLinked {
		d.all(LayerRCP, len(p.RCP), func(i int) { d.set(LayerRCP, p.RCP[i]) })
		if owned {
			d.all(LayerSCP, len(p.SCP), func(i int) { d.set(LayerSCP, p.SCP[i]) })
		}
	}
	d.one(LayerResource, Named{Policy: p.Repository})
	if !p.RegistryV1 || scopeV1(d.Action) {
		d.one(LayerResource, Named{Policy: p.Registry})
	}
	d.layers[LayerResource].asked = true
	if p.Trust != nil {
		d.layers[LayerTrust].asked = true
		d.one(LayerTrust, Named{Policy: p.Trust})
	}
	if !owned || d.Caller.Kind == Account {
		return
	}
	d.layers[LayerIdentity].asked = true
	d.set(LayerIdentity, p.Identity)
	d.all(LayerBoundary, len(p.Boundary), func(i int) { d.one(LayerBoundary, p.Boundary[i]) })
	d.all(LayerSession, min(len(p.Session), 1), func(int) { d.set(LayerSession, p.Session) })
}

// FitsV1 tells whether a registry policy names only the actions that one of the first scope can have.
// Source: ECR user guide, registry permissions.
func FitsV1(d *Document) bool {
	for i := range d.Statements {
		s := &d.Statements[i]
		if s.Action.Not {
			return false
		}
		for k := range s.Action.Of {
			for _, action := range expand(&s.Action.Of[k]) {
				if !scopeV1(action) {
					return false
				}
			}
		}
	}
	return true
}

// scopeV1 tells whether a registry policy of the first scope counts for an action.
// Source: ECR user guide, registry permissions.
func scopeV1(action string) bool {
	return strings.EqualFold(action, "ecr:ReplicateImage") || strings.EqualFold(action, "ecr:BatchImportUpstreamImage") ||
		strings.EqualFold(action, "ecr:CreateRepository")
}

// all asks n sets of policies of which each must allow; none do not restrict.
func (d *decision) all(l Layer, n int, ask func(i int)) {
	t := &d.layers[l]
	t.asked = n > 0
	allowed := true
	for i := range n {
		t.allow = Decision{}
		ask(i)
		if t.allow.Allowed() {
			continue
		}
		allowed = false
		if d.why != nil {
			d.why.gaps = append(d.why.gaps, gap{layer: l, index: i})
		}
	}
	if !allowed {
		t.allow = Decision{}
	}
}

// set asks policies of which one must allow.
func (d *decision) set(l Layer, policies []Named) {
	for i := range policies {
		d.one(l, policies[i])
	}
}

// one asks one policy of a layer; none is as good as an empty one.
func (d *decision) one(l Layer, p Named) {
	if p.Policy == nil {
		return
	}
	t := &d.layers[l]
	for i := range p.Policy.statements {
		s := &p.Policy.statements[i]
		g, ok := s.applies(d.Request, d.bounded)
		if d.why != nil {
			d.why.note(d, l, p, s, ok)
		}
		if !ok {
			continue
		}
		found, verdict, worth := &t.allow, Allowed, g > t.grant
		if s.deny {
			found, verdict, worth = &t.deny, ExplicitlyDenied, false
		} else {
			t.grant |= g
		}
		if found.Verdict != verdict || worth {
			*found = Decision{Verdict: verdict, Layer: l, Policy: p.Name, ARN: p.ARN, Statement: i, Sid: s.source.Sid}
		}
	}
}

// verdict combines the layers.
func (d *decision) verdict() Decision {
	for l := range d.layers {
		if d.layers[l].deny.Verdict == ExplicitlyDenied {
			return d.layers[l].deny
		}
	}
	for _, l := range [...]Layer{LayerRCP, LayerSCP} {
		if d.limits(l) {
			return denial(l)
		}
	}
	granting := d.granting()
	resource := &d.layers[granting]
	switch {
	case !d.Caller.hasAccount():
		if resource.grant == 0 {
			return denial(granting)
		}
		return resource.allow
	case d.Caller.Account != d.ResourceAccount:
		return d.across()
	case resource.grant&toCaller != 0:
		return resource.allow
	case granting == LayerTrust && resource.grant == 0:
		return denial(LayerTrust)
	case d.Caller.Kind == Account:
		return Decision{Verdict: Allowed, Statement: -1}
	case resource.grant&toAnyone != 0:
		if d.limits(LayerSession) {
			return denial(LayerSession)
		}
		return resource.allow
	}
	allow := &d.layers[LayerIdentity].allow
	if !allow.Allowed() && resource.grant&toIssuer != 0 {
		allow = &resource.allow
	}
	return d.limited(allow)
}

// granting is the layer of the resource's own policy.
func (d *decision) granting() Layer {
	if d.layers[LayerTrust].asked {
		return LayerTrust
	}
	return LayerResource
}

// denial is an implicit denial by a layer.
func denial(l Layer) Decision { return Decision{Layer: l, Statement: -1} }

// across decides over the border of an account: the caller's side must allow, and the owner's side too.
func (d *decision) across() Decision {
	resource := &d.layers[d.granting()]
	if d.Caller.Kind != Account {
		if own := d.limited(&d.layers[LayerIdentity].allow); !own.Allowed() {
			return own
		}
	}
	if resource.grant == 0 {
		return denial(d.granting())
	}
	return resource.allow
}

// limited gives what allows, unless it is nothing, or the boundary or the session says less.
func (d *decision) limited(allow *Decision) Decision {
	switch {
	case !allow.Allowed():
		return denial(LayerIdentity)
	case d.limits(LayerBoundary):
		return denial(LayerBoundary)
	case d.limits(LayerSession):
		return denial(LayerSession)
	}
	return *allow
}

// limits tells whether a layer that takes part does not allow.
func (d *decision) limits(l Layer) bool {
	return d.layers[l].asked && !d.layers[l].allow.Allowed()
}
