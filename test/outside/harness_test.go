// Package outside_test runs two servers, each with its own data: one uses the other by an integration, as it would use a registry of
// another installation. Between them is TLS, and a switch that takes the second one away.
package outside_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
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

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrsdk "github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// front is a server with TLS in front of another ecrin. It records the requests, and can answer in its place.
type front struct {
	URL  string
	Host string
	pem  []byte

	mu     sync.Mutex
	lines  []string // METHOD PATH
	refuse func(w http.ResponseWriter, r *http.Request) bool
}

// before returns a front of a server.
func before(t testing.TB, s *apptest.Server) *front {
	t.Helper()
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Transport: s.HTTP.Transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Host = p.In.Host // which is signed
		}}
	f := &front{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.lines = append(f.lines, r.Method+" "+r.URL.Path)
		refuse := f.refuse
		f.mu.Unlock()
		if refuse == nil || !refuse(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	f.URL, f.Host = server.URL, strings.TrimPrefix(server.URL, "https://")
	f.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return f
}

// set makes refuse answer requests, as long as it returns true; nil for none.
func (f *front) set(refuse func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

// count returns the number of requests whose METHOD PATH has a prefix and contains a text.
func (f *front) count(prefix, text string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range f.lines {
		if strings.HasPrefix(line, prefix) && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// down answers nothing: the connection ends.
func down(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// near starts an ecrin that may reach the fronts.
func near(t testing.TB, change func(*config.Config), to ...*front) *apptest.Server {
	t.Helper()
	var all []byte
	for _, f := range to {
		all = append(all, f.pem...)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		c.EgressAllow = []string{"127.0.0.1/32"}
		if len(to) > 0 {
			c.EgressCA = file
		}
		if change != nil {
			change(c)
		}
	}})
}

// call calls an operation of ecrin as the operator and returns its error.
func call(t testing.TB, s *apptest.Server, operation string, in, out any) error {
	t.Helper()
	c, err := client.Open(s.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return c.Call(t.Context(), operation, in, out)
}

// code returns the name of the error of an operation; "" for none.
func code(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Name
	}
	return err.Error()
}

// byKey is the request for an integration with the registry of an account behind a front.
func byKey(name string, f *front, a apptest.Account) ecrintypes.CreateIntegrationRequest {
	return ecrintypes.CreateIntegrationRequest{IntegrationName: name, Kind: "ECRIN", Endpoint: f.URL, RemoteRegistryId: a.ID,
		RemoteRegion: a.Region, AwsAccessKeyId: a.KeyID, AwsSecretAccessKey: a.Secret}
}

// add makes an integration, and fails the test if that is refused.
func add(t testing.TB, s *apptest.Server, in ecrintypes.CreateIntegrationRequest) ecrintypes.Integration {
	t.Helper()
	var out ecrintypes.IntegrationResponse
	if err := call(t, s, "CreateIntegration", in, &out); err != nil {
		t.Fatalf("CreateIntegration %s: %v", in.IntegrationName, err)
	}
	return out.Integration
}

// replicate sets the replication rules of an account: all repositories, to the destinations.
func replicate(t testing.TB, a apptest.Account, to ...ecrsdk.ReplicationDestination) {
	t.Helper()
	in := &ecr.PutReplicationConfigurationInput{ReplicationConfiguration: &ecrsdk.ReplicationConfiguration{Rules: []ecrsdk.ReplicationRule{}}}
	if len(to) > 0 {
		in.ReplicationConfiguration.Rules = []ecrsdk.ReplicationRule{{Destinations: to}}
	}
	if _, err := a.ECR().PutReplicationConfiguration(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a condition holds, and fails the test after a minute.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// shown returns a value as JSON, for messages.
func shown(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
