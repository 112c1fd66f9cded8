package policy

import "github.com/ecrin-dev/ecrin/internal/name"

// Caller is who makes a request. Fields that its kind does not have are zero.
type Caller struct {
	// Kind is Account (its root user), User, RoleSession, FederatedUser, Service, Federated (whoever an identity provider
	// vouches for, before the role is assumed), Customer or Anyone (anonymous). Only the principal * names the zero Kind.
	Kind          PrincipalKind
	Account       name.Account // of the principal: not of Service, Federated and Anyone
	ARN           string       // of the user or session; of Service its name; of Federated the provider as policies name it
	Issuer        string       // ARN with path of the role of a RoleSession, or of the user behind a FederatedUser
	UniqueID      string       // AIDA… of a User, AROA… of a RoleSession's role; "" when it is not known
	ServiceLinked bool         // the role is one of those that control policies do not bind
}

// grant is how a statement names the caller, as bits: what an Allow of a resource policy is worth depends on it.
type grant uint8

const (
	toAccount grant = 1 << iota // by its account, which delegates: the account has to grant it too
	toIssuer                    // by the role or user behind the session: the session's own limits still count
	toAnyone                    // by *: a permissions boundary does not count, a session policy does
	toCaller                    // by itself: nothing of its own side counts
)

// names tells how one principal of a policy names the caller; zero means not at all.
func (p *boundPrincipal) names(c *Caller) grant {
	if p.gone {
		return 0
	}
	switch p.Kind {
	case Anyone:
		return toAnyone
	case Account:
		if c.Account == p.Account && c.hasAccount() {
			return toAccount
		}
	case User:
		if c.Kind == User && p.same(c.ARN, c.UniqueID) {
			return toCaller
		}
		if c.Kind == FederatedUser && p.same(c.Issuer, c.UniqueID) {
			return toIssuer
		}
	case Role:
		if c.Kind == RoleSession && p.same(c.Issuer, c.UniqueID) {
			return toIssuer
		}
	case RoleSession:
		if c.Kind == RoleSession && p.Text == c.ARN && (p.id == "" || c.UniqueID == "" || p.id == c.UniqueID) {
			return toCaller
		}
	case FederatedUser, Federated, Service, Customer:
		if c.Kind == p.Kind && p.Text == c.ARN {
			return toCaller
		}
	}
	return 0
}

// same compares the unique ids where both are known: they outlive a change of name, and no namesake has them.
func (p *boundPrincipal) same(arn, id string) bool {
	if p.id != "" && id != "" {
		return p.id == id
	}
	return p.Text == arn
}

// hasAccount tells whether the caller belongs to an account whose policies grant it anything. A customer has no policies of
// its own: only a resource's policy, or what its licence entitles it to, allows it anything.
func (c *Caller) hasAccount() bool {
	return c.Kind == Account || c.Kind == User || c.Kind == RoleSession || c.Kind == FederatedUser
}

// principal tells how the statement names the caller, and whether it does. A statement of a kind of policy without
// principals is about whoever the policy is attached to.
func (s *statement) principal(c *Caller, bounded bool) (grant, bool) {
	if len(s.principals) == 0 {
		return 0, true
	}
	var all grant
	for i := range s.principals {
		all |= s.principals[i].names(c)
	}
	if !s.source.Principal.Not {
		return all, all != 0
	}
	// NotPrincipal spares a caller only when it names all that the caller is: itself, the account, and the role of a
	// session. It never spares one with a permissions boundary. Source: IAM user guide, NotPrincipal.
	if bounded {
		return 0, true
	}
	for i := range s.principals {
		if s.principals[i].Kind == Anyone {
			return 0, false
		}
	}
	wanted := toCaller
	switch c.Kind {
	case Account:
		wanted = toAccount
	case User, FederatedUser:
		wanted = toAccount | toCaller
	case RoleSession:
		wanted = toAccount | toIssuer | toCaller
	}
	return 0, all&wanted != wanted
}
