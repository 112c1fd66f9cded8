package kube_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// step is one of `ecrin explain pull --json`.
type step struct {
	Name, Found, Problem, Cure string
	Passed                     bool
}

// explainPod returns the steps of the pull of a pod.
func explainPod(t *testing.T, env []string, pod string) []step {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "explain", "pull", "--pod", pod, "--platform", "linux/amd64", "--json")
	cmd.Env = env
	out, err := cmd.Output()
	var got struct {
		Image  string
		Passed bool
		Steps  []step
	}
	if bad := json.Unmarshal(out, &got); bad != nil || len(got.Steps) == 0 || got.Passed != (err == nil) {
		t.Fatalf("explain pull --pod %s: got %q, %v", pod, out, err)
	}
	return got.Steps
}

// TestExplainPullOfAPod: what breaks the credentials of a pod is the first step that fails; its commands are run as they are printed, and
// the pull is explained without a failure then.
func TestExplainPullOfAPod(t *testing.T) {
	t.Parallel()
	var now clock
	c := kubetest.Start(t, kubetest.Options{Controllers: true})
	r := startRegistry(t, now.now)
	image := ocitest.NewImage(1, 1000)
	r.Root(t).CreateRepository(t, "team/app").Push(t, "1.0", image)
	env := append(r.env, "KUBECONFIG="+c.Kubeconfig)
	secret := func(label, kind, key, content string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":%q,"namespace":"NS"},"type":%q,"stringData":{%q:%q}}`, label, kind,
			key, content)
	}
	const dockerJSON, key = "kubernetes.io/dockerconfigjson", ".dockerconfigjson"
	for _, tc := range []struct {
		what, namespace, secrets, object string
		step, problem                    string
		later                            time.Duration // after the secret was made by the refresher
	}{
		{"no pull secret", "none", ``, ``, "credential", "names no pull secret", 0},
		{"a pull secret that is missing", "missing", `{"name":"mine"}`, ``, "credential", "mine does not exist", 0},
		{"a secret of another type", "type", `{"name":"mine"}`, secret("mine", "Opaque", "a", "b"), "credential", "type Opaque", 0},
		{"a secret for another host", "host", `{"name":"mine"}`, secret("mine", dockerJSON, key, `{"auths":{"ghcr.io":{"auth":"YTpi"}}}`),
			"credential", "no entry for " + r.host, 0},
		{"a wrong password", "wrong", `{"name":"mine"}`, secret("mine", dockerJSON, key, `{"auths":{"`+r.host+`":{"auth":"QVdTOng="}}}`),
			"token", "mine", 0},
		{"an old token", "old", `{"name":"ecrin-registry"}`, ``, "token", "expired", 13 * time.Hour},
	} {
		c.Kubectl("create", "namespace", tc.namespace)
		c.Eventually(t, wait, "the service account", func() error { _, err := get(c, tc.namespace, "sa/default"); return err })
		pod := func() {
			c.Apply(fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":%q},"spec":{"imagePullSecrets":[%s],
				"containers":[{"name":"main","image":%q}]}}`, tc.namespace, tc.secrets, r.host+"/team/app:1.0"))
		}
		if tc.object != "" {
			c.Apply(strings.ReplaceAll(tc.object, "NS", tc.namespace))
		}
		if tc.later > 0 {
			if out, err := once(t, env, "--registry", r.host, "--namespace", tc.namespace); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			now.move(tc.later)
		}
		pod()
		steps := explainPod(t, env, tc.namespace+"/web")
		last := steps[len(steps)-1]
		if last.Passed || last.Name != tc.step || !strings.Contains(last.Problem, tc.problem) {
			t.Errorf("%s: got %+v, want the step %s to fail with %q", tc.what, last, tc.step, tc.problem)
			continue
		}
		if m := regexp.MustCompile(`kubectl ([^;]+);`).FindStringSubmatch(last.Cure); m != nil {
			c.Kubectl(strings.Fields(m[1])...)
		}
		m := regexp.MustCompile(`ecrin refresh kubernetes --once ([^(]+)`).FindStringSubmatch(last.Cure)
		if m == nil {
			t.Fatalf("%s: the cure %q has no command", tc.what, last.Cure)
		}
		if out, err := once(t, env, strings.Fields(m[1])...); err != nil {
			t.Fatalf("%s: %s: %v\n%s", tc.what, m[0], err, out)
		}
		if strings.Contains(last.Cure, "delete the pod") {
			c.Kubectl("delete", "pod", "--namespace", tc.namespace, "web", "--now")
			pod()
		}
		steps = explainPod(t, env, tc.namespace+"/web")
		if last := steps[len(steps)-1]; !last.Passed || last.Name != "node" || last.Found != "the pod is on no node yet" {
			t.Errorf("%s: after %q: got %+v, want all steps to pass", tc.what, m[0], last)
		}
	}
}

// TestExplainPullOfAPodOnANode: on a node, a pod whose secret ends is explained with what the kubelet says, and after the cure with
// the pull by the node.
func TestExplainPullOfAPodOnANode(t *testing.T) {
	t.Parallel()
	c, r, _ := startNode(t, nil)
	env := append(r.env, "KUBECONFIG="+c.Kubeconfig)
	c.Eventually(t, wait, "the service account", func() error { _, err := get(c, "default", "sa/default"); return err })
	c.Apply(fmt.Sprintf(podYAML, "early", "default", r.host+"/team/app:1.0"))
	c.Eventually(t, time.Minute, "the failure of the node", func() error {
		steps := explainPod(t, env, "default/early")
		if last := steps[len(steps)-1]; last.Name != "credential" || last.Passed {
			return fmt.Errorf("got %+v", last)
		}
		if out := c.Kubectl("describe", "pod", "early"); !strings.Contains(out, "ImagePull") {
			return fmt.Errorf("the node has not tried:\n%s", out)
		}
		return nil
	})
	if out, err := once(t, env, "--registry", r.host, "--namespace", "default"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.Apply(fmt.Sprintf(podYAML, "late", "default", r.host+"/team/app:1.0"))
	runs(t, c, "default", "late", time.Minute)
	steps := explainPod(t, env, "default/late")
	if last := steps[len(steps)-1]; !last.Passed || !strings.Contains(last.Found, "has pulled the image") {
		t.Errorf("a pod that runs: got %+v", last)
	}
}
