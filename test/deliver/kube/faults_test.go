package kube_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// issuer is a source whose answers a test chooses. Its passwords are p1, p2, …
type issuer struct {
	mu     sync.Mutex
	now    func() time.Time
	calls  int
	change func(c *credential.Credential) error // nil for none
}

func (i *issuer) Credential(_ context.Context, host string) (credential.Credential, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls++
	now := i.now()
	c := credential.Credential{Host: host, Username: "AWS", Password: secret.New(fmt.Sprintf("p%d", i.calls)), From: now,
		ExpiresAt: now.Add(12 * time.Hour)}
	if i.change != nil {
		return c, i.change(&c)
	}
	return c, nil
}

func (i *issuer) set(change func(*credential.Credential) error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.change = change
}

const far = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"

// stand is a refresher of one namespace with a clock that the test moves.
type stand struct {
	*kube.Refresher
	clock  *clock
	issuer *issuer
	log    *log
	ns     string
	c      *kubetest.Cluster
}

func newStand(t *testing.T, c *kubetest.Cluster, namespace string, change func(*kube.Options)) stand {
	t.Helper()
	c.Kubectl("create", "namespace", namespace)
	at, err := kube.Open(kube.Config{Kubeconfig: c.Kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	s := stand{clock: &clock{}, log: &log{}, ns: namespace, c: c}
	s.issuer = &issuer{now: s.clock.now}
	o := kube.Options{Source: s.issuer, SourceName: "test", Hosts: []string{far}, Secret: "pull", Namespaces: []string{namespace},
		Accounts: []string{"default"}, Now: s.clock.now, Log: slog.New(slog.NewTextHandler(s.log, nil))}
	if change != nil {
		change(&o)
	}
	s.Refresher = kube.New(at, o)
	return s
}

// entry returns what the secret has for the registry.
func (s stand) entry(t *testing.T) string {
	t.Helper()
	o, err := get(s.c, s.ns, "secret/pull")
	if err != nil {
		t.Fatal(err)
	}
	all, err := o.auths()
	if err != nil {
		t.Fatal(err)
	}
	return all[far]
}

// A working credential is never replaced by a broken one: whatever a source does, the secret keeps what it has, the failure is in an
// annotation and an event, and the next success removes it.
func TestSourceFails(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t, kubetest.Options{})
	refuse := false
	s := newStand(t, c, "shop", func(o *kube.Options) {
		o.Try = func(context.Context, credential.Credential) error {
			if refuse {
				return fmt.Errorf("401 Unauthorized: %w", credential.ErrRefused)
			}
			return errors.New("no route to the registry") // which is no reason to keep an old one
		}
	})
	if err := s.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.entry(t); got != "AWS:p1" {
		t.Fatalf("got %q, want AWS:p1", got)
	}
	s.clock.move(7 * time.Hour) // of the 12 of the first one
	for what, change := range map[string]func(*credential.Credential) error{
		"an error":        func(*credential.Credential) error { return errors.New("AccessDeniedException: not allowed") },
		"no password":     func(c *credential.Credential) error { c.Password = secret.String{}; return nil },
		"one that ended":  func(c *credential.Credential) error { c.ExpiresAt = c.From.Add(-time.Hour); return nil },
		"one that is old": func(c *credential.Credential) error { c.ExpiresAt = c.From.Add(time.Minute); return nil },
		"a refused one":   func(*credential.Credential) error { refuse = true; return nil },
	} {
		refuse = false
		s.issuer.set(change)
		s.clock.move(10 * time.Minute) // longer than a pause
		calls := s.issuer.calls
		s.Step(t.Context())
		if s.issuer.calls != calls+1 {
			t.Errorf("%s: the source was called %d times, want once", what, s.issuer.calls-calls)
		}
		if got := s.entry(t); got != "AWS:p1" {
			t.Errorf("the source gives %s: got %q, want AWS:p1 as before", what, got)
		}
	}
	o, err := get(c, "shop", "secret/pull")
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Metadata.Annotations["ecrin.dev/last-error"]; !strings.Contains(got, far) {
		t.Errorf("the annotation about the error: got %q, want the host in it", got)
	}
	events := c.Kubectl("get", "events", "-n", "shop", "-o", "jsonpath={.items[*].reason}")
	if !strings.Contains(events, "CredentialNotRefreshed") {
		t.Errorf("events: got %q, want CredentialNotRefreshed", events)
	}
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{`ecrin_credential_age_seconds{namespace="shop",secret="pull",host="` + far + `"} `,
		`ecrin_credential_source_failures{host="` + far + `"} `, "ecrin_refresh_namespaces 1\n"} {
		if !strings.Contains(answer.Body.String(), want) {
			t.Errorf("metrics: no %q in\n%s", want, answer.Body)
		}
	}
	refuse = false
	s.issuer.set(nil)
	s.clock.move(10 * time.Minute)
	s.Step(t.Context())
	if o, err = get(c, "shop", "secret/pull"); err != nil || o.Metadata.Annotations["ecrin.dev/last-error"] != "" {
		t.Errorf("after a success: got the annotation %q, error %v, want none", o.Metadata.Annotations["ecrin.dev/last-error"], err)
	}
	if got := s.entry(t); got == "AWS:p1" || !strings.HasPrefix(got, "AWS:p") {
		t.Errorf("after a success: got %q, want another password", got)
	}
	if text := s.log.String(); strings.Contains(text, "AWS:p") || strings.Contains(text, "password") {
		t.Errorf("the log has a credential:\n%s", text)
	}
}

// Another writer of the secret loses nothing, however often both write.
func TestConflictingWriters(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t, kubetest.Options{})
	s := newStand(t, c, "shop", nil)
	if err := s.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := get(c, "shop", "secret/pull")
	if err != nil {
		t.Fatal(err)
	}
	var other sync.WaitGroup
	const writes = 10
	other.Go(func() {
		for i := range writes { // kubectl patches without a resourceVersion, as other controllers annotate
			if _, err := c.TryKubectl(c.Kubeconfig, "", "annotate", "-n", "shop", "secret/pull", fmt.Sprintf("other-%d=x", i)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 30 {
		s.clock.move(7 * time.Hour)
		s.Step(t.Context())
	}
	other.Wait()
	s.clock.move(7 * time.Hour)
	s.Step(t.Context())
	after, err := get(c, "shop", "secret/pull")
	if err != nil {
		t.Fatal(err)
	}
	for i := range writes {
		if after.Metadata.Annotations[fmt.Sprintf("other-%d", i)] != "x" {
			t.Errorf("the annotation other-%d of the other writer is lost", i)
		}
	}
	if after.Metadata.UID != before.Metadata.UID {
		t.Error("the secret is another one, want it updated in place")
	}
	if got, want := s.entry(t), fmt.Sprintf("AWS:p%d", s.issuer.calls); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An API server that is away is waited for: the refresher goes on by itself, and tells meanwhile that it is not ready but healthy.
func TestServerIsAway(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t, kubetest.Options{})
	s := newStand(t, c, "shop", nil)
	stop := c.Away(t) // before the first request
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	status := func(path string) int {
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		return answer.Code
	}
	c.Eventually(t, wait, "a failure", func() error {
		if !strings.Contains(s.log.String(), "a namespace is not served") {
			return errors.New("none yet")
		}
		return nil
	})
	if health, ready := status("/healthz"), status("/readyz"); health != http.StatusOK || ready != http.StatusServiceUnavailable {
		t.Errorf("without an API server: /healthz %d, /readyz %d, want 200 and 503", health, ready)
	}
	stop()
	c.Eventually(t, time.Minute, "the pull secret", func() error {
		o, err := get(c, "shop", "secret/pull")
		if err != nil {
			return err
		}
		all, err := o.auths()
		if err == nil && all[far] == "" {
			err = fmt.Errorf("got entries for %d hosts", len(all))
		}
		return err
	})
	c.Eventually(t, wait, "readiness", func() error {
		if got := status("/readyz"); got != http.StatusOK {
			return fmt.Errorf("got %d", got)
		}
		return nil
	})
	cancel()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("the refresher does not end with its context")
	}
}

// Without controllers there is no service account, so its list of pull secrets is seen in this order: created, patched once, others kept.
func TestServiceAccounts(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t, kubetest.Options{})
	s := newStand(t, c, "shop", func(o *kube.Options) { o.Accounts = []string{"a", "b"} })
	c.Apply(`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a","namespace":"shop"},"imagePullSecrets":[{"name":"x"},{"name":"y"}]}`)
	c.Apply(`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"c","namespace":"shop"}}`)
	for range 3 {
		if err := s.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a, err := get(c, "shop", "sa/a")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.secrets(); !slices.Equal(got, []string{"x", "y", "pull"}) {
		t.Errorf("a: got %q, want x, y and pull", got)
	}
	if other, err := get(c, "shop", "sa/c"); err != nil || len(other.secrets()) != 0 {
		t.Errorf("c, which is not chosen: got %q, error %v, want none", other.secrets(), err)
	}
	if n := strings.Count(s.log.String(), "a service account uses the secret"); n != 1 {
		t.Errorf("patches: got %d, want 1", n)
	}
}
