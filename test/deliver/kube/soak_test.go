package kube_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// Days pass by a clock that the test moves, and one per cent of the calls of the source and of the API server fail: no secret ever ends. In
// the nightly tests there are 7 days and 200 namespaces.
func TestDaysOfRefreshing(t *testing.T) {
	t.Parallel()
	days, namespaces := 2, 20
	if slowtest.Nightly() {
		days, namespaces = 7, 200
	}
	c := kubetest.Start(t, kubetest.Options{})
	var list strings.Builder
	var names []string
	for i := range namespaces {
		names = append(names, fmt.Sprintf("n%03d", i))
		fmt.Fprintf(&list, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":%q}}\n---\n", names[i])
	}
	c.Apply(list.String())
	failing, failures := unreliable(t, c)
	at, err := kube.Open(kube.Config{Kubeconfig: failing})
	if err != nil {
		t.Fatal(err)
	}
	now, chance := &clock{}, rand.New(rand.NewPCG(1, 2))
	source := &issuer{now: now.now, change: func(*credential.Credential) error {
		if chance.IntN(100) == 0 {
			return errors.New("ServerException: try again")
		}
		return nil
	}}
	r := kube.New(at, kube.Options{Source: source, SourceName: "test", Hosts: []string{far}, Secret: "pull", Namespaces: names,
		Now: now.now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	for begin := now.now(); now.now().Before(begin.Add(time.Duration(days) * 24 * time.Hour)); {
		next := r.Step(t.Context())
		switch ends := firstEnd(t, c, namespaces); {
		case ends.IsZero() && now.now().After(begin.Add(time.Hour)):
			t.Fatal("after an hour, there are namespaces without a secret")
		case !ends.IsZero() && next.After(ends):
			t.Fatalf("a secret ends at %s, and the next step is at %s", ends, next)
		}
		now.move(max(time.Second, next.Sub(now.now())))
	}
	t.Logf("%d days, %d namespaces: %d tokens, %d failures of the API server", days, namespaces, source.calls, failures())
	if failures() == 0 {
		t.Error("no call has failed, want about one per cent")
	}
}

// firstEnd returns when the first of the pull secrets ends; the zero time if a namespace has none yet.
func firstEnd(t *testing.T, c *kubetest.Cluster, namespaces int) (first time.Time) {
	t.Helper()
	var all struct{ Items []object }
	if err := json.Unmarshal([]byte(c.Kubectl("get", "secrets", "-A", "-o", "json")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Items) < namespaces {
		return time.Time{}
	}
	for _, o := range all.Items {
		var status []struct{ ExpiresAt time.Time }
		if err := json.Unmarshal([]byte(o.Metadata.Annotations["ecrin.dev/credentials"]), &status); err != nil {
			t.Fatal(err)
		}
		if first.IsZero() || status[0].ExpiresAt.Before(first) {
			first = status[0].ExpiresAt
		}
	}
	return first
}

// unreliable starts a proxy in front of the API server that answers one per cent of the requests by an error, and returns a kubeconfig for
// it, and the number of its errors.
func unreliable(t *testing.T, c *kubetest.Cluster) (kubeconfig string, failures func() int) {
	t.Helper()
	target, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	chance, failed := rand.New(rand.NewPCG(3, 4)), 0
	proxy := &httputil.ReverseProxy{Transport: c.Transport(), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Set("Authorization", "Bearer "+kubetest.AdminToken) // client-go sends none without TLS
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		fails, status := chance.IntN(100) == 0, []int{500, 503, 403, 409}[chance.IntN(4)]
		if fails {
			failed++
		}
		mu.Unlock()
		if fails {
			http.Error(w, "not now", status)
			return
		}
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	text, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig = c.Kubeconfig + "-unreliable"
	changed := strings.Replace(string(text), c.URL, server.URL, 1)
	from, rest, _ := strings.Cut(changed, ", certificate-authority: ")
	_, rest, _ = strings.Cut(rest, "}")
	if err := os.WriteFile(kubeconfig, []byte(from+"}"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig, func() int { mu.Lock(); defer mu.Unlock(); return failed }
}
