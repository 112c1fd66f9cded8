package identity

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/policy"
)

// Managed is a managed policy of AWS, which every account has.
type Managed struct {
	ARN, Name, Path, Description string
	ID                           string // ANPA…
	Version                      int    // the number of its default version
	CreatedAt, UpdatedAt         time.Time
	Text                         string
	ServiceLinked                bool // only service-linked roles can have it
}

// ManagedPolicies lists the managed policies of AWS that ecrin knows, by name.
func ManagedPolicies() []Managed { panic("unbuilt") }

// ManagedPolicy finds one by its ARN.
func ManagedPolicy(arn string) (Managed, bool) { panic("unbuilt") }

// Bind finds the unique ids of the users and roles that a policy names, by their text in it, so that whoever is made later
// with such a name is somebody else. missing is the first principal that does not exist: a user, role or account that this
// installation does not have. Source: IAM user guide, policy element Principal.
func (s *Service) Bind(ctx context.Context, d *policy.Document) (ids map[string]string, missing *policy.Principal, err error) {
	panic("unbuilt")
}

// Show gives the text of a policy as it is shown: a principal by its ARN as it is now, and one that was deleted by its unique id.
func (s *Service) Show(ctx context.Context, p meta.BoundPolicy, kind policy.Kind) (string, error) {
	panic("unbuilt")
}

// CreateUserKey makes an access key for a user. Errors: fault.NoSuchEntity, fault.AccessKeyLimit.
func (s *Service) CreateUserKey(ctx context.Context, user meta.Entity) (Key, error) { panic("unbuilt") }

// Gathered is a principal with all policies of its side, ready to decide by.
type Gathered struct {
	Caller   policy.Caller
	Policies policy.Policies // without those of a resource
	Context  policy.Context  // the keys of the principal: aws:PrincipalArn, aws:username, tags, …
}

// Gather collects what holds for a principal named by its ARN: a root user, user, role (in a session called "session"), role
// session, federated user; or a service such as lambda.amazonaws.com, or * for an anonymous caller.
// Errors: fault.NoSuchEntity, fault.InvalidInput (no principal's name).
func (s *Service) Gather(ctx context.Context, principal string) (Gathered, error) { panic("unbuilt") }

// ARN of an entity, by its kind, path and name.
func EntityARN(e meta.Entity) string { return entityARN(e.Account, e.Kind, e.Path, e.Name) }

func entityARN(a name.Account, k meta.EntityKind, path, entityName string) string {
	kind := [...]string{meta.User: "user", meta.Group: "group", meta.Role: "role", meta.ManagedPolicy: "policy", meta.InstanceProfile: "instance-profile", meta.OIDCProvider: "oidc-provider"}[k]
	if path == "" {
		path = "/"
	}
	return "arn:aws:iam::" + a.String() + ":" + kind + path + entityName
}
