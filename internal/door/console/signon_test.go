package console_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/door/console"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
)

// provider is an OpenID Connect provider with the authorization code flow: it remembers what each code was asked for, and gives a token
// for it once.
type provider struct {
	*oidctest.Issuer
	mu     sync.Mutex
	codes  map[string]url.Values // the parameters of the authorization request
	claims func(map[string]any)  // changes the claims of the next tokens
	asked  atomic.Int64          // requests for the discovery document
	hang   chan struct{}         // if not nil, the discovery document comes when it is closed
}

const clientID = "ecrin-console"

func startProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{Issuer: oidctest.Start(t, oidctest.Options{}), codes: map[string]url.Values{}}
	p.Answer(oidctest.Discovery, func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		p.mu.Lock()
		hang := p.hang
		p.mu.Unlock()
		if hang != nil {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
		_, _ = w.Write([]byte(`{"issuer":"` + p.URL() + `","jwks_uri":"` + p.URL() + oidctest.Keys + `","authorization_endpoint":"` + p.URL() +
			`/authorize","token_endpoint":"` + p.URL() + `/token"}`))
	})
	p.Answer("/token", p.token)
	return p
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	id, key, _ := r.BasicAuth()
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	proof := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if asked == nil || id != clientID || key != "hidden" || r.PostFormValue("grant_type") != "authorization_code" ||
		asked.Get("redirect_uri") != r.PostFormValue("redirect_uri") || asked.Get("code_challenge_method") != "S256" ||
		asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(proof[:]) {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	claims := p.Claims("jane@example.com")
	claims["aud"], claims["nonce"] = clientID, asked.Get("nonce")
	if p.claims != nil {
		p.claims(claims)
	}
	_, _ = w.Write([]byte(`{"access_token":"x","token_type":"Bearer","id_token":"` + p.Mint(claims) + `"}`))
}

// authorize is the person who agrees at the provider: it returns the path of the answer.
func (p *provider) authorize(t *testing.T, location string) string {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, p.URL()+"/authorize?") {
		t.Fatalf("the browser is sent to %q", location)
	}
	q := u.Query()
	code := "code-" + q.Get("state")[:8]
	p.mu.Lock()
	p.codes[code] = q
	p.mu.Unlock()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || back.Path != "/console/sso/callback" || q.Get("response_type") != "code" || q.Get("client_id") != clientID {
		t.Fatalf("the browser is sent to %q", location)
	}
	return back.Path + "?" + url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
}

// signOn returns a server with a provider, and the role console that trusts it.
func signOn(t *testing.T) (*apptest.Server, *provider) {
	t.Helper()
	p := startProvider(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Root()}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		c.EgressAllow, c.EgressCA = []string{"127.0.0.1"}, ca
		c.Issuer, c.ClientID, c.Role, c.Title = p.URL(), clientID, "arn:aws:iam::000000000000:role/console", "Example"
		if err := c.ClientSecret.UnmarshalText([]byte("hidden")); err != nil {
			t.Error(err)
		}
	}})
	v := visit(t, s).in(s.Root(t))
	v.post(access+"/providers", "name", p.URL(), "audience", clientID)
	_, bare, _ := strings.Cut(p.URL(), "://")
	g := v.post(access+"/roles", "name", "console", "path", "/", "trusts", "provider", "audience", clientID,
		"trusted", "arn:aws:iam::000000000000:oidc-provider/"+bare)
	if g.status != http.StatusSeeOther {
		t.Fatalf("got %d\n%s", g.status, g.body)
	}
	return s, p
}

// A person signs in at the provider, has a session of the role, and comes to the page that was asked for.
func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	s, p := signOn(t)
	v := visit(t, s)
	next := base + "/repositories?q=x"
	has(t, v.page("/console/signin?next="+url.QueryEscape(next)), "Sign in with Example", "/console/sso?next=")
	g := v.get("/console/sso?next=" + url.QueryEscape(next))
	back := p.authorize(t, g.location)
	before := v.send(http.MethodGet, "/console/signin", nil).header
	g = v.get(back)
	if g.status != http.StatusSeeOther || g.location != next {
		t.Fatalf("got %d to %q\n%s", g.status, g.location, g.body)
	}
	sets := func(h http.Header) bool { return strings.Contains(strings.Join(h["Set-Cookie"], ""), "ecrin-session") }
	if sets(before) || !sets(g.header) {
		t.Error("the session is not a new one")
	}
	has(t, v.page("/console/sessions"), "console/sso-jane@example.com")
	if g := v.get(back); g.status != http.StatusForbidden {
		t.Errorf("the same answer again: got %d to %q", g.status, g.location)
	}
}

// Whatever does not belong to the sign-in of this browser signs nobody in.
func TestSingleSignOnRefuses(t *testing.T) {
	t.Parallel()
	s, p := signOn(t)
	begin := func(v *visitor) string {
		return p.authorize(t, v.get("/console/sso?next=//evil.example.com/").location)
	}
	change := func(back string, pairs ...string) string {
		u, _ := url.Parse(back)
		q := u.Query()
		for i := 0; i < len(pairs); i += 2 {
			q.Set(pairs[i], pairs[i+1])
		}
		return u.Path + "?" + q.Encode()
	}
	for what, answer := range map[string]func(v *visitor) string{
		"another browser's answer": func(v *visitor) string { begin(v); return begin(visit(t, s)) },
		"no sign-in":               func(*visitor) string { return begin(visit(t, s)) },
		"another state":            func(v *visitor) string { return change(begin(v), "state", strings.Repeat("0", 64)) },
		"no state":                 func(v *visitor) string { return change(begin(v), "state", "") },
		"another provider":         func(v *visitor) string { return change(begin(v), "iss", "https://evil.example.com") },
		"no code":                  func(v *visitor) string { return change(begin(v), "code", "") },
		"an error":                 func(v *visitor) string { return change(begin(v), "error", `"><script>alert(1)</script>`) },
		"an injected code of another sign-in": func(v *visitor) string {
			stolen, _ := url.Parse(begin(visit(t, s)))
			return change(begin(v), "code", stolen.Query().Get("code"))
		},
		"an old answer": func(v *visitor) string { old := begin(v); begin(v); return old },
	} {
		v := visit(t, s)
		g := v.get(answer(v))
		if g.status != http.StatusForbidden || strings.Contains(g.body, "<script>alert") || strings.Contains(g.location, "evil") {
			t.Errorf("%s: got %d to %q", what, g.status, g.location)
		}
		if g := v.get("/console/sessions"); g.status != http.StatusSeeOther {
			t.Errorf("%s: signed in, got %d", what, g.status)
		}
	}
	for what, claims := range map[string]func(map[string]any){
		"another nonce":    func(c map[string]any) { c["nonce"] = "x" },
		"no nonce":         func(c map[string]any) { delete(c, "nonce") },
		"another audience": func(c map[string]any) { c["aud"] = "sts.amazonaws.com" },
		"another party":    func(c map[string]any) { c["azp"] = "other" },
		"another issuer":   func(c map[string]any) { c["iss"] = "https://evil.example.com" },
		"an old token":     func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() },
	} {
		v := visit(t, s)
		back := begin(v)
		p.mu.Lock()
		p.claims = claims
		p.mu.Unlock()
		if g := v.get(back); g.status != http.StatusForbidden {
			t.Errorf("%s: got %d to %q", what, g.status, g.location)
		}
		p.mu.Lock()
		p.claims = nil
		p.mu.Unlock()
	}
	v := visit(t, s)
	if g := v.get(begin(v)); g.location != "/console/" {
		t.Errorf("after the sign-in the browser is sent to %q, want /console/", g.location)
	}
}

// Of many who begin to sign in nothing is kept, and the provider is asked once. One that does not answer holds nobody else up.
func TestSingleSignOnOfStrangers(t *testing.T) {
	t.Parallel()
	s, p := signOn(t)
	for range 200 {
		if g := visit(t, s).get("/console/sso"); g.status != http.StatusSeeOther {
			t.Fatalf("got %d\n%s", g.status, g.body)
		}
	}
	if got := p.asked.Load(); got != 1 {
		t.Errorf("the provider was asked %d times, want 1", got)
	}
	slow, q := signOn(t)
	q.mu.Lock()
	q.hang = make(chan struct{})
	q.mu.Unlock()
	begun := time.Now()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if g := visit(t, slow).get("/console/sso"); g.status != http.StatusServiceUnavailable && g.status != http.StatusTooManyRequests {
				t.Errorf("a provider that does not answer: got %d", g.status)
			}
		})
	}
	if g := visit(t, slow).get("/console/signin"); g.status != http.StatusOK {
		t.Errorf("the form to sign in: got %d", g.status)
	}
	wg.Wait()
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

// The cookie of a sign-in is one that this server has made.
func FuzzOpenSignOn(f *testing.F) {
	for _, s := range []string{"", ".", "a.1.b.c", strings.Repeat(".", 10), "seed.99999999999.L2NvbnNvbGUv.mac"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		mac := func(text string) string { return "mac" + text }
		seed, next, ok := console.OpenSignOn(mac, value, time.Unix(1000, 0))
		if ok && !strings.HasSuffix(value, "maccookie "+value[:strings.LastIndexByte(value, '.')]) {
			t.Errorf("%q is taken: %q, %q", value, seed, next)
		}
	})
}
