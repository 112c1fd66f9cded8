package awsapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// wants holds an answer to the name of its error, "" for success.
func (a answer) wants(t *testing.T, what, failure string) {
	t.Helper()
	if got := a.failure(); got != failure {
		t.Errorf("%s: got %s, want %q", what, a, failure)
	}
}

// Row 27: the ARN of what another account has is nothing in this one, for its root user too, and so are its keys.
func TestAttack27ArnsOfOthers(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	thief := s.account(stranger)
	key := s.user("ann", allow("*"))
	s.role("deploy", allow("*"))
	s.gets(s.key, "iam", "CreatePolicy", "PolicyName", "all", "PolicyDocument", allow("*"))
	s.gets(s.key, "iam", "CreateOpenIDConnectProvider", "Url", "https://id.example.com", "ThumbprintList.member.1", strings.Repeat("b", 40))
	const theirs = "arn:aws:iam::" + home + ":"
	for _, call := range [][]string{{"CreateUser", "UserName", "bob"}, {"CreateRole", "RoleName", "bob", "AssumeRolePolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + stranger + `"},"Action":"sts:AssumeRole"}]}`}, {"CreateGroup", "GroupName", "bob"}} {
		s.gets(thief, "iam", call[0], call[1:]...)
	}
	bob := s.gets(thief, "iam", "CreateAccessKey", "UserName", "bob")
	s.gets(thief, "iam", "PutUserPolicy", "UserName", "bob", "PolicyName", "p", "PolicyDocument", allow("*"))
	doc := allow("ecr:*")
	for _, key := range []aws.Credentials{thief, bob} {
		for _, call := range [][]string{
			{"GetPolicy", "PolicyArn", theirs + "policy/all"}, {"DeletePolicy", "PolicyArn", theirs + "policy/all"}, {"ListPolicyVersions", "PolicyArn", theirs + "policy/all"},
			{"GetPolicyVersion", "PolicyArn", theirs + "policy/all", "VersionId", "v1"}, {"CreatePolicyVersion", "PolicyArn", theirs + "policy/all", "PolicyDocument", doc, "SetAsDefault", "true"},
			{"ListEntitiesForPolicy", "PolicyArn", theirs + "policy/all"}, {"TagPolicy", "PolicyArn", theirs + "policy/all", "Tags.member.1.Key", "k", "Tags.member.1.Value", "v"},
			{"AttachUserPolicy", "UserName", "bob", "PolicyArn", theirs + "policy/all"}, {"AttachRolePolicy", "RoleName", "bob", "PolicyArn", theirs + "policy/all"},
			{"AttachGroupPolicy", "GroupName", "bob", "PolicyArn", theirs + "policy/all"}, {"PutUserPermissionsBoundary", "UserName", "bob", "PermissionsBoundary", theirs + "policy/all"},
			{"CreateUser", "UserName", "eve", "PermissionsBoundary", theirs + "policy/all"}, {"GetOpenIDConnectProvider", "OpenIDConnectProviderArn", theirs + "oidc-provider/id.example.com"},
			{"AddClientIDToOpenIDConnectProvider", "OpenIDConnectProviderArn", theirs + "oidc-provider/id.example.com", "ClientID", "x"},
			{"SimulatePrincipalPolicy", "PolicySourceArn", theirs + "user/ann", "ActionNames.member.1", "ecr:PutImage"},
			{"GetContextKeysForPrincipalPolicy", "PolicySourceArn", theirs + "user/ann"}, {"GetUser", "UserName", "ann"}, {"GetAccessKeyLastUsed", "AccessKeyId", s.key.AccessKeyID},
			{"DeleteAccessKey", "UserName", "bob", "AccessKeyId", s.key.AccessKeyID}, {"UpdateAccessKey", "UserName", "bob", "AccessKeyId", s.key.AccessKeyID, "Status", "Inactive"},
		} {
			if a := s.asks(key, "iam", call[0], call[1:]...); a.Status == http.StatusOK || a.Status >= 500 || strings.Contains(a.Body, "ecr:PutImage") {
				t.Errorf("%q by another account: got %s, want a refusal", call, a)
			}
		}
	}
	// Deleting a provider that is not there is no error, and deletes nobody else's.
	s.gets(thief, "iam", "DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", theirs+"oidc-provider/id.example.com")
	s.gets(s.key, "iam", "GetOpenIDConnectProvider", "OpenIDConnectProviderArn", theirs+"oidc-provider/id.example.com")
	s.asks(bob, "sts", "AssumeRole", "RoleArn", theirs+"role/deploy", "RoleSessionName", "ci").wants(t, "a role that does not trust the account", "AccessDenied")
	s.asks(bob, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+stranger+":role/bob", "RoleSessionName", "ci", "PolicyArns.member.1.arn", theirs+"policy/all").wants(t, "a session policy of another account", "ValidationError")
	if who := s.asks(key, "sts", "GetCallerIdentity"); element(who.Body, "Arn") != theirs+"user/ann" {
		t.Errorf("after all: %s", who)
	}
}

// Row 22: a right on one user, role or key is none on another, by whatever name: a rename needs the right on both
// names, and a key is its owner's.
func TestAttack22RightsOfOthers(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const users = "arn:aws:iam::" + home + ":user/"
	admin := s.user("admin", allow("*"))
	s.user("team-a", allow("ecr:ListImages"))
	helper := s.user("helper", object("Version", "2012-10-17", "Statement", []any{
		map[string]any{"Effect": "Allow", "Action": "iam:*", "Resource": []string{users + "team-*", users + "helper"}},
		map[string]any{"Effect": "Deny", "Action": []string{"iam:GetContextKeysForPrincipalPolicy"}, "Resource": []string{users + "team-a", users + strings.Repeat("long/", 20) + "deep"}},
	}))
	denied := func(what string, key aws.Credentials, call ...string) {
		t.Helper()
		s.asks(key, "iam", call[0], call[1:]...).wants(t, what, "AccessDenied")
	}
	denied("a rename to a name without rights", helper, "UpdateUser", "UserName", "team-a", "NewUserName", "boss")
	denied("a move to a path without rights", helper, "UpdateUser", "UserName", "team-a", "NewPath", "/admins/")
	denied("a rename from a name without rights", helper, "UpdateUser", "UserName", "admin", "NewUserName", "team-b")
	s.gets(helper, "iam", "UpdateUser", "UserName", "team-a", "NewUserName", "team-b")
	s.gets(helper, "iam", "UpdateUser", "UserName", "team-b", "NewUserName", "team-a")
	for _, call := range [][]string{
		{"DeleteAccessKey", "AccessKeyId", admin.AccessKeyID}, {"DeleteAccessKey", "AccessKeyId", s.key.AccessKeyID}, {"UpdateAccessKey", "AccessKeyId", admin.AccessKeyID, "Status", "Inactive"},
		{"DeleteAccessKey", "UserName", "team-a", "AccessKeyId", admin.AccessKeyID}, {"UpdateAccessKey", "UserName", "helper", "AccessKeyId", s.key.AccessKeyID, "Status", "Inactive"},
	} {
		s.asks(helper, "iam", call[0], call[1:]...).wants(t, fmt.Sprint(call), "NoSuchEntity")
	}
	for _, call := range [][]string{
		{"CreateAccessKey", "UserName", "admin"}, {"CreateAccessKey", "UserName", "ADMIN"}, {"PutUserPolicy", "UserName", "admin", "PolicyName", "x", "PolicyDocument", allow("*")},
		{"GetAccessKeyLastUsed", "AccessKeyId", admin.AccessKeyID}, {"AddUserToGroup", "GroupName", "admins", "UserName", "team-a"}, {"CreateUser", "UserName", "team-c", "Path", "/admins/"}, // the ARN has the path: it is not user/team-*
	} {
		denied(fmt.Sprint(call), helper, call...)
	}
	// A deny on a principal holds for every spelling of its name, and for long ones.
	s.gets(s.key, "iam", "CreateUser", "UserName", "deep", "Path", "/"+strings.Repeat("long/", 20))
	s.rights("helper", object("Version", "2012-10-17", "Statement", []any{
		map[string]any{"Effect": "Allow", "Action": "iam:*", "Resource": "*"},
		map[string]any{"Effect": "Deny", "Action": []string{"iam:GetContextKeysForPrincipalPolicy"}, "Resource": []string{users + "team-a", users + strings.Repeat("long/", 20) + "deep"}},
	}))
	for _, arn := range []string{users + "team-a", users + strings.Repeat("long/", 20) + "deep"} {
		denied("context keys of "+arn, helper, "GetContextKeysForPrincipalPolicy", "PolicySourceArn", arn)
	}
	for _, arn := range []string{users + "TEAM-A", users + "x/team-a", "arn:aws:iam::" + home + ":user//team-a"} {
		if a := s.asks(helper, "iam", "GetContextKeysForPrincipalPolicy", "PolicySourceArn", arn); a.Status == http.StatusOK {
			t.Errorf("context keys of %s: got %s, want a refusal", arn, a)
		}
	}
	// A user with everything but IAM, as PowerUserAccess gives it, makes itself nothing more.
	s.gets(s.key, "iam", "DeleteUserPolicy", "UserName", "helper", "PolicyName", "p")
	s.gets(s.key, "iam", "AttachUserPolicy", "UserName", "helper", "PolicyArn", "arn:aws:iam::aws:policy/PowerUserAccess")
	for operation, body := range map[string]string{
		"CreateAccessKey": `{}`, "UpdateAccessKey": `{"accessKeyId":"` + s.key.AccessKeyID + `","status":"INACTIVE"}`, "DeleteAccessKey": `{"accessKeyId":"` + admin.AccessKeyID + `"}`,
		"GetAccountCredentials": `{}`, "PutControlPolicy": `{"name":"x","type":"SERVICE_CONTROL_POLICY"}`,
	} {
		s.own(helper, operation, body).wants(t, "a power user's "+operation, "AccessDeniedException")
	}
	var keys ecrintypes.ListAccessKeysResponse
	s.operator("ListAccessKeys", &ecrintypes.ListAccessKeysRequest{}, &keys)
	for _, k := range keys.AccessKeys {
		if k.Status != ecrintypes.AccessKeyStatusACTIVE {
			t.Errorf("the key %s is %s", k.AccessKeyId, k.Status)
		}
	}
}

// Row 22: who has no right learns nothing of what is there: names that exist and those that do not get the same denial.
func TestAttack22Enumeration(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.role("there", allow("*"))
	s.user("there", allow("*"))
	nobody := s.user("nobody", allow("sts:AssumeRole"))
	s.gets(s.key, "iam", "UpdateAssumeRolePolicy", "RoleName", "there", "PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+home+`:user/there"},"Action":"sts:AssumeRole"}]}`)
	same := func(what, one, two string) {
		t.Helper()
		if one != two {
			t.Errorf("%s: of what is there %s; of what is not %s", what, one, two)
		}
	}
	ask := func(key aws.Credentials, service, action, member, format, name string) string {
		a := s.asks(key, service, action, member, fmt.Sprintf(format, name), "RoleSessionName", "ci")
		if service == "iam" {
			a = s.asks(key, service, action, member, fmt.Sprintf(format, name))
		}
		if !a.denied() {
			t.Errorf("%s %s: got %s, want a denial", action, name, a)
		}
		return strings.NewReplacer(name, "NAME", element(a.Body, "RequestId"), "").Replace(a.Body)
	}
	thief := s.account(stranger)
	s.gets(thief, "iam", "CreateUser", "UserName", "bob")
	foreign := s.gets(thief, "iam", "CreateAccessKey", "UserName", "bob")
	s.gets(thief, "iam", "PutUserPolicy", "UserName", "bob", "PolicyName", "p", "PolicyDocument", allow("*"))
	for _, key := range []aws.Credentials{nobody, foreign} {
		const role = "arn:aws:iam::" + home + ":role/%s"
		same("AssumeRole", ask(key, "sts", "AssumeRole", "RoleArn", role, "there"), ask(key, "sts", "AssumeRole", "RoleArn", role, "nowhere"))
	}
	for action, member := range map[string]string{"GetUser": "UserName", "DeleteUser": "UserName", "GetRole": "RoleName", "ListAccessKeys": "UserName", "ListUserPolicies": "UserName"} {
		same(action, ask(nobody, "iam", action, member, "%s", "there"), ask(nobody, "iam", action, member, "%s", "nowhere"))
	}
	disabled := s.user("off", allow("*"))
	s.gets(s.key, "iam", "UpdateAccessKey", "UserName", "off", "AccessKeyId", disabled.AccessKeyID, "Status", "Inactive")
	off, unknown := s.asks(disabled, "sts", "GetCallerIdentity"), s.asks(aws.Credentials{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretAccessKey: "x"}, "sts", "GetCallerIdentity")
	same("a disabled key", strings.ReplaceAll(off.Body, element(off.Body, "RequestId"), ""), strings.ReplaceAll(unknown.Body, element(unknown.Body, "RequestId"), ""))
}

// Row 25: hostile texts come back as the text of data that no browser runs: escaped, under a type that is not HTML.
func TestAttack25HostileTexts(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const script = `"'><script>alert(1)</script><!--]]>`
	s.gets(s.key, "iam", "CreateRole", "RoleName", "r", "Description", "x</Description>"+script, "AssumeRolePolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+home+`"},"Action":"sts:AssumeRole"}]}`)
	s.repository("app")
	s.must("TagResource", object("resourceArn", "arn:aws:ecr:us-east-1:"+home+":repository/app", "tags", []any{map[string]string{"Key": "k", "Value": "a/b=c+d@e"}}))
	for what, a := range map[string]answer{
		"a role's description": s.asks(s.key, "iam", "GetRole", "RoleName", "r"), "a user that is not there": s.asks(s.key, "iam", "GetUser", "UserName", script),
		"an action": s.asks(s.key, "iam", script), "a parameter": s.asks(s.key, "iam", "GetUser", script, "x"), "a policy": s.asks(s.key, "iam", "CreatePolicy", "PolicyName", "p", "PolicyDocument", script),
		"a repository": s.call("ListImages", object("repositoryName", script)), "a target": s.call(script, "{}"), "a member": s.call("ListImages", object(script, "x")),
		"a path": s.get(s.url + "/%3Cscript%3E"), "a docker path": s.get(s.url + "/v2/%3Cscript%3E/tags/list"),
		"a decoded policy": s.call("SetRepositoryPolicy", object("repositoryName", "app", "policyText", script)),
	} {
		if strings.Contains(a.Header.Get("Content-Type"), "html") || strings.Contains(a.Header.Get("Content-Type"), "xml") && strings.Contains(a.Body, "<script") || a.Header.Get("Content-Type") == "" {
			t.Errorf("%s: got %q %s", what, a.Header.Get("Content-Type"), a)
		}
	}
	// A layer whose manifest calls it a page of HTML is served, but no browser renders it or guesses.
	layer := "<script>alert(1)</script>"
	s.layer("app", layer)
	config := `{"seed":"x"}`
	s.layer("app", config)
	s.push("app", object("schemaVersion", 2, "mediaType", ociManifest, "config", describe(ociConfig, config), "layers", []any{describe("text/html", layer)}), "latest")
	a := s.get(s.link("app", digestOf(layer)))
	if a.Status != 200 || a.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("a layer of HTML: got %d %v, want nosniff and a sandbox", a.Status, a.Header)
	}
}
