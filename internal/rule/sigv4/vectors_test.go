package sigv4_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// The access key and the time of AWS's published examples.
const (
	exampleKey    = "AKIDEXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	exampleDate   = "20150830T123600Z"
)

var exampleTime = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)

// read parses a request as a server does.
func read(t testing.TB, wire string) *http.Request {
	t.Helper()
	head, body, _ := strings.Cut(wire, "\n\n")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)))
	if err != nil {
		t.Fatalf("%v in request:\n%s", err, wire)
	}
	return r
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// authorization returns the header of an example: service "service" in us-east-1.
func authorization(signedHeaders, signature string) string {
	return "\nAuthorization: AWS4-HMAC-SHA256 Credential=" + exampleKey + "/20150830/us-east-1/service/aws4_request, SignedHeaders=" +
		signedHeaders + ", Signature=" + signature
}

const common = "Host:example.amazonaws.com\nX-Amz-Date:" + exampleDate

// TestVectors checks the signatures that AWS published for its examples.
func TestVectors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		head, body, signedHeaders string
		canonical                 string // the canonical request without its two last lines
		signature                 string
	}{
		"vanilla GET": {
			"GET / HTTP/1.1\n" + common, "", "host;x-amz-date",
			"GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		},
		"the form for proxies, without a path": {
			"GET http://example.amazonaws.com HTTP/1.1\n" + common, "", "host;x-amz-date",
			"GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		},
		"vanilla POST": {
			"POST / HTTP/1.1\n" + common, "", "host;x-amz-date",
			"POST\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n",
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
		},
		"query out of order": {
			"GET /?Param2=value2&Param1=value1 HTTP/1.1\n" + common, "", "host;x-amz-date",
			"GET\n/\nParam1=value1&Param2=value2\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n",
			"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
		},
		"one parameter": {
			"GET /?Param1=value1 HTTP/1.1\n" + common, "", "host;x-amz-date",
			"GET\n/\nParam1=value1\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n",
			"a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
		},
		"unreserved characters": {
			"GET /-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz HTTP/1.1\n" + common, "", "host;x-amz-date",
			"GET\n/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n",
			"07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
		},
		"header given several times": {
			"GET / HTTP/1.1\nMy-Header1:value2\nMy-Header1:value2\nMy-Header1:value1\n" + common, "", "host;my-header1;x-amz-date",
			"GET\n/\n\nhost:example.amazonaws.com\nmy-header1:value2,value2,value1\nx-amz-date:20150830T123600Z\n",
			"c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
		},
		"header with spaces": {
			"GET / HTTP/1.1\nMy-Header1: value1\nMy-Header2: \"a   b   c\"\n" + common, "", "host;my-header1;my-header2;x-amz-date",
			"GET\n/\n\nhost:example.amazonaws.com\nmy-header1:value1\nmy-header2:\"a b c\"\nx-amz-date:20150830T123600Z\n",
			"acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
		},
		"form body": {
			"POST / HTTP/1.1\nContent-Type:application/x-www-form-urlencoded\n" + common + "\nContent-Length: 13", "Param1=value1",
			"content-type;host;x-amz-date",
			"POST\n/\n\ncontent-type:application/x-www-form-urlencoded\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n",
			"ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
		},
	}
	for about, test := range tests {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			r := read(t, test.head+authorization(test.signedHeaders, test.signature)+"\n\n"+test.body)
			s, err := sigv4.Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			wantCanonical := test.canonical + "\n" + test.signedHeaders + "\n" + hash(test.body)
			canonical, err := sigv4.CanonicalRequest(r, s.SignedHeaders, hash(test.body))
			if err != nil || canonical != wantCanonical {
				t.Errorf("canonical request\n%s\nerror %v, want\n%s", canonical, err, wantCanonical)
			}
			wantToSign := "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n" + hash(wantCanonical)
			if got := s.StringToSign(canonical); got != wantToSign {
				t.Errorf("string to sign\n%s\nwant\n%s", got, wantToSign)
			}
			if err := s.Verify(r, []byte(exampleSecret), hash(test.body), exampleTime); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUserGuideExample checks every intermediate value of the example ListUsers of the IAM user guide.
func TestUserGuideExample(t *testing.T) {
	t.Parallel()
	r := read(t, "GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\nHost: iam.amazonaws.com\n"+
		"Content-Type: application/x-www-form-urlencoded; charset=utf-8\nX-Amz-Date: 20150830T123600Z\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "+
		"SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7\n\n")
	s, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := sigv4.CanonicalRequest(r, s.SignedHeaders, sigv4.EmptyPayload)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hash(canonical), "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"; got != want {
		t.Errorf("hash of the canonical request = %s, want %s; the request:\n%s", got, want, canonical)
	}
	key := sigv4.SigningKey([]byte(exampleSecret), s.Scope)
	if got, want := hex.EncodeToString(key[:]), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"; got != want {
		t.Errorf("signing key of %+v = %s, want %s", s.Scope, got, want)
	}
	if err := s.VerifyWithKey(r, key, sigv4.EmptyPayload, exampleTime); err != nil {
		t.Error(err)
	}
}

// TestPresignedExample checks AWS's example of a presigned URL. It is an example of S3, with a path that is not changed
// by encoding it twice.
func TestPresignedExample(t *testing.T) {
	t.Parallel()
	r := read(t,
		"GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"+
			"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"+
			"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n\n")
	s, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := sigv4.CanonicalRequest(r, s.SignedHeaders, sigv4.UnsignedPayload)
	if err != nil {
		t.Fatal(err)
	}
	wantToSign := "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n" +
		"3bfa292879f6447bbcda7001decf97f4a54dc650c8942174ae0a9121cf58ad04"
	if got := s.StringToSign(canonical); got != wantToSign {
		t.Errorf("string to sign\n%s\nwant\n%s\ncanonical request\n%s", got, wantToSign, canonical)
	}
	// Only S3 excludes the body without UNSIGNED-PAYLOAD in the request: here the request is refused.
	err = s.Verify(r, []byte("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), sigv4.EmptyPayload, s.Time)
	if !errors.Is(err, fault.SignatureMismatch) {
		t.Errorf("Verify = %v, want SignatureMismatch", err)
	}
}

func TestCanonicalPieces(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ about, got, want string }{
		{"encode all", sigv4.URIEncode("a/b c~é+%41\x00", false), "a%2Fb%20c~%C3%A9%2B%2541%00"},
		{"encode path", sigv4.URIEncode("/a%2Fb/", true), "/a%252Fb/"},
		{"trim", sigv4.TrimAll("\t  a   b \"c   d\"  "), `a b "c d"`},
		{"trim only spaces", sigv4.TrimAll("   "), ""},
		{"sort by name, then value", sigv4.SortedQueryString([2]string{"b", ""}, [2]string{"a", "2"}, [2]string{"a", "10"},
			[2]string{"A", "x"}), "A=x&a=10&a=2&b="},
		{"a name that begins another", sigv4.SortedQueryString([2]string{"a-", "1"}, [2]string{"a", "1"}), "a=1&a-=1"},
		{"sort what is encoded", sigv4.SortedQueryString([2]string{"a-b", ""}, [2]string{"a/b", ""}), "a%2Fb=&a-b="},
		{"leave out the signature", sigv4.SortedQueryString([2]string{"X-Amz-Signature", "1"}, [2]string{"X-Amz-Date", "2"}), "X-Amz-Date=2"},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", test.about, test.got, test.want)
		}
	}
}
