package ecrin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// customerByID returns a customer by its id alone. absent is the error if there is none.
func (s *Service) customerByID(ctx context.Context, a meta.Application, id string) (c meta.Customer, absent, err error) {
	c, err = s.meta.Customer(ctx, a, id)
	if err == nil && c.ID != id {
		err = fault.ObjectNotFound.New("the application has no customer %s", name.Clip(id))
	}
	if errors.Is(err, fault.ObjectNotFound) {
		return meta.Customer{}, err, nil
	}
	return c, nil, err
}

// GetLicense returns the licence of a customer as a file, in the version v1beta1 unless the request says another one. The licence has the
// server of updates and the proxy of the settings, or else at the host of this request.
//
// Errors: those of vendor.Service.License.
func (s *Service) GetLicense(ctx context.Context, _ identity.Caller, at Licensee, in *ecrintypes.GetLicenseRequest) (
	*ecrintypes.GetLicenseResponse, error) {
	v := license.V1
	if in.LicenseVersion != "" {
		v, _ = license.ParseVersion(string(in.LicenseVersion))
	}
	text, err := s.vendor.License(ctx, at.Application, at.Customer, v, s.vendor.PlacesAt(at.Host.String(), at.Secure))
	if err != nil {
		return nil, err
	}
	id, err := s.vendor.LicenseID(at.Customer)
	return &ecrintypes.GetLicenseResponse{License: string(text), LicenseId: id.Reveal()}, err
}

// GetLicenseKey returns the public root key of the installation as PEM: with it installers verify licences.
func (s *Service) GetLicenseKey(ctx context.Context, _ identity.Caller, _ name.Account, _ *ecrintypes.GetLicenseKeyRequest) (
	*ecrintypes.GetLicenseKeyResponse, error) {
	key, err := s.vendor.PublicKey(ctx)
	return &ecrintypes.GetLicenseKeyResponse{PublicKey: key}, err
}

// CreateCustomerToken makes a token of a customer, which is in this answer only.
//
// Errors: those of vendor.Service.NewToken.
func (s *Service) CreateCustomerToken(ctx context.Context, by identity.Caller, at Licensee, in *ecrintypes.CustomerTokenRequest) (
	*ecrintypes.CustomerTokenResponse, error) {
	_, token, err := s.vendor.NewToken(ctx, at.Customer, in.TokenName, by.ARN)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.CustomerTokenResponse{TokenName: in.TokenName, Token: token.Reveal()}, nil
}

// RotateCustomerToken replaces a token of a customer. The one before is refused from the next request on.
//
// Errors: fault.ObjectNotFound.
func (s *Service) RotateCustomerToken(ctx context.Context, _ identity.Caller, at Licensee, in *ecrintypes.CustomerTokenRequest) (
	*ecrintypes.CustomerTokenResponse, error) {
	token, err := s.vendor.RotateToken(ctx, at.Customer, in.TokenName)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.CustomerTokenResponse{TokenName: in.TokenName, Token: token.Reveal()}, nil
}

// RevokeCustomerToken deletes a token of a customer, which is refused from the next request on.
//
// Errors: fault.ObjectNotFound.
func (s *Service) RevokeCustomerToken(ctx context.Context, _ identity.Caller, at Licensee, in *ecrintypes.CustomerTokenRequest) (
	*ecrintypes.RevokeCustomerTokenResponse, error) {
	return &ecrintypes.RevokeCustomerTokenResponse{}, s.meta.DeleteCustomerToken(ctx, at.Customer.ID, in.TokenName)
}

// ListCustomerTokens returns the tokens of a customer by name, with their last use, without the tokens themselves.
func (s *Service) ListCustomerTokens(ctx context.Context, _ identity.Caller, at Licensee, _ *ecrintypes.CustomerRequest) (
	*ecrintypes.ListCustomerTokensResponse, error) {
	all, err := s.meta.CustomerTokens(ctx, at.Customer.ID)
	out := &ecrintypes.ListCustomerTokensResponse{Tokens: []ecrintypes.CustomerToken{}}
	for _, k := range all {
		out.Tokens = append(out.Tokens, ecrintypes.CustomerToken{TokenName: k.Name, CreatedAt: awswire.Time{Time: k.CreatedAt},
			CreatedBy: k.CreatedBy, RotatedAt: awswire.At(k.RotatedAt), LastUsedAt: awswire.At(k.LastUsedAt), LastAddress: k.LastAddress})
	}
	return out, err
}

func showEntitlement(e meta.Entitlement) (ecrintypes.Entitlement, error) {
	var r entitlement.Rule
	if err := json.Unmarshal([]byte(e.Rule), &r); err != nil {
		return ecrintypes.Entitlement{}, fmt.Errorf("reading the entitlement %s: %w", e.ID, err)
	}
	return ecrintypes.Entitlement{EntitlementId: e.ID, CustomerId: e.Customer, Repositories: r.Repositories, ImageTags: r.Tags,
		Versions: r.Versions, ImageDigests: r.Digests, Channels: r.Channels, ReleasedBefore: r.ReleasedBefore, PresentOnly: &r.Present,
		Text: r.String(), CreatedAt: awswire.Time{Time: e.CreatedAt}, CreatedBy: e.CreatedBy}, nil
}

// PutEntitlement lets a customer, or all customers of an application, pull images. Channels are named by their ids or slugs.
//
// Errors: fault.ObjectNotFound (a channel), and those of vendor.Service.Entitle.
func (s *Service) PutEntitlement(ctx context.Context, by identity.Caller, at Licensee, in *ecrintypes.PutEntitlementRequest) (
	*ecrintypes.EntitlementResponse, error) {
	r, err := s.ruleOf(ctx, at.Shipped, in)
	if err != nil {
		return nil, err
	}
	e, err := s.vendor.Entitle(ctx, at.Application, at.Customer.ID, r, by.ARN)
	if err != nil {
		return nil, err
	}
	one, err := showEntitlement(e)
	return &ecrintypes.EntitlementResponse{Entitlement: one}, err
}

// ListEntitlements returns the entitlements of a customer, those of all customers first; of all alone without a customer.
func (s *Service) ListEntitlements(ctx context.Context, _ identity.Caller, at Licensee, _ *ecrintypes.ListEntitlementsRequest) (
	*ecrintypes.ListEntitlementsResponse, error) {
	all, err := s.meta.Entitlements(ctx, at.ID, at.Customer.ID)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListEntitlementsResponse{Entitlements: []ecrintypes.Entitlement{}}
	for _, e := range all {
		one, err := showEntitlement(e)
		if err != nil {
			return nil, err
		}
		out.Entitlements = append(out.Entitlements, one)
	}
	return out, nil
}

// maxPreviewed is how many images PreviewEntitlement names.
const maxPreviewed = 20

// PreviewEntitlement returns how many tags in the region of the request an entitlement lets a customer pull now, and the first of them: an
// entitlement that is there, by its id, or one with the members of the request. It says nothing about images of other registries. Channels
// are named by their ids or slugs. At most 20,000 tags of 2,000 repositories are looked at; more is true if there are others. maxEffort
// ends it earlier: each tag and each name of a repository costs one, and a repository that is reached ten more.
//
// Errors: fault.ObjectNotFound (the entitlement, a channel), fault.InvalidParameter.
func (s *Service) PreviewEntitlement(ctx context.Context, _ identity.Caller, at Licensee, in *ecrintypes.PreviewEntitlementRequest) (
	*ecrintypes.PreviewEntitlementResponse, error) {
	g := entitlement.Granted{ID: "preview", At: s.now()}
	var err error
	if in.EntitlementId != "" {
		err = s.granted(ctx, at, in.EntitlementId, &g)
	} else {
		g.Rule, err = s.ruleOf(ctx, at.Shipped, &ecrintypes.PutEntitlementRequest{Repositories: in.Repositories, ImageTags: in.ImageTags,
			Versions: in.Versions, ImageDigests: in.ImageDigests, Channels: in.Channels, ReleasedBefore: in.ReleasedBefore,
			PresentOnly: in.PresentOnly})
	}
	if err != nil {
		return nil, err
	}
	look := vendor.Look{Show: maxPreviewed}
	if in.MaxEffort != nil {
		look.MaxEffort = int(*in.MaxEffort)
	}
	m, err := s.vendor.Matching(ctx, at.Application, at.Customer.ExpiresAt, g, at.Region, look)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.PreviewEntitlementResponse{Tags: int32(m.Tags), More: m.More, Repositories: int32(m.Repositories),
		Effort: int32(m.Effort),
		Text:   g.Rule.String(), Images: []ecrintypes.EntitledImage{}}
	for _, i := range m.Images {
		out.Images = append(out.Images, ecrintypes.EntitledImage{RepositoryName: i.Repository, ImageTag: i.Tag, ImageDigest: i.Digest,
			ImagePushedAt: awswire.Time{Time: i.PushedAt}})
	}
	return out, nil
}

// granted reads an entitlement of a customer, or of all customers, by its id.
//
// Errors: fault.ObjectNotFound.
func (s *Service) granted(ctx context.Context, at Licensee, id string, g *entitlement.Granted) error {
	all, err := s.meta.Entitlements(ctx, at.ID, at.Customer.ID)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.ID != id {
			continue
		}
		g.ID, g.At = e.ID, e.CreatedAt
		if err := json.Unmarshal([]byte(e.Rule), &g.Rule); err != nil {
			return fmt.Errorf("reading the entitlement %s: %w", e.ID, err)
		}
		return nil
	}
	return fault.ObjectNotFound.New("there is no entitlement %s", name.Clip(id))
}

// ruleOf returns the rule of a request.
//
// Errors: fault.ObjectNotFound (a channel).
func (s *Service) ruleOf(ctx context.Context, at Shipped, in *ecrintypes.PutEntitlementRequest) (entitlement.Rule, error) {
	r := entitlement.Rule{Repositories: in.Repositories, Tags: in.ImageTags, Versions: in.Versions, Digests: in.ImageDigests,
		ReleasedBefore: in.ReleasedBefore, Present: yes(in.PresentOnly)}
	for _, of := range in.Channels {
		c, err := s.meta.Channel(ctx, at.ID, of)
		if err != nil {
			return r, err
		}
		r.Channels = append(r.Channels, c.ID)
	}
	return r, nil
}

// DeleteEntitlement deletes an entitlement of an application, which is not in force from the next request on.
//
// Errors: fault.ObjectNotFound.
func (s *Service) DeleteEntitlement(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.DeleteEntitlementRequest) (
	*ecrintypes.DeleteEntitlementResponse, error) {
	return &ecrintypes.DeleteEntitlementResponse{}, s.meta.DeleteEntitlement(ctx, at.ID, in.EntitlementId)
}
