package credential_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

// only is a source for one host.
type only struct {
	host string
	*issuer
}

func (o only) Credential(ctx context.Context, host string) (credential.Credential, error) {
	if host != o.host {
		return credential.Credential{}, credential.ErrNone
	}
	return o.issuer.Credential(ctx, host)
}

// TestHelperTexts: docker tells the errors of a helper by their texts, on standard output and with the exit code 1.
func TestHelperTexts(t *testing.T) {
	t.Parallel()
	h := &credential.Helper{Source: only{"a.b:5100", &issuer{clock: newClock(), life: time.Hour}}, Named: []string{"a.b:5100"}, Version: "1.2"}
	broken := &credential.Helper{Source: only{"a.b", &issuer{clock: newClock(), err: errors.New("the network is away")}}, Ignore: true}
	request := `{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderRequest","image":"a.b:5100/x"}`
	for _, c := range []struct {
		h             *credential.Helper
		operation, in string
		out           string
		code          int
	}{
		{h, "get", "a.b:5100\n", `{"ServerURL":"a.b:5100","Username":"AWS","Secret":"p1"}`, 0},
		{h, "get", "https://A.b:5100/v2/", `{"ServerURL":"https://A.b:5100/v2/","Username":"AWS","Secret":"p2"}`, 0},
		{h, "get", "ghcr.io", "credentials not found in native keychain", 1},
		{h, "get", "no host", "credentials not found in native keychain", 1},
		{h, "get", " \n", "no credentials server URL", 1},
		{h, "get", request, "this is a request of the kubelet, and docker-credential-ecrin is for docker: name ecrin-credential-provider as the provider", 1},
		{h, "store", `{"ServerURL":"a.b","Username":"u","Secret":"s"}`, "not implemented", 1},
		{broken, "store", `{"ServerURL":"a.b","Username":"u","Secret":"s"}`, "", 0},
		{h, "store", `{"Username":"u","Secret":"s"}`, "no credentials server URL", 1},
		{h, "store", `{"ServerURL":"a.b"}`, "no credentials username", 1},
		{h, "store", `x`, "the request is not JSON", 1},
		{h, "erase", "a.b", "", 0},
		{h, "erase", "", "no credentials server URL", 1},
		{h, "list", "", `{"a.b:5100":"AWS"}`, 0},
		{h, "version", "", "docker-credential-ecrin (ecrin) 1.2", 0},
		{h, "delete", "", `unknown operation "delete", want one of get, store, erase, list, version`, 1},
		{broken, "get", "a.b", "the network is away", 1},
	} {
		var out strings.Builder
		if code := c.h.Run(t.Context(), c.operation, strings.NewReader(c.in), &out); code != c.code || out.String() != c.out+"\n" {
			t.Errorf("%s <<< %q: got %d %q, want %d %q", c.operation, c.in, code, out.String(), c.code, c.out)
		}
	}
}

// request is a request of the kubelet.
func request(t testing.TB, change func(*credential.KubeletRequest)) string {
	t.Helper()
	r := credential.KubeletRequest{APIVersion: credential.KubeletAPI, Kind: "CredentialProviderRequest", Image: "a.b:5000/team/app"}
	change(&r)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestProvider: the answer has the registry with its port, and is kept for half of what really remains of the token.
func TestProvider(t *testing.T) {
	t.Parallel()
	at := newClock()
	var seen credential.Identity
	s := only{"a.b:5000", &issuer{clock: at, life: 12 * time.Hour}}
	cache := newCache(t.TempDir(), s.issuer)
	p := &credential.Provider{Source: cache, Now: at.now, Role: role + "-env", As: func(id credential.Identity) credential.Source {
		seen = id
		return s
	}}
	run := func(in string) (string, error) {
		var out strings.Builder
		err := p.Run(t.Context(), strings.NewReader(in), &out)
		return strings.TrimSpace(out.String()), err
	}
	answer := func(duration, password string) string {
		return `{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse","cacheKeyType":"Registry","cacheDuration":"` +
			duration + `","auth":{"a.b:5000":{"username":"AWS","password":"` + password + `"}}}`
	}
	plain := request(t, func(*credential.KubeletRequest) {})
	for _, want := range []string{answer("6h0m0s", "p1"), answer("3h30m0s", "p1")} { // after five hours, seven remain
		if got, err := run(plain); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
		at.move(5 * time.Hour)
	}
	p.Source = s
	for _, image := range []string{"ghcr.io/x", "busybox", "library/busybox"} {
		got, err := run(request(t, func(r *credential.KubeletRequest) { r.Image = image }))
		if err != nil || !strings.HasSuffix(got, `"cacheKeyType":"Registry","auth":null}`) {
			t.Errorf("%s: got %s, %v, want an answer without credentials", image, got, err)
		}
	}
	for _, c := range []struct {
		annotations map[string]string
		role, err   string
	}{
		{nil, role + "-env", ""},
		{map[string]string{credential.RoleAnnotation: role}, role, ""},
		{map[string]string{credential.OwnRoleAnnotation: role}, role, ""},
		{map[string]string{credential.OwnRoleAnnotation: role, credential.RoleAnnotation: role + "1"}, role + "1", ""},
		{map[string]string{credential.RoleAnnotation: "admin"}, "", "the annotation eks.amazonaws.com/ecr-role-arn"},
	} {
		_, err := run(request(t, func(r *credential.KubeletRequest) {
			r.ServiceAccountToken, r.ServiceAccountAnnotations = "jwt", c.annotations
		}))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v: got %v, want an error with %q", c.annotations, err, c.err)
			}
		} else if err != nil || seen.Role != c.role || seen.Token.Reveal() != "jwt" {
			t.Errorf("%v: got the role %s, %v, want %s", c.annotations, seen.Role, err, c.role)
		}
	}
	beta := request(t, func(r *credential.KubeletRequest) { r.APIVersion += "beta1" })
	for in, want := range map[string]string{
		"x": "not a CredentialProviderRequest in JSON", "": "not a CredentialProviderRequest",
		beta: `group version "credentialprovider.kubelet.k8s.io/v1beta1" is not supported`,
		request(t, func(r *credential.KubeletRequest) { r.Kind = "Pod" }): "the kind",
		request(t, func(r *credential.KubeletRequest) { r.Image = "" }):   "no image",
		strings.Repeat(" ", 2<<20):                                        "more than",
	} {
		if got, err := run(in); err == nil || !strings.Contains(err.Error(), want) || got != "" {
			t.Errorf("%.80q: got %q, %v, want an error with %q and no output", in, got, err, want)
		}
	}
}

func FuzzKubeletRequest(f *testing.F) {
	f.Add([]byte(request(f, func(*credential.KubeletRequest) {})))
	f.Add([]byte(`{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderRequest","image":"[::1]:5/x"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := credential.ParseKubeletRequest(content)
		if err == nil && r.Image == "" {
			t.Error("got a request without an image")
		}
		p := &credential.Provider{Source: only{"a.b:5000", &issuer{clock: newClock(), life: time.Hour}},
			As: func(credential.Identity) credential.Source { return only{"", nil} }}
		var out strings.Builder
		if p.Run(t.Context(), strings.NewReader(string(content)), &out) == nil && !json.Valid([]byte(out.String())) {
			t.Errorf("got %q, want JSON", out.String())
		}
	})
}

func FuzzHelper(f *testing.F) {
	for _, in := range []string{"a.b\n", "{", `{"ServerURL":"a","Username":"b"}`, "https://x/y"} {
		f.Add("get", in)
		f.Add("store", in)
	}
	f.Fuzz(func(t *testing.T, operation, in string) {
		h := &credential.Helper{Source: only{"a.b", &issuer{clock: newClock(), life: time.Hour}}}
		var out strings.Builder
		if code := h.Run(t.Context(), operation, strings.NewReader(in), &out); code == 1 && strings.Count(out.String(), "\n") != 1 {
			t.Errorf("got %q, want one line", out.String())
		}
	})
}
