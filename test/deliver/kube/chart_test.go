package kube_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
)

// TestChartOfTheServer: the objects of the chart of the server pass a server-side dry run for each way of storage, TLS and ingress, helm's
// own installation with a dry run too, and an object with a member that does not exist would not pass.
func TestChartOfTheServer(t *testing.T) {
	t.Parallel()
	helm := helmProgram(t)
	const chart = "../../../deploy/helm/ecrin"
	c := kubetest.Start(t, kubetest.Options{Controllers: true})
	render := func(set string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), helm, "template", "x", chart, "--namespace", "default", "--set", set)
		cmd.Env = append(cmd.Environ(), "HOME="+t.TempDir())
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("helm template --set %s: %v", set, err)
		}
		return string(out)
	}
	dry := []string{"apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"}
	for _, set := range []string{
		"image.tag=1",
		"database.url=postgres://u:p@db/e,replicas=2,masterKey.existingSecret=key",
		"ingress.enabled=true,ingress.hosts={a.example.com},ingress.tlsSecret=t,ingress.className=nginx",
		"tls.secret=t,hostPort=443,persistence.enabled=false,metrics.port=0,config.domains={ecr.example.com}",
		"serviceAccount.annotations.eks\\.amazonaws\\.com/role-arn=arn:aws:iam::111122223333:role/ecrin",
	} {
		objects := render(set)
		out, err := c.TryKubectl(c.Kubeconfig, objects, dry...)
		for _, kind := range []string{"statefulset.apps/", "service/", "configmap/", "serviceaccount/"} {
			if err != nil || !strings.Contains(out, kind) {
				t.Errorf("--set %s: got %v and\n%s\nwant an object %s", set, err, out, kind)
				break
			}
		}
	}
	wrong := strings.Replace(render("image.tag=1"), "serviceName:", "servicesName:", 1)
	if out, err := c.TryKubectl(c.Kubeconfig, wrong, dry...); err == nil {
		t.Errorf("a member that does not exist: got %s, want a refusal", out)
	}
	cmd := exec.CommandContext(t.Context(), helm, "install", "x", chart, "--dry-run=server", "--kubeconfig", c.Kubeconfig)
	cmd.Env = append(cmd.Environ(), "HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("helm install --dry-run=server: %v\n%s", err, out)
	}
}

// helmProgram returns the path of helm, which tools/clients/install installs.
func helmProgram(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("helm"); err == nil {
		return path
	}
	out, err := exec.CommandContext(t.Context(), "../../../tools/clients/install", "where").Output()
	if err == nil {
		if found, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "helm-*[0-9]")); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatal("helm is missing: run tools/clients/install")
	return ""
}
