package console_test

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

const canary = `"><script>alert(1)</script>`

// The audit trail has a sentence for each line, and the line itself; filters are those of the operation.
func TestAuditPage(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app")
	v := visit(t, s).in(root)
	visit(t, s).in(limited(t, s, root, "nobody",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}}`)).page(base + "/jobs")
	has(t, v.page(base+"/audit?only=denied"), "user/nobody", "was denied", "ecrin:ListJobs", "Why, and what would allow it")
	page := v.page(base + "/audit")
	has(t, page, "ecr:CreateRepository", "team/app", "did", "Show")
	page = v.page(base + "/audit?event=CreateRepository&only=changes&since=1h")
	if has(t, page, "ecr:CreateRepository"); strings.Contains(page, "ecr:GetAuthorizationToken") {
		t.Errorf("the filter has no effect:\n%s", page)
	}
	_, after, _ := strings.Cut(page, `href="`+base+`/audit?event=CreateRepository&amp;`)
	link, _, _ := strings.Cut(after, `"`)
	has(t, v.page(base+"/audit?event=CreateRepository&"+html.UnescapeString(link)), "eventVersion", "Close")
	has(t, v.page(base+"/audit?event=None"), "Nothing matches")
	for _, field := range []string{"principal", "event", "resource", "request", "only", "since", "open"} {
		if g := v.get(base + "/audit?" + field + "=" + url.QueryEscape(canary)); strings.Contains(g.body, "<script>alert") ||
			g.status == http.StatusInternalServerError {
			t.Errorf("%s: got %d\n%s", field, g.status, g.body)
		}
	}
	if g := visit(t, s).in(s.NewAccount(t, "111122223333")).get(base + "/audit"); strings.Contains(g.body, "CreateRepository") ||
		!strings.Contains(g.body, "ecrin:ListAuditEvents") {
		t.Errorf("another account reads the trail: got %d\n%s", g.status, g.body)
	}
}

// A webhook is added with a secret that is shown once, tested, disabled and deleted; events are listed.
func TestEventsAndWebhooks(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 100))
	v := visit(t, s).in(root)
	has(t, v.page(base+"/events?since=24h"), "No webhook gets", "ECR Image Action", "team/app", "PUSH")
	has(t, v.page(base+"/events?pattern="+url.QueryEscape(`{"detail-type":["None"]}`)), "Nothing in this time matches")
	if g := v.get(base + "/events?pattern=" + url.QueryEscape(canary)); strings.Contains(g.body, "<script>alert") ||
		g.status != http.StatusOK {
		t.Errorf("a wrong pattern: got %d\n%s", g.status, g.body)
	}
	g := v.post(base+"/events", "do", "create", "name", "deploy", "url", "https://receiver.invalid/x/secret-path")
	has(t, g.body, "The secret is shown this once", "Send test")
	at := base + "/webhooks/deploy"
	page := v.page(at)
	if has(t, page, "all events", "receiver.invalid"); strings.Contains(page, "shown this once") || strings.Contains(page, "secret-path") {
		t.Errorf("the page shows a secret:\n%s", page)
	}
	has(t, v.post(at, "do", "test").body, "The test was not received")
	has(t, v.page(base+"/events"), "deploy")
	for what, want := range map[string]int{"disable": 303, "enable": 303, "secret": 200, "redeliver": 400, "else": 400} {
		if g := v.post(at, "do", what, "delivery", "1"); g.status != want && (what != "redeliver" || g.status != 404) {
			t.Errorf("%s: got %d, want %d\n%s", what, g.status, want, g.body)
		}
	}
	if g := v.send(http.MethodPost, at, url.Values{"do": {"delete"}}); g.status != http.StatusForbidden {
		t.Errorf("without the token of a form: got %d", g.status)
	}
	if g := v.post(at, "do", "delete"); g.status != http.StatusSeeOther || v.get(at).status != http.StatusNotFound {
		t.Errorf("deleting: got %d", g.status)
	}
	if g := v.post(base+"/events", "do", "create", "name", canary, "url", canary, "pattern", canary); g.status != http.StatusBadRequest ||
		strings.Contains(g.body, "<script>alert") {
		t.Errorf("a wrong webhook: got %d\n%s", g.status, g.body)
	}
	has(t, visit(t, s).in(s.NewAccount(t, "111122223333")).page(base+"/events"), "ecrin:ListEvents", "ecrin:ListWebhooks")
}

// Rules of pull-through caches, replications and templates are made and taken away on their pages.
func TestRegistryRules(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	has(t, v.page(base+"/pull-through"), "No rules", "Add rule")
	if g := v.post(base+"/pull-through", "do", "create", "prefix", "quay", "upstream", "quay.io"); g.status != http.StatusSeeOther {
		t.Fatalf("creating a rule: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(base+"/pull-through"), "quay.io", "/quay/library/alpine:3", "Validate")
	if g := v.post(base+"/pull-through", "do", "create", "prefix", canary, "upstream", canary, "credential", canary); g.status !=
		http.StatusBadRequest || strings.Contains(g.body, "<script>alert") {
		t.Errorf("a wrong rule: got %d\n%s", g.status, g.body)
	}
	if g := v.post(base+"/pull-through", "do", "delete", "prefix", "quay"); g.status != http.StatusSeeOther {
		t.Errorf("deleting a rule: got %d\n%s", g.status, g.body)
	}

	has(t, v.page(base+"/replication"), "No rules", "Save rules")
	const rules = `{"rules":[{"destinations":[{"region":"eu-west-1","registryId":"000000000000"}],
		"repositoryFilters":[{"filter":"prod/","filterType":"PREFIX_MATCH"}]}]}`
	if g := v.post(base+"/replication", "do", "save", "was", v.hidden(base+"/replication", "was"), "text",
		rules); g.status != http.StatusSeeOther {
		t.Fatalf("saving rules: got %d\n%s", g.status, g.body)
	}
	has(t, v.page(base+"/replication"), "Map of registries", "eu-west-1", "prod/*", "up to date", "nothing waits")
	for _, wrong := range []string{"{", canary, `{"rules":[{"x":1}]}`,
		`{"rules":[{"destinations":[{"region":"` + "x" + `","registryId":"1"}]}]}`} {
		if g := v.post(base+"/replication", "do", "save", "was", v.hidden(base+"/replication", "was"), "text",
			wrong); g.status != http.StatusBadRequest ||
			strings.Contains(g.body, "<script>alert") || !strings.Contains(g.body, "prod/*") {
			t.Errorf("%s: got %d\n%s", wrong, g.status, g.body)
		}
	}

	has(t, v.page(base+"/templates"), "No templates", "Create template")
	if g := v.post(base+"/templates", "do", "create", "prefix", "team", "for", "CREATE_ON_PUSH", "mutability", "IMMUTABLE", "description",
		"for teams", "lifecycle", keepOne); g.status != http.StatusSeeOther {
		t.Fatalf("creating a template: got %d\n%s", g.status, g.body)
	}
	page := v.page(base + "/templates")
	if has(t, page, "for teams", "create on push", "immutable", "Lifecycle policy", "&lt;script&gt;"); strings.Contains(page,
		"<script>alert") {
		t.Error("the policy of the template is markup")
	}
	if g := v.post(base+"/templates", "do", "create", "prefix", canary, "policy", canary, "lifecycle", canary); g.status !=
		http.StatusBadRequest || strings.Contains(g.body, "<script>alert") {
		t.Errorf("a wrong template: got %d\n%s", g.status, g.body)
	}
	if g := v.post(base+"/templates", "do", "delete", "prefix", "team"); g.status != http.StatusSeeOther {
		t.Errorf("deleting a template: got %d\n%s", g.status, g.body)
	}
	for _, part := range []string{"pull-through", "replication", "templates"} {
		if g := v.send(http.MethodPost, base+"/"+part, url.Values{"do": {"delete"}, "prefix": {"x"}}); g.status != http.StatusForbidden {
			t.Errorf("%s without the token of a form: got %d", part, g.status)
		}
		if g := v.post(base+"/"+part, "do", "else"); g.status != http.StatusBadRequest {
			t.Errorf("%s with an unknown action: got %d", part, g.status)
		}
	}
	nobody := visit(t, s).in(limited(t, s, root, "nobody",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}}`))
	for part, action := range map[string]string{"pull-through": "ecr:DescribePullThroughCacheRules", "replication": "ecr:DescribeRegistry",
		"templates": "ecr:DescribeRepositoryCreationTemplates"} {
		has(t, nobody.page(base+"/"+part), action, "aria-disabled")
	}
}
