package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
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

// customerForm sends a form of the page of a customer, with the token that the page has.
func (v *visitor) customerForm(pairs ...string) got {
	v.t.Helper()
	form := url.Values{}
	if m := regexp.MustCompile(`name="csrf" value="([0-9a-f]+)"`).FindStringSubmatch(v.get("/console/customer").body); m != nil {
		form.Set("csrf", m[1])
	}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return v.send(http.MethodPost, "/console/customer", form)
}

// A customer who has signed in by the licence makes, rotates and revokes its tokens: each is shown once, stands for what the customer may
// pull and no more, and ends with the licence. Who has a token cannot, so that a token that was lost makes no other.
func TestTokensThatACustomerMakes(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	for _, name := range []string{"first/only", "second/only"} {
		root.CreateRepository(t, name).Push(t, "1", ocitest.NewImage(1, 300))
	}
	v := visit(t, s).in(root)
	app, first := shop(t, v)
	channel := channelID(t, v, app, "Stable")
	second, _ := v.made(app+"/create-customer", "name", "Other Corp", "channel", channel, "default", channel)
	v.made(first+"/entitle", "do", "entitle", "repositories", "first/only")
	v.made(second+"/entitle", "do", "entitle", "repositories", "second/only")
	licence := func(of string) string {
		return regexp.MustCompile(`licenseID: (\S+)`).FindStringSubmatch(v.get(of + "/licence").body)[1]
	}
	one, other := visit(t, s), visit(t, s)
	one.asCustomer(licence(first))
	other.asCustomer(licence(second))
	g := one.customerForm("do", "make", "token", "edge-1")
	m := shownToken.FindStringSubmatch(g.body)
	if m == nil {
		t.Fatalf("making a token: got %d\n%s", g.status, g.body)
	}
	token := m[1]
	if page := one.page("/console/customer"); strings.Contains(page, token) || !strings.Contains(page, "by you") {
		t.Error("the token is shown twice, or not as one of the customer")
	}
	for image, want := range map[string]int{"first/only:1": 200, "second/only:1": 403, "none:1": 403} {
		if got := one.pull(token, image); got != want {
			t.Errorf("the token pulls %s: got %d, want %d", image, got, want)
		}
	}
	has(t, v.page(first), "edge-1")
	v.made(first, "do", "revoke", "token", "edge-1") // the vendor can take it back
	if got := one.pull(token, "first/only:1"); got != http.StatusUnauthorized {
		t.Errorf("a token that the vendor has revoked: got %d", got)
	}
	token = shownToken.FindStringSubmatch(one.customerForm("do", "make", "token", "edge-1").body)[1]
	rotated := shownToken.FindStringSubmatch(one.customerForm("do", "rotate", "token", "edge-1").body)[1]
	if one.pull(token, "first/only:1") != 401 || one.pull(rotated, "first/only:1") != 200 {
		t.Error("rotating has not replaced the token")
	}
	for what, g := range map[string]got{"the same name": one.customerForm("do", "make", "token", "edge-1"),
		"a bad name": one.customerForm("do", "make", "token", `"><script>`), "a token of others": other.customerForm("do", "revoke", "token",
			"edge-1"),
		"rotating one of others": other.customerForm("do", "rotate", "token", "edge-1")} {
		if g.status < 400 || g.status > 499 || !strings.Contains(g.body, "Nothing was changed.") || shownToken.MatchString(g.body) {
			t.Errorf("%s: got %d", what, g.status)
		}
	}
	by := visit(t, s)
	by.asCustomer(rotated)
	has(t, by.page("/console/customer"), "this one", "by the licence")
	csrf := url.Values{"do": {"make"}, "token": {"more"}}
	for _, do := range []string{"make", "rotate", "revoke"} {
		csrf.Set("do", do)
		g := by.customerForm("do", do, "token", "edge-1")
		if g.status != http.StatusForbidden || shownToken.MatchString(g.body) {
			t.Errorf("%s by a token: got %d", do, g.status)
		}
		if g := one.send(http.MethodPost, "/console/customer", csrf); g.status != http.StatusForbidden {
			t.Errorf("%s without the token of the form: got %d", do, g.status)
		}
		if g := visit(t, s).send(http.MethodPost, "/console/customer", csrf); g.status != http.StatusForbidden {
			t.Errorf("%s without a licence: got %d", do, g.status)
		}
	}
	if g := one.customerForm("do", "revoke", "token", "edge-1"); g.status != http.StatusSeeOther || g.location != "/console/customer" {
		t.Errorf("revoking: got %d\n%s", g.status, g.body)
	}
	has(t, one.page("/console/customer"), "The token edge-1 was revoked", "None yet")
	has(t, by.page("/console/customer"), "not valid, or has ended")
	limited := false
	for range 12 { // changes are limited, so that nobody empties the caches of all in a loop
		g := one.customerForm("do", "revoke", "token", "none")
		limited = limited || g.status == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("a customer may change tokens without end")
	}
	if got := len(other.page("/console/customer")); got == 0 {
		t.Error("the other customer is limited too")
	}
	s.Restart(t) // writes the lines of the trail that wait
	has(t, v.page(base+"/audit?event=CreateOwnToken"), "ecrin:CreateOwnToken", "customer/mysampleecrapp/")
	if page := v.page(base + "/audit?event=CreateOwnToken"); strings.Contains(page, token) {
		t.Error("the trail has the token")
	}
	last := shownToken.FindStringSubmatch(other.customerForm("do", "make", "token", "x").body)[1]
	v.made(second+"/archive", "do", "archive", "name", "Other Corp")
	if got := v.pull(last, "second/only:1"); got != http.StatusUnauthorized {
		t.Errorf("a token of an archived customer: got %d", got)
	}
	if g := other.customerForm("do", "make", "token", "y"); g.status != http.StatusForbidden || shownToken.MatchString(g.body) {
		t.Errorf("making a token after the end: got %d", g.status)
	}
}
