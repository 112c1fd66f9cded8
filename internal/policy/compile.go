package policy

// Compiled is a document made ready for decisions. It is not to be changed, and so is safe for concurrent use.
type Compiled struct {
	Document   *Document
	statements []statement
}

// statement is a compiled [Statement].
type statement struct {
	source     *Statement
	index      int // in the document, from 0
	deny       bool
	principals []boundPrincipal
	actions    []glob
	resources  []arnGlob
	tests      []test
}

// boundPrincipal is a principal of a statement with the unique id that it was bound to.
type boundPrincipal struct {
	Principal
	id   string // "" when it is known by its ARN
	gone bool   // what it was bound to is no more: it matches nobody
}

// Binding gives the unique id (AIDA…, AROA…) that a user, role or role session of a policy was bound to when the policy
// was set. An empty id leaves the principal known by its ARN; not found means that what it was bound to has been
// deleted, so that a namesake made later does not inherit its rights.
// Source: IAM user guide, policy element Principal; that ECR does the same is our choice.
type Binding func(Principal) (id string, found bool)

// Compile makes a document ready for decisions. Without a binding, principals are known by their ARNs.
func Compile(d *Document, bind Binding) *Compiled {
	c := &Compiled{Document: d, statements: make([]statement, len(d.Statements))}
	for i := range d.Statements {
		s := &d.Statements[i]
		out := statement{source: s, index: i, deny: s.Effect == Deny}
		for p := range s.Principal.All() {
			bound := boundPrincipal{Principal: p}
			if bind != nil && (p.Kind == User || p.Kind == Role || p.Kind == RoleSession) {
				id, found := bind(p)
				bound.id, bound.gone = id, !found
			}
			out.principals = append(out.principals, bound)
		}
		for _, p := range s.Action.Of {
			out.actions = append(out.actions, newGlob(p.Parts, true))
		}
		for _, p := range s.Resource.Of {
			out.resources = append(out.resources, newARNGlob(p.Parts))
		}
		for i := range s.Conditions {
			for k := range s.Conditions[i].Keys {
				out.tests = append(out.tests, newTest(&s.Conditions[i].Operator, &s.Conditions[i].Keys[k]))
			}
		}
		c.statements[i] = out
	}
	return c
}

// FullAccess is the policy that AWS attaches to every level of an organization: FullAWSAccess for a ServiceControl kind,
// else RCPFullAWSAccess. A level of control policies that lacks it allows only what its other policies allow.
func FullAccess(kind Kind) Named {
	named, principal := Named{Name: "RCPFullAWSAccess", ARN: "resource_control_policy/p-RCPFullAWSAccess"}, `"Principal":"*",`
	if kind == ServiceControl {
		named, principal = Named{Name: "FullAWSAccess", ARN: "service_control_policy/p-FullAWSAccess"}, ""
	} else {
		kind = ResourceControl
	}
	named.ARN = "arn:aws:organizations::aws:policy/" + named.ARN
	d, err := Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",`+principal+`"Action":"*","Resource":"*"}]}`, kind)
	if err != nil {
		panic(err) // the text is a constant
	}
	named.Policy = Compile(d, nil)
	return named
}

func (s *statement) action(r *Request) bool {
	for i := range s.actions {
		if s.actions[i].stands(r.Action, r.Context) {
			return !s.source.Action.Not
		}
	}
	return s.source.Action.Not
}

// resource tells whether the statement is about the resource. One without Resource is about whatever it is attached to.
// A pattern that cannot be known, since a variable has no value, keeps a NotResource from matching, too.
func (s *statement) resource(r *Request) bool {
	unsure := false
	for i := range s.resources {
		switch s.resources[i].match(r.Resource, r.Context) {
		case matches:
			return !s.source.Resource.Not
		case unknown:
			unsure = true
		}
	}
	return s.source.Resource.Not && !unsure || len(s.resources) == 0
}

// condition gives the first test that does not hold, or nil.
func (s *statement) condition(r *Request) *test {
	for i := range s.tests {
		if !s.tests[i].holds(r.Context) {
			return &s.tests[i]
		}
	}
	return nil
}

// applies tells whether the whole statement describes the request, and how it names the caller. A caller is bounded when
// it has a permissions boundary.
func (s *statement) applies(r *Request, bounded bool) (grant, bool) {
	if !s.action(r) {
		return 0, false
	}
	g, ok := s.principal(&r.Caller, bounded)
	return g, ok && s.resource(r) && s.condition(r) == nil
}
