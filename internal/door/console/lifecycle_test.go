package console_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

const keepOne = `{"rules":[{"rulePriority":1,"description":"\"><script>alert(1)</script>","action":{"type":"expire"},
	"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1}}]}`

var seenOf = regexp.MustCompile(`name="seen" value="([0-9a-f]+)"`)

// A lifecycle policy is saved after the preview of this very text, against the policy that is in force; else the preview is shown.
func TestLifecycleIsPreviewed(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	for i, tag := range []string{"1", "2", "3"} {
		repo.Push(t, tag, ocitest.NewImage(uint64(i), 100))
	}
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app/-/lifecycle"
	has(t, v.page(at), "No lifecycle policy", "The newest 30 images stay", "0 images", "template=branches")
	has(t, v.page(at+"?template=newest"), "keep the newest 30 images", "A template: nothing is saved yet", "Nothing would go now", "<svg")
	page := v.post(at, "do", "preview", "text", keepOne).body
	has(t, page, "2 <small>of 3", "First to go", `class="lbad"`, "&lt;script&gt;alert(1)")
	if strings.Contains(page, "<script>alert") {
		t.Error("the description is markup")
	}
	g := v.post(at, "do", "preview", "text", "{")
	if has(t, g.body, "Error."); g.status != http.StatusBadRequest {
		t.Errorf("a text that is no policy: got %d", g.status)
	}
	has(t, v.post(at, "do", "preview", "text", "{\"rules\": [\n{\"rulePriority\": 0}]}"+strings.Repeat(" ", 100)).body, "Error.", `href="#L2"`)
	saved := func() string {
		out, err := root.ECR().GetLifecyclePolicy(t.Context(), &ecr.GetLifecyclePolicyInput{RepositoryName: aws.String("team/app")})
		if err != nil {
			return ""
		}
		return aws.ToString(out.LifecyclePolicyText)
	}
	g = v.post(at, "do", "save", "text", keepOne)
	if has(t, g.body, "Nothing was saved yet", "2 <small>of 3"); g.status != http.StatusConflict || saved() != "" {
		t.Errorf("saving without a preview: got %d, saved %q", g.status, saved())
	}
	proof := seenOf.FindStringSubmatch(g.body)[1]
	other := strings.Replace(keepOne, `"countNumber":1`, `"countNumber":2`, 1)
	if g = v.post(at, "do", "save", "text", other, "seen", proof); g.status != http.StatusConflict || saved() != "" {
		t.Errorf("saving another text than was seen: got %d, saved %q", g.status, saved())
	}
	if _, err := root.ECR().PutLifecyclePolicy(t.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: aws.String("team/app"),
		LifecyclePolicyText: &other}); err != nil {
		t.Fatal(err)
	}
	if g = v.post(at, "do", "save", "text", keepOne, "seen", proof); g.status != http.StatusConflict || saved() != other {
		t.Errorf("saving over a policy that was set since: got %d, saved %q", g.status, saved())
	}
	proof = seenOf.FindStringSubmatch(g.body)[1]
	if g = v.post(at, "do", "save", "text", keepOne, "seen", proof); g.status != http.StatusSeeOther || saved() != keepOne {
		t.Errorf("saving what was seen: got %d, saved %q", g.status, saved())
	}
	has(t, v.page(at), "The lifecycle policy was saved.", "What would go", "Delete policy")
	if g = v.post(at, "do", "delete", "was", v.hidden(at, "was"), "text", ""); g.status != http.StatusSeeOther || saved() != "" {
		t.Errorf("deleting: got %d, saved %q", g.status, saved())
	}
	if g = v.send(http.MethodPost, at, map[string][]string{"do": {"delete"}}); g.status != http.StatusForbidden {
		t.Errorf("without the token of a form: got %d", g.status)
	}
	if g = v.post(at, "do", "else"); g.status != http.StatusBadRequest {
		t.Errorf("an unknown action: got %d", g.status)
	}
}

// What is held although a rule is due is named, and who may not preview can still save.
func TestLifecycleOfHalfPermitted(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	for i := range 3 {
		repo.Push(t, fmt.Sprint(i), ocitest.NewImage(uint64(i), 100))
	}
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app"
	if g := v.post(at, "do", "pin", "pick", "0"); g.status != http.StatusSeeOther {
		t.Fatalf("pinning: got %d", g.status)
	}
	has(t, v.post(at+"/-/lifecycle", "do", "preview", "text", keepOne).body, "1 image stays although a rule is due", "it is pinned",
		`class="lok"`)
	user := limited(t, s, root, "half", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["ecr:PutLifecyclePolicy",
		"ecr:GetLifecyclePolicy","ecr:DescribeRepositories"],"Resource":"*"}}`)
	h := visit(t, s).in(user)
	has(t, h.page(at+"/-/lifecycle"), "why-ecr", "No lifecycle policy", "open to preview")
	if g := h.post(at+"/-/lifecycle", "do", "save", "was", h.hidden(at+"/-/lifecycle", "was"), "text",
		keepOne); g.status != http.StatusSeeOther {
		t.Errorf("saving without the right to preview: got %d\n%s", g.status, g.body)
	}
	reader := limited(t, s, root, "reader",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["ecr:DescribeRepositories"],"Resource":"*"}}`)
	has(t, visit(t, s).in(reader).page(at+"/-/lifecycle"), "You may not see or do this", "ecr:GetLifecyclePolicy")
}
