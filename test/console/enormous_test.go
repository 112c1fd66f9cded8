package console_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// longest are the longest names that there can be.
var longest = strings.Repeat("long-name-", 24) + "of-256-charac"

// enormous makes what is as long, as much or as foreign as it can be.
func enormous(t *testing.T, s *apptest.Server) {
	t.Helper()
	root := s.Root(t)
	repo := root.CreateRepository(t, longest)
	layers := make([]int, 127)
	for i := range layers {
		layers[i] = 40 + i
	}
	repo.Push(t, "127-layers", ocitest.NewImage(1, layers...))
	repo.Push(t, strings.Repeat("t", 128), ocitest.NewImage(2, 100))
	child := ocitest.NewImage(3, 100)
	repo.Push(t, "child", child)
	var children []any
	for i := range 1000 {
		children = append(children, map[string]any{"mediaType": ocitest.ImageType, "digest": ocitest.SHA256(child.Manifest),
			"size": len(child.Manifest), "platform": map[string]string{"os": "linux", "architecture": fmt.Sprint("arch", i)}})
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
		"manifests": children})
	if err != nil {
		t.Fatal(err)
	}
	repo.PutManifest(t, "index", "application/vnd.oci.image.index.v1+json", index).Want(t, 201)
	text, err := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "config": map[string]any{
		"Labels": map[string]string{"عنوان": "صورة للاختبار من اليمين إلى اليسار", "title": strings.Repeat("word", 100), "dir": "a\u202eb"},
		"Env":    []string{"PATH=" + strings.Repeat("/usr/local/bin:", 40)}}})
	if err != nil {
		t.Fatal(err)
	}
	repo.PutBlob(t, text)
	body, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ocitest.ImageType, "layers": []any{},
		"config": ocitest.Describe("application/vnd.oci.image.config.v1+json", text), "annotations": map[string]string{"وصف": "نص عربي"}})
	if err != nil {
		t.Fatal(err)
	}
	repo.PutManifest(t, "rtl", ocitest.ImageType, body).Want(t, 201)
	var statements []string
	for i := range 1000 {
		if text := strings.Join(statements, ","); len(text) > 10_000 {
			break
		}
		statements = append(statements, fmt.Sprintf(`{"Sid":"S%d","Effect":"Allow","Principal":"*","Action":"ecr:*"}`, i))
	}
	for len(statements) > 0 {
		policy := `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
		if _, err = root.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: aws.String(longest),
			PolicyText: &policy}); err == nil {
			break
		}
		statements = statements[:len(statements)-1]
	}
	if len(statements) < 100 {
		t.Fatalf("a policy of %d statements: %v", len(statements), err)
	}
	s.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "عنوان " + strings.Repeat("W", 200),
		ApplicationSlug: strings.Repeat("s", 63)}, new(ecrintypes.VendorApplicationResponse))
	for i := range 200 {
		var c ecrintypes.CreateCustomerResponse
		s.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: strings.Repeat("s", 63),
			CustomerName: fmt.Sprintf("%03d %s", i, strings.Repeat("N", 240)), Email: strings.Repeat("e", 240) + "@x.example"}, &c)
		if i == 0 {
			s.Operator(t, "PutEntitlement", &ecrintypes.PutEntitlementRequest{ApplicationSlug: strings.Repeat("s", 63),
				CustomerId: c.Customer.CustomerId, Repositories: []string{longest, strings.Repeat("p", 200) + "/*"}},
				new(ecrintypes.EntitlementResponse))
		}
	}
}

// Pages of what is as long, as much and as foreign as it can be are neither wider than the window nor cut, and have targets that can be
// hit; for a person who may do nothing too.
func TestEnormousAndForeign(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	enormous(t, s)
	root := s.Root(t)
	b := newBrowser(t, s)
	b.signIn(root)
	home := "/console/000000000000/us-east-1"
	app, repo := home+"/applications/"+strings.Repeat("s", 63), home+"/repositories/"+longest
	pages := []string{home + "/repositories", repo + "?open=index", repo + "/-/tags/127-layers", repo + "/-/tags/rtl",
		repo + "/-/tags/" + strings.Repeat("t", 128), repo + "/-/tags/rtl?with=127-layers", repo + "/-/images", repo + "/-/permissions?edit=1",
		repo + "/-/lifecycle", repo + "/-/history", repo + "/-/delete", home + "/search?find=long", home + "/applications",
		app, app + "/customers", app + "/create-customer", home + "/audit", home + "/usage"}
	for _, at := range pages {
		b.open(at)
		b.looks(at)
		if os.Getenv("ECRIN_SCREENSHOTS") != "" {
			b.pictures("enormous" + strings.NewReplacer("/", "-", "?", "-", longest, "LONG").Replace(strings.TrimPrefix(at, home)))
		}
	}
	var first string
	b.open(app + "/customers")
	b.evaluate(`document.querySelector("th.name a").pathname`, &first)
	b.open(first)
	b.looks("a customer")
	b.pictures("enormous-customer")

	nobody := newBrowser(t, s)
	nobody.signIn(user(t, s, root, "nobody"))
	for _, at := range append(pages, first, home+"/clusters", home+"/integrations", home+"/events", home+"/pull-through", home+"/replication",
		home+"/templates", home+"/images", home+"/external-registries", home+"/rancher", home+"/runtimes", home+"/access-requests",
		"/console/000000000000/access/users", "/console/000000000000/access/roles", "/console/000000000000/access/denied",
		"/console/000000000000/access/simulate", "/console/welcome") {
		nobody.open(at)
		nobody.looks(at+" without rights", 390)
	}
	nobody.open(repo)
	nobody.pictures("denied-repository")
	nobody.open(home + "/jobs")
	nobody.pictures("denied-jobs")
}
