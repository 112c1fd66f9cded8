package ecrin

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func showAccount(m meta.Account) ecrintypes.Account {
	return ecrintypes.Account{AccountId: m.ID.String(), Alias: m.Alias, CreatedAt: awswire.Time{Time: m.CreatedAt}, IsDefault: m.Default}
}

// showKey returns the description of an access key of the root user or a user, without its secret.
//
// Errors: fault.NoSuchEntity (the user was deleted in the meantime, and its keys with it).
func (s *Service) showKey(ctx context.Context, k meta.AccessKey) (ecrintypes.AccessKey, error) {
	status := ecrintypes.AccessKeyStatusACTIVE
	if !k.Active {
		status = ecrintypes.AccessKeyStatusINACTIVE
	}
	principal := identity.RootARN(k.Account)
	if k.Principal != k.Account.String() {
		user, err := s.meta.EntityByID(ctx, k.Principal)
		if err != nil {
			return ecrintypes.AccessKey{}, err
		}
		principal = user.ARN()
	}
	return ecrintypes.AccessKey{AccessKeyId: k.ID, AccountId: k.Account.String(), PrincipalArn: principal, Status: status,
		CreatedAt: awswire.Time{Time: k.CreatedAt}}, nil
}

// showSecret returns the description of an access key of the root user with its secret.
func (s *Service) showSecret(ctx context.Context, k identity.Key) (ecrintypes.AccessKey, error) {
	shown, err := s.showKey(ctx, k.AccessKey)
	shown.SecretAccessKey = k.Secret.Reveal()
	return shown, err
}

// CreateAccount creates an account and an access key of its root user.
//
// Errors: fault.AccountAlreadyExists (also for its alias).
func (s *Service) CreateAccount(ctx context.Context, _ identity.Caller, id name.Account,
	in *ecrintypes.CreateAccountRequest) (*ecrintypes.CreateAccountResponse, error) {
	k, err := s.identity.CreateAccount(ctx, id, in.Alias)
	if err != nil {
		return nil, err
	}
	m, err := s.meta.Account(ctx, id)
	if err != nil {
		return nil, err
	}
	shown, err := s.showSecret(ctx, k)
	return &ecrintypes.CreateAccountResponse{Account: showAccount(m), AccessKey: shown}, err
}

// ListAccounts returns all accounts of the installation in the order of their ids, each with the regions in which it has
// repositories.
func (s *Service) ListAccounts(ctx context.Context, _ identity.Caller, _ guard.Nothing,
	_ *ecrintypes.ListAccountsRequest) (*ecrintypes.ListAccountsResponse, error) {
	all, err := s.meta.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	used, err := s.meta.RegistriesInUse(ctx)
	if err != nil {
		return nil, err
	}
	regions := map[name.Account][]string{}
	for _, r := range used {
		regions[r.Account] = append(regions[r.Account], r.Region.String())
	}
	out := &ecrintypes.ListAccountsResponse{}
	for _, m := range all {
		account := showAccount(m)
		account.Regions = regions[m.ID]
		out.Accounts = append(out.Accounts, account)
	}
	return out, nil
}

// DeleteAccount deletes an account with all its IAM entities, access keys and sessions; with force also its
// repositories.
//
// Errors: fault.AccountNotFound, fault.AccountNotEmpty (also for the default account).
func (s *Service) DeleteAccount(ctx context.Context, _ identity.Caller, id name.Account,
	in *ecrintypes.DeleteAccountRequest) (*ecrintypes.DeleteAccountResponse, error) {
	m, err := s.meta.Account(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := s.meta.DeleteAccount(ctx, id, in.Force != nil && *in.Force); err != nil {
		return nil, err
	}
	return &ecrintypes.DeleteAccountResponse{Account: showAccount(m)}, nil
}

// ListAccessKeys returns the access keys of an account, of its root user and of its users, without their secrets, oldest
// first.
//
// Errors: fault.AccountNotFound.
func (s *Service) ListAccessKeys(ctx context.Context, _ identity.Caller, account name.Account,
	_ *ecrintypes.ListAccessKeysRequest) (*ecrintypes.ListAccessKeysResponse, error) {
	if _, err := s.meta.Account(ctx, account); err != nil {
		return nil, err
	}
	keys, err := s.meta.AccessKeys(ctx, account)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListAccessKeysResponse{}
	for _, k := range keys {
		shown, err := s.showKey(ctx, k)
		if errors.Is(err, fault.NoSuchEntity) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out.AccessKeys = append(out.AccessKeys, shown)
	}
	return out, nil
}

// CreateAccessKey creates an access key of the root user of an account.
//
// Errors: fault.AccountNotFound, fault.AccessKeyLimit.
func (s *Service) CreateAccessKey(ctx context.Context, _ identity.Caller, account name.Account,
	_ *ecrintypes.CreateAccessKeyRequest) (*ecrintypes.CreateAccessKeyResponse, error) {
	k, err := s.identity.CreateKey(ctx, account)
	if err != nil {
		return nil, err
	}
	shown, err := s.showSecret(ctx, k)
	return &ecrintypes.CreateAccessKeyResponse{AccessKey: shown}, err
}

// UpdateAccessKey activates or deactivates an access key.
//
// Errors: fault.AccessKeyNotFound.
func (s *Service) UpdateAccessKey(ctx context.Context, _ identity.Caller, k meta.AccessKey,
	in *ecrintypes.UpdateAccessKeyRequest) (*ecrintypes.UpdateAccessKeyResponse, error) {
	k.Active = in.Status == ecrintypes.AccessKeyStatusACTIVE
	if err := s.meta.SetAccessKeyActive(ctx, k.ID, k.Active); err != nil {
		return nil, err
	}
	shown, err := s.showKey(ctx, k)
	return &ecrintypes.UpdateAccessKeyResponse{AccessKey: shown}, err
}

// DeleteAccessKey deletes an access key. Requests signed with it, and tokens issued to it, are refused from then on.
//
// Errors: fault.AccessKeyNotFound.
func (s *Service) DeleteAccessKey(ctx context.Context, _ identity.Caller, k meta.AccessKey,
	_ *ecrintypes.DeleteAccessKeyRequest) (*ecrintypes.DeleteAccessKeyResponse, error) {
	return &ecrintypes.DeleteAccessKeyResponse{}, s.meta.DeleteAccessKey(ctx, k.ID)
}

// ListTokens returns the docker tokens of an account that have not expired, oldest first.
//
// Errors: fault.AccountNotFound.
func (s *Service) ListTokens(ctx context.Context, _ identity.Caller, account name.Account,
	_ *ecrintypes.ListTokensRequest) (*ecrintypes.ListTokensResponse, error) {
	if _, err := s.meta.Account(ctx, account); err != nil {
		return nil, err
	}
	tokens, err := s.meta.Tokens(ctx, account, s.now())
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListTokensResponse{}
	for _, t := range tokens {
		out.Tokens = append(out.Tokens, ecrintypes.Token{
			TokenId: t.ID, AccountId: t.Account.String(), Region: t.Region.String(), PrincipalArn: t.Principal, AccessKeyId: t.AccessKey,
			IssuedAt: awswire.Time{Time: t.IssuedAt}, ExpiresAt: awswire.Time{Time: t.ExpiresAt}, RevokedAt: awswire.At(t.RevokedAt),
		})
	}
	return out, nil
}

// RevokeToken revokes one docker token of an account, or all of them, and returns the number of revoked tokens.
//
// Errors: fault.InvalidParameter (neither a token nor all, or both), fault.TokenNotFound.
func (s *Service) RevokeToken(ctx context.Context, _ identity.Caller, account name.Account,
	in *ecrintypes.RevokeTokenRequest) (*ecrintypes.RevokeTokenResponse, error) {
	all := in.All != nil && *in.All
	if all == (in.TokenId != "") {
		return nil, ecr.BadMember("tokenId", "give either tokenId or all")
	}
	n, err := s.meta.RevokeTokens(ctx, account, in.TokenId)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.RevokeTokenResponse{Revoked: int32(n)}, nil
}
