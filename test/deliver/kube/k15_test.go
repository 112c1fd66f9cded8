package kube_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
)

// startPlugin starts a registry with some images, and a cluster with a node whose kubelet calls the provider. connect connects the cluster
// before the node starts, with flags for the node; it is called with those flags.
func startPlugin(t *testing.T, repositories []string, connect func(*kubetest.Cluster, registry, []string)) (
	c *kubetest.Cluster, r registry, digest, node string) {
	t.Helper()
	image, err := kubetest.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := kubetest.Archive(image, kubetest.Sandbox)
	if err != nil {
		t.Fatal(err)
	}
	r, node = startRegistry(t, nil), filepath.Join(t.TempDir(), "node")
	for _, one := range repositories {
		r.Root(t).CreateRepository(t, one).Push(t, "1.0", image)
	}
	dir, bin := filepath.Join(node, "etc"), filepath.Join(node, "bin")
	c = kubetest.Start(t, kubetest.Options{Node: true, Image: archive, Kubelet: func(c *kubetest.Cluster) []string {
		connect(c, r, []string{"--kubeconfig", c.Kubeconfig, "--node", "other", "--dir", dir, "--bin-dir", bin, "--write",
			"--registry", r.host, "--endpoint", r.URL})
		return []string{"--image-credential-provider-config=" + dir + "/credential-provider.yaml",
			"--image-credential-provider-bin-dir=" + bin}
	}})
	return c, r, image.Digest, node
}

// podAs returns a pod of a service account.
func podAs(label, namespace, account, image string) string {
	return strings.Replace(fmt.Sprintf(podYAML, label, namespace, image), `"spec":{`,
		fmt.Sprintf(`"spec":{"serviceAccountName":%q,`, account), 1)
}

// waitForAccount waits until the API server accepts pods of a namespace.
func waitForAccount(t *testing.T, c *kubetest.Cluster, namespace string) {
	t.Helper()
	c.Eventually(t, wait, "the service account", func() error { _, err := get(c, namespace, "sa/default"); return err })
}

// credentialForms are the forms of credentials of a registry: pull secrets, access keys, and passwords of ecrin.
var credentialForms = regexp.MustCompile(`dockerconfigjson|dockercfg|\bA[KS]IA[A-Z2-7]{16}\b|[aA][wW][sS]_[sS][eE][cC][rR][eE][tT]`)

// searchEtcd returns what looks like a credential in a cluster's etcd: in its values of today, and in all files with their history. The
// names of types in schemas are no credentials, so only objects are searched by form, and the files by the known secrets alone.
func searchEtcd(t *testing.T, c *kubetest.Cluster, secrets ...string) (found []string) {
	t.Helper()
	resp, err := http.Post("http://"+c.Etcd+"/v3/kv/range", "application/json", strings.NewReader(`{"key":"AA==","range_end":"AA=="}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all struct {
		KVs []struct{ Key, Value []byte } `json:"kvs"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil || len(all.KVs) < 50 {
		t.Fatalf("etcd: got %d keys and %v, want all of the cluster", len(all.KVs), err)
	}
	for _, kv := range all.KVs {
		if strings.HasPrefix(string(kv.Key), "/registry/secrets/") {
			found = append(found, "the secret "+string(kv.Key))
		}
		if m := credentialForms.Find(kv.Value); m != nil {
			found = append(found, fmt.Sprintf("%q in %s", m, kv.Key))
		}
	}
	err = filepath.WalkDir(filepath.Join(c.Dir, "etcd"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, s := range secrets {
			if bytes.Contains(text, []byte(s)) {
				found = append(found, "a known secret in "+path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// K15: after one command and the files of the node, pods pull, and neither etcd nor the node has a credential.
func TestK15NothingIsStored(t *testing.T) {
	t.Parallel()
	var out string
	c, r, digest, node := startPlugin(t, []string{"team/app"}, func(c *kubetest.Cluster, r registry, flags []string) {
		account(c, "shop", "web")
		out = r.must(t, append([]string{"cluster", "connect", "c1", "--service-account", "shop/web"}, flags...)...)
	})
	if !strings.Contains(out, "each node: sudo ecrin credential kubelet --distribution other --role arn:aws:iam::") {
		t.Errorf("connect does not say what the other nodes need:\n%s", out)
	}
	waitForAccount(t, c, "shop")
	c.Apply(podAs("main", "shop", "web", r.host+"/team/app:1.0"))
	if got := runs(t, c, "shop", "main", time.Minute); got != digest {
		t.Errorf("the container was started from %s, want %s\n%s", got, digest, c.Logs())
	}
	if out := c.Kubectl("describe", "pod", "-n", "shop", "main"); !strings.Contains(out, digest) ||
		!strings.Contains(out, "Successfully pulled") {
		t.Errorf("kubectl describe pod does not show the pull and the digest:\n%s", out)
	}
	r.must(t, "doctor", "kubelet", "--config", node+"/etc/credential-provider.yaml", "--bin-dir", node+"/bin", "--registry", r.host)
	root := r.Root(t)
	if found := searchEtcd(t, c, root.Secret, root.KeyID); len(found) > 0 {
		t.Errorf("etcd has credentials:\n%s", strings.Join(found, "\n"))
	}
	err := filepath.WalkDir(node, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if m := credentialForms.Find(text); m != nil || bytes.Contains(text, []byte(root.Secret)) {
			t.Errorf("%s has a credential (%q)", path, m)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// The search finds what is there.
	c.Kubectl("create", "secret", "docker-registry", "-n", "shop", "planted", "--docker-server="+r.host, "--docker-username="+root.KeyID,
		"--docker-password="+root.Secret)
	found := strings.Join(searchEtcd(t, c, root.Secret), "\n")
	for _, want := range []string{"/registry/secrets/shop/planted", "dockerconfigjson", "a known secret"} {
		if !strings.Contains(found, want) {
			t.Errorf("the search does not find a secret that was planted: no %q in\n%s", want, found)
		}
	}
	// A pod of a service account that was not chosen gets no credential.
	c.Apply(podAs("stranger", "shop", "default", r.host+"/team/app:1.0"))
	waits(t, c, "shop", "stranger")
}

// waits waits until a pod waits for an image that it may not pull.
func waits(t *testing.T, c *kubetest.Cluster, namespace, pod string) {
	t.Helper()
	c.Eventually(t, time.Minute, "the pod "+pod+" that may not pull", func() error {
		out := c.Kubectl("describe", "pod", "-n", namespace, pod)
		if !strings.Contains(out, "ErrImagePull") && !strings.Contains(out, "ImagePullBackOff") ||
			!strings.Contains(out, "403 Forbidden") && !strings.Contains(out, "401") && !strings.Contains(out, "authorization failed") {
			return fmt.Errorf("it does not fail because of the pull:\n%s", out)
		}
		return nil
	})
}

// K16: two service accounts with two roles pull what their role may; the image of the other is denied with the reason, also after the other
// has pulled it on the same node. It is so with both values of cacheType.
func TestK16TwoRoles(t *testing.T) {
	t.Parallel()
	for _, cache := range []string{"ServiceAccount", "Token"} {
		t.Run(cache, func(t *testing.T) {
			c, r, digest, node := startPlugin(t, []string{"shop/web", "shop/api"}, func(c *kubetest.Cluster, r registry, flags []string) {
				for _, one := range []string{"web", "api"} {
					account(c, "shop", one)
					r.must(t, append([]string{"cluster", "connect", "c1", "--service-account", "shop/" + one, "--role", one, "--annotate",
						"--repository", "shop/" + one, "--cache-type", cache}, flags...)...)
				}
			})
			waitForAccount(t, c, "shop")
			for _, one := range []string{"web", "api"} {
				c.Apply(podAs(one, "shop", one, r.host+"/shop/"+one+":1.0"))
				if got := runs(t, c, "shop", one, time.Minute); got != digest {
					t.Errorf("%s: the container was started from %s, want %s", one, got, digest)
				}
			}
			for own, other := range map[string]string{"web": "api", "api": "web"} {
				c.Apply(podAs(own+"-"+other, "shop", own, r.host+"/shop/"+other+":1.0"))
				waits(t, c, "shop", own+"-"+other)
				const want = "because no identity-based policy allows the ecr:BatchGetImage action"
				if got := r.asPlugin(t, c, node, "shop", own, "shop/"+other); !strings.Contains(got, want) {
					t.Errorf("%s pulls the image of %s: got %s, want %q", own, other, got, want)
				}
			}
		})
	}
}

// asPlugin gets a credential as the kubelet does for a service account, and returns what the registry answers about an image.
func (r registry) asPlugin(t *testing.T, c *kubetest.Cluster, node, namespace, label, repository string) string {
	t.Helper()
	sa, err := get(c, namespace, "sa/"+label)
	if err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(map[string]any{"apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderRequest",
		"image": r.host + "/" + repository, "serviceAccountToken": token(c, namespace, label, audience),
		"serviceAccountAnnotations": sa.Metadata.Annotations})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(node, "bin/ecrin-credential-provider"),
		"--config="+filepath.Join(node, "etc/credentials.yaml"))
	cmd.Stdin, cmd.Env = bytes.NewReader(request), []string{"AWS_EC2_METADATA_DISABLED=true"}
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("the provider: %v", err)
	}
	var answer struct {
		Auth map[string]struct{ Username, Password string }
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Auth[r.host].Password == "" {
		t.Fatalf("the provider answers %s (%v)", text, err)
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/v2/"+repository+"/manifests/1.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.SetBasicAuth(answer.Auth[r.host].Username, answer.Auth[r.host].Password)
	resp, err := r.HTTP.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status + " " + string(body)
}
