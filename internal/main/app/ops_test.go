package app_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// fetch gets a URL with a header and returns status and body.
func fetch(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Who may read the metrics, for each way to configure it.
func TestMetricsAreNotForEverybody(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdefghij"
	for _, c := range []struct {
		name   string
		config func(*config.Config)
		header []string
		main   int // status on the addresses of listen
		own    int // on that of metrics_listen; 0 without one
	}{
		{name: "this machine", main: 200},
		{name: "through a proxy of this machine", header: []string{"X-Forwarded-For", "203.0.113.9"}, main: 403},
		{name: "through a proxy that says so otherwise", header: []string{"Forwarded", "for=203.0.113.9"}, main: 403},
		{name: "through a trusted proxy, from elsewhere", header: []string{"X-Forwarded-For", "203.0.113.9"}, main: 403,
			config: func(c *config.Config) { c.TrustedProxies = []string{"127.0.0.1"} }},
		{name: "no token", main: 401, config: func(c *config.Config) { c.MetricsToken = secret.New(token) }},
		{name: "a wrong token", main: 401, header: []string{"Authorization", "Bearer " + token + "x"}, config: func(c *config.Config) {
			c.MetricsToken = secret.New(token)
		}},
		{name: "the token", main: 200, header: []string{"Authorization", "Bearer " + token, "X-Forwarded-For", "203.0.113.9"},
			config: func(c *config.Config) {
				c.MetricsToken = secret.New(token)
			}},
		{name: "an address of its own", main: 403, own: 200, config: func(c *config.Config) { c.MetricsListen = []string{"127.0.0.1:0"} }},
		{name: "an address of its own and a token", main: 401, own: 200, config: func(c *config.Config) {
			c.MetricsListen, c.MetricsToken = []string{"127.0.0.1:0"}, secret.New(token)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := apptest.Start(t, apptest.Options{Config: c.config})
			if status, body := fetch(t, s.URL+"/metrics", c.header...); status != c.main {
				t.Errorf("/metrics: got %d %.200s, want %d", status, body, c.main)
			}
			for _, path := range []string{"/healthz", "/readyz"} {
				if status, _ := fetch(t, s.URL+path, c.header...); status != 200 {
					t.Errorf("%s: got %d, want 200", path, status)
				}
			}
			if c.own == 0 {
				return
			}
			for path, want := range map[string]int{"/metrics": c.own, "/healthz": 200, "/readyz": 200, "/v2/": 404, "/": 404} {
				if status, body := fetch(t, "http://"+s.Running.Metrics[0]+path); status != want {
					t.Errorf("%s on its own address: got %d %.200s, want %d", path, status, body, want)
				}
			}
		})
	}
}

// An answer with the metrics ends its connection, so that a client that never reads has one answer made for it, however many it asks
// for.
func TestMetricsEndTheirConnection(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 100)); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c) // to the end of the connection; it may be reset for what was not read
	if n := strings.Count(string(all), "HTTP/1.1 200"); n != 1 {
		t.Errorf("got %d answers (%v), want one", n, err)
	}
}
