package iam

import (
	"context"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Sources: IAM user guide, IAM and STS quotas; IAM API reference, CreateOpenIDConnectProvider.
const (
	maxProviders   = 100
	maxClientIDs   = 100
	maxThumbprints = 5
)

// CreateOpenIDConnectProvider makes an identity provider, so that roles can trust its tokens. The operation does not
// connect to the provider, which may be unreachable at this time.
//
// If the request has no thumbprint, AWS fetches one. ecrin stores none, since the certificate of a first connection
// proves nothing about later connections. In this case, the provider's certificate must come from an authority that the
// system or the configuration trusts.
//
// Errors: fault.Validation (the URL), fault.InvalidInput (the thumbprints, the tags), fault.EntityAlreadyExists,
// fault.LimitExceeded (providers, client ids). Source: IAM API reference, CreateOpenIDConnectProvider.
func (s *Service) CreateOpenIDConnectProvider(ctx context.Context, c identity.Caller, _ guard.Nothing,
	in *iamtypes.CreateOpenIDConnectProviderRequest) (*iamtypes.CreateOpenIDConnectProviderResponse, error) {
	tags, err := tagsOf(in.Tags, exactCase)
	if err != nil {
		return nil, err
	}
	issuer, err := issuerOf(in.Url)
	if err != nil {
		return nil, err
	}
	e := s.newEntity(c, meta.OIDCProvider, "OIDC", "", issuer)
	if e.ClientIDs = distinct(in.ClientIDList); len(e.ClientIDs) > maxClientIDs {
		return nil, tooManyClientIDs()
	}
	if e.Thumbprints, err = thumbprints(in.ThumbprintList); err != nil {
		return nil, err
	}
	if err := s.meta.CreateEntity(ctx, e, tags, maxProviders); err != nil {
		return nil, err
	}
	return &iamtypes.CreateOpenIDConnectProviderResponse{OpenIDConnectProviderArn: e.ARN(), Tags: tagList(tags)}, nil
}

// issuerOf checks the URL of a provider and returns it without https://, the form in ARNs and in comparisons with the
// issuers of tokens. The URL may have a port, as is common for self-hosted providers. Errors: fault.Validation.
func issuerOf(text string) (string, error) {
	u, err := url.Parse(text)
	rest, secure := strings.CutPrefix(text, "https://")
	switch {
	case err != nil || !secure || u.Hostname() == "" || u.User != nil || strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r > '~'
	}),
		strings.ContainsAny(text, "?#*"):
		return "", fault.Validation.New("Invalid Open ID Connect Provider URL")
	}
	return rest, nil
}

// distinct returns the values without repetitions, in their order.
func distinct(all []string) []string {
	var out []string
	for _, s := range all {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func tooManyClientIDs() error {
	return fault.LimitExceeded.New("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClientIDs)
}

// thumbprints checks SHA-1 fingerprints of certificates and returns them in lower case. Errors: fault.InvalidInput.
func thumbprints(all []string) ([]string, error) {
	var out []string
	for _, t := range all {
		if b, err := hex.DecodeString(t); err != nil || len(b) != 20 {
			return nil, fault.InvalidInput.New("The thumbprint %q is not 40 hexadecimal digits.", name.Clip(t))
		}
		out = append(out, strings.ToLower(t))
	}
	if out = distinct(out); len(out) > maxThumbprints {
		return nil, fault.InvalidInput.New("Thumbprint list must contain fewer than %d entries.", maxThumbprints)
	}
	return out, nil
}

// issuerIn returns the issuer in a provider's ARN, or "" if the ARN is of another account.
// Errors: fault.InvalidInput (not the ARN of a provider).
func issuerIn(own name.Account, arn string) (string, error) {
	parsed, named, err := name.ParseEntityARN(arn)
	if err != nil || parsed.Partition != name.DefaultPartition || named.Kind != name.OIDCProvider {
		return "", fault.InvalidInput.New("Invalid ARN: %s is not the ARN of an OpenID Connect provider.", name.Clip(arn))
	}
	if parsed.Account != own {
		return "", nil
	}
	return named.Name, nil
}

func noProvider(arn string) error {
	return fault.NoSuchEntity.New("OpenIDConnect Provider not found for arn %s", name.Clip(arn))
}

// changeProvider changes a provider. Errors: fault.NoSuchEntity, fault.TargetChanged, those of change.
func (s *Service) changeProvider(ctx context.Context, e meta.Entity, change func(*meta.Entity) error) (*None, error) {
	_, err := s.meta.UpdateEntity(ctx, e, change)
	if errors.Is(err, fault.NoSuchEntity) {
		err = noProvider(e.ARN())
	}
	return none(err)
}

// GetOpenIDConnectProvider shows a provider. Errors: fault.InvalidInput, fault.NoSuchEntity.
// Source: IAM API reference, GetOpenIDConnectProvider.
func (s *Service) GetOpenIDConnectProvider(ctx context.Context, _ identity.Caller, e meta.Entity,
	_ *iamtypes.GetOpenIDConnectProviderRequest) (*iamtypes.GetOpenIDConnectProviderResponse, error) {
	tags, err := s.meta.EntityTags(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	return &iamtypes.GetOpenIDConnectProviderResponse{
		Url: e.Name, ClientIDList: e.ClientIDs, ThumbprintList: e.Thumbprints, CreateDate: awswire.At(e.CreatedAt), Tags: allTags(tags),
	}, nil
}

// ListOpenIDConnectProviders lists all providers of the account; there are no pages.
// Source: IAM API reference, ListOpenIDConnectProviders.
func (s *Service) ListOpenIDConnectProviders(ctx context.Context, c identity.Caller, _ guard.Nothing,
	_ *iamtypes.ListOpenIDConnectProvidersRequest) (*iamtypes.ListOpenIDConnectProvidersResponse, error) {
	all, err := s.meta.Entities(ctx, c.Account, meta.OIDCProvider, "", "", maxProviders)
	if err != nil {
		return nil, err
	}
	return &iamtypes.ListOpenIDConnectProvidersResponse{OpenIDConnectProviderList: each(all,
		func(e meta.Entity) iamtypes.OpenIDConnectProviderListEntry {
			return iamtypes.OpenIDConnectProviderListEntry{Arn: e.ARN()}
		})}, nil
}

// DeleteOpenIDConnectProvider removes a provider. It is no error if the provider does not exist. Roles that trust it
// remain, but cannot be assumed with its tokens any more.
//
// Errors: fault.InvalidInput. Source: IAM API reference, DeleteOpenIDConnectProvider.
func (s *Service) DeleteOpenIDConnectProvider(ctx context.Context, _ identity.Caller, e meta.Entity,
	_ *iamtypes.DeleteOpenIDConnectProviderRequest) (*None, error) {
	if e.ID == "" {
		return &None{}, nil
	}
	err := s.meta.DeleteEntity(ctx, e)
	if errors.Is(err, fault.NoSuchEntity) {
		err = nil
	}
	return none(err)
}

// AddClientIDToOpenIDConnectProvider adds an audience whose tokens are accepted. It is no error if it is already there.
//
// Errors: fault.InvalidInput, fault.NoSuchEntity, fault.LimitExceeded.
// Source: IAM API reference, AddClientIDToOpenIDConnectProvider.
func (s *Service) AddClientIDToOpenIDConnectProvider(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.AddClientIDToOpenIDConnectProviderRequest) (*None, error) {
	return s.changeProvider(ctx, e, func(e *meta.Entity) error {
		if e.ClientIDs = distinct(append(slices.Clone(e.ClientIDs), in.ClientID)); len(e.ClientIDs) > maxClientIDs {
			return tooManyClientIDs()
		}
		return nil
	})
}

// RemoveClientIDFromOpenIDConnectProvider removes an audience. It is no error if the provider does not have it.
//
// Errors: fault.InvalidInput, fault.NoSuchEntity. Source: IAM API reference, RemoveClientIDFromOpenIDConnectProvider.
func (s *Service) RemoveClientIDFromOpenIDConnectProvider(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.RemoveClientIDFromOpenIDConnectProviderRequest) (*None, error) {
	return s.changeProvider(ctx, e, func(e *meta.Entity) error {
		e.ClientIDs = slices.DeleteFunc(slices.Clone(e.ClientIDs), func(id string) bool { return id == in.ClientID })
		return nil
	})
}

// UpdateOpenIDConnectProviderThumbprint replaces the list of thumbprints.
//
// Errors: fault.InvalidInput, fault.NoSuchEntity. Source: IAM API reference, UpdateOpenIDConnectProviderThumbprint.
func (s *Service) UpdateOpenIDConnectProviderThumbprint(ctx context.Context, _ identity.Caller, e meta.Entity,
	in *iamtypes.UpdateOpenIDConnectProviderThumbprintRequest) (*None, error) {
	list, err := thumbprints(in.ThumbprintList)
	if err != nil {
		return nil, err
	}
	return s.changeProvider(ctx, e, func(e *meta.Entity) error {
		e.Thumbprints = list
		return nil
	})
}
