package sts

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// Vouched is a request of AssumeRoleWithWebIdentity whose token is verified.
type Vouched struct {
	Assumption
	claims   oidc.Claims
	audience string // the client for which the token was issued
	provider string // the ARN of the identity provider
}

// claimSource is the name of the claim with the source identity.
// Source: IAM user guide, monitor and control actions taken with assumed roles.
const claimSource = "https://aws.amazon.com/source_identity"

// verify verifies the token with the identity providers of the role's account, and returns the request with its claims.
func (s *Service) verify(ctx context.Context, in *ststypes.AssumeRoleWithWebIdentityRequest) (*Vouched, error) {
	if in.ProviderId != "" {
		return nil,
			fault.Validation.New("ProviderId is for access tokens of OAuth 2.0, which are not accepted here; leave it out for tokens of OpenID Connect")
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
		if err != nil {
			return oidc.Provider{}, err
		}
		v.provider = e.ARN()
		keys, err := s.meta.IssuerKeys(ctx, e)
		return oidc.Provider{URL: e.Name, ClientIDs: e.ClientIDs, Thumbprints: e.Thumbprints, Keys: keys.Keys}, err
	})
	if err != nil {
		return nil, err
	}
	// For a token with several audiences, Verify has checked azp, the party to which the token was issued.
	v.audience = v.claims.Azp
	if len(v.claims.Audience) == 1 {
		v.audience = v.claims.Audience[0]
	}
	return v, v.read()
}

// read sets the session tags and source identity from the token, with the same checks as for requests.
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

// caller returns the web identity that the token proves.
func (v *Vouched) caller() identity.Caller {
	return identity.Caller{
		Kind: identity.WebIdentity, ARN: v.provider, UserID: v.provider + ":" + v.audience + ":" + v.claims.Subject,
		Limited: "web identities of " + v.account.String(),
	}
}

// keptClaims returns the condition keys of the claims that are also stored with the session. The other claims have
// condition keys only while the role is assumed.
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

// claimName matches the names of claims that can become condition keys.
var claimName = lazyregexp.New(`^[A-Za-z0-9_-]{1,128}$`)

// claimKeys returns the condition keys of a token: those of keptClaims, amr, oaud if there are several audiences, and
// every other claim that is a string. Claims whose names differ in case only are omitted: condition keys ignore case,
// so an added claim could otherwise replace the value of a claim that a policy checks.
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
		return keys // the name of the issuer could be a prefix of AWS's condition keys, such as aws
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

// WebIdentity returns the caller of AssumeRoleWithWebIdentity, which is authenticated by the token in the request and
// not by a signature, and resolves the role. The request needs sts:AssumeRoleWithWebIdentity on the role. It also needs
// sts:TagSession if the token has session tags, and sts:SetSourceIdentity if the token has a source identity.
//
// Errors: fault.Validation (not the ARN of a role), fault.InvalidIdentityToken (also for an issuer that is no provider of the
// role's account), fault.ExpiredWebIdentity, fault.IDPCommunication, fault.IDPRejectedClaim.
// Source: STS API reference, AssumeRoleWithWebIdentity.
func WebIdentity(s *Service, ctx context.Context, req guard.Request,
	in *ststypes.AssumeRoleWithWebIdentityRequest) (identity.Caller, guard.Target[*Vouched], error) {
	v, err := s.verify(ctx, in)
	if err != nil {
		return identity.Caller{}, guard.Target[*Vouched]{}, err
	}
	return v.caller(), guard.Target[*Vouched]{Value: v, Asks: v.asks(req.Region, actionAssumeWeb, v.claimKeys()...)}, nil
}

// AssumeRoleWithWebIdentity returns credentials of the resolved role, with the session tags, source identity and claims
// of the verified token.
//
// Errors: fault.AccessDenied (the role was deleted, or the token belongs to another caller), fault.Validation (the
// duration; the session policies), fault.MalformedPolicyDocument, fault.PackedPolicyTooLarge, fault.AccountNotFound
// (the account was deleted), fault.QuotaExceeded (too many sessions).
// Source: STS API reference, AssumeRoleWithWebIdentity.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, c identity.Caller, v *Vouched,
	in *ststypes.AssumeRoleWithWebIdentityRequest) (*ststypes.AssumeRoleWithWebIdentityResponse, error) {
	if c != v.caller() {
		return nil, fault.AccessDenied.New("%s", policy.Refusal(c.ARN, actionAssumeWeb, in.RoleArn))
	}
	if err := s.exists(ctx, c, &v.Assumption, actionAssumeWeb); err != nil {
		return nil, err
	}
	got, err := s.assume(ctx, c, &v.Assumption, asked{seconds(in.DurationSeconds, roleSession), in.Policy, in.PolicyArns,
		in.MinimumSessionTokenSize}, v.keptClaims())
	if err != nil {
		return nil, err
	}
	return &ststypes.AssumeRoleWithWebIdentityResponse{
		Credentials: got.credentials, AssumedRoleUser: got.user, PackedPolicySize: got.packed, SourceIdentity: v.source,
		Provider: v.provider, Audience: v.audience, SubjectFromWebIdentityToken: v.claims.Subject,
		SessionTokenSize: got.tokenSize, SessionTokenUtilization: got.tokenUsed,
	}, nil
}
