package vendor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// OwnChannel is a channel that a customer is on, with the newest versions that it is offered.
type OwnChannel struct {
	Slug, Name string
	Versions   []OwnVersion
}

// OwnVersion is a version that a customer is offered.
type OwnVersion struct {
	Sequence     int64
	Label, Notes string
	Required     bool
	PromotedAt   time.Time
}

// OwnToken is a token of a customer, without its value.
type OwnToken struct {
	Name, Address     string
	MadeAt            time.Time
	RotatedAt, UsedAt time.Time // zero for never
	Own               bool      // the customer has made it, not the vendor
	Here              bool      // the caller uses it
}

// CustomerPage is what a customer may know about itself.
type CustomerPage struct {
	Slug, Application, Customer, Type string
	ExpiresAt                         time.Time
	Channels                          []OwnChannel
	Tokens                            []OwnToken
	Rights                            []OwnRight
	Places                            Places
}

// OwnRight is an entitlement of a customer.
type OwnRight struct {
	Repositories []string
	Text         string
}

// maxOwnVersions is how many versions of a channel a CustomerPage has.
const maxOwnVersions = 20

// CustomerPage returns what the customer who calls may know about itself. at has the addresses that it pulls from.
//
// Errors: fault.AccessDenied (the caller is no customer), fault.LicenseInvalid (it was deleted).
func (s *Service) CustomerPage(ctx context.Context, by identity.Caller, at Places) (CustomerPage, error) {
	_, named, err := name.ParseEntityARN(by.ARN)
	if err != nil {
		return CustomerPage{}, fault.AccessDenied.New("only customers have such a page")
	}
	slug, _, _ := strings.Cut(named.Name, "/")
	a, c, err := s.licensee(ctx, by, slug)
	if err != nil {
		return CustomerPage{}, err
	}
	var d Details
	if err := json.Unmarshal([]byte(c.Details), &d); err != nil {
		return CustomerPage{}, fmt.Errorf("the details of the customer %s: %w", c.ID, err)
	}
	own := CustomerPage{Slug: slug, Application: a.Name, Customer: c.Name, Type: d.Type, ExpiresAt: c.ExpiresAt, Places: at}
	for _, on := range c.Channels {
		channel, err := s.meta.Channel(ctx, a.ID, on.Channel)
		if err != nil {
			return CustomerPage{}, err
		}
		one := OwnChannel{Slug: channel.Slug, Name: channel.Name}
		offers, err := s.meta.Offers(ctx, on.Channel, 0, on.Pinned, false, maxOwnVersions)
		if err != nil {
			return CustomerPage{}, err
		}
		for _, p := range offers {
			one.Versions = append(one.Versions, OwnVersion{p.Sequence, p.Label, p.Notes, p.Required, p.PromotedAt})
			if on.Default && p.RegistryDomain != "" && len(one.Versions) == 1 {
				own.Places.Registry = p.RegistryDomain
			}
		}
		own.Channels = append(own.Channels, one)
	}
	tokens, err := s.meta.CustomerTokens(ctx, c.ID)
	if err != nil {
		return CustomerPage{}, err
	}
	for _, t := range tokens {
		own.Tokens = append(own.Tokens, OwnToken{Name: t.Name, Address: t.LastAddress, MadeAt: t.CreatedAt, RotatedAt: t.RotatedAt,
			UsedAt: t.LastUsedAt, Own: t.CreatedBy == by.ARN, Here: t.Name == by.Token})
	}
	rights, err := s.meta.Entitlements(ctx, a.ID, c.ID)
	if err != nil {
		return CustomerPage{}, err
	}
	for _, e := range rights {
		var r entitlement.Rule
		if err := json.Unmarshal([]byte(e.Rule), &r); err != nil {
			return CustomerPage{}, fmt.Errorf("reading the entitlement %s: %w", e.ID, err)
		}
		r.Channels = s.channelSlugs(ctx, a, r.Channels)
		own.Rights = append(own.Rights, OwnRight{r.Repositories, r.String()})
	}
	return own, nil
}

// ownTokens returns the customer who calls, if it may change its tokens: by its licence alone. A token that was lost could else make
// others, which would stay when it is revoked.
//
// Errors: fault.AccessDenied (the caller is no customer, or has a token), fault.LicenseInvalid (the customer was deleted).
func (s *Service) ownTokens(ctx context.Context, by identity.Caller) (meta.Customer, error) {
	if by.Token != "" {
		return meta.Customer{}, fault.AccessDenied.New("tokens are made, rotated and revoked by the licence, not by a token")
	}
	_, named, err := name.ParseEntityARN(by.ARN)
	if err != nil {
		return meta.Customer{}, fault.AccessDenied.New("only customers have tokens")
	}
	slug, _, _ := strings.Cut(named.Name, "/")
	_, c, err := s.licensee(ctx, by, slug)
	return c, err
}

// MakeOwnToken makes a token for the customer who calls. It stands for the customer as the licence does: what it may pull is decided at
// each request, by the entitlements of then, and it ends with the licence.
//
// Errors: fault.AccessDenied, fault.LicenseInvalid, and those of NewToken.
func (s *Service) MakeOwnToken(ctx context.Context, by identity.Caller, label string) (secret.String, error) {
	c, err := s.ownTokens(ctx, by)
	if err != nil {
		return secret.String{}, err
	}
	_, token, err := s.NewToken(ctx, c, label, by.ARN)
	return token, err
}

// RotateOwnToken replaces a token of the customer who calls, also one that the vendor has made.
//
// Errors: fault.AccessDenied, fault.LicenseInvalid, fault.ObjectNotFound.
func (s *Service) RotateOwnToken(ctx context.Context, by identity.Caller, label string) (secret.String, error) {
	c, err := s.ownTokens(ctx, by)
	if err != nil {
		return secret.String{}, err
	}
	return s.RotateToken(ctx, c, label)
}

// RevokeOwnToken deletes a token of the customer who calls, also one that the vendor has made.
//
// Errors: fault.AccessDenied, fault.LicenseInvalid, fault.ObjectNotFound.
func (s *Service) RevokeOwnToken(ctx context.Context, by identity.Caller, label string) error {
	c, err := s.ownTokens(ctx, by)
	if err != nil {
		return err
	}
	return s.meta.DeleteCustomerToken(ctx, c.ID, label)
}

// channelSlugs returns the slugs of channels; of one that is gone its id.
func (s *Service) channelSlugs(ctx context.Context, a meta.Application, ids []string) (all []string) {
	for _, id := range ids {
		if c, err := s.meta.Channel(ctx, a.ID, id); err == nil {
			id = c.Slug
		}
		all = append(all, id)
	}
	return all
}

// ownSeal is the context with which cookies of customers are sealed.
const ownSeal = "page of a customer"

// maxOwnSession is how long a cookie of a customer is valid.
const maxOwnSession = time.Hour

// SealOwn returns a cookie that stands for a password of a customer for an hour. It has the hash of the password, sealed, so that it is no
// password itself, and the server stores nothing for it. What the customer may do is decided at each request.
func (s *Service) SealOwn(password string) secret.String {
	text := identity.HashCustomerPassword(password) + " " + strconv.FormatInt(s.now().Add(maxOwnSession).Unix(), 10)
	return secret.New(base64.RawURLEncoding.EncodeToString(s.keys.SealForeign(ownSeal, secret.New(text))))
}

// OpenOwn returns the hash of the password for which SealOwn has made a cookie.
//
// Errors: fault.ExpiredCredentials (it is none, or too old).
func (s *Service) OpenOwn(cookie string) (hash string, err error) {
	expired := fault.ExpiredCredentials.New("sign in")
	if len(cookie) > 1024 {
		return "", expired
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		return "", expired
	}
	text, err := s.keys.OpenForeign(ownSeal, sealed)
	if err != nil {
		return "", expired
	}
	hash, end, _ := strings.Cut(text.Reveal(), " ")
	at, err := strconv.ParseInt(end, 10, 64)
	if err != nil || s.now().Unix() >= at {
		return "", expired
	}
	return hash, nil
}
