package sigv4

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// canonicalRequest appends the canonical request to dst (step 1): everything that the signature covers, in one form.
func canonicalRequest(dst []byte, r *http.Request, signedHeaders []string, payload string) ([]byte, error) {
	path, err := wirePath(r.URL)
	if err != nil {
		return nil, err
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	dst = append(dst, r.Method...)
	dst = append(dst, '\n')
	dst = canonicalURI(dst, path)
	dst = append(dst, '\n')
	dst = canonicalQueryString(dst, query)
	dst = append(dst, '\n')
	if dst, err = canonicalHeaders(dst, r, signedHeaders); err != nil {
		return nil, err
	}
	dst = append(dst, '\n')
	for i, h := range signedHeaders {
		if i > 0 {
			dst = append(dst, ';')
		}
		dst = append(dst, h...)
	}
	dst = append(dst, '\n')
	return append(dst, payload...), nil
}

// wirePath returns the path as the client sent it, still encoded.
//
// A path with empty, "." or ".." segments is refused: some SDKs sign it unchanged, others sign its normal form, and a
// router may use a third form.
func wirePath(u *url.URL) (string, error) {
	path := u.EscapedPath()
	if path == "" && u.Opaque == "" {
		return "/", nil
	}
	segments, ok := strings.CutPrefix(u.Path, "/")
	for segments != "" && ok {
		var segment string
		segment, segments, _ = strings.Cut(segments, "/")
		ok = segment != "" && segment != "." && segment != ".."
	}
	if !ok {
		return "", mismatch("the path must begin with / and have no empty, . or .. segments")
	}
	return path, nil
}

// canonicalURI encodes the path as it was sent once more, as all services but S3 do. So a path and its encoded form
// have different signatures.
func canonicalURI(dst []byte, path string) []byte { return uriEncode(dst, path, true) }

// canonicalQueryString appends the encoded parameters, sorted by name and then by value, without the signature itself.
func canonicalQueryString(dst []byte, query []param) []byte {
	type pair struct{ name, value string }
	var pairs []pair
	for _, p := range query {
		if p.name != paramSignature {
			pairs = append(pairs, pair{string(uriEncode(nil, p.name, false)), string(uriEncode(nil, p.value, false))})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	for i, p := range pairs {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(dst, p.name...)
		dst = append(dst, '=')
		dst = append(dst, p.value...)
	}
	return dst
}

// canonicalHeaders appends a line for each signed header. A signed header that is missing from the request is an error,
// so that removing it never has the effect of an empty header.
func canonicalHeaders(dst []byte, r *http.Request, signedHeaders []string) ([]byte, error) {
	for _, header := range signedHeaders {
		dst = append(dst, header...)
		dst = append(dst, ':')
		values := r.Header[textproto.CanonicalMIMEHeaderKey(header)]
		switch {
		case header == "host": // net/http removes it from Header
			dst = trimAll(dst, r.Host)
		case header == "content-length" && len(values) == 0 && r.ContentLength >= 0: // net/http may remove it from Header
			dst = strconv.AppendInt(dst, r.ContentLength, 10)
		case len(values) == 0:
			return nil, mismatch("the signed header %s is missing", name.Clip(header))
		}
		if header != "host" {
			for i, v := range values {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = trimAll(dst, v)
			}
		}
		dst = append(dst, '\n')
	}
	return dst, nil
}

// trimAll appends a header's value without white space at its ends and with single spaces inside.
func trimAll(dst []byte, s string) []byte {
	s = strings.TrimSpace(s)
	for i := range len(s) {
		if s[i] != ' ' || s[i-1] != ' ' { // s[0] is not a space
			dst = append(dst, s[i])
		}
	}
	return dst
}

// stringToSign appends the string to sign (steps 2 and 3): algorithm, time, scope, and the hash of the canonical
// request.
func stringToSign(dst []byte, at time.Time, scope Scope, canonical []byte) []byte {
	dst = append(dst, Algorithm+"\n"...)
	dst = at.AppendFormat(dst, timeFormat)
	dst = append(dst, '\n')
	for _, part := range [...]string{scope.Date, scope.Region, scope.Service} {
		dst = append(dst, part...)
		dst = append(dst, '/')
	}
	dst = append(dst, terminator+"\n"...)
	sum := sha256.Sum256(canonical)
	return hex.AppendEncode(dst, sum[:])
}

// SigningKey returns the key that signs all requests of a scope. A caller may keep it as long as the secret is valid;
// within its scope it must be protected like the secret.
func SigningKey(secret []byte, scope Scope) [32]byte {
	key := make([]byte, 0, 4+len(secret))
	key = append(append(key, "AWS4"...), secret...)
	sum := sign(key, []byte(scope.Date))
	for _, part := range [...]string{scope.Region, scope.Service, terminator} {
		sum = sign(sum[:], []byte(part))
	}
	return sum
}

// sign returns HMAC-SHA256 of data; with the signing key and the string to sign it is the signature (step 4).
func sign(key, data []byte) (sum [32]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}

// uriEncode appends s with all bytes but A-Z a-z 0-9 - . _ ~ (and / if keepSlash is true) written as %XY with
// upper-case digits.
func uriEncode(dst []byte, s string, keepSlash bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			c == '-' || c == '.' || c == '_' || c == '~' || c == '/' && keepSlash {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// param is a decoded query parameter.
type param struct{ name, value string }

// parseQuery reads a query like net/url ("+" is a space), but refuses parameters that net/url drops, and repeated
// names: the canonical form sorts values, so that their order would not be signed.
func parseQuery(raw string) ([]param, error) {
	var query []param
	seen := map[string]bool{}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		key, err1 := url.QueryUnescape(key)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil || strings.Contains(part, ";") {
			return nil, fault.MalformedRequest.New("unreadable query parameter %q", name.Clip(part))
		}
		if seen[key] {
			return nil, fault.MalformedRequest.New("query parameter %q is given twice", name.Clip(key))
		}
		seen[key] = true
		query = append(query, param{key, value})
	}
	return query, nil
}
