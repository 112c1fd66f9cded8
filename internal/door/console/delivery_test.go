package console_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// evil is what others write into every field that takes it: without blanks, since some refuse those.
const evil = `"><script>alert(1)</script>`

// clean fails the test if a page has markup of others.
func clean(t *testing.T, what, page string) {
	t.Helper()
	if strings.Contains(page, "<script>alert") {
		t.Errorf("%s: the page has markup of others:\n%s", what, page)
	}
}

// A cluster is added, shown with its AWS IAM ID, its principal and the policy that lets it pull, changed and removed.
func TestClusters(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	v := visit(t, s).in(s.Root(t))
	has(t, v.page(base+"/account-settings"), "Account Settings", base+"/clusters", base+"/integrations")
	at := base + "/clusters"
	has(t, v.page(at), "No clusters yet", "Add cluster", "ecrin cluster connect")
	const arn = "arn:aws:iam::111122223333:role/" + evil
	if g := v.post(at, "name", "west/staging", "region", "nowhere", "principal", arn); g.status != http.StatusBadRequest {
		t.Errorf("a wrong region: got %d", g.status)
	} else {
		has(t, g.body, "This was not accepted", "west/staging")
		clean(t, "the form", g.body)
	}
	if g := v.post(at, "name", "west/staging", "region", "eu-west-2", "principal", arn); g.status != http.StatusSeeOther ||
		g.location != at+"/west/staging" {
		t.Fatalf("adding: got %d to %q\n%s", g.status, g.location, g.body)
	}
	page := v.page(at + "/west/staging")
	has(t, page, "The cluster was added.", "111122223333", "No policy can name this principal.", "ecrin credential status")
	clean(t, "the cluster", page)
	page = v.page(at)
	has(t, page, "west/staging", "111122223333", "eu-west-2")
	clean(t, "the list", page)
	if g := v.post(at, "name", "west/staging", "region", "eu-west-1", "principal", "111122223333"); g.status != http.StatusConflict ||
		!strings.Contains(g.body, "there is a cluster of this name already") {
		t.Errorf("adding it again: got %d", g.status)
	}
	if g := v.post(at+"/west/staging", "do", "save", "seen", v.hidden(at+"/west/staging", "seen"), "region", "eu-west-3", "principal",
		"111122223333"); g.status != http.StatusSeeOther {
		t.Errorf("saving: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(at+"/west/staging"), "eu-west-3", "arn:aws:iam::111122223333:root", "AllowReleasePull", "ecr:GetAuthorizationToken")
	if g := v.post(at+"/west/staging", "do", "remove"); g.status != http.StatusSeeOther {
		t.Errorf("removing: got %d\n%s", g.status, g.body)
	}
	if g := v.get(at + "/west/staging"); g.status != http.StatusNotFound {
		t.Errorf("after the removal: got %d", g.status)
	}
}

// A cluster is seen when its role is used; the list goes on after 50 rows.
func TestClustersSeenAndPages(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	put := func(name, principal string) {
		t.Helper()
		s.Operator(t, "PutCluster", ecrintypes.PutClusterRequest{AccountId: root.ID, ClusterName: name, Region: "us-east-1",
			Principal: principal}, &ecrintypes.ClusterResponse{})
	}
	role := newRole(t, s, root, "nodes")
	put("a", role)
	v := visit(t, s).in(root)
	has(t, v.page(base+"/clusters/a"), "never: its role was not used yet")
	use(t, s, root, role)
	s.Restart(t) // uses are stored from time to time, and at the end
	has(t, v.page(base+"/clusters/a"), "when its role was last used")
	put("b", "111122223333")
	has(t, v.page(base+"/clusters/b"), "not known")
	for i := range 51 {
		put(fmt.Sprintf("c%02d", i), "111122223333")
	}
	page := v.page(base + "/clusters")
	has(t, page, "50 clusters of 53, by name", "after=c47")
	if strings.Contains(page, ">c48<") {
		t.Error("the first page has more than 50 clusters")
	}
	page = v.page(base + "/clusters?after=c47")
	has(t, page, ">c48<", ">c50<", "3 clusters of 53")
}

// Integrations are set up, tested, changed and removed. Secrets are shown on no page.
func TestIntegrations(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	v := visit(t, s).in(s.Root(t))
	at := base + "/integrations"
	has(t, v.page(at), "No integrations yet", "AWS ECR private registry", "Docker registry", "Jira")
	for _, kind := range []string{"aws", "ecr", "ecrin", "registry", "git", "issues"} {
		has(t, v.page(base+"/set-up/"+kind), "Integration name", `value="`+kind+`"`)
	}
	if g := v.get(base + "/set-up/none"); g.status != http.StatusNotFound {
		t.Errorf("an unknown kind: got %d", g.status)
	}
	const secret = "very-secret-word"
	for _, wrong := range []string{"https://123456789012.dkr.ecr.us-east-1.amazonaws.com", "123456789012.dkr.ecr.us-east-1.amazonaws.com/app",
		"4999999999999.dkr.ecr.us-east-1.amazonaws.com", evil} {
		g := v.post(at, "kind", "ecr", "name", "prod", "host", wrong, "keyId", "AKIAIOSFODNN7EXAMPLE", "secret", secret)
		if g.status != http.StatusBadRequest {
			t.Errorf("the host %s: got %d", wrong, g.status)
		}
		has(t, g.body, "without https:// and without a path", "AKIAIOSFODNN7EXAMPLE")
		clean(t, "the form", g.body)
		if strings.Contains(g.body, secret) {
			t.Error("the form has the secret")
		}
	}
	const host = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
	if g := v.post(at, "kind", "aws", "name", "cloud", "region", "us-east-1", "keyId", "AKIAIOSFODNN7EXAMPLE", "secret", secret, "role",
		"arn:aws:iam::123456789012:role/"+evil, "externalId", "5d2f"); g.status != http.StatusSeeOther {
		t.Fatalf("a cloud integration: got %d\n%s", g.status, g.body)
	}
	if g := v.post(at, "kind", "ecr", "name", "prod", "host", host, "cloud", "cloud"); g.status != http.StatusSeeOther {
		t.Fatalf("by the cloud integration: got %d\n%s", g.status, g.body)
	}
	if g := v.post(at, "kind", "registry", "name", "hub", "host", "registry.example.invalid", "username", evil, "password",
		secret); g.status !=
		http.StatusSeeOther {
		t.Fatalf("a registry: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(at), host, "cloud integration cloud", "not tested", "AKIA…MPLE", "set ")
	for _, page := range []string{at, at + "/prod", at + "/hub", base + "/cloud-integrations/cloud"} {
		body := v.page(page)
		clean(t, page, body)
		if strings.Contains(body, secret) {
			t.Errorf("%s shows the secret", page)
		}
	}
	g := v.post(at+"/hub", "do", "test")
	has(t, g.body, "Log in to the registry", "What to do:", "Fails at step 1")
	has(t, v.page(at+"/hub"), "GET /v2/")
	has(t, v.page(at), "fails")
	if g := v.post(at+"/hub", "do", "save", "seen", "2026-01-01T00:00:00Z", "username", "ci", "password", "other"); g.status !=
		http.StatusConflict {
		t.Errorf("a page from before a change: got %d\n%s", g.status, g.body)
	}
	seen := between(t, v.page(at+"/hub"), `name="seen" value="`, `"`)
	if g := v.post(at+"/hub", "do", "save", "seen", seen, "host", "registry.example.invalid", "username", "ci", "password",
		"other"); g.status !=
		http.StatusSeeOther {
		t.Errorf("saving: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(at+"/hub"), "user ci")
	if g := v.post(at+"/hub", "do", "remove", "word", "delete"); g.status != http.StatusBadRequest {
		t.Errorf("a wrong word: got %d", g.status)
	}
	if g := v.post(base+"/cloud-integrations/cloud", "do", "remove", "word", "DELETE"); g.status == http.StatusSeeOther {
		t.Error("a cloud integration that is used was removed")
	} else {
		has(t, g.body, "Nothing was changed.")
	}
	for _, page := range []string{at + "/hub", at + "/prod", base + "/cloud-integrations/cloud"} {
		if g := v.post(page, "do", "remove", "word", "DELETE"); g.status != http.StatusSeeOther || g.location != at {
			t.Errorf("removing %s: got %d\n%s", page, g.status, g.body)
		}
	}
	has(t, v.page(at), "No integrations yet")
}

// The scope of an integration names runtimes, which are kept while it does.
func TestRuntimes(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	v := visit(t, s).in(s.Root(t))
	at := base + "/runtimes"
	has(t, v.page(at), "No runtimes yet", "Shared configuration repository")
	if g := v.post(at, "do", "add", "name", "west", "version", evil); g.status != http.StatusBadRequest {
		t.Errorf("a wrong version: got %d", g.status)
	} else {
		clean(t, "the form", g.body)
	}
	for _, r := range [][2]string{{"west", "0.1.26"}, {"east", "0.1.33"}} {
		if g := v.post(at, "do", "add", "name", r[0], "version", r[1]); g.status != http.StatusSeeOther {
			t.Fatalf("adding: got %d\n%s", g.status, g.body)
		}
	}
	set := func(runtimes ...string) got {
		pairs := []string{"kind", "ecr", "name", "prod", "host", "123456789012.dkr.ecr.us-east-1.amazonaws.com", "keyId",
			"AKIAIOSFODNN7EXAMPLE", "secret", "x", "scope", "some"}
		for _, r := range runtimes {
			pairs = append(pairs, "runtimes", r)
		}
		return v.post(base+"/integrations", pairs...)
	}
	has(t, set("west").body, "0.1.27 or later: west has 0.1.26")
	has(t, set().body, "needs at least one runtime")
	if g := set("east"); g.status != http.StatusSeeOther {
		t.Fatalf("for east: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(base+"/integrations/prod"), "east")
	if g := v.post(at, "do", "remove", "name", "east"); g.status == http.StatusSeeOther {
		t.Error("a runtime that is in use was removed")
	}
	if g := v.post(at, "do", "remove", "name", "west"); g.status != http.StatusSeeOther {
		t.Errorf("removing: got %d\n%s", g.status, g.body)
	}
}

// Who may not see or do something finds it in its place, with the action that is missing.
func TestDeliveryDenied(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	key, secret := newUser(t, s, root, "half", "ecrin:DescribeIntegrations")
	s.Operator(t, "CreateIntegration", ecrintypes.CreateIntegrationRequest{AccountId: root.ID, IntegrationName: "hub",
		Kind: ecrintypes.IntegrationKindOCI, RegistryHost: "registry.example.invalid"}, &ecrintypes.IntegrationResponse{})
	v := visit(t, s)
	if g := v.signIn(key, secret); g.status != http.StatusSeeOther {
		t.Fatalf("signing in: got %d\n%s", g.status, g.body)
	}
	page := v.page(base + "/integrations")
	has(t, page, "hub", "You need ecrin:CreateIntegration", "ecrin:DescribeCloudIntegrations")
	page = v.page(base + "/integrations/hub")
	has(t, page, "You need ecrin:TestIntegration", "You need ecrin:UpdateIntegration", "You need ecrin:DeleteIntegration")
	for path, action := range map[string]string{"/clusters": "ecrin:DescribeClusters", "/runtimes": "ecrin:DescribeRuntimes"} {
		g := v.get(base + path)
		if g.status != http.StatusForbidden {
			t.Errorf("%s: got %d", path, g.status)
		}
		has(t, g.body, "You may not see or do this", action)
	}
	if g := v.post(base+"/integrations/hub", "do", "test"); g.status != http.StatusForbidden {
		t.Errorf("testing: got %d", g.status)
	}
}

// between returns what is between two texts of a page.
func between(t *testing.T, page, begin, end string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, begin)
	text, _, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("the page lacks %q\n%s", begin, page)
	}
	return text
}
