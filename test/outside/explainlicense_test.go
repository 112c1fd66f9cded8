package outside_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// An image of an external registry: each link of a pull is broken alone, is the first that is reported, and its cure is executed, after
// which the customer pulls.
func TestExplainLicenseOfTheProxy(t *testing.T) {
	t.Parallel()
	s := newShop(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
		{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"],
		"Resource":"arn:aws:ecr:*:*:repository/repo1"}]}`, nil)
	for _, repo := range []string{"repo1", "repo2"} {
		s.root.CreateRepository(t, repo).Push(t, "1", ocitest.NewImage(1, 1000))
	}
	s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "Other"}, nil)
	id, license := s.customer(t, "shop", "big")
	host := strings.TrimPrefix(s.near.URL, "http://")
	image := host + "/proxy/shop/aws/repo1:1"
	none := func(string) (string, bool) { return "", false }
	run := func(command string) {
		t.Helper()
		var errs bytes.Buffer
		args := append(strings.Fields(command)[1:], "--data", s.near.Dir)
		if code := cli.Run(t.Context(), cli.Env{Args: args, Out: &errs, Err: &errs, Lookup: none}); code != 0 {
			t.Fatalf("%s: exit code %d, %s", command, code, errs.String())
		}
	}
	broken := func(what, image, link, problem string) string {
		t.Helper()
		var out ecrintypes.ExplainLicenseResponse
		s.ok(t, "ExplainLicense", ecrintypes.ExplainLicenseRequest{ApplicationSlug: "shop", CustomerId: id, Image: image}, &out)
		one := out.Steps[len(out.Steps)-1]
		if out.Allowed || one.Passed || one.Name != link || !strings.Contains(one.Problem, problem) {
			t.Fatalf("%s: got %s, want the link %s to be broken with %q", what, shown(out), link, problem)
		}
		for _, before := range out.Steps[:len(out.Steps)-1] {
			if !before.Passed {
				t.Errorf("%s: got %s, want each link before the last to pass", what, shown(out))
			}
		}
		return one.Cure
	}
	pull := func(what string, want int) {
		t.Helper()
		if a := get(t, s.near, license, http.MethodGet, "proxy/shop/aws/repo1/manifests/1"); a.Status != want {
			t.Fatalf("%s: got %d %s, want %d", what, a.Status, a.Body, want)
		}
	}
	pull("no entitlement", 403)
	run(broken("no entitlement", image, "entitlement", "the customer has no entitlement"))
	pull("entitled", 200)

	s.ok(t, "UnshareIntegration", ecrintypes.SharedIntegrationRequest{ApplicationSlug: "shop", IntegrationName: "aws"}, nil)
	pull("not shared", 403)
	for _, name := range []string{image, host + "/proxy/shop/" + s.Host + "/repo1:1", s.Host + "/repo1:1"} {
		cure := broken("not shared, "+name, name, "integration", "is not shared with this application")
		if name != image {
			continue
		}
		run(cure)
		pull("shared", 200)
		s.ok(t, "UnshareIntegration", ecrintypes.SharedIntegrationRequest{ApplicationSlug: "shop", IntegrationName: "aws"}, nil)
	}
	run(broken("not shared, by the host", s.Host+"/repo1:1", "integration", "is not shared with this application"))
	pull("shared by the host", 200)

	yes := true
	s.ok(t, "UpdateCustomer", ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: id, Archived: &yes}, nil)
	pull("archived", 401)
	run(broken("archived", image, "licence", "is archived"))
	pull("not archived", 200)

	if cure := broken("another application", host+"/proxy/other/aws/repo1:1", "application", "status 403"); !strings.Contains(cure,
		"pull "+image) {
		t.Errorf("another application: got the cure %q, want one with %s", cure, image)
	}
	if cure := broken("no integration", host+"/proxy/shop/registry.invalid/a/b:1", "integration", "registry.invalid"); !strings.Contains(cure,
		"--registry-host registry.invalid") {
		t.Errorf("no integration: got the cure %q, want one that adds the registry", cure)
	}
	s.ok(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: id, Repositories: []string{"*"}}, nil)
	if cure := broken("denied there", host+"/proxy/shop/aws/repo2:1", "upstream", "is not authorized to perform"); cure == "" {
		t.Error("denied there: got no cure")
	}
	broken("no such image there", host+"/proxy/shop/aws/repo1:2", "upstream", "")
	var out ecrintypes.ExplainLicenseResponse
	s.ok(t, "ExplainLicense", ecrintypes.ExplainLicenseRequest{ApplicationSlug: "shop", CustomerId: id, Image: image}, &out)
	if !out.Allowed {
		t.Errorf("all links are whole: got %s", shown(out))
	}
}
