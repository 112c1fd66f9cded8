package awsapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// An account with a repository is deleted only with force. A refused deletion deletes nothing.
func TestDeleteAccountNeedsForce(t *testing.T) {
	t.Parallel()
	const id = "111122223333"
	for name, force := range map[string]*bool{"absent": nil, "false": aws.Bool(false)} {
		s := serve(t, nil)
		key := s.account(id)
		create := raw{key: key, target: ecrTarget + "CreateRepository", body: object("repositoryName", "app")}
		s.mustStatus(s.send(create))
		s.mustQuery(key, "iam", "CreateUser", "UserName", "kept")
		if got := s.operatorError("DeleteAccount", ecrintypes.DeleteAccountRequest{AccountId: id, Force: force}); got == "" {
			t.Errorf("force %s: an account with a repository was deleted", name)
		}
		s.mustQuery(key, "iam", "GetUser", "UserName", "kept")
		describe := raw{key: key, target: ecrTarget + "DescribeRepositories", body: object("repositoryNames", []string{"app"})}
		s.mustStatus(s.send(describe))
		in := ecrintypes.DeleteAccountRequest{AccountId: id, Force: aws.Bool(true)}
		s.operator("DeleteAccount", &in, &ecrintypes.DeleteAccountResponse{})
		if a := s.send(describe); a.Status == http.StatusOK {
			t.Errorf("after the deletion with force: got %s, want a refusal", a)
		}
	}
	s := serve(t, nil)
	s.account(id)
	if got := s.operatorError("DeleteAccount", ecrintypes.DeleteAccountRequest{AccountId: id}); got != "" {
		t.Errorf("an account without repositories, without force: got %s, want no error", got)
	}
}

// The condition key iam:PermissionsBoundary has the boundary of the role whose policy is deleted.
func TestBoundaryConditionOnDeleteRolePolicy(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.role("bound", readAll)
	s.role("free", readAll)
	s.mustQuery(s.key, "iam", "PutRolePermissionsBoundary", "RoleName", "bound", "PermissionsBoundary", pullOnly)
	user := s.user("admin", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:DeleteRolePolicy","Resource":"*",
		"Condition":{"StringEquals":{"iam:PermissionsBoundary":"`+pullOnly+`"}}}]}`)
	if a := s.callQuery(user, "iam", "DeleteRolePolicy", "RoleName", "free", "PolicyName", "p"); a.Status != http.StatusForbidden {
		t.Errorf("a role without the boundary: got %s, want 403", a)
	}
	s.mustStatus(s.callQuery(user, "iam", "DeleteRolePolicy", "RoleName", "bound", "PolicyName", "p"))
	for role, want := range map[string]int{"free": http.StatusOK, "bound": http.StatusNotFound} {
		if a := s.callQuery(s.key, "iam", "GetRolePolicy", "RoleName", role, "PolicyName", "p"); a.Status != want {
			t.Errorf("the policy of the role %s: got %s, want %d", role, a, want)
		}
	}
}

const readAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`

// The uses of keys and roles appear in IAM, with region and service.
func TestLastUseOfKeysAndRoles(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.role("job", readAll)
	user := s.user("user", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:*","sts:AssumeRole"],"Resource":"*"}]}`)
	key := func() string {
		return s.callQuery(s.key, "iam", "GetAccessKeyLastUsed", "AccessKeyId", user.AccessKeyID).Body
	}
	role := func() string { return s.callQuery(s.key, "iam", "GetRole", "RoleName", "job").Body }
	if got := key(); !strings.Contains(got, "<ServiceName>N/A</ServiceName>") {
		t.Errorf("a key before its first use: got %s, want N/A", got)
	}
	if got := role(); strings.Contains(got, "<LastUsedDate>") {
		t.Errorf("a role before its first use: got %s, want no date", got)
	}
	session := s.assume(user, "job", "work", "")
	in := raw{target: ecrTarget + "DescribeRepositories", body: "{}", region: "eu-west-1"}
	in.key = user
	s.mustStatus(s.send(in))
	in.key = session
	s.mustStatus(s.send(in))
	wantSoon(t, "the last use of the key", key, "<Region>eu-west-1</Region>", "<ServiceName>ecr</ServiceName>", "<LastUsedDate>20")
	wantSoon(t, "the last use of the role", role, "<Region>eu-west-1</Region>", "<LastUsedDate>20")
}

// wantSoon waits until a text has all parts: uses are written every two seconds.
func wantSoon(t *testing.T, what string, get func() string, parts ...string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(time.Minute)
	for {
		got, missing := get(), ""
		for _, p := range parts {
			if !strings.Contains(got, p) {
				missing = p
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: got %s, want %q in it", what, got, missing)
		}
		<-tick.C
	}
}

// GetAccountCredentials returns a key of the root user, never one of a user, however old.
func TestCredentialsOfAnAccountAreThoseOfItsRootUser(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	user := s.user("user", readAll)
	get := func() string {
		var out ecrintypes.GetAccountCredentialsResponse
		s.operator("GetAccountCredentials", &ecrintypes.GetAccountCredentialsRequest{}, &out)
		return out.AccessKey.AccessKeyId
	}
	if got := get(); got != s.key.AccessKeyID {
		t.Errorf("got the key %s, want that of the root user, %s", got, s.key.AccessKeyID)
	}
	var made ecrintypes.CreateAccessKeyResponse
	s.operator("CreateAccessKey", &ecrintypes.CreateAccessKeyRequest{AccountId: home}, &made)
	s.operator("DeleteAccessKey", &ecrintypes.DeleteAccessKeyRequest{AccessKeyId: s.key.AccessKeyID}, &ecrintypes.DeleteAccessKeyResponse{})
	if got := get(); got != made.AccessKey.AccessKeyId || got == user.AccessKeyID {
		t.Errorf("after the first root key was deleted: got the key %s, want the second, %s", got, made.AccessKey.AccessKeyId)
	}
}

// A signed link has the scheme that the client uses, also behind a proxy that ends TLS.
func TestSchemeOfLayerLinks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		proxies []string
		header  string
		want    string
	}{
		"plain":                  {nil, "", "http://"},
		"a trusted proxy, https": {[]string{"127.0.0.1"}, "https", "https://"},
		"a trusted proxy, http":  {[]string{"127.0.0.1"}, "http", "http://"},
		"another proxy":          {[]string{"10.0.0.0/8"}, "https", "http://"},
	} {
		s := serve(t, func(k *config.Config) { k.TrustedProxies = c.proxies })
		s.repository("app")
		content := "{}"
		s.layer("app", content)
		s.push("app", manifest(content, nil), "v1")
		a := s.send(raw{key: s.key, target: ecrTarget + "GetDownloadUrlForLayer",
			body: object("repositoryName", "app", "layerDigest", digestOf(content)), after: func(r *http.Request) {
				if c.header != "" {
					r.Header.Set("X-Forwarded-For", "192.0.2.1")
					r.Header.Set("X-Forwarded-Proto", c.header)
				}
			}})
		if a.Status != http.StatusOK || !strings.Contains(a.Body, `"downloadUrl":"`+c.want) {
			t.Errorf("%s: got %s, want a link that begins with %s", name, a, c.want)
		}
	}
}
