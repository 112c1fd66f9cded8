package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/name"
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

// ControlKind is what a guard rail of the installation restricts.
type ControlKind string

// The kinds.
const (
	ServiceControl  ControlKind = "SERVICE_CONTROL_POLICY"
	ResourceControl ControlKind = "RESOURCE_CONTROL_POLICY"
)

// ControlPolicy is a guard rail of the installation's operator.
type ControlPolicy struct {
	Name      string // unique within kind and account
	Kind      ControlKind
	Account   name.Account // that it holds for; the zero Account is all of them
	Text      string
	UpdatedAt time.Time
}

// Use is when an access key or a role was used, where, and for which service.
type Use struct {
	At              time.Time
	Region, Service string
}

// --- Entities. NoSuchEntity texts are those of IAM: "The user with name X cannot be found.", "The role with name X cannot
// be found.", "The group with name X cannot be found.", "Policy ARN was not found" variants; see [noSuchEntity].

// CreateEntity stores a new entity with its tags. most is how many of its kind the account may have.
// Errors: fault.EntityAlreadyExists (names differ by more than case), fault.LimitExceeded, fault.AccountNotFound.
func (s *Store) CreateEntity(ctx context.Context, e Entity, tags map[string]string, most int) error {
	panic("unbuilt")
}

// Entity finds an entity by its name, case and all. Errors: fault.NoSuchEntity.
func (s *Store) Entity(ctx context.Context, account name.Account, kind EntityKind, entityName string) (Entity, error) {
	panic("unbuilt")
}

// EntityByID finds an entity by its unique id. Errors: fault.NoSuchEntity.
func (s *Store) EntityByID(ctx context.Context, id string) (Entity, error) {
	panic("unbuilt")
}

// Entities lists an account's entities of a kind by name, those after the given one whose path begins with pathPrefix,
// at most limit.
func (s *Store) Entities(ctx context.Context, account name.Account, kind EntityKind, pathPrefix, after string, limit int) ([]Entity, error) {
	panic("unbuilt")
}

// CountEntities tells how many entities of each kind an account has.
func (s *Store) CountEntities(ctx context.Context, account name.Account) (map[EntityKind]int, error) {
	panic("unbuilt")
}

// UpdateEntity changes an entity in one transaction: change gets it as it is and may run more than once. It may change the
// name too, but not id, account, kind and creation. An error of change ends it.
// Errors: fault.NoSuchEntity, fault.EntityAlreadyExists (the new name is taken).
func (s *Store) UpdateEntity(ctx context.Context, account name.Account, kind EntityKind, entityName string, change func(*Entity) error) (Entity, error) {
	panic("unbuilt")
}

// DeleteEntity removes an entity on which nothing hangs. Errors: fault.NoSuchEntity, fault.DeleteConflict: a user with
// access keys, inline or attached policies, or groups; a group with members or policies; a role with policies or instance
// profiles; a managed policy that is attached, is a boundary, or has more than its default version; an instance profile
// with a role. Texts as IAM's, such as "Cannot delete entity, must detach all policies first."
// Whatever named it (trust policies, repository policies) stays and names nobody.
func (s *Store) DeleteEntity(ctx context.Context, account name.Account, kind EntityKind, entityName string) error {
	panic("unbuilt")
}

// Tags lists the tags of an entity.
func (s *Store) EntityTags(ctx context.Context, id string) (map[string]string, error) {
	panic("unbuilt")
}

// PutEntityTags adds or replaces tags. Errors: fault.LimitExceeded (more than most).
func (s *Store) PutEntityTags(ctx context.Context, id string, tags map[string]string, most int) error {
	panic("unbuilt")
}

// RemoveEntityTags removes tags; those that are not there are passed over.
func (s *Store) RemoveEntityTags(ctx context.Context, id string, keys []string) error {
	panic("unbuilt")
}

// PutInline sets an inline policy of a user, group or role. most is how many characters, white space not counted, all its
// inline policies may have together. Errors: fault.LimitExceeded.
func (s *Store) PutInline(ctx context.Context, id string, p Inline, most int) error {
	panic("unbuilt")
}

// DeleteInline removes one. Errors: fault.NoSuchEntity.
func (s *Store) DeleteInline(ctx context.Context, id, policyName string) error {
	panic("unbuilt")
}

// Inlines lists the inline policies of an entity by name.
func (s *Store) Inlines(ctx context.Context, id string) ([]Inline, error) {
	panic("unbuilt")
}

// Attach attaches a managed policy; attaching it twice is no error. For a customer's policy it must still exist in the
// transaction. Errors: fault.LimitExceeded (more than most), fault.NoSuchEntity (the policy).
func (s *Store) Attach(ctx context.Context, id, policyARN string, most int) error {
	panic("unbuilt")
}

// Detach removes an attachment. Errors: fault.NoSuchEntity.
func (s *Store) Detach(ctx context.Context, id, policyARN string) error {
	panic("unbuilt")
}

// Attachments lists the ARNs of the managed policies attached to an entity, sorted.
func (s *Store) Attachments(ctx context.Context, id string) ([]string, error) {
	panic("unbuilt")
}

// AttachedTo lists the entities of an account that a managed policy is attached to or the boundary of, by kind and name.
func (s *Store) AttachedTo(ctx context.Context, account name.Account, policyARN string) ([]Attached, error) {
	panic("unbuilt")
}

// AttachmentCounts tells for each managed policy of an account, and each of AWS in use there, how many entities it is attached
// to and of how many it is the boundary.
func (s *Store) AttachmentCounts(ctx context.Context, account name.Account) (attached, boundary map[string]int, err error) {
	panic("unbuilt")
}

// AddMember puts a user into a group, or a role into an instance profile; twice is no error. A member may be in
// mostContainers, a container may have mostMembers (0 for any number). Errors: fault.LimitExceeded, fault.NoSuchEntity (one of
// them was deleted meanwhile).
func (s *Store) AddMember(ctx context.Context, container, member string, mostContainers, mostMembers int) error {
	panic("unbuilt")
}

// RemoveMember takes it out. Errors: fault.NoSuchEntity.
func (s *Store) RemoveMember(ctx context.Context, container, member string) error {
	panic("unbuilt")
}

// Members lists the members of a group or instance profile by name.
func (s *Store) Members(ctx context.Context, container string) ([]Entity, error) {
	panic("unbuilt")
}

// Containers lists the groups or instance profiles that a user or role is in, by name.
func (s *Store) Containers(ctx context.Context, member string) ([]Entity, error) {
	panic("unbuilt")
}

// CreatePolicyVersion adds a version to a managed policy, numbered after the last one ever given out; a policy has at most
// most. With setDefault it becomes the default. The policy's UpdatedAt moves. Errors: fault.LimitExceeded, fault.NoSuchEntity.
func (s *Store) CreatePolicyVersion(ctx context.Context, policyID, text string, setDefault bool, most int) (PolicyVersion, error) {
	panic("unbuilt")
}

// DeletePolicyVersion removes a version. Errors: fault.NoSuchEntity, fault.DeleteConflict (the default one).
func (s *Store) DeletePolicyVersion(ctx context.Context, policyID string, number int) error {
	panic("unbuilt")
}

// PolicyVersions lists the versions of a managed policy, newest first. CreateEntity makes none: make the first one by
// CreatePolicyVersion with setDefault.
func (s *Store) PolicyVersions(ctx context.Context, policyID string) ([]PolicyVersion, error) {
	panic("unbuilt")
}

// SetAlias gives the account an alias that no other account has; "" takes it away. Errors: fault.EntityAlreadyExists,
// fault.AccountNotFound.
func (s *Store) SetAlias(ctx context.Context, account name.Account, alias string) error {
	panic("unbuilt")
}

// AccessKeysOf lists the keys of one principal (a user's unique id, or the account's digits for its root user), oldest first.
func (s *Store) AccessKeysOf(ctx context.Context, account name.Account, principal string) ([]AccessKey, error) {
	panic("unbuilt")
}

// SetUsed records when access keys and roles were last used. What is gone meanwhile is passed over.
func (s *Store) SetUsed(ctx context.Context, keys, roles map[string]Use) error {
	panic("unbuilt")
}

// IdentityGeneration grows with every change to entities, their policies, memberships and tags, to accounts and to control
// policies, after its commit and before it is acknowledged. What was read while it stayed the same is still true.
func (s *Store) IdentityGeneration() uint64 {
	panic("unbuilt")
}

// --- Sessions.

// PutSession stores a session, and forgets those that ended more than 13 hours ago: docker tokens outlive their session by up
// to 12. Errors: fault.AccountNotFound.
func (s *Store) PutSession(ctx context.Context, v Session) error {
	panic("unbuilt")
}

// Session finds a session, ended or not, by its access key. It is answered from the cache. Errors: fault.AccessKeyNotFound.
func (s *Store) Session(ctx context.Context, accessKey string) (Session, error) {
	panic("unbuilt")
}

// --- Policies of registries and of the installation.

// RegistryPolicy reads a registry's policy; one without text when there is none. It is answered from the cache.
func (s *Store) RegistryPolicy(ctx context.Context, r name.Registry) (BoundPolicy, error) {
	panic("unbuilt")
}

// PutRegistryPolicy sets it; one without text removes it. Errors: fault.AccountNotFound.
func (s *Store) PutRegistryPolicy(ctx context.Context, r name.Registry, p BoundPolicy) error {
	panic("unbuilt")
}

// ControlPolicies lists all guard rails by kind, account and name. One without text says that the full access which every
// level has is taken away from this one; its name is FullAccess.
func (s *Store) ControlPolicies(ctx context.Context) ([]ControlPolicy, error) {
	panic("unbuilt")
}

// PutControlPolicy sets a guard rail. Errors: fault.AccountNotFound.
func (s *Store) PutControlPolicy(ctx context.Context, p ControlPolicy) error {
	panic("unbuilt")
}

// DeleteControlPolicy removes one. Errors: fault.ControlPolicyNotFound.
func (s *Store) DeleteControlPolicy(ctx context.Context, kind ControlKind, account name.Account, policyName string) error {
	panic("unbuilt")
}
