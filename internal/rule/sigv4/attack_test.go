package sigv4_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	reference "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const attackBody = `{"repositoryName":"a"}`

var exampleCredentials = aws.Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret, SessionToken: "TOKEN"}

// signed returns a request of the ECR API, signed in the header by AWS's signer.
func signed(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", "https://api.ecr.eu-west-1.amazonaws.com/a%2Fb/c?x=1&y=2", strings.NewReader(attackBody))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.CreateRepository")
	r.Header.Set("X-Amz-Content-Sha256", hash(attackBody))
	if err := reference.NewSigner().SignHTTP(context.Background(), exampleCredentials, r, hash(attackBody), "ecr",
		"eu-west-1", exampleTime); err != nil {
		t.Fatal(err)
	}
	return overWire(t, r)
}

// presigned returns a presigned request of the STS API that is valid for a minute.
func presigned(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-K8s-Aws-Id", "cluster")
	target, _, err := reference.NewSigner().PresignHTTP(context.Background(), exampleCredentials, r, hash(""), "sts", "eu-west-1", exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := http.NewRequest("GET", target, nil)
	if err != nil {
		t.Fatal(err)
	}
	sent.Header.Set("X-K8s-Aws-Id", "cluster")
	return overWire(t, sent)
}

// check parses and verifies a request as a surface does.
func check(r *http.Request, body string, now time.Time) error {
	s, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	return s.Verify(r, []byte(exampleSecret), body, now)
}

// resign sets a valid signature on r for credentials that no correct signer produces, so that the request is refused by
// the rule under test and not because of its signature.
func resign(t testing.TB, r *http.Request, scope sigv4.Scope, signedHeaders, payload string) {
	t.Helper()
	query := r.URL.RawQuery
	canonical, err := sigv4.CanonicalRequest(r, strings.Split(signedHeaders, ";"), payload)
	if err != nil {
		t.Fatal(err)
	}
	at := r.Header.Get("X-Amz-Date")
	if at == "" {
		at = r.URL.Query().Get("X-Amz-Date")
	}
	key := sigv4.SigningKey([]byte(exampleSecret), scope)
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte("AWS4-HMAC-SHA256\n" + at + "\n" + scope.Date + "/" + scope.Region + "/" + scope.Service +
		"/aws4_request\n" + hash(canonical)))
	signature := hex.EncodeToString(h.Sum(nil))
	if r.Header.Get("Authorization") == "" {
		before, _, _ := strings.Cut(query, "&X-Amz-Signature=")
		r.URL.RawQuery = before + "&X-Amz-Signature=" + signature
		return
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+exampleKey+"/"+scope.Date+"/"+scope.Region+"/"+scope.Service+
		"/aws4_request,SignedHeaders="+signedHeaders+",Signature="+signature)
}

var (
	ecrScope = sigv4.Scope{Date: "20150830", Region: "eu-west-1", Service: "ecr"}
	stsScope = sigv4.Scope{Date: "20150830", Region: "eu-west-1", Service: "sts"}
)

const allSigned = "content-length;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target"

// without returns allSigned without one name.
func without(header string) string { return strings.Replace(allSigned, header+";", "", 1) }

// replace changes a part of the value of a header, which must contain the old part.
func replace(t testing.TB, h http.Header, key, old, with string) {
	t.Helper()
	v := h.Get(key)
	if !strings.Contains(v, old) {
		t.Fatalf("header %s = %q does not contain %q", key, v, old)
	}
	h.Set(key, strings.Replace(v, old, with, 1))
}

func replaceQuery(t testing.TB, r *http.Request, old, with string) {
	t.Helper()
	if !strings.Contains(r.URL.RawQuery, old) {
		t.Fatalf("query %q does not contain %q", r.URL.RawQuery, old)
	}
	r.URL.RawQuery = strings.Replace(r.URL.RawQuery, old, with, 1)
}

func TestAttack30Header(t *testing.T) {
	t.Parallel()
	const mismatch, incomplete = fault.SignatureMismatch, fault.IncompleteSignature
	auth := func(old, with string) func(testing.TB, *http.Request) {
		return func(t testing.TB, r *http.Request) { replace(t, r.Header, "Authorization", old, with) }
	}
	header := func(key string, values ...string) func(testing.TB, *http.Request) {
		return func(_ testing.TB, r *http.Request) {
			if r.Header[key] = values; values == nil {
				delete(r.Header, key)
			}
		}
	}
	path := func(p string) func(testing.TB, *http.Request) {
		return func(t testing.TB, r *http.Request) {
			u, err := r.URL.Parse(p)
			if err != nil {
				t.Fatal(err)
			}
			u.RawQuery, r.URL = r.URL.RawQuery, u
		}
	}
	tests := map[string]struct {
		want   fault.Code
		change func(t testing.TB, r *http.Request)
	}{
		"other host":                  {mismatch, func(_ testing.TB, r *http.Request) { r.Host = "api.ecr.us-east-1.amazonaws.com" }},
		"host with port":              {mismatch, func(_ testing.TB, r *http.Request) { r.Host += ":443" }},
		"other method":                {mismatch, func(_ testing.TB, r *http.Request) { r.Method = "GET" }},
		"other path":                  {mismatch, path("/a%2Fb/d")},
		"path decoded once":           {mismatch, path("/a/b/c")},
		"path encoded twice":          {mismatch, path("/a%252Fb/c")},
		"path in other encoding":      {mismatch, path("/a%2fb/c")},
		"path encoded without need":   {mismatch, path("/a%2Fb/%63")},
		"other query":                 {mismatch, func(t testing.TB, r *http.Request) { replaceQuery(t, r, "x=1", "x=2") }},
		"query parameter added":       {mismatch, func(_ testing.TB, r *http.Request) { r.URL.RawQuery += "&z=" }},
		"query parameter repeated":    {fault.MalformedRequest, func(_ testing.TB, r *http.Request) { r.URL.RawQuery += "&x=1" }},
		"query with semicolon":        {fault.MalformedRequest, func(_ testing.TB, r *http.Request) { r.URL.RawQuery += "&a;b" }},
		"query with bad escape":       {fault.MalformedRequest, func(_ testing.TB, r *http.Request) { r.URL.RawQuery += "&a=%zz" }},
		"names of values exchanged":   {mismatch, func(_ testing.TB, r *http.Request) { r.URL.RawQuery = "x=2&y=1" }},
		"operation changed":           {mismatch, header("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.DeleteRepository")},
		"operation repeated":          {mismatch, header("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.CreateRepository", "x")},
		"signed header removed":       {mismatch, header("X-Amz-Target")},
		"content type removed":        {mismatch, header("Content-Type")},
		"content type changed":        {mismatch, header("Content-Type", "application/x-www-form-urlencoded")},
		"unsigned x-amz header added": {mismatch, header("X-Amz-User-Agent", "x")},
		"x-amz header in odd case":    {mismatch, header("x-AMZ-other", "x")},
		"token removed":               {mismatch, header("X-Amz-Security-Token")},
		"token changed":               {mismatch, header("X-Amz-Security-Token", "OTHER")},
		"token given twice":           {incomplete, header("X-Amz-Security-Token", "TOKEN", "OTHER")},
		"date removed":                {incomplete, header("X-Amz-Date")},
		"date given twice":            {incomplete, header("X-Amz-Date", exampleDate, exampleDate)},
		"date changed":                {mismatch, header("X-Amz-Date", "20150830T123601Z")},
		"date of another day":         {mismatch, header("X-Amz-Date", "20150831T000000Z")},
		"date with fraction":          {incomplete, header("X-Amz-Date", "20150830T123600.5Z")},
		"date in another format":      {incomplete, header("X-Amz-Date", "Sun, 30 Aug 2015 12:36:00 GMT")},
		"hash of payload removed":     {mismatch, header("X-Amz-Content-Sha256")},
		"hash of payload changed":     {mismatch, header("X-Amz-Content-Sha256", hash(""))},
		"hash of payload given twice": {incomplete, header("X-Amz-Content-Sha256", hash(attackBody), hash(attackBody))},
		"payload unsigned":            {mismatch, header("X-Amz-Content-Sha256", sigv4.UnsignedPayload)},
		"payload streamed":            {mismatch, header("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")},
		"no credentials":              {fault.MissingCredentials, header("Authorization")},
		"credentials given twice": {incomplete, func(_ testing.TB, r *http.Request) {
			r.Header.Add("Authorization", r.Header.Get("Authorization"))
		}},
		"credentials in the query as well": {incomplete, func(t testing.TB, r *http.Request) {
			r.URL.RawQuery += "&" + presigned(t).URL.RawQuery
		}},
		"signature in the query as well": {incomplete, func(_ testing.TB, r *http.Request) {
			r.URL.RawQuery += "&X-Amz-Signature=" + hash("")
		}},
		"date in the query as well": {incomplete, func(_ testing.TB, r *http.Request) { r.URL.RawQuery += "&X-Amz-Date=" + exampleDate }},
		"Basic":                     {incomplete, header("Authorization", "Basic QVdTOng=")},
		"asymmetric algorithm":      {incomplete, auth("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")},
		"algorithm in lower case":   {incomplete, auth("AWS4-HMAC-SHA256", "aws4-hmac-sha256")},
		"other access key":          {0, auth(exampleKey, "AKIDOTHER")}, // a surface looks up another secret
		"other day":                 {mismatch, auth("/20150830/", "/20150829/")},
		"other region":              {mismatch, auth("/eu-west-1/", "/us-east-1/")},
		"other service":             {mismatch, auth("/ecr/", "/sts/")},
		"other terminator":          {mismatch, auth("/aws4_request", "/aws4_requests")},
		"scope too long":            {incomplete, auth("/aws4_request", "/aws4_request/x")},
		"scope too short":           {incomplete, auth("/aws4_request", "")},
		"scope with empty region":   {incomplete, auth("/eu-west-1/", "//")},
		"scope with line break":     {incomplete, auth("/eu-west-1/", "/eu\nwest/")},
		"credential twice":          {incomplete, auth(", SignedHeaders", ", Credential=x, SignedHeaders")},
		"signed headers twice":      {incomplete, auth(", Signature=", ", SignedHeaders=host, Signature=")},
		"signature twice":           {incomplete, auth(", Signature=", ", Signature="+hash("")+", Signature=")},
		"no signature":              {incomplete, auth(", Signature=", ", X=")},
		"empty signature":           {incomplete, auth(", Signature=", ", Signature=,")},
		"short signature":           {incomplete, auth(", Signature=", ", Signature=0, X=")},
		"unknown parameter":         {incomplete, auth(", Signature=", ", Version=4, Signature=")},
		"other signature": {mismatch, header("Authorization",
			strings.TrimPrefix(authorization("host", hash("")), "\nAuthorization: "))},
		"header name dropped": {mismatch, auth("content-type;", "")},
		"host not signed":     {incomplete, auth("host;", "")},
		"names not in order":  {incomplete, auth("content-length;content-type", "content-type;content-length")},
		"name repeated":       {incomplete, auth("host;", "host;host;")},
		"name in upper case":  {incomplete, auth("host;", "Host;")},
		"empty name":          {incomplete, auth("host;", "host;;")},
		"101 names":           {incomplete, auth("host;", "host;"+manyNames(94))},
		"100 names":           {mismatch, auth("host;", "host;"+manyNames(93))},
	}
	for about, test := range tests {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			r := signed(t)
			if err := check(r, hash(attackBody), exampleTime); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			test.change(t, r)
			expect(t, check(r, hash(attackBody), exampleTime), test.want)
		})
	}
}

// manyNames returns n header names in ascending order, each followed by ";", that sort between host and x-amz.
func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "i%02d;", i)
	}
	return b.String()
}

// expect checks the code of an error; 0 means that the request must be accepted.
func expect(t *testing.T, err error, want fault.Code) {
	t.Helper()
	if want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
		t.Errorf("got %v, want code %v", err, want)
	}
}

// Requests that are refused although their signature is valid.
func TestAttack30RightlySigned(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		want                   fault.Code
		signedHeaders, payload string
		change                 func(r *http.Request)
	}{
		"all signed":              {0, allSigned, hash(attackBody), func(*http.Request) {}},
		"content type not signed": {0, without("content-type"), hash(attackBody), func(*http.Request) {}},
		"length not signed":       {0, without("content-length"), hash(attackBody), func(*http.Request) {}},
		"no hash of payload": {0, without("x-amz-content-sha256"), hash(attackBody), func(r *http.Request) {
			r.Header.Del("X-Amz-Content-Sha256")
		}},
		"user agent signed":       {0, strings.Replace(allSigned, "host;", "host;user-agent;", 1), hash(attackBody), func(*http.Request) {}},
		"length held by net/http": {0, allSigned, hash(attackBody), func(r *http.Request) { r.Header.Del("Content-Length") }},
		"host not signed":         {fault.IncompleteSignature, without("host"), hash(attackBody), func(*http.Request) {}},
		"date not signed":         {fault.SignatureMismatch, without("x-amz-date"), hash(attackBody), func(*http.Request) {}},
		"token not signed":        {fault.SignatureMismatch, without("x-amz-security-token"), hash(attackBody), func(*http.Request) {}},
		"hash not signed":         {fault.SignatureMismatch, without("x-amz-content-sha256"), hash(attackBody), func(*http.Request) {}},
		"x-amz header twice": {fault.SignatureMismatch, allSigned, hash(attackBody), func(r *http.Request) {
			r.Header.Add("X-Amz-Target", "x")
		}},
		"another body": {fault.SignatureMismatch, allSigned, hash(""), func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", hash(""))
		}},
		"another body, undeclared": {fault.SignatureMismatch, without("x-amz-content-sha256"), hash(""), func(r *http.Request) {
			r.Header.Del("X-Amz-Content-Sha256")
		}},
		"payload unsigned": {fault.SignatureMismatch, allSigned, sigv4.UnsignedPayload, func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", sigv4.UnsignedPayload)
		}},
		"payload streamed": {fault.SignatureMismatch, allSigned, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
		}},
		"another hash declared": {fault.SignatureMismatch, allSigned, hash(attackBody), func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", hash(""))
		}},
	}
	for about, test := range tests {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			r := signed(t)
			test.change(r)
			resign(t, r, ecrScope, test.signedHeaders, test.payload)
			expect(t, check(r, hash(attackBody), exampleTime), test.want)
		})
	}
}

// A signing key of one day does not verify requests of another day.
func TestAttack30KeyOfAnotherDay(t *testing.T) {
	t.Parallel()
	r := signed(t)
	scope := ecrScope
	scope.Date = "20150829"
	resign(t, r, scope, allSigned, hash(attackBody))
	expect(t, check(r, hash(attackBody), exampleTime), fault.SignatureMismatch)
}

// If the body was not read, a request that was signed with an empty line in place of the hash is refused.
func TestAttack30BodyNotRead(t *testing.T) {
	t.Parallel()
	r := signed(t)
	r.Header.Del("X-Amz-Content-Sha256")
	resign(t, r, ecrScope, without("x-amz-content-sha256"), "")
	expect(t, check(r, "", exampleTime), fault.SignatureMismatch)
}

// A missing signed header is not treated as an empty header.
func TestAttack30MissingIsNotEmpty(t *testing.T) {
	t.Parallel()
	r := read(t, "GET / HTTP/1.1\nHost: h\nEmpty:\n\n")
	got, err := sigv4.CanonicalRequest(r, []string{"empty", "host"}, hash(""))
	if want := "GET\n/\n\nempty:\nhost:h\n\nempty;host\n" + hash(""); got != want || err != nil {
		t.Errorf("canonical request %q, error %v, want %q", got, err, want)
	}
	r.Header.Del("Empty")
	if got, err := sigv4.CanonicalRequest(r, []string{"empty", "host"}, hash("")); !errors.Is(err, fault.SignatureMismatch) {
		t.Errorf("canonical request %q, error %v, want SignatureMismatch", got, err)
	}
}

func TestAttack30Presigned(t *testing.T) {
	t.Parallel()
	const mismatch, incomplete = fault.SignatureMismatch, fault.IncompleteSignature
	query := func(old, with string) func(testing.TB, *http.Request) {
		return func(t testing.TB, r *http.Request) { replaceQuery(t, r, old, with) }
	}
	tests := map[string]struct {
		want   fault.Code
		sign   bool // sign the request again after the change
		change func(t testing.TB, r *http.Request)
	}{
		"nothing changed":           {0, false, func(testing.TB, *http.Request) {}},
		"signed again":              {0, true, func(testing.TB, *http.Request) {}},
		"order of parameters":       {0, false, func(_ testing.TB, r *http.Request) { r.URL.RawQuery = r.URL.Query().Encode() }},
		"unsigned header":           {0, false, func(_ testing.TB, r *http.Request) { r.Header.Set("Accept", "text/xml") }},
		"life of a week":            {0, true, query("Expires=60", "Expires=604800")},
		"no life":                   {0, true, query("&X-Amz-Expires=60", "")},
		"longer life":               {mismatch, false, query("Expires=60", "Expires=61")},
		"life of more than a week":  {incomplete, true, query("Expires=60", "Expires=604801")},
		"life of nothing":           {incomplete, true, query("Expires=60", "Expires=0")},
		"negative life":             {incomplete, true, query("Expires=60", "Expires=-60")},
		"life with sign":            {incomplete, true, query("Expires=60", "Expires=%2B60")},
		"endless life":              {incomplete, true, query("Expires=60", "Expires=18446744073709551617")},
		"life given twice":          {fault.MalformedRequest, false, query("Expires=60", "Expires=60&X-Amz-Expires=604800")},
		"name encoded, given twice": {fault.MalformedRequest, false, query("Expires=60", "Expires=60&X-Amz-%45xpires=604800")},
		"signature given twice": {fault.MalformedRequest, false, func(_ testing.TB, r *http.Request) {
			r.URL.RawQuery += "&X-Amz-Signature=" + hash("")
		}},
		"signature removed": {incomplete, false, query("X-Amz-Signature", "X-Signature")},
		"signature in upper case": {incomplete, false, func(_ testing.TB, r *http.Request) {
			before, signature, _ := strings.Cut(r.URL.RawQuery, "X-Amz-Signature=")
			r.URL.RawQuery = before + "X-Amz-Signature=" + strings.ToUpper(signature)
		}},
		"algorithm removed":         {incomplete, true, query("X-Amz-Algorithm=AWS4-HMAC-SHA256&", "")},
		"asymmetric algorithm":      {incomplete, true, query("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")},
		"credential removed":        {incomplete, false, query("X-Amz-Credential", "X-Credential")},
		"other terminator":          {mismatch, false, query("aws4_request", "aws4")},
		"date removed":              {incomplete, false, query("X-Amz-Date=20150830T123600Z&", "")},
		"date of another day":       {mismatch, true, query("20150830T123600Z", "20150831T000000Z")},
		"token removed":             {mismatch, false, query("X-Amz-Security-Token=TOKEN&", "")},
		"token in a header as well": {incomplete, false, func(_ testing.TB, r *http.Request) { r.Header.Set("X-Amz-Security-Token", "OTHER") }},
		"date in a header as well":  {incomplete, false, func(_ testing.TB, r *http.Request) { r.Header.Set("X-Amz-Date", exampleDate) }},
		"x-amz header added":        {mismatch, true, func(_ testing.TB, r *http.Request) { r.Header.Set("X-Amz-Target", "x") }},
		"authorization as well": {incomplete, false, func(t testing.TB, r *http.Request) {
			r.Header["Authorization"] = signed(t).Header["Authorization"]
		}},
		"Basic as well":         {incomplete, false, func(_ testing.TB, r *http.Request) { r.SetBasicAuth("AWS", "x") }},
		"signed header removed": {mismatch, false, func(_ testing.TB, r *http.Request) { r.Header.Del("X-K8s-Aws-Id") }},
		"signed header changed": {mismatch, false, func(_ testing.TB, r *http.Request) { r.Header.Set("X-K8s-Aws-Id", "other") }},
		"other operation":       {mismatch, false, query("GetCallerIdentity", "GetSessionToken")},
		"other host":            {mismatch, false, func(_ testing.TB, r *http.Request) { r.Host = "api.ecr.eu-west-1.amazonaws.com" }},
		"POST":                  {mismatch, false, func(_ testing.TB, r *http.Request) { r.Method = "POST" }},
		"payload declared unsigned": {mismatch, false, func(_ testing.TB, r *http.Request) {
			r.URL.RawQuery += "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"
		}},
		"payload by header, unsigned": {mismatch, false, func(_ testing.TB, r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		}},
		"payload given in both places": {incomplete, false, func(_ testing.TB, r *http.Request) {
			r.URL.RawQuery += "&X-Amz-Content-Sha256=" + hash("")
			r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		}},
	}
	for about, test := range tests {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			r := presigned(t)
			test.change(t, r)
			if test.sign {
				resign(t, r, stsScope, "host;x-k8s-aws-id", hash(""))
			}
			expect(t, check(r, hash(""), exampleTime), test.want)
		})
	}
}

// A path that routers, SDKs and AWS could read in different ways is refused.
func TestAttack30Paths(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"//", "//a", "/a//b", "/.", "/..", "/./a", "/a/../b", "/a/..", "/%2e%2e/a", "/a%2f%2e./b",
		"/a%2F%2Fb", "*", "http:a"} {
		r := read(t, "GET "+path+" HTTP/1.1\n"+common+authorization("host;x-amz-date", hash(""))+"\n\n")
		if got, err := sigv4.CanonicalRequest(r, []string{"host"}, hash("")); !errors.Is(err, fault.SignatureMismatch) {
			t.Errorf("path %q: canonical request %q, error %v, want SignatureMismatch", path, got, err)
		}
		expect(t, check(r, hash(""), exampleTime), fault.SignatureMismatch)
	}
}

func TestAttack30Time(t *testing.T) {
	t.Parallel()
	const second = time.Second
	tests := []struct {
		request func(testing.TB) *http.Request
		offset  time.Duration // of the server's clock from the time of signing
		want    string        // public text; "" when accepted
	}{
		{signed, 0, ""},
		{signed, 15 * time.Minute, ""},
		{signed, 15*time.Minute + second/2, ""}, // the texts have no fractions of a second
		{signed, -15 * time.Minute, ""},
		{signed, 15*time.Minute + second,
			"Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"},
		{signed, -15*time.Minute - second,
			"Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)"},
		{presigned, 60 * second, ""},
		{presigned, -15 * time.Minute, ""},
		{presigned, 61 * second, "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T123701Z - 1 min.)"},
		{presigned, -15*time.Minute - second,
			"Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)"},
	}
	for _, test := range tests {
		r := test.request(t)
		body := hash("")
		if r.Method == "POST" {
			body = hash(attackBody)
		}
		// The clock may have any time zone; the texts are in UTC.
		err := check(r, body, exampleTime.Add(test.offset).In(time.FixedZone("", 3600)))
		if test.want == "" && err != nil {
			t.Errorf("%s at %v: %v", r.Method, test.offset, err)
		}
		if test.want != "" && (!errors.Is(err, fault.SignatureMismatch) || fault.From(err).Public != test.want) {
			t.Errorf("%s at %v: %v, want %s", r.Method, test.offset, err, test.want)
		}
	}
}

// Errors contain neither the secret nor the valid signature.
func TestAttack34Errors(t *testing.T) {
	t.Parallel()
	r := signed(t)
	_, right, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	replace(t, r.Header, "Authorization", right, hash(""))
	err := check(r, hash(attackBody), exampleTime)
	if err == nil || strings.Contains(err.Error(), right) || strings.Contains(err.Error(), exampleSecret) {
		t.Errorf("got %v, want an error without %s and without the secret", err, right)
	}
}
