package console_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// hidden returns the value of a field of the forms of a page.
func (v *visitor) hidden(path, field string) string {
	v.t.Helper()
	return html.UnescapeString(between(v.t, v.page(path), `name="`+field+`" value="`, `"`))
}

// A form that was made from a state that has changed since saves nothing, and so do all but one of forms that are sent at the same time;
// those that add something by one name at the same time add it once.
func TestFormsAtOnce(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "app")
	v := visit(t, s).in(root)
	const lifecycle = `{"rules":[{"rulePriority":%d,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":9},` +
		`"action":{"type":"expire"}}]}`
	const replication = `{"rules":[{"destinations":[{"region":"eu-west-1","registryId":"000000000000"}],` +
		`"repositoryFilters":[{"filter":"n%d","filterType":"PREFIX_MATCH"}]}]}`
	const policy = `{"Version":"2012-10-17","Statement":[{"Sid":"N%d","Effect":"Allow","Action":"ecr:ListImages","Resource":"*"}]}`
	const trust = `{"Version":"2012-10-17","Statement":[{"Sid":"N%d","Effect":"Allow","Principal":{"AWS":"000000000000"},` +
		`"Action":"sts:AssumeRole"}]}`
	const registry = `{"Version":"2012-10-17","Statement":[{"Sid":"N%d","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},` +
		`"Action":["ecr:ReplicateImage"],"Resource":["arn:aws:ecr:us-east-1:000000000000:repository/*"]}]}`
	access := "/console/000000000000/access"
	v.made(access+"/users", "name", "ann")
	v.made(access+"/roles", "name", "deploy", "trusted", "000000000000")
	v.made(access+"/users/ann/create-policy", "do", "save", "name", "one", "text", fmt.Sprintf(policy, 99))
	v.made(base+"/clusters", "name", "west", "region", "us-east-1", "principal", "111122223333")
	v.made(base+"/rancher", "name", "lab", "hosts", "first")
	v.made(base+"/integrations", "kind", "aws", "name", "amazon", "region", "us-east-1", "keyId", "AKIAIOSFODNN7EXAMPLE", "secret",
		strings.Repeat("s", 40))
	v.made(base+"/integrations", "kind", "registry", "name", "hub", "host", "docker.io")
	for what, c := range map[string]struct {
		path, seen, field string // the page, its field of what was seen, and that which differs
		value             string
		more              []string
		adds              bool
	}{
		"replication":   {path: base + "/replication", seen: "was", field: "text", value: replication},
		"registry":      {path: base + "/registry-settings", seen: "was", field: "text", value: registry},
		"inline policy": {path: access + "/users/ann/policies/one", seen: "seen", field: "text", value: policy},
		"trust policy":  {path: access + "/roles/deploy/trust", seen: "seen", field: "text", value: trust},
		"cluster": {path: base + "/clusters/west", seen: "seen", field: "region", value: "eu-west-%d", more: []string{"principal",
			"111122223333"}},
		"environment": {path: base + "/rancher/lab", seen: "seen", field: "hosts", value: "node%d"},
		"cloud": {path: base + "/cloud-integrations/amazon", seen: "seen", field: "role", value: "arn:aws:iam::111122223333:role/r%d",
			more: []string{"region", "us-east-1", "keyId", "AKIAIOSFODNN7EXAMPLE"}},
		"integration": {path: base + "/integrations/hub", seen: "seen", field: "username", value: "n%d", more: []string{"password", "p"}},
		"new cluster": {path: base + "/clusters", field: "region", value: "eu-west-%d", more: []string{"name", "new", "principal",
			"111122223333"},
			adds: true},
		"new environment": {path: base + "/rancher", field: "hosts", value: "node%d", more: []string{"name", "new"}, adds: true},
		"new cloud": {path: base + "/integrations", field: "role", value: "arn:aws:iam::111122223333:role/r%d", adds: true, more: []string{"kind",
			"aws", "name", "new", "region", "us-east-1", "keyId", "AKIAIOSFODNN7EXAMPLE", "secret", strings.Repeat("s", 40)}},
		"new inline policy": {path: access + "/users/ann/create-policy", field: "text", value: policy, more: []string{"name", "two"}, adds: true},
	} {
		form := url.Values{"csrf": {v.csrf()}, "do": {"save"}}
		for i := 0; i < len(c.more); i += 2 {
			form.Set(c.more[i], c.more[i+1])
		}
		if !c.adds {
			form.Set(c.seen, v.hidden(c.path, c.seen))
		}
		send := func(i int) got {
			one := url.Values{}
			for k, values := range form {
				one[k] = values
			}
			one.Set(c.field, fmt.Sprintf(c.value, i))
			return v.send(http.MethodPost, c.path, one)
		}
		answers := make([]got, 6)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = send(i + 1) })
		}
		wg.Wait()
		won := 0
		for _, g := range append(answers, send(7)) {
			switch g.status {
			case http.StatusSeeOther:
				won++
			case http.StatusConflict:
			default:
				t.Errorf("%s: got %d\n%s", what, g.status, g.body)
			}
		}
		if won != 1 {
			t.Errorf("%s: %d of 7 forms that have seen the same were saved, want 1", what, won)
		}
		if c.adds {
			continue
		}
		form.Del(c.seen)
		if g := send(8); g.status != http.StatusConflict {
			t.Errorf("%s: a form that has seen nothing: got %d", what, g.status)
		}
	}
	at := base + "/repositories/app/-/lifecycle"
	var proofs []string
	for i := range 2 {
		proofs = append(proofs, seenOf.FindStringSubmatch(v.post(at, "do", "preview", "text", fmt.Sprintf(lifecycle, i+1)).body)[1])
	}
	saved := 0
	for i, proof := range proofs {
		if v.post(at, "do", "save", "text", fmt.Sprintf(lifecycle, i+1), "seen", proof).status == http.StatusSeeOther {
			saved++
		}
	}
	if saved != 1 {
		t.Errorf("%d of two lifecycle policies with previews of the same state were saved, want 1", saved)
	}
	was := v.hidden(at, "was")
	v.made(at, "do", "delete", "was", was)
	if g := v.post(at, "do", "delete", "was", was); g.status != http.StatusBadRequest && g.status != http.StatusNotFound {
		t.Errorf("deleting it again: got %d", g.status)
	}
}

// The settings of a registry: its policy, the account settings, whose pulls are no uses, and the quotas.
func TestRegistrySettingsPage(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	at := base + "/registry-settings"
	page := v.page(at)
	has(t, page, "There is none.", "REGISTRY_POLICY_SCOPE", "BLOB_MOUNTING", "AWS_NATIVE", "Every pull is a use.",
		"There is none: the account may have as much")
	s.Operator(t, "PutQuota", map[string]any{"accountId": root.ID, "prefix": "team", "maxImages": 500}, &struct{}{})
	const text = `{"Version":"2012-10-17","Statement":[{"Sid":"Copies","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},` +
		`"Action":"ecr:ReplicateImage","Resource":"arn:aws:ecr:us-east-1:000000000000:repository/*"}]}`
	has(t, v.post(at, "do", "check", "text", "{").body, "1 error to fix")
	has(t, v.post(at, "do", "preview", "text", text).body, "Change to the registry policy", "Copies")
	if g := v.post(at, "do", "save", "text", text); g.status != http.StatusConflict {
		t.Errorf("a form that has seen nothing: got %d", g.status)
	}
	v.made(at, "do", "save", "text", text, "was", "none")
	g := v.post(at, "do", "save", "text", strings.Replace(text, "Copies", "Other", 1), "was", "none")
	if has(t, g.body, "This has changed since you opened it", "Copies", "Other"); g.status != http.StatusConflict {
		t.Errorf("a form that has seen no policy: got %d", g.status)
	}
	v.made(at, "do", "set", "name", "BLOB_MOUNTING", "value", "DISABLED")
	v.made(at, "do", "exclude", "principal", "arn:aws:iam::000000000000:role/scanner")
	page = v.page(at)
	has(t, page, "Copies", `<option value="DISABLED" selected>`, "role/scanner", "Count its pulls", "<code><bdi>team</bdi></code>", "0 of 500")
	for do, want := range map[string]string{"set": "value", "exclude": "principal", "save": "PolicyText",
		"nothing": "does not say what to do"} {
		g := v.post(at, "do", do, "name", canary, "value", canary, "principal", canary, "text", canary, "was", v.hidden(at, "was"))
		if has(t, g.body, want); g.status != http.StatusBadRequest || strings.Contains(g.body, "<script>alert") {
			t.Errorf("%s with markup: got %d\n%s", do, g.status, g.body)
		}
	}
	v.made(at, "do", "include", "principal", "arn:aws:iam::000000000000:role/scanner")
	v.made(at, "do", "delete", "was", v.hidden(at, "was"))
	has(t, v.page(at), "There is none.", "Every pull is a use.")
	nobody := visit(t, s).in(limited(t, s, root, "nobody",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}}`))
	has(t, nobody.page(at), "ecr:GetRegistryPolicy", "ecr:GetAccountSetting", "ecr:ListPullTimeUpdateExclusions", "ecrin:DescribeQuotas",
		"You need ecr:PutAccountSetting", "You need ecr:PutRegistryPolicy")
	has(t, visit(t, s).in(s.NewAccount(t, "111122223333")).page(at), "those of 000000000000 are shown to its own principals")
}

// The scanning configuration is stored and shown, with the truth that nothing is scanned.
func TestScanningPage(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	at := base + "/scanning"
	has(t, v.page(at), "ecrin does not scan images.", "No rules", "scan type basic")
	v.made(at, "do", "save", "on-push", "prod/*\r\n*\r\n", "manual", "test/*")
	has(t, v.page(at), "scan on push", "<code><bdi>prod/*</bdi></code>", "manual", "<code><bdi>test/*</bdi></code>", "prod/*\n*</textarea>")
	g := v.post(at, "do", "save", "on-push", canary+strings.Repeat("x", 300))
	if g.status != http.StatusBadRequest || strings.Contains(g.body, "<script>alert") {
		t.Errorf("a filter that is too long: got %d\n%s", g.status, g.body)
	}
	v.made(at, "do", "save")
	has(t, v.page(at), "No rules")
	nobody := visit(t, s).in(limited(t, s, root, "nobody",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}}`))
	has(t, nobody.page(at), "ecr:GetRegistryScanningConfiguration", "You need ecr:PutRegistryScanningConfiguration")
}

// A page counts what entitlements reach up to a limit; what is beyond it is counted by the page of that entitlement.
func TestCountingOfEntitlements(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	_, customer := shop(t, v)
	for i := range 100 {
		root.CreateRepository(t, fmt.Sprintf("shop/r%02d", i))
	}
	for i := range 6 {
		v.made(customer+"/entitle", "do", "entitle", "repositories", "shop/*", "tags", fmt.Sprint("v", i))
	}
	page := v.page(customer)
	if got := []int{strings.Count(page, "0 tags: no such tag"), strings.Count(page, "none among the first"), strings.Count(page,
		"not counted"),
		strings.Count(page, ">Count<")}; fmt.Sprint(got) != "[4 1 1 2]" {
		t.Errorf("entitlements that are counted, in part and not, and links: got %v\n%s", got, page)
	}
	link := html.UnescapeString(between(t, page, `none among the first</span><div class="sub"><a href="`, `"`))
	page = v.page(link)
	if got := []int{strings.Count(page, "0 tags: no such tag"), strings.Count(page, "not counted")}; fmt.Sprint(got) != "[1 5]" {
		t.Errorf("the page of one entitlement: got %v\n%s", got, page)
	}
}
