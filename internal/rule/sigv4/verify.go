package sigv4

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Verify checks that the holder of secret signed the request. See [Signature.VerifyWithKey].
func (s *Signature) Verify(r *http.Request, secret []byte, payloadHash string, now time.Time) error {
	return s.VerifyWithKey(r, SigningKey(secret, s.Scope), payloadHash, now)
}

// VerifyWithKey checks that the holder of a signing key signed the request. Before the call, the surface must check
// that s.Scope is a scope of this server and that the key was derived for it.
//
// r is the request that Parse read, with unchanged URL and header. payloadHash is the SHA-256 of its body as 64
// lower-case hexadecimal digits, or "" if the body was not read: then only a presigned request with [UnsignedPayload]
// is accepted.
//
// These requests are refused: with a time of signing further than [MaxSkew] from now (presigned: older than Expires, or
// later than MaxSkew from now); with a missing signed header; with an x-amz-* header that is repeated or not signed;
// with a body that differs from X-Amz-Content-Sha256, or a streaming value of that header; with a repeated query
// parameter; with a path that is not in normal form. Headers with other names may be unsigned. Requests are not
// recorded, so that a request can be sent again while it is valid.
//
// Errors: fault.SignatureMismatch, fault.MalformedRequest (unreadable query). Safe for concurrent use.
func (s *Signature) VerifyWithKey(r *http.Request, key [32]byte, payloadHash string, now time.Time) error {
	if err := s.checkTime(now); err != nil {
		return err
	}
	if err := s.checkHeaders(r.Header); err != nil {
		return err
	}
	payload, err := s.hashedPayload(payloadHash)
	if err != nil {
		return err
	}
	var space [1024]byte
	canonical, err := canonicalRequest(space[:0], r, s.SignedHeaders, payload)
	if err != nil {
		return err
	}
	var toSign [256]byte
	want := sign(key[:], stringToSign(toSign[:0], s.Time, s.Scope, canonical))
	if subtle.ConstantTimeCompare(want[:], s.signature[:]) != 1 {
		// The text of AWS, which programs and people search for.
		return mismatch("The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return nil
}

// checkTime compares the time of signing with the server's clock. The texts are those of AWS, because SDKs correct
// their clocks when they read them.
func (s *Signature) checkTime(now time.Time) error {
	now = now.UTC()
	life := MaxSkew
	if s.Presigned {
		life = s.Expires
	}
	if earliest := now.Add(-life); s.Time.Before(earliest.Truncate(time.Second)) {
		return mismatch("Signature expired: %s is now earlier than %s (%s - %s)",
			s.Time.Format(timeFormat), earliest.Format(timeFormat), now.Format(timeFormat), spell(life))
	}
	if latest := now.Add(MaxSkew); s.Time.After(latest) {
		return mismatch("Signature not yet current: %s is still later than %s (%s + %s)",
			s.Time.Format(timeFormat), latest.Format(timeFormat), now.Format(timeFormat), spell(MaxSkew))
	}
	return nil
}

func spell(d time.Duration) string {
	if d%time.Minute == 0 {
		return strconv.Itoa(int(d.Minutes())) + " min."
	}
	return strconv.Itoa(int(d.Seconds())) + " s."
}

// checkHeaders refuses x-amz-* headers that the signature does not cover, or that have several values.
func (s *Signature) checkHeaders(h http.Header) error {
	const prefix = "x-amz-"
	for key, values := range h {
		if len(key) < len(prefix) || !strings.EqualFold(key[:len(prefix)], prefix) {
			continue
		}
		if !slices.ContainsFunc(s.SignedHeaders, func(signed string) bool { return strings.EqualFold(signed, key) }) {
			return mismatch("header %s must be signed", name.Clip(key))
		}
		if len(values) != 1 {
			return mismatch("header %s is given %d times", name.Clip(key), len(values))
		}
	}
	return nil
}

// hashedPayload returns the last line of the canonical request.
func (s *Signature) hashedPayload(bodyHash string) (string, error) {
	switch {
	case s.payload == UnsignedPayload && s.Presigned:
		return UnsignedPayload, nil
	case bodyHash == "":
		return "", mismatch("the signature must cover the body")
	case s.payload != "" && s.payload != bodyHash:
		return "", mismatch("the body does not have the hash that %s declares", paramPayload)
	}
	return bodyHash, nil
}

func mismatch(format string, args ...any) error {
	return fault.SignatureMismatch.New(format, args...)
}
