package console_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// Each action of a statement leads to a page that says what it allows, and each action of ECR has one.
func TestPagesOfActions(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app")
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app/-/permissions"
	if _, err := root.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: aws.String("team/app"),
		PolicyText: aws.String(`{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow","Principal":{"AWS":"000000000000"},
		"Action":["` + strings.Join(policy.PullActions(), `","`) + `","ecr:putimage","ecr:Describe*"]},
		{"Sid":"B","Effect":"Allow","Principal":"*","Action":"ecr:*"}]}`)}); err != nil {
		t.Fatal(err)
	}
	page := v.page(at)
	has(t, v.page(linkOf(t, page, "pull")), "ecr:BatchGetImage", "ecr:GetAuthorizationToken", ">8 actions<")
	has(t, v.page(linkOf(t, page, "ecr:Describe*")), "ecr:DescribeImages", "ecr:DescribeRegistry")
	has(t, v.page(linkOf(t, page, "every action of ECR")), "ecr:PutImage", "ecr:StopReplicationBackfill")
	put := v.page(linkOf(t, page, "ecr:putimage"))
	has(t, put, "<code>ecr:PutImage</code>", "Store the manifest of an image", "a part of <a href=\"/console/actions?of=push\">push",
		"repository/NAME",
		"ecrin explain --as ARN --action ecr:PutImage --on NAME")
	has(t, v.page(linkOf(t, put, "Simulate it")), `value="ecr:PutImage"`)
	all := v.page("/console/actions")
	for _, m := range strings.Split(all, `<a href="/console/actions/`)[1:] {
		name, _, _ := strings.Cut(m, `"`)
		has(t, v.page("/console/actions/"+name), "What it allows", "A statement that allows it")
	}
	if n := strings.Count(all, `<a href="/console/actions/`); n < 60 {
		t.Errorf("the list has %d actions", n)
	}
	has(t, v.page("/console/actions?q=layer&of=push"), "ecr:UploadLayerPart", "Filter")
	has(t, v.page("/console/actions?q="+canary), "Nothing matches")
	for _, none := range []string{"ecr:None", "iam:GetUser", "x"} {
		if g := v.get("/console/actions/" + none); g.status != http.StatusNotFound {
			t.Errorf("%s: got %d", none, g.status)
		}
	}
}

// The words of a statement say what it is about, no more and no less.
func TestWordsOfStatements(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	both := append(policy.PullActions(), policy.PushActions()...)
	newRole(t, s, root, "r")
	v := visit(t, s).in(root)
	read := func(statement string) string {
		t.Helper()
		g := v.post("/console/000000000000/access/roles/r/create-policy", "do", "check", "name", "p", "text",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*",`+statement+`}]}`)
		page := regexp.MustCompile("<[^>]*>").ReplaceAllString(g.body, "")
		_, said, _ := strings.Cut(page, "Allows")
		said, _, _ = strings.Cut(said, " on ")
		return strings.TrimSpace(said)
	}
	for statement, want := range map[string]string{
		`"Action":"*"`:     "everything",
		`"Action":"ecr:*"`: "every action of ECR",
		`"Action":"iam:*"`: "every action of IAM",
		`"Action":["` + strings.Join(both, `","`) + `"]`: "pull, push",
		`"NotAction":"ecr:Get*"`:                         "everything but ecr:Get*",
		`"NotAction":["ecr:Get*","ecr:*"]`:               "everything but ecr:Get*, every action of ECR",
	} {
		if got := read(statement); got != want {
			t.Errorf("%s reads %q, want %q", statement, got, want)
		}
	}
}
