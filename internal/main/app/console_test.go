package app_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// A browser that opens the address of the registry is sent to the form to sign in, with the commands for this host and no secret; every
// other client gets the answer of the API.
func TestBrowserGetsTheConsole(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	host := strings.TrimPrefix(s.URL, "http://")
	get := func(method, path string, header ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
			if header[i] == "Host" {
				r.Host = header[i+1]
			}
		}
		a, err := s.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a, string(body)
	}
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for from, to := range map[string]string{"/": "/console/", "/console/": "/console/signin"} {
		if a, _ := get(http.MethodGet, from, "Accept", browser); a.StatusCode/100 != 3 || a.Header.Get("Location") != to {
			t.Errorf("%s: got %d %s, want the way to %s", from, a.StatusCode, a.Header.Get("Location"), to)
		}
	}
	a, page := get(http.MethodGet, "/console/signin", "Accept", browser)
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %d %s, want a page", a.StatusCode, a.Header.Get("Content-Type"))
	}
	for _, want := range []string{"docker login --username AWS --password-stdin " + host, "AWS_ENDPOINT_URL=http://" + host} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	for _, secret := range []string{s.Root(t).KeyID, s.Dir, s.Registry().Account.String()} {
		if strings.Contains(page, secret) {
			t.Errorf("the page shows %q", secret)
		}
	}
	policy := a.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("got the policy %q", policy)
	}
	if a, body := get(http.MethodHead, "/console/signin", "Accept", browser); a.StatusCode != 200 || body != "" {
		t.Errorf("HEAD: got %d %q, want 200 without a body", a.StatusCode, body)
	}
	for what, answer := range map[string]func() (*http.Response, string){
		"curl": func() (*http.Response, string) { return get(http.MethodGet, "/", "Accept", "*/*") },
		"a query": func() (*http.Response, string) {
			return get(http.MethodGet, "/?Action=GetCallerIdentity&Version=2011-06-15", "Accept", browser)
		},
		"POST":         func() (*http.Response, string) { return get(http.MethodPost, "/", "Accept", browser) },
		"another path": func() (*http.Response, string) { return get(http.MethodGet, "/x", "Accept", browser) },
		"credentials": func() (*http.Response, string) {
			return get(http.MethodGet, "/", "Accept", browser, "Authorization", "x")
		},
	} {
		if a, _ := answer(); a.StatusCode/100 < 4 || strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: got %d %s, want an error of the API", what, a.StatusCode, a.Header.Get("Content-Type"))
		}
	}
	_, page = get(http.MethodGet, "/console/signin", "Accept", browser, "Host", "a'&b.example")
	if !strings.Contains(page, "b.example") || strings.Contains(page, "a'&b") {
		t.Errorf("the page has the host of the request as it is:\n%s", page)
	}
}
