package trail_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// lines returns the lines in the files of the audit trail.
func lines(t *testing.T, s *apptest.Server) (all []string) {
	t.Helper()
	events(t, s, ecrintypes.ListAuditEventsRequest{EventName: "None"}) // writes the lines that wait
	err := filepath.WalkDir(filepath.Join(s.Dir, "audit"), func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".ndjson") {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, strings.Split(strings.TrimSpace(string(text)), "\n")...)
		return err
	})
	must(t, 0, err)
	return all
}

// The line of a denial has less than 2 KB, whatever the names of caller and resource, the request and the policies are, and
// ExplainRequest still finds out what would allow the request.
func TestLineOfADenialHasLessThan2KB(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	other := root(s.NewAccount(t, partner), s)
	long := strings.TrimSuffix(strings.Repeat(strings.Repeat("r", 63)+"/", 4), "/")
	s.Root(t).CreateRepository(t, long)

	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprintf(`"aws:PrincipalTag/%s%d":"%s"`, strings.Repeat("k", 60), i, strings.Repeat("v", 40)))
	}
	name, path := strings.Repeat("u", 64), "/"+strings.Repeat("p", 510)+"/"
	_, err := other.iam().CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name, Path: &path})
	must(t, 0, err)
	_, err = other.iam().PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("token"),
		PolicyDocument: aws.String(allow(`["ecr:GetAuthorizationToken","sts:*"]`))})
	must(t, 0, err)
	key, err := other.iam().CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	user := other
	user.key = aws.Credentials{AccessKeyID: *must(t, key, err).AccessKey.AccessKeyId, SecretAccessKey: *key.AccessKey.SecretAccessKey}
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + partner +
		`"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
	made, err := other.iam().CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, Path: &path, AssumeRolePolicyDocument: &trust})
	arn := must(t, made, err).Role.Arn
	_, err = other.iam().PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("p"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
			{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{` + strings.Join(keys, ",") + `,"aws:UserAgent":"x"}}}]}`)})
	must(t, 0, err)
	var sessionTags []ststypes.Tag
	for i := range 20 {
		sessionTags = append(sessionTags, ststypes.Tag{Key: aws.String(fmt.Sprintf("%s%d", strings.Repeat("k", 60), i)),
			Value: aws.String(strings.Repeat("w", 200))})
	}
	session := strings.Repeat("s", 64)
	assumed, err := user.sts().AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: arn, RoleSessionName: &session, Tags: sessionTags[:8]})
	if err != nil { // the packed size of tags is limited
		assumed, err = user.sts().AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: arn, RoleSessionName: &session})
	}
	role := other.with(must(t, assumed, err).Credentials)

	for _, a := range []actor{user, role} {
		repo := a.docker(t, home+"/"+region+"/").Repo(long)
		for _, agent := range []string{"", strings.Repeat("\x80", 5000), strings.Repeat("\u202e", 1000)} {
			repo.Do(t, http.MethodPut, repo.Path("/manifests/"+strings.Repeat("t", 128)), []byte(strings.Repeat("m", 4000)),
				"User-Agent", agent, "Referer", agent, "Content-Type", ocitest.ImageType).Want(t, 403)
		}
		body := strings.Repeat("x", 6000)
		if _, err := a.ecr().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RegistryId: aws.String(home),
			RepositoryName: &long, PolicyText: &body}); err == nil {
			t.Error("a stranger set a repository policy")
		}
		if _, err := a.iam().PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String(strings.Repeat("n", 128)),
			PolicyDocument: aws.String(allow(`"*"`))}); err == nil {
			t.Error("a user without the right set its own policy")
		}
	}
	denials := 0
	for _, line := range lines(t, s) {
		if !strings.Contains(line, `"errorCode":"AccessDenied"`) {
			continue
		}
		denials++
		if len(line) >= 2048 {
			t.Errorf("the line of a denial has %d bytes: %s", len(line), line)
		}
		var e event
		must(t, 0, json.Unmarshal([]byte(line), &e))
		got := explained(t, s, e.RequestID)
		if got.Allowed || got.DecidedBy == "" || got.CurrentVerdict == "" || len(got.Layers) == 0 || len(got.Changes) == 0 {
			t.Errorf("%s: got %+v, want an explanation with changes", line, got)
		}
	}
	if denials < 16 {
		t.Errorf("got %d lines of denials, want one or two for each of 10 requests", denials)
	}
}

// The trail has a long parameter of a change, such as a manifest or a policy, by its length and digest, not as a whole.
func TestChangesHaveNoWholeManifestsAndPolicies(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	owner := root(s.Root(t), s)
	repo := s.Root(t).CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 1000)
	repo.PutBlob(t, im.Config)
	repo.PutBlob(t, im.Layers[0])
	manifest := []byte(strings.TrimSuffix(string(im.Manifest), "}") + `,"annotations":{"a":"` + strings.Repeat("m", 9000) + `END"}}`)
	repo.PutManifest(t, "1.0", ocitest.ImageType, manifest).Want(t, 201)
	text := `{"Version":"2012-10-17","Statement":[{"Sid":"` + strings.Repeat("S", 1500) +
		`END","Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`
	_, err := owner.ecr().SetRepositoryPolicy(t.Context(),
		&ecr.SetRepositoryPolicyInput{RepositoryName: aws.String("team/app"), PolicyText: &text})
	must(t, 0, err)
	found := 0
	for _, line := range lines(t, s) {
		for what, whole := range map[string]string{`"imageManifest":`: string(manifest), `"policyText":`: text} {
			if !strings.Contains(line, what) {
				continue
			}
			found++
			want := fmt.Sprintf("… (%d bytes, %s)", len(whole), ocitest.SHA256([]byte(whole)))
			if strings.Contains(line, "END") || !strings.Contains(line, want) || len(line) > 3000 {
				t.Errorf("the line has %d bytes: %s; want %q in place of the whole text", len(line), line, want)
			}
		}
	}
	if found != 2 {
		t.Errorf("got %d lines with a manifest or a policy, want 2", found)
	}
}

// An explanation is computed when it is asked for, with the policies of that time, and says so. What was decided, and by
// which statement, is that of the request.
func TestExplanationSaysThatPoliciesHaveChanged(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	owner := root(s.Root(t), s)
	s.Root(t).CreateRepository(t, "team/app")
	alice := owner.user(t, "alice", `["ecr:GetAuthorizationToken","ecr:BatchGetImage"]`)
	put := func(name, document string) {
		t.Helper()
		_, err := owner.iam().PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("alice"), PolicyName: &name,
			PolicyDocument: &document})
		must(t, 0, err)
	}
	put("never", `{"Version":"2012-10-17","Statement":[{"Sid":"NotOnFridays","Effect":"Deny","Action":"ecr:*","Resource":"*",
		"Condition":{"StringEquals":{"ecrin:ImageTag":"1.0"},"StringLike":{"aws:UserAgent":"bad*"}}}]}`)
	repo := alice.docker(t, "").Repo("team/app")
	id := repo.Do(t, http.MethodGet, repo.Path("/manifests/1.0"), nil, "User-Agent", "bad/1").Want(t, 403).Header.Get("X-Amzn-Requestid")

	e := explained(t, s, id)
	if e.Allowed || e.Verdict != "explicitDeny" || e.CurrentVerdict != "explicitDeny" || len(e.Statements) != 1 ||
		e.Statements[0].Sid != "NotOnFridays" || !strings.Contains(e.Note, "current policies, which decide this request as it was decided then") {
		t.Errorf("before a change: got %+v, want the same decision by NotOnFridays", e)
	}
	keys := map[string]string{}
	for _, k := range e.Context {
		keys[k.Key] = strings.Join(k.Values, ",")
	}
	if keys["ecrin:ImageTag"] != "1.0" || keys["aws:UserAgent"] != "bad/1" || keys["aws:SourceIp"] != "127.0.0.1" {
		t.Errorf("the condition keys are %v, want those of the request", keys)
	}
	put("never", allow(`"ecr:PutImage"`))
	e = explained(t, s, id)
	if e.Allowed || e.Verdict != "explicitDeny" || e.DecidedBy != "identity-based" || e.CurrentVerdict != "allowed" ||
		len(e.Statements) != 1 || !strings.Contains(e.Note, "have changed since then: the current ones allow") ||
		!strings.Contains(e.Text, "explicit deny") {
		t.Errorf("after the Deny was removed: got %+v, want the decision of then, and that it is allowed now", e)
	}
	put("may", allow(`"ecr:GetAuthorizationToken"`))
	e = explained(t, s, id)
	if e.CurrentVerdict != "implicitDeny" || !strings.Contains(e.Note, "now the identity-based policies deny this request") ||
		len(e.Changes) == 0 {
		t.Errorf("after the Allow was removed too: got %+v, want another denial with changes", e)
	}
	for _, name := range []string{"never", "may"} {
		_, err := owner.iam().DeleteUserPolicy(t.Context(),
			&iam.DeleteUserPolicyInput{UserName: aws.String("alice"), PolicyName: &name})
		must(t, 0, err)
	}
	_, err := owner.iam().DeleteAccessKey(t.Context(),
		&iam.DeleteAccessKeyInput{UserName: aws.String("alice"), AccessKeyId: &alice.key.AccessKeyID})
	must(t, 0, err)
	_, err = owner.iam().DeleteUser(t.Context(), &iam.DeleteUserInput{UserName: aws.String("alice")})
	must(t, 0, err)
	e = explained(t, s, id)
	if e.CurrentVerdict != "" || e.Verdict != "explicitDeny" || len(e.Statements) != 1 || !strings.Contains(e.Note, "cannot be asked") {
		t.Errorf("after the user was deleted: got %+v, want what the trail has", e)
	}
}

// Each of two accounts that an event concerns sees only the deciding statements of its own policies, and no condition keys.
func TestStatementsOfTheOtherAccountAreHidden(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	owner, other := root(s.Root(t), s), root(s.NewAccount(t, partner), s)
	s.Root(t).CreateRepository(t, "team/app")
	_, err := owner.ecr().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: aws.String("team/app"),
		PolicyText: aws.String(`{"Version":"2012-10-17","Statement":[{"Sid":"OwnersPlan","Effect":"Deny","Principal":"*",
			"Action":"ecr:BatchGetImage","Condition":{"StringLike":{"aws:UserAgent":"*"}}}]}`)})
	must(t, 0, err)
	bob := other.user(t, "bob", `"ecr:*"`)
	_, err = other.iam().PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: aws.String("bob"), PolicyName: aws.String("no"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Sid":"CallersPlan","Effect":"Deny","Action":"ecr:BatchGetImage","Resource":"*"}]}`)})
	must(t, 0, err)
	repo := bob.docker(t, home+"/"+region+"/").Repo("team/app")
	id := repo.Manifest(t, "1.0").Want(t, 403).Header.Get("X-Amzn-Requestid")
	if e := explained(t, s, id); len(e.Statements) != 2 {
		t.Errorf("the operator's explanation is %+v, want both statements", e)
	}
	for what, test := range map[string]struct {
		actor
		has, hasNot string
	}{"owner": {owner, "OwnersPlan", "CallersPlan"}, "caller": {other, "CallersPlan", "OwnersPlan"}} {
		var page ecrintypes.ListAuditEventsResponse
		var response ecrintypes.ExplainRequestResponse
		if a, b := test.own(t, "ListAuditEvents", `{"requestId":"`+id+`"}`, &page), test.own(t, "ExplainRequest",
			`{"requestId":"`+id+`"}`, &response); a != 200 || b != 200 || len(page.Events) != 1 {
			t.Fatalf("%s: got %d, %d and %d events", what, a, b, len(page.Events))
		}
		text, err := json.Marshal(response)
		for where, got := range map[string]string{"line": page.Events[0], "explanation": string(must(t, text, err))} {
			if !strings.Contains(got, test.has) || strings.Contains(got, test.hasNot) || strings.Contains(got, `"values":["Go-http`) {
				t.Errorf("the %s that the %s sees: got %s, want %s and neither %s nor condition keys", where, what, got, test.has, test.hasNot)
			}
		}
	}
}
