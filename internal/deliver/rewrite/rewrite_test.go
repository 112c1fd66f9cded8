package rewrite_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// site is a registry behind TLS at an address of this machine.
type site struct {
	host     string // with its port
	roots    *x509.CertPool
	requests atomic.Int64
	most     atomic.Int64 // requests at once
	server   *apptest.Server
}

// newSite starts a server, and the TLS side before it. before may answer a request in its place.
func newSite(t *testing.T, before func(http.ResponseWriter, *http.Request) bool) *site {
	t.Helper()
	s := &site{server: apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.Anonymous = true }})}
	to, err := url.Parse(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Transport: s.server.HTTP.Transport, Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		p.Out.Host = p.In.Host
	}, ModifyResponse: func(r *http.Response) error { // the server does not know of the TLS before it
		r.Header.Set("WWW-Authenticate", strings.ReplaceAll(r.Header.Get("WWW-Authenticate"), "http://", "https://"))
		return nil
	}}
	var now atomic.Int64
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		for n := now.Add(1); n > s.most.Load(); {
			s.most.Store(n)
		}
		defer now.Add(-1)
		if before == nil || !before(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	s.host = strings.TrimPrefix(front.URL, "https://")
	s.roots = x509.NewCertPool()
	s.roots.AddCert(front.Certificate())
	return s
}

// client returns a client that may ask this machine.
func (s *site) client(t *testing.T) *upstream.Client {
	t.Helper()
	guard := egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Roots: s.roots})
	c := upstream.New(upstream.Options{Guard: guard, Limits: upstream.Limits{Attempts: 1}})
	t.Cleanup(c.Close)
	return c
}

// public makes a repository that everyone may pull from, and pushes an image to it.
func (s *site) public(t *testing.T, name string, tags ...string) {
	t.Helper()
	s.private(t, name, tags...)
	policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*",
		"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}}`
	_, err := s.server.Root(t).ECR().SetRepositoryPolicy(t.Context(),
		&ecr.SetRepositoryPolicyInput{RepositoryName: &name, PolicyText: &policy})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) private(t *testing.T, name string, tags ...string) {
	t.Helper()
	repo := s.server.Root(t).CreateRepository(t, name)
	for i, tag := range tags {
		repo.Push(t, tag, ocitest.NewImage(uint64(i), 10))
	}
}

// pods returns manifests with one Pod for each image.
func pods(images ...string) []rule.File {
	var b strings.Builder
	for i, image := range images {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\nspec: {containers: [{name: a, image: %q}]}\n", i, image)
	}
	return []rule.File{{Path: "all.yaml", Data: []byte(b.String())}}
}

func input(files []rule.File) rewrite.Input {
	return rewrite.Input{Slug: "shop", Files: files, Proxy: rule.Proxy{Host: "proxy.example.com"},
		License: rule.Auth{Username: "LICENSE_ID", Password: "the-id"}}
}

// decided returns the decisions of a run: + for private.
func decided(out rewrite.Output) (all []string) {
	for _, i := range out.Images {
		sign := "-"
		if i.Private {
			sign = "+"
		}
		all = append(all, sign+i.Image)
	}
	return all
}

// built writes the output, builds it by this package, and compares that with what kustomize builds of the files as they are.
func built(t *testing.T, out rewrite.Output) string {
	t.Helper()
	return builtIn(t, out, filepath.Join(t.TempDir(), "app"))
}

// builtIn is built in a folder, which may have changes of the customer.
func builtIn(t *testing.T, out rewrite.Output, dir string) string {
	t.Helper()
	if err := out.Write(dir, nil); err != nil {
		t.Fatal(err)
	}
	text, err := rewrite.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(dir, rule.DownstreamDir))
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(text)); d != "" {
		t.Errorf("the build differs from that of kustomize:\n%s", d)
	}
	return string(text)
}

// closed returns an address of this machine where nothing listens.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

func TestP14WhatCannotBePulledWithoutCredentialsIsPrivate(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.public(t, "open/app", "1", "2")
	s.private(t, "shut/app", "1")
	away := closed(t)
	engine := rewrite.Engine{Asker: rewrite.Registries{Client: s.client(t)}}
	in := input(pods(s.host+"/open/app:1", s.host+"/shut/app:1", s.host+"/open/other:9", away+"/away:1", "10.0.0.1/refused:1"))
	in.Proxy.Names = map[string]string{s.host: "vendor"}
	out, err := engine.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"+10.0.0.1/refused:1", "+" + away + "/away:1", "-" + s.host + "/open/app:1", "+" + s.host + "/open/other:9",
		"+" + s.host + "/shut/app:1"}
	got := decided(out)
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, i := range out.Images { // a path has no colon: the host needs a name at the proxy
		if (i.Problem != "") != (i.Image == away+"/away:1") {
			t.Errorf("%s: problem %q", i.Image, i.Problem)
		}
	}
	text := built(t, out)
	for _, image := range []string{"proxy.example.com/proxy/shop/vendor/shut/app:1", "proxy.example.com/proxy/shop/10.0.0.1/refused:1",
		s.host + "/open/app:1", away + "/away:1"} {
		if !strings.Contains(text, "image: "+image+"\n") {
			t.Errorf("%s is not in the build:\n%s", image, text)
		}
	}
}

// An image about which was decided keeps its decision, and its registry is not asked.
func TestKnownImagesAreNotAskedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.public(t, "open/app", "1")
	in := input(pods(s.host + "/open/app:1"))
	in.Known = []rewrite.Known{{Image: s.host + "/open/app:1", Private: true}}
	out, err := (&rewrite.Engine{Asker: rewrite.Registries{Client: s.client(t)}}).Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if got := decided(out); !slices.Equal(got, []string{"+" + s.host + "/open/app:1"}) || s.requests.Load() != 0 {
		t.Errorf("got %v after %d requests", got, s.requests.Load())
	}
	in.Known, in.AllPrivate = nil, true
	if out, err = (&rewrite.Engine{}).Run(t.Context(), in); err != nil || !out.Images[0].Private || s.requests.Load() != 0 {
		t.Errorf("all private: got %+v, %v after %d requests", out.Images, err, s.requests.Load())
	}
}

// A registry that ends the connection is asked three times; then there is no decision.
func TestEndOfConnectionIsTriedThreeTimes(t *testing.T) {
	t.Parallel()
	var ends atomic.Int64
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) bool {
		if ends.Add(-1) < 0 {
			return false
		}
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = c.Close() // which is what is tested
		}
		return true
	})
	s.public(t, "open/app", "1")
	image := s.host + "/open/app:1"
	run := func() (rewrite.Output, error) {
		return (&rewrite.Engine{Asker: rewrite.Registries{Client: s.client(t)}}).Run(t.Context(), input(pods(image)))
	}
	ends.Store(2)
	if out, err := run(); err != nil || !slices.Equal(decided(out), []string{"-" + image}) {
		t.Errorf("two ends: got %v, %v", decided(out), err)
	}
	ends.Store(1 << 20)
	before := s.requests.Load()
	if _, err := run(); err == nil || !strings.Contains(err.Error(), image) {
		t.Errorf("got %v", err)
	}
	if n := s.requests.Load() - before; n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

// At most ten images are asked for at once, and more than one.
func TestTenImagesAtOnce(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var waiting atomic.Int64
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) bool {
		if waiting.Add(1) == 10 {
			close(release) // all places are taken
		}
		<-release
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	var images []string
	for i := range 30 {
		images = append(images, fmt.Sprintf("%s/a/i%d:1", s.host, i))
	}
	out, err := (&rewrite.Engine{Asker: rewrite.Registries{Client: s.client(t)}}).Run(t.Context(), input(pods(images...)))
	if err != nil || len(out.Images) != 30 {
		t.Fatalf("got %d images, %v", len(out.Images), err)
	}
	if got := s.most.Load(); got != 10 {
		t.Errorf("%d requests at once, want 10", got)
	}
}

func TestWriteKeepsWhatIsTheCustomers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "app")
	run := func(images ...string) rewrite.Output {
		in := input(pods(images...))
		in.AllPrivate = true
		out, err := (&rewrite.Engine{}).Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		file, err := rewrite.Installation{KnownImages: out.Known(), VersionLabel: "1.0"}.File("shop")
		if err == nil {
			err = out.Write(dir, []rule.File{file})
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run("quay.io/org/one:1", "quay.io/org/two:1")
	edited := filepath.Join(dir, rule.DownstreamDir, rule.Kustomization)
	text, err := os.ReadFile(edited)
	if err == nil {
		err = errors.Join(os.WriteFile(edited, append(text, "namePrefix: mine-\n"...), 0o644),
			os.WriteFile(filepath.Join(dir, rule.BaseDir, "left.yaml"), []byte("left"), 0o644),
			os.WriteFile(filepath.Join(dir, rewrite.UserDir, "config.yaml"), []byte("own"), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	run("quay.io/org/three:1")
	after, err := rewrite.Build(dir)
	if err != nil || !strings.Contains(string(after), "name: mine-p0\n") || strings.Contains(string(after), "quay.io/org/one") {
		t.Errorf("got %s, %v", after, err)
	}
	if _, err := os.Stat(filepath.Join(dir, rule.BaseDir, "left.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file of the version before is in base: %v", err)
	}
	if own, err := os.ReadFile(filepath.Join(dir, rewrite.UserDir, "config.yaml")); err != nil || string(own) != "own" {
		t.Errorf("the file of the customer: %q, %v", own, err)
	}
	known, err := rewrite.ReadInstallation(dir)
	if err != nil || !slices.Equal(known.KnownImages, []rewrite.Known{{Image: "quay.io/org/three:1", Private: true}}) ||
		known.VersionLabel != "1.0" {
		t.Errorf("installation: %+v, %v", known, err)
	}
	if info, err := os.Stat(filepath.Join(dir, rule.MidstreamDir, "secret.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret: %v, %v", info, err)
	}
}

// A release cannot write elsewhere, and brings nothing that is the customer's.
func TestReleaseStaysInItsFolder(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "app")
	outside := filepath.Join(top, "outside")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(outside, 0o755), os.Symlink(outside, filepath.Join(dir, "upstream"))); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, rule.DownstreamDir, rule.Kustomization)
	if err := errors.Join(os.MkdirAll(filepath.Dir(own), 0o755), os.WriteFile(own, []byte("own"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../evil.yaml", "a/../../evil.yaml", "userdata/installation.yaml", "evil.yaml", "/evil.yaml", "a//evil.yaml",
		"../" + rule.DownstreamDir + "/" + rule.Kustomization, "./evil.yaml"} {
		in := input([]rule.File{{Path: name, Data: pods("a:1")[0].Data}})
		in.AllPrivate = true
		out, err := (&rewrite.Engine{}).Run(t.Context(), in)
		if err == nil {
			err = out.Write(dir, nil)
		}
		if err == nil && name != "userdata/installation.yaml" && len(out.Skipped) == 0 {
			t.Errorf("%s: nothing is said", name)
		}
		if text, err := os.ReadFile(own); err != nil || string(text) != "own" {
			t.Fatalf("%s: the changes of the customer are %q, %v", name, text, err)
		}
		for _, bad := range []string{filepath.Join(top, "evil.yaml"), filepath.Join(outside, "evil.yaml"),
			filepath.Join(dir, rewrite.UserDir, "installation.yaml")} {
			if _, err := os.Lstat(bad); err == nil {
				t.Errorf("%s: %s was written", name, bad)
			}
		}
	}
}
