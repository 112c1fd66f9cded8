// Package oidc verifies JSON web tokens of identity providers, for AssumeRoleWithWebIdentity.
//
// Whoever sends a token is unknown until the token is verified, so nothing in it is believed before: the issuer only
// chooses among the providers that an account has registered, and keys come from that provider alone, through the
// egress guard. Texts for the client never tell what was found on the way to a provider; the causes do, for the log.
package oidc

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/egress"
	"github.com/ecrin-dev/ecrin/internal/fault"
)

// Provider is what an account has registered about an issuer.
type Provider struct {
	URL         string   // with "https://" or without
	ClientIDs   []string // the audiences that are accepted
	Thumbprints []string // SHA-1 of certificates, 40 hexadecimal digits, as the API has them
}

// Claims are what a verified token says.
type Claims struct {
	Issuer   string // without "https://", as in the provider's ARN and the names of condition keys
	Subject  string
	Audience []string // at least one
	Azp      string   // authorized party; empty when there is none
	AMR      []string
	Expiry   time.Time
	IssuedAt time.Time
	Strings  map[string]string // every top-level claim that is a string, by its name
	Tags     Tags
}

// Tags are session tags that the issuer gives.
// Source: IAM user guide, passing session tags using AssumeRoleWithWebIdentity.
type Tags struct {
	Principal  map[string]string // nil when there are none
	Transitive []string          // keys of tags that a chained role keeps
}

// leeway is for clocks that differ. Source: IAM user guide, OIDC federation: five minutes beyond the expiration.
const leeway = 5 * time.Minute

// Verifier verifies tokens and keeps the keys of issuers. It is safe for concurrent use.
type Verifier struct {
	now  func() time.Time
	keys *cache
}

// New makes a verifier that asks issuers through guard.
func New(guard *egress.Guard, now func() time.Time) *Verifier {
	return &Verifier{now: now, keys: newCache(guard, now)}
}

// Verify gives the claims of a token that is signed by its issuer, for one of the provider's clients, and valid now. find
// gives the provider for an issuer, which comes with "https://"; its error is given back as it is.
//
// Errors: fault.InvalidIdentityToken when the token cannot be accepted, fault.ExpiredWebIdentity past its end,
// fault.IDPCommunication when the provider cannot be reached, fault.IDPRejectedClaim when a genuine token has claims
// that are not usable. Source: STS API reference, AssumeRoleWithWebIdentity.
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
	k, err := v.keys.find(ctx, issuer, provider.Thumbprints, t.kid)
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

// accepted says whether the token is for one of the clients: by its audience, or, when it has several, by the party that
// it was issued to. Source: IAM user guide, condition keys for OIDC federation (aud, azp).
func accepted(c Claims, clients []string) bool {
	if len(c.Audience) == 1 {
		return slices.Contains(clients, c.Audience[0])
	}
	return c.Azp != "" && slices.Contains(clients, c.Azp)
}

// checkTime refuses tokens outside of their time.
func (t *token) checkTime(c Claims, now time.Time) error {
	if !now.Before(c.Expiry.Add(leeway)) {
		return fault.ExpiredWebIdentity.New("Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), c.Expiry.Unix())
	}
	if now.Add(leeway).Before(c.IssuedAt) {
		return fault.InvalidIdentityToken.New("the token is issued in the future: current date/time %d, issued at %d", now.Unix(), c.IssuedAt.Unix())
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

// bare gives an issuer's address as it stands in ARNs and condition keys.
func bare(issuer string) string { return strings.TrimPrefix(issuer, scheme) }

const maxIssuer = 255 // characters; source: IAM API reference, CreateOpenIDConnectProvider

// checkIssuer says why an address is not one of an issuer; nil when it is.
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
