// Package policy reads IAM policies and decides requests by them, with the reasons of each decision.
//
// [Parse] reads a text into a [Document], [Compile] prepares the document for decisions, and [Evaluate] or [Explain]
// decides a [Request] by the [Policies] that apply to it. Parse refuses everything that the policy language or the kind
// of policy does not allow, with its place in the text; nothing is skipped when a request is decided. The package is
// pure: whether a principal exists and which policies apply is looked up elsewhere.
package policy

import (
	"errors"
	"iter"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// MaxLength is the maximum length of an ECR policy in characters. White space between tokens does not count.
// [ParseLimit] takes another limit.
//
// The API model counts white space too, and the decoder of requests enforces that limit. Parse does not count it,
// because [Document.String] adds white space and Parse must accept its result. Source: ECR service model,
// RepositoryPolicyText.
const MaxLength = 10240

// Version is the version of the policy language.
type Version string

// The versions. A document without a Version element is read as [Version2008].
const (
	Version2008 Version = "2008-10-17"
	Version2012 Version = "2012-10-17" // has policy variables
)

// Effect is the effect of a statement on the requests that it matches.
type Effect string

// The effects.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Document is a valid policy, as [Parse] returns it. It must not be modified, and so is safe for concurrent use. All
// slices are in the order of the text.
type Document struct {
	Kind       Kind
	Version    Version // as written, "" when absent; see [Document.Language]
	ID         string  // "" when absent
	Single     bool    // Statement was written as one object, not as an array
	Statements []Statement
}

// Language returns the version of the policy language by which the document is read: [Version2008] when Version is
// absent.
// Source: IAM user guide, policy element Version.
func (d *Document) Language() Version {
	if d.Version == "" {
		return Version2008
	}
	return d.Version
}

// Statement is one statement of a policy.
type Statement struct {
	Sid        string // "" when absent; any characters, and not unique
	Effect     Effect
	Principal  Principals // without groups where the kind of policy has no principals
	Action     Patterns   // Parts are in lower case: actions are case-insensitive
	Resource   Patterns   // Of is empty when absent
	Conditions []Condition
}

// Patterns holds the values of Action, NotAction, Resource or NotResource.
type Patterns struct {
	Not  bool // NotAction, NotResource
	List bool // written as an array
	Of   []Pattern
}

// Principals holds the values of Principal or NotPrincipal.
type Principals struct {
	Not    bool             // NotPrincipal
	Bare   bool             // written as "*"; Groups then holds one principal of the kind Anyone
	Groups []PrincipalGroup // one for each member of the object
}

// PrincipalGroup is one member of a Principal object.
type PrincipalGroup struct {
	Type string // "AWS", "Service" or, in trust policies, "Federated"
	List bool   // written as an array
	Of   []Principal
}

// All returns an iterator over the principals of all groups.
func (p Principals) All() iter.Seq[Principal] {
	return func(yield func(Principal) bool) {
		for _, g := range p.Groups {
			for _, one := range g.Of {
				if !yield(one) {
					return
				}
			}
		}
	}
}

// PrincipalKind is the form of a principal. The zero value is no principal.
type PrincipalKind uint8

const (
	Anyone        PrincipalKind = iota + 1 // "*"
	Account                                // 12 digits, or an ARN that ends with :root: every principal of the account
	User                                   // an IAM user
	Role                                   // an IAM role, in any session
	RoleSession                            // one session of a role
	FederatedUser                          // a federated user
	Service                                // a service such as codebuild.amazonaws.com
	Federated                              // an identity provider, in trust policies
	Customer                               // a customer of an application
)

// Principal is one principal. Fields that its kind does not have are zero.
type Principal struct {
	Kind      PrincipalKind
	Text      string       // as written
	Partition string       // of the ARN; "" for an account written as digits
	Account   name.Account // of all kinds but Anyone, Service and Federated; for a Customer, of the vendor
	Path      string       // of a User or Role: "/" or "/a/b/"
	Name      string       // of the user, role, federated user, service, provider, or APPLICATION/CUSTOMER
	Session   string       // of a RoleSession
}

// Parse reads a policy of the given kind, of at most [MaxLength] characters. It is strict: names of elements are
// case-sensitive, and an unknown or repeated element, an unknown operator, and a value that its element or operator
// does not allow are errors.
//
// Parse panics if kind is not one of the constants, which is a mistake of the calling code.
//
// Errors: fault.InvalidParameter. Its cause is a [*Problem] with the place and the reason, which the public text
// contains too. For policies of ECR the public text begins with ECR's own text.
// Sources: IAM user guide, grammar of the JSON policy language; ECR user guide, repository policies.
func Parse(text string, kind Kind) (*Document, error) { return ParseLimit(text, kind, MaxLength) }

// ParseLimit is like [Parse] with another limit in characters, at least 1. IAM has a limit for each place that holds a
// policy.
func ParseLimit(text string, kind Kind, limit int) (*Document, error) {
	return parse(parser{text: text, kind: kind, limit: limit})
}

// ParseStored is like [Parse] for a text that was accepted when it was stored, by this version or by an earlier one: it
// has no limit, and rules that an earlier version did not have do not hold for it. A policy that denies must not lose its
// effect by an upgrade, and a policy that cannot be read would deny every request.
func ParseStored(text string, kind Kind) (*Document, error) {
	return parse(parser{text: text, kind: kind, limit: len(text) + 1, stored: true})
}

func parse(p parser) (*Document, error) {
	kind := p.kind
	if kind == 0 || int(kind) >= len(kinds) {
		panic("policy: parse of an unknown kind of policy")
	}
	p.rules = kinds[kind]
	d, err := p.document()
	if err == nil {
		return d, nil
	}
	public := fault.InvalidParameter.New("the %s policy cannot be read: %s", kind, err)
	var at *Problem
	if (kind == Repository || kind == Registry) && errors.As(err, &at) {
		public = fault.InvalidParameter.New(
			"Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid %s policy provided' (%s)", kind, at.place())
	}
	return nil, public.Because(err)
}
