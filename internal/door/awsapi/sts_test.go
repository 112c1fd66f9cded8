package awsapi_test

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
)

const whoAmI = "Action=GetCallerIdentity&Version=2011-06-15"

// query returns the request as one of the query protocol.
func query(q raw) raw {
	q.service = or(q.service, "sts")
	before := q.before
	q.before = func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		if before != nil {
			before(r)
		}
	}
	return q
}

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	out, err := s.sts().GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{home, "arn:aws:iam::000000000000:root", home}
	if diff := cmp.Diff(want, []string{*out.Account, *out.Arn, *out.UserId}); diff != "" {
		t.Errorf("GetCallerIdentity (-want +got):\n%s", diff)
	}
	a := s.send(query(raw{key: s.key, body: whoAmI}))
	if a.Status != 200 || a.Header.Get("Content-Type") != "text/xml" ||
		!strings.Contains(a.Body, "<RequestId>"+a.Header.Get("X-Amzn-RequestId")+"</RequestId>") {
		t.Errorf("the raw answer is %s of %q, want XML with the request id", a, a.Header.Get("Content-Type"))
	}
}

// A presigned GET of GetCallerIdentity, with which clusters and secret managers authenticate clients, is valid only for
// its time and this operation.
func TestAttack30PresignedIdentity(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	p := sts.NewPresignClient(s.sts())
	signed, err := p.PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.Presigner = v4.NewSigner()
	})
	if err != nil {
		t.Fatal(err)
	}
	get := func(address string, header http.Header) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			r.Header[k] = v
		}
		r.Header.Del("Host")
		return s.do(r)
	}
	if a := get(signed.URL, signed.SignedHeader); a.Status != 200 || !strings.Contains(a.Body, "<Arn>arn:aws:iam::000000000000:root</Arn>") {
		t.Fatalf("the presigned GET: got %s, want 200 and the ARN", a)
	}
	parsed, err := url.Parse(signed.URL)
	if err != nil {
		t.Fatal(err)
	}
	for key, other := range map[string]string{
		"Action": "GetSessionToken", "X-Amz-Signature": strings.Repeat("0",
			64), "X-Amz-Expires": "3600", "X-Amz-Date": time.Now().Add(time.Hour).UTC().Format("20060102T150405Z"),
		"X-Amz-Credential": strings.Replace(parsed.Query().Get("X-Amz-Credential"), "/sts/", "/ecr/", 1), "New": "1", "X-Amz-Security-Token": "x",
	} {
		q := parsed.Query()
		q.Set(key, other)
		changed := *parsed
		changed.RawQuery = q.Encode()
		if a := get(changed.String(), signed.SignedHeader); a.Status/100 != 4 || strings.Contains(a.Body, "<Arn>") {
			t.Errorf("with %s changed to %s: got %s, want a refusal", key, other, a)
		}
	}
	s.advance(sigv4.MaxSkew + time.Minute)
	a := get(signed.URL, signed.SignedHeader)
	a.wantXML(t, "after its time", 403, "SignatureDoesNotMatch", "Signature expired")
}

func (a answer) wantXML(t *testing.T, what string, status int, code, text string) {
	t.Helper()
	var e struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Error   struct{ Type, Code, Message string }
		ID      string `xml:"RequestId"`
	}
	if err := xml.Unmarshal([]byte(a.Body), &e); err != nil {
		t.Errorf("%s: got %s, want an error in XML: %v", what, a, err)
		return
	}
	if a.Status != status || e.Error.Code != code || !strings.Contains(e.Error.Message, text) || e.Error.Type != "Sender" ||
		e.ID != a.Header.Get("X-Amzn-RequestId") {
		t.Errorf("%s:\n got %d %+v\nwant %d %s %q, Type Sender, RequestId %s", what, a.Status, e, status, code, text,
			a.Header.Get("X-Amzn-RequestId"))
	}
}

func TestQueryErrors(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	wrong := s.key
	wrong.SecretAccessKey += "x"
	unknown := s.key
	unknown.AccessKeyID = "AKIAAAAAAAAAAAAAAAAA"
	session := s.key
	session.SessionToken = "x"
	for _, c := range []struct {
		what   string
		q      raw
		status int
		code   string
	}{
		{"no credentials", raw{body: whoAmI}, 403, "MissingAuthenticationToken"},
		{"a wrong secret", raw{key: wrong, body: whoAmI}, 403, "SignatureDoesNotMatch"},
		{"an unknown key", raw{key: unknown, body: whoAmI}, 403, "InvalidClientTokenId"},
		{"a session token", raw{key: session, body: whoAmI}, 403, "InvalidClientTokenId"},
		{"an hour ago", raw{key: s.key, body: whoAmI, at: time.Now().Add(-time.Hour)}, 403, "SignatureDoesNotMatch"},
		{"half a signature", raw{key: s.key, body: whoAmI, after: func(r *http.Request) {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x")
		}}, 400, "IncompleteSignature"},
		{"no action", raw{key: s.key}, 400, "InvalidAction"},
		{"an unknown action", raw{key: s.key, body: "Action=NoOperation&Version=2011-06-15"}, 400, "InvalidAction"},
		{"another version", raw{key: s.key, body: "Action=GetCallerIdentity&Version=2099-01-01"}, 400, "InvalidAction"},
		{"an action of ECR", raw{key: s.key, body: "Action=CreateRepository&Version=2015-09-21"}, 400, "InvalidAction"},
		{"a member that is missing", raw{key: s.key, body: "Action=AssumeRole&Version=2011-06-15"}, 400, "ValidationError"},
		{"an unknown member", raw{key: s.key, body: whoAmI + "&Colour=red"}, 400, "ValidationError"},
		{"unreadable parameters", raw{key: s.key, body: "Action=%zz"}, 400, "MalformedQueryString"},
		{"JSON", raw{key: s.key, body: "{}", before: func(r *http.Request) {
			r.Header.Set("Content-Type", "application/json")
		}}, 400, "MalformedQueryString"},
		{"a huge body", raw{key: s.key, body: whoAmI + "&x=" + strings.Repeat("x", 1<<20)}, 413, "RequestEntityTooLarge"},
	} {
		s.send(query(c.q)).wantXML(t, c.what, c.status, c.code, "")
	}
}

// Requests that are signed with an inactive or deleted key are refused.
func TestKeyLife(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	status := func(to ecrintypes.AccessKeyStatus) {
		t.Helper()
		in := &ecrintypes.UpdateAccessKeyRequest{AccessKeyId: s.key.AccessKeyID, Status: to}
		s.operator("UpdateAccessKey", in, &ecrintypes.UpdateAccessKeyResponse{})
	}
	s.must("DescribeRegistry", `{}`)
	status(ecrintypes.AccessKeyStatusINACTIVE)
	s.wantError("DescribeRegistry", `{}`, "UnrecognizedClientException", "invalid")
	s.send(query(raw{key: s.key, body: whoAmI})).wantXML(t, "an inactive key", 403, "InvalidClientTokenId", "invalid")
	status(ecrintypes.AccessKeyStatusACTIVE)
	s.must("DescribeRegistry", `{}`)
	s.operator("DeleteAccessKey", &ecrintypes.DeleteAccessKeyRequest{AccessKeyId: s.key.AccessKeyID}, &ecrintypes.DeleteAccessKeyResponse{})
	s.wantError("DescribeRegistry", `{}`, "UnrecognizedClientException", "invalid")
}
