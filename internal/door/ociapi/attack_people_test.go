package ociapi_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// person calls the signed APIs with the credentials of a root user, a user or a session.
type person struct {
	server *apptest.Server
	region string
	keys   aws.Credentials
	now    func() time.Time // time of signatures; nil for time.Now
}

func personOf(s *apptest.Server, a apptest.Account) person {
	return person{server: s, region: a.Region, keys: aws.Credentials{AccessKeyID: a.KeyID, SecretAccessKey: a.Secret}}
}

// send sends a signed POST to the signed APIs: in the JSON protocol with a target, otherwise in the query protocol.
func (p person) send(t testing.TB, service, target, body string) *ocitest.Answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.server.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	r.ContentLength = int64(len(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if target != "" {
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", target)
	}
	at := time.Now()
	if p.now != nil {
		at = p.now()
	}
	if err := v4.NewSigner().SignHTTP(t.Context(), p.keys, r, hex.EncodeToString(sum[:]), service, p.region, at); err != nil {
		t.Fatal(err)
	}
	var header []string
	for k, v := range r.Header {
		header = append(header, k, v[0])
	}
	return ocitest.Client{Base: p.server.URL, HTTP: p.server.HTTP}.Do(t, http.MethodPost, "/", []byte(body), header...)
}

// iam calls an operation of IAM, which must succeed, and returns its answer. pairs are names and values of parameters.
func (p person) iam(t testing.TB, action string, pairs ...string) string {
	t.Helper()
	return string(p.query(t, "iam", "2010-05-08", action, pairs...).Want(t, http.StatusOK).Body)
}

// sts is like iam for an operation of STS.
func (p person) sts(t testing.TB, action string, pairs ...string) string {
	t.Helper()
	return string(p.query(t, "sts", "2011-06-15", action, pairs...).Want(t, http.StatusOK).Body)
}

func (p person) query(t testing.TB, service, version, action string, pairs ...string) *ocitest.Answer {
	t.Helper()
	form := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return p.send(t, service, "", form.Encode())
}

// ecr calls an operation of ECR. pairs are names and values of members.
func (p person) ecr(t testing.TB, operation string, pairs ...any) *ocitest.Answer {
	t.Helper()
	in := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		in[pairs[i].(string)] = pairs[i+1]
	}
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return p.send(t, "ecr", "AmazonEC2ContainerRegistry_V20150921."+operation, string(body))
}

// as returns a person of the same server with the credentials in an answer.
func (p person) as(answer string) person {
	p.keys = aws.Credentials{AccessKeyID: element(answer, "AccessKeyId"),
		SecretAccessKey: element(answer, "SecretAccessKey"), SessionToken: element(answer, "SessionToken")}
	return p
}

// element returns the raw text of the first element with the given name in an XML answer.
func element(xml, name string) string {
	_, rest, _ := strings.Cut(xml, "<"+name+">")
	text, _, _ := strings.Cut(rest, "</"+name+">")
	return text
}

// user creates a user with one inline policy and an access key.
func (p person) user(t testing.TB, name, policy string) person {
	t.Helper()
	p.iam(t, "CreateUser", "UserName", name)
	p.iam(t, "PutUserPolicy", "UserName", name, "PolicyName", "p", "PolicyDocument", policy)
	return p.as(p.iam(t, "CreateAccessKey", "UserName", name))
}

// deleteUser deletes a user that user created.
func (p person) deleteUser(t testing.TB, name, key string) {
	t.Helper()
	p.iam(t, "DeleteUserPolicy", "UserName", name, "PolicyName", "p")
	p.iam(t, "DeleteAccessKey", "UserName", name, "AccessKeyId", key)
	p.iam(t, "DeleteUser", "UserName", name)
}

const homeID = "000000000000"

// role creates a role that users of the account may assume, with one inline policy.
func (p person) role(t testing.TB, name, policy string) {
	t.Helper()
	p.iam(t, "CreateRole", "RoleName", name, "AssumeRolePolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+homeID+`"},"Action":"sts:AssumeRole"}]}`)
	p.iam(t, "PutRolePolicy", "RoleName", name, "PolicyName", "p", "PolicyDocument", policy)
}

// assume returns a session of a role, with a session policy unless that is "".
func (p person) assume(t testing.TB, role, session, policy string) person {
	t.Helper()
	pairs := []string{"RoleArn", "arn:aws:iam::" + homeID + ":role/" + role, "RoleSessionName", session}
	if policy != "" {
		pairs = append(pairs, "Policy", policy)
	}
	return p.as(p.sts(t, "AssumeRole", pairs...))
}

// password returns a docker password.
func (p person) password(t testing.TB) string {
	t.Helper()
	var out struct {
		AuthorizationData []struct{ AuthorizationToken []byte }
	}
	p.ecr(t, "GetAuthorizationToken").Want(t, http.StatusOK).JSON(t, &out)
	return strings.TrimPrefix(string(out.AuthorizationData[0].AuthorizationToken), "AWS:")
}

// docker returns a client of the OCI distribution API with a password.
func (p person) docker(t testing.TB) ocitest.Client {
	t.Helper()
	return ocitest.Client{Base: p.server.URL, HTTP: p.server.HTTP, Password: p.password(t)}
}

// link returns a signed link to a layer.
func (p person) link(t testing.TB, repository, digest string) string {
	t.Helper()
	var out struct{ DownloadURL string }
	p.ecr(t, "GetDownloadUrlForLayer", "repositoryName", repository, "layerDigest", digest).Want(t, http.StatusOK).JSON(t, &out)
	return out.DownloadURL
}

// statement returns one policy statement on the given resources, or on all if there are none.
func statement(effect, element string, actions []string, resources ...string) string {
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	b, err := json.Marshal(map[string]any{"Effect": effect, element: actions, "Resource": resources})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// document returns a policy with the statements.
func document(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// may returns a policy that allows the actions and a docker login on all resources.
func may(actions ...string) string {
	return document(statement("Allow", "Action", append([]string{"ecr:GetAuthorizationToken"}, actions...)))
}

// mayAllBut returns a policy that allows every action except these.
func mayAllBut(actions ...string) string { return document(statement("Allow", "NotAction", actions)) }

func arnOf(repository string) string {
	return "arn:aws:ecr:us-east-1:" + homeID + ":repository/" + repository
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}
