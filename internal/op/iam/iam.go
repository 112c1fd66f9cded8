// Package iam implements the operations of IAM: it manages the users, groups, roles, keys, providers and policies of an
// account.
//
// Each operation is one method of [Service], named as in the IAM API. Its arguments are the caller, whose account it
// uses, the target, and the request, which was validated by the model. The target was resolved by one of the On
// functions, and a guard has allowed the request for it. It is a meta.Entity with its state at that time, or for
// several values a [Membership], an [EntityPolicy], a [ManagedPolicy], a [KeyOwner] or an [OwnedKey]. It is
// guard.Nothing for the account itself and for an entity that the operation makes. An On function returns errors of the
// store only. If a request names an entity that does not exist, or has an invalid name, the error is in the field
// Absent of the target, and the method documents it among its errors.
//
// A method uses the unique ids of its target and does not look up names again. If an entity was deleted after it was
// resolved, the method returns fault.NoSuchEntity, even if another entity has its name. Methods that change or delete
// an entity itself return fault.TargetChanged if its name or path has changed, so that the request is decided again.
// The methods make no decisions about access.
package iam

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Service implements the operations of IAM over a store. Safe for concurrent use.
type Service struct {
	meta  *meta.Store
	id    *identity.Service
	pages pagetoken.Sealer
	tasks func(data []byte) []byte
	now   func() time.Time
}

// Options are the dependencies of a Service. All are required.
type Options struct {
	Meta     *meta.Store              // stores the entities and access keys
	Identity *identity.Service        // makes keys, resolves and shows principals of policies, and returns subjects of simulations
	Pages    pagetoken.Sealer         // seals the markers of listings
	TaskMAC  func(data []byte) []byte // returns a MAC of at least 12 bytes, for the ids of deletion tasks
	Now      func() time.Time         // returns the time of creations, changes and simulations
}

// New returns a Service.
func New(o Options) *Service {
	return &Service{meta: o.Meta, id: o.Identity, pages: o.Pages, tasks: o.TaskMAC, now: o.Now}
}

// None is the response of operations without a result.
type None = awswire.Empty

// newID returns a new unique id: the prefix of the kind and 17 random characters.
// Source: IAM user guide, IAM identifiers.
func newID(prefix string) string {
	b := make([]byte, 11)
	rand.Read(b)
	return prefix + base32.StdEncoding.EncodeToString(b)[:17]
}

// pathOr returns the path of a new entity: "/" if the request has none.
func pathOr(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// maxDocument is the maximum length of any policy in a request. Source: IAM service model, policyDocumentType.
const maxDocument = 131072

// parse parses a policy of at most limit characters, white space not counted.
//
// Errors: fault.MalformedPolicyDocument with the place and the reason, fault.LimitExceeded.
func parse(text string, kind policy.Kind, limit int) (*policy.Document, error) {
	d, err := policy.ParseLimit(text, kind, limit)
	if err == nil {
		return d, nil
	}
	if limit < maxDocument {
		if _, long := policy.ParseLimit(text, kind, maxDocument); long == nil {
			quota := "PolicySize"
			if kind == policy.Trust {
				quota = "ACLSizePerRole"
			}
			return nil, fault.LimitExceeded.New("Cannot exceed quota for %s: %d", quota, limit).Because(err)
		}
	}
	return nil, identity.Malformed(err)
}

// bind returns the unique ids of the principals that a policy names, so that the policy does not apply to later
// principals of the same name. Errors: fault.MalformedPolicyDocument (a principal does not exist).
func (s *Service) bind(ctx context.Context, text string, d *policy.Document) (meta.BoundPolicy, error) {
	ids, missing, err := s.id.Bind(ctx, d)
	if err != nil {
		return meta.BoundPolicy{}, err
	}
	if missing != nil {
		return meta.BoundPolicy{}, fault.MalformedPolicyDocument.New("Invalid principal in policy: \"AWS\":%q", name.Clip(missing.Text))
	}
	return meta.BoundPolicy{Text: text, IDs: ids}, nil
}

// show returns a policy in the form of responses, with the current names of its principals.
func (s *Service) show(ctx context.Context, p meta.BoundPolicy, kind policy.Kind) (string, error) {
	text, err := s.id.Show(ctx, p, kind)
	return encode(text), err
}

// encode returns a policy in the form of responses: percent-encoded. Source: RFC 3986; IAM API reference, PolicyDetail.
func encode(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// managedEntity returns the managed policy of the account with an ARN. It does not find policies of AWS.
// Errors: fault.NoSuchEntity (also if the policy belongs to another account).
func (s *Service) managedEntity(ctx context.Context, account name.Account, arn string) (meta.Entity, error) {
	parsed, named, err := name.ParseEntityARN(arn)
	if err == nil && named.Kind == name.IAMPolicy && parsed.Account == account {
		e, err := s.meta.Entity(ctx, account, meta.ManagedPolicy, named.Name)
		if err == nil && e.ARN() == arn {
			return e, nil
		}
		if err != nil && !errors.Is(err, fault.NoSuchEntity) {
			return meta.Entity{}, err
		}
	}
	return meta.Entity{}, noPolicy(arn)
}

func noPolicy(arn string) error {
	return fault.NoSuchEntity.New("Policy %s does not exist or is not attachable.", name.Clip(arn))
}

// boundaryPolicy returns the managed policy that is to become a permissions boundary. Errors: fault.NoSuchEntity,
// fault.PolicyNotAttachable. Source: IAM API reference, PutUserPermissionsBoundary.
func (s *Service) boundaryPolicy(ctx context.Context, account name.Account, arn string) (ManagedPolicy, error) {
	if m, ok := identity.ManagedPolicy(arn); ok {
		if m.ServiceLinked {
			return ManagedPolicy{}, fault.PolicyNotAttachable.New("Policy %s can only be attached to service-linked roles.", arn)
		}
		return ManagedPolicy{ARN: m.ARN, AWS: &m}, nil
	}
	e, err := s.managedEntity(ctx, account, arn)
	if errors.Is(err, fault.NoSuchEntity) {
		err = fault.NoSuchEntity.New("Scope ARN: %s does not exist or is not attachable.", name.Clip(arn))
	}
	if err != nil {
		return ManagedPolicy{}, err
	}
	return ManagedPolicy{ARN: arn, Entity: e}, nil
}

// showBoundary returns a permissions boundary in the form of responses, nil for none.
func showBoundary(arn string) *iamtypes.AttachedPermissionsBoundary {
	if arn == "" {
		return nil
	}
	// The enumeration of the model has another value than the documentation and the responses of IAM.
	// Source: IAM API reference, AttachedPermissionsBoundary.
	return &iamtypes.AttachedPermissionsBoundary{PermissionsBoundaryType: "Policy", PermissionsBoundaryArn: arn}
}

// modifiable returns an error for a service-linked role, which only its service can change.
// Errors: fault.UnmodifiableEntity.
// Source: IAM user guide, using service-linked roles.
func modifiable(e meta.Entity) error {
	if e.Kind == meta.Role && e.Service != "" {
		return fault.UnmodifiableEntity.New(
			"Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", e.Name)
	}
	return nil
}
