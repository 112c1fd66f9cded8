package policy

// Compiled is a document prepared for decisions. It must not be modified, and so is safe for concurrent use.
type Compiled struct {
	Document   *Document
	statements []statement
	variables  []string // condition keys of policy variables, in lower case
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
	byARN      bool // a condition requires that aws:PrincipalArn matches: with the principal *, this names the caller itself
}

// boundPrincipal is a principal of a statement with the unique id that it was bound to.
type boundPrincipal struct {
	Principal
	id      string // "" when the principal is identified by its ARN
	deleted bool   // the entity that it was bound to does not exist any more: it matches no caller
}

// Binding returns the unique id (AIDA…, AROA…) that a user, role or role session of a policy was bound to when the
// policy was set. An empty id means that the principal is identified by its ARN. found is false when the entity that
// the principal was bound to has been deleted, so that a later entity of the same name does not inherit its rights.
// Source: IAM user guide, policy element Principal. That ECR does the same is a decision of ecrin.
type Binding func(Principal) (id string, found bool)

// Compile prepares a document for decisions. With a nil bind, principals are identified by their ARNs.
func Compile(d *Document, bind Binding) *Compiled {
	c := &Compiled{Document: d, statements: make([]statement, len(d.Statements)), variables: d.variables()}
	for i := range d.Statements {
		s := &d.Statements[i]
		out := statement{source: s, index: i, deny: s.Effect == Deny}
		for p := range s.Principal.All() {
			bound := boundPrincipal{Principal: p}
			if bind != nil && (p.Kind == User || p.Kind == Role || p.Kind == RoleSession) {
				id, found := bind(p)
				bound.id, bound.deleted = id, !found
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
				t := newTest(&s.Conditions[i].Operator, &s.Conditions[i].Keys[k])
				out.byARN = out.byARN || t.requires(principalARN)
				out.tests = append(out.tests, t)
			}
		}
		c.statements[i] = out
	}
	return c
}

// FullAccess returns the policy that AWS attaches to every level of an organization: FullAWSAccess for the kind
// ServiceControl, else RCPFullAWSAccess. A level of control policies without it allows only what its other policies
// allow.
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

func (s *statement) action(r *Request, m *meter) bool {
	for i := range s.actions {
		if s.actions[i].matchKnown(r.Action, m) {
			return !s.source.Action.Not
		}
	}
	return s.source.Action.Not
}

// resource reports whether the statement applies to the resource. A statement without Resource applies to the resource
// that its policy is attached to. A pattern with a variable that has no value matches no resource. Such a pattern in a
// NotResource is read against the caller: a Deny applies, an Allow does not.
// Source: IAM user guide, policy variables with no value; that an Allow does not apply is a decision of ecrin.
func (s *statement) resource(r *Request, m *meter) bool {
	unsure := false
	for i := range s.resources {
		switch s.resources[i].match(r.Resource, m) {
		case matches:
			return !s.source.Resource.Not
		case unknown:
			unsure = true
		}
	}
	return s.source.Resource.Not && (s.deny || !unsure) || len(s.resources) == 0
}

// condition returns the first test that does not hold, or nil.
func (s *statement) condition(m *meter) *test {
	for i := range s.tests {
		if !s.tests[i].holds(m) {
			return &s.tests[i]
		}
	}
	return nil
}

// applies reports whether the whole statement matches the request, and returns how it names the caller. bounded is true
// for a caller with a permissions boundary.
func (s *statement) applies(r *Request, bounded bool, m *meter) (naming, bool) {
	if !m.take(1+len(s.actions)+len(s.resources)) || !s.action(r, m) {
		return 0, false
	}
	n, ok := s.principal(&r.Caller, bounded)
	return n, ok && s.resource(r, m) && s.condition(m) == nil
}
