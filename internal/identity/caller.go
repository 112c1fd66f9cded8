// Package identity knows who calls, gathers the policies that hold for a caller, and decides what it may do.
package identity

import (
	"net/netip"

	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// Kind is what sort of principal a caller is.
type Kind uint8

// The kinds. The zero Kind is nobody.
const (
	Nobody        Kind = iota
	Root               // an account's root user
	Operator           // whoever holds the installation's master key
	User               // an IAM user
	RoleSession        // a role, in a session
	FederatedUser      // who a user has made by GetFederationToken
	WebIdentity        // whoever an identity provider vouches for, before a role is assumed
	AWSService         // a service such as lambda.amazonaws.com
	Anonymous          // nobody in particular, where the operator lets such callers in
)

// Caller is a principal with its session: who makes a request. It is a value and holds no secrets.
type Caller struct {
	Kind      Kind
	Account   name.Account // none for the operator, a service and the anonymous
	ARN       string       // of a web identity its provider's; of a service its name; "" for the anonymous
	UserID    string       // as GetCallerIdentity shows it
	Principal string       // the unique id of the user or role; the account's digits for its root user
	AccessKey string       // the access key id that signed, or with which the docker token was got
	Session   string       // the same when it is one of temporary credentials, whose policies then hold too
	Token     string       // the docker token's id; "" for signed calls
}

// RootARN is the ARN of an account's root user.
func RootARN(account name.Account) string { return "arn:aws:iam::" + account.String() + ":root" }

// Access is one thing that a caller wants to do: an IAM action on a resource.
type Access struct {
	Action   string       // such as ecr:PutImage
	Account  name.Account // the owner of the resource; none for what belongs to nobody (a token for oneself)
	Region   name.Region  // where it is asked for
	Resource string       // ARN, or "*" for an action without resource
	From     Origin

	Repository name.Repo         // the repository that Resource is the ARN of; none for other resources
	Image      Image             // what the request names in the repository
	Trust      *meta.BoundPolicy // of the role that Resource is the ARN of, for the actions of STS on a role
	Role       string            // the unique id of that role, so that what was decided is done on no namesake
	Keys       []ConditionKey    // condition keys of this operation
	Instead    *meta.BoundPolicy // decides as if the repository had this policy
}

// Image is the image that a request is about, for the condition keys ecrin:ImageTag and ecrin:ImageDigest.
type Image struct {
	name.Reference
	Stored bool // it is read, so that the keys have its digest, and the tags that lead to it, too
	Whole  bool // by its digest it goes with all of its tags, so that each of them has to be allowed
}

// ConditionKey is a condition key of an operation with its values: one, or with List any number.
type ConditionKey struct {
	Name   string
	Values []string
	List   bool
}

// Origin is where a request came from.
type Origin struct {
	SourceIP  netip.Addr
	Secure    bool // by TLS, up to us or to a proxy that we trust
	UserAgent string
	Referer   string
}
