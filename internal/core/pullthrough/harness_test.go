package pullthrough_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// far is another registry, at an address of this machine by https. It records the requests that it receives.
type far struct {
	Host string
	pem  []byte

	mu     sync.Mutex
	lines  []string // METHOD PATH
	handle http.HandlerFunc
}

func newFar(t testing.TB, h http.HandlerFunc) *far {
	t.Helper()
	f := &far{handle: h}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.lines = append(f.lines, r.Method+" "+r.URL.Path)
		h := f.handle
		f.mu.Unlock()
		h(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	f.Host = strings.TrimPrefix(s.URL, "https://")
	f.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return f
}

// serve replaces what the registry answers.
func (f *far) serve(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handle = h
}

// count returns the number of requests whose METHOD PATH contains a text.
func (f *far) count(text string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range f.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (f *far) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.lines...)
}

// before returns a server in front of another ecrin.
func before(t testing.TB, s *apptest.Server) *far {
	t.Helper()
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Transport: s.HTTP.Transport, FlushInterval: -1, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) },
		ErrorLog: log.New(io.Discard, "", 0)}
	return newFar(t, proxy.ServeHTTP)
}

// open is an ecrin that gives the repositories of its policy to everyone.
func open(t testing.TB) (*apptest.Server, apptest.Account) {
	t.Helper()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.Anonymous = true }})
	return s, s.Root(t)
}

func publish(t testing.TB, a apptest.Account, repo string) {
	t.Helper()
	everyone := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["ecr:BatchGetImage",
		"ecr:GetDownloadUrlForLayer","ecr:BatchCheckLayerAvailability"]}]}`
	if _, err := a.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: &repo, PolicyText: &everyone,
		Force: true}); err != nil {
		t.Fatal(err)
	}
}

// near starts an ecrin that may ask the registries.
func near(t testing.TB, now func() time.Time, change func(*config.Config), to ...*far) *apptest.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	var all []byte
	for _, f := range to {
		all = append(all, f.pem...)
	}
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return apptest.Start(t, apptest.Options{Now: now, Config: func(c *config.Config) {
		c.EgressAllow = []string{"127.0.0.1/32"}
		if len(to) > 0 {
			c.EgressCA = file
		}
		if change != nil {
			change(c)
		}
	}})
}

func rule(t testing.TB, a apptest.Account, prefix string, f *far) {
	t.Helper()
	if _, err := a.ECR().CreatePullThroughCacheRule(t.Context(), &ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: &prefix,
		UpstreamRegistryUrl: aws.String(f.Host)}); err != nil {
		t.Fatalf("creating the rule %s: %v", prefix, err)
	}
}

func repoName(s string) name.Repo {
	r, err := name.ParseRepo(s)
	if err != nil {
		panic(err)
	}
	return r
}

func digest(t testing.TB, s string) name.Digest {
	t.Helper()
	d, err := name.ParseDigest(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// call calls an operation of ECR at the time of a clock, by which it is signed.
func call(t testing.TB, s *apptest.Server, a apptest.Account, c *clock, operation, body string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921."+operation)
	hash := sha256.Sum256([]byte(body))
	key := aws.Credentials{AccessKeyID: a.KeyID, SecretAccessKey: a.Secret}
	if err := v4.NewSigner().SignHTTP(t.Context(), key, r, hex.EncodeToString(hash[:]), "ecr", a.Region, c.now()); err != nil {
		t.Fatal(err)
	}
	got, err := s.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	out, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %d %s, %v", operation, got.StatusCode, out, err)
	}
	return out
}

// later returns a client with a password of the time of a clock.
func later(t testing.TB, s *apptest.Server, a apptest.Account, c *clock) ocitest.Client {
	t.Helper()
	var out struct {
		AuthorizationData []struct{ AuthorizationToken []byte }
	}
	if err := json.Unmarshal(call(t, s, a, c, "GetAuthorizationToken", "{}"), &out); err != nil || len(out.AuthorizationData) != 1 {
		t.Fatalf("GetAuthorizationToken: got %+v, %v", out, err)
	}
	return ocitest.Client{Base: s.URL, HTTP: s.HTTP, Password: strings.TrimPrefix(string(out.AuthorizationData[0].AuthorizationToken), "AWS:")}
}
