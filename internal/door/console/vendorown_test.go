package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// asCustomer signs a customer in by a password.
func (v *visitor) asCustomer(password string) got {
	v.t.Helper()
	return v.send(http.MethodPost, "/console/customer", url.Values{"password": {password}})
}

// A customer signs in by its licence or a token, and sees its own commands, versions and files; when the licence or the token ends, the
// page ends at the next request. The cookie is no password, and no other page takes it.
func TestPageOfACustomer(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	app, first := shop(t, v)
	channel := channelID(t, v, app, "Stable")
	second, _ := v.made(app+"/create-customer", "name", "Other Corp", "channel", channel, "default", channel)
	v.made(first+"/entitle", "do", "entitle", "repositories", "first/only")
	v.made(second+"/entitle", "do", "entitle", "repositories", "second/only")
	release, _ := v.made(app+"/create-release", "file", "a.yaml", "text", "a: 1\n")
	v.made(release+"/promote", "do", "promote", "channel", channel, "label", "7.7.7")
	id := regexp.MustCompile(`licenseID: (\S+)`).FindStringSubmatch(v.get(first + "/licence").body)[1]
	token := shownToken.FindStringSubmatch(v.post(second, "do", "make", "token", "edge").body)[1]

	stranger := visit(t, s)
	has(t, stranger.page("/console/customer"), "Sign in with a licence")
	for _, path := range []string{"/console/customer/licence", "/console/customer/versions/stable/1"} {
		if g := stranger.get(path); g.status != http.StatusSeeOther || g.location != "/console/customer" {
			t.Errorf("%s without a licence: got %d", path, g.status)
		}
	}
	for _, wrong := range []string{"", "x", strings.Repeat("A", 27), "ecrin_ct_" + strings.Repeat("A", 27), root.Secret} {
		if g := stranger.asCustomer(wrong); g.status != http.StatusForbidden || len(g.header["Set-Cookie"]) != 0 {
			t.Errorf("signing in by %q: got %d %v", wrong, g.status, g.header["Set-Cookie"])
		}
	}
	if g := stranger.send(http.MethodPost, "/console/customer", url.Values{"password": {id}}, "Sec-Fetch-Site",
		"cross-site"); g.status != 403 {
		t.Errorf("a form of another site: got %d", g.status)
	}
	one, two := visit(t, s), visit(t, s)
	for visitor, password := range map[*visitor]string{one: id, two: token} {
		g := visitor.asCustomer(password)
		if g.status != http.StatusSeeOther {
			t.Fatalf("signing in: got %d\n%s", g.status, g.body)
		}
		cookie := g.header.Get("Set-Cookie")
		if strings.Contains(cookie, password) || !strings.Contains(cookie, "HttpOnly") {
			t.Errorf("the cookie is %s", cookie)
		}
		value, _, _ := strings.Cut(strings.TrimPrefix(cookie, "ecrin-customer="), ";")
		if got := visitor.pull(value, "first/only:1"); got != http.StatusUnauthorized {
			t.Errorf("the cookie as a password: got %d", got)
		}
	}
	page := one.page("/console/customer")
	has(t, page, "MySampleECRApp", "Northwind Freight", "first/only", "docker login")
	for _, of := range []string{"Other Corp", "second/only", "7.7.7", id, "edge"} {
		if strings.Contains(page, of) {
			t.Errorf("the page of the first customer has %q", of)
		}
	}
	page = two.page("/console/customer")
	has(t, page, "Other Corp", "second/only", "7.7.7", "edge", "a token")
	if g := two.get("/console/customer/versions/stable/1"); g.status != 200 || g.header.Get("Content-Type") != "application/gzip" {
		t.Errorf("the version: got %d %v", g.status, g.header)
	}
	if g := one.get("/console/customer/versions/stable/1"); g.status != http.StatusForbidden && g.status != http.StatusNotFound {
		t.Errorf("a version of a channel of others: got %d", g.status)
	}
	if g := two.get("/console/customer/versions/stable/9"); g.status != http.StatusNotFound {
		t.Errorf("no version: got %d", g.status)
	}
	if g := one.get("/console/customer/licence"); g.status != 200 || !strings.Contains(g.body, "licenseID: "+id) {
		t.Errorf("the licence: got %d", g.status)
	}
	if g := one.get(app); g.status != http.StatusSeeOther || !strings.HasPrefix(g.location, "/console/signin") {
		t.Errorf("a page of the vendor: got %d to %s", g.status, g.location)
	}
	v.made(second, "do", "revoke", "token", "edge")
	has(t, two.page("/console/customer"), "not valid, or has ended")
	v.made(first+"/archive", "do", "archive", "name", "Northwind Freight")
	has(t, one.page("/console/customer"), "not valid, or has ended")
	if g := one.get("/console/customer/licence"); g.status != http.StatusSeeOther {
		t.Errorf("the licence of an archived customer: got %d", g.status)
	}
	for _, forged := range []string{"x", strings.Repeat("A", 2000), "AAAA"} {
		if g := stranger.send(http.MethodGet, "/console/customer", nil, "Cookie", "ecrin-customer="+forged); g.status != 200 ||
			!strings.Contains(g.body, "Sign in with a licence") {
			t.Errorf("a forged cookie: got %d", g.status)
		}
	}
}
