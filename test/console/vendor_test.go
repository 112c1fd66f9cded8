package console_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// read returns the text of an element.
func (b *browser) read(selector string) (text string) {
	b.t.Helper()
	b.do("reading "+selector, chromedp.Text(selector, &text, chromedp.ByQuery))
	return strings.TrimSpace(text)
}

// clickIn clicks what is called by words within the row that has a text.
func (b *browser) clickIn(row, words string) {
	b.t.Helper()
	js := fmt.Sprintf(`(function() { const e = [...document.querySelectorAll("tr")].filter(r => r.innerText.includes(%q)).flatMap(r => [...r.querySelectorAll("a,button")])
		.find(e => e.innerText.replace(/\s+/g, " ").trim().startsWith(%q)); if (!e) return false;
		e.scrollIntoView({block: "center"}); setTimeout(() => e.click()); return true; })()`, row, words)
	b.until("clicking "+words+" of "+row, js)
	b.settle()
}

// tick sets a box by its label.
func (b *browser) tick(label string) {
	b.t.Helper()
	js := fmt.Sprintf(`(function() { const f = [...document.querySelectorAll("input[type=checkbox],input[type=radio]")].find(f =>
		(f.getAttribute("aria-label") || (f.closest("label") || {innerText: ""}).innerText).replace(/\s+/g, " ").trim().startsWith(%q));
		if (!f) return false; if (!f.checked) f.click(); return f.checked; })()`, label)
	b.until("ticking "+label, js)
}

// everywhere takes pictures of the page, wide and narrow, light and dark, and fails if it is wider than the window.
func (b *browser) everywhere(file string) {
	b.t.Helper()
	for _, w := range []int64{390, 320, 1440} {
		b.width(w)
		b.settle()
		b.until("the page at "+fmt.Sprint(w), fmt.Sprintf(`document.documentElement.scrollWidth <= %d`, w))
		if w != 320 {
			b.shot(fmt.Sprintf("%s-%d-light", file, w))
		}
	}
	b.dark(true)
	b.shot(file + "-1440-dark")
	b.dark(false)
}

// pulled returns the status of a pull by the password of a customer.
func pulled(t *testing.T, s *apptest.Server, password, repository, tag string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v2/"+repository+"/manifests/"+tag, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("licence:"+password)))
	a, err := s.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	return a.StatusCode
}

// A vendor makes an application with a release, promotes it after a look at who will see it, makes a customer, entitles it, and makes a
// token, with which a client pulls; the token is revoked, and the next pull is refused.
func TestCustomerWalk(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "demo-apps/nginx")
	for i, tag := range []string{"1.26.0", "1.27.0", "2.0.0"} {
		repo.Push(t, tag, ocitest.NewImage(uint64(i), 3000))
	}
	b := newBrowser(t, s)
	b.signIn(root)
	b.click("Applications")
	b.see("No applications yet")
	b.everywhere("applications-empty")
	b.click("Create application")
	b.fill("Application name", "MySampleECRApp")
	b.everywhere("create-application")
	b.click("Create application")
	b.see("Unstable", "Beta", "Stable")
	b.everywhere("channels")
	b.click("Customers")
	b.see("No customers yet")
	b.click("Create the first customer")
	b.fill("Customer name", "Northwind Freight")
	b.fill("Email", "ops@northwind.example")
	b.fill("Licence type", "paid")
	b.fill("Expires", "2099-03-01")
	b.tick("On channel Stable")
	b.tick("Default channel Stable")
	b.everywhere("create-customer")
	b.click("Create customer")
	b.see("May pull nothing", "Northwind Freight")
	b.fill("Token name", "edge-03")
	b.click("Make token")
	b.see("It is shown once")
	token := b.read("#token")
	b.everywhere("customer-token")
	if got := pulled(t, s, token, "demo-apps/nginx", "1.27.0"); got != http.StatusForbidden {
		t.Errorf("without an entitlement: got %d", got)
	}
	b.click("Entitle")
	b.fill("Repositories", "demo-apps/*")
	b.fill("Tags", "1.*")
	b.click("Preview")
	b.see("2 tags", "1.26.0", "1.27.0")
	b.everywhere("entitle")
	b.click("Entitle")
	b.see("demo-apps/*", "2 tags")
	for tag, want := range map[string]int{"1.27.0": 200, "2.0.0": 403} {
		if got := pulled(t, s, token, "demo-apps/nginx", tag); got != want {
			t.Errorf("%s: got %d, want %d", tag, got, want)
		}
	}
	s.Restart(t) // writes the lines of the log that wait
	b.fill("Would this pull work?", "demo-apps/nginx:2.0.0")
	b.click("Decide")
	b.see("The pull is refused", "403", "demo-apps/nginx")
	b.fill("Event at, in a month", "80 GB")
	b.click("Save threshold")
	b.see("event at 80.0 GB")
	b.fill("Would this pull work?", "demo-apps/nginx:1.27.0")
	b.click("Decide")
	b.see("The pull works")
	b.everywhere("customer")
	b.clickIn("edge-03", "Revoke")
	b.see("was revoked")
	if got := pulled(t, s, token, "demo-apps/nginx", "1.27.0"); got != http.StatusUnauthorized {
		t.Errorf("after revoking: got %d", got)
	}
	b.click("Settings")
	b.see("Licence type")
	b.everywhere("customer-settings")
	b.click("Releases")
	b.see("No releases yet")
	b.click("Create the first release")
	b.everywhere("create-release")
	b.click("Create release")
	b.see("Release 1", "nginx-deployment.yaml", "1 image in it")
	b.everywhere("release")
	b.click("Promote")
	b.tick("Stable")
	b.fill("Version label", "1.0.0")
	b.fill("Release notes", "The first release.")
	b.click("Preview")
	b.see("Who will see it", "1 customer: Northwind Freight")
	b.everywhere("promote")
	b.click("Promote release")
	b.see("offered", "1.0.0", "Release 1 is offered on stable")
	b.everywhere("channel")
	b.click("Releases")
	b.see("Stable 1.0.0")
	b.everywhere("releases")
	b.click("Customers")
	b.see("Northwind Freight")
	b.everywhere("customers")
}
