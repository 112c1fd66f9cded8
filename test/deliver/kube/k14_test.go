package kube_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
)

// clock is the clock of a server.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) move(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += by
}

const podYAML = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":%q},"spec":{"hostNetwork":true,
"terminationGracePeriodSeconds":0,"tolerations":[{"operator":"Exists"}],"containers":[{"name":"main","image":%q,
"imagePullPolicy":"Always"}]}}`

// startNode starts a cluster with a node, and a registry with the image team/app:1.0, which runs there.
func startNode(t *testing.T, now func() time.Time) (*kubetest.Cluster, registry, string) {
	t.Helper()
	image, err := kubetest.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := kubetest.Archive(image, kubetest.Sandbox)
	if err != nil {
		t.Fatal(err)
	}
	r := startRegistry(t, now)
	r.Root(t).CreateRepository(t, "team/app").Push(t, "1.0", image)
	return kubetest.Start(t, kubetest.Options{Node: true, Image: archive}), r, image.Digest
}

// runs waits until a container of a pod runs, and returns the digest that it was started from.
func runs(t *testing.T, c *kubetest.Cluster, namespace, pod string, limit time.Duration) string {
	t.Helper()
	var id string
	c.Eventually(t, limit, "the pod "+pod, func() error {
		out, err := c.TryKubectl(c.Kubeconfig, "", "get", "pod", "-n", namespace, pod, "-o",
			"jsonpath={.status.containerStatuses[0].state.running.startedAt} {.status.containerStatuses[0].imageID}")
		if err != nil {
			return err
		}
		started, image, _ := strings.Cut(out, " ")
		if started == "" {
			return fmt.Errorf("it does not run:\n%s", c.Kubectl("describe", "pod", "-n", namespace, pod))
		}
		id = image
		return nil
	})
	_, digest, _ := strings.Cut(id, "@")
	return digest
}

// K14: a pod whose pull secret is 13 hours old waits in ImagePullBackOff, and runs by itself after a refresh. containerd asks by HEAD,
// whose answer has no content, so that the pod shows 403 Forbidden; a GET with the same secret is answered by ECR's text.
func TestK14ExpiredPullSecret(t *testing.T) {
	t.Parallel()
	var now clock
	c, r, digest := startNode(t, now.now)
	c.Apply(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`)
	c.Eventually(t, wait, "the service account", func() error { _, err := get(c, "shop", "sa/default"); return err })
	args := []string{"--kubeconfig", c.Kubeconfig, "--registry", r.host, "--namespace", "shop"}
	if out, err := once(t, r.env, args...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.Apply(fmt.Sprintf(podYAML, "fresh", "shop", r.host+"/team/app:1.0"))
	if got := runs(t, c, "shop", "fresh", time.Minute); got != digest {
		t.Errorf("with a fresh secret: got the image %s, want %s", got, digest)
	}
	now.move(13 * time.Hour)
	c.Apply(fmt.Sprintf(podYAML, "late", "shop", r.host+"/team/app:1.0"))
	c.Eventually(t, time.Minute, "the pod that waits", func() error {
		out := c.Kubectl("describe", "pod", "-n", "shop", "late")
		for _, want := range []string{"ImagePullBackOff", "403 Forbidden"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("no %q in:\n%s", want, out)
			}
		}
		return nil
	})
	before, err := get(c, "shop", "secret/ecrin-registry")
	if err != nil {
		t.Fatal(err)
	}
	const expired = "Your authorization token has expired. Reauthenticate and try again."
	if err := r.pulls(t.Context(), before); err == nil || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), expired) {
		t.Errorf("GET with the old secret: got %v, want 403 with %q", err, expired)
	}
	if out, err := once(t, r.env, args...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := runs(t, c, "shop", "late", 2*time.Minute); got != digest {
		t.Errorf("after the refresh: got the image %s, want %s", got, digest)
	}
	if after, err := get(c, "shop", "secret/ecrin-registry"); err != nil || after.Metadata.UID != before.Metadata.UID {
		t.Errorf("the secret: got UID %s, error %v, want %s as before", after.Metadata.UID, err, before.Metadata.UID)
	}
}
