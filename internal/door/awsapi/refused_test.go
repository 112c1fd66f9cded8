package awsapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/door/web"
)

// A signature that is refused has a line in the trail of the key's account, if the key is known, and ExplainRequest tells
// cause and cure to that account and to the operator.
func TestRefusedSignaturesAreExplained(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	user := s.user("ann", allow("*"))
	off := s.user("off", allow("*"))
	s.mustQuery(s.key, "iam", "UpdateAccessKey", "UserName", "off", "AccessKeyId", off.AccessKeyID, "Status", "Inactive")
	stranger := s.account("111122223333")
	for what, c := range map[string]struct {
		q           raw
		known       bool // the account of the key is known
		cause, cure string
	}{
		"a wrong secret": {raw{key: aws.Credentials{AccessKeyID: user.AccessKeyID, SecretAccessKey: "wrong"}}, true,
			"does not match the signature you provided", "secret access key"},
		"an inactive key": {raw{key: off}, true, "it is inactive", "ecrin account keys --all"},
		"an unknown key": {raw{key: aws.Credentials{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretAccessKey: "x"}}, false,
			"it does not exist here", "ecrin env"},
		"another region": {raw{key: s.key, host: "api.ecr.eu-west-1.amazonaws.com"}, false, "is in region eu-west-1", "Set the region"},
	} {
		c.q.target, c.q.body = ecrTarget+"DescribeRepositories", "{}"
		a := s.send(c.q)
		if a.Status != http.StatusBadRequest && a.Status != http.StatusForbidden {
			t.Fatalf("%s: got %s, want a refusal", what, a)
		}
		body := string(object("requestId", a.Header.Get(web.RequestIDHeader)))
		got := s.callEcrin(s.key, "ExplainRequest", body)
		if c.known != (got.Status == http.StatusOK) {
			t.Errorf("%s, explained to the account of the key: got %s", what, got)
		}
		if c.known && (!strings.Contains(got.Body, c.cause) || !strings.Contains(got.Body, c.cure)) {
			t.Errorf("%s: got %s, want %q and %q", what, got, c.cause, c.cure)
		}
		if got := s.callEcrin(stranger, "ExplainRequest", body); got.Status == http.StatusOK {
			t.Errorf("%s, explained to another account: got %s, want a refusal", what, got)
		}
		var out struct{ Explanation struct{ Text string } }
		s.operator("ExplainRequest", map[string]string{"requestId": a.Header.Get(web.RequestIDHeader)}, &out)
		if !strings.Contains(out.Explanation.Text, c.cause) || !strings.Contains(out.Explanation.Text, c.cure) {
			t.Errorf("%s, explained to the operator: got %q, want %q and %q", what, out.Explanation.Text, c.cause, c.cure)
		}
	}
}
