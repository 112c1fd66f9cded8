package sigv4_test

import (
	"bufio"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func FuzzParse(f *testing.F) {
	header, query := signed(f), presigned(f)
	f.Add("/", header.Header.Get("Authorization"), exampleDate)
	f.Add(query.RequestURI, "", "")
	f.Add("/a%2Fb?x=1", "AWS4-HMAC-SHA256 Credential=a/20150830/r/s/aws4_request,SignedHeaders=host;x-amz-date,Signature="+
		hash(""), exampleDate)
	f.Add("/?X-Amz-Signature=0&X-Amz-Expires=1", "Basic x", "20150830T123600.1Z")
	f.Fuzz(func(t *testing.T, target, authorization, date string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
		if err != nil {
			return
		}
		if authorization != "" {
			r.Header["Authorization"] = []string{authorization}
		}
		if date != "" {
			r.Header["X-Amz-Date"] = []string{date}
		}
		s, err := sigv4.Parse(r)
		if err != nil {
			if !errors.Is(err, fault.MissingCredentials) && !errors.Is(err, fault.IncompleteSignature) &&
				!errors.Is(err, fault.SignatureMismatch) && !errors.Is(err, fault.MalformedRequest) {
				t.Errorf("Parse(%q, %q, %q): %v has none of the documented codes", target, authorization, date, err)
			}
			return
		}
		if s.Time.Format("20060102") != s.Scope.Date || !slices.Contains(s.SignedHeaders, "host") || !slices.IsSorted(s.SignedHeaders) ||
			s.AccessKeyID == "" || s.Scope.Region == "" || s.Scope.Service == "" || s.Presigned != (authorization == "") {
			t.Errorf("Parse(%q, %q, %q) = %+v violates the documented ranges", target, authorization, date, s)
		}
		if s.Verify(r, []byte("a secret of another key"), hash(""), s.Time) == nil {
			t.Errorf("Verify accepts %q, %q, %q", target, authorization, date)
		}
	})
}

// The canonical query of a canonical query is itself, and net/url reads the same parameters from both.
func FuzzCanonicalQuery(f *testing.F) {
	for _, s := range []string{"", "a", "a=b&c=d", "b=1&a=2", "a=%2F+%20&%C3%A9=", "a=1&a=2", "a;b", "%", "=x", "&&", "a==b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := sigv4.CanonicalQueryString(raw)
		if err != nil {
			return
		}
		again, err := sigv4.CanonicalQueryString(got)
		if err != nil || again != got {
			t.Errorf("canonical form of %q is %q, of that %q, error %v", raw, got, again, err)
		}
		want, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("accepted %q, net/url does not: %v", raw, err)
		}
		want.Del("X-Amz-Signature")
		if read, err := url.ParseQuery(got); err != nil || read.Encode() != want.Encode() {
			t.Errorf("canonical form of %q is %q, which means %v (error %v), want %v", raw, got, read, err, want)
		}
	})
}

// The encoding can be decoded, so that two texts never have the same encoding.
func FuzzURIEncode(f *testing.F) {
	f.Add("/a%2Fb c~é", true)
	f.Add("/a b+\x00\xff", false)
	f.Fuzz(func(t *testing.T, s string, keepSlash bool) {
		got := sigv4.URIEncode(s, keepSlash)
		if back, err := url.PathUnescape(got); err != nil || back != s {
			t.Errorf("URIEncode(%q) = %q, which decodes to %q, error %v", s, got, back, err)
		}
	})
}

func FuzzTrimAll(f *testing.F) {
	f.Add("  a   b  ")
	f.Add("\t \u00a0 \x00")
	f.Fuzz(func(t *testing.T, s string) {
		got := sigv4.TrimAll(s)
		if strings.Contains(got, "  ") || strings.TrimSpace(got) != got || sigv4.TrimAll(got) != got {
			t.Errorf("TrimAll(%q) = %q", s, got)
		}
		if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(strings.TrimSpace(s), " ", "") {
			t.Errorf("TrimAll(%q) = %q removes more than spaces", s, got)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	r := signed(b)
	body := hash(attackBody)
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := sigv4.Parse(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	s, err := sigv4.Parse(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := s.Verify(r, []byte(exampleSecret), body, exampleTime); err != nil {
				b.Fatal(err)
			}
		}
	})
	key := sigv4.SigningKey([]byte(exampleSecret), s.Scope)
	b.Run("VerifyWithKey", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := s.VerifyWithKey(r, key, body, exampleTime); err != nil {
				b.Fatal(err)
			}
		}
	})
}
