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

// longTerm refuses callers with other credentials than a user's or root user's own access key.
// Source: STS API reference, GetSessionToken, GetFederationToken.
func (s *Service) longTerm(ctx context.Context, c identity.Caller, operation string) error {
	switch {
	case c.SessionKey != "" || c.Kind == identity.RoleSession || c.Kind == identity.FederatedUser:
		return fault.AccessDenied.New("Cannot call %s with session credentials", operation)
	case c.Kind == identity.Root || c.Kind == identity.User:
		return nil
	}
	// The operator and whoever else has no account: nothing allows them anything here.
	err := s.guard.Decide(ctx, c, guard.Origin{}, new(guard.Record), guard.Ask{Action: "sts:" + operation, Resource: "*", Owner: guard.OwnedBy(c.Account)})
	if err == nil {
		err = fault.AccessDenied.New("Cannot call %s without an account", operation)
	}
	return err
}

// GetSessionToken gives the caller temporary credentials with its own rights. More than an hour for a root user becomes
// one hour.
//
// Errors: fault.AccessDenied (temporary credentials; a code of an MFA device), fault.Validation (the token's size).
// Source: STS API reference, GetSessionToken.
func (s *Service) GetSessionToken(ctx context.Context, c identity.Caller, in *ststypes.GetSessionTokenRequest) (*ststypes.GetSessionTokenResponse, error) {
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
	out.Credentials, out.SessionTokenSize, out.SessionTokenUtilization, err = s.issue(ctx,
		meta.Session{Account: c.Account, Kind: meta.UserSession, Principal: c.Principal}, life)
	return out, err
}

// OnFederation resolves the federated user that a request makes, which needs the action on that user, and sts:TagSession
// with tags.
//
// Errors: fault.AccessDenied (temporary credentials), fault.InvalidParameter (the tags).
// Source: STS API reference, GetFederationToken; service authorization reference of STS.
func OnFederation(s *Service, ctx context.Context, req guard.Request, in *ststypes.GetFederationTokenRequest) (guard.Target[guard.Nothing], error) {
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

// GetFederationToken gives credentials of a federated user: the caller's rights as far as the session policies allow,
// and none without such policies but those that a resource's policy grants. More than an hour for a root user becomes one hour.
//
// Errors: fault.AccessDenied (temporary credentials), fault.Validation (the session policies; the token's
// size), fault.InvalidParameter (the tags), fault.MalformedPolicyDocument, fault.PackedPolicyTooLarge. Source: STS API reference, GetFederationToken.
func (s *Service) GetFederationToken(ctx context.Context, c identity.Caller, in *ststypes.GetFederationTokenRequest) (*ststypes.GetFederationTokenResponse, error) {
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
		FederatedUser: &ststypes.FederatedUser{FederatedUserId: c.Account.String() + ":" + in.Name, Arn: identity.FederatedARN(c.Account, in.Name)},
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
	out.Credentials, out.SessionTokenSize, out.SessionTokenUtilization, err = s.issue(ctx, meta.Session{
		Account: c.Account, Kind: meta.FederatedSession, Principal: c.Principal, Name: in.Name,
		Policies: l.inline, PolicyARNs: l.arns, Tags: tags,
	}, life)
	return out, err
}

// GetCallerIdentity tells who calls. It needs no right and cannot be denied. The operator has no account.
// Source: STS API reference, GetCallerIdentity.
func (s *Service) GetCallerIdentity(_ context.Context, c identity.Caller, _ *ststypes.GetCallerIdentityRequest) (*ststypes.GetCallerIdentityResponse, error) {
	return &ststypes.GetCallerIdentityResponse{UserId: c.UserID, Account: c.Account.String(), Arn: c.ARN}, nil
}

// GetAccessKeyInfo tells the account of an access key, of whichever account, in force or not: of a session as long as it is
// known here. Errors: fault.Validation. Source: STS API reference, GetAccessKeyInfo.
func (s *Service) GetAccessKeyInfo(ctx context.Context, _ identity.Caller, in *ststypes.GetAccessKeyInfoRequest) (*ststypes.GetAccessKeyInfoResponse, error) {
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
