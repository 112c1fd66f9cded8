package name

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// EntityKind is the kind of an [Entity], as ARNs spell it. The zero EntityKind is none.
type EntityKind string

// The kinds. The first seven are of IAM, the next two of STS, the last of ecrin.
const (
	AccountRoot     EntityKind = "root" // the account itself, and its root user
	IAMUser         EntityKind = "user"
	IAMGroup        EntityKind = "group"
	IAMRole         EntityKind = "role"
	IAMPolicy       EntityKind = "policy" // a managed policy, of an account or of AWS
	InstanceProfile EntityKind = "instance-profile"
	OIDCProvider    EntityKind = "oidc-provider"
	AssumedRole     EntityKind = "assumed-role"   // a session of a role
	FederatedUser   EntityKind = "federated-user" // a session of GetFederationToken
	Customer        EntityKind = "customer"       // a customer of an application of the account
)

// service is the service whose ARNs have entities of the kind; "" for a kind that does not exist.
func (k EntityKind) service() string {
	switch k {
	case AccountRoot, IAMUser, IAMGroup, IAMRole, IAMPolicy, InstanceProfile, OIDCProvider:
		return "iam"
	case AssumedRole, FederatedUser:
		return "sts"
	case Customer:
		return "ecrin"
	}
	return ""
}

// hasPath reports whether the names of the kind have paths before them.
func (k EntityKind) hasPath() bool {
	switch k {
	case IAMUser, IAMGroup, IAMRole, IAMPolicy, InstanceProfile:
		return true
	}
	return false
}

// Entity is a principal or another thing that an ARN of IAM, STS or ecrin names in its account. Path and Name are not checked
// beyond being there: what they may consist of is a rule of the operation or the policy that reads them.
// Source: IAM user guide, IAM ARNs.
type Entity struct {
	Kind    EntityKind
	Path    string // of a kind that has paths: "/" or "/a/b/"; "" stands for "/" in [Entity.ARN]; "" for other kinds
	Name    string // of an OIDCProvider its URL without https://, of a Customer APPLICATION/CUSTOMER; "" for an AccountRoot
	Session string // AssumedRole: the name of the session of the role Name
}

// ParseEntityARN reads the ARN of an entity. The account is the zero Account for nothing but a managed policy of AWS, whose ARN
// has AWS set. Errors: fault.InvalidParameter.
func ParseEntityARN(s string) (ARN, Entity, error) {
	a, err := ParseARN(s)
	if err != nil {
		return ARN{}, Entity{}, err
	}
	e, ok := a.Entity()
	if !ok || a.Account == (Account{}) && !(a.AWS && e.Kind == IAMPolicy) {
		return ARN{}, Entity{}, fault.InvalidParameter.New("%q is not the ARN of an entity of IAM, STS or ecrin", Clip(s))
	}
	return a, e, nil
}

// Entity reads what the ARN names, whoever owns it. ok is false for the ARN of something else; if then only the rest of the
// resource is not valid, such as an absent name, the Entity has the Kind and nothing more.
func (a ARN) Entity() (e Entity, ok bool) {
	kind, _, _ := strings.Cut(a.Resource, "/")
	e.Kind = EntityKind(kind)
	if a.Region != "" || e.Kind.service() != a.Service || a.Service == "" {
		return Entity{}, false
	}
	rest := a.Resource[len(kind):] // "" or from the first slash on
	switch {
	case e.Kind == AccountRoot:
		return e, rest == ""
	case rest == "":
		return e, false
	case e.Kind.hasPath():
		cut := strings.LastIndexByte(rest, '/') + 1
		if cut == len(rest) {
			return e, false
		}
		e.Path, e.Name = rest[:cut], rest[cut:]
		return e, true
	case e.Kind == AssumedRole:
		role, session, _ := strings.Cut(rest[1:], "/")
		if role == "" || session == "" || strings.Contains(session, "/") {
			return e, false
		}
		e.Name, e.Session = role, session
		return e, true
	}
	e.Name = rest[1:]
	return e, e.Name != ""
}

// ARN is the ARN of the entity in an account of a partition such as [DefaultPartition].
func (e Entity) ARN(partition string, account Account) ARN {
	resource := string(e.Kind)
	switch {
	case e.Kind == AccountRoot:
	case e.Kind.hasPath() && e.Path != "":
		resource += e.Path + e.Name
	default:
		resource += "/" + e.Name
	}
	if e.Kind == AssumedRole {
		resource += "/" + e.Session
	}
	return ARN{Partition: partition, Service: e.Kind.service(), Account: account, Resource: resource}
}

// AWSPolicyARN is the ARN of a managed policy of AWS in a partition. path is "/" or "/a/b/".
func AWSPolicyARN(partition, path, policyName string) ARN {
	a := Entity{Kind: IAMPolicy, Path: path, Name: policyName}.ARN(partition, Account{})
	a.AWS = true
	return a
}
