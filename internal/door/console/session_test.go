package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// The cookie of a session is for the server alone, and each sign-in has another one.
func TestSignInGivesANewSession(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, v := s.Root(t), visit(t, s)
	fixed := &http.Cookie{Name: "ecrin-session", Value: strings.Repeat("A", 43)}
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	v.http.Jar.SetCookies(at, []*http.Cookie{fixed})
	g := v.signIn(root.KeyID, root.Secret, "next", base+"/repositories?q=x")
	if g.status != http.StatusSeeOther || g.location != base+"/repositories?q=x" {
		t.Fatalf("got %d to %s", g.status, g.location)
	}
	cookie := g.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %q lacks %s", cookie, want)
		}
	}
	if strings.Contains(cookie, fixed.Value) || strings.Contains(cookie, root.Secret) || strings.Contains(cookie, root.KeyID) {
		t.Errorf("the cookie is %q", cookie)
	}
	has(t, v.page("/console/sessions"), "this one", root.KeyID)
	if g := v.post("/console/signout"); g.location != "/console/signin" {
		t.Errorf("signing out leads to %s", g.location)
	}
	v.http.Jar.SetCookies(at, []*http.Cookie{{Name: "ecrin-session", Value: strings.TrimPrefix(strings.Split(cookie, ";")[0],
		"ecrin-session=")}})
	if g := v.get("/console/sessions"); g.status != http.StatusSeeOther {
		t.Errorf("the cookie after signing out: got %d, want the form to sign in", g.status)
	}
}

// A wrong key, a wrong secret and an unknown user get one text, begin no session, and stand in the audit trail.
func TestWrongSignIns(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, v := s.Root(t), visit(t, s)
	for _, pair := range [][2]string{{root.KeyID, "Canary-1"}, {"AKIA0000000000000000", root.Secret}, {"<script>alert(1)</script>",
		"Canary-2"}} {
		g := v.signIn(pair[0], pair[1])
		if g.status != http.StatusForbidden || g.header.Get("Set-Cookie") != "" {
			t.Errorf("%q: got %d and the cookie %q", pair[0], g.status, g.header.Get("Set-Cookie"))
		}
		has(t, g.body, "The key or its secret is wrong")
		if strings.Contains(g.body, "<script>alert") || strings.Contains(g.body, pair[1]) {
			t.Errorf("the page has what was sent:\n%s", g.body)
		}
	}
	g := v.send(http.MethodPost, "/console/signin", url.Values{"by": {"password"}, "account": {"000000000000"}, "userName": {"nobody"},
		"password": {"x"}})
	if g.status != http.StatusForbidden {
		t.Errorf("an unknown user: got %d", g.status)
	}
	has(t, g.body, "The account, the user name or the password is wrong")
}

// No address of others is taken as the page after a sign-in.
func TestSignInLeadsToNoOtherHost(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	for _, next := range []string{"https://evil.example/", "//evil.example/", "/\\evil.example", "/console//evil.example",
		"javascript:alert(1)",
		"/console/\r\nSet-Cookie: a=b", "/v2/", "/console/..//evil"} {
		if g := visit(t, s).signIn(root.KeyID, root.Secret, "next", next); g.location != "/console/" {
			t.Errorf("%q leads to %q", next, g.location)
		}
	}
}

// A form that another site sent changes nothing: without the token, with that of another session, or from another origin.
func TestFormsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v, other := visit(t, s).in(root), visit(t, s).in(root)
	mine := v.csrf()
	for what, send := range map[string]func() got{
		"no token": func() got {
			return v.send(http.MethodPost, base+"/repositories", url.Values{"name": {"team/app"}})
		},
		"the token of another session": func() got {
			return v.send(http.MethodPost, base+"/repositories", url.Values{"name": {"team/app"}, "csrf": {other.csrf()}})
		},
		"another site": func() got {
			return v.send(http.MethodPost, base+"/repositories", url.Values{"name": {"team/app"}, "csrf": {mine}}, "Sec-Fetch-Site", "cross-site")
		},
		"another host of the domain": func() got {
			return v.send(http.MethodPost, base+"/repositories", url.Values{"name": {"team/app"}, "csrf": {mine}}, "Sec-Fetch-Site", "same-site")
		},
		"another origin": func() got {
			return v.send(http.MethodPost, base+"/repositories", url.Values{"name": {"team/app"}, "csrf": {mine}}, "Origin", "https://evil.example")
		},
		"another media type": func() got {
			return v.send(http.MethodPost, base+"/repositories", url.Values{"name": {"team/app"}, "csrf": {mine}}, "Content-Type", "text/plain")
		},
		"a sign-in from another site": func() got {
			return visit(t, s).send(http.MethodPost, "/console/signin", url.Values{"by": {"key"}, "accessKeyId": {root.KeyID},
				"secretAccessKey": {root.Secret}}, "Sec-Fetch-Site", "cross-site")
		},
	} {
		if g := send(); g.status != http.StatusForbidden && g.status != http.StatusBadRequest {
			t.Errorf("%s: got %d to %q", what, g.status, g.location)
		}
	}
	if n := repositories(t, root); n != 0 {
		t.Errorf("%d repositories were made", n)
	}
	if g := v.post(base+"/repositories", "name", "team/app"); g.status != http.StatusSeeOther || repositories(t, root) != 1 {
		t.Errorf("the form of the session: got %d\n%s", g.status, g.body)
	}
}

// Each page has the headers that keep other sites, frames and scripts away.
func TestHeadersOfPages(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	v := visit(t, s).in(s.Root(t))
	for _, path := range []string{"/console/signin", "/console/sessions", base + "/repositories", "/console/none",
		"/console/a/0/console.css"} {
		h := v.get(path).header
		policy := h.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || !strings.Contains(policy,
			"frame-ancestors 'none'") ||
			h.Get("X-Frame-Options") != "DENY" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s has the headers %v", path, h)
		}
	}
}
