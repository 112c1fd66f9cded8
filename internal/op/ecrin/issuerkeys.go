package ecrin

import (
	"context"
	"errors"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// OnIssuer resolves the OIDC provider of an account by the URL of its issuer. The resource is the ARN of the provider, whether it exists
// or not.
func OnIssuer[In interface {
	accountNamed
	GetIssuer() string
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Entity], error) {
	of, err := OnAccount(s, ctx, req, in)
	if err != nil {
		return guard.Target[meta.Entity]{}, err
	}
	issuer, err := oidc.ParseIssuer(in.GetIssuer())
	if err != nil {
		return guard.Target[meta.Entity]{}, fault.InvalidParameter.New("issuer is not valid: %s", err)
	}
	t := guard.Target[meta.Entity]{Value: meta.Entity{Account: of.Value, Kind: meta.OIDCProvider, Name: issuer}, Asks: of.Asks}
	t.Asks[0].Resource = t.Value.ARN()
	stored, err := s.meta.Entity(ctx, of.Value, meta.OIDCProvider, issuer)
	if errors.Is(err, fault.NoSuchEntity) {
		t.Absent = noIssuer(issuer)
		return t, nil
	}
	t.Value = stored
	return t, err
}

func noIssuer(issuer string) error {
	return fault.ObjectNotFound.New("there is no OIDC provider for https://%s in this account", name.Clip(issuer))
}

// PutIssuerKeys stores the public keys of an issuer whose tokens the account accepts, as the issuer publishes them. From then on its
// tokens are verified with these keys alone, and the issuer, which may be one that cannot be reached from here, is never called. A key
// that is not in the set is refused at once. Who may do this can make keys for tokens of every subject of the issuer.
//
// Errors: fault.InvalidParameter (the set is not one, or has no usable key), fault.ObjectNotFound.
func (s *Service) PutIssuerKeys(ctx context.Context, c identity.Caller, e meta.Entity, in *ecrintypes.PutIssuerKeysRequest) (
	*ecrintypes.IssuerKeysResponse, error) {
	ids, err := oidc.KeyIDs([]byte(in.Keys))
	if err != nil {
		return nil, fault.InvalidParameter.New("keys is not valid: %s", err)
	}
	if len(ids) == 0 {
		return nil, fault.InvalidParameter.New("keys has no public key with an id for signatures by RSA or ECDSA")
	}
	err = s.meta.PutIssuerKeys(ctx, e, in.Keys, c.ARN)
	if errors.Is(err, fault.NoSuchEntity) {
		return nil, noIssuer(e.Name)
	}
	if err != nil {
		return nil, err
	}
	return s.issuerKeys(ctx, e)
}

// DescribeIssuerKeys returns which keys of an issuer were uploaded. Without any, the list of their ids is empty.
//
// Errors: fault.ObjectNotFound.
func (s *Service) DescribeIssuerKeys(ctx context.Context, _ identity.Caller, e meta.Entity, _ *ecrintypes.DescribeIssuerKeysRequest) (
	*ecrintypes.IssuerKeysResponse, error) {
	return s.issuerKeys(ctx, e)
}

func (s *Service) issuerKeys(ctx context.Context, e meta.Entity) (*ecrintypes.IssuerKeysResponse, error) {
	stored, err := s.meta.IssuerKeys(ctx, e)
	if err != nil {
		return nil, err
	}
	out := ecrintypes.IssuerKeys{Issuer: "https://" + strings.TrimPrefix(e.Name, "https://"), Arn: e.ARN(), AccountId: e.Account.String(),
		KeyIds: []string{}, UpdatedBy: stored.UpdatedBy}
	if stored.Keys != "" {
		if out.KeyIds, err = oidc.KeyIDs([]byte(stored.Keys)); err != nil {
			return nil, err
		}
		out.UpdatedAt = awswire.At(stored.UpdatedAt)
	}
	return &ecrintypes.IssuerKeysResponse{IssuerKeys: out}, nil
}
