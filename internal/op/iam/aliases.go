package iam

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// CreateAccountAlias sets the alias of the account and replaces its previous alias.
//
// Errors: fault.EntityAlreadyExists (another account has the alias).
// Source: IAM API reference, CreateAccountAlias; IAM user guide, account aliases.
func (s *Service) CreateAccountAlias(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.CreateAccountAliasRequest) (*None, error) {
	err := s.meta.SetAlias(ctx, c.Account, in.AccountAlias)
	if errors.Is(err, fault.EntityAlreadyExists) {
		err = fault.EntityAlreadyExists.New("The account alias %s already exists.", in.AccountAlias).Because(err)
	}
	return none(err)
}

// ListAccountAliases lists the alias of the account, if it has one. Errors: fault.Validation (the marker).
// Source: IAM API reference, ListAccountAliases.
func (s *Service) ListAccountAliases(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.ListAccountAliasesRequest) (*iamtypes.ListAccountAliasesResponse, error) {
	p, err := s.paging(c, "ListAccountAliases", in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	a, err := s.meta.Account(ctx, c.Account)
	if err != nil {
		return nil, err
	}
	aliases := []string{}
	if a.Alias != "" {
		aliases = append(aliases, a.Alias)
	}
	page, truncated, marker := cut(p, aliases, func(alias string) string { return alias })
	return &iamtypes.ListAccountAliasesResponse{AccountAliases: page, IsTruncated: truncated, Marker: marker}, nil
}

// DeleteAccountAlias removes the alias of the account. Errors: fault.NoSuchEntity (the account has another alias or
// none).
// Source: IAM API reference, DeleteAccountAlias.
func (s *Service) DeleteAccountAlias(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.DeleteAccountAliasRequest) (*None, error) {
	return none(s.meta.DeleteAlias(ctx, c.Account, in.AccountAlias))
}
