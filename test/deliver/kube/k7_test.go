package kube_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
)

const wait = 30 * time.Second // for what a cluster and the refresher do

// K7: every namespace has a pull secret that pulls, its service account names it once and keeps its other secrets, other entries of the
// secret stay, and a new namespace gets it. Namespaces that are excluded by a label get nothing.
func TestK7PullSecretsInEveryNamespace(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t, kubetest.Options{Controllers: true})
	r := startRegistry(t, nil)
	c.Apply(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`)
	c.Apply(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"private","labels":{"ecrin.dev/refresh":"false"}}}`)
	const other = `{"auths":{"ghcr.io":{"auth":"dTpw","email":"x@example.com"}},"credHelpers":{"a.example.com":"x"}}`
	c.Kubectl("create", "secret", "generic", "-n", "shop", "ecrin-registry", "--type=kubernetes.io/dockerconfigjson",
		"--from-literal=.dockerconfigjson="+other)
	c.Eventually(t, wait, "the service account", func() error { _, err := get(c, "shop", "sa/default"); return err })
	c.Kubectl("patch", "-n", "shop", "sa", "default", "-p", `{"imagePullSecrets":[{"name":"mine"}]}`)
	before, err := get(c, "shop", "secret/ecrin-registry")
	if err != nil {
		t.Fatal(err)
	}

	run := refresh(t, r.env, "--kubeconfig", c.Kubeconfig, "--registry", r.host)
	served := func(namespace string) {
		t.Helper()
		c.Eventually(t, wait, "the pull secret of "+namespace, func() error {
			s, err := get(c, namespace, "secret/ecrin-registry")
			if err == nil {
				err = r.pulls(t.Context(), s)
			}
			a, e := get(c, namespace, "sa/default")
			if err = errors.Join(err, e); err == nil && !slices.Contains(a.secrets(), "ecrin-registry") {
				err = fmt.Errorf("the service account names %q", a.secrets())
			}
			return err
		})
	}
	served("shop")
	served("default")
	after, err := get(c, "shop", "secret/ecrin-registry")
	if err != nil {
		t.Fatal(err)
	}
	if after.Metadata.UID != before.Metadata.UID {
		t.Errorf("UID: got %s, want %s as before: the secret is updated in place", after.Metadata.UID, before.Metadata.UID)
	}
	if got := string(after.Data[".dockerconfigjson"]); !strings.Contains(got, `"ghcr.io":{"auth":"dTpw","email":"x@example.com"}`) ||
		!strings.Contains(got, `"credHelpers":{"a.example.com":"x"}`) {
		t.Errorf("the other entries of the secret: got hosts and members %s", got[:min(40, len(got))])
	}
	account, err := get(c, "shop", "sa/default")
	if err != nil {
		t.Fatal(err)
	}
	if got := account.secrets(); len(got) != 2 || !slices.Contains(got, "mine") {
		t.Errorf("pull secrets of the service account: got %q, want mine and ecrin-registry", got)
	}
	c.Apply(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"later"}}`)
	served("later")
	c.Kubectl("delete", "-n", "later", "secret", "ecrin-registry")
	served("later")
	c.Kubectl("label", "ns", "private", "ecrin.dev/refresh=true", "--overwrite")
	served("private")
	events := c.Kubectl("get", "events", "-n", "shop", "-o", "jsonpath={.items[*].reason}")
	if !strings.Contains(events, "CredentialRefreshed") {
		t.Errorf("events: got %q, want CredentialRefreshed", events)
	}
	again, err := get(c, "shop", "sa/default")
	if err != nil {
		t.Fatal(err)
	}
	if again.Metadata.ResourceVersion != account.Metadata.ResourceVersion {
		t.Error("the service account was patched again, want once")
	}
	if n := strings.Count(run.log.String(), `"namespace":"shop","account":"default"`); n != 1 {
		t.Errorf("patches of the service account: got %d, want 1", n)
	}
	run.stop(t)
}

// An excluded namespace and those of the cluster itself get nothing.
func TestK7ExcludedNamespaces(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t, kubetest.Options{Controllers: true})
	r := startRegistry(t, nil)
	c.Apply(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"private","labels":{"ecrin.dev/refresh":"false"}}}`)
	c.Eventually(t, wait, "the service account", func() error { _, err := get(c, "private", "sa/default"); return err })
	if out, err := once(t, r.env, "--kubeconfig", c.Kubeconfig, "--registry", r.host); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := c.Kubectl("get", "secrets", "-A", "-o", "jsonpath={.items[*].metadata.namespace}"); got != "default" {
		t.Errorf("namespaces with a secret: got %q, want default alone", got)
	}
}
