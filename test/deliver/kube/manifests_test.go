package kube_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
)

const manifests = "../../../deploy/kubernetes"

// The manifests and the kustomize base pass a server-side dry run and give the same objects, and their service account has exactly the
// rights that the refresher needs: it serves the cluster with them, and can neither read other secrets nor delete anything.
func TestManifests(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t, kubetest.Options{Controllers: true})
	r := startRegistry(t, nil)
	c.Kubectl("create", "namespace", "ecrin-refresh") // a dry run creates none
	for _, how := range [][]string{{"-f", manifests + "/refresher.yaml"}, {"-k", manifests}} {
		c.Kubectl(append([]string{"apply", "--server-side", "--force-conflicts", "--dry-run=server"}, how...)...)
	}
	c.Kubectl("apply", "--server-side", "--force-conflicts", "-k", manifests)
	token := strings.TrimSpace(c.Kubectl("create", "token", "-n", "ecrin-refresh", "ecrin-refresh"))
	own := c.KubeconfigOf("refresher", token)
	c.Kubectl("create", "secret", "generic", "-n", "default", "other", "--from-literal=a=b")
	run := refresh(t, r.env, "--kubeconfig", own, "--registry", r.host)
	c.Eventually(t, wait, "the pull secret", func() error {
		s, err := get(c, "default", "secret/ecrin-registry")
		if err == nil {
			err = r.pulls(t.Context(), s)
		}
		return err
	})
	c.Apply(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"later"}}`)
	c.Eventually(t, wait, "the pull secret of a new namespace", func() error {
		s, err := get(c, "later", "secret/ecrin-registry")
		if err == nil {
			err = r.pulls(t.Context(), s)
		}
		return err
	})
	run.stop(t)
	if text := run.log.String(); strings.Contains(text, "forbidden") {
		t.Errorf("the refresher lacks a right:\n%s", text)
	}
	for _, denied := range []string{"get secret/other", "list secrets", "delete secret/ecrin-registry", "delete namespaces", "create pods",
		"get configmaps", "create serviceaccounts/token", "update namespaces"} {
		verb, what, _ := strings.Cut(denied, " ")
		if out, _ := c.TryKubectl(own, "", "auth", "can-i", "-n", "default", verb, what); strings.TrimSpace(out) != "no" {
			t.Errorf("%s: got %q, want no", denied, out)
		}
	}
}
