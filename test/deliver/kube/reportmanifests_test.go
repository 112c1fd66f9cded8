package kube_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
)

const reportManifests = "../../../deploy/kubernetes/report-watch"

// overlay is an overlay of the base, as docs/reports.md has one, for a node that has no network for services: the pod is on the network
// of the host, and its API server too.
const overlay = `resources: [%s]
images: [{name: ecrin, newName: ecrin.test/ecrin, newTag: "1"}]
configMapGenerator:
  - name: ecrin-report
    namespace: ecrin-report
    behavior: merge
    literals: [cluster=staging, "AWS_ENDPOINT_URL=%s", AWS_REGION=%s, "AWS_ROLE_ARN=%s",
      AWS_WEB_IDENTITY_TOKEN_FILE=/run/secrets/ecrin/token, KUBERNETES_SERVICE_HOST=127.0.0.1, "KUBERNETES_SERVICE_PORT=%s"]
patches:
  - target: {kind: Deployment}
    patch: |
      - {op: add, path: /spec/template/spec/hostNetwork, value: true}
      - {op: add, path: /spec/template/spec/tolerations, value: [{operator: Exists}]}
      - {op: replace, path: /spec/template/spec/containers/0/args/2, value: "--listen=:%s"}
      - {op: replace, path: /spec/template/spec/containers/0/ports/0/containerPort, value: %[6]s}
      - {op: replace, path: /spec/template/spec/containers/0/resources/limits/memory, value: 512Mi}
`

// The manifests of the watch and their kustomize base pass a server-side dry run, and their service account may list and watch pods, and
// nothing else. In a pod, with a role that trusts the service account's projected token and no secret, the watch reports what runs.
func TestReportManifests(t *testing.T) {
	t.Parallel()
	image, err := kubetest.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := kubetest.Archive(image, kubetest.Sandbox)
	if err != nil {
		t.Fatal(err)
	}
	own, err := kubetest.Program(binary, "bin/ecrin", `"Entrypoint":["/bin/ecrin"]`)
	if err != nil {
		t.Fatal(err)
	}
	ownArchive, err := kubetest.Archive(own, "ecrin.test/ecrin:1")
	if err != nil {
		t.Fatal(err)
	}
	r := startRegistry(t, nil)
	r.Root(t).CreateRepository(t, "team/app").Push(t, "1.0", image)
	c := kubetest.Start(t, kubetest.Options{Node: true, Image: archive, Images: [][]byte{ownArchive}})
	account(c, "shop", "web")
	c.Kubectl("create", "namespace", "ecrin-report") // a dry run creates none
	for _, how := range [][]string{{"-f", reportManifests + "/watch.yaml"}, {"-k", reportManifests}} {
		c.Kubectl(append([]string{"apply", "--server-side", "--force-conflicts", "--dry-run=server"}, how...)...)
	}

	// The role of the watch, as docs/reports.md makes it: the cluster's issuer is connected, and the role trusts one service account.
	r.must(t, "cluster", "connect", "c1", "--kubeconfig", c.Kubeconfig, "--namespace", "shop")
	role := r.reportRole(t)
	api, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	dir := t.TempDir()
	base, err := filepath.Abs(reportManifests)
	if err != nil {
		t.Fatal(err)
	}
	if base, err = filepath.Rel(dir, base); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(overlay, base, r.URL, r.Root(t).Region, role, api.Port(), port)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Kubectl("apply", "--server-side", "--force-conflicts", "-k", dir)

	if out, err := once(t, r.env, "--kubeconfig", c.Kubeconfig, "--registry", r.host, "--namespace", "shop"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	app := r.host + "/team/app:1.0"
	c.Apply(fmt.Sprintf(deploymentYAML, app))
	want := "staging.shop/web " + app + "@" + image.Digest
	c.Eventually(t, 90*time.Second, "the deployment", func() error {
		if got := r.deployments(t); !slices.Contains(got, want) {
			return fmt.Errorf("got %q, want %q\n%s\n%s", got, want, c.Kubectl("describe", "pods", "-n", "ecrin-report"), podLogs(c))
		}
		return nil
	})
	c.Eventually(t, wait, "the pod of the watch", func() error {
		if got := c.Kubectl("get", "deployment", "-n", "ecrin-report", "ecrin-report", "-o", "jsonpath={.status.readyReplicas}"); got != "1" {
			return fmt.Errorf("got %q ready, want 1: /readyz\n%s", got, podLogs(c))
		}
		return nil
	})
	if text := podLogs(c); strings.Contains(text, "forbidden") {
		t.Errorf("the watch lacks a right:\n%s", text)
	}
	if got := c.Kubectl("get", "secrets", "-n", "ecrin-report", "-o", "name"); got != "" {
		t.Errorf("the namespace of the watch has the secrets %q, want none", got)
	}

	token := strings.TrimSpace(c.Kubectl("create", "token", "-n", "ecrin-report", "ecrin-report"))
	rights := c.KubeconfigOf("watch", token)
	for what, want := range map[string]string{"list pods": "yes", "watch pods": "yes", "get pods": "no", "get pods/log": "no",
		"create pods/exec": "no", "list secrets": "no", "get configmaps": "no", "list namespaces": "no", "list deployments.apps": "no",
		"create serviceaccounts/token": "no", "create events": "no", "patch serviceaccounts": "no", "delete pods": "no"} {
		verb, object, _ := strings.Cut(what, " ")
		if out, _ := c.TryKubectl(rights, "", "auth", "can-i", "-n", "shop", verb, object); strings.TrimSpace(out) != want {
			t.Errorf("%s: got %q, want %s", what, out, want)
		}
	}
}

// reportRole makes a role that may report deployments, for the service account of the watch, and returns its ARN.
func (r registry) reportRole(t *testing.T) string {
	t.Helper()
	api := r.iam(t)
	providers, err := api.ListOpenIDConnectProviders(t.Context(), &iam.ListOpenIDConnectProvidersInput{})
	if err != nil || len(providers.OpenIDConnectProviderList) != 1 {
		t.Fatalf("the identity providers: got %+v, %v, want that of the cluster", providers, err)
	}
	provider := aws.ToString(providers.OpenIDConnectProviderList[0].Arn)
	_, issuer, _ := strings.Cut(provider, "oidc-provider/")
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":%q},
"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"%s:aud":"sts.amazonaws.com",
"%[2]s:sub":"system:serviceaccount:ecrin-report:ecrin-report"}}}}`, provider, issuer)
	made, err := api.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("c1-report"), AssumeRolePolicyDocument: &trust})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("c1-report"), PolicyName: aws.String("report"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["ecrin:ReportDeployments",
"ecrin:ListDeployments"],"Resource":"arn:aws:ecrin::` + r.Running.Account + `:application/*"}}`)}); err != nil {
		t.Fatal(err)
	}
	return aws.ToString(made.Role.Arn)
}
