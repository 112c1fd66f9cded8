package name

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// EntityKind is the kind of an [Entity], as it is written in ARNs. The zero EntityKind is not a kind.
type EntityKind string

// The kinds. The first seven belong to IAM, the next two to STS, the last to ecrin.
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

// service returns the service whose ARNs contain entities of the kind, "" for an unknown kind.
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

// hasPath reports whether entities of the kind have a path.
func (k EntityKind) hasPath() bool {
	switch k {
	case IAMUser, IAMGroup, IAMRole, IAMPolicy, InstanceProfile:
		return true
	}
	return false
}

// Entity is a principal or another resource that an ARN of IAM, STS or ecrin names in its account. Path and Name are
// only checked to be present; the operation or the policy that uses them checks their characters.
// Source: IAM user guide, IAM ARNs.
type Entity struct {
	Kind    EntityKind
	Path    string // "/" or "/a/b/" for kinds with paths, "" for others; [Entity.ARN] treats "" as "/"
	Name    string // OIDCProvider: its URL without https://; Customer: APPLICATION/CUSTOMER; AccountRoot: ""
	Session string // AssumedRole: the name of the session of the role Name
}

// ParseEntityARN parses the ARN of an entity. The account is the zero Account only for a managed policy of AWS, whose
// ARN has AWS set. Errors: fault.InvalidParameter.
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

// Entity returns the entity that the ARN names, whoever owns it. ok is false if the ARN does not name an entity. If
// the kind is valid and only the rest of the resource is not, such as an empty name, the Entity has the Kind and no
// other field.
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

// ARN returns the ARN of the entity in an account of a partition such as [DefaultPartition].
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

// AWSPolicyARN returns the ARN of a managed policy of AWS in a partition. path is "/" or "/a/b/".
func AWSPolicyARN(partition, path, policyName string) ARN {
	a := Entity{Kind: IAMPolicy, Path: path, Name: policyName}.ARN(partition, Account{})
	a.AWS = true
	return a
}
