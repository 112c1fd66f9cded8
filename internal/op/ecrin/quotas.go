package ecrin

import (
	"context"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Quota names a quota of an account, which need not exist.
type Quota struct {
	Account name.Account
	Prefix  string // "" for the whole account
}

// quotasOf resolves the account of quotas. resource ends the ARN of the ask, which has no region: a quota applies to all.
func quotasOf[In accountNamed](s *Service, ctx context.Context, req guard.Request, in In, prefix, resource string) (
	t guard.Target[Quota], err error) {
	of, err := OnAccount(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	ask := of.Asks[0]
	ask.Resource = name.ARN{Partition: req.Region.Partition(), Service: "ecrin", Account: of.Value, Resource: "quota/" + resource}.String()
	return guard.On(Quota{of.Value, prefix}, ask), nil
}

// OnQuota resolves the quota of an account with a prefix. Its resource is quota/PREFIX, with no prefix for the quota of the whole account.
//
// Errors: fault.InvalidParameter (no repository can have the prefix).
func OnQuota[In interface {
	accountNamed
	*ecrintypes.PutQuotaRequest | *ecrintypes.DeleteQuotaRequest
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Quota], error) {
	text := ""
	switch v := any(in).(type) {
	case *ecrintypes.PutQuotaRequest:
		text = v.Prefix
	case *ecrintypes.DeleteQuotaRequest:
		text = v.Prefix
	}
	prefix := strings.TrimSuffix(text, "/")
	if text != "" {
		if _, err := name.ParseRepo(prefix + "/x"); err != nil {
			return guard.Target[Quota]{}, ecr.BadMember("prefix", "must be a repository name or the beginning of one before a slash")
		}
	}
	return quotasOf(s, ctx, req, in, prefix, prefix)
}

// OnQuotas resolves the account whose quotas are listed.
func OnQuotas(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.DescribeQuotasRequest) (guard.Target[Quota], error) {
	return quotasOf(s, ctx, req, in, "", "*")
}

// limitOf returns the value of a limit of a request, and limitIn that of an answer.
func limitOf(n *int64) int64 {
	if n == nil {
		return meta.NoLimit
	}
	return *n
}

func limitIn(n int64) *int64 {
	if n == meta.NoLimit {
		return nil
	}
	return &n
}

func showQuota(q meta.StorageQuota) ecrintypes.Quota {
	return ecrintypes.Quota{AccountId: q.Account.String(), Prefix: q.Prefix, MaxRepositories: limitIn(q.Max.Repositories),
		MaxImages: limitIn(q.Max.Images), MaxBytes: limitIn(q.Max.Bytes), Repositories: q.Used.Repositories, Images: q.Used.Images,
		Bytes: q.Used.Bytes, CreatedAt: *awswire.At(q.CreatedAt), UpdatedAt: *awswire.At(q.UpdatedAt)}
}

// PutQuota limits the repositories, images and bytes of an account, or of its repositories with a prefix, in all regions together. It
// replaces all limits of the quota that exists. What repositories have already stays, also if it is more.
//
// Errors: fault.InvalidParameter (no limit), fault.LimitExceeded (too many quotas), fault.AccountNotFound.
func (s *Service) PutQuota(ctx context.Context, _ identity.Caller, q Quota, in *ecrintypes.PutQuotaRequest) (
	*ecrintypes.QuotaResponse, error) {
	if in.MaxRepositories == nil && in.MaxImages == nil && in.MaxBytes == nil {
		return nil, ecr.BadMember("maxBytes", "at least one of maxRepositories, maxImages and maxBytes is required")
	}
	stored, err := s.meta.PutStorageQuota(ctx, meta.StorageQuota{Account: q.Account, Prefix: q.Prefix,
		Max: meta.Amounts{Repositories: limitOf(in.MaxRepositories), Images: limitOf(in.MaxImages), Bytes: limitOf(in.MaxBytes)}})
	if err != nil {
		return nil, err
	}
	return &ecrintypes.QuotaResponse{Quota: showQuota(stored)}, nil
}

// DescribeQuotas returns the quotas of an account, with what the repositories of each have now.
func (s *Service) DescribeQuotas(ctx context.Context, _ identity.Caller, q Quota, _ *ecrintypes.DescribeQuotasRequest) (
	*ecrintypes.DescribeQuotasResponse, error) {
	all, err := s.meta.StorageQuotas(ctx, q.Account)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.DescribeQuotasResponse{Quotas: []ecrintypes.Quota{}}
	for _, one := range all {
		out.Quotas = append(out.Quotas, showQuota(one))
	}
	return out, nil
}

// DeleteQuota deletes a quota and returns it.
//
// Errors: fault.StorageQuotaNotFound.
func (s *Service) DeleteQuota(ctx context.Context, _ identity.Caller, q Quota, _ *ecrintypes.DeleteQuotaRequest) (
	*ecrintypes.QuotaResponse, error) {
	stored, err := s.meta.StorageQuota(ctx, q.Account, q.Prefix)
	if err == nil {
		err = s.meta.DeleteStorageQuota(ctx, q.Account, q.Prefix)
	}
	if err != nil {
		return nil, err
	}
	return &ecrintypes.QuotaResponse{Quota: showQuota(stored)}, nil
}
