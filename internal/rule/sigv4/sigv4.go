// Package sigv4 verifies AWS Signature Version 4, in the Authorization header and in the query (presigned requests).
//
// A surface calls [Parse] to read which access key the request claims, looks up the secret of that key, and calls
// [Signature.Verify] with the hash of the body. The steps of the algorithm are in canonical.go, under the names that
// AWS gives them. Requests that AWS's rules leave ambiguous are refused; [Signature.VerifyWithKey] lists them.
//
// Source of the algorithm: AWS IAM user guide, create a signed AWS API request.
package sigv4

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// Algorithm is the only accepted signing algorithm; AWS's asymmetric algorithm is refused.
	Algorithm = "AWS4-HMAC-SHA256"

	// UnsignedPayload as the value of X-Amz-Content-Sha256 excludes the body from the signature of a presigned request.
	UnsignedPayload = "UNSIGNED-PAYLOAD"

	// EmptyPayload is the SHA-256 of an empty body.
	EmptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

	// MaxSkew is the maximum difference between the time of signing and the server's clock, in both directions.
	MaxSkew = 15 * time.Minute

	// MaxExpires is the maximum time that a presigned request can be valid.
	MaxExpires = 7 * 24 * time.Hour
)

const (
	terminator       = "aws4_request"
	maxSignedHeaders = 100 // bounds the work before the signature is verified
	timeFormat       = "20060102T150405Z"
)

// Scope is the credential scope: the day, region and service for which a signing key is valid.
type Scope struct {
	Date    string // UTC day, YYYYMMDD
	Region  string
	Service string
}

// Signature holds the signature and the claims of a request about its signer. None of it is verified until Verify
// returns nil.
type Signature struct {
	AccessKeyID   string
	Scope         Scope
	SignedHeaders []string // lower case, ascending, "host" among them
	Time          time.Time
	Presigned     bool          // signed in the query
	Expires       time.Duration // how long the request is valid after Time; only when Presigned
	SessionToken  string        // "" for long-term keys

	payload   string // X-Amz-Content-Sha256, "" when absent
	signature [32]byte
}

// The query parameters of a presigned request.
const (
	paramAlgorithm     = "X-Amz-Algorithm"
	paramCredential    = "X-Amz-Credential"
	paramDate          = "X-Amz-Date"
	paramExpires       = "X-Amz-Expires"
	paramSignedHeaders = "X-Amz-SignedHeaders"
	paramSignature     = "X-Amz-Signature"
	paramToken         = "X-Amz-Security-Token"
	paramPayload       = "X-Amz-Content-Sha256"
)

var authParams = []string{
	paramAlgorithm, paramCredential, paramDate, paramExpires, paramSignedHeaders, paramSignature, paramToken,
}

// claims are the texts of a request's credentials, from the header or from the query.
type claims struct{ credential, signedHeaders, signature, date, token, payload string }

// Parse reads the claims of a request, without verifying them; it needs no secret.
//
// Errors: fault.MissingCredentials (the request has no credentials), fault.IncompleteSignature (a part is missing,
// unreadable, or given more than once, in the header, the query or both), fault.SignatureMismatch (the scope has
// another date than the request, or another terminator), fault.MalformedRequest (unreadable query).
func Parse(r *http.Request) (*Signature, error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	header := r.Header["Authorization"]
	presigned := slices.ContainsFunc(query, func(p param) bool { return slices.Contains(authParams, p.name) })
	switch {
	case len(header) > 1, len(header) == 1 && presigned:
		return nil, incomplete("credentials are given more than once")
	case len(header) == 1:
		return parseHeader(r.Header, header[0])
	case presigned:
		return parsePresigned(r.Header, query)
	}
	return nil, fault.MissingCredentials.New("Missing Authentication Token")
}

// parseHeader reads "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…", with the parameters in any order.
func parseHeader(h http.Header, authorization string) (*Signature, error) {
	algorithm, rest, _ := strings.Cut(authorization, " ")
	if err := checkAlgorithm(algorithm); err != nil {
		return nil, err
	}
	var c claims
	for part := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(strings.Trim(part, " "), "=")
		var to *string
		switch key {
		case "Credential":
			to = &c.credential
		case "SignedHeaders":
			to = &c.signedHeaders
		case "Signature":
			to = &c.signature
		default:
			return nil, incomplete("Authorization has an unknown parameter %q", name.Clip(key))
		}
		if *to != "" || value == "" {
			return nil, incomplete("Authorization needs the parameter %s once, with a value", key)
		}
		*to = value
	}
	var err error
	if c.date, err = single(h, paramDate); err != nil {
		return nil, err
	}
	if c.token, err = single(h, paramToken); err != nil {
		return nil, err
	}
	if c.payload, err = single(h, paramPayload); err != nil {
		return nil, err
	}
	return c.signatureOf("Credential", "SignedHeaders", "Signature")
}

func parsePresigned(h http.Header, query []param) (*Signature, error) {
	var c claims
	algorithm, expires := "", ""
	places := map[string]*string{
		paramAlgorithm: &algorithm, paramCredential: &c.credential, paramDate: &c.date, paramExpires: &expires,
		paramSignedHeaders: &c.signedHeaders, paramSignature: &c.signature, paramToken: &c.token, paramPayload: &c.payload,
	}
	for _, p := range query { // parseQuery has refused repeated names
		if to := places[p.name]; to != nil {
			*to = p.value
		}
	}
	if err := checkAlgorithm(algorithm); err != nil {
		return nil, err
	}
	if h[paramDate] != nil || h[paramToken] != nil || h[paramPayload] != nil && c.payload != "" {
		return nil, incomplete("credentials are given in the query and in headers")
	}
	if c.payload == "" { // SDKs send this value in the header
		var err error
		if c.payload, err = single(h, paramPayload); err != nil {
			return nil, err
		}
	}
	s, err := c.signatureOf(paramCredential, paramSignedHeaders, paramSignature)
	if err != nil {
		return nil, err
	}
	s.Presigned = true
	s.Expires, err = parseExpires(expires)
	return s, err
}

// parseExpires reads whole seconds from 1 to MaxExpires. SDKs that presign for STS may leave the parameter out: then
// the request is valid for MaxSkew, like a request that is signed in the header.
func parseExpires(s string) (time.Duration, error) {
	if s == "" {
		return MaxSkew, nil
	}
	seconds, err := strconv.ParseUint(s, 10, 32)
	expires := time.Duration(seconds) * time.Second
	if err != nil || expires < time.Second || expires > MaxExpires {
		return 0, incomplete("%s must be from 1 to %d seconds, got %q", paramExpires, int(MaxExpires.Seconds()), name.Clip(s))
	}
	return expires, nil
}

// signatureOf checks each claim and returns the Signature. The arguments are the names of the claims in the header or
// in the query, for errors.
func (c claims) signatureOf(credential, signedHeaders, signature string) (s *Signature, err error) {
	s = &Signature{SessionToken: c.token, payload: c.payload}
	if s.AccessKeyID, s.Scope, err = parseCredential(credential, c.credential); err != nil {
		return nil, err
	}
	if s.SignedHeaders, err = parseSignedHeaders(signedHeaders, c.signedHeaders); err != nil {
		return nil, err
	}
	if !lowerHex(c.signature) || len(c.signature) != 64 {
		return nil, incomplete("%s must be 64 lower-case hexadecimal digits", signature)
	}
	if _, err := hex.Decode(s.signature[:], []byte(c.signature)); err != nil {
		return nil, incomplete("%s must be 64 lower-case hexadecimal digits", signature)
	}
	// time.Parse accepts fractions of a second that the format does not have; the check of the length excludes them.
	if s.Time, err = time.Parse(timeFormat, c.date); err != nil || len(c.date) != len(timeFormat) {
		return nil, incomplete("%s must be a time like %s, got %q", paramDate, timeFormat, name.Clip(c.date))
	}
	if c.date[:8] != s.Scope.Date {
		return nil, fault.SignatureMismatch.New(
			"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			s.Scope.Date, c.date[:8], c.date)
	}
	return s, nil
}

// parseCredential reads ACCESSKEY/DATE/REGION/SERVICE/aws4_request.
func parseCredential(at, s string) (accessKeyID string, scope Scope, err error) {
	parts := strings.SplitN(s, "/", 6)
	if len(parts) != 5 {
		return "", Scope{}, incomplete("%s must be KEY/DATE/REGION/SERVICE/%s, got %q", at, terminator, name.Clip(s))
	}
	for _, part := range parts {
		if part == "" || len(part) > 128 || strings.Trim(part, credentialChars) != "" {
			return "", Scope{}, incomplete("%s must be KEY/DATE/REGION/SERVICE/%s, got %q", at, terminator, name.Clip(s))
		}
	}
	if parts[4] != terminator {
		return "", Scope{}, fault.SignatureMismatch.New("Credential should be scoped with a valid terminator: '%s', not '%s'.",
			terminator, parts[4])
	}
	return parts[0], Scope{Date: parts[1], Region: parts[2], Service: parts[3]}, nil
}

const credentialChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

// parseSignedHeaders reads lower-case names separated by ";". AWS requires ascending order, which also excludes
// repeated names.
func parseSignedHeaders(at, s string) ([]string, error) {
	if s == "" {
		return nil, incomplete("%s is required", at)
	}
	if strings.Count(s, ";") >= maxSignedHeaders {
		return nil, incomplete("%s names more than %d headers", at, maxSignedHeaders)
	}
	names := strings.Split(s, ";")
	for i, n := range names {
		if n == "" || strings.Trim(n, headerChars) != "" {
			return nil, incomplete("%s has an unreadable name %q", at, name.Clip(n))
		}
		if i > 0 && names[i-1] >= n {
			return nil, incomplete("%s must be in ascending order, got %q", at, name.Clip(s))
		}
	}
	if _, ok := slices.BinarySearch(names, "host"); !ok {
		return nil, incomplete("%s must name the host header", at)
	}
	return names, nil
}

// headerChars are the characters of a header name in lower case. Source: RFC 9110, section 5.6.2.
const headerChars = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"

func checkAlgorithm(s string) error {
	if s != Algorithm {
		return incomplete("the signing algorithm must be %s, got %q", Algorithm, name.Clip(s))
	}
	return nil
}

// single returns the value of a header that may occur once, or "" if it is absent.
func single(h http.Header, key string) (string, error) {
	values := h[key]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", incomplete("header %s is given %d times", key, len(values))
}

func lowerHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

func incomplete(format string, args ...any) error {
	return fault.IncompleteSignature.New(format, args...)
}
