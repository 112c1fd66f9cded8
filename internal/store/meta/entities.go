package meta

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// EntityKind is what sort of IAM thing an Entity is.
type EntityKind uint8

// The kinds. The zero EntityKind is none.
const (
	User EntityKind = iota + 1
	Group
	Role
	ManagedPolicy // of a customer; those of AWS are not stored
	InstanceProfile
	OIDCProvider
)

// Entity is one thing that IAM manages. Its ID is never used again, so that a namesake made later is another one.
// Fields that its kind does not have are zero.
type Entity struct {
	ID        string // AIDA…, AGPA…, AROA…, ANPA…, AIPA…; of a provider a made-up one
	Account   name.Account
	Kind      EntityKind
	Name      string // of a provider its URL without https://
	Path      string // "/" or "/a/b/"
	CreatedAt time.Time
	UpdatedAt time.Time // of a ManagedPolicy: when it last changed

	Description string
	Boundary    string        // User and Role: the ARN of the permissions boundary, "" for none
	Trust       BoundPolicy   // Role: who may assume it
	MaxSession  time.Duration // Role
	Service     string        // Role: the service that a service-linked role belongs to, "" for others

	DefaultVersion int // ManagedPolicy, from 1
	LastVersion    int // ManagedPolicy: the highest number ever given out

	ClientIDs, Thumbprints []string // OIDCProvider

	LastUsedAt     time.Time // Role: when it was last used, zero for never
	LastUsedRegion string    // Role
}

// ARN is the entity's ARN, by its kind, path ("" stands for "/") and name. Source: IAM user guide, IAM ARNs.
func (e Entity) ARN() string {
	kind := [...]name.EntityKind{
		User: name.IAMUser, Group: name.IAMGroup, Role: name.IAMRole, ManagedPolicy: name.IAMPolicy,
		InstanceProfile: name.InstanceProfile, OIDCProvider: name.OIDCProvider,
	}[e.Kind]
	return name.Entity{Kind: kind, Path: e.Path, Name: e.Name}.ARN(name.DefaultPartition, e.Account).String()
}

// BoundPolicy is the text of a policy with the unique ids of the principals that it names, by their text in it.
type BoundPolicy struct {
	Text string
	IDs  map[string]string // such as arn:aws:iam::111122223333:role/x to AROA…; what is not in it is known by its text
}

// Inline is a policy that is part of a user, group or role.
type Inline struct{ Name, Text string }

// PolicyVersion is one version of a customer's managed policy.
type PolicyVersion struct {
	Number    int // from 1
	Text      string
	CreatedAt time.Time
}

// Attached is an entity that a managed policy is attached to, or is the boundary of.
type Attached struct {
	Entity   Entity
	Boundary bool
}

// SessionKind is how a session came to be.
type SessionKind uint8

// The kinds. The zero SessionKind is none.
const (
	RoleSession      SessionKind = iota + 1 // AssumeRole and AssumeRoleWithWebIdentity
	UserSession                             // GetSessionToken: the user, or the root user, with temporary credentials
	FederatedSession                        // GetFederationToken
)

// Session is a set of temporary credentials.
type Session struct {
	AccessKey    string // ASIA…
	Account      name.Account
	Kind         SessionKind
	Principal    string // the unique id of the role or user; the account's 12 digits for its root user
	Name         string // of the session; of the federated user
	SealedSecret []byte
	Policies     []string // texts of inline session policies, at most one
	PolicyARNs   []string // ARNs of managed session policies
	Tags         map[string]string
	Transitive   []string          // keys of Tags that go on into the next role
	Claims       map[string]string // condition keys of a web identity, such as issuer:sub
	Source       string            // the source identity, "" for none
	IssuedAt     time.Time
	ExpiresAt    time.Time
}

// ControlPolicyKind is what a control policy of the installation restricts.
type ControlPolicyKind string

// The kinds.
const (
	ServiceControl  ControlPolicyKind = "SERVICE_CONTROL_POLICY"
	ResourceControl ControlPolicyKind = "RESOURCE_CONTROL_POLICY"
)

// ControlPolicy is a control policy of the installation's operator.
type ControlPolicy struct {
	Name      string // unique within kind and account
	Kind      ControlPolicyKind
	Account   name.Account // that it holds for; the zero Account is all of them
	Text      string
	UpdatedAt time.Time
}

// Use is when an access key or a role was used, where, and for which service.
type Use struct {
	At              time.Time
	Region, Service string
}
