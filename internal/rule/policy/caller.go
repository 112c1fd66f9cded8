package policy

import "github.com/ecrin-dev/ecrin/internal/word/name"

// Caller is the principal that makes a request. Fields that its kind does not have are zero.
type Caller struct {
	// Kind is Account (its root user), User, RoleSession, FederatedUser, Service, Federated (an identity that an identity
	// provider asserts, before it assumes a role), Customer or Anyone (anonymous). Only the principal * matches the zero Kind.
	Kind          PrincipalKind
	Account       name.Account // of the principal; zero for Service, Federated and Anyone
	ARN           string       // of the user or session; for Service its name; for Federated the provider as policies name it
	Issuer        string       // ARN with path of the role of a RoleSession, or of the user behind a FederatedUser
	UniqueID      string       // AIDA… of a User, AROA… of a RoleSession's role; "" when unknown
	ServiceLinked bool         // the role is service-linked, so that control policies do not apply to it
}

// naming is the set of ways in which a statement names the caller. The effect of an Allow in a resource policy depends
// on it.
type naming uint8

const (
	toAccount naming = 1 << iota // by the account: the identity policies of the account must allow the request too
	toIssuer                     // by the role or user of the session: boundary and session policies still limit it
	toAnyone                     // by *: session policies still limit the caller, the permissions boundary does not
	// By the ARN of the caller itself, or by * under a condition that aws:PrincipalArn has to match: no policy of its own
	// account needs to allow the request.
	toCaller
)

// names returns the ways in which a principal of a policy names the caller; zero means that it does not.
func (p *boundPrincipal) names(c *Caller) naming {
	if p.deleted {
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
		if c.Kind == RoleSession && name.SameARN(p.Text, c.ARN) && (p.id == "" || c.UniqueID == "" || p.id == c.UniqueID) {
			return toCaller
		}
	case FederatedUser, Federated, Service, Customer:
		if c.Kind == p.Kind && name.SameARN(p.Text, c.ARN) {
			return toCaller
		}
	}
	return 0
}

// same compares unique ids when both are known, else ARNs, in whatever partition. An entity keeps its unique id when it is renamed, and a
// later entity of the same name has another id.
func (p *boundPrincipal) same(arn, id string) bool {
	if p.id != "" && id != "" {
		return p.id == id
	}
	return name.SameARN(p.Text, arn)
}

// hasAccount reports whether the caller belongs to an account whose policies can allow its requests. The policies of a customer are its
// entitlements, and not those of the vendor's account.
func (c *Caller) hasAccount() bool {
	return c.Kind == Account || c.Kind == User || c.Kind == RoleSession || c.Kind == FederatedUser
}

// principal returns how the statement names the caller, and whether the statement applies to the caller. A statement of
// a kind of policy without principals applies to every caller that the policy is attached to.
func (s *statement) principal(c *Caller, bounded bool) (naming, bool) {
	if len(s.principals) == 0 {
		return 0, true
	}
	var all naming
	for i := range s.principals {
		all |= s.principals[i].names(c)
	}
	if !s.source.Principal.Not {
		// Source: IAM user guide, policy element Principal, IAM role principals: boundaries and session policies limit such a
		// permission only by explicit denials.
		if s.byARN && all&toAnyone != 0 {
			all |= toCaller
		}
		return all, all != 0
	}
	// NotPrincipal exempts a caller only when it names the caller itself, the account and, for a session, the role. It
	// never exempts a caller with a permissions boundary. Source: IAM user guide, NotPrincipal.
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
