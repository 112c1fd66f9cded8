// Package sts implements the operations of STS: it issues temporary credentials for roles, users and federated users,
// and describes credentials.
//
// Each operation is one method of [Service], named as in the STS API. Its arguments are the caller, the resolved target
// for which the request was allowed, if the operation has one, and the request, which was validated by the model.
// [OnRole], [OnFederation] and [WebIdentity] resolve targets.
package sts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Service implements the operations of STS over a store. Safe for concurrent use.
type Service struct {
	meta  *meta.Store
	id    *identity.Service
	guard *guard.Guard
	oidc  *oidc.Verifier
}

// Options are the dependencies of a Service. All are required.
type Options struct {
	Meta     *meta.Store
	Identity *identity.Service
	Guard    *guard.Guard
	OIDC     *oidc.Verifier
}

// New returns a Service.
func New(o Options) *Service {
	return &Service{meta: o.Meta, id: o.Identity, guard: o.Guard, oidc: o.OIDC}
}

// Limits. Sources: STS API reference, AssumeRole, GetSessionToken, GetFederationToken; IAM user guide, IAM and STS quotas.
const (
	roleSession = time.Hour      // default of the role operations, and maximum if a role session assumes a role
	userSession = 12 * time.Hour // default of GetSessionToken and GetFederationToken
	rootSession = time.Hour      // maximum of GetSessionToken and GetFederationToken for a root user
	maxPolicy   = 2048           // maximum number of characters of an inline session policy
	maxPolicies = 10             // maximum number of managed session policies
	maxTags     = 50
)

// maxPacked is the maximum total size in bytes of the session policies, their ARNs and the session tags, including
// inherited tags. AWS compresses them and does not document the limit. Here the size is that of the texts, the inline
// policy without white space, and PackedPolicySize is the percentage of this limit.
const maxPacked = 8192

// tokenSize is the length of every session token in characters. Its utilization in responses is its share of maxToken.
const (
	tokenSize = 64
	maxToken  = 4096
)

// limits are the session policies of a request, in the form that is stored.
type limits struct {
	inline []string // at most one
	arns   []string
}

// sessionPolicies checks and returns the session policies of a request for a principal of the account.
//
// Errors: fault.MalformedPolicyDocument with the place and the reason, fault.Validation (length, number, a managed
// policy that belongs to another account or cannot be attached). Source: STS API reference, AssumeRole.
func (s *Service) sessionPolicies(ctx context.Context, account name.Account, text string,
	arns []ststypes.PolicyDescriptorType) (limits, error) {
	var l limits
	if text != "" {
		if utf8.RuneCountInString(text) > maxPolicy {
			return limits{},
				fault.Validation.New("1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to %d", maxPolicy)
		}
		if _, err := policy.ParseLimit(text, policy.Session, maxPolicy); err != nil {
			return limits{}, identity.Malformed(err)
		}
		l.inline = []string{text}
	}
	for _, p := range arns {
		if err := s.sessionManaged(ctx, account, p.Arn); err != nil {
			return limits{}, err
		}
		if !slices.Contains(l.arns, p.Arn) {
			l.arns = append(l.arns, p.Arn)
		}
	}
	if len(l.arns) > maxPolicies {
		return limits{}, fault.Validation.New("Cannot pass more than %d managed session policies.", maxPolicies)
	}
	return l, nil
}

// sessionManaged reports whether a managed policy can be a session policy: it belongs to AWS or to the account.
func (s *Service) sessionManaged(ctx context.Context, account name.Account, arn string) error {
	none := fault.Validation.New("Policy %s does not exist or is not attachable.", name.Clip(arn))
	if m, ok := identity.ManagedPolicy(arn); ok {
		if m.ServiceLinked {
			return none
		}
		return nil
	}
	if parsed, named, err := name.ParseEntityARN(arn); err != nil || named.Kind != name.IAMPolicy || parsed.Account != account {
		return none
	}
	_, err := s.id.ManagedText(ctx, arn)
	if errors.Is(err, fault.NoSuchEntity) {
		return none.Because(err)
	}
	return err
}

// pack returns the size of a session's policies and tags in percent of maxPacked, or nil if it has neither.
// Errors: fault.PackedPolicyTooLarge.
func pack(l limits, tags map[string]string) (*int32, error) {
	size := 0
	for _, text := range l.inline {
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(text)); err != nil {
			return nil, identity.Malformed(err)
		}
		size += b.Len()
	}
	for _, arn := range l.arns {
		size += len(arn)
	}
	policies := size
	for k, v := range tags {
		size += len(k) + len(v)
	}
	percent := int32((size*100 + maxPacked - 1) / maxPacked)
	switch {
	case size > maxPacked && policies == 0:
		return nil, fault.PackedPolicyTooLarge.New("Packed size of session tags consumes %d%% of allotted space.", percent)
	case size > maxPacked:
		return nil, fault.PackedPolicyTooLarge.New("Packed policy consumes %d%% of allotted space, please use smaller policy.", percent)
	case size == 0:
		return nil, nil
	}
	return &percent, nil
}

// fold returns the form in which keys of tags are compared. Source: IAM user guide, passing session tags.
func fold(key string) string { return strings.ToLower(key) }

// tagsOf checks and returns the tags of a request.
// Errors: fault.InvalidParameter (a repeated key, too many tags, a reserved key).
// Source: IAM user guide, passing session tags.
func tagsOf(tags []ststypes.Tag) (map[string]string, error) {
	if len(tags) > maxTags {
		return nil, tooManyTags()
	}
	all, seen := map[string]string{}, map[string]bool{}
	for _, t := range tags {
		if strings.HasPrefix(fold(t.Key), "aws:") {
			return nil, fault.InvalidParameter.New("The tag key %q begins with aws:, which is reserved.", name.Clip(t.Key))
		}
		if seen[fold(t.Key)] {
			return nil, fault.InvalidParameter.New("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		all[t.Key], seen[fold(t.Key)] = t.Value, true
	}
	return all, nil
}

func tooManyTags() error {
	return fault.InvalidParameter.New("A session can have at most %d tags.", maxTags)
}

// issue stores a session and returns its credentials in the form of responses, with the length and utilization of the
// token.
func (s *Service) issue(ctx context.Context, by identity.Caller, v meta.Session, life time.Duration) (out *ststypes.Credentials,
	size, used *int32, err error) {
	c, err := s.id.IssueSession(ctx, by, v, life)
	if err != nil {
		return nil, nil, nil, err
	}
	n := int32(len(c.Token.Reveal()))
	return &ststypes.Credentials{
		AccessKeyId: c.AccessKey, SecretAccessKey: c.Secret.Reveal(), SessionToken: c.Token.Reveal(), Expiration: awswire.Time{Time: c.ExpiresAt},
	}, &n, new((n*100 + maxToken - 1) / maxToken), nil
}

// checkTokenSize returns an error if a request needs a longer token than ecrin issues.
func checkTokenSize(least *int32) error {
	if least != nil && *least > tokenSize {
		return fault.Validation.New("MinimumSessionTokenSize: session tokens of this installation have %d characters", tokenSize)
	}
	return nil
}

// checkMFA returns an error if a request has a code of an MFA device: ecrin has no MFA devices, so no code is valid.
// Source: STS API reference, GetSessionToken.
func checkMFA(serial, code string) error {
	if serial != "" || code != "" {
		return fault.AccessDenied.New("MultiFactorAuthentication failed with invalid MFA one time pass code.")
	}
	return nil
}

// seconds returns the duration of DurationSeconds, or otherwise if the request does not have it.
func seconds(asked *int32, otherwise time.Duration) time.Duration {
	if asked == nil {
		return otherwise
	}
	return time.Duration(*asked) * time.Second
}
