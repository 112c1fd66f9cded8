package console_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// filesOf returns the files of a compressed archive.
func filesOf(t *testing.T, data string) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = string(text)
	}
}

// A customer signs in by the id of its licence, copies its commands, sees its versions, downloads the licence and the files of a version,
// makes a token with which a client pulls, and revokes it; a session by a token ends when that is revoked.
func TestPageOfACustomer(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "shop/api").Push(t, "1.0.0", ocitest.NewImage(1, 3000))
	root.CreateRepository(t, "secret/api").Push(t, "1.0.0", ocitest.NewImage(2, 3000))
	s.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Storefront"},
		new(ecrintypes.VendorApplicationResponse))
	var c ecrintypes.CreateCustomerResponse
	s.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "storefront", CustomerName: "Northwind Freight",
		Channels: []ecrintypes.CustomerChannel{{ChannelId: "stable"}}}, &c)
	id := c.Customer.CustomerId
	b := newBrowser(t, s)
	b.open("/console/customer")
	b.see("Sign in with a licence", "Licence id or token")
	b.everywhere("own-signin")
	b.looks("the form of a customer")
	b.fill("Licence id or token", strings.Repeat("A", 27))
	b.click("Sign in")
	b.see("not valid, or has ended")
	var licence ecrintypes.GetLicenseResponse
	s.Operator(t, "GetLicense", &ecrintypes.GetLicenseRequest{ApplicationSlug: "storefront", CustomerId: id}, &licence)
	licenceID := regexp.MustCompile(`licenseID: (\S+)`).FindStringSubmatch(licence.License)[1]
	b.fill("Licence id or token", licenceID)
	b.click("Sign in")
	b.see("Northwind Freight", "No image yet", "Nothing is offered", "None yet")
	b.everywhere("own-empty")

	s.Operator(t, "PutEntitlement", &ecrintypes.PutEntitlementRequest{ApplicationSlug: "storefront", CustomerId: id,
		Repositories: []string{"shop/api"}}, new(ecrintypes.EntitlementResponse))
	s.Operator(t, "CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "storefront", Files: []ecrintypes.ReleaseFile{
		{Path: "web.yaml",
			Content: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: shop/api:1.0.0}]}\n"}}},
		new(ecrintypes.ReleaseResponse))
	s.Operator(t, "PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "storefront", Sequence: 1,
		ChannelIds:   []string{"stable"},
		VersionLabel: "1.0.0", ReleaseNotes: "The first one."}, new(ecrintypes.PromoteReleaseResponse))
	b.open("/console/customer")
	b.see("1.0.0", "The first one.", "shop/api")
	var copied string
	b.evaluate(`[...document.querySelectorAll(".copy")].map(c => c.dataset.copy).find(t => t.startsWith("docker login"))`, &copied)
	if !strings.Contains(copied, "docker pull "+strings.TrimPrefix(s.URL, "http://")+"/shop/api:TAG") || strings.Contains(copied, licenceID) {
		t.Errorf("the command to copy is %q", copied)
	}
	if got := string(b.download("Download licence")); !strings.Contains(got, "licenseID: "+licenceID) {
		t.Errorf("the licence: got %q", got)
	}
	if files := filesOf(t, string(b.download("Download 1.0.0"))); !strings.Contains(files["web.yaml"], "kind: Pod") {
		t.Errorf("the files of the version: got %q", files)
	}
	b.fill("Token name", "edge-03")
	b.click("Make token")
	b.see("It is shown once", "edge-03", "by you")
	token := b.read("#token")
	b.everywhere("own-token")
	for repository, want := range map[string]int{"shop/api": 200, "secret/api": 403} {
		if got := pulled(t, s, token, repository, "1.0.0"); got != want {
			t.Errorf("the token pulls %s: got %d, want %d", repository, got, want)
		}
	}
	s.Restart(t) // writes the last uses that wait
	b.open("/console/customer")
	b.see("edge-03", "127.0.0.1")
	if strings.Contains(b.text(), token) {
		t.Error("the token is shown twice")
	}
	b.everywhere("own")
	b.looks("the page of a customer")
	for _, one := range b.axe() {
		t.Error(one)
	}

	other := newBrowser(t, s)
	other.open("/console/customer")
	other.fill("Licence id or token", token)
	other.click("Sign in")
	other.see("this one", "You have signed in by a token")
	other.everywhere("own-by-token")
	b.clickIn("edge-03", "Revoke")
	b.see("The token edge-03 was revoked", "None yet")
	if got := pulled(t, s, token, "shop/api", "1.0.0"); got != http.StatusUnauthorized {
		t.Errorf("after revoking: got %d", got)
	}
	other.do("reload", chromedp.Reload())
	other.see("not valid, or has ended", "Sign in with a licence")
	b.click("Sign out")
	b.see("Licence id or token")
}
