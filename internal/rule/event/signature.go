package event

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// SignatureHeader is the HTTP header with the signature of a delivery. Its value is t=TIME,v1=HEX: TIME is the Unix time
// of the attempt in seconds, and HEX the HMAC-SHA256 of TIME, a dot and the body. While the secret of a webhook is being
// replaced there is one v1 for each of its secrets.
const SignatureHeader = "Ecrin-Signature"

// SignatureTolerance is the difference between the clocks of sender and receiver that receivers should accept. Each attempt
// of a delivery is signed anew, so that the time of a retry is not the time of the event.
const SignatureTolerance = 5 * time.Minute

// maxSignatureHeader is the maximum length of a header, in bytes, and maxSignatures the maximum number of its v1: they
// bound what a receiver computes for a caller that it does not know.
const (
	maxSignatureHeader = 1024
	maxSignatures      = 8
)

// minSecret is the minimum length of a secret, in bytes: half of what the hash can use.
const minSecret = 16

// Sign returns the value of [SignatureHeader] for a body that is sent at the given time, with a v1 for each of the
// secrets, in their order. It needs 1 to 8 secrets of 16 bytes or more, and returns an error otherwise.
func Sign(body []byte, at time.Time, secrets ...secret.String) (string, error) {
	if err := checkSecrets(secrets); err != nil {
		return "", err
	}
	t := strconv.FormatInt(at.Unix(), 10)
	header := "t=" + t
	for _, s := range secrets {
		header += ",v1=" + hex.EncodeToString(mac(s, t, body))
	}
	return header, nil
}

// Verify reports whether a header is a signature of the body by one of the secrets, made within tolerance of now; nil if it
// is. It ignores members of the header other than t and v1, which later versions may add.
//
// Errors: fault.MissingCredentials for an empty header, fault.IncompleteSignature for one that cannot be read,
// fault.SignatureMismatch for another signature or a time out of range; an error without a code for secrets that [Sign]
// does not accept.
func Verify(header string, body []byte, now time.Time, tolerance time.Duration, secrets ...secret.String) error {
	if err := checkSecrets(secrets); err != nil {
		return err
	}
	t, signatures, err := readSignature(header)
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		return fault.IncompleteSignature.New("the time of the header %s must be a number of seconds", SignatureHeader)
	}
	// The signature is checked before the time, so that the error does not say more about the clock than the secret's owner
	// may know.
	matches := false
	for _, s := range secrets {
		want := mac(s, t, body)
		for _, got := range signatures {
			matches = hmac.Equal(got, want) || matches
		}
	}
	if !matches {
		return fault.SignatureMismatch.New("no signature of the header %s was made with the secret for this body", SignatureHeader)
	}
	if difference := now.Sub(time.Unix(seconds, 0)).Abs(); difference > tolerance {
		return fault.SignatureMismatch.New("the signature was made %s from now, more than %s: check the clocks, or it was sent again by somebody else",
			difference.Round(time.Second), tolerance)
	}
	return nil
}

// readSignature returns the time and the v1 of a header.
func readSignature(header string) (t string, signatures [][]byte, err error) {
	if header == "" {
		return "", nil, fault.MissingCredentials.New("the request has no header %s", SignatureHeader)
	}
	if len(header) > maxSignatureHeader {
		return "", nil, fault.IncompleteSignature.New("the header %s has more than %d bytes", SignatureHeader, maxSignatureHeader)
	}
	for part := range strings.SplitSeq(header, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "t":
			if t != "" || value == "" || strings.Trim(value, "0123456789") != "" || len(value) > len("253402300799") {
				return "", nil, fault.IncompleteSignature.New("the header %s must have one t, a Unix time in seconds", SignatureHeader)
			}
			t = value
		case "v1":
			sum, err := hex.DecodeString(value)
			if err != nil || len(sum) != sha256.Size {
				return "", nil, fault.IncompleteSignature.New("a v1 of the header %s must have %d hexadecimal digits", SignatureHeader, 2*sha256.Size)
			}
			if signatures = append(signatures, sum); len(signatures) > maxSignatures {
				return "", nil, fault.IncompleteSignature.New("the header %s has more than %d signatures", SignatureHeader, maxSignatures)
			}
		}
	}
	if t == "" || len(signatures) == 0 {
		return "", nil, fault.IncompleteSignature.New("the header %s must have the form t=TIME,v1=HEX", SignatureHeader)
	}
	return t, signatures, nil
}

func checkSecrets(secrets []secret.String) error {
	if len(secrets) == 0 || len(secrets) > maxSignatures {
		return errors.New("signing a delivery: a webhook has 1 to 8 secrets")
	}
	for _, s := range secrets {
		if len(s.Reveal()) < minSecret {
			return errors.New("signing a delivery: a secret has at least 16 bytes")
		}
	}
	return nil
}

// mac returns the HMAC of a time and a body.
func mac(s secret.String, t string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(s.Reveal()))
	h.Write([]byte(t))
	h.Write([]byte{'.'})
	h.Write(body)
	return h.Sum(nil)
}
