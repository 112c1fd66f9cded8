package sts

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Vouched is a request of AssumeRoleWithWebIdentity whose token is verified.
type Vouched struct {
	Assumption
	claims   oidc.Claims
	audience string // the client that the token is for
	provider string // its ARN
}

// claimSource is the claim with the source identity.
// Source: IAM user guide, monitor and control actions taken with assumed roles.
const claimSource = "https://aws.amazon.com/source_identity"

// verify verifies the token by the identity providers of the role's account.
func (s *Service) verify(ctx context.Context, in *ststypes.AssumeRoleWithWebIdentityRequest) (*Vouched, error) {
	if in.ProviderId != "" {
		return nil, fault.Validation.New("ProviderId is for access tokens of OAuth 2.0, which are not accepted here; leave it out for tokens of OpenID Connect")
	}
	t, err := s.targetOf(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	v := &Vouched{Assumption: Assumption{target: t, arn: in.RoleArn, session: in.RoleSessionName}}
	v.claims, err = s.oidc.Verify(ctx, in.WebIdentityToken, func(issuer string) (oidc.Provider, error) {
		e, err := s.meta.Entity(ctx, t.account, meta.OIDCProvider, strings.TrimPrefix(issuer, "https://"))
		if errors.Is(err, fault.NoSuchEntity) || errors.Is(err, fault.AccountNotFound) {
			return oidc.Provider{}, fault.InvalidIdentityToken.New("No OpenIDConnect provider found in your account for %s", issuer).Because(err)
		}
		v.provider = e.ARN()
		return oidc.Provider{URL: e.Name, ClientIDs: e.ClientIDs, Thumbprints: e.Thumbprints}, err
	})
	if err != nil {
		return nil, err
	}
	// A token for several audiences was accepted for the party that it was issued to.
	v.audience = v.claims.Azp
	if len(v.claims.Audience) == 1 {
		v.audience = v.claims.Audience[0]
	}
	return v, v.read()
}

// read takes session tags and source identity from the token, by the rules that requests have.
// Errors: fault.IDPRejectedClaim. Source: IAM user guide, passing session tags using AssumeRoleWithWebIdentity.
func (v *Vouched) read() error {
	v.source = v.claims.Strings[claimSource]
	same := ststypes.AssumeRoleRequest{
		RoleArn: v.arn, RoleSessionName: v.session, TransitiveTagKeys: v.claims.Tags.Transitive, SourceIdentity: v.source,
	}
	for _, k := range slices.Sorted(maps.Keys(v.claims.Tags.Principal)) {
		same.Tags = append(same.Tags, ststypes.Tag{Key: k, Value: v.claims.Tags.Principal[k]})
	}
	err := same.Validate()
	if err == nil {
		err = v.setTags(same.Tags, same.TransitiveTagKeys)
	}
	if err != nil {
		return fault.IDPRejectedClaim.New("the session tags or the source identity of the token cannot be used: %s", fault.From(err).Public)
	}
	return nil
}

// caller is who the identity provider vouches for.
func (v *Vouched) caller() identity.Caller {
	return identity.Caller{
		Kind: identity.WebIdentity, ARN: v.provider, UserID: v.provider + ":" + v.audience + ":" + v.claims.Subject,
	}
}

// keptClaims are the claims that have condition keys in the session too, not only when the role is assumed.
// Source: IAM user guide, available keys for AWS OIDC federation.
func (v *Vouched) keptClaims() map[string]string {
	kept := map[string]string{
		federatedProvider: v.provider, v.claims.Issuer + ":sub": v.claims.Subject, v.claims.Issuer + ":aud": v.audience,
	}
	if v.claims.Azp != "" {
		kept[v.claims.Issuer+":azp"] = v.claims.Azp
	}
	return kept
}

const federatedProvider = "aws:FederatedProvider"

// claimName is what a claim has to be called to become a condition key.
var claimName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// claimKeys are the condition keys of a token: the ones that are kept, amr, oaud when there are several audiences, and every
// other claim that is a string. Keys have no case, so of claims that differ in nothing else none is one: whoever can add a
// claim must not be able to give another value to one that a policy trusts.
func (v *Vouched) claimKeys() []guard.ConditionKey {
	issuer := v.claims.Issuer
	var keys []guard.ConditionKey
	kept := v.keptClaims()
	for _, k := range slices.Sorted(maps.Keys(kept)) {
		keys = append(keys, guard.ConditionKey{Name: k, Values: []string{kept[k]}})
	}
	if len(v.claims.AMR) > 0 {
		keys = append(keys, guard.ConditionKey{Name: issuer + ":amr", Values: v.claims.AMR, List: true})
	}
	if len(v.claims.Audience) > 1 {
		keys = append(keys, guard.ConditionKey{Name: issuer + ":oaud", Values: v.claims.Audience, List: true})
	}
	if !strings.ContainsAny(issuer, ".:/") {
		return keys // its name could be the prefix of AWS's own keys
	}
	seen := map[string]int{"sub": 1, "aud": 1, "azp": 1, "amr": 1, "oaud": 1}
	names := slices.Sorted(maps.Keys(v.claims.Strings))
	for _, k := range names {
		seen[fold(k)]++
	}
	for _, k := range names {
		if seen[fold(k)] == 1 && claimName.MatchString(k) {
			keys = append(keys, guard.ConditionKey{Name: issuer + ":" + k, Values: []string{v.claims.Strings[k]}})
		}
	}
	return keys
}

// WebIdentity finds out who calls AssumeRoleWithWebIdentity, which is not signed, by the token in the request, and resolves
// the role, which needs sts:AssumeRoleWithWebIdentity, and sts:TagSession and sts:SetSourceIdentity where the token has session
// tags or a source identity.
//
// Errors: fault.Validation (not the ARN of a role), fault.InvalidIdentityToken (also for an issuer that is no provider of the
// role's account), fault.ExpiredWebIdentity, fault.IDPCommunication, fault.IDPRejectedClaim.
// Source: STS API reference, AssumeRoleWithWebIdentity.
func WebIdentity(s *Service, ctx context.Context, req guard.Request, in *ststypes.AssumeRoleWithWebIdentityRequest) (identity.Caller, guard.Target[*Vouched], error) {
	v, err := s.verify(ctx, in)
	if err != nil {
		return identity.Caller{}, guard.Target[*Vouched]{}, err
	}
	return v.caller(), guard.Target[*Vouched]{Value: v, Asks: v.asks(req.Region, actionAssumeWeb, v.claimKeys()...)}, nil
}

// AssumeRoleWithWebIdentity gives credentials of the role that was decided about, with what the verified token says.
//
// Errors: fault.AccessDenied (the role does not exist any more, or the token is of another caller), fault.Validation (the duration; the session policies),
// fault.MalformedPolicyDocument, fault.PackedPolicyTooLarge, fault.AccountNotFound (the account was deleted).
// Source: STS API reference, AssumeRoleWithWebIdentity.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, c identity.Caller, v *Vouched, in *ststypes.AssumeRoleWithWebIdentityRequest) (*ststypes.AssumeRoleWithWebIdentityResponse, error) {
	if c != v.caller() {
		return nil, fault.AccessDenied.New("%s", policy.Refusal(c.ARN, actionAssumeWeb, in.RoleArn))
	}
	if err := s.exists(ctx, c, &v.Assumption, actionAssumeWeb); err != nil {
		return nil, err
	}
	got, err := s.assume(ctx, &v.Assumption, asked{seconds(in.DurationSeconds, roleSession), in.Policy, in.PolicyArns, in.MinimumSessionTokenSize}, v.keptClaims())
	if err != nil {
		return nil, err
	}
	return &ststypes.AssumeRoleWithWebIdentityResponse{
		Credentials: got.credentials, AssumedRoleUser: got.user, PackedPolicySize: got.packed, SourceIdentity: v.source,
		Provider: v.provider, Audience: v.audience, SubjectFromWebIdentityToken: v.claims.Subject,
		SessionTokenSize: got.tokenSize, SessionTokenUtilization: got.tokenUsed,
	}, nil
}
