// Package iam does the operations of IAM: users, groups, roles, keys, providers and policies of an account.
//
// Each operation is one method of [Service], named as in the IAM API. It takes the caller, in whose account it acts, the target
// and the request, which has been checked by the rules of the model. The target is what a guard has decided about, and was
// resolved once by one of the On functions: a meta.Entity as it was then, or for more than one thing a [Membership], an
// [EntityPolicy], a [ManagedPolicy], a [KeyOwner] or an [OwnedKey]; guard.Nothing for what does not exist yet and for the account
// itself. An On function returns only the errors of the store: that a request names what does not exist, or gives no name of it,
// is Absent of the target, and the methods document it among their errors.
//
// A method acts on the unique ids of its target and looks no name up again. An entity that was deleted since it was resolved is
// fault.NoSuchEntity, whatever has its name by then. Methods that change or delete an entity itself return fault.TargetChanged when
// it has another name or path by then, so that the request is decided anew. No method asks who may do what.
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

// Service does the operations of IAM over a store. Safe for concurrent use.
type Service struct {
	meta  *meta.Store
	id    *identity.Service
	pages pagetoken.Sealer
	tasks func(data []byte) []byte
	now   func() time.Time
}

// Options are what New needs; all are required.
type Options struct {
	Meta     *meta.Store              // keeps the entities and access keys
	Identity *identity.Service        // seals new keys, finds and shows the principals of policies, makes the subjects of simulations
	Pages    pagetoken.Sealer         // of the markers of listings
	TaskMAC  func(data []byte) []byte // authenticates the ids of deletion tasks, by 12 bytes or more
	Now      func() time.Time         // of creations, changes and simulations
}

// New makes the service.
func New(o Options) *Service {
	return &Service{meta: o.Meta, id: o.Identity, pages: o.Pages, tasks: o.TaskMAC, now: o.Now}
}

// None is the answer of operations that answer nothing.
type None = awswire.Empty

// newID makes a unique id: the prefix of its kind and 17 random characters.
// Source: IAM user guide, IAM identifiers.
func newID(prefix string) string {
	b := make([]byte, 11)
	rand.Read(b)
	return prefix + base32.StdEncoding.EncodeToString(b)[:17]
}

// pathOr gives the path of a new entity: "/" when none is asked for.
func pathOr(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// maxDocument is how long any policy in a request may be. Source: IAM service model, policyDocumentType.
const maxDocument = 131072

// parse reads a policy of at most limit characters, white space not counted.
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

// bind finds the principals that a policy names, so that it holds for them and not for whoever has their names later.
// Errors: fault.MalformedPolicyDocument for one that does not exist.
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

// show gives a policy for an answer, with its principals as they are named now.
func (s *Service) show(ctx context.Context, p meta.BoundPolicy, kind policy.Kind) (string, error) {
	text, err := s.id.Show(ctx, p, kind)
	return encode(text), err
}

// encode writes a policy as answers have it: percent-encoded. Source: RFC 3986; IAM API reference, PolicyDetail.
func encode(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// managedEntity finds a managed policy of the account by its ARN. It does not know those of AWS.
// Errors: fault.NoSuchEntity, for those of other accounts too.
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

// boundaryPolicy finds a managed policy that is to be a permissions boundary. Errors: fault.NoSuchEntity,
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

// showBoundary shows a permissions boundary; nil when there is none.
func showBoundary(arn string) *iamtypes.AttachedPermissionsBoundary {
	if arn == "" {
		return nil
	}
	// The enumeration of the model has another value than the documentation and the answers of IAM.
	// Source: IAM API reference, AttachedPermissionsBoundary.
	return &iamtypes.AttachedPermissionsBoundary{PermissionsBoundaryType: "Policy", PermissionsBoundaryArn: arn}
}

// modifiable refuses roles that only their service may change. Errors: fault.UnmodifiableEntity.
// Source: IAM user guide, using service-linked roles.
func modifiable(e meta.Entity) error {
	if e.Kind == meta.Role && e.Service != "" {
		return fault.UnmodifiableEntity.New("Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", e.Name)
	}
	return nil
}
