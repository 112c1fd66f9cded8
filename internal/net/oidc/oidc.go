// Package oidc verifies JSON web tokens of identity providers, for AssumeRoleWithWebIdentity.
//
// The sender of a token is unknown until the token is verified, so no part of it is trusted before. The issuer
// in the token only selects one of the providers that an account has registered, and keys come from that
// provider alone, through the egress guard. Error texts for the client contain no details about the connection
// to a provider; the causes, for the log, do.
package oidc

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Provider is an account's registration of an issuer.
type Provider struct {
	URL         string   // with or without "https://"
	ClientIDs   []string // the accepted audiences
	Thumbprints []string // SHA-1 of certificates, 40 hexadecimal digits, as in the API
	Keys        string   // JWK set that was uploaded: the only keys that are used, and the issuer is not called; "" for none
}

// Claims are the claims of a verified token.
type Claims struct {
	Issuer   string // without "https://", as in the provider's ARN and the names of condition keys
	Subject  string
	Audience []string // at least one
	Azp      string   // authorized party; empty if there is none
	AMR      []string
	Expiry   time.Time
	IssuedAt time.Time
	Strings  map[string]string // every top-level claim that is a string, by its name
	Tags     Tags
}

// Tags are the session tags of a token.
// Source: IAM user guide, passing session tags using AssumeRoleWithWebIdentity.
type Tags struct {
	Principal  map[string]string // nil if there are none
	Transitive []string          // keys of tags that role chaining keeps
}

// leeway is the tolerance for clock differences. Source: IAM user guide, OIDC federation: five minutes beyond
// the expiration.
const leeway = 5 * time.Minute

// Verifier verifies tokens and caches the keys of issuers. It is safe for concurrent use.
type Verifier struct {
	now  func() time.Time
	keys *cache
}

// New returns a verifier that contacts issuers through guard. now returns the current time.
func New(guard *egress.Guard, now func() time.Time) *Verifier {
	return &Verifier{now: now, keys: newCache(guard, now)}
}

// Verify returns the claims of a token that its issuer has signed, that is for one of the provider's clients,
// and that is valid now. find returns the provider for an issuer, whose URL has "https://"; Verify returns
// find's error unchanged.
//
// Errors: fault.InvalidIdentityToken (the token is not acceptable), fault.ExpiredWebIdentity (the token has
// expired), fault.IDPCommunication (the provider cannot be reached), fault.IDPRejectedClaim (a genuine token
// has claims that cannot be used). Source: STS API reference, AssumeRoleWithWebIdentity.
func (v *Verifier) Verify(ctx context.Context, token string, find func(issuer string) (Provider, error)) (Claims, error) {
	t, err := parse(token)
	if err != nil {
		return Claims{}, fault.InvalidIdentityToken.New("The ID Token provided is not a valid JWT").Because(err)
	}
	issuer, err := t.issuer()
	if err != nil {
		return Claims{}, err
	}
	provider, err := find(issuer)
	if err != nil {
		return Claims{}, err
	}
	if bare(provider.URL) != bare(issuer) {
		return Claims{}, fault.InvalidIdentityToken.New("the token's issuer is not that of the identity provider")
	}
	var k key
	if provider.Keys != "" {
		k, err = uploaded(provider.Keys, t.kid)
	} else {
		k, err = v.keys.find(ctx, issuer, provider.Thumbprints, t.kid)
	}
	if err != nil {
		return Claims{}, err
	}
	if err := t.verify(k); err != nil {
		return Claims{}, fault.InvalidIdentityToken.New("The token's signature is not valid").Because(err)
	}
	claims, err := t.read(issuer)
	if err != nil {
		return Claims{}, err
	}
	if err := t.checkTime(claims, v.now()); err != nil {
		return Claims{}, err
	}
	if !accepted(claims, provider.ClientIDs) {
		return Claims{}, fault.InvalidIdentityToken.New("Incorrect token audience")
	}
	return claims, nil
}

// accepted reports whether the token is for one of the clients: by its audience, or, if it has several, by its
// authorized party. Source: IAM user guide, condition keys for OIDC federation (aud, azp).
func accepted(c Claims, clients []string) bool {
	if len(c.Audience) == 1 {
		return slices.Contains(clients, c.Audience[0])
	}
	return c.Azp != "" && slices.Contains(clients, c.Azp)
}

// checkTime returns an error if now is outside the period of validity of the token.
func (t *token) checkTime(c Claims, now time.Time) error {
	if !now.Before(c.Expiry.Add(leeway)) {
		return fault.ExpiredWebIdentity.New("Token expired: current date/time %d must be before the expiration date/time %d",
			now.Unix(), c.Expiry.Unix())
	}
	if now.Add(leeway).Before(c.IssuedAt) {
		return fault.InvalidIdentityToken.New("the token is issued in the future: current date/time %d, issued at %d",
			now.Unix(), c.IssuedAt.Unix())
	}
	begin, present, err := t.time("nbf")
	if err != nil {
		return err
	}
	if present && now.Add(leeway).Before(begin) {
		return fault.InvalidIdentityToken.New("the token is not valid yet: current date/time %d, not before %d", now.Unix(), begin.Unix())
	}
	return nil
}

const scheme = "https://"

// bare returns an issuer's URL in the form of ARNs and condition keys, without the scheme.
func bare(issuer string) string { return strings.TrimPrefix(issuer, scheme) }

const maxIssuer = 255 // characters; source: IAM API reference, CreateOpenIDConnectProvider

// ParseIssuer returns the URL of an issuer without https://, as it is in ARNs. Errors: it is not valid, with the reason.
func ParseIssuer(text string) (string, error) { return bare(text), checkIssuer(text) }

// checkIssuer returns an error with the reason if issuer is not a valid URL of an issuer.
// Source: OpenID Connect Discovery 1.0, section 3: https, no query, no fragment.
func checkIssuer(issuer string) error {
	if len(issuer) > maxIssuer {
		return fmt.Errorf("an issuer has at most %d characters", maxIssuer)
	}
	rest, ok := strings.CutPrefix(issuer, scheme)
	if !ok {
		return fmt.Errorf("an issuer begins with %s", scheme)
	}
	if strings.ContainsAny(rest, "@?#\\") {
		return fmt.Errorf("an issuer has neither a user name, nor a query, nor a fragment")
	}
	u, err := url.Parse(issuer)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("an issuer is an address with a host")
	}
	return nil
}
