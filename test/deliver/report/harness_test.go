// Package report_test reports images of registries and pipelines to a server, by the command line, with small servers in the place of
// GitHub, GitLab and Jira.
package report_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/farside"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// world is a server that gets reports, and a registry that answers as ECR does.
type world struct {
	*apptest.Server
	root  apptest.Account
	far   *apptest.Server
	there apptest.Account
	ecr   *farside.ECR
	dir   string
}

// newWorld returns a world whose server reaches also the given providers. far is nil without withECR.
func newWorld(t *testing.T, withECR bool, providers ...*provider) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	if withECR {
		w.far = apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.StrictECR = "all" }})
		w.ecr = farside.NewECR(t, w.far, "222233334444")
		w.there = w.far.Root(t)
	}
	var pems []byte
	for _, p := range providers {
		pems = append(pems, p.pem...)
	}
	w.Server = apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		c.EgressAllow = []string{"127.0.0.1/32"}
		if withECR {
			for _, s := range w.ecr.Sites() {
				s.Configure(c)
			}
			more, err := os.ReadFile(c.EgressCA)
			if err != nil {
				t.Fatal(err)
			}
			pems = append(pems, more...)
		}
		c.EgressCA = ""
		if len(pems) > 0 {
			c.EgressCA = filepath.Join(w.dir, "ca.pem")
			if err := os.WriteFile(c.EgressCA, pems, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}})
	w.root = w.Root(t)
	if withECR {
		w.add(t, ecrintypes.CreateIntegrationRequest{IntegrationName: "aws", Kind: "ECR", RemoteRegistryId: w.there.ID,
			RemoteRegion: w.there.Region, AwsAccessKeyId: w.there.KeyID, AwsSecretAccessKey: w.there.Secret})
	}
	return w
}

func (w *world) add(t *testing.T, in ecrintypes.CreateIntegrationRequest) {
	t.Helper()
	w.Operator(t, "CreateIntegration", in, &ecrintypes.IntegrationResponse{})
}

// key is the CF_API_KEY of the root user.
func (w *world) key() string { return w.root.KeyID + ":" + w.root.Secret }

// host is the address of the server, as in names of images.
func (w *world) host() string { return strings.TrimPrefix(w.URL, "http://") }

// result is how a command has ended.
type result struct {
	code     int
	out, err string
}

func (r result) want(t *testing.T, code int, texts ...string) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("the exit code: got %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("the output: got\n%s%s\nwant %q in it", r.out, r.err, text)
		}
	}
	return r
}

// run runs a command with an environment.
func run(t *testing.T, env map[string]string, args ...string) result {
	t.Helper()
	var out, problems bytes.Buffer
	code := cli.Run(t.Context(), cli.Env{Args: args, Out: &out, Err: &problems, Lookup: func(key string) (string, bool) {
		v, ok := env[key]
		return v, ok
	}})
	return result{code, out.String(), problems.String()}
}

// report reports an image with variables given as names and values in turn.
func (w *world) report(t *testing.T, image string, pairs ...string) result {
	t.Helper()
	env := map[string]string{"CF_API_KEY": w.key(), "CF_HOST": w.URL, "CF_IMAGE": image}
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return run(t, env, "report")
}

// ecrin runs a command of the operator that prints JSON, and decodes it.
func (w *world) ecrin(t *testing.T, into any, args ...string) {
	t.Helper()
	r := run(t, nil, append(args, "--data", w.Dir, "--json")...).want(t, 0)
	if err := json.Unmarshal([]byte(r.out), into); err != nil {
		t.Fatalf("%v: got %s: %v", args, r.out, err)
	}
}

func (w *world) list(t *testing.T, args ...string) (all []ecrintypes.ImageReport) {
	t.Helper()
	w.ecrin(t, &all, append([]string{"report", "list"}, args...)...)
	return all
}

func (w *world) show(t *testing.T, image string) (out ecrintypes.GetImageReportResponse) {
	t.Helper()
	w.ecrin(t, &out, "report", "show", image)
	return out
}

// nothing fails the test if something has been stored.
func (w *world) nothing(t *testing.T) {
	t.Helper()
	if all := w.list(t); len(all) > 0 {
		t.Errorf("reports: got %+v, want none", all)
	}
}

// built is an image with a history, labels and a platform.
func built(seed uint64, os, arch string, layers ...int) ocitest.Image {
	return builtAt("2026-11-01T10:00:00Z", seed, os, arch, layers...)
}

// builtAt is an image that says when it was created.
func builtAt(created string, seed uint64, os, arch string, layers ...int) ocitest.Image {
	im := ocitest.NewImage(seed, layers...)
	config := map[string]any{"os": os, "architecture": arch, "created": created,
		"config": map[string]any{"Labels": map[string]string{"org.opencontainers.image.source": "https://git.example.com/team/app"}},
		"history": []map[string]any{
			{"created": "2026-11-01T09:00:00Z", "created_by": "/bin/sh -c #(nop) ADD file:1 in / "},
			{"created": "2026-11-01T09:01:00Z", "created_by": "/bin/sh -c #(nop)  CMD [\"sh\"]", "empty_layer": true},
			{"created": "2026-11-01T09:02:00Z", "created_by": "/bin/sh -c apk add curl"}}}
	im.Config, _ = json.Marshal(config)
	about := ocitest.Describe(ocitest.ConfigType, im.Config)
	m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, Config: &about}
	for _, l := range im.Layers {
		m.Layers = append(m.Layers, ocitest.Describe(ocitest.LayerType, l))
	}
	im.Manifest = m.JSON()
	im.Digest = ocitest.SHA256(im.Manifest)
	return im
}

// provider is a server with TLS that answers by path and query, and keeps what it was sent.
type provider struct {
	URL string
	pem []byte

	mu       sync.Mutex
	answers  map[string]any // a value is sent as JSON; an int is a status; a string is sent as it is
	requests []string       // PATH?QUERY
	check    func(r *http.Request) string
	wait     func()       // is called for each request; nil for none
	other    http.Handler // answers in place of answers; nil for none
	wrong    []string     // what check says
}

func newProvider(t *testing.T, check func(r *http.Request) string) *provider {
	t.Helper()
	p := &provider{answers: map[string]any{}, check: check}
	s := httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	p.URL = s.URL
	p.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	t.Cleanup(func() {
		for _, text := range p.wrong {
			t.Errorf("a request: %s", text)
		}
	})
	return p
}

func (p *provider) set(path string, answer any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[path] = answer
}

// count returns how many requests had a path with a text.
func (p *provider) count(text string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if strings.Contains(r, text) {
			n++
		}
	}
	return n
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	if p.wait != nil {
		p.wait()
	}
	if p.other != nil {
		p.other.ServeHTTP(w, r)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	path := r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	p.requests = append(p.requests, path)
	if text := p.check(r); text != "" {
		p.wrong = append(p.wrong, r.Method+" "+path+": "+text)
	}
	answer, ok := p.answers[path]
	if any, all := p.answers["*"]; all {
		answer, ok = any, true
	}
	switch v := answer.(type) {
	case int:
		w.WriteHeader(v)
	case string:
		_, _ = io.WriteString(w, v)
	default:
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
}
