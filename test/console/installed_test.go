package console_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/door/installed"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/installtest"
)

// installedPages serves the pages of an installation until the test ends, and returns a browser that was opened by the address in the
// terminal, and the path of the pages.
func installedPages(t *testing.T, v *installtest.Vendor) (*browser, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addresses := make(chan string, 10)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := installed.New(installed.Options{Dir: v.Dir, Install: installtest.Options(), Wait: time.Minute, Version: "0.0.0",
		Opened: func(address string) { addresses <- address }})
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the end of the pages: %v", err)
		}
	})
	address := <-addresses
	host := "http://" + l.Addr().String()
	b := newBrowser(t, &apptest.Server{URL: host})
	path := strings.TrimPrefix(address, host)
	b.open(path)
	b.see("Open an installation")
	b.shot("installed-open")
	b.click("Open version history")
	b.see("currently deployed version")
	key, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return b, "/" + key
}

// ended waits for the end of what a click has begun, and opens its result if the page of its progress is shown.
func (b *browser) ended() {
	b.t.Helper()
	b.until("the end", `!location.pathname.endsWith("/job") || document.body.innerText.includes("To the result")`)
	var progress bool
	b.evaluate(`location.pathname.endsWith("/job")`, &progress)
	if progress {
		b.click("To the result")
	}
}

// values are those that the application of the walk asks for.
const values = `apiVersion: kots.io/v1beta1
kind: Config
metadata: {name: shop}
spec:
  groups:
  - name: web
    items:
    - {name: hostname, title: Host name, type: text, default: shop.example.com}
    - {name: tls, title: TLS for visitors, type: bool, default: "1"}
    - {name: admin, title: Admin password, type: password}
`

// Who has installed an application checks for updates, looks at what differs and at the files, deploys the new version, sees that it is
// deployed, and goes back.
func TestInstalledWalk(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, "Northwind Freight")
	v.Release("1.4.2", "1.0", false, "", "config.yaml", values)
	v.Install()
	v.Release("1.5.0", "2.0", true, "The worker takes orders by itself.\n\n- one more ConfigMap", "config.yaml", values, "worker.yaml",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: worker}\ndata:\n  orders: \"yes\"\n")
	v.Release("1.5.1", "none", false, "", "config.yaml", values)
	b, _ := installedPages(t, v)
	b.see("1.4.2 deployed", "licence of Northwind Freight", "checked never")
	b.everywhere("installed-one")
	b.click("Check for updates")
	b.ended()
	b.see("New version available: 1.5.0", "It is required", "2 new", "1 image, reachable", "1 of 1 image cannot be pulled")
	b.everywhere("installed-history")
	b.clickIn("1.5.0 required", "Diff")
	b.see("1.4.2 to 1.5.0", "worker.yaml", "new file", "kind: ConfigMap")
	b.everywhere("installed-diff")
	b.click("View files")
	b.see("overlays/midstream/kustomization.yaml", "Rewritten images")
	b.click("web.yaml")
	b.see("rendered: what goes to the cluster", "kind: Deployment")
	b.everywhere("installed-files")
	b.click("Version history")
	b.click("1.5.1")
	b.see("cannot be pulled", "the image does not exist there")
	b.everywhere("installed-version")
	b.click("Version history")
	b.clickIn("1.5.0 required", "1.5.0")
	b.see("The worker takes orders by itself.", "reachable")
	v.Hold(true)
	b.click("Deploy")
	v.Held()
	b.see("Deployment of 1.5.0", "running", "deploying the version 1 (1.5.0)")
	b.everywhere("installed-progress")
	v.Hold(false)
	b.see("Version 1.5.0 is deployed.") // by itself
	b.everywhere("installed-progress-done")
	b.click("To the result")
	b.see("1.5.0 deployed", "replaced", "Roll back")
	if got, want := v.History(), "0 1.4.2 deployed, 1 1.5.0 deployed, 2 1.5.1 pending; current 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	b.click("Deploy 1.5.1")
	b.see("has failed", "ImagePullBackOff")
	b.everywhere("installed-failed")
	b.click("Version history")
	b.see("failed", "Deployment of 1.5.1 has failed")
	b.everywhere("installed-history-failed")
	b.clickIn("1.4.2", "Roll back")
	b.ended()
	b.see("1.4.2 deployed")
	b.click("Config")
	b.fill("Host name", "orders.northwind.example")
	b.fill("Admin password", "correct horse")
	b.everywhere("installed-config")
	b.click("Save config")
	b.ended()
	b.see("Config Change")
	b.click("Licence")
	b.click("Sync licence")
	b.see("The licence has not changed.")
	b.ended()
	b.everywhere("installed-licence")
	b.click("Registry")
	b.see("by the licence from")
	b.everywhere("installed-registry")
	b.click("This installation")
	b.click("Sign out")
	b.see("Signed out")
}

// Every page of an installation is valid, accessible and not wider than the window.
func TestEveryInstalledPage(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, `Big "><script>alert(1)</script>`)
	long := strings.Repeat("long-", 24) + "tag"
	v.Release("1.0", "1.0", false, "", "config.yaml", values)
	v.Install()
	v.Release(long, "2.0", true, strings.Repeat("notes ", 200), "config.yaml", values, "more.yaml",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\ndata: {x: "+strings.Repeat("y", 2000)+"}\n")
	v.Release("3.0", "none", false, "")
	b, path := installedPages(t, v)
	b.click("Check for updates")
	b.ended()
	b.see("New version available")
	if n := b.crawl(path, path+"/", path+"/job", path+"/diff?from=0&to=1&rendered=yes"); n < 15 {
		t.Errorf("%d pages were found, want more", n)
	}
}
