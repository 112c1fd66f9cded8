package sigv4_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	reference "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
)

// overWire returns the request as a server reads it.
func overWire(t rapid.TB, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	sent := wire.String()
	received, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatalf("%v in request:\n%s", err, sent)
	}
	return received
}

// Generators are not safe for concurrent use, so that each test creates its own.
func words() *rapid.Generator[string] { return rapid.StringMatching(`[a-zA-Z0-9]{1,8}`) }
func segments() *rapid.Generator[string] {
	return rapid.StringMatching(`[a-zA-Z0-9 _~!$&'()*+,;=:@%é-]{1,8}`)
}

// texts draws visible ASCII, spaces, and a letter with more than one byte.
func texts() *rapid.Generator[string] { return rapid.StringMatching(`[ -~é]{0,20}`) }

// unsigned draws a request with all kinds of headers that signers treat differently: repeated, with inner spaces, never
// signed.
func unsigned(t *rapid.T, body string) *http.Request {
	u := url.URL{
		Scheme: "https",
		Host:   rapid.SampledFrom([]string{"api.ecr.eu-west-1.amazonaws.com", "localhost:8443", "127.0.0.1:1", "[::1]:5000"}).Draw(t, "host"),
	}
	if path := rapid.SliceOfN(segments(), 0, 3).Draw(t, "path"); len(path) > 0 {
		u.Path = "/" + strings.Join(path, "/") + rapid.SampledFrom([]string{"", "/"}).Draw(t, "end of path")
	}
	query := url.Values{}
	for key, value := range rapid.MapOfN(segments(), texts(), 0, 4).Draw(t, "query") {
		query.Set(key, value)
	}
	u.RawQuery = query.Encode()
	r, err := http.NewRequest(rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE"}).Draw(t, "method"), u.String(),
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for key, values := range rapid.MapOfN(words(), rapid.SliceOfN(rapid.StringMatching(`[!-~ ]{0,20}`), 1, 3), 0, 3).Draw(t, "headers") {
		r.Header["X-Own-"+http.CanonicalHeaderKey(key)] = values
	}
	if rapid.Bool().Draw(t, "typical headers") {
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.PutImage")
		r.Header.Set("User-Agent", "test")
		r.Header.Set("Expect", "100-continue")
	}
	return r
}

func credentials(t *rapid.T) aws.Credentials {
	return aws.Credentials{
		AccessKeyID:     "AKIA" + words().Draw(t, "key id"),
		SecretAccessKey: rapid.StringN(1, 50, -1).Draw(t, "secret"),
		SessionToken:    rapid.StringMatching(`([A-Za-z0-9+/=]{20})?`).Draw(t, "token"),
	}
}

// expectClaims compares the result of Parse with the values that were signed.
func expectClaims(t *rapid.T, s *sigv4.Signature, by aws.Credentials, at time.Time) {
	t.Helper()
	want := sigv4.Signature{AccessKeyID: by.AccessKeyID, SessionToken: by.SessionToken, Time: at,
		Scope: sigv4.Scope{Date: at.Format("20060102"), Region: "eu-west-1", Service: "ecr"}}
	if s.AccessKeyID != want.AccessKeyID || s.SessionToken != want.SessionToken || !s.Time.Equal(want.Time) || s.Scope != want.Scope {
		t.Errorf("Parse read %+v, want %+v", s, want)
	}
}

func times(t *rapid.T) time.Time {
	return time.Unix(rapid.Int64Range(1, 4e9).Draw(t, "time"), 0).UTC()
}

// A request that AWS's own signer signed in the header verifies, and does not verify with another secret, body or time.
func TestReferenceHeader(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body, by, at := texts().Draw(t, "body"), credentials(t), times(t)
		r := unsigned(t, body)
		if rapid.Bool().Draw(t, "declares payload") {
			r.Header.Set("X-Amz-Content-Sha256", hash(body))
		}
		if err := reference.NewSigner().SignHTTP(context.Background(), by, r, hash(body), "ecr", "eu-west-1", at); err != nil {
			t.Fatal(err)
		}
		verifyAsServer(t, r, body, by, at, sigv4.MaxSkew)
	})
}

// The same as TestReferenceHeader for presigned requests.
func TestReferencePresigned(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body, by, at := texts().Draw(t, "body"), credentials(t), times(t)
		r := unsigned(t, body)
		expires := time.Duration(rapid.IntRange(0, 604800).Draw(t, "expires")) * time.Second
		if expires > 0 {
			r.URL.RawQuery += "&X-Amz-Expires=" + strconv.Itoa(int(expires.Seconds()))
		} else {
			expires = sigv4.MaxSkew
		}
		payload := hash(body)
		if rapid.Bool().Draw(t, "unsigned payload") {
			payload = sigv4.UnsignedPayload
			r.Header.Set("X-Amz-Content-Sha256", payload)
		}
		signed, headers, err := reference.NewSigner().PresignHTTP(context.Background(), by, r, payload, "ecr", "eu-west-1", at)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := http.NewRequest(r.Method, signed, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(sent.Header, headers)
		sent.Header.Del("Host")
		verifyAsServer(t, sent, body, by, at, expires)
	})
}

func verifyAsServer(t *rapid.T, r *http.Request, body string, by aws.Credentials, at time.Time, life time.Duration) {
	t.Helper()
	r = overWire(t, r)
	s, err := sigv4.Parse(r)
	if err != nil {
		t.Fatalf("Parse(%+v): %v", r, err)
	}
	expectClaims(t, s, by, at)
	if s.Presigned && s.Expires != life {
		t.Errorf("Expires = %v, want %v", s.Expires, life)
	}
	secret, bodyHash := []byte(by.SecretAccessKey), hash(body)
	offset := time.Duration(rapid.Int64Range(-int64(sigv4.MaxSkew), int64(life)).Draw(t, "offset of the clock"))
	if err := s.Verify(r, secret, bodyHash, at.Add(offset)); err != nil {
		canonical, _ := sigv4.CanonicalRequest(r, s.SignedHeaders, bodyHash)
		t.Fatalf("Verify(%+v) at %v of %v: %v; canonical request:\n%s", r, offset, life, err, canonical)
	}
	for about, err := range map[string]error{
		"other secret": s.Verify(r, append(slices.Clone(secret), 'x'), bodyHash, at),
		"too late":     s.Verify(r, secret, bodyHash, at.Add(life+time.Second)),
		"too early":    s.Verify(r, secret, bodyHash, at.Add(-sigv4.MaxSkew-time.Second)),
	} {
		if err == nil {
			t.Errorf("Verify accepts: %s", about)
		}
	}
	bodyIsFree := r.Header.Get("X-Amz-Content-Sha256") == sigv4.UnsignedPayload
	if err := s.Verify(r, secret, hash(body+"x"), at); (err == nil) != bodyIsFree {
		t.Errorf("Verify with another body: %v, body free: %v", err, bodyIsFree)
	}
	if err := s.Verify(r, secret, "", at); (err == nil) != bodyIsFree {
		t.Errorf("Verify without a body's hash: %v, body free: %v", err, bodyIsFree)
	}
}

// A change of any byte of the signed request target that changes its meaning makes the signature invalid.
func TestChangedTarget(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		by, at := credentials(t), exampleTime
		r := unsigned(t, "")
		if err := reference.NewSigner().SignHTTP(context.Background(), by, r, hash(""), "ecr", "eu-west-1", at); err != nil {
			t.Fatal(err)
		}
		r = overWire(t, r)
		target := []byte(r.RequestURI)
		i := rapid.IntRange(0, len(target)-1).Draw(t, "position")
		target[i] = rapid.SampledFrom([]byte("aA0/%&=?+.~-")).Draw(t, "byte")
		u, err := url.ParseRequestURI(string(target))
		if err != nil || u.Path == r.URL.Path && u.EscapedPath() == r.URL.EscapedPath() && fmt.Sprint(u.Query()) == fmt.Sprint(r.URL.Query()) {
			t.Skip("unreadable, or means the same")
		}
		changed := r.Clone(context.Background())
		changed.URL = u
		s, err := sigv4.Parse(changed)
		if err != nil {
			return
		}
		if s.Verify(changed, []byte(by.SecretAccessKey), hash(""), at) == nil {
			t.Errorf("signed %q, accepted as %q", r.RequestURI, target)
		}
	})
}
