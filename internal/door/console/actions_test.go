package console_test

import (
	"net/http"
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
	has(t, v.page(linkOf(t, page, "everything")), "ecr:PutImage", "ecr:StopReplicationBackfill")
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
