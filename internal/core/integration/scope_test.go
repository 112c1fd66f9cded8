package integration_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// clear keeps secrets as they are.
type clear struct{}

func (clear) SealForeign(context string, s secret.String) []byte {
	return []byte(context + "\n" + s.Reveal())
}

func (clear) OpenForeign(context string, sealed []byte) (secret.String, error) {
	text, ok := strings.CutPrefix(string(sealed), context+"\n")
	if !ok {
		return secret.String{}, errors.New("sealed for another one")
	}
	return secret.New(text), nil
}

// newService returns a service of a new store, which reaches nothing.
func newService(t *testing.T) *integration.Service {
	t.Helper()
	metadata, err := meta.OpenSQLite(t.Context(), t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = metadata.Close() }) // it is removed
	metatest.NewFixture(t, metadata)
	guard := egress.New(egress.Options{})
	client := func() *upstream.Client { return upstream.New(upstream.Options{Guard: guard, Now: time.Now}) }
	s := integration.New(integration.Options{Meta: metadata, Keys: clear{}, Client: client(), Once: client(), Guard: guard})
	t.Cleanup(s.Close)
	return s
}

const (
	host = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
	key  = "AKIAAAAAAAAAAAAAAAAA"
)

func create(t *testing.T, s *integration.Service, label, kind string, settings integration.Settings, hidden integration.Secrets,
	runtimes ...string) {
	t.Helper()
	if kind == integration.ECR {
		settings.RegistryID, settings.Region = "111122223333", "eu-west-1"
	}
	if _, err := s.Create(t.Context(), integration.Input{Account: metatest.Account, Name: label, Kind: kind, Settings: settings,
		Secrets: hidden, Scope: runtimes}); err != nil {
		t.Fatalf("the integration %s: %v", label, err)
	}
}

func runtime(t *testing.T, s *integration.Service, label string, r integration.Runtime) {
	t.Helper()
	if _, err := s.Put(t.Context(), meta.Object{Account: metatest.Account, Kind: meta.KindRuntime, Name: label}, &r,
		integration.Secrets{}); err != nil {
		t.Fatalf("the runtime %s: %v", label, err)
	}
}

// identities makes one integration of each strength for one host, in another order than that of their strength.
func identities(t *testing.T, s *integration.Service) {
	t.Helper()
	create(t, s, "anonymous", integration.OCI, integration.Settings{Host: host}, integration.Secrets{})
	create(t, s, "key", integration.ECR, integration.Settings{AccessKeyID: key}, integration.Secrets{SecretAccessKey: "s"})
	create(t, s, "password", integration.OCI, integration.Settings{Host: strings.ToUpper(host), Username: "u"},
		integration.Secrets{Password: "p"})
	create(t, s, "role", integration.ECR, integration.Settings{AccessKeyID: key, RoleARN: "pull"}, integration.Secrets{SecretAccessKey: "s"})
	create(t, s, "elsewhere", integration.OCI, integration.Settings{Host: "registry.example.com"}, integration.Secrets{})
}

func names(all []meta.Integration) string {
	var labels []string
	for _, i := range all {
		labels = append(labels, i.Name)
	}
	return strings.Join(labels, " ")
}

// A host's integrations come by role, by key, by password, anonymously, and only those that the runtime may use.
func TestForHost(t *testing.T) {
	t.Parallel()
	s := newService(t)
	runtime(t, s, "hosted", integration.Runtime{Hosted: true, Version: "0.1.40"})
	runtime(t, s, "old", integration.Runtime{Version: "0.1.26"})
	runtime(t, s, "new", integration.Runtime{Version: "0.1.27"})
	identities(t, s)
	create(t, s, "scoped", integration.OCI, integration.Settings{Host: host}, integration.Secrets{}, "new")
	for runtime, want := range map[string]string{"": "role key password anonymous scoped", "new": "role key password anonymous scoped",
		"hosted": "key password anonymous", "old": "role password anonymous"} {
		got, err := s.ForHost(t.Context(), metatest.Account, host, runtime)
		if err != nil || names(got) != want {
			t.Errorf("the runtime %q: got %q and %v, want %q", runtime, names(got), err, want)
		}
	}
	if got, err := s.ForHost(t.Context(), metatest.Account, "unknown.example.com", ""); err != nil || len(got) != 0 {
		t.Errorf("an unknown host: got %q and %v, want none", names(got), err)
	}
}

// An integration is for the runtimes of its scope, and for those that can use its kind of credentials, also after the runtime has changed.
func TestForRuntime(t *testing.T) {
	t.Parallel()
	s := newService(t)
	runtime(t, s, "west", integration.Runtime{Version: "0.1.27", IngressHost: "https://west.example.com:8443"})
	runtime(t, s, "east", integration.Runtime{Version: "0.1.27", IngressHost: "https://east.example.com"})
	create(t, s, "key", integration.ECR, integration.Settings{AccessKeyID: key}, integration.Secrets{SecretAccessKey: "s"}, "west")
	for _, c := range []struct {
		label, runtime string
		want           error
	}{
		{"key", "", nil}, {"key", "west", nil}, {"key", "east", fault.IntegrationNotFound}, {"none", "west", fault.IntegrationNotFound},
		{"key", "none", fault.IntegrationNotFound},
	} {
		if _, err := s.ForRuntime(t.Context(), metatest.Account, c.label, c.runtime); !errors.Is(err, c.want) {
			t.Errorf("%s for %q: got %v, want %v", c.label, c.runtime, err, c.want)
		}
	}
	for at, want := range map[string]error{"west.example.com:8443": nil, "WEST.example.com:8443": nil, "other.example.com": nil,
		"east.example.com": fault.IntegrationNotFound} {
		if _, err := s.ForIngress(t.Context(), metatest.Account, "key", at); !errors.Is(err, want) {
			t.Errorf("at the host %s: got %v, want %v", at, err, want)
		}
	}
	create(t, s, "all", integration.ECR, integration.Settings{AccessKeyID: key}, integration.Secrets{SecretAccessKey: "s"})
	runtime(t, s, "old", integration.Runtime{Version: "0.1.26"})
	if _, err := s.ForRuntime(t.Context(), metatest.Account, "all", "old"); !errors.Is(err, fault.InvalidParameter) {
		t.Errorf("an old runtime: got %v, want %v", err, fault.InvalidParameter)
	}
	if _, err := s.ForRuntime(t.Context(), metatest.Account, "all", "none"); !errors.Is(err, fault.ObjectNotFound) {
		t.Errorf("a runtime that does not exist: got %v, want %v", err, fault.ObjectNotFound)
	}
}

// A weaker identity is used only after a denial: after each other error, and after success, it is not.
func TestTry(t *testing.T) {
	t.Parallel()
	s := newService(t)
	identities(t, s)
	all, err := s.ForHost(t.Context(), metatest.Account, host, "")
	if err != nil {
		t.Fatal(err)
	}
	try := func(answers map[string]error) (tried []string, err error) {
		err = s.Try(t.Context(), all, func(r *integration.Remote) error {
			tried = append(tried, r.Integration.Name)
			return answers[r.Integration.Name]
		})
		return tried, err
	}
	denied := &upstream.Error{Reason: upstream.Denied, Public: "denied"}
	want := func(what string, answers map[string]error, result error, order ...string) {
		t.Helper()
		if tried, err := try(answers); !errors.Is(err, result) || !slices.Equal(tried, order) {
			t.Errorf("%s: tried %q and got %v, want %q and %v", what, tried, err, order, result)
		}
	}
	want("the strongest may", nil, nil, "role")
	want("the strongest is denied", map[string]error{"role": denied}, nil, "role", "key")
	want("all are denied", map[string]error{"role": denied, "key": denied, "password": denied, "anonymous": denied}, upstream.Denied,
		"role", "key", "password", "anonymous")
	for _, reason := range []upstream.Reason{upstream.NotFound, upstream.Unauthorized, upstream.RateLimited, upstream.Unavailable,
		upstream.Lied, upstream.Refused, upstream.Rejected, upstream.Invalid} {
		want(reason.String(), map[string]error{"role": &upstream.Error{Reason: reason}}, reason, "role")
		want("denied, then "+reason.String(), map[string]error{"role": denied, "key": &upstream.Error{Reason: reason}}, reason, "role", "key")
	}
	want("the time is over", map[string]error{"role": context.DeadlineExceeded}, context.DeadlineExceeded, "role")
	all = nil
	want("no integration", nil, fault.IntegrationNotFound)
}
