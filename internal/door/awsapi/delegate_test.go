package awsapi_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// A user may be allowed to administer other users within limits: paths, tags, and a required permissions boundary.
//
// Sources: IAM user guide, delegating with permissions boundaries; IAM API reference, UpdateUser, UpdateGroup; service
// authorization reference of IAM.
func TestDelegatedAdministration(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	arn := "arn:aws:iam::" + home + ":"
	for _, name := range []string{"limit", "wide"} {
		s.mustQuery(s.key, "iam", "CreatePolicy", "PolicyName", name, "PolicyDocument", allow("ecr:*"))
	}
	s.mustQuery(s.key, "iam", "CreateUser", "UserName", "held", "Path", "/team/", "PermissionsBoundary", arn+"policy/limit")
	s.mustQuery(s.key, "iam", "CreateUser", "UserName", "free", "Path", "/team/")
	s.mustQuery(s.key, "iam", "CreateGroup", "GroupName", "crew", "Path", "/team/")
	s.mustQuery(s.key, "iam", "CreateUser", "UserName", strings.Repeat("x", 60))
	key := s.user("lead", allow("ecr:*"))
	s.mustQuery(s.key, "iam", "TagUser", "UserName", "lead", "Tags.member.1.Key", "locked", "Tags.member.1.Value", "yes")

	with := func(effect, action, condition string) string {
		return `{"Effect":"` + effect + `","Action":"iam:` + action + `","Resource":"*","Condition":{"StringEquals":{` + condition + `}}}`
	}
	document := func(statements ...string) string {
		return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	}
	limited := `"iam:PermissionsBoundary":"` + arn + `policy/limit"`
	team := rule("Allow", "Action", arn+"*/team/*", "iam:*")
	all := `{"Effect":"Allow","Action":"iam:*","Resource":"*"}`
	put := []string{"PutUserPolicy", "PolicyName", "q", "PolicyDocument", allow("ecr:*"), "UserName"}
	for _, row := range []struct {
		what, policy string
		call         []string
		denied       bool
	}{
		{"a policy for a user with the boundary", document(with("Allow", "*", limited)), append(put, "held"), false},
		{"a policy for a user without", document(with("Allow", "*", limited)), append(put, "free"), true},
		{"deleting the boundary", document(all, with("Deny", "DeleteUserPermissionsBoundary", limited)),
			[]string{"DeleteUserPermissionsBoundary", "UserName", "held"}, true},
		{"the condition key is the new boundary, not the old", document(with("Allow", "*", limited)),
			[]string{"PutUserPermissionsBoundary", "UserName", "held", "PermissionsBoundary", arn + "policy/wide"}, true},
		{"an operation without the condition key", document(with("Allow", "*", limited)), []string{"GetUser", "UserName", "held"}, true},
		{"out of the path", team, []string{"UpdateUser", "UserName", "free", "NewPath", "/admins/"}, true},
		{"within the path", team, []string{"UpdateUser", "UserName", "free", "NewPath", "/team/b/", "NewUserName", "libre"}, false},
		{"a user with a boundary", document(all, with("Deny", "DeleteUser", limited)),
			[]string{"UpdateUser", "UserName", "held", "NewPath", "/team/c/"}, false},
		{"to a name without the permission", rule("Allow", "Action", arn+"user/team/b/libre", "iam:*"),
			[]string{"UpdateUser", "UserName", "libre", "NewUserName", "boss"}, true},
		{"a group out of the path", team, []string{"UpdateGroup", "GroupName", "crew", "NewPath", "/admins/"}, true},
		{"a group within the path", team, []string{"UpdateGroup", "GroupName", "crew", "NewGroupName", "gang"}, false},
		{"the caller by name", document(all, with("Deny", "CreateAccessKey", `"iam:ResourceTag/locked":"yes"`)),
			[]string{"CreateAccessKey", "UserName", "lead"}, true},
		{"the caller without a name", document(all, with("Deny", "CreateAccessKey", `"iam:ResourceTag/locked":"yes"`)),
			[]string{"CreateAccessKey"}, true},
		{"a simulation of a long name", document(all, `{"Effect":"Deny","Action":"iam:*","Resource":"`+arn+`user/`+strings.Repeat("x", 60)+`"}`),
			[]string{"GetContextKeysForPrincipalPolicy", "PolicySourceArn", arn + "user/" + strings.Repeat("x", 60)}, true},
	} {
		s.setInlinePolicy("lead", row.policy)
		if got := s.callQuery(key, "iam", row.call[0], row.call[1:]...); got.denied() != row.denied || !row.denied && got.Status != 200 {
			t.Errorf("%s: %v by %s: got %s, want denied %v", row.what, row.call, row.policy, got, row.denied)
		}
	}
}

// Condition keys are case-insensitive and keys of resource tags are not: of tags whose keys differ only in case, each
// must be allowed.
func TestRequestTagsThatDifferInCase(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	key := s.user("maker",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"core"}}}]}`)
	for name, row := range map[string]struct {
		tags   []map[string]string
		denied bool
	}{
		"one": {[]map[string]string{{"Key": "team", "Value": "core"}}, false},
		"both-right": {[]map[string]string{{"Key": "team", "Value": "core"}, {"Key": "Team", "Value": "core"},
			{"Key": "x", "Value": "y"}}, false},
		"first": {[]map[string]string{{"Key": "team", "Value": "other"}, {"Key": "Team", "Value": "core"}}, true},
		"last":  {[]map[string]string{{"Key": "Team", "Value": "core"}, {"Key": "team", "Value": "other"}}, true},
		"middle": {[]map[string]string{{"Key": "TEAM", "Value": "core"}, {"Key": "team", "Value": "other"},
			{"Key": "Team", "Value": "core"}}, true},
	} {
		got := s.send(raw{key: key, target: ecrTarget + "CreateRepository", body: object("repositoryName", name, "tags", row.tags)})
		if got.denied() != row.denied || !row.denied && got.Status != 200 {
			t.Errorf("%s: tags %v: got %s, want denied %v", name, row.tags, got, row.denied)
		}
	}
}

// RestoreImage sets a tag, so conditions on tags and digests apply to it as to a push.
func TestRestoreImageAsksForTheTag(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	digest := digestOf(s.image("app", "one", "dev-1"))
	s.must("BatchDeleteImage", object("repositoryName", "app", "imageIds", ids(digest, "")))
	key := s.user("dev", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecrin:*","ecr:PutImage"],"Resource":"*"},
		{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringLike":{"ecrin:ImageTag":"prod*"}}},
		{"Effect":"Deny","Action":"ecrin:RestoreImage","Resource":"*","Condition":{"StringNotEquals":{"ecrin:ImageDigest":"`+digest+`"}}}]}`)
	for _, row := range []struct {
		digest, tag string
		denied      bool
	}{{digest, "prod-1", true}, {digestOf("other"), "dev-1", true}, {digest, "dev-1", false}} {
		got := s.callEcrin(key, "RestoreImage", object("repositoryName", "app", "imageDigest", row.digest, "imageTag", row.tag))
		if got.denied() != row.denied || !row.denied && got.Status != 200 {
			t.Errorf("%s as %s: got %s, want denied %v", row.digest, row.tag, got, row.denied)
		}
	}
}

// Restoring an image is a push of it: it needs ecr:PutImage on the tag and the digest beside ecrin:RestoreImage, and does not move
// an immutable tag. The operator needs no permission.
func TestRestoreImageNeedsThePermissionToPush(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	old, now := digestOf(s.image("app", "old", "released")), digestOf(s.image("app", "new", "released"))
	s.must("BatchDeleteImage", object("repositoryName", "app", "imageIds", ids(old, "")))
	restore := func(key aws.Credentials, tag string) answer {
		return s.callEcrin(key, "RestoreImage", object("repositoryName", "app", "imageDigest", old, "imageTag", tag))
	}
	user := func(name, push string) aws.Credentials {
		return s.user(name, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecrin:*","Resource":"*"}`+push+`]}`)
	}
	const pushOf = `,{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*","Condition":{"StringEquals":`
	none, dev := user("none", ""), user("dev", pushOf+`{"ecrin:ImageTag":"dev"}}}`)
	other := user("other", pushOf+`{"ecrin:ImageDigest":"`+now+`"}}}`)
	releaser := user("releaser", pushOf+`{"ecrin:ImageDigest":"`+old+`"}}}`)
	for who, row := range map[string]struct {
		key aws.Credentials
		tag string
	}{
		"no permission to push": {none, "dev"}, "no permission to push, no tag": {none, ""}, "another tag": {dev, "released"},
		"no tag": {dev, ""}, "another digest": {other, "dev"},
	} {
		if got := restore(row.key, row.tag); !got.denied() || !strings.Contains(string(got.Body), "ecr:PutImage") {
			t.Errorf("%s: got %s, want a denial of ecr:PutImage", who, got)
		}
	}
	s.must("PutImageTagMutability", object("repositoryName", "app", "imageTagMutability", "IMMUTABLE"))
	if got := restore(releaser, "released"); got.Status != 400 || !strings.Contains(got.Body, "because the tag is immutable") {
		t.Errorf("under an immutable tag: got %s, want 400 because of the tag", got)
	}
	s.must("PutImageTagMutability", object("repositoryName", "app", "imageTagMutability", "MUTABLE"))
	if got := restore(releaser, "released"); got.Status != 200 {
		t.Errorf("with the permission to push: got %s, want 200", got)
	}
	s.must("BatchDeleteImage", object("repositoryName", "app", "imageIds", ids(old, "")))
	s.operator("RestoreImage", &ecrintypes.RestoreImageRequest{RepositoryName: "app", ImageDigest: old, ImageTag: "dev"},
		&ecrintypes.RestoreImageResponse{})
}

// The explanation of a deletion by digest is that of the decision: the deletion of each tag of the image must be
// allowed.
func TestExplainDeletionByDigest(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	digest := digestOf(s.image("app", "one", "dev-1", "prod-1"))
	s.user("dev",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"ForAnyValue:StringLike":{"ecrin:ImageTag":"dev-*"}}}]}`)
	for action, want := range map[string]bool{"ecr:BatchDeleteImage": false, "ecr:BatchGetImage": true} {
		e, verdict := s.explanation(ecrintypes.ExplainAccessRequest{
			Principal: "arn:aws:iam::" + home + ":user/dev", Action: action, RepositoryName: "app", ImageDigest: digest,
		})
		if e.Allowed != want {
			t.Errorf("%s: got %q, want allowed %v", action, verdict, want)
		}
	}
}
