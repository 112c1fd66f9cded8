package console_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// pod is a manifest with containers of images.
func pod(images ...string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Pod\nmetadata: {name: shop}\nspec:\n  containers:\n")
	for i, image := range images {
		fmt.Fprintf(&b, "  - {name: c%d, image: %q}\n", i, image)
	}
	return b.String()
}

// The preflight page says of each image of manifests whether it can be pulled, by whom, and what to add, and counts no pull.
func TestPreflightPage(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	im := ocitest.NewImage(1, 3000)
	root.CreateRepository(t, "team/app").Push(t, "1.0", im)
	for name, region := range map[string]string{"near": "us-east-1", "far": "eu-west-2"} {
		s.Operator(t, "PutCluster", ecrintypes.PutClusterRequest{AccountId: root.ID, ClusterName: name, Region: region,
			Principal: newRole(t, s, root, name+"-nodes")}, &ecrintypes.ClusterResponse{})
	}
	v := visit(t, s).in(root)
	at, host := base+"/preflight", root.ID+".dkr.ecr.us-east-1.amazonaws.com/"
	has(t, v.page(base+"/repositories"), ">Preflight<")
	has(t, v.page(at), "Manifests", "<option>near</option>", "ecrin preflight - --cluster staging")
	check := func(more ...string) string {
		t.Helper()
		g := v.post(at, append([]string{"do", "check"}, more...)...)
		if g.status != http.StatusOK {
			t.Fatalf("got %d\n%s", g.status, g.body)
		}
		return g.body
	}
	digest := im.Digest
	has(t, check("text", pod(host+"team/app:1.0")), "All images can be pulled", "is there", "Nobody is named who pulls",
		"Pod shop", digest[7:19], "data-copy=\""+host+"team/app:1.0@"+digest+`"`)
	has(t, check("text", pod(s.Running.Address+"/team/app:1.0", s.Running.Address+"/"+root.ID+"/us-east-1/team/app@"+digest)),
		"All images can be pulled")

	denied := check("text", pod(host+"team/app:1.0"), "cluster", "near")
	has(t, denied, "0 of 1 image are ready", "role/near-nodes", "not ready", "ecr:GetAuthorizationToken", "Why, and what would allow it")
	has(t, v.page(linkOf(t, denied, "Why, and what would allow it")), "may not do", "What would allow it")
	grant := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:GetAuthorizationToken",
		"ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"*"}]}`
	if _, err := people(s, root).PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("near-nodes"),
		PolicyName: aws.String("pull"), PolicyDocument: &grant}); err != nil {
		t.Fatal(err)
	}
	has(t, check("text", pod(host+"team/app:1.0"), "cluster", "near"), "All images can be pulled", "can be pulled", "in us-east-1")

	wrong := check("text", pod(host+"team/app:1.1", host+"team/none:1", "nginx:1.27", host+"team/app:1.0"), "platform", "plan9/mips",
		"principal", root.ID)
	has(t, wrong, "0 of 4 images are ready", "the nearest tags are 1.0", "create-repository?name=team%2Fnone", "not asked",
		"of another registry", "it has no plan9/mips")
	away := check("text", pod(host+"team/app:1.0"), "cluster", "far")
	has(t, away, "the image is in us-east-1 and the cluster in eu-west-2", base+"/replication")
	root.In("eu-west-2").CreateRepository(t, "team/app").Push(t, "1.0", im)
	has(t, check("text", pod(host+"team/app:1.0"), "cluster", "far"),
		"the same image is there: use "+root.ID+".dkr.ecr.eu-west-2.", "/console/"+root.ID+"/eu-west-2/repositories/team/app")

	for text, want := range map[string]string{
		"":     "The text names no images",
		"\x00": "not read",
		"apiVersion: kustomize.config.k8s.io/v1\nkind: Kustomization\n":              "paste what kubectl kustomize prints",
		"services: {web: {image: '" + host + "team/app:1.0'}}":                       "service web",
		pod(`"><script>alert(1)</script>`):                                           "not read",
		pod(host + "team/APP:1.0"):                                                   "not read",
		"a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b]": "it is no object",
	} {
		page := check("text", text)
		if has(t, page, want); strings.Contains(page, "<script>alert") {
			t.Errorf("%q stands in the page as it is", text)
		}
	}
	has(t, v.post(at, "do", "check", "text", pod("a"), "platform", "linux").body, "no platform, such as linux/arm64")
	has(t, v.post(at, "do", "check", "text", pod("a"), "principal", canary).body, "Nothing was changed", "principal")
	if g := v.post(at, "do", "check", "text", pod("a"), "cluster", "none"); g.status == http.StatusOK {
		t.Error("a cluster that is not there: got a result")
	}
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("%steam/app:1.%d", host, i))
	}
	has(t, check("text", pod(many...)), "1 of 30 images is ready", "10 images more were not asked for")

	var image ecrintypes.SearchRepositoriesResponse
	s.Operator(t, "SearchRepositories", ecrintypes.SearchRepositoriesRequest{RegistryId: root.ID, RepositoryPrefix: "team/app"}, &image)
	if p := image.Repositories[0].LastRecordedPullTime; p != nil {
		t.Errorf("the check counts as a pull: %v", p)
	}
	half := visit(t, s).in(userWith(t, s, root, "half", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/other/*"}]}`))
	g := half.post(at, "do", "check", "text", pod(host+"team/app:1.0"), "principal", root.ID)
	if has(t, g.body, "not ready", "is not authorized"); strings.Contains(g.body, digest[7:19]) {
		t.Error("the page shows what the person may not see")
	}
}

// linkOf returns the address of a link of a page by its text.
func linkOf(t *testing.T, page, text string) string {
	t.Helper()
	head, _, found := strings.Cut(page, ">"+text+"<")
	if !found {
		t.Fatalf("the page has no link %q", text)
	}
	_, to, _ := strings.Cut(head[strings.LastIndex(head, "<a "):], `href="`)
	to, _, _ = strings.Cut(to, `"`)
	return strings.ReplaceAll(to, "&amp;", "&")
}
