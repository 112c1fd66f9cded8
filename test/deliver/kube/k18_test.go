package kube_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
)

// K18: ecrin credential status shows per namespace and service account the source, the age, the end, the last pull and the last error. One
// of two namespaces fails, since its secret has another type, which stays.
func TestK18Status(t *testing.T) {
	t.Parallel()
	c, r, _ := startNode(t, nil)
	for _, namespace := range []string{"good", "bad"} {
		c.Apply(fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, namespace))
		c.Eventually(t, wait, "the service account", func() error { _, err := get(c, namespace, "sa/default"); return err })
	}
	c.Kubectl("create", "secret", "generic", "-n", "bad", "ecrin-registry", "--from-literal=a=b")
	out, err := once(t, r.env, "--kubeconfig", c.Kubeconfig, "--registry", r.host)
	if err == nil || !strings.Contains(out, "the secret bad/ecrin-registry has the type Opaque, not kubernetes.io/dockerconfigjson") {
		t.Errorf("with a secret of another type: got %v, %s, want an error that names the secret and the types", err, out)
	}
	if s, err := get(c, "bad", "secret/ecrin-registry"); err != nil || s.Type != "Opaque" || string(s.Data["a"]) != "b" {
		t.Errorf("the secret of another type: got type %s with %d entries, error %v, want it as it was", s.Type, len(s.Data), err)
	}
	image := r.host + "/team/app:1.0"
	c.Apply(fmt.Sprintf(podYAML, "app", "good", image))
	c.Apply(fmt.Sprintf(podYAML, "app", "bad", image))
	runs(t, c, "good", "app", time.Minute)
	status := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, append([]string{"credential", "status", "--kubeconfig", c.Kubeconfig}, args...)...)
		cmd.Env = r.env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("ecrin credential status: %v\n%s", err, out)
		}
		return string(out)
	}
	c.Eventually(t, time.Minute, "the status", func() error {
		var all []kube.Status
		if err := json.Unmarshal([]byte(status("--json")), &all); err != nil {
			return err
		}
		good := slices.IndexFunc(all, func(s kube.Status) bool {
			return s.Namespace == "good" && s.ServiceAccount == "default" && s.Host == r.host && s.Secret == "ecrin-registry" &&
				s.Source == "environment" && time.Since(s.RefreshedAt) < 5*time.Minute && time.Until(s.ExpiresAt) > 11*time.Hour &&
				time.Since(s.LastPull) < 5*time.Minute && s.LastError == ""
		})
		refused := slices.IndexFunc(all, func(s kube.Status) bool {
			return s.Namespace == "bad" && s.ServiceAccount == "" && s.Secret == "ecrin-registry" &&
				strings.Contains(s.LastError, "has the type Opaque")
		})
		failed := slices.IndexFunc(all, func(s kube.Status) bool {
			return s.Namespace == "bad" && s.ServiceAccount == "default" && s.Host == r.host && s.Secret == "" && s.LastPull.IsZero() &&
				strings.Contains(s.LastError, "401 Unauthorized")
		})
		if good < 0 || refused < 0 || failed < 0 {
			return fmt.Errorf("got %+v", all)
		}
		return nil
	})
	text := status("--namespace", "good")
	for _, want := range []string{"NAMESPACE", "good", "default", r.host, "environment", "in 1", "ecrin-registry"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table has no %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "bad") {
		t.Errorf("the table of one namespace has another:\n%s", text)
	}
}
