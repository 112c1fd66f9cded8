package console_test

import (
	"encoding/csv"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/door/console"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

const access = "/console/000000000000/access"

// iamOf returns a client of IAM.
func iamOf(s *apptest.Server, a apptest.Account) *iam.Client {
	return iam.New(iam.Options{Region: a.Region, BaseEndpoint: aws.String(s.URL), HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.KeyID, a.Secret, "")})
}

// A user is created, gets policies of both kinds and a group, and is deleted with all of it.
func TestUserPages(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	has(t, v.page(access+"/users"), "No users yet", "Create user")
	if g := v.post(access+"/users", "name", "a b", "path", "/"); g.status != http.StatusBadRequest {
		t.Errorf("a wrong name: got %d", g.status)
	}
	user := access + "/users/jane"
	if g := v.post(access+"/users", "name", "jane", "path", "/"); g.status != http.StatusSeeOther || g.location != user {
		t.Fatalf("got %d to %s\n%s", g.status, g.location, g.body)
	}
	has(t, v.page(user), "The user was created.", "No policies", "arn:aws:iam::000000000000:user/jane")
	has(t, v.page(access+"/users?q=jane"), ">jane<", "1 user")
	has(t, v.page(access+"/users?q=nobody"), "Nothing matches")
	const text = `{"Version":"2012-10-17","Statement":[{"Sid":"Mine","Effect":"Allow","Action":"ecr:ListImages","Resource":"*"}]}`
	has(t, v.post(user+"/create-policy", "do", "check", "name", "one", "text", "{\n \"Statement\": [}").body, "2:", "Error.", "why-save")
	has(t, v.post(user+"/create-policy", "do", "preview", "name", "one", "text", text).body, "Change to the policy", "Mine")
	if g := v.post(user+"/create-policy", "do", "save", "name", "one", "text", text); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	if g := v.post(user+"/create-policy", "do", "save", "name", "one", "text", text); g.status != http.StatusConflict {
		t.Errorf("another new policy of this name: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(user+"/policies/one"), "Mine", "ecr:ListImages", "Delete policy")
	if g := v.post(user+"/policies/one", "do", "save", "text", text, "seen", "old"); g.status != http.StatusConflict {
		t.Errorf("a policy that has changed since: got %d", g.status)
	}
	if g := v.post(access+"/policies", "name", "team", "path", "/", "text", text, "do", "create"); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	const arn = "arn:aws:iam::000000000000:policy/team"
	if g := v.post(user, "do", "attach", "arn", arn); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	if g := v.post(user, "do", "attach", "arn", "arn:aws:iam::000000000000:policy/none"); g.status != http.StatusNotFound {
		t.Errorf("a policy that does not exist: got %d", g.status)
	}
	has(t, v.page(user), "Customer managed", "Inline")
	has(t, v.page(access+"/policy?arn="+arn), "jane", "in force", "Versions")
	v.post(access+"/groups", "name", "devs", "path", "/")
	if g := v.post(user+"/groups", "do", "add", "member", "devs"); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	has(t, v.page(access+"/groups/devs/users"), "jane")
	if g := v.post(user, "do", "delete", "name", "john"); g.status != http.StatusBadRequest {
		t.Errorf("deleted by a wrong name: got %d", g.status)
	}
	if g := v.post(user, "do", "delete", "name", "jane"); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	if g := v.get(user); g.status != http.StatusNotFound {
		t.Errorf("got %d", g.status)
	}
}

// A managed policy keeps its versions, and the one in force is chosen.
func TestManagedPolicyPages(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	v := visit(t, s).in(s.Root(t))
	text := func(sid string) string {
		return `{"Version":"2012-10-17","Statement":[{"Sid":"` + sid + `","Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`
	}
	g := v.post(access+"/policies", "name", "p", "path", "/", "text", text("First"), "do", "create")
	at := g.location
	has(t, v.page(at), "First", "Edit policy JSON")
	has(t, v.page(at+"&edit=1"), "saving makes a new version")
	has(t, v.post(at, "do", "preview", "text", text("Second"), "seen", "").body, "Second")
	if g := v.post(at, "do", "save", "text", text("Second")); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	has(t, v.page(at), "Second", "v2", "Set as default")
	has(t, v.page(at+"&version=v1"), "First", "not in force")
	if g := v.post(at, "do", "default", "version", "v1"); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	has(t, v.page(at), "First", "Version v1 is in force.")
	v.post(at, "do", "delete-version", "version", "v2")
	if g := v.post(at, "do", "delete"); g.location != access+"/policies" {
		t.Errorf("got %d to %s\n%s", g.status, g.location, g.body)
	}
	has(t, v.page(access+"/policies?scope=aws"), "AWS managed")
}

// The walk of the guide: the choice of use with what is better, the description, the key, its file.
func TestCreateAccessKey(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	v.post(access+"/users", "name", "=ci", "path", "/")
	user := access + "/users/=ci"
	has(t, v.page(user+"/security-credentials"), "No access keys", "Create access key", "The user has no password.")
	walk := user + "/create-access-key"
	has(t, v.page(walk), "Command Line Interface (CLI)", "Third-party service", "step 1 of 3")
	has(t, v.page(walk+"?use=third-party"), "There is better than a key for this", "I understand", "step 1 of 3")
	has(t, v.page(walk+"?use=third-party&sure=yes"), "Description tag value", "step 2 of 3")
	g := v.post(walk, "use", "third-party", "description", "build of CI")
	has(t, g.body, "Retrieve access keys", "Download .csv file", "Done")
	field := func(name string) string {
		m := regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(g.body)
		if g.status != http.StatusOK || m == nil {
			t.Fatalf("got %d, no %s\n%s", g.status, name, g.body)
		}
		return strings.ReplaceAll(m[1], "&#43;", "+")
	}
	id, secret := field("accessKeyId"), field("secretAccessKey")
	for header, values := range g.header {
		if strings.Contains(strings.Join(values, " "), secret) {
			t.Errorf("the header %s has the secret", header)
		}
	}
	if g.header.Get("Cache-Control") != "no-store" {
		t.Error("browsers may store the secret")
	}
	if page := v.page(user + "/security-credentials"); strings.Contains(page, secret) {
		t.Error("the secret is shown again")
	} else {
		has(t, page, id, "Active", "build of CI")
	}
	file := v.post(user+"/access-key-file", "accessKeyId", id, "secretAccessKey", secret)
	if got := file.header.Get("Content-Disposition"); got != `attachment; filename="_ci_accessKeys.csv"` {
		t.Errorf("got %s", got)
	}
	rows, err := csv.NewReader(strings.NewReader(file.body)).ReadAll()
	want := [][]string{{"User Name", "Access key ID", "Secret access key"}, {"'=ci", id, secret}}
	if err != nil || !slices.EqualFunc(rows, want, slices.Equal) {
		t.Errorf("got %q, %v, want %q", rows, err, want)
	}
	for _, wrong := range [][2]string{{id, "=HYPERLINK(1)"}, {"<script>", secret}, {id, ""}} {
		if g := v.post(user+"/access-key-file", "accessKeyId", wrong[0], "secretAccessKey", wrong[1]); g.status != http.StatusBadRequest {
			t.Errorf("a file of %q: got %d", wrong, g.status)
		}
	}
	client := s.Root(t)
	client.KeyID, client.Secret = id, secret
	if g := visit(t, s).signIn(id, secret); g.status != http.StatusSeeOther {
		t.Errorf("the key signs in nobody: got %d", g.status)
	}
	v.post(user+"/security-credentials", "do", "deactivate", "key", id)
	has(t, v.page(user+"/security-credentials"), "Inactive")
	if g := visit(t, s).signIn(id, secret); g.status == http.StatusSeeOther {
		t.Error("a key that is not active signs in")
	}
	v.post(user+"/security-credentials", "do", "delete", "key", id)
	out, err := iamOf(s, root).ListUserTags(t.Context(), &iam.ListUserTagsInput{UserName: aws.String("=ci")})
	if err != nil || len(out.Tags) != 0 {
		t.Errorf("got %v, %v: the description of a deleted key stays", out, err)
	}
}

// The password of a user is set, signs in, and its session is listed and revoked.
func TestPasswordAndSessionsOfUser(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	v := visit(t, s).in(s.Root(t))
	v.post(access+"/users", "name", "jane", "path", "/")
	at := access + "/users/jane/security-credentials"
	const password = "Correct-horse-7-battery"
	if g := v.post(at, "do", "create-password", "password", password); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	jane := visit(t, s)
	if g := jane.signIn("", "", "by", "password", "account", "000000000000", "userName", "jane", "password",
		password); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	page := v.page(at)
	has(t, page, "Replace password", "Console sessions", "Revoke")
	id := regexp.MustCompile(`name="session" value="([0-9a-f]+)"`).FindStringSubmatch(page)
	if id == nil {
		t.Fatal("the session is not listed")
	}
	v.post(access+"/users", "name", "john", "path", "/")
	if g := v.post(access+"/users/john/security-credentials", "do", "revoke", "session", id[1]); g.status != http.StatusNotFound {
		t.Errorf("a session of another user: got %d", g.status)
	}
	if g := jane.get("/console/sessions"); g.status != http.StatusOK {
		t.Fatalf("got %d", g.status)
	}
	if g := v.post(at, "do", "revoke", "session", id[1]); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	if g := jane.get("/console/sessions"); g.status != http.StatusSeeOther {
		t.Errorf("the revoked session is served: got %d", g.status)
	}
}

// Roles and providers: trust, its editor, who assumed the role.
func TestRoleAndProviderPages(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	v := visit(t, s).in(s.Root(t))
	g := v.post(access+"/providers", "name", "https://issuer.example.com", "audience", "sts.amazonaws.com")
	if g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	provider := g.location
	has(t, v.page(provider), "sts.amazonaws.com", "Add audience")
	v.post(provider, "do", "add", "audience", "console")
	v.post(provider, "do", "remove", "audience", "sts.amazonaws.com")
	if page := v.page(provider); !strings.Contains(page, "console") || strings.Contains(page, `value="sts.amazonaws.com"`) {
		t.Errorf("got %s", page)
	}
	has(t, v.page(access+"/providers"), "issuer.example.com")
	g = v.post(access+"/roles", "name", "web", "path", "/", "trusts", "provider", "audience", "console",
		"trusted", "arn:aws:iam::000000000000:oidc-provider/issuer.example.com")
	if g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	has(t, v.page(access+"/roles/web/trust"), "issuer.example.com:aud", "Trust policy")
	if g := v.post(access+"/roles", "name", "app", "path", "/", "trusts", "account", "trusted",
		"000000000000"); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	trust := access + "/roles/app/trust"
	has(t, v.page(access+"/roles"), "app", "every principal of account 000000000000")
	has(t, v.post(trust, "do", "check", "text", "{}").body, "Error.")
	if g := v.post(trust, "do", "save", "text", "{}", "seen", "x"); g.status != http.StatusConflict {
		t.Errorf("got %d", g.status)
	}
	v.post(access+"/users", "name", "jane", "path", "/")
	v.post(access+"/users/jane/create-policy", "do", "save", "name", "all", "text",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}`)
	key, err := iamOf(s, s.Root(t)).CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("jane")})
	if err != nil {
		t.Fatal(err)
	}
	jane := visit(t, s)
	jane.signIn(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey)
	if g := jane.post("/console/switch-role", "role", "arn:aws:iam::000000000000:role/app"); g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	has(t, v.page(access+"/roles/app/sessions"), "AssumeRole", "user/jane", "console-jane", "Console sessions")
	has(t, v.page(access+"/roles/app"), "No policies", "Delete role")
}

// IAM shows nothing of another account, and to a user without permissions each part says which action is missing.
func TestIAMOfOthers(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	v.post(access+"/users", "name", "canary", "path", "/")
	other := visit(t, s).in(s.NewAccount(t, "111122223333"))
	if g := other.get(access + "/users"); g.status != http.StatusForbidden || strings.Contains(g.body, "canary") {
		t.Errorf("got %d\n%s", g.status, g.body)
	}
	poor := visit(t, s)
	key, err := iamOf(s, root).CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("canary")})
	if err != nil {
		t.Fatal(err)
	}
	poor.signIn(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey)
	if g := poor.get(access + "/users"); g.status != http.StatusForbidden || !strings.Contains(g.body, "iam:ListUsers") ||
		!strings.Contains(g.body, "You need iam:CreateUser") {
		t.Errorf("got %d\n%s", g.status, g.body)
	}
	g := poor.get(access + "/users/canary/security-credentials")
	has(t, g.body, "iam:ListAccessKeys", "iam:GetLoginProfile", "ecrin:ListConsoleSessions")
	if g := poor.post(access+"/users/canary/create-access-key", "use", "other"); g.status != http.StatusForbidden {
		t.Errorf("got %d", g.status)
	}
}

// What others write is shown as text.
func TestIAMTextsAreNoMarkup(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	v := visit(t, s).in(s.Root(t))
	v.post(access+"/users", "name", "jane", "path", "/")
	const evil = `"><script>alert(1)</script>`
	for what, g := range map[string]got{
		"user":     v.post(access+"/users", "name", evil, "path", evil),
		"role":     v.post(access+"/roles", "name", evil, "description", evil, "trusted", evil),
		"policy":   v.post(access+"/policies", "name", evil, "description", evil, "text", evil),
		"provider": v.post(access+"/providers", "name", evil, "audience", evil),
		"inline":   v.post(access+"/users/jane/create-policy", "do", "preview", "name", evil, "text", evil),
		"attach":   v.post(access+"/users/jane", "do", "attach", "arn", evil),
		"member":   v.post(access+"/users/jane/groups", "do", "add", "member", evil),
		"key":      v.post(access+"/users/jane/security-credentials", "do", "delete", "key", evil),
		"filter":   v.get(access + "/users?q=%22%3E%3Cscript%3E"),
		"arn":      v.get(access + "/policy?arn=%22%3E%3Cscript%3E"),
		"name":     v.get(access + "/users/%22%3E%3Cscript%3E"),
	} {
		if strings.Contains(g.body, "<script>") || strings.Contains(g.location, "<script>") {
			t.Errorf("%s: got %d\n%s", what, g.status, g.body)
		}
	}
}

// A record of a file can be read again, and has no cell that a spreadsheet executes.
func FuzzCSVLine(f *testing.F) {
	for _, s := range []string{"a", "=1+1", " =1", "a,b", "\"", "\r\n", "@x", "-", ""} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		rows, err := csv.NewReader(strings.NewReader(console.CSVLine(a, b))).ReadAll()
		if err != nil || len(rows) != 1 || len(rows[0]) != 2 {
			t.Fatalf("%q, %q: got %q, %v", a, b, rows, err)
		}
		for i, cell := range rows[0] {
			want := strings.ReplaceAll([]string{a, b}[i], "\r\n", "\n") // as the reader does
			if text := strings.TrimLeft(cell, " "); text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
				t.Errorf("%q is the cell %q", want, cell)
			}
			if strings.TrimPrefix(cell, "'") != strings.TrimPrefix(want, "'") {
				t.Errorf("%q is the cell %q", want, cell)
			}
		}
	})
}
