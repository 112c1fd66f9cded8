package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// A form that is sent after its session has ended goes back to the browser with the form to sign in, and to its page after that: nothing is
// lost, secrets are typed again, and nothing is done before the person says so. A form of another site is refused as ever.
func TestFormOfAnEndedSession(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app")
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app/-/permissions"
	const text = `{"Statement": "what I wrote \u202e <b>"}`
	form := url.Values{"csrf": {v.csrf()}, "do": {"check"}, "text": {text}, "secret": {"hidden-secret"}}
	s.Restart(t)
	if g := v.send(http.MethodPost, at, form, "Sec-Fetch-Site", "same-origin"); g.status != http.StatusOK {
		t.Fatalf("after a restart: got %d", g.status)
	}
	stranger := visit(t, s)
	g := stranger.send(http.MethodPost, at+"?x=1", form, "Sec-Fetch-Site", "same-origin")
	if g.status != http.StatusUnauthorized {
		t.Fatalf("got %d", g.status)
	}
	has(t, g.body, "Your session has ended", `name="kept" value="`+at+`?x=1"`, `name="kept.do" value="check"`, "what I wrote")
	if strings.Contains(g.body, "hidden-secret") {
		t.Error("the page has the secret")
	}
	kept := url.Values{"by": {"key"}, "accessKeyId": {root.KeyID}, "secretAccessKey": {root.Secret}, "kept": {at + "?x=1"},
		"kept.do": {"check"}, "kept.text": {text}, "kept.secret": {""}}
	wrong := url.Values{}
	for k, values := range kept {
		wrong[k] = values
	}
	wrong.Set("secretAccessKey", "wrong")
	has(t, stranger.send(http.MethodPost, "/console/signin", wrong, "Sec-Fetch-Site", "same-origin").body, `name="kept.text"`, "what I wrote")
	g = stranger.send(http.MethodPost, "/console/signin", kept, "Sec-Fetch-Site", "same-origin")
	if g.status != http.StatusOK {
		t.Fatalf("signing in: got %d to %s", g.status, g.location)
	}
	has(t, g.body, "Send it again?", `action="`+at+`?x=1"`, `name="do" value="check"`, "secret, which is not kept", `type="password"`)
	checkPage(t, "the form that was kept", g.body)
	token := tokenOf.FindStringSubmatch(g.body)
	if token == nil {
		t.Fatal("the form has no token")
	}
	form.Set("csrf", token[1])
	has(t, stranger.send(http.MethodPost, at, form, "Sec-Fetch-Site", "same-origin").body, "Permissions", "what I wrote")

	// A form of another session of the same browser.
	form.Set("csrf", strings.Repeat("0", 32))
	if g := v.send(http.MethodPost, at, form, "Sec-Fetch-Site", "same-origin"); g.status != http.StatusConflict ||
		!strings.Contains(g.body, "Send it again?") {
		t.Errorf("a form of another session: got %d", g.status)
	}
	for what, header := range map[string][]string{"another site": {"Sec-Fetch-Site", "cross-site"},
		"another origin": {"Origin", "https://evil.example"}, "no header": nil} {
		if g := v.send(http.MethodPost, at, form, header...); g.status != http.StatusForbidden || strings.Contains(g.body, "what I wrote") {
			t.Errorf("%s: got %d", what, g.status)
		}
		if g := visit(t, s).send(http.MethodPost, at, form, header...); strings.Contains(g.body, "what I wrote") {
			t.Errorf("%s without a session: got %d", what, g.status)
		}
		kept.Set("kept", at)
		if g := visit(t, s).send(http.MethodPost, "/console/signin", kept, header...); strings.Contains(g.body, "Send it again?") {
			t.Errorf("%s with a form that was kept: got %d", what, g.status)
		}
	}
	for _, to := range []string{"https://evil.example/", "//evil.example/console/x", "/console/signin", "/v2/", "/console/none",
		"/console/../v2/", "javascript:alert(1)"} {
		kept.Set("kept", to)
		if g := visit(t, s).send(http.MethodPost, "/console/signin", kept, "Sec-Fetch-Site", "same-origin"); g.status != http.StatusSeeOther {
			t.Errorf("kept for %s: got %d\n%s", to, g.status, g.body)
		}
	}
	form.Set("text", strings.Repeat("x", 70_000))
	g = visit(t, s).send(http.MethodPost, at, form, "Sec-Fetch-Site", "same-origin")
	has(t, g.body, "go back in your browser")
	if len(g.body) > 30_000 {
		t.Errorf("the page has %d bytes", len(g.body))
	}
}

// Who has a session already, of another tab, can sign in by a form that was opened before.
func TestSigningInTwice(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	if g := v.signIn(root.KeyID, root.Secret); g.status != http.StatusSeeOther {
		t.Errorf("got %d\n%s", g.status, g.body)
	}
	has(t, v.page("/console/"+"sessions"), "this one")
}
