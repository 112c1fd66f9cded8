package outside_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// vendorCall makes a request of the API of tools of vendors with the access key of an account.
func vendorCall(t testing.TB, s *apptest.Server, a apptest.Account, method, path, body string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", a.KeyID+":"+a.Secret)
	r.Header.Set("Content-Type", "application/json")
	resp, err := s.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// newVendor starts a vendor with the applications shop and other, and a user of a registry that answers as ECR does.
func newVendor(t testing.TB, policy string) (*shop, apptest.Account) {
	t.Helper()
	s := &shop{far: newFar(t, nil, func(c *config.Config) {})}
	s.key, s.secret = s.user(t, "reader", policy)
	for _, label := range []string{"shop", "other"} {
		s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: label}, nil)
	}
	return s, s.near.Root(t)
}

func (s *shop) registryBody(t testing.TB, more map[string]any) string {
	t.Helper()
	body := map[string]any{"provider": "ecr", "endpoint": s.Host, "slug": "aws", "authType": "accesskey", "username": s.key,
		"password": s.secret}
	for k, v := range more {
		body[k] = v
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A registry that a tool of vendors adds is tested, pulled from by customers of the applications that it names and no others, changed, and
// gone at the request that follows its deletion. The key comes back in no answer.
func TestExternalRegistriesOfVendors(t *testing.T) {
	t.Parallel()
	s, root := newVendor(t, readPolicy)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", ocitest.NewImage(1, 1000))
	api := func(method, path, body string, want int) string {
		t.Helper()
		status, text := vendorCall(t, s.near, root, method, path, body)
		if status != want || strings.Contains(text, s.secret) {
			t.Fatalf("%s %s: got %d %s, want %d without the secret", method, path, status, text, want)
		}
		return text
	}
	api("POST", "/v3/external_registry", s.registryBody(t, map[string]any{"appIds": []string{"shop"}}), 201)
	api("POST", "/v3/external_registry", s.registryBody(t, nil), 409)
	pull := func(app string) int {
		t.Helper()
		_, license := s.customer(t, app, "c", "*")
		return get(t, s.near, license, http.MethodGet, "proxy/"+app+"/aws/demo-apps/nginx/manifests/1").Status
	}
	if mine, others := pull("shop"), pull("other"); mine != 200 || others != 403 {
		t.Errorf("pulls of the application of the list, and of another one: got %d and %d, want 200 and 403", mine, others)
	}
	for image, want := range map[string]string{"demo-apps/nginx:1": `"status":200`, "demo-apps/nginx:none": `"status":404`,
		"none:1": `"status":404`} {
		for _, key := range []string{"aws", s.Host} {
			text := api("PUT", "/v3/external_registry/test", fmt.Sprintf(`{"endpoint":%q,"image":%q}`, key, image), 200)
			if !strings.Contains(text, want) {
				t.Errorf("the test of %s by %s: got %s, want %s", image, key, text, want)
			}
		}
	}
	api("PUT", "/v3/external_registry/aws", `{"appIds":["other"]}`, 200)
	if mine, others := pull("shop"), pull("other"); mine != 403 || others != 200 {
		t.Errorf("pulls after the change of the list: got %d and %d, want 403 and 200", mine, others)
	}
	api("PUT", "/v3/external_registry/aws", `{"endpoint":"registry.example.com"}`, 400)
	api("PUT", "/v3/external_registry/aws", `{"appIds":[]}`, 200)
	if mine, others := pull("shop"), pull("other"); mine != 200 || others != 200 {
		t.Errorf("pulls with all applications: got %d and %d, want 200 twice", mine, others)
	}
	stranger := s.near.NewAccount(t, "222233334444")
	for _, call := range [][2]string{{"GET", "/v3/external_registry/aws"}, {"DELETE", "/v3/external_registry/aws"},
		{"PUT", "/v3/external_registry/aws"}} {
		if status, text := vendorCall(t, s.near, stranger, call[0], call[1], "{}"); status != 404 {
			t.Errorf("%s by another account: got %d %s, want 404", call[0], status, text)
		}
	}
	api("DELETE", "/v3/external_registry/"+s.Host, "", 204)
	if got := pull("shop"); got != 403 {
		t.Errorf("a pull after the deletion: got %d, want 403", got)
	}
	api("DELETE", "/v3/external_registry/aws", "", 404)
}

// What does not work is not stored, unless the request asks for no test; then the test says what is wrong.
func TestExternalRegistriesAreTested(t *testing.T) {
	t.Parallel()
	// The token needs the resource *: a statement with the repositories alone does not give it.
	s, root := newVendor(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:GetAuthorizationToken",
		"ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"],
		"Resource":"arn:aws:ecr:*:*:repository/demo-apps/*"}]}`)
	for label, one := range map[string]struct {
		change map[string]any
		says   string
	}{
		"wrong secret":  {map[string]any{"password": s.secret + "x"}, "the secret access key is wrong"},
		"scoped token":  {nil, "GetAuthorizationToken on the resource *"},
		"ten digits":    {map[string]any{"endpoint": "0000000000.dkr.ecr.us-east-2.amazonaws.com"}, "has 10 digits"},
		"no host":       {map[string]any{"endpoint": "registry.example.com"}, "ACCOUNT.dkr.ecr.REGION"},
		"private host":  {map[string]any{"provider": "other", "authType": "password", "endpoint": "10.0.0.1:5000"}, "registry cannot be used"},
		"a path":        {map[string]any{"slug": "test"}, "path of this API"},
		"odd slug":      {map[string]any{"slug": "../aws"}, "slug must be"},
		"odd provider":  {map[string]any{"provider": "github"}, "provider must be"},
		"no key":        {map[string]any{"username": "", "password": ""}, "accesskeyid must be specified, secretaccesskey must be specified"},
		"password type": {map[string]any{"authType": "password"}, "authType"},
	} {
		status, text := vendorCall(t, s.near, root, "POST", "/v3/external_registry", s.registryBody(t, one.change))
		if status != 400 || !strings.Contains(text, one.says) || strings.Contains(text, s.secret) {
			t.Errorf("%s: got %d %s, want 400 with %q", label, status, text, one.says)
		}
	}
	if status, text := vendorCall(t, s.near, root, "POST", "/v3/external_registry", s.registryBody(t, map[string]any{
		"appIds": []string{"none"}, "skipValidation": true})); status != 404 {
		t.Errorf("an application that does not exist: got %d %s, want 404", status, text)
	}
	var all ecrintypes.DescribeIntegrationsResponse
	s.ok(t, "DescribeIntegrations", ecrintypes.DescribeIntegrationsRequest{}, &all)
	if len(all.Integrations) > 0 {
		t.Errorf("after what was refused: got %d integrations, want none", len(all.Integrations))
	}
	if status, text := vendorCall(t, s.near, root, "POST", "/v3/external_registry", s.registryBody(t, map[string]any{
		"skipValidation": true})); status != 201 {
		t.Fatalf("without a test: got %d %s, want 201", status, text)
	}
	status, text := vendorCall(t, s.near, root, "PUT", "/v3/external_registry/test", `{"endpoint":"aws","image":"demo-apps/nginx:1"}`)
	if status != 200 || strings.Contains(text, `"status":200`) ||
		!strings.Contains(text, "limits ecr:GetAuthorizationToken to repositories, where it has no effect") {
		t.Errorf("the test: got %d %s, want what is missing", status, text)
	}
}

// Of requests at the same time for one registry, one makes it, and it is shared as that one says.
func TestExternalRegistriesAtTheSameTime(t *testing.T) {
	t.Parallel()
	s, root := newVendor(t, readPolicy)
	statuses := make([]int, 8)
	var all sync.WaitGroup
	for i := range statuses {
		body := s.registryBody(t, map[string]any{"appIds": []string{[]string{"shop", "other"}[i%2]}})
		all.Go(func() { statuses[i], _ = vendorCall(t, s.near, root, "POST", "/v3/external_registry", body) })
	}
	all.Wait()
	made := -1
	for i, status := range statuses {
		switch {
		case status == 201 && made < 0:
			made = i
		case status != 409:
			t.Errorf("statuses: got %v, want one 201 and 409", statuses)
		}
	}
	var shared ecrintypes.ListSharedIntegrationsResponse
	s.ok(t, "ListSharedIntegrations", ecrintypes.ListSharedIntegrationsRequest{}, &shared)
	if made < 0 || len(shared.Integrations) != 1 || shared.Integrations[0].ApplicationSlug != []string{"shop", "other"}[made%2] {
		t.Errorf("shared: got %+v after %v, want what the request with 201 says", shared.Integrations, statuses)
	}
}
