// Package policy reads IAM policies and decides by them, with the reasons.
//
// [Parse] makes a [Document] of a text, [Compile] makes it fit for decisions, and [Evaluate] or [Explain] decide a
// [Request] by the [Policies] that somebody gathered. Whatever the language or the kind of policy does not have is
// refused when the policy is set, with its place, and not passed over when a request is decided. The package is pure;
// all that needs a store (whether a principal exists, which policies apply) is asked elsewhere.
package policy

import (
	"errors"
	"iter"

	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// MaxLength is the length of a policy of ECR in characters; white space between its words does not count. [ParseLimit]
// takes another one.
//
// The API model counts white space too, and whoever decodes requests holds clients to it. Here it must not, for
// [Document.String] adds some and its result has to stay readable. Source: ECR service model, RepositoryPolicyText.
const MaxLength = 10240

// Version is the version of the policy language.
type Version string

// The versions. A document without one is a [Version2008].
const (
	Version2008 Version = "2008-10-17"
	Version2012 Version = "2012-10-17" // has policy variables
)

// Effect is what a statement does with the requests that it describes.
type Effect string

// The effects.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Document is a policy that keeps every rule of the grammar; only [Parse] makes one. It is not to be changed, and so
// is safe for concurrent use. All orders are those of the text.
type Document struct {
	Kind       Kind
	Version    Version // as written, "" when absent; see [Document.Language]
	ID         string  // "" when absent
	Single     bool    // Statement was written as one object, not as an array
	Statements []Statement
}

// Language is the version that the document is read by: an absent one is the older.
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
	Principal  Principals // no groups where the kind of policy has none
	Action     Patterns   // lower-cased in Parts: actions have no case
	Resource   Patterns   // Of is empty when absent
	Conditions []Condition
}

// Patterns are the values of Action, Resource or their opposites.
type Patterns struct {
	Not  bool // NotAction, NotResource
	List bool // written as an array
	Of   []Pattern
}

// Principals are the values of Principal or NotPrincipal.
type Principals struct {
	Not    bool             // NotPrincipal
	Bare   bool             // written as "*"; Groups then holds one anyone
	Groups []PrincipalGroup // one for each member of the object
}

// PrincipalGroup is one member of a Principal object.
type PrincipalGroup struct {
	Type string // "AWS", "Service" or, in trust policies, "Federated"
	List bool   // written as an array
	Of   []Principal
}

// All goes through the principals of every group.
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

// PrincipalKind tells the forms of a principal apart. Its zero value is none.
type PrincipalKind uint8

const (
	Anyone        PrincipalKind = iota + 1 // "*"
	Account                                // 12 digits, or the ARN that ends with :root: all of the account
	User                                   // an IAM user
	Role                                   // an IAM role, in whatever session
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
	Account   name.Account // all kinds but Anyone, Service and Federated; of a Customer the vendor's
	Path      string       // of a User or Role: "/" or "/a/b/"
	Name      string       // of the user, role, federated user, service, provider, or APPLICATION/CUSTOMER
	Session   string       // of a RoleSession
}

// Parse reads a policy of a kind, of at most [MaxLength] characters. It is strict: names of elements have their exact
// case, and an unknown or repeated element, an unknown operator, and a value that its element or operator cannot have
// are all errors.
//
// The error is fault.InvalidParameter; its cause is a [*Problem], which tells the place and the reason, and so does its
// public text. For policies of ECR that text begins with the one that ECR gives. A kind that is none is a mistake of
// the caller and panics.
// Sources: IAM user guide, grammar of the JSON policy language; ECR user guide, repository policies.
func Parse(text string, kind Kind) (*Document, error) { return ParseLimit(text, kind, MaxLength) }

// ParseLimit is [Parse] with another limit in characters, at least 1: IAM has one for each place that holds a policy.
func ParseLimit(text string, kind Kind, limit int) (*Document, error) {
	if kind == 0 || int(kind) >= len(kinds) {
		panic("policy: parse of no kind of policy")
	}
	p := parser{text: text, kind: kind, rules: kinds[kind], limit: limit}
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
