package kube_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
)

const refreshChart = "../../../deploy/helm/ecrin-refresh"

// helm runs the real helm.
func helm(t *testing.T, kubeconfig string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), helmProgram(t), args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "KUBECONFIG="+kubeconfig)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// podLogs returns the logs of all containers of the node.
func podLogs(c *kubetest.Cluster) string {
	var b strings.Builder
	found, _ := filepath.Glob(filepath.Join(c.Dir, "pods/*/*/*.log")) // the pattern is right
	for _, path := range found {
		if text, err := os.ReadFile(path); err == nil {
			fmt.Fprintf(&b, "== %s\n%s", path, text)
		}
	}
	return b.String()
}

// The chart passes helm's linter, and values that cannot work are refused.
func TestRefreshChart(t *testing.T) {
	t.Parallel()
	if out, err := helm(t, "", "lint", "--strict", refreshChart, "--set", "registries={a.example.com:5100}"); err != nil ||
		strings.Contains(out, "[WARNING]") {
		t.Errorf("helm lint: %v\n%s", err, out)
	}
	for set, want := range map[string]string{
		"secret=x":                                         "registries",
		"registries={https://a.example.com}":               "registries",
		"registries={a.example.com},role=pull":             "role",
		"registries={a.example.com},followKeys=c1":         "followKeys needs endpoint",
		"registries={a.example.com},endpoint=https://a/b/": "endpoint",
	} {
		if out, err := helm(t, "", "template", "x", refreshChart, "--set", set); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: got %v, want an error about %q\n%s", set, err, want, out)
		}
	}
}

// Where nodes cannot be changed, the refresher runs in a pod by the values that cluster connect prints: with a projected token and no
// secret of its own. A pod of a chosen namespace pulls by its pull secret, and a new key of the issuer is uploaded by the second container.
func TestRefresherInThePod(t *testing.T) {
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
	connect := exec.CommandContext(t.Context(), binary, "cluster", "connect", "c1", "--kubeconfig", c.Kubeconfig, "--refresher",
		"--namespace", "shop", "--registry", r.host, "--endpoint", r.URL)
	connect.Env = append(r.env, "ECRIN_DATA="+r.Dir)
	var said log
	connect.Stderr = &said
	values, err := connect.Output()
	if err != nil {
		t.Fatalf("connect: %v\n%s", err, &said)
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, values, 0o600); err != nil {
		t.Fatal(err)
	}
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
	// The test has no network for services: the pod reaches the API server at its address on the host.
	if out, err := helm(t, c.Kubeconfig, "install", "ecrin-refresh", refreshChart, "--namespace", "ecrin-refresh", "--values", file,
		"--set", "image.repository=ecrin.test/ecrin,image.tag=1,hostNetwork=true,followEvery=1s,tolerations[0].operator=Exists,port="+port,
		"--set-string", "extraEnv[0].name=KUBERNETES_SERVICE_HOST,extraEnv[0].value=127.0.0.1",
		"--set-string", "extraEnv[1].name=KUBERNETES_SERVICE_PORT,extraEnv[1].value="+api.Port(),
		"--set-json", `resources={"limits":{"memory":"512Mi"}}`); err != nil {
		t.Fatalf("helm install: %v\n%s\nwith\n%s", err, out, values)
	}
	c.Eventually(t, 90*time.Second, "the pull secret", func() error {
		s, err := get(c, "shop", "secret/ecrin-registry")
		if err == nil {
			err = r.pulls(t.Context(), s)
		}
		if err != nil {
			err = fmt.Errorf("%w\n%s\n%s", err, c.Kubectl("describe", "pod", "-n", "ecrin-refresh"), podLogs(c))
		}
		return err
	})
	waitForAccount(t, c, "shop")
	c.Eventually(t, wait, "the service account", func() error {
		sa, err := get(c, "shop", "sa/default")
		if err == nil && len(sa.secrets()) == 0 {
			err = fmt.Errorf("it has no pull secret")
		}
		return err
	})
	c.Apply(fmt.Sprintf(podYAML, "main", "shop", r.host+"/team/app:1.0"))
	if got := runs(t, c, "shop", "main", time.Minute); got != image.Digest {
		t.Errorf("the container was started from %s, want %s", got, image.Digest)
	}
	if out := c.Kubectl("get", "secrets", "-n", "ecrin-refresh", "-o", "jsonpath={.items[*].type}"); strings.TrimSpace(
		strings.ReplaceAll(out, "helm.sh/release.v1", "")) != "" {
		t.Errorf("the namespace of the refresher has secrets of the types %s, want that of helm's release alone", out)
	}
	c.RotateKeys(t, "both")
	fresh := token(c, "shop", "web", audience)
	c.Eventually(t, time.Minute, "the upload of the new key", func() error {
		if got := r.assume(t, "c1-pull", fresh); got != "" {
			return fmt.Errorf("a token of the new key: %s\n%s", got, podLogs(c))
		}
		return nil
	})
}
