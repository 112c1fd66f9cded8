package awsapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// callEcrin calls an operation of ecrin with a key.
func (s *server) callEcrin(key aws.Credentials, operation, body string) answer {
	s.t.Helper()
	return s.send(raw{key: key, target: ecrintypes.Service.TargetPrefix + "." + operation, body: body, service: "ecrin"})
}

// operatorError calls an operation of ecrin as the operator and returns the name and text of the error; "" on success.
func (s *server) operatorError(operation string, in any) string {
	s.t.Helper()
	c, err := client.Open(s.Dir, "")
	if err != nil {
		s.t.Fatal(err)
	}
	var out map[string]any
	if err := c.Call(s.t.Context(), operation, in, &out); err != nil {
		return err.(*client.Error).Name + ": " + err.Error()
	}
	return ""
}

// entity creates a user or role of the default account and returns its ARN. It has an inline policy with statements
// unless those are "".
func (s *server) entity(id string, kind meta.EntityKind, called, trust, statements string) string {
	s.t.Helper()
	e := meta.Entity{ID: id, Account: name.MustAccount(home), Kind: kind, Name: called, Path: "/", CreatedAt: time.Now()}
	what := ":user/"
	if kind == meta.Role {
		e.Trust, e.MaxSession, what = meta.BoundPolicy{Text: `{"Version":"2012-10-17","Statement":[` + trust + `]}`}, time.Hour, ":role/"
	}
	if err := s.Meta().CreateEntity(s.t.Context(), e, nil, 100); err != nil {
		s.t.Fatal(err)
	}
	if statements != "" {
		text := `{"Version":"2012-10-17","Statement":[` + statements + `]}`
		if err := s.Meta().PutInline(s.t.Context(), id, meta.Inline{Name: "inline", Text: text}, 10000); err != nil {
			s.t.Fatal(err)
		}
	}
	return "arn:aws:iam::" + home + what + called
}

// resolved returns the current state of a user or role of the default account.
func (s *server) resolved(kind meta.EntityKind, called string) meta.Entity {
	s.t.Helper()
	e, err := s.Meta().Entity(s.t.Context(), name.MustAccount(home), kind, called)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

const appARN = "arn:aws:ecr:us-east-1:000000000000:repository/app"

// explanation returns the explanation that the operator receives, and its verdict and deciding layer in words.
func (s *server) explanation(in ecrintypes.ExplainAccessRequest) (ecrintypes.Explanation, string) {
	s.t.Helper()
	var out ecrintypes.ExplainAccessResponse
	s.operator("ExplainAccess", &in, &out)
	return out.Explanation, strings.TrimSpace(string(out.Explanation.Verdict) + " " + out.Explanation.DecidedBy)
}

func TestExplainAccess(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	digest := digestOf(s.image("app", "a", "1.0"))
	s.account("111122223333")
	alice := s.entity("AIDAALICE", meta.User, "alice", "",
		`{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"`+appARN+`","Condition":{"StringEquals":{"ecrin:ImageTag":"1.0"}}},
		{"Effect":"Allow","Action":["ecr:GetAuthorizationToken","sts:AssumeRole","iam:GetUser"],"Resource":"*"},
		{"Effect":"Allow","Action":"ecr:ListImages","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}},
		{"Effect":"Allow","Action":"ecr:TagResource","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":"team"}}},
		{"Effect":"Allow","Action":"ecr:UntagResource","Resource":"*","Condition":{"StringEquals":{"aws:TagKeys":"team"}}},
		{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"web"}}}`)
	ci := s.entity("AROACI", meta.Role, "ci", `{"Effect":"Allow","Principal":{"AWS":"`+home+`"},"Action":"sts:AssumeRole"}`,
		`{"Effect":"Allow","Action":"ecr:*","Resource":"*"}`)
	closed := s.entity("AROACLOSED", meta.Role, "closed",
		`{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}`, "")
	entry := func(key string, values ...string) []ecrintypes.ContextEntry {
		return []ecrintypes.ContextEntry{{Key: key, Values: values}}
	}
	for _, c := range []struct {
		what string
		in   ecrintypes.ExplainAccessRequest
		want string
	}{
		{"the tag of a condition", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:BatchGetImage",
			RepositoryName: "app", ImageTag: "1.0"}, "allowed identity-based"},
		{"another tag", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:BatchGetImage", RepositoryName: "app",
			ImageTag: "2.0"}, "implicitDeny identity-based"},
		{"a digest with the tag", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:BatchGetImage",
			RepositoryName: "app", ImageDigest: digest}, "allowed identity-based"},
		{"an action in another case", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ECR:batchGETimage",
			RepositoryName: "app", ImageTag: "1.0"}, "allowed identity-based"},
		{"an action of IAM", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "IAM:getuser", ResourceArn: alice},
			"allowed identity-based"},
		{"the ARN of the repository", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:BatchGetImage",
			ResourceArn: appARN, ImageTag: "1.0"}, "allowed identity-based"},
		{"another region", ecrintypes.ExplainAccessRequest{Principal: ci, Action: "ecr:ListImages",
			ResourceArn: "arn:aws:ecr:eu-west-1:000000000000:repository/app"}, "allowed identity-based"},
		{"all repositories", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:DescribeRepositories",
			ResourceArn: "arn:aws:ecr:us-east-1:000000000000:repository/*"}, "implicitDeny identity-based"},
		{"no resource", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:GetAuthorizationToken"}, "allowed identity-based"},
		{"the resource *", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:GetAuthorizationToken",
			ResourceArn: "*"}, "allowed identity-based"},
		{"the address", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:ListImages", RepositoryName: "app",
			SourceIp: "203.0.113.7"}, "allowed identity-based"},
		{"no address", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:ListImages", RepositoryName: "app"},
			"implicitDeny identity-based"},
		{"a key", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:PutImage", RepositoryName: "app",
			ImageTag: "x", Context: entry("aws:principaltag/TEAM", "web")}, "allowed identity-based"},
		{"a list of one", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:TagResource", RepositoryName: "app",
			Context: entry("aws:TagKeys", "team")}, "allowed identity-based"},
		{"a list of two", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:TagResource", RepositoryName: "app",
			Context: entry("aws:TagKeys", "x", "team")}, "allowed identity-based"},
		{"a list without a set operator", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:UntagResource",
			RepositoryName: "app", Context: entry("aws:TagKeys", "team")}, "implicitDeny identity-based"},
		{"a role to assume", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "sts:AssumeRole", ResourceArn: ci},
			"allowed identity-based"},
		{"a role that trusts others", ecrintypes.ExplainAccessRequest{Principal: alice, Action: "sts:AssumeRole",
			ResourceArn: closed}, "implicitDeny role trust"},
		{"a service to assume it", ecrintypes.ExplainAccessRequest{Principal: "lambda.amazonaws.com", Action: "sts:AssumeRole",
			ResourceArn: closed}, "allowed role trust"},
		{"a role", ecrintypes.ExplainAccessRequest{Principal: ci, Action: "ecr:DeleteRepository", RepositoryName: "app"},
			"allowed identity-based"},
		{"a session", ecrintypes.ExplainAccessRequest{Principal: "arn:aws:sts::000000000000:assumed-role/ci/build",
			Action: "ecr:DeleteRepository", RepositoryName: "app"}, "allowed identity-based"},
		{"the root user", ecrintypes.ExplainAccessRequest{Principal: home, Action: "ecr:DeleteRepository", RepositoryName: "app"}, "allowed"},
		{"the root user of another account", ecrintypes.ExplainAccessRequest{Principal: "111122223333",
			Action: "ecr:DeleteRepository", RepositoryName: "app"}, "implicitDeny resource-based"},
		{"a registry of another account", ecrintypes.ExplainAccessRequest{Principal: "111122223333",
			Action: "ecr:CreateRepository", RegistryId: "111122223333", RepositoryName: "new"}, "allowed"},
		{"the principal *", ecrintypes.ExplainAccessRequest{Principal: "*", Action: "ecr:BatchGetImage", RepositoryName: "app"},
			"implicitDeny resource-based"},
	} {
		e, got := s.explanation(c.in)
		if got != c.want || e.Allowed != strings.HasPrefix(c.want, "allowed") || e.Allowed != (e.Text == "") {
			t.Errorf("%s: got %s (allowed: %v, text %q), want %s", c.what, got, e.Allowed, e.Text, c.want)
		}
	}
	// The answer contains the condition keys, including the digest of the image, which the request does not contain.
	e, _ := s.explanation(ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:BatchGetImage",
		RepositoryName: "app", ImageTag: "1.0"})
	keys := map[string]string{}
	for _, k := range e.Context {
		keys[k.Key] = strings.Join(k.Values, ",")
	}
	for key, want := range map[string]string{"ecrin:ImageTag": "1.0", "ecrin:ImageDigest": digest, "aws:username": "alice",
		"aws:PrincipalArn": alice, "aws:RequestedRegion": region} {
		if keys[key] != want {
			t.Errorf("the context has %s %q, want %q, in %v", key, keys[key], want, keys)
		}
	}
	if e.PrincipalArn != alice || e.Resource != appARN || e.At == nil {
		t.Errorf("got %s on %s at %v, want %s on %s", e.PrincipalArn, e.Resource, e.At, alice, appARN)
	}
}

func TestExplainAccessRefuses(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, c := range []struct {
		in   ecrintypes.ExplainAccessRequest
		want string
	}{
		{ecrintypes.ExplainAccessRequest{Principal: home, Action: "ecr:PutImage", RepositoryName: "app", ResourceArn: appARN},
			"InvalidParameterException: Invalid parameter at 'resourceArn'"},
		{ecrintypes.ExplainAccessRequest{Principal: home, Action: "ecr:PutImage", ImageTag: "x"},
			"InvalidParameterException: Invalid parameter at 'imageTag'"},
		{ecrintypes.ExplainAccessRequest{Principal: home, Action: "ecr:PutImage", RepositoryName: "app",
			ImageDigest: "sha256:x"}, "InvalidParameterException: "},
		{ecrintypes.ExplainAccessRequest{Principal: home, Action: "ecr:PutImage", RepositoryName: "app", SourceIp: "here"},
			"InvalidParameterException: Invalid parameter at 'sourceIp'"},
		{ecrintypes.ExplainAccessRequest{Principal: home, Action: "PutImage", RepositoryName: "app"}, "InvalidParameterException: "},
		{ecrintypes.ExplainAccessRequest{Principal: home, Action: "ecr:Put*", RepositoryName: "app"}, "InvalidParameterException: "},
		{ecrintypes.ExplainAccessRequest{Principal: home, Action: "ecr:PutImage", ResourceArn: "app"},
			"InvalidParameterException: Invalid parameter at 'resourceArn'"},
		{ecrintypes.ExplainAccessRequest{Principal: home, Action: "ecr:PutImage",
			ResourceArn: "arn:aws:ecr:us-east-1::repository/app"}, "InvalidParameterException: Invalid parameter at 'resourceArn'"},
		{ecrintypes.ExplainAccessRequest{Principal: home, Action: "ecr:PutImage",
			ResourceArn: "arn:aws:ecr:nowhere:000000000000:repository/*"}, "InvalidParameterException: Invalid parameter at 'resourceArn'"},
		{ecrintypes.ExplainAccessRequest{Principal: "nobody", Action: "ecr:PutImage", RepositoryName: "app"}, "InvalidParameterException: "},
		{ecrintypes.ExplainAccessRequest{Principal: "444455556666", Action: "ecr:PutImage", RepositoryName: "app"}, "NoSuchEntityException: "},
		{ecrintypes.ExplainAccessRequest{Principal: "arn:aws:iam::000000000000:user/none", Action: "ecr:PutImage",
			RepositoryName: "app"}, "NoSuchEntityException: "},
		{ecrintypes.ExplainAccessRequest{Principal: home, Action: "sts:AssumeRole",
			ResourceArn: "arn:aws:iam::000000000000:role/none"}, "NoSuchEntityException: "},
	} {
		got := s.operatorError("ExplainAccess", &c.in)
		if !strings.HasPrefix(got, c.want) || got == "" {
			t.Errorf("%+v: got %q, want %q", c.in, got, c.want)
		}
	}
}

// An explanation shows policies of an account only to callers with the permission on that account, and to the operator.
// The denial does not reveal whether a principal of another account exists.
func TestExplainAccessNeedsBothAccounts(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	alice := s.entity("AIDAALICE", meta.User, "alice", "", "")
	foreign := s.account("111122223333")
	const own = "arn:aws:iam::111122223333:root"
	for _, c := range []struct {
		what   string
		key    aws.Credentials
		in     ecrintypes.ExplainAccessRequest
		denied string // the account for which the request is denied; "" for none
	}{
		{"everything of the own account", foreign, ecrintypes.ExplainAccessRequest{Principal: own, Action: "ecr:PutImage",
			RepositoryName: "app"}, ""},
		{"a service on the own account", foreign, ecrintypes.ExplainAccessRequest{Principal: "lambda.amazonaws.com",
			Action: "ecr:PutImage", RepositoryName: "app"}, ""},
		{"the principal * without a resource", foreign, ecrintypes.ExplainAccessRequest{Principal: "*", Action: "ecr:GetAuthorizationToken"}, ""},
		{"a resource of another account", foreign, ecrintypes.ExplainAccessRequest{Principal: own, Action: "ecr:PutImage",
			RegistryId: home, RepositoryName: "app"}, home},
		{"a resource of another account by its ARN", foreign,
			ecrintypes.ExplainAccessRequest{Principal: own, Action: "ecr:PutImage", ResourceArn: appARN}, home},
		{"a role of another account", foreign, ecrintypes.ExplainAccessRequest{Principal: own, Action: "sts:AssumeRole",
			ResourceArn: "arn:aws:iam::000000000000:role/none"}, home},
		{"a user of another account", foreign, ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:PutImage",
			RepositoryName: "app"}, home},
		{"an unknown user of another account", foreign, ecrintypes.ExplainAccessRequest{Principal: alice + "x",
			Action: "ecr:PutImage", RepositoryName: "app"}, home},
		{"a user of another account without a resource", foreign,
			ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:GetAuthorizationToken"}, home},
		{"everything of the default account", s.key, ecrintypes.ExplainAccessRequest{Principal: alice, Action: "ecr:PutImage",
			RepositoryName: "app"}, ""},
		{"another principal on the default account", s.key,
			ecrintypes.ExplainAccessRequest{Principal: own, Action: "ecr:PutImage", RepositoryName: "app"}, "111122223333"},
	} {
		body, err := json.Marshal(c.in)
		if err != nil {
			t.Fatal(err)
		}
		a := s.callEcrin(c.key, "ExplainAccess", string(body))
		if c.denied == "" {
			if a.Status != 200 {
				t.Errorf("%s: got %s, want an explanation", c.what, a)
			}
			continue
		}
		a.want(t, c.what, 400, "AccessDeniedException",
			"is not authorized to perform: ecrin:ExplainAccess on resource: arn:aws:iam::"+c.denied+":root because no ")
	}
}

// Denied requests whose resource belongs to no account, or that have none, are explained with that resource.
func TestDeniedRequestsWithoutAResourceOfAnAccount(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	user := s.user("ann", allow("s3:*"))
	for want, a := range map[string]answer{
		pullOnly: s.callQuery(user, "iam", "GetPolicy", "PolicyArn", pullOnly),
		"*":      s.send(raw{key: user, target: ecrTarget + "GetAuthorizationToken", body: `{}`}),
		appARN:   s.send(raw{key: user, target: ecrTarget + "ListImages", body: `{"repositoryName":"app"}`}),
	} {
		var out ecrintypes.ExplainRequestResponse
		s.operator("ExplainRequest", ecrintypes.ExplainRequestRequest{RequestId: a.Header.Get(web.RequestIDHeader)}, &out)
		e := out.Explanation
		if e.Resource != want || e.Verdict != "implicitDeny" || e.CurrentVerdict != "implicitDeny" || e.DecidedBy != "identity-based" ||
			!strings.Contains(e.Note, "decide this request as it was decided then") {
			t.Errorf("%s: got %s of %s by %s, now %s (%s), want it denied then and now", want, e.Verdict, e.Resource,
				e.DecidedBy, e.CurrentVerdict, e.Note)
		}
	}
}
