package sts

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// longTerm returns an error unless the caller has a long-term access key of a user or a root user.
// Source: STS API reference, GetSessionToken, GetFederationToken.
func (s *Service) longTerm(ctx context.Context, c identity.Caller, operation string) error {
	switch {
	case c.SessionKey != "" || c.Kind == identity.RoleSession || c.Kind == identity.FederatedUser:
		return fault.AccessDenied.New("Cannot call %s with session credentials", operation)
	case c.Kind == identity.Root || c.Kind == identity.User:
		return nil
	}
	// The operator and other callers without an account have no rights in STS.
	err := s.guard.Decide(ctx, c, guard.Origin{}, new(guard.Record),
		guard.Ask{Action: "sts:" + operation, Resource: "*", Owner: guard.OwnedBy(c.Account)})
	if err == nil {
		err = fault.AccessDenied.New("Cannot call %s without an account", operation)
	}
	return err
}

// GetSessionToken returns temporary credentials with the rights of the caller. For a root user, a longer duration than
// one hour is reduced to one hour.
//
// Errors: fault.AccessDenied (temporary credentials; a code of an MFA device), fault.Validation (the token's size).
// Source: STS API reference, GetSessionToken.
func (s *Service) GetSessionToken(ctx context.Context, c identity.Caller,
	in *ststypes.GetSessionTokenRequest) (*ststypes.GetSessionTokenResponse, error) {
	if err := s.longTerm(ctx, c, "GetSessionToken"); err != nil {
		return nil, err
	}
	if err := checkMFA(in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	if err := checkTokenSize(in.MinimumSessionTokenSize); err != nil {
		return nil, err
	}
	life := seconds(in.DurationSeconds, userSession)
	if c.Kind == identity.Root {
		life = min(life, rootSession)
	}
	out := &ststypes.GetSessionTokenResponse{}
	var err error
	out.Credentials, out.SessionTokenSize, out.SessionTokenUtilization, err = s.issue(ctx, c,
		meta.Session{Account: c.Account, Kind: meta.UserSession, Principal: c.Principal}, life)
	return out, err
}

// OnFederation resolves the federated user of a request. The request needs sts:GetFederationToken on that user, and
// also sts:TagSession if it has tags.
//
// Errors: fault.AccessDenied (temporary credentials), fault.InvalidParameter (the tags).
// Source: STS API reference, GetFederationToken; service authorization reference of STS.
func OnFederation(s *Service, ctx context.Context, req guard.Request,
	in *ststypes.GetFederationTokenRequest) (guard.Target[guard.Nothing], error) {
	if err := s.longTerm(ctx, req.By, "GetFederationToken"); err != nil {
		return guard.Target[guard.Nothing]{}, err
	}
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return guard.Target[guard.Nothing]{}, err
	}
	t := guard.On(guard.Nothing{}, guard.Ask{
		Action: "sts:GetFederationToken", Owner: req.Owner(), Region: req.Region, Keys: tagKeys(tags, nil),
		Resource: identity.FederatedARN(req.By.Account, in.Name),
	})
	if len(tags) > 0 {
		second := t.Asks[0]
		second.Action = actionTag
		t.Asks = append(t.Asks, second)
	}
	return t, nil
}

// GetFederationToken returns credentials of a federated user. The federated user has the rights that both the caller's
// policies and the session policies allow. Without session policies it has only the rights that policies of resources
// grant. For a root user, a longer duration than one hour is reduced to one hour.
//
// Errors: fault.AccessDenied (temporary credentials), fault.Validation (the session policies; the token's size),
// fault.InvalidParameter (the tags), fault.MalformedPolicyDocument, fault.PackedPolicyTooLarge.
// Source: STS API reference, GetFederationToken.
func (s *Service) GetFederationToken(ctx context.Context, c identity.Caller,
	in *ststypes.GetFederationTokenRequest) (*ststypes.GetFederationTokenResponse, error) {
	if err := s.longTerm(ctx, c, "GetFederationToken"); err != nil {
		return nil, err
	}
	if err := checkTokenSize(in.MinimumSessionTokenSize); err != nil {
		return nil, err
	}
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	l, err := s.sessionPolicies(ctx, c.Account, in.Policy, in.PolicyArns)
	if err != nil {
		return nil, err
	}
	out := &ststypes.GetFederationTokenResponse{
		FederatedUser: &ststypes.FederatedUser{FederatedUserId: c.Account.String() + ":" + in.Name,
			Arn: identity.FederatedARN(c.Account, in.Name)},
	}
	if out.PackedPolicySize, err = pack(l, tags); out.PackedPolicySize == nil {
		out.PackedPolicySize = new(int32(0)) // unlike AssumeRole; source: answers of STS
	}
	if err != nil {
		return nil, err
	}
	life := seconds(in.DurationSeconds, userSession)
	if c.Kind == identity.Root {
		life = min(life, rootSession)
	}
	out.Credentials, out.SessionTokenSize, out.SessionTokenUtilization, err = s.issue(ctx, c, meta.Session{
		Account: c.Account, Kind: meta.FederatedSession, Principal: c.Principal, Name: in.Name,
		Policies: l.inline, PolicyARNs: l.arns, Tags: tags,
	}, life)
	return out, err
}

// GetCallerIdentity returns the account, unique id and ARN of the caller. It needs no right and cannot be denied. The
// account of the operator is empty.
// Source: STS API reference, GetCallerIdentity.
func (s *Service) GetCallerIdentity(_ context.Context, c identity.Caller,
	_ *ststypes.GetCallerIdentityRequest) (*ststypes.GetCallerIdentityResponse, error) {
	return &ststypes.GetCallerIdentityResponse{UserId: c.UserID, Account: c.Account.String(), Arn: c.ARN}, nil
}

// GetAccessKeyInfo returns the account of an access key. The key may be inactive and may belong to any account. A key
// of a session is found as long as the session is stored.
//
// Errors: fault.Validation. Source: STS API reference, GetAccessKeyInfo.
func (s *Service) GetAccessKeyInfo(ctx context.Context, _ identity.Caller,
	in *ststypes.GetAccessKeyInfoRequest) (*ststypes.GetAccessKeyInfoResponse, error) {
	k, err := s.meta.AccessKey(ctx, in.AccessKeyId)
	if err == nil {
		return &ststypes.GetAccessKeyInfoResponse{Account: k.Account.String()}, nil
	}
	if !errors.Is(err, fault.AccessKeyNotFound) {
		return nil, err
	}
	v, err := s.meta.Session(ctx, in.AccessKeyId)
	if errors.Is(err, fault.AccessKeyNotFound) {
		return nil, fault.Validation.New("Access key %s is invalid", name.Clip(in.AccessKeyId)).Because(err)
	}
	if err != nil {
		return nil, err
	}
	return &ststypes.GetAccessKeyInfoResponse{Account: v.Account.String()}, nil
}
