package meta

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// EntityKind is the kind of an Entity.
type EntityKind uint8

// The kinds. The zero EntityKind is not a kind.
const (
	User EntityKind = iota + 1
	Group
	Role
	ManagedPolicy // of a customer; managed policies of AWS are not stored
	InstanceProfile
	OIDCProvider
)

// Entity is one resource of IAM. Its ID is never used again: an entity created later under the same name has another
// ID. Fields that do not apply to the kind are zero.
type Entity struct {
	ID        string // AIDA…, AGPA…, AROA…, ANPA…, AIPA…; for a provider an id of ecrin's own
	Account   name.Account
	Kind      EntityKind
	Name      string // for a provider its URL without https://
	Path      string // "/" or "/a/b/"
	CreatedAt time.Time
	UpdatedAt time.Time // ManagedPolicy: time of the last change

	Description string
	Boundary    string        // User and Role: the ARN of the permissions boundary, "" for none
	Trust       BoundPolicy   // Role: the trust policy
	MaxSession  time.Duration // Role
	Service     string        // Role: the service that a service-linked role belongs to, "" for others

	DefaultVersion int // ManagedPolicy, from 1
	LastVersion    int // ManagedPolicy: the highest version number ever used

	ClientIDs, Thumbprints []string // OIDCProvider

	LastUsedAt     time.Time // Role: time of the last use; User: of the last sign-in with the password; zero for never
	LastUsedRegion string    // Role
}

// ARN returns the entity's ARN in the default partition, made from its kind, path ("" counts as "/") and name.
// Source: IAM user guide, IAM ARNs.
func (e Entity) ARN() string {
	kind := [...]name.EntityKind{
		User: name.IAMUser, Group: name.IAMGroup, Role: name.IAMRole, ManagedPolicy: name.IAMPolicy,
		InstanceProfile: name.InstanceProfile, OIDCProvider: name.OIDCProvider,
	}[e.Kind]
	return name.Entity{Kind: kind, Path: e.Path, Name: e.Name}.ARN(name.DefaultPartition, e.Account).String()
}

// BoundPolicy is the text of a policy with the unique ids of the principals that the text names.
type BoundPolicy struct {
	Text string
	// IDs maps principals of the text to their unique ids, such as arn:aws:iam::111122223333:role/x to AROA…. A principal
	// that is not in it matches by its text.
	IDs map[string]string
}

// Inline is a policy that is part of a user, group or role.
type Inline struct{ Name, Text string }

// PolicyVersion is one version of a customer's managed policy.
type PolicyVersion struct {
	Number    int // from 1
	Text      string
	CreatedAt time.Time
}

// Attached is an entity that a managed policy is attached to, or whose boundary it is.
type Attached struct {
	Entity   Entity
	Boundary bool
}

// SessionKind is the way in which a session was created.
type SessionKind uint8

// The kinds. The zero SessionKind is not a kind.
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
	Name         string // name of the session or of the federated user
	SealedSecret []byte
	Policies     []string // texts of inline session policies, at most one
	PolicyARNs   []string // ARNs of managed session policies
	Tags         map[string]string
	Transitive   []string          // keys of the Tags that are passed on when the session assumes a role
	Claims       map[string]string // condition keys of a web identity, such as issuer:sub
	Source       string            // the source identity, "" for none
	IssuedAt     time.Time
	ExpiresAt    time.Time
}

// ControlPolicyKind says what a control policy restricts.
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
	Account   name.Account // the account that it applies to; the zero Account means all
	Text      string
	UpdatedAt time.Time
}

// Use is the use of an access key or a role: the time, the region and the service.
type Use struct {
	At              time.Time
	Region, Service string
}
