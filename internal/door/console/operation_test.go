package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// limited creates a user of the account with one policy, and returns it with an access key.
func limited(t *testing.T, s *apptest.Server, root apptest.Account, name, policy string) apptest.Account {
	t.Helper()
	api := iam.New(iam.Options{Region: root.Region, BaseEndpoint: aws.String(s.URL), HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")})
	if _, err := api.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: &name,
		PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	out, err := api.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		t.Fatal(err)
	}
	user := root
	user.KeyID, user.Secret = aws.ToString(out.AccessKey.AccessKeyId), aws.ToString(out.AccessKey.SecretAccessKey)
	return user
}

// The first sign-in leads to the page that tells how to push, until something was pushed; the page sees what has been done.
func TestWelcome(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	if g := v.get("/console/"); g.location != "/console/welcome" {
		t.Fatalf("an empty registry: got %d to %q", g.status, g.location)
	}
	host := strings.TrimPrefix(s.URL, "http://")
	has(t, v.page("/console/welcome"), "Your registry is running", "aws ecr create-repository --repository-name team/app",
		"docker push "+host+"/team/app:1.0", "ctr image push --plain-http", "ecrin cluster connect", "Waiting for the first push",
		"part=waiting", "Show what the server finds")
	part := func(query string) got {
		return v.send(http.MethodGet, "/console/welcome?"+query, nil, "HX-Request", "true")
	}
	if g := part("part=waiting&done=0&n=6"); g.header.Get("HX-Refresh")+g.header.Get("HX-Redirect") != "" ||
		!strings.Contains(g.body, "delay:20s") || strings.Contains(g.body, "<html") {
		t.Errorf("nothing has changed: got %v\n%s", g.header, g.body)
	}
	repo := root.CreateRepository(t, "shop/web")
	if g := part("part=waiting&done=0"); g.header.Get("HX-Redirect") != "/console/" {
		t.Errorf("a repository was created: got %v", g.header)
	}
	has(t, v.page("/console/welcome"), "docker push "+host+"/shop/web:1.0")
	repo.Push(t, "1.0", ocitest.NewImage(1, 100))
	if g := part("part=waiting&done=1"); g.header.Get("HX-Redirect") != base+"/repositories" {
		t.Errorf("an image was pushed: got %v", g.header)
	}
	if g := v.get("/console/"); g.location != base+"/repositories" {
		t.Errorf("after the push: got %q", g.location)
	}
	page := v.page("/console/welcome")
	if has(t, page, "Get started"); strings.Contains(page, "Waiting for") || strings.Count(page, `<li class="done">`) != 4 {
		t.Errorf("after the push the page has other steps:\n%s", page)
	}
}

// The checks of the server's machine are for those who may see them.
func TestWelcomeDoctor(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	has(t, v.page("/console/welcome?doctor=1"), "data folder", "key files", "ECR names under", "Run again")
	g := v.send(http.MethodGet, "/console/welcome?part=doctor", nil, "HX-Request", "true")
	if has(t, g.body, "data folder"); strings.Contains(g.body, "<html") {
		t.Error("the part is a page")
	}
	if g := v.post("/console/welcome", "do", "doctor"); g.status != http.StatusSeeOther {
		t.Errorf("running again: got %d", g.status)
	}
	if g := v.send(http.MethodPost, "/console/welcome", map[string][]string{"do": {"doctor"}}); g.status != http.StatusForbidden {
		t.Errorf("without the token of a form: got %d", g.status)
	}
	other := visit(t, s).in(s.NewAccount(t, "111122223333"))
	if page := other.page("/console/welcome?doctor=1"); strings.Contains(page, "data folder") || !strings.Contains(page,
		"ecrin:DiagnoseServer") {
		t.Errorf("another account sees the machine of the server:\n%s", page)
	}
}

// Commands are those of the client that was chosen last, with the login that each takes.
func TestClientCommands(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	host := strings.TrimPrefix(s.URL, "http://")
	repo := root.CreateRepository(t, "charts/web")
	v := visit(t, s).in(root)
	has(t, v.page(base+"/repositories/charts/web"), "No tags yet", "helm push --plain-http web-0.1.0.tgz oci://"+host+"/charts",
		"skopeo copy --all --dest-tls-verify=false docker://IMAGE docker://"+host+"/charts/web:1.0",
		"crane auth login -u AWS --password-stdin "+host, "podman login -u AWS --password-stdin --tls-verify=false "+host,
		`value="docker" data-client checked`)
	repo.Push(t, "1.0", ocitest.NewImage(1, 100))
	for cookie, chosen := range map[string]string{"crane": "crane", "kubernetes": "docker", `"><script>`: "docker"} {
		page := v.send(http.MethodGet, base+"/repositories/charts/web", nil, "Cookie", "ecrin-client="+cookie).body
		if strings.Count(page, `value="`+chosen+`" data-client checked`) != 2 || !strings.Contains(page, "View push commands") {
			t.Errorf("cookie %s: the page has not chosen %s:\n%s", cookie, chosen, page)
		}
	}
}

// Two images are compared by layers and config, two indexes by a platform that both have.
func TestCompare(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "1.0", ocitest.NewImage(1, 3000, 500))
	repo.Push(t, "1.1", ocitest.NewImage(2, 3000, 700))
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app/-/tags/1.1"
	has(t, v.page(at), `name="with"`, "Compare")
	has(t, v.page(at+"?with=1.0"), "what differs?", "To pull, with the old one there", "new", "gone", "Only in 1.0")
	has(t, v.page(at+"?with=1.1"), "All layers are the same.", "The same.")
	for _, wrong := range []string{"none", "sha256:" + strings.Repeat("0", 64), `"><script>alert(1)</script>`} {
		g := v.get(at + "?with=" + url.QueryEscape(wrong))
		if g.status != http.StatusNotFound && g.status != http.StatusBadRequest || strings.Contains(g.body, "<script>alert") {
			t.Errorf("compared with %s: got %d\n%s", wrong, g.status, g.body)
		}
	}
}

// Usage is shown for those who may see it, as pictures and as lines that no spreadsheet takes for formulas.
func TestUsagePage(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "1.0", ocitest.NewImage(1, 3000, 500))
	v := visit(t, s).in(root)
	for _, days := range []string{"", "?days=1", "?days=90", "?days=x"} {
		has(t, v.page(base+"/usage"+days), "Pulls by ", "Bytes stored by", "Largest repositories", "by what only they hold", "team/app",
			"Download CSV", "<svg")
	}
	g := v.get(base + "/usage?csv=1")
	if g.header.Get("Content-Type") != "text/csv; charset=utf-8" || !strings.HasPrefix(g.body, "time,repository,pulls") {
		t.Errorf("got %v\n%s", g.header, g.body)
	}
	page := visit(t, s).in(s.NewAccount(t, "111122223333")).page(base + "/usage")
	if strings.Contains(page, "team/app") || !strings.Contains(page, "ecrin:GetUsageHistory") {
		t.Errorf("another account sees the usage:\n%s", page)
	}
	if g := visit(t, s).in(s.Existing(t, "111122223333")).get(base + "/usage?csv=1"); g.status != http.StatusForbidden {
		t.Errorf("another account gets the lines: got %d", g.status)
	}
}

// Jobs are listed and shown to their account, and a list with work that is not done looks again, less and less often.
func TestJobsPage(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 100))
	v := visit(t, s).in(root)
	has(t, v.page(base+"/jobs"), "No jobs")
	keep := keepOne
	if _, err := root.ECR().PutLifecyclePolicy(t.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: aws.String("team/app"),
		LifecyclePolicyText: &keep}); err != nil {
		t.Fatal(err)
	}
	page := v.page(base + "/jobs")
	has(t, page, "Lifecycle", "team/app", "newest first")
	m := regexp.MustCompile(`/jobs/([0-9]+)"`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("the list has no job:\n%s", page)
	}
	has(t, v.page(base+"/jobs/"+m[1]), "Lifecycle", m[1], "ecrin job show")
	has(t, v.page(base+"/jobs?state=failed"), "No jobs")
	if g := v.send(http.MethodPost, base+"/jobs/"+m[1], map[string][]string{"do": {"cancel"}}); g.status != http.StatusForbidden {
		t.Errorf("without the token of a form: got %d", g.status)
	}
	if g := v.post(base+"/jobs/"+m[1], "do", "else"); g.status != http.StatusBadRequest {
		t.Errorf("an unknown action: got %d", g.status)
	}
	other := visit(t, s).in(s.NewAccount(t, "111122223333"))
	if g := other.get(base + "/jobs/" + m[1]); g.status != http.StatusForbidden && g.status != http.StatusNotFound &&
		g.status != http.StatusBadRequest {
		t.Errorf("another account sees the job: got %d", g.status)
	}
	if page := other.page(base + "/jobs"); !strings.Contains(page, "ecrin:ListJobs") {
		t.Errorf("another account sees the jobs:\n%s", page)
	}
}
