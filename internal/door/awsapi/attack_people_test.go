package awsapi_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// callQuery calls an operation of IAM or STS. pairs are names and values of parameters.
func (s *server) callQuery(key aws.Credentials, service, action string, pairs ...string) answer {
	s.t.Helper()
	version := map[string]string{"iam": "2010-05-08", "sts": "2011-06-15"}[service]
	form := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return s.send(query(raw{key: key, service: service, body: form.Encode(), at: s.now()}))
}

// mustQuery is callQuery for a call that must succeed. It returns the credentials in the answer, if it has any.
func (s *server) mustQuery(key aws.Credentials, service, action string, pairs ...string) aws.Credentials {
	s.t.Helper()
	a := s.callQuery(key, service, action, pairs...)
	if a.Status != http.StatusOK {
		s.t.Fatalf("%s %q: got %s, want 200", action, pairs, a)
	}
	return aws.Credentials{AccessKeyID: element(a.Body, "AccessKeyId"), SecretAccessKey: element(a.Body, "SecretAccessKey"),
		SessionToken: element(a.Body, "SessionToken")}
}

// element returns the raw text of the first element with the given name in an XML answer.
func element(xml, name string) string {
	_, rest, _ := strings.Cut(xml, "<"+name+">")
	text, _, _ := strings.Cut(rest, "</"+name+">")
	return text
}

// failure returns the name of the error in an answer of either protocol; "" for an answer of success.
func (a answer) failure() string {
	if a.Status == http.StatusOK {
		return ""
	}
	if a.Type != "" {
		return a.Type
	}
	return element(a.Body, "Code")
}

// denied reports whether an answer is a denial.
func (a answer) denied() bool { return strings.HasPrefix(a.failure(), "AccessDenied") }

// user creates a user with an inline policy named p, and returns an access key of the user.
func (s *server) user(name, policy string) aws.Credentials {
	s.t.Helper()
	s.mustQuery(s.key, "iam", "CreateUser", "UserName", name)
	s.setInlinePolicy(name, policy)
	return s.mustQuery(s.key, "iam", "CreateAccessKey", "UserName", name)
}

// setInlinePolicy replaces the inline policy of a user.
func (s *server) setInlinePolicy(user, policy string) {
	s.t.Helper()
	s.mustQuery(s.key, "iam", "PutUserPolicy", "UserName", user, "PolicyName", "p", "PolicyDocument", policy)
}

// role creates a role that principals of the account may assume, with an inline policy named p.
func (s *server) role(name, policy string) {
	s.t.Helper()
	s.mustQuery(s.key, "iam", "CreateRole", "RoleName", name, "AssumeRolePolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+home+`"},"Action":"sts:AssumeRole"}]}`)
	s.mustQuery(s.key, "iam", "PutRolePolicy", "RoleName", name, "PolicyName", "p", "PolicyDocument", policy)
}

// job returns the id of a job of an account that no process executes.
func (s *server) job(account string) string {
	s.t.Helper()
	if err := s.Meta().Enqueue(s.t.Context(), meta.NewJob{Kind: "none", Key: "x", Account: account, Input: "{}"}); err != nil {
		s.t.Fatal(err)
	}
	all, err := s.Meta().Jobs(s.t.Context(), account, 0, 1)
	if err != nil || len(all) != 1 {
		s.t.Fatalf("the jobs of %s: %v, %v", account, all, err)
	}
	return strconv.FormatInt(all[0].ID, 10)
}

// assume returns the credentials of a session of a role, with a session policy unless that is "".
func (s *server) assume(key aws.Credentials, role, session, policy string) aws.Credentials {
	s.t.Helper()
	pairs := []string{"RoleArn", "arn:aws:iam::" + home + ":role/" + role, "RoleSessionName", session}
	if policy != "" {
		pairs = append(pairs, "Policy", policy)
	}
	return s.mustQuery(key, "sts", "AssumeRole", pairs...)
}

// rule returns a policy with one statement. element is Action or NotAction.
func rule(effect, element, resource string, actions ...string) string {
	return object("Version", "2012-10-17", "Statement", []any{map[string]any{"Effect": effect, element: actions, "Resource": resource}})
}

func allow(actions ...string) string { return rule("Allow", "Action", "*", actions...) }
