package upstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// tokens is a token service, and the registry's check of its tokens.
type tokens struct {
	realm  string
	life   int
	mu     sync.Mutex
	issued map[string]string // scope by token
}

func newTokens(realm string) *tokens {
	return &tokens{realm: realm, life: 300, issued: map[string]string{}}
}

func (s *tokens) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := fmt.Sprintf("canary-token-%d", len(s.issued))
	s.issued[token] = strings.Join(r.URL.Query()["scope"], " ")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": s.life})
}

func (s *tokens) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.issued {
		s.issued[t] = "revoked"
	}
}

// require answers 401 to a request without a token for the repository team/app.
func (s *tokens) require(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		scope := s.issued[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		s.mu.Unlock()
		if !strings.Contains(scope, "repository:team/app:") {
			w.Header().Add("WWW-Authenticate", `Basic realm="not this one"`)
			w.Header().Add("WWW-Authenticate", `Bearer realm="`+s.realm+`",service="registry.test",scope="repository:team/app:pull"`)
			answerError(w, http.StatusUnauthorized, "UNAUTHORIZED", "canary")
			return
		}
		next(w, r)
	}
}

func pinned(n *internet) func(*upstream.Endpoint, *upstream.Limits) {
	return func(e *upstream.Endpoint, _ *upstream.Limits) { e.TokenHosts = []string{n.addr("auth")} }
}

// A token is fetched once for its scopes, for all concurrent requests, and again when it ends or is refused.
func TestBearerTokens(t *testing.T) {
	t.Parallel()
	n, m, im := newInternet(t), newMemory(), ocitest.NewImage(1, 10)
	m.add("v1", im)
	s := newTokens("https://" + n.addr("auth") + "/token?account=x")
	n.host("auth", requireBasic(s.serve))
	n.host("registry", s.require(m.serve))
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	e := upstream.Endpoint{Host: n.addr("registry"), Username: user, Password: secret.New(password), TokenHosts: []string{n.addr("auth")}}
	c := upstream.New(upstream.Options{Guard: n.guard, Limits: quick, Now: func() time.Time { return time.Unix(0, now.Load()) }})
	t.Cleanup(c.Close)
	r, err := c.Registry(e)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, fetches int) {
		t.Helper()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := pull(t, r, "v1"); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		all.Wait()
		if got := n.lines("auth"); len(got) != fetches {
			t.Errorf("%s: got %d requests for tokens, want %d: %q", what, len(got), fetches, got)
		}
	}
	check("at first", 1)
	if got := n.lines("auth")[0]; got != "GET /token?account=x&scope=repository%3Ateam%2Fapp%3Apull&service=registry.test" {
		t.Errorf("the request for a token: got %s", got)
	}
	check("with a token", 1)
	now.Add(int64(269 * time.Second))
	check("shortly before the end of the token", 1)
	now.Add(int64(2 * time.Second))
	check("at its end", 2)
	s.revoke()
	check("after it was revoked", 3)
	s.life = 0 // the default is a minute
	now.Add(int64(5 * time.Minute))
	check("with a short life", 4)
	now.Add(int64(55 * time.Second))
	check("after a short life", 5)
	now.Add(int64(-24 * time.Hour))
	s.revoke()
	check("after the clock went back", 6)
	for _, q := range n.requests("registry") {
		if strings.Contains(q, password) {
			t.Errorf("the registry received the password, which is for its token service: %s", q)
		}
	}
	n.checkCanaries(t, nil, "auth", "registry")
}

// The end of the first caller's context does not end the fetch that others wait for.
func TestTokenFetchBelongsToAll(t *testing.T) {
	t.Parallel()
	n, m, im := newInternet(t), newMemory(), ocitest.NewImage(1, 10)
	m.add("v1", im)
	s := newTokens("https://" + n.addr("auth") + "/token")
	asked, release := make(chan bool, 9), make(chan bool)
	n.host("auth", func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-release
		s.serve(w, r)
	})
	n.host("registry", s.require(m.serve))
	r := n.registry(t, pinned(n))
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := r.Manifest(ctx, "team/app", "v1", upstream.ManifestOptions{})
		first <- err
	}()
	<-asked
	go func() { second <- pull(t, r, "v1") }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that left: got %v, want its context's error", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the other caller: %v", err)
	}
}

// Attack row 14: a challenge that names another token service gets neither credentials nor a request.
func TestAttack14ForeignRealm(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	n.host("foreign", newTokens("").serve)
	n.host("auth", newTokens("").serve)
	foreign := n.addr("foreign")
	for realm, reason := range map[string]upstream.Reason{
		"https://" + foreign + "/token":                               upstream.Refused,
		"https://foreign.test/token":                                  upstream.Refused,
		"https://" + n.addr("registry") + "@" + foreign + "/":         upstream.Lied,
		"https://user:p@" + n.addr("registry") + "/":                  upstream.Lied,
		"https://registry.test/token":                                 upstream.Refused, // another port
		"https://auth.test/token":                                     upstream.Refused,
		"https://registry.test.:" + n.port + "/":                      upstream.Refused,
		"http://" + n.addr("auth") + "/token":                         upstream.Refused,
		"http://" + n.addr("registry") + "/token":                     upstream.Refused,
		"https://169.254.169.254/latest":                              upstream.Refused,
		"https://[::1]:" + n.port + "/":                               upstream.Refused,
		"//" + foreign + "/token":                                     upstream.Refused,
		"/token":                                                      upstream.Lied,
		"":                                                            upstream.Lied,
		"https://" + n.addr("auth") + "/#" + strings.Repeat("x", 9):   upstream.Lied,
		"https://" + n.addr("auth") + "/" + strings.Repeat("x", 3000): upstream.Lied,
		"https://canary%zz/":                                          upstream.Lied,
	} {
		n.host("registry", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="canary"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
		for what, r := range map[string]*upstream.Registry{
			"with credentials": n.registry(t, pinned(n)), "anonymous": n.registry(t, anonymous, pinned(n))} {
			err := r.Ping(t.Context())
			e := want(t, what+", realm "+realm, err, reason)
			if realm == "https://"+foreign+"/token" && !strings.Contains(e.Public, foreign) {
				t.Errorf("the error %q does not name the host of the realm", e.Public)
			}
		}
	}
	n.checkCanaries(t, nil)
	if got := append(n.lines("foreign"), n.lines("auth")...); got != nil {
		t.Errorf("the hosts of foreign realms got the requests %q", got)
	}
	// An address in the registry's own realm passes the guard like any other.
	n.host("registry", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://loop.test/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	r := n.registry(t, func(e *upstream.Endpoint, _ *upstream.Limits) { e.TokenHosts = []string{"loop.test"} })
	want(t, "a pinned host with a loopback address", r.Ping(t.Context()), upstream.Refused)
}

// A token service that lies, redirects, refuses or is away ends the request with a clear error.
func TestTokenServiceFails(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	n.host("registry", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+n.addr("auth")+`/token"`)
		answerError(w, http.StatusUnauthorized, "UNAUTHORIZED", "canary")
	})
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	later := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "99")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	for what, c := range map[string]struct {
		handler http.HandlerFunc
		reason  upstream.Reason
	}{
		"no JSON":       {text("<html>canary"), upstream.Unavailable},
		"no token":      {text(`{"token":""}`), upstream.Lied},
		"a line break":  {text(`{"token":"canary\r\nX: y"}`), upstream.Lied},
		"a long token":  {text(`{"token":"` + strings.Repeat("x", 20<<10) + `"}`), upstream.Lied},
		"a long answer": {text(strings.Repeat(" ", 200<<10) + `{"token":"x"}`), upstream.Unavailable},
		"a useless one": {text(`{"access_token":"x"}`), upstream.Unauthorized},
		"401":           {func(w http.ResponseWriter, _ *http.Request) { answerError(w, 401, "UNAUTHORIZED", "canary") }, upstream.Unauthorized},
		"404":           {http.NotFound, upstream.Unauthorized},
		"429":           {later, upstream.RateLimited},
		"500":           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, upstream.Unavailable},
		"an end":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, upstream.Unavailable},
		"a redirect out": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+n.addr("foreign")+"/", http.StatusTemporaryRedirect)
		}, upstream.Unauthorized},
	} {
		n.host("auth", c.handler)
		before := len(n.lines("registry"))
		e := want(t, what, n.registry(t, pinned(n)).Ping(t.Context()), c.reason)
		if what == "429" && e.After != 99*time.Second {
			t.Errorf("429: got After %v, want 99 s", e.After)
		}
		if got := len(n.lines("registry")) - before; got > 6 {
			t.Errorf("%s: the registry got %d requests", what, got)
		}
	}
	n.checkCanaries(t, nil, "auth", "registry")
}

func TestBasic(t *testing.T) {
	t.Parallel()
	n, m := newInternet(t), newMemory()
	n.host("registry", requireBasic(m.serve))
	r := n.registry(t)
	for range 3 {
		if err := r.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(n.lines("registry")); got != 4 { // only the first meets a challenge
		t.Errorf("three requests: got %d, want 4", got)
	}
	wrong := n.registry(t, func(e *upstream.Endpoint, _ *upstream.Limits) { e.Password = secret.New("canary-wrong") })
	e := want(t, "a wrong password", wrong.Ping(t.Context()), upstream.Unauthorized)
	if !strings.Contains(e.Public, "does not accept") {
		t.Errorf("a wrong password: got %q", e.Public)
	}
	e = want(t, "no password", n.registry(t, anonymous).Ping(t.Context()), upstream.Unauthorized)
	if !strings.Contains(e.Public, "requires credentials") {
		t.Errorf("no password: got %q", e.Public)
	}
	for _, challenge := range []string{"", "Negotiate", "canary"} {
		n.host("registry", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		})
		want(t, "the challenge "+challenge, n.registry(t).Ping(t.Context()), upstream.Unauthorized)
	}
	for _, host := range []string{"", "a/b", "https://a", "user@a", "a:b", "a:", "a b", "a?b", "a#b", "a%2fb", strings.Repeat("a", 300)} {
		_, err := n.client(t, quick).Registry(upstream.Endpoint{Host: host})
		want(t, "the host "+host, err, upstream.Invalid)
		_, err = n.client(t, quick).Registry(upstream.Endpoint{Host: "a.test", TokenHosts: []string{host}})
		want(t, "the token host "+host, err, upstream.Invalid)
	}
	for text, host := range map[string]string{"A.Test": "a.test", "a.test:443": "a.test", "a.test:5000": "a.test:5000",
		"docker.io": "registry-1.docker.io", "[::1]:443": "[::1]", "127.0.0.1:5000": "127.0.0.1:5000"} {
		r, err := n.client(t, quick).Registry(upstream.Endpoint{Host: text})
		if err != nil || r.Host() != host {
			t.Errorf("the host %s: got %v, %v, want %s", text, r, err, host)
		}
	}
}

// A redirect to another host gets no credentials, and neither does one that comes back.
func TestAttack14RedirectGetsNoCredentials(t *testing.T) {
	t.Parallel()
	n, m, im := newInternet(t), newMemory(), ocitest.NewImage(1, 10)
	m.add("v1", im)
	n.host("cdn", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" { // as S3 does
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		m.serve(w, r)
	})
	n.host("registry", requireBasic(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+n.addr("cdn")+r.URL.Path+"?signature=x", http.StatusTemporaryRedirect)
	}))
	r := n.registry(t)
	if err := pull(t, r, "v1"); err != nil {
		t.Errorf("pull: %v", err)
	}
	n.checkCanaries(t, nil, "registry")

	// Back to the registry by another host: still without credentials, and the 401 to that is not answered by any.
	n.host("cdn", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+n.addr("registry")+"/back", http.StatusFound)
	})
	_, err := read(t, r, im.Digest, upstream.BlobOptions{})
	want(t, "back by another host", err, upstream.Unavailable)
	for _, q := range n.requests("registry") {
		if strings.HasPrefix(q, "GET /back") && strings.Contains(q, "canary") {
			t.Errorf("the redirect back carried credentials: %s", q)
		}
	}
	// A challenge of another host is not answered.
	n.host("cdn", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	_, err = read(t, r, im.Digest, upstream.BlobOptions{})
	want(t, "a challenge of another host", err, upstream.Unavailable)
	n.checkCanaries(t, nil, "registry")
}

// Attack row 15: no redirect, link or upload reaches an address that the guard refuses, and there are at most five.
func TestAttack15Redirects(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	r := n.registry(t)
	d := ocitest.SHA256(nil)
	for _, target := range []string{"https://169.254.169.254/latest/meta-data/", "https://127.0.0.2:" + n.port + "/", "https://10.0.0.1/",
		"https://[::1]:" + n.port + "/", "https://loop.test:" + n.port + "/", "https://private.test/", "https://meta.test/",
		"https://2130706433/", "http://" + n.addr("cdn") + "/", "https://user@" + n.addr("cdn") + "/", "https://unknown.test/"} {
		n.host("registry", requireBasic(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}))
		before := len(n.lines("registry"))
		_, err := read(t, r, d, upstream.BlobOptions{})
		e := want(t, "a redirect to "+target, err, upstream.Refused)
		if strings.Contains(e.Public, "127.0.0") || strings.Contains(e.Public, "private") || strings.Contains(e.Public, "unknown") {
			t.Errorf("a redirect to %s: the public text %q tells what is there", target, e.Public)
		}
		if got := len(n.lines("registry")) - before; got > 2 {
			t.Errorf("a redirect to %s: got %d requests, want no repetition", target, got)
		}
	}
	for what, location := range map[string]string{
		"an invalid URL": "https://canary%zz/", "no URL": "", "a long URL": "/" + strings.Repeat("x", 20<<10)} {
		n.host("registry", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		})
		_, err := read(t, n.registry(t), d, upstream.BlobOptions{})
		var e *upstream.Error
		if !errors.As(err, &e) || e.Reason != upstream.Lied && e.Reason != upstream.Unavailable || strings.Contains(err.Error(), "canary") {
			t.Errorf("a redirect to %s: got %v", what, err)
		}
	}
	n.host("registry", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/v2/again", http.StatusFound) })
	before := len(n.lines("registry"))
	_, err := read(t, r, d, upstream.BlobOptions{})
	want(t, "a loop", err, upstream.Lied)
	if got := len(n.lines("registry")) - before; got != 6 {
		t.Errorf("a loop: got %d requests, want 6", got)
	}
	// The registry itself.
	for _, host := range []string{"loop.test", "169.254.169.254", "meta.test", "127.0.0.2:" + n.port, "unknown.test"} {
		r := n.registry(t, func(e *upstream.Endpoint, _ *upstream.Limits) { e.Host = host })
		want(t, "the registry "+host, r.Ping(t.Context()), upstream.Refused)
	}
	n.checkCanaries(t, nil, "registry")
	if got := n.lines("cdn"); !slices.Equal(got, nil) {
		t.Errorf("cdn got the requests %q", got)
	}
}

// Close ends a request for a token, for which callers wait.
func TestCloseEndsTokenFetch(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	asked := make(chan bool, 9)
	n.host("auth", func(_ http.ResponseWriter, r *http.Request) {
		asked <- true
		<-r.Context().Done()
	})
	n.host("registry", newTokens("https://"+n.addr("auth")+"/token").require(http.NotFound))
	c := n.client(t, quick)
	r, err := c.Registry(upstream.Endpoint{Host: n.addr("registry"), TokenHosts: []string{n.addr("auth")}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Ping(t.Context()) }()
	<-asked
	c.Close()
	want(t, "Ping after Close", <-ended, upstream.Unavailable)
}
