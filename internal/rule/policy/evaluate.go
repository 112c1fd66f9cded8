package policy

import "github.com/ecrin-dev/ecrin/internal/word/name"

// Request is the request of a caller for an action on a resource.
type Request struct {
	Caller          Caller
	Action          string       // such as ecr:PutImage; case-insensitive
	Resource        string       // an ARN, or * for actions that have no resource; wildcards in it are plain characters
	ResourceAccount name.Account // the owner of the resource; for *, of the registry
	Context         *Context     // nil counts as a context without keys
}

// Named is a policy with the names that reasons show.
type Named struct {
	Name   string // such as the name of an inline policy; may be empty
	ARN    string // of a managed or control policy; "" for others
	Policy *Compiled
	// Limited is set of a policy of a repository that never allows more than the permissions boundary and the session policies of
	// the caller: the caller counts as named by its role or user, not by itself.
	Limited bool
}

// Policies holds the policies that apply to a request. It must not hold policies that do not apply: control policies
// for a management account, the repository policy for an action that has no repository, identity policies of a
// federated user whose session was made without a policy. Decisions only read it, so several requests may use it at
// once.
type Policies struct {
	RCP        [][]Named // resource control, of the resource's account, by level, with [FullAccess]; empty does not restrict
	SCP        [][]Named // service control, of the caller's account, likewise
	Repository *Compiled // of the repository; nil when there is none
	Grants     []Named   // of access to the repository for a time, to this caller; they only add to Repository
	Registry   *Compiled // of the registry; nil when there is none
	RegistryV1 bool      // the registry policy has the scope V1: it applies to three actions only
	Trust      *Compiled // of the role to assume; nil for all but the actions of STS on a role
	Identity   []Named   // of the user and its groups, or of the role
	Boundary   []Named   // each must allow; an empty list does not restrict
	Session    []Named   // one must allow; an empty list does not restrict
}

// Layer is a kind of policy in a decision. Layers are numbered in the order of their evaluation.
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

// String returns the name of the policies of the layer in the texts of AWS.
func (l Layer) String() string {
	return [layers]string{"no", "resource control", "service control", "resource-based", "role trust", "identity-based",
		"permissions boundary", "session"}[l]
}

// Verdict is the outcome of a decision. Its zero value denies.
type Verdict uint8

const (
	ImplicitlyDenied Verdict = iota // no statement allows the request
	ExplicitlyDenied                // a statement denies the request
	Allowed
)

// String returns the name of the verdict in the policy simulation of IAM.
func (v Verdict) String() string { return [...]string{"implicitDeny", "explicitDeny", "allowed"}[v] }

// Decision is the result of deciding a request.
type Decision struct {
	Verdict   Verdict
	Layer     Layer  // the layer that decided; NoLayer for a root user in its own account
	Policy    string // Named.Name of the policy that decided; "" for an implicit denial
	ARN       string // Named.ARN of that policy
	Statement int    // its index in that policy, from 0; -1 when no statement decided
	Sid       string // of that statement
	Excess    bool   // matching would have taken more than the maximum work; no layer decided
}

// Allowed reports whether the request is allowed.
func (d Decision) Allowed() bool { return d.Verdict == Allowed }

// Evaluate decides a request.
//
// An explicit deny in any layer wins. Otherwise every level of control policies must allow the request. Then, within an
// account, the identity policies or the resource policy must allow it, and so must the permissions boundary and the
// session policies, with these exceptions: a resource policy that names the caller itself, or everyone whose
// aws:PrincipalArn matches, is sufficient alone; a resource policy that names everyone without such a condition is
// sufficient if the session policies allow the request too; a resource policy that names the account allows nothing by
// itself. Across accounts, the side of the caller and the side of the resource must both allow the request. A root user
// needs no identity policy. For services and anonymous callers only the resource policy counts. For a customer, the identity policies
// are its entitlements, and a resource policy counts only if it denies or names the customer. A trust policy must allow the
// request in any case.
//
// Matching has a maximum of work: 1,048,576 comparisons, and 2,048 bytes of a text that is matched with wildcards. A
// request that needs more is denied, whatever else the policies say; Excess says so. [Parse] refuses a policy that could
// need half of it.
//
// Evaluate does not allocate, unless a condition compares the time or the address of the request as text.
// Source: IAM user guide, policy evaluation logic.
func Evaluate(p *Policies, r *Request) Decision {
	d, _ := EvaluateWithin(p, r, maxWork)
	return d
}

// EvaluateWithin decides as [Evaluate] does, and also returns the work that was done, in comparisons. If the decision needs more
// than limit of them, it ends there with Excess set, and the caller can decide again with more. A limit above the maximum of
// Evaluate is that maximum.
func EvaluateWithin(p *Policies, r *Request, limit int) (Decision, int) {
	limit = min(limit, maxWork)
	d := newDecision(p, r, limit)
	d.evaluate(p)
	return d.verdict(), d.work.used(limit)
}

// layerResult is the result of evaluating the policies of one layer.
type layerResult struct {
	evaluated bool     // the layer takes part in the decision
	naming    naming   // of all statements that allow
	allow     Decision // by a statement that allows; in a resource policy, the statement with the strongest naming
	deny      Decision // by the first statement that denies
}

// decision holds the results of the layers for a request. If why is not nil, findings and gaps are added to it.
type decision struct {
	*Request
	layers  [layers]layerResult
	bounded bool // the caller has a permissions boundary
	work    meter
	why     *Why
}

func newDecision(p *Policies, r *Request, limit int) decision {
	return decision{Request: r, bounded: len(p.Boundary) > 0, work: meter{keys: r.Context, left: limit}}
}

// evaluate sets the results of all layers that apply to the caller.
func (d *decision) evaluate(p *Policies) {
	owned := d.Caller.hasAccount()
	if !d.Caller.ServiceLinked {
		d.evaluateEach(LayerRCP, len(p.RCP), func(i int) { d.evaluateSet(LayerRCP, p.RCP[i]) })
		if owned {
			d.evaluateEach(LayerSCP, len(p.SCP), func(i int) { d.evaluateSet(LayerSCP, p.SCP[i]) })
		}
	}
	d.evaluatePolicy(LayerResource, Named{Policy: p.Repository})
	d.evaluateSet(LayerResource, p.Grants)
	if !p.RegistryV1 || scopeV1(d.Action) {
		d.evaluatePolicy(LayerResource, Named{Policy: p.Registry})
	}
	d.layers[LayerResource].evaluated = true
	if p.Trust != nil {
		d.layers[LayerTrust].evaluated = true
		d.evaluatePolicy(LayerTrust, Named{Policy: p.Trust})
	}
	if !owned && d.Caller.Kind != Customer || d.Caller.Kind == Account {
		return
	}
	d.layers[LayerIdentity].evaluated = true
	d.evaluateSet(LayerIdentity, p.Identity)
	d.evaluateEach(LayerBoundary, len(p.Boundary), func(i int) { d.evaluatePolicy(LayerBoundary, p.Boundary[i]) })
	d.evaluateEach(LayerSession, min(len(p.Session), 1), func(int) { d.evaluateSet(LayerSession, p.Session) })
}

// FitsV1 reports whether all actions of a registry policy are actions of the registry policy scope V1.
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

// scopeV1 reports whether a registry policy of the scope V1 applies to an action.
// Source: ECR user guide, registry permissions.
func scopeV1(action string) bool {
	return equalFold(action, "ecr:ReplicateImage") || equalFold(action, "ecr:BatchImportUpstreamImage") ||
		equalFold(action, "ecr:CreateRepository")
}

// evaluateEach evaluates n sets of policies, each of which must allow the request. With n = 0 the layer does not
// restrict.
func (d *decision) evaluateEach(l Layer, n int, evaluate func(i int)) {
	t := &d.layers[l]
	t.evaluated = n > 0
	allowed := true
	for i := range n {
		t.allow = Decision{}
		evaluate(i)
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

// evaluateSet evaluates policies of which one must allow the request.
func (d *decision) evaluateSet(l Layer, policies []Named) {
	for i := range policies {
		d.evaluatePolicy(l, policies[i])
	}
}

// evaluatePolicy evaluates one policy of a layer. A Named with a nil Policy counts as an empty policy.
func (d *decision) evaluatePolicy(l Layer, p Named) {
	if p.Policy == nil {
		return
	}
	t := &d.layers[l]
	for i := range p.Policy.statements {
		s := &p.Policy.statements[i]
		n, ok := s.applies(d.Request, d.bounded, &d.work)
		if d.work.exceeded() {
			return
		}
		if d.why != nil {
			d.why.note(d, l, p, s, ok)
		}
		if !ok {
			continue
		}
		if p.Limited && n&toCaller != 0 {
			n = n&^toCaller | toIssuer
		}
		found, verdict, stronger := &t.allow, Allowed, n > t.naming
		if s.deny {
			found, verdict, stronger = &t.deny, ExplicitlyDenied, false
		} else {
			t.naming |= n
		}
		if found.Verdict != verdict || stronger {
			*found = Decision{Verdict: verdict, Layer: l, Policy: p.Name, ARN: p.ARN, Statement: i, Sid: s.source.Sid}
		}
	}
}

// verdict combines the results of the layers.
func (d *decision) verdict() Decision {
	if d.work.exceeded() {
		return Decision{Statement: -1, Excess: true}
	}
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
	layer := d.resourceLayer()
	resource := &d.layers[layer]
	switch {
	case d.Caller.Kind == Customer:
		return d.ofCustomer(resource)
	case !d.Caller.hasAccount():
		if resource.naming == 0 {
			return denial(layer)
		}
		return resource.allow
	case d.Caller.Account != d.ResourceAccount:
		return d.acrossAccounts()
	case resource.naming&toCaller != 0:
		return resource.allow
	case layer == LayerTrust && resource.naming == 0:
		return denial(LayerTrust)
	case d.Caller.Kind == Account:
		return Decision{Verdict: Allowed, Statement: -1}
	case resource.naming&toAnyone != 0:
		if d.limits(LayerSession) {
			return denial(LayerSession)
		}
		return resource.allow
	}
	allow := &d.layers[LayerIdentity].allow
	if !allow.Allowed() && resource.naming&toIssuer != 0 {
		allow = &resource.allow
	}
	return d.limited(allow)
}

// ofCustomer decides a request of a customer: an entitlement must allow it, or a policy of the resource that names this customer. A policy
// that names everyone does not suffice, because each customer sees its own images only.
func (d *decision) ofCustomer(resource *layerResult) Decision {
	entitled := d.layers[LayerIdentity].allow
	switch {
	case resource.naming&toCaller != 0:
		return resource.allow
	case entitled.Allowed() && d.Caller.Account == d.ResourceAccount:
		return entitled
	}
	return denial(LayerIdentity)
}

// resourceLayer returns the layer of the resource's own policy: LayerTrust for a role to assume, else LayerResource.
func (d *decision) resourceLayer() Layer {
	if d.layers[LayerTrust].evaluated {
		return LayerTrust
	}
	return LayerResource
}

// denial returns an implicit denial by a layer.
func denial(l Layer) Decision { return Decision{Layer: l, Statement: -1} }

// acrossAccounts decides a request to a resource of another account: the side of the caller and the side of the
// resource must both allow it.
func (d *decision) acrossAccounts() Decision {
	resource := &d.layers[d.resourceLayer()]
	if d.Caller.Kind != Account {
		if own := d.limited(&d.layers[LayerIdentity].allow); !own.Allowed() {
			return own
		}
	}
	if resource.naming == 0 {
		return denial(d.resourceLayer())
	}
	return resource.allow
}

// limited returns allow, or an implicit denial if allow does not allow or if the boundary or the session policies do
// not allow.
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

// limits reports whether a layer takes part in the decision and does not allow the request.
func (d *decision) limits(l Layer) bool {
	return d.layers[l].evaluated && !d.layers[l].allow.Allowed()
}
