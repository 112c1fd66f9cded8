package awsapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
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

// A call of a known caller that is decided has one line in the trail, however it ends, and so have refused credentials. A call that ends
// before the decision has none. The readOnly of a line is that of the operation.
func TestEachCallHasOneLine(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	user := s.user("ann", allow("ecr:CreateRepository"))
	wrong := aws.Credentials{AccessKeyID: user.AccessKeyID, SecretAccessKey: "wrong"}
	ask := func(key aws.Credentials, operation, body string) answer {
		return s.send(raw{key: key, target: ecrTarget + operation, body: body})
	}
	role := []string{"RoleArn", "arn:aws:iam::" + home + ":role/none", "RoleSessionName", "ci"}
	for _, c := range []struct {
		what   string
		a      answer
		status int
		want   string // the name of the event, "" for no line
		reads  bool
	}{
		{"success", ask(user, "CreateRepository", `{"repositoryName":"app"}`), 200, "CreateRepository", false},
		{"a failure", ask(user, "CreateRepository", `{"repositoryName":"app"}`), 400, "CreateRepository", false},
		{"a denied read", ask(user, "DescribeRepositories", `{}`), 400, "DescribeRepositories", true},
		{"a denied change", ask(user, "DeleteRepository", `{"repositoryName":"app"}`), 400, "DeleteRepository", false},
		{"a denied call of ecrin", s.callEcrin(user, "ListJobs", `{}`), 400, "ListJobs", true},
		{"a denied listing", s.callQuery(user, "iam", "ListUsers"), 403, "ListUsers", true},
		{"a role that is denied", s.callQuery(user, "sts", "AssumeRole", role...), 403, "AssumeRole", true},
		{"a wrong secret", ask(wrong, "DescribeImages", `{"repositoryName":"app"}`), 400, "Authenticate", true},
		{"an invalid input", ask(user, "CreateRepository", `{"repositoryName":"A!"}`), 400, "", false},
		{"an unknown operation", ask(user, "NoOperation", `{}`), 400, "", false},
		{"a token that proves nobody", s.callQuery(aws.Credentials{}, "sts", "AssumeRoleWithWebIdentity",
			append(role, "WebIdentityToken", "none")...), 400, "", false},
	} {
		if c.a.Status != c.status {
			t.Errorf("%s: got %s, want %d", c.what, c.a, c.status)
		}
		var out ecrintypes.ListAuditEventsResponse
		s.operator("ListAuditEvents", ecrintypes.ListAuditEventsRequest{RequestId: c.a.Header.Get(web.RequestIDHeader)}, &out)
		if want := min(len(c.want), 1); len(out.Events) != want {
			t.Errorf("%s: got the lines %q, want %d", c.what, out.Events, want)
		}
		for _, text := range out.Events {
			var line struct {
				EventName, EventSource string
				ReadOnly               bool
			}
			err := json.Unmarshal([]byte(text), &line)
			if err != nil || line.EventName != c.want || line.ReadOnly != c.reads || (c.want == "ListJobs") != (line.EventSource == "ecrin") {
				t.Errorf("%s: got %s, %v, want %s and readOnly %t", c.what, text, err, c.want, c.reads)
			}
		}
	}
}
