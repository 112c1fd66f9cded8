package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

const ownHost = "000000000000.dkr.ecr.us-east-1.amazonaws.com/"

// reported reports an image of the server with variables given as names and values in turn.
func reported(t *testing.T, s *apptest.Server, image string, pairs ...string) {
	t.Helper()
	q := url.Values{"CF_IMAGE": {image}}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	s.Operator(t, "ReportImage", ecrintypes.ReportImageRequest{ReportVariables: q.Encode()}, &ecrintypes.ReportImageResponse{})
}

func runsIn(t *testing.T, s *apptest.Server, app, namespace string, images ...string) {
	t.Helper()
	s.Operator(t, "ReportDeployments", ecrintypes.ReportDeploymentsRequest{ApplicationName: app, Namespace: namespace, Images: images},
		&ecrintypes.DeploymentsResponse{})
}

// The page of an image says what runs it, one page of them; another image of the repository is not run by it.
func TestImageSaysWhatRunsIt(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	app := root.CreateRepository(t, "team/app")
	app.Push(t, "1.0", ocitest.NewImage(1, 3000))
	app.Push(t, "1.1", ocitest.NewImage(2, 4000))
	at := base + "/repositories/team/app/-/tags/"
	has(t, v.page(at+"1.0"), "Nothing that was reported runs it")
	reported(t, s, ownHost+"team/app:1.0")
	for i := range 21 {
		runsIn(t, s, fmt.Sprintf("app%02d", i), "prod", ownHost+"team/app:1.0")
	}
	page := v.page(at + "1.0")
	has(t, page, "<bdi>prod/app00</bdi>", "<bdi>prod/app19</bdi>", "ecrin image uses", "No lifecycle policy acts on it")
	if strings.Contains(page, "prod/app20") {
		t.Error("the page has more than twenty")
	}
	has(t, v.page(at+"1.1"), "Nothing that was reported runs it")
	key, secret := newUser(t, s, root, "reader", "ecr:*", "ecrin:ReadImage")
	half := visit(t, s)
	half.signIn(key, secret)
	has(t, half.page(at+"1.0"), "ecrin:ListImageUses")
}

// The three levels of what runs where: the matrix with its marks and filters, the images of a repository, and all of one image.
func TestWhatRunsWhere(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	has(t, v.page(base+"/images"), "Nothing is reported yet", "Connect a cluster")
	app, web := root.CreateRepository(t, "team/app"), root.CreateRepository(t, "team/web")
	app.Push(t, "1.0", ocitest.NewImage(1, 3000, 500))
	app.Push(t, "1.1", ocitest.NewImage(2, 4000))
	web.Push(t, "2.0", ocitest.NewImage(3, 100))
	root.CreateRepository(t, "team/old").Push(t, "9", ocitest.NewImage(4, 100))
	reported(t, s, ownHost+"team/app:1.0", "CF_WORKFLOW_NAME", evil, "CF_WORKFLOW_URL", "javascript:alert(1)", "CF_LOGS_URL",
		"https://ci.example.com/1", "CF_CI_TYPE", evil)
	reported(t, s, ownHost+"team/app:1.1")
	reported(t, s, ownHost+"team/web:2.0")
	runsIn(t, s, "shop", "prod", ownHost+"team/app:1.0")
	runsIn(t, s, "shop", "stage", ownHost+"team/app:1.1")
	runsIn(t, s, "legacy", "", ownHost+"team/old:9") // it was never reported

	page := v.page(base + "/images")
	has(t, page, "What runs where", ">prod<", ">stage<", ">legacy<", "team/</span>app", "team/</span>web", "not the newest", "not reported",
		"3 repositories, by name")
	if n := strings.Count(page, "not the newest<"); n != 1 {
		t.Errorf("marks of images that are not the newest: got %d, want 1", n)
	}
	clean(t, "the matrix", page)
	for query, want := range map[string][2]string{
		"?deployed=yes":            {"team/</span>app", "team/</span>web"},
		"?deployed=no":             {"team/</span>web", "team/</span>old"},
		"?app=legacy":              {"team/</span>old", "team/</span>app"},
		"?q=eam/w":                 {"team/</span>web", "team/</span>app"},
		"?q=9":                     {"team/</span>old", "team/</span>web"},
		"?type=ECR&q=team/app":     {"team/</span>app", "team/</span>old"},
		"?env=stage":               {">stage<", ">prod<"},
		"?sort=updated&q=team/web": {"last update first", "by name,"},
	} {
		page := v.page(base + "/images" + query)
		if !strings.Contains(page, want[0]) || strings.Contains(page, want[1]) {
			t.Errorf("%s: the page lacks %q or has %q:\n%s", query, want[0], want[1], page)
		}
	}
	has(t, v.page(base+"/images?q="+url.QueryEscape(evil)), "Nothing matches", "remove filter")
	clean(t, "the filter", v.page(base+"/images?q="+url.QueryEscape(evil)+"&env="+url.QueryEscape(evil)))

	at := base + "/images/" + ownHost + "team/app"
	page = v.page(at)
	has(t, page, ">1.0<", ">1.1<", "linux/amd64", "More details", "2 images, last update first")
	page = v.page(at + "?deployed=yes&tag=1.0")
	if strings.Contains(page, ">1.1<") {
		t.Error("the filter by tag does nothing")
	}
	report := at + "/-/report?image=" + url.QueryEscape(ownHost+"team/app:1.0")
	page = v.page(report)
	has(t, page, ownHost+"team/app:1.0", "prod", "https://ci.example.com/1", "&lt;script&gt;", "None.")
	clean(t, "the report", page)
	if strings.Contains(page, `href="javascript:`) {
		t.Error("the page leads to a script")
	}
	has(t, v.page(report+"&show=layers"), "together, compressed.")
	if g := v.get(at + "/-/report?image=" + url.QueryEscape(ownHost+"team/app:none")); g.status != http.StatusNotFound {
		t.Errorf("an image that was not reported: got %d", g.status)
	}
}

// Lists of repositories go on after 50 rows, and environments after eight are links.
func TestWhatRunsWhereIsLong(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	image := ocitest.NewImage(1, 100)
	var names []string
	for i := range 52 {
		repo := fmt.Sprintf("r/%02d", i)
		root.CreateRepository(t, repo).Push(t, "1", image)
		names = append(names, ownHost+repo+":1")
	}
	runsIn(t, s, "all", "env0", names...)
	for i := range 9 {
		runsIn(t, s, "some", fmt.Sprintf("env%d", i+1), names[0])
	}
	v := visit(t, s).in(root)
	page := v.page(base + "/images")
	has(t, page, "50 repositories", "more follow", ">env7<", "2 more below", "env=env9")
	next := strings.ReplaceAll(between(t, page, `class="btn small" href="`, `">Next`), "&amp;", "&")
	has(t, v.page(next), "2 repositories", `r/</span>51`)
	has(t, v.page(base+"/images?env=env9"), ">env9<")
}

// A person who may list images only sees the reason in the place of the matrix.
func TestWhatRunsWhereDenied(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	key, secret := newUser(t, s, s.Root(t), "half", "ecrin:ListImageReports")
	v := visit(t, s)
	if g := v.signIn(key, secret); g.status != http.StatusSeeOther {
		t.Fatalf("signing in: got %d", g.status)
	}
	g := v.get(base + "/images")
	if g.status != http.StatusForbidden {
		t.Errorf("got %d", g.status)
	}
	has(t, g.body, "ecrin:ListReportedRepositories")
	has(t, v.page(base+"/images/"+ownHost+"team/app"), "Nothing is reported of this repository")
}

// An external registry is added, opened to one application, tested, opened to all and closed; its pull log says who pulled what.
func TestExternalRegistries(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	for _, app := range []string{"Shop", "Other"} {
		s.Operator(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: app}, &struct{}{})
	}
	v := visit(t, s).in(root)
	at := base + "/external-registries"
	has(t, v.page(at), "No external registries yet", "Add External Registry")
	has(t, v.page(base+"/add-external-registry"), "Endpoint", "Username", "Password", "App Access", "shop", "other")
	const secret = "very-secret-word"
	g := v.post(at, "provider", "ecr", "endpoint", "https://registry.example.com/a", "username", "AKIAIOSFODNN7EXAMPLE", "password", secret)
	has(t, g.body, "without https:// and without a path")
	g = v.post(at, "provider", "other", "endpoint", evil, "username", evil, "password", secret)
	if g.status != http.StatusBadRequest || strings.Contains(g.body, secret) {
		t.Errorf("a wrong endpoint: got %d", g.status)
	}
	clean(t, "the form", g.body)
	g = v.post(at, "provider", "other", "endpoint", "registry.example.invalid", "username", evil, "password", secret, "apps", "some", "app",
		"shop")
	if g.status != http.StatusSeeOther || g.location != at+"/registry.example.invalid" {
		t.Fatalf("adding: got %d to %q\n%s", g.status, g.location, g.body)
	}
	one := g.location
	page := v.page(one)
	has(t, page, "Close to shop", "/proxy/shop/registry.example.invalid/NAME:TAG", "Nobody has pulled images of this registry")
	clean(t, "the registry", page)
	if strings.Contains(page, secret) {
		t.Error("the page has the password")
	}
	has(t, page, "Registry, other")
	has(t, v.page(at), "Registry, other")
	has(t, v.page(base+"/integrations"), "Registry, other")
	port, portPage := v.made(at, "provider", "ghcr", "name", "local", "endpoint", "127.0.0.1:17399", "apps", "some", "app", "shop")
	if has(t, portPage, "/proxy/shop/local/NAME:TAG", "GitHub Container Registry"); strings.Contains(portPage, "shop/127.0.0.1") {
		t.Error("a path of an image has a port")
	}
	if g := v.post(port, "do", "close", "app", "shop"); g.status != http.StatusSeeOther {
		t.Errorf("closing: got %d", g.status)
	}
	has(t, v.post(one, "do", "test", "image", "a/b:1").body, "Log in to the registry", "Fails at step 1")
	if g := v.post(one, "do", "open", "app", ""); g.status != http.StatusSeeOther {
		t.Errorf("opening: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(at), "all applications", "registry.example.invalid", "fails")
	for _, slug := range []string{"", "shop"} {
		if g := v.post(one, "do", "close", "app", slug); g.status != http.StatusSeeOther {
			t.Errorf("closing to %q: got %d\n%s", slug, g.status, g.body)
		}
	}
	has(t, v.page(one), "It is open to no application.")
	has(t, v.page(at), "No external registries yet")
	g = v.post(at, "provider", "other", "endpoint", "two.example.invalid", "apps", "some", "app", "none")
	has(t, g.body, "The registry was added, but not opened to the applications")
	if g := v.get(one + "x"); g.status != http.StatusNotFound {
		t.Errorf("an unknown registry: got %d", g.status)
	}
}

// An environment of Rancher has hosts, and registries whose passwords have an age.
func TestRancherPages(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	v := visit(t, s).in(s.Root(t))
	at := base + "/rancher"
	has(t, v.page(at), "No environments yet")
	if g := v.post(at, "name", evil); g.status != http.StatusBadRequest {
		t.Errorf("a wrong name: got %d", g.status)
	} else {
		clean(t, "the form", g.body)
	}
	if g := v.post(at, "name", "staging", "hosts", "node1\r\nnode2\r\n"); g.status != http.StatusSeeOther || g.location != at+"/staging" {
		t.Fatalf("adding: got %d\n%s", g.status, g.body)
	}
	if g := v.post(at, "name", "staging"); g.status != http.StatusConflict {
		t.Errorf("adding it again, which would take its hosts away: got %d", g.status)
	}
	one := at + "/staging"
	has(t, v.page(one), "2 hosts", "CATTLE_URL", "/v1/projects/staging", "No registries yet", "ecrin rancher dockerconfig staging node1")
	has(t, v.page(one+"/add-registry"), "Address", "Email", "Username", "Password", "Custom")
	const secret = "very-secret-word"
	g := v.post(one, "do", "add", "address", "registry.example.com:5000", "email", "none", "username", "", "password", secret)
	if g.status == http.StatusSeeOther || strings.Contains(g.body, secret) {
		t.Errorf("without a user: got %d", g.status)
	}
	g = v.post(one, "do", "add", "address", "registry.example.com:5000", "email", evil, "username", evil, "password", secret)
	if g.status != http.StatusSeeOther {
		t.Fatalf("adding after that: got %d\n%s", g.status, g.body)
	}
	page := v.page(one)
	has(t, page, "registry.example.com:5000", "set ")
	clean(t, "the environment", page)
	if strings.Contains(page, secret) {
		t.Error("the page has the password")
	}
	has(t, v.page(at), "staging")
	id := between(t, page, `name="id" value="`, `"`)
	if g := v.post(one, "do", "remove-registry", "id", id); g.status != http.StatusSeeOther {
		t.Errorf("removing the registry: got %d\n%s", g.status, g.body)
	}
	if g := v.post(one, "do", "save", "seen", v.hidden(one, "seen"), "hosts", "node3"); g.status != http.StatusSeeOther {
		t.Errorf("saving: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(one), "1 host", "node3")
	if g := v.post(one, "do", "remove", "word", "DELETE"); g.status != http.StatusSeeOther || g.location != at {
		t.Errorf("removing: got %d\n%s", g.status, g.body)
	}
}
