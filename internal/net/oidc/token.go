package oidc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	maxToken = 20000 // maximum number of characters; source: STS API reference, WebIdentityToken
	maxDepth = 16    // maximum nesting of JSON in a token; the deepest known claims have 3
)

// algorithms are the accepted algorithms: signatures with a private key that only the issuer has. All others,
// especially "none" and those with a shared secret, are refused before any key is looked up.
// Source: IAM user guide, OIDC federation: RSA and ECDSA.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// token is a parsed token. It is not verified.
type token struct {
	alg    jose.SignatureAlgorithm
	kid    string
	claims map[string]any // numbers are json.Number
	signed *jose.JSONWebSignature
}

// parse reads a token in its compact form.
func parse(text string) (*token, error) {
	if len(text) > maxToken {
		return nil, fmt.Errorf("it has more than %d characters", maxToken)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("it has %d parts, not 3", len(parts))
	}
	if strings.ContainsAny(text, "\r\n") { // which the base64 decoder ignores
		return nil, errors.New("it has line ends")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return nil, fmt.Errorf("part %d is not base64url", i+1)
		}
	}
	header, err := decode(decoded[0])
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	for _, name := range []string{"jwk", "x5c"} {
		if _, present := header[name]; present {
			return nil, fmt.Errorf("header: it contains a key (%s)", name)
		}
	}
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if _, present := header[name]; present {
			return nil, fmt.Errorf("header: %s is not supported", name)
		}
	}
	t := &token{}
	alg, _ := header["alg"].(string)
	if t.alg = jose.SignatureAlgorithm(alg); !slices.Contains(algorithms, t.alg) {
		return nil, fmt.Errorf("header: alg %.20q is not accepted", alg)
	}
	if t.kid, _ = header["kid"].(string); t.kid == "" {
		return nil, errors.New("header: it has no key id (kid)")
	}
	if t.claims, err = decode(decoded[1]); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	if t.signed, err = jose.ParseSignedCompact(text, algorithms); err != nil {
		return nil, err
	}
	return t, nil
}

// decode reads a JSON object strictly: valid UTF-8, no repeated name, limited depth, no data after the object.
func decode(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := value(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("it is not a JSON object")
	}
	return object, nil
}

func value(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	next, err := d.Token()
	if err != nil {
		return nil, errors.New("it is not JSON")
	}
	switch next {
	case json.Delim('{'):
		object := map[string]any{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, errors.New("it is not JSON")
			}
			key, ok := name.(string)
			if _, twice := object[key]; !ok || twice {
				return nil, errors.New("an object has the same name twice")
			}
			if object[key], err = value(d, depth+1); err != nil {
				return nil, err
			}
		}
		if _, err := d.Token(); err != nil {
			return nil, errors.New("it is not JSON")
		}
		return object, nil
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := value(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		if _, err := d.Token(); err != nil {
			return nil, errors.New("it is not JSON")
		}
		return list, nil
	}
	return next, nil
}

// issuer returns the issuer that the token claims, with "https://".
func (t *token) issuer() (string, error) {
	issuer, ok := t.claims["iss"].(string)
	if !ok || issuer == "" {
		return "", missing("iss")
	}
	if err := checkIssuer(issuer); err != nil {
		return "", fault.InvalidIdentityToken.New("the token's issuer is not accepted: %s", err)
	}
	return issuer, nil
}

func missing(claim string) error {
	return fault.InvalidIdentityToken.New("Missing a required claim: %s", claim)
}

func malformed(claim string) error {
	return fault.IDPRejectedClaim.New("the claim %s of the token cannot be read", claim)
}

// verify returns nil if k has signed the token.
func (t *token) verify(k key) error {
	if err := k.fits(t.alg); err != nil {
		return err
	}
	_, err := t.signed.Verify(k.public)
	return err
}

// read returns the claims of a verified token.
func (t *token) read(issuer string) (Claims, error) {
	c := Claims{Issuer: bare(issuer), Strings: map[string]string{}}
	for name, v := range t.claims {
		if s, ok := v.(string); ok {
			c.Strings[name] = s
		}
	}
	var ok bool
	if c.Subject = c.Strings["sub"]; c.Subject == "" {
		return Claims{}, missing("sub")
	}
	if c.Audience, ok = texts(t.claims["aud"]); !ok || len(c.Audience) == 0 {
		return Claims{}, missing("aud")
	}
	if v, present := t.claims["azp"]; present {
		if c.Azp, ok = v.(string); !ok {
			return Claims{}, malformed("azp")
		}
	}
	if v, present := t.claims["amr"]; present {
		if c.AMR, ok = texts(v); !ok {
			return Claims{}, malformed("amr")
		}
	}
	for name, to := range map[string]*time.Time{"exp": &c.Expiry, "iat": &c.IssuedAt} {
		at, present, err := t.time(name)
		if err != nil {
			return Claims{}, err
		}
		if !present {
			return Claims{}, missing(name)
		}
		*to = at
	}
	var err error
	c.Tags, err = t.tags()
	return c, err
}

// time reads a claim that is a number of seconds since 1970.
func (t *token) time(claim string) (at time.Time, present bool, err error) {
	v, present := t.claims[claim]
	if !present {
		return time.Time{}, false, nil
	}
	number, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false, malformed(claim)
	}
	const lastYear = 253402300800 // the year 10000, beyond which RFC 3339 has no form
	seconds, err := number.Float64()
	if err != nil || seconds < 0 || seconds >= lastYear {
		return time.Time{}, false, malformed(claim)
	}
	return time.Unix(int64(math.Floor(seconds)), 0).UTC(), true, nil
}

// texts reads a string or a list of strings.
func texts(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case []any:
		list := make([]string, 0, len(v))
		for _, one := range v {
			s, ok := one.(string)
			if !ok {
				return nil, false
			}
			list = append(list, s)
		}
		return list, true
	}
	return nil, false
}

// The claims with session tags: one object, or, for issuers that cannot nest claims, one claim per tag.
const (
	claimTags           = "https://aws.amazon.com/tags"
	claimTagPrefix      = claimTags + "/principal_tags/"
	claimTransitive     = claimTags + "/transitive_tag_keys"
	memberPrincipalTags = "principal_tags"
	memberTransitive    = "transitive_tag_keys"
)

// tags reads the session tags. A tag has one value, given as a string or as a list of one string.
func (t *token) tags() (Tags, error) {
	var tags Tags
	set := func(name string, v any) bool {
		values, ok := texts(v)
		if _, twice := tags.Principal[name]; !ok || len(values) != 1 || twice {
			return false
		}
		if tags.Principal == nil {
			tags.Principal = map[string]string{}
		}
		tags.Principal[name] = values[0]
		return true
	}
	if v, present := t.claims[claimTags]; present {
		object, ok := v.(map[string]any)
		if !ok {
			return Tags{}, malformed(claimTags)
		}
		if v, present := object[memberPrincipalTags]; present {
			named, ok := v.(map[string]any)
			if !ok {
				return Tags{}, malformed(claimTags)
			}
			for name, v := range named {
				if !set(name, v) {
					return Tags{}, malformed(claimTags)
				}
			}
		}
		if v, present := object[memberTransitive]; present {
			if tags.Transitive, ok = texts(v); !ok {
				return Tags{}, malformed(claimTags)
			}
		}
	}
	for claim, v := range t.claims {
		if name, ok := strings.CutPrefix(claim, claimTagPrefix); ok && !set(name, v) {
			return Tags{}, malformed(claimTags)
		}
	}
	if v, present := t.claims[claimTransitive]; present {
		more, ok := texts(v)
		if !ok {
			return Tags{}, malformed(claimTags)
		}
		tags.Transitive = append(tags.Transitive, more...)
	}
	return tags, nil
}
