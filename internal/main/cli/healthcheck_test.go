package cli_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
)

// TestHealthcheck: the command succeeds for a server that is ready, and says what another one answers.
func TestHealthcheck(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	mux.HandleFunc("/not", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the disk is full", http.StatusServiceUnavailable)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	for _, c := range []struct {
		url, want string
		code      int
	}{
		{s.URL + "/ready", "ready", 0}, {s.URL + "/not", "503 Service Unavailable: the disk is full", 1}, {"127.0.0.1", "is no URL", 2},
		{"http://127.0.0.1:1/readyz", "connection refused", 1},
	} {
		var out, errs strings.Builder
		code := cli.Run(t.Context(), cli.Env{Out: &out, Err: &errs, Lookup: nothing, Args: []string{"healthcheck", c.url}})
		if code != c.code || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("healthcheck %s: got the code %d, %q and %q, want %d and %q", c.url, code, out.String(), errs.String(), c.code, c.want)
		}
	}
}
