package awsapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// wantFailure checks the name of the error of an answer; "" requires success.
func (a answer) wantFailure(t *testing.T, what, failure string) {
	t.Helper()
	if got := a.failure(); got != failure {
		t.Errorf("%s: got %s, want %q", what, a, failure)
	}
}

// Row 27: ARNs and access keys of another account do not exist for an account, including its root user.
func TestAttack27ArnsOfOthers(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	foreign := s.account(otherAccount)
	key := s.user("ann", allow("*"))
	s.role("deploy", allow("*"))
	s.mustQuery(s.key, "iam", "CreatePolicy", "PolicyName", "all", "PolicyDocument", allow("*"))
	s.mustQuery(s.key, "iam", "CreateOpenIDConnectProvider", "Url", "https://id.example.com", "ThumbprintList.member.1",
		strings.Repeat("b", 40))
	const theirs = "arn:aws:iam::" + home + ":"
	for _, call := range [][]string{{"CreateUser", "UserName", "bob"}, {"CreateRole", "RoleName", "bob", "AssumeRolePolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + otherAccount +
			`"},"Action":"sts:AssumeRole"}]}`}, {"CreateGroup", "GroupName", "bob"}} {
		s.mustQuery(foreign, "iam", call[0], call[1:]...)
	}
	bob := s.mustQuery(foreign, "iam", "CreateAccessKey", "UserName", "bob")
	s.mustQuery(foreign, "iam", "PutUserPolicy", "UserName", "bob", "PolicyName", "p", "PolicyDocument", allow("*"))
	doc := allow("ecr:*")
	for _, key := range []aws.Credentials{foreign, bob} {
		for _, call := range [][]string{
			{"GetPolicy", "PolicyArn", theirs + "policy/all"}, {"DeletePolicy", "PolicyArn",
				theirs + "policy/all"}, {"ListPolicyVersions", "PolicyArn", theirs + "policy/all"},
			{"GetPolicyVersion", "PolicyArn", theirs + "policy/all", "VersionId", "v1"}, {"CreatePolicyVersion", "PolicyArn",
				theirs + "policy/all", "PolicyDocument", doc, "SetAsDefault", "true"},
			{"ListEntitiesForPolicy", "PolicyArn", theirs + "policy/all"}, {"TagPolicy", "PolicyArn", theirs + "policy/all",
				"Tags.member.1.Key", "k", "Tags.member.1.Value", "v"},
			{"AttachUserPolicy", "UserName", "bob", "PolicyArn", theirs + "policy/all"}, {"AttachRolePolicy", "RoleName", "bob",
				"PolicyArn", theirs + "policy/all"},
			{"AttachGroupPolicy", "GroupName", "bob", "PolicyArn", theirs + "policy/all"}, {"PutUserPermissionsBoundary",
				"UserName", "bob", "PermissionsBoundary", theirs + "policy/all"},
			{"CreateUser", "UserName", "eve", "PermissionsBoundary", theirs + "policy/all"}, {"GetOpenIDConnectProvider",
				"OpenIDConnectProviderArn", theirs + "oidc-provider/id.example.com"},
			{"AddClientIDToOpenIDConnectProvider", "OpenIDConnectProviderArn", theirs + "oidc-provider/id.example.com", "ClientID", "x"},
			{"SimulatePrincipalPolicy", "PolicySourceArn", theirs + "user/ann", "ActionNames.member.1", "ecr:PutImage"},
			{"GetContextKeysForPrincipalPolicy", "PolicySourceArn", theirs + "user/ann"}, {"GetUser", "UserName",
				"ann"}, {"GetAccessKeyLastUsed", "AccessKeyId", s.key.AccessKeyID},
			{"DeleteAccessKey", "UserName", "bob", "AccessKeyId", s.key.AccessKeyID}, {"UpdateAccessKey", "UserName", "bob",
				"AccessKeyId", s.key.AccessKeyID, "Status", "Inactive"},
		} {
			if a := s.callQuery(key, "iam", call[0], call[1:]...); a.Status == http.StatusOK || a.Status >= 500 ||
				strings.Contains(a.Body, "ecr:PutImage") {
				t.Errorf("%q by another account: got %s, want a refusal", call, a)
			}
		}
	}
	// Deleting a provider that does not exist is not an error, and must not delete the provider of another account.
	s.mustQuery(foreign, "iam", "DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", theirs+"oidc-provider/id.example.com")
	s.mustQuery(s.key, "iam", "GetOpenIDConnectProvider", "OpenIDConnectProviderArn", theirs+"oidc-provider/id.example.com")
	s.callQuery(bob, "sts", "AssumeRole", "RoleArn", theirs+"role/deploy", "RoleSessionName", "ci").wantFailure(t,
		"a role that does not trust the account", "AccessDenied")
	s.callQuery(bob, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+otherAccount+":role/bob", "RoleSessionName", "ci",
		"PolicyArns.member.1.arn", theirs+"policy/all").wantFailure(t, "a session policy of another account", "ValidationError")
	if who := s.callQuery(key, "sts", "GetCallerIdentity"); element(who.Body, "Arn") != theirs+"user/ann" {
		t.Errorf("after all: %s", who)
	}
}

// Row 22: a permission on one user, role or key is not a permission on another, in any spelling of its name. A rename
// needs the permission on both names, and an access key belongs to one user.
func TestAttack22RightsOfOthers(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const users = "arn:aws:iam::" + home + ":user/"
	admin := s.user("admin", allow("*"))
	s.user("team-a", allow("ecr:ListImages"))
	helper := s.user("helper", object("Version", "2012-10-17", "Statement", []any{
		map[string]any{"Effect": "Allow", "Action": "iam:*", "Resource": []string{users + "team-*", users + "helper"}},
		map[string]any{"Effect": "Deny", "Action": []string{"iam:GetContextKeysForPrincipalPolicy"},
			"Resource": []string{users + "team-a", users + strings.Repeat("long/", 20) + "deep"}},
	}))
	denied := func(what string, key aws.Credentials, call ...string) {
		t.Helper()
		s.callQuery(key, "iam", call[0], call[1:]...).wantFailure(t, what, "AccessDenied")
	}
	denied("a rename to a name without the permission", helper, "UpdateUser", "UserName", "team-a", "NewUserName", "boss")
	denied("a move to a path without the permission", helper, "UpdateUser", "UserName", "team-a", "NewPath", "/admins/")
	denied("a rename from a name without the permission", helper, "UpdateUser", "UserName", "admin", "NewUserName", "team-b")
	s.mustQuery(helper, "iam", "UpdateUser", "UserName", "team-a", "NewUserName", "team-b")
	s.mustQuery(helper, "iam", "UpdateUser", "UserName", "team-b", "NewUserName", "team-a")
	for _, call := range [][]string{
		{"DeleteAccessKey", "AccessKeyId", admin.AccessKeyID}, {"DeleteAccessKey", "AccessKeyId",
			s.key.AccessKeyID}, {"UpdateAccessKey", "AccessKeyId", admin.AccessKeyID, "Status", "Inactive"},
		{"DeleteAccessKey", "UserName", "team-a", "AccessKeyId", admin.AccessKeyID}, {"UpdateAccessKey", "UserName", "helper",
			"AccessKeyId", s.key.AccessKeyID, "Status", "Inactive"},
	} {
		s.callQuery(helper, "iam", call[0], call[1:]...).wantFailure(t, fmt.Sprint(call), "NoSuchEntity")
	}
	for _, call := range [][]string{
		{"CreateAccessKey", "UserName", "admin"}, {"CreateAccessKey", "UserName", "ADMIN"}, {"PutUserPolicy", "UserName",
			"admin", "PolicyName", "x", "PolicyDocument", allow("*")},
		// the ARN has the path: it is not user/team-*
		{"GetAccessKeyLastUsed", "AccessKeyId", admin.AccessKeyID}, {"AddUserToGroup", "GroupName", "admins", "UserName",
			"team-a"}, {"CreateUser", "UserName", "team-c", "Path", "/admins/"},
	} {
		denied(fmt.Sprint(call), helper, call...)
	}
	// A Deny for a principal applies to every spelling of its name, also to long names.
	s.mustQuery(s.key, "iam", "CreateUser", "UserName", "deep", "Path", "/"+strings.Repeat("long/", 20))
	s.setInlinePolicy("helper", object("Version", "2012-10-17", "Statement", []any{
		map[string]any{"Effect": "Allow", "Action": "iam:*", "Resource": "*"},
		map[string]any{"Effect": "Deny", "Action": []string{"iam:GetContextKeysForPrincipalPolicy"},
			"Resource": []string{users + "team-a", users + strings.Repeat("long/", 20) + "deep"}},
	}))
	for _, arn := range []string{users + "team-a", users + strings.Repeat("long/", 20) + "deep"} {
		denied("context keys of "+arn, helper, "GetContextKeysForPrincipalPolicy", "PolicySourceArn", arn)
	}
	for _, arn := range []string{users + "TEAM-A", users + "x/team-a", "arn:aws:iam::" + home + ":user//team-a"} {
		if a := s.callQuery(helper, "iam", "GetContextKeysForPrincipalPolicy", "PolicySourceArn", arn); a.Status == http.StatusOK {
			t.Errorf("context keys of %s: got %s, want a refusal", arn, a)
		}
	}
	// A user with all permissions except IAM (PowerUserAccess) cannot obtain more permissions.
	s.mustQuery(s.key, "iam", "DeleteUserPolicy", "UserName", "helper", "PolicyName", "p")
	s.mustQuery(s.key, "iam", "AttachUserPolicy", "UserName", "helper", "PolicyArn", "arn:aws:iam::aws:policy/PowerUserAccess")
	for operation, body := range map[string]string{
		"CreateAccessKey": `{}`, "UpdateAccessKey": `{"accessKeyId":"` + s.key.AccessKeyID +
			`","status":"INACTIVE"}`, "DeleteAccessKey": `{"accessKeyId":"` + admin.AccessKeyID + `"}`,
		"GetAccountCredentials": `{}`, "PutControlPolicy": `{"name":"x","type":"SERVICE_CONTROL_POLICY"}`,
	} {
		s.callEcrin(helper, operation, body).wantFailure(t, "a power user's "+operation, "AccessDeniedException")
	}
	var keys ecrintypes.ListAccessKeysResponse
	s.operator("ListAccessKeys", &ecrintypes.ListAccessKeysRequest{}, &keys)
	for _, k := range keys.AccessKeys {
		if k.Status != ecrintypes.AccessKeyStatusACTIVE {
			t.Errorf("the key %s is %s, want ACTIVE", k.AccessKeyId, k.Status)
		}
	}
}

// Row 22: a caller without the permission receives the same denial for names that exist and names that do not.
func TestAttack22Enumeration(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.role("there", allow("*"))
	s.user("there", allow("*"))
	weak := s.user("weak", allow("sts:AssumeRole"))
	s.mustQuery(s.key, "iam", "UpdateAssumeRolePolicy", "RoleName", "there", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+home+
			`:user/there"},"Action":"sts:AssumeRole"}]}`)
	same := func(what, one, two string) {
		t.Helper()
		if one != two {
			t.Errorf("%s: got %s for an existing name and %s for another, want the same", what, one, two)
		}
	}
	ask := func(key aws.Credentials, service, action, member, format, name string) string {
		a := s.callQuery(key, service, action, member, fmt.Sprintf(format, name), "RoleSessionName", "ci")
		if service == "iam" {
			a = s.callQuery(key, service, action, member, fmt.Sprintf(format, name))
		}
		if !a.denied() {
			t.Errorf("%s %s: got %s, want a denial", action, name, a)
		}
		return strings.NewReplacer(name, "NAME", element(a.Body, "RequestId"), "").Replace(a.Body)
	}
	otherRoot := s.account(otherAccount)
	s.mustQuery(otherRoot, "iam", "CreateUser", "UserName", "bob")
	foreign := s.mustQuery(otherRoot, "iam", "CreateAccessKey", "UserName", "bob")
	s.mustQuery(otherRoot, "iam", "PutUserPolicy", "UserName", "bob", "PolicyName", "p", "PolicyDocument", allow("*"))
	for _, key := range []aws.Credentials{weak, foreign} {
		const role = "arn:aws:iam::" + home + ":role/%s"
		same("AssumeRole", ask(key, "sts", "AssumeRole", "RoleArn", role, "there"), ask(key, "sts", "AssumeRole", "RoleArn", role, "nowhere"))
	}
	for action, member := range map[string]string{"GetUser": "UserName", "DeleteUser": "UserName", "GetRole": "RoleName",
		"ListAccessKeys": "UserName", "ListUserPolicies": "UserName"} {
		same(action, ask(weak, "iam", action, member, "%s", "there"), ask(weak, "iam", action, member, "%s", "nowhere"))
	}
	disabled := s.user("off", allow("*"))
	s.mustQuery(s.key, "iam", "UpdateAccessKey", "UserName", "off", "AccessKeyId", disabled.AccessKeyID, "Status", "Inactive")
	off, unknown := s.callQuery(disabled, "sts", "GetCallerIdentity"),
		s.callQuery(aws.Credentials{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretAccessKey: "x"}, "sts", "GetCallerIdentity")
	same("a disabled key", strings.ReplaceAll(off.Body, element(off.Body, "RequestId"), ""),
		strings.ReplaceAll(unknown.Body, element(unknown.Body, "RequestId"), ""))
}

// Row 25: hostile texts in answers are escaped, and the type of the answer is not HTML, so that no browser runs them.
func TestAttack25HostileTexts(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const script = `"'><script>alert(1)</script><!--]]>`
	s.mustQuery(s.key, "iam", "CreateRole", "RoleName", "r", "Description", "x</Description>"+script,
		"AssumeRolePolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+home+
			`"},"Action":"sts:AssumeRole"}]}`)
	s.repository("app")
	s.must("TagResource", object("resourceArn", "arn:aws:ecr:us-east-1:"+home+":repository/app", "tags",
		[]any{map[string]string{"Key": "k", "Value": "a/b=c+d@e"}}))
	for what, a := range map[string]answer{
		"a role's description": s.callQuery(s.key, "iam", "GetRole", "RoleName", "r"), "an unknown user": s.callQuery(s.key,
			"iam", "GetUser", "UserName", script),
		"an action": s.callQuery(s.key, "iam", script), "a parameter": s.callQuery(s.key, "iam", "GetUser", script,
			"x"), "a policy": s.callQuery(s.key, "iam", "CreatePolicy", "PolicyName", "p", "PolicyDocument", script),
		"a repository": s.call("ListImages", object("repositoryName", script)), "a target": s.call(script,
			"{}"), "a member": s.call("ListImages", object(script, "x")),
		"a path": s.get(s.url + "/%3Cscript%3E"), "a docker path": s.get(s.url + "/v2/%3Cscript%3E/tags/list"),
		"a decoded policy": s.call("SetRepositoryPolicy", object("repositoryName", "app", "policyText", script)),
	} {
		if strings.Contains(a.Header.Get("Content-Type"), "html") || strings.Contains(a.Header.Get("Content-Type"), "xml") &&
			strings.Contains(a.Body, "<script") || a.Header.Get("Content-Type") == "" {
			t.Errorf("%s: got %q %s", what, a.Header.Get("Content-Type"), a)
		}
	}
	// A layer that its manifest declares as HTML is served with headers by which no browser renders it or detects a
	// type.
	layer := "<script>alert(1)</script>"
	s.layer("app", layer)
	config := `{"seed":"x"}`
	s.layer("app", config)
	s.push("app", object("schemaVersion", 2, "mediaType", ociManifest, "config", describe(ociConfig, config), "layers",
		[]any{describe("text/html", layer)}), "latest")
	a := s.get(s.link("app", digestOf(layer)))
	if a.Status != 200 || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
		!strings.Contains(a.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("a layer of HTML: got %d %v, want nosniff and a sandbox", a.Status, a.Header)
	}
}
