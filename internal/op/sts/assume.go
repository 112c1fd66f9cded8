package sts

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The actions that a caller needs to assume a role.
const (
	actionAssume    = "sts:AssumeRole"
	actionAssumeWeb = "sts:AssumeRoleWithWebIdentity"
	actionTag       = "sts:TagSession"
	actionSource    = "sts:SetSourceIdentity"
)

// untrusting is a trust policy without statements. It is used for a role that does not exist, so that the denial is the
// same as for a role that does not trust the caller, and does not show whether the role exists.
var untrusting = meta.BoundPolicy{
	Text: `{"Version":"2012-10-17","Statement":[{"Sid":"NoSuchRole","Effect":"Allow","Principal":{"Service":"nobody.invalid"},"Action":"sts:AssumeRole"}]}`}

// target is the role of a request.
type target struct {
	account name.Account
	role    *meta.Entity // nil if the role does not exist
}

// targetOf returns the target with the role of an ARN. Errors: fault.Validation (not the ARN of a role).
func (s *Service) targetOf(ctx context.Context, arn string) (target, error) {
	parsed, named, err := name.ParseEntityARN(arn)
	if err != nil || parsed.Partition != name.DefaultPartition || named.Kind != name.IAMRole {
		return target{}, fault.Validation.New("%s is invalid", name.Clip(arn))
	}
	account := parsed.Account
	e, err := s.meta.Entity(ctx, account, meta.Role, named.Name)
	if errors.Is(err, fault.NoSuchEntity) || errors.Is(err, fault.AccountNotFound) || err == nil && e.ARN() != arn {
		return target{account: account}, nil
	}
	if err != nil {
		return target{}, err
	}
	return target{account, &e}, nil
}

// trust returns the trust policy of the role, or untrusting if the role does not exist.
func (t target) trust() *meta.BoundPolicy {
	if t.role == nil {
		return &untrusting
	}
	return &t.role.Trust
}

// Assumption is a request of any operation to assume a role, with the state of the role at the decision.
type Assumption struct {
	target
	arn        string // the ARN of the role in the request
	session    string // the name of the session
	tags       map[string]string
	transitive []string          // the keys of transitive tags
	inherited  map[string]string // transitive tags of the caller's session
	source     string            // the source identity, "" for none
}

// asks returns the actions that must be allowed for the request, each with the condition keys that the operation adds.
// Source: IAM user guide, passing session tags; monitor and control actions taken with assumed roles.
func (a *Assumption) asks(region name.Region, action string, more ...guard.ConditionKey) []guard.Ask {
	keys := append(more, guard.ConditionKey{Name: "sts:RoleSessionName", Values: []string{a.session}})
	keys = append(keys, tagKeys(a.tags, a.transitive)...)
	if a.source != "" {
		keys = append(keys, guard.ConditionKey{Name: "sts:SourceIdentity", Values: []string{a.source}})
	}
	actions := []string{action}
	if len(a.tags)+len(a.inherited) > 0 {
		actions = append(actions, actionTag)
	}
	if a.source != "" {
		actions = append(actions, actionSource)
	}
	var all []guard.Ask
	for _, one := range actions {
		ask := guard.Ask{Action: one, Owner: guard.OwnedBy(a.account), Region: region, Resource: a.arn, Keys: keys}
		ask.Trust = a.trust()
		all = append(all, ask)
	}
	return all
}

// tagKeys returns the condition keys of the session tags in a request.
func tagKeys(tags map[string]string, transitive []string) []guard.ConditionKey {
	names := slices.Sorted(maps.Keys(tags))
	var keys []guard.ConditionKey
	for _, k := range names {
		keys = append(keys, guard.ConditionKey{Name: "aws:RequestTag/" + k, Values: []string{tags[k]}})
	}
	if len(names) > 0 {
		keys = append(keys, guard.ConditionKey{Name: "aws:TagKeys", Values: names, List: true})
	}
	if len(transitive) > 0 {
		keys = append(keys, guard.ConditionKey{Name: "sts:TransitiveTagKeys", Values: transitive, List: true})
	}
	return keys
}

// inherit adds the transitive tags and the source identity of the caller's session. The request must not set the same
// tags again, nor another source identity. Errors: fault.InvalidParameter.
// Source: IAM user guide, passing session tags (role chaining); monitor and control actions taken with assumed roles.
func (a *Assumption) inherit(own meta.Session) error {
	if own.Source != "" {
		if a.source != "" && a.source != own.Source {
			return fault.InvalidParameter.New("The source identity of a session cannot be changed when it assumes another role.")
		}
		a.source = own.Source
	}
	for _, k := range own.Transitive {
		for asked := range a.tags {
			if fold(asked) == fold(k) {
				return fault.InvalidParameter.New(
					"One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
			}
		}
		if a.inherited == nil {
			a.inherited = map[string]string{}
		}
		a.inherited[k] = own.Tags[k]
	}
	if len(a.tags)+len(a.inherited) > maxTags {
		return tooManyTags()
	}
	return nil
}

// setTags checks and sets the tags of a request. Errors: fault.InvalidParameter.
func (a *Assumption) setTags(tags []ststypes.Tag, transitive []string) error {
	var err error
	if a.tags, err = tagsOf(tags); err != nil {
		return err
	}
	spelled := map[string]string{}
	for k := range a.tags {
		spelled[fold(k)] = k
	}
	for _, k := range transitive {
		key, ok := spelled[fold(k)]
		if !ok {
			return fault.InvalidParameter.New("The specified transitive tag key must be included in the requested tags.")
		}
		if !slices.Contains(a.transitive, key) {
			a.transitive = append(a.transitive, key)
		}
	}
	return nil
}

// assuming returns the Assumption of a request of AssumeRole.
func (s *Service) assuming(ctx context.Context, c identity.Caller, in *ststypes.AssumeRoleRequest) (*Assumption, error) {
	if c.Kind == identity.Root {
		return nil, fault.AccessDenied.New("Roles may not be assumed by root accounts.")
	}
	t, err := s.targetOf(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	a := &Assumption{target: t, arn: in.RoleArn, session: in.RoleSessionName, source: in.SourceIdentity}
	if err := a.setTags(in.Tags, in.TransitiveTagKeys); err != nil {
		return nil, err
	}
	own, err := s.id.Session(ctx, c)
	if err != nil {
		return nil, err
	}
	return a, a.inherit(own)
}

// OnRole resolves the role that a request of AssumeRole names. The request needs sts:AssumeRole on the role. It also
// needs sts:TagSession if the new session has tags, and sts:SetSourceIdentity if it has a source identity, each from
// the request or from the caller's session. A role that does not exist is resolved as a role that trusts no principal.
//
// Errors: fault.AccessDenied (a root user), fault.Validation (not the ARN of a role), fault.InvalidParameter (the tags,
// or another source identity than that of the caller's session).
// Source: STS API reference, AssumeRole; service authorization reference of STS.
func OnRole(s *Service, ctx context.Context, req guard.Request, in *ststypes.AssumeRoleRequest) (guard.Target[*Assumption], error) {
	a, err := s.assuming(ctx, req.By, in)
	if err != nil {
		return guard.Target[*Assumption]{}, err
	}
	var more []guard.ConditionKey
	if in.ExternalId != "" {
		more = append(more, guard.ConditionKey{Name: "sts:ExternalId", Values: []string{in.ExternalId}})
	}
	return guard.Target[*Assumption]{Value: a, Asks: a.asks(req.Region, actionAssume, more...)}, nil
}

// AssumeRole returns credentials of the resolved role, limited by the session policies.
//
// Errors: fault.AccessDenied (the role was deleted; a code of an MFA device), fault.Validation (the duration; the
// session policies; provided contexts; the token's size), fault.MalformedPolicyDocument, fault.PackedPolicyTooLarge,
// fault.AccountNotFound (the account was deleted), fault.QuotaExceeded (too many sessions).
// Source: STS API reference, AssumeRole.
func (s *Service) AssumeRole(ctx context.Context, c identity.Caller, a *Assumption,
	in *ststypes.AssumeRoleRequest) (*ststypes.AssumeRoleResponse, error) {
	if err := s.exists(ctx, c, a, actionAssume); err != nil {
		return nil, err
	}
	if err := checkMFA(in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	if len(in.ProvidedContexts) > 0 {
		return nil, fault.Validation.New("ProvidedContexts: this installation trusts no context provider")
	}
	life := seconds(in.DurationSeconds, roleSession)
	if c.Kind == identity.RoleSession && life > roleSession {
		return nil, fault.Validation.New("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	got, err := s.assume(ctx, c, a, asked{life, in.Policy, in.PolicyArns, in.MinimumSessionTokenSize}, nil)
	if err != nil {
		return nil, err
	}
	return &ststypes.AssumeRoleResponse{
		Credentials: got.credentials, AssumedRoleUser: got.user, PackedPolicySize: got.packed, SourceIdentity: a.source,
		SessionTokenSize: got.tokenSize, SessionTokenUtilization: got.tokenUsed,
	}, nil
}

// asked is the duration, the session policies and the token size in a request for a session.
type asked struct {
	life     time.Duration
	policy   string
	arns     []ststypes.PolicyDescriptorType
	minToken *int32
}

// assumed is the result of assuming a role.
type assumed struct {
	credentials                  *ststypes.Credentials
	user                         *ststypes.AssumedRoleUser
	packed, tokenSize, tokenUsed *int32
}

// exists returns an error if the role was deleted, even if another role has its name now. If the role is deleted after
// this check, its credentials are invalid, because they belong to its unique id. Errors: fault.AccessDenied.
func (s *Service) exists(ctx context.Context, c identity.Caller, a *Assumption, action string) error {
	denied := fault.AccessDenied.New("%s", policy.Unallowed(policy.LayerTrust, c.ARN, action, a.arn))
	if a.role == nil {
		return denied
	}
	_, err := s.meta.EntityByID(ctx, a.role.ID)
	if errors.Is(err, fault.NoSuchEntity) {
		return denied.Because(err)
	}
	return err
}

// assume makes a session of the resolved role for a caller. claims are condition keys that are stored with the session.
func (s *Service) assume(ctx context.Context, by identity.Caller, a *Assumption, r asked, claims map[string]string) (*assumed, error) {
	longest := a.role.MaxSession
	if longest == 0 {
		longest = roleSession
	}
	if r.life > longest {
		return nil, fault.Validation.New("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	if err := checkTokenSize(r.minToken); err != nil {
		return nil, err
	}
	l, err := s.sessionPolicies(ctx, a.account, r.policy, r.arns)
	if err != nil {
		return nil, err
	}
	v := meta.Session{
		Account: a.account, Kind: meta.RoleSession, Principal: a.role.ID, Name: a.session, Policies: l.inline, PolicyARNs: l.arns,
		Tags: map[string]string{}, Transitive: slices.Concat(a.transitive,
			slices.Sorted(maps.Keys(a.inherited))), Claims: claims, Source: a.source,
	}
	maps.Copy(v.Tags, a.inherited)
	maps.Copy(v.Tags, a.tags)
	out := &assumed{user: &ststypes.AssumedRoleUser{
		AssumedRoleId: a.role.ID + ":" + a.session,
		Arn:           identity.RoleSessionARN(a.account, a.role.Name, a.session),
	}}
	if out.packed, err = pack(l, v.Tags); err != nil {
		return nil, err
	}
	out.credentials, out.tokenSize, out.tokenUsed, err = s.issue(ctx, by, v, r.life)
	return out, err
}
