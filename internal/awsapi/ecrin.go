package awsapi

import (
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/awswire"
	"github.com/ecrin-dev/ecrin/internal/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/identity"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
)

func showAccount(m meta.Account) ecrintypes.Account {
	return ecrintypes.Account{AccountId: m.ID.String(), Alias: m.Alias, CreatedAt: awswire.Time{Time: m.CreatedAt}, IsDefault: m.Default}
}

// showKey shows a key without its secret.
func showKey(k meta.AccessKey) ecrintypes.AccessKey {
	status := ecrintypes.AccessKeyStatusACTIVE
	if !k.Active {
		status = ecrintypes.AccessKeyStatusINACTIVE
	}
	return ecrintypes.AccessKey{AccessKeyId: k.ID, AccountId: k.Account.String(), PrincipalArn: identity.RootARN(k.Account), Status: status, CreatedAt: awswire.Time{Time: k.CreatedAt}}
}

func showSecret(k identity.Key) ecrintypes.AccessKey {
	shown := showKey(k.AccessKey)
	shown.SecretAccessKey = k.Secret.Reveal()
	return shown
}

// accountOf is the account that an input names, or the caller's own; the operator's own is the default account.
func (a *API) accountOf(c *call, id string) (name.Account, error) {
	switch {
	case id != "":
		return name.ParseAccount(id)
	case c.caller.Kind == identity.Operator:
		return a.hosts.Default().Account, nil
	}
	return c.caller.Account, nil
}

func (a *API) createAccount(c *call, in *ecrintypes.CreateAccountRequest) (*ecrintypes.CreateAccountResponse, error) {
	id, err := name.ParseAccount(in.AccountId)
	if err != nil {
		return nil, err
	}
	k, err := a.identity.CreateAccount(c.ctx, id, in.Alias)
	if err != nil {
		return nil, err
	}
	m, err := a.registry.Meta().Account(c.ctx, id)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.CreateAccountResponse{Account: showAccount(m), AccessKey: showSecret(k)}, nil
}

func (a *API) listAccounts(c *call, _ *ecrintypes.ListAccountsRequest) (*ecrintypes.ListAccountsResponse, error) {
	all, err := a.registry.Meta().Accounts(c.ctx)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListAccountsResponse{}
	for _, m := range all {
		out.Accounts = append(out.Accounts, showAccount(m))
	}
	return out, nil
}

func (a *API) deleteAccount(c *call, in *ecrintypes.DeleteAccountRequest) (*ecrintypes.DeleteAccountResponse, error) {
	id, err := name.ParseAccount(in.AccountId)
	if err != nil {
		return nil, err
	}
	m, err := a.registry.Meta().Account(c.ctx, id)
	if err != nil {
		return nil, err
	}
	if err := a.registry.Meta().DeleteAccount(c.ctx, id, in.Force != nil && *in.Force); err != nil {
		return nil, err
	}
	return &ecrintypes.DeleteAccountResponse{Account: showAccount(m)}, nil
}

func (a *API) getAccountCredentials(c *call, in *ecrintypes.GetAccountCredentialsRequest) (*ecrintypes.GetAccountCredentialsResponse, error) {
	account, err := a.accountOf(c, in.AccountId)
	if err != nil {
		return nil, err
	}
	k, err := a.identity.Credentials(c.ctx, account)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.GetAccountCredentialsResponse{AccessKey: showSecret(k), Region: a.hosts.Default().Region.String()}, nil
}

func (a *API) listAccessKeys(c *call, in *ecrintypes.ListAccessKeysRequest) (*ecrintypes.ListAccessKeysResponse, error) {
	account, err := a.accountOf(c, in.AccountId)
	if err != nil {
		return nil, err
	}
	if _, err := a.registry.Meta().Account(c.ctx, account); err != nil {
		return nil, err
	}
	keys, err := a.registry.Meta().AccessKeys(c.ctx, account)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListAccessKeysResponse{}
	for _, k := range keys {
		out.AccessKeys = append(out.AccessKeys, showKey(k))
	}
	return out, nil
}

func (a *API) createAccessKey(c *call, in *ecrintypes.CreateAccessKeyRequest) (*ecrintypes.CreateAccessKeyResponse, error) {
	account, err := a.accountOf(c, in.AccountId)
	if err != nil {
		return nil, err
	}
	k, err := a.identity.CreateKey(c.ctx, account)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.CreateAccessKeyResponse{AccessKey: showSecret(k)}, nil
}

func (a *API) updateAccessKey(c *call, in *ecrintypes.UpdateAccessKeyRequest) (*ecrintypes.UpdateAccessKeyResponse, error) {
	if err := a.registry.Meta().SetAccessKeyActive(c.ctx, in.AccessKeyId, in.Status == ecrintypes.AccessKeyStatusACTIVE); err != nil {
		return nil, err
	}
	k, err := a.registry.Meta().AccessKey(c.ctx, in.AccessKeyId)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.UpdateAccessKeyResponse{AccessKey: showKey(k)}, nil
}

func (a *API) deleteAccessKey(c *call, in *ecrintypes.DeleteAccessKeyRequest) (*ecrintypes.DeleteAccessKeyResponse, error) {
	return &ecrintypes.DeleteAccessKeyResponse{}, a.registry.Meta().DeleteAccessKey(c.ctx, in.AccessKeyId)
}

func (a *API) listTokens(c *call, in *ecrintypes.ListTokensRequest) (*ecrintypes.ListTokensResponse, error) {
	account, err := a.accountOf(c, in.AccountId)
	if err != nil {
		return nil, err
	}
	if _, err := a.registry.Meta().Account(c.ctx, account); err != nil {
		return nil, err
	}
	tokens, err := a.registry.Meta().Tokens(c.ctx, account, a.now())
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

func (a *API) revokeToken(c *call, in *ecrintypes.RevokeTokenRequest) (*ecrintypes.RevokeTokenResponse, error) {
	everything := in.All != nil && *in.All
	if everything == (in.TokenId != "") {
		return nil, badMember("tokenId", "give either tokenId or all")
	}
	account, err := a.accountOf(c, in.AccountId)
	if err != nil {
		return nil, err
	}
	n, err := a.registry.Meta().RevokeTokens(c.ctx, account, in.TokenId)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.RevokeTokenResponse{Revoked: int32(n)}, nil
}

// registryID names the registry of a call on a repository; the operator's own is the default one.
func (a *API) registryID(c *call, id string) string {
	if id == "" && c.caller.Kind == identity.Operator {
		return a.hosts.Default().Account.String()
	}
	return id
}

func (a *API) listTagHistory(c *call, in *ecrintypes.ListTagHistoryRequest) (*ecrintypes.ListTagHistoryResponse, error) {
	r, err := a.find(c, a.registryID(c, in.RegistryId), in.RepositoryName)
	if err != nil {
		return nil, err
	}
	scope := fmt.Sprintf("history %d %s", r.ID, in.ImageTag)
	var before int64
	if err := a.resume(scope, in.NextToken, &before); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := a.registry.Meta().TagHistory(c.ctx, r.ID, in.ImageTag, before, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListTagHistoryResponse{}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = a.token(scope, rows[limit-1].ID)
	}
	for _, m := range rows {
		out.Moves = append(out.Moves, ecrintypes.TagMove{ImageTag: m.Tag, FromDigest: m.From, ToDigest: m.To, PrincipalArn: m.Principal, At: awswire.Time{Time: m.At}})
	}
	return out, nil
}

// mostDeleted is how many deleted images a listing shows.
const mostDeleted = 1000

func (a *API) listDeletedImages(c *call, in *ecrintypes.ListDeletedImagesRequest) (*ecrintypes.ListDeletedImagesResponse, error) {
	r, err := a.find(c, a.registryID(c, in.RegistryId), in.RepositoryName)
	if err != nil {
		return nil, err
	}
	rows, err := a.registry.Meta().DeletedImages(c.ctx, r.ID, mostDeleted)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListDeletedImagesResponse{}
	for _, im := range rows {
		out.Images = append(out.Images, ecrintypes.DeletedImage{
			ImageDigest: im.Digest.String(), MediaType: im.MediaType, ImagePushedAt: awswire.Time{Time: im.PushedAt},
			DeletedAt: awswire.Time{Time: im.DeletedAt}, ImageSizeInBytes: &im.Bytes,
		})
	}
	return out, nil
}

func (a *API) restoreImage(c *call, in *ecrintypes.RestoreImageRequest) (*ecrintypes.RestoreImageResponse, error) {
	r, err := a.find(c, a.registryID(c, in.RegistryId), in.RepositoryName)
	if err != nil {
		return nil, err
	}
	d, err := name.ParseDigest(in.ImageDigest)
	if err != nil {
		return nil, err
	}
	var tags []name.Tag
	if in.ImageTag != "" {
		tag, err := name.ParseTag(in.ImageTag)
		if err != nil {
			return nil, err
		}
		tags = append(tags, tag)
	}
	if err := a.registry.Meta().RestoreImage(c.ctx, r, d, tags, c.caller.ARN); err != nil {
		return nil, err
	}
	c.ev.Digest = d.String()
	return &ecrintypes.RestoreImageResponse{ImageDigest: d.String()}, nil
}
