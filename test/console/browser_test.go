// Package console_test drives the console with a real browser against a real server: it clicks visible text and fills labelled fields, as
// a person does.
package console_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// browser is a window of a browser that shows a server.
type browser struct {
	*apptest.Server
	t   *testing.T
	ctx context.Context

	elsewhere []string // requests to others than the server
}

const patience = 20 * time.Second

// newBrowser starts a browser, without a session.
func newBrowser(t *testing.T, s *apptest.Server) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("chromium is missing: apt-get install chromium, or tools/clients/install packages")
	}
	profile, err := os.MkdirTemp("", "console") // the browser may still write to it when it is told to end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1440, 900), chromedp.UserDataDir(profile))
	all, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(all)
	t.Cleanup(end)
	b := &browser{Server: s, t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *network.EventRequestWillBeSent:
			if u := ev.Request.URL; !strings.HasPrefix(u, s.URL) && !strings.HasPrefix(u, "data:") && u != "about:blank" {
				b.elsewhere = append(b.elsewhere, u)
			}
		}
	})
	t.Cleanup(func() {
		if len(b.elsewhere) > 0 {
			t.Errorf("pages ask others than the server: %q", b.elsewhere)
		}
	})
	if err := chromedp.Run(ctx, network.Enable()); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return b
}

// do does actions within the patience of a test.
func (b *browser) do(what string, actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v\n%s", what, err, b.text())
	}
}

// text returns what the page shows.
func (b *browser) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	var text, at string
	_ = chromedp.Run(ctx, chromedp.Location(&at), chromedp.Evaluate(`document.body ? document.body.innerText : ""`, &text))
	return at + "\n" + text
}

// open opens an address of the server.
func (b *browser) open(path string) {
	b.t.Helper()
	b.do("opening "+path, chromedp.Navigate(b.URL+path), chromedp.WaitReady("body"))
}

// find is a script that finds a visible element by its words: a link, a button, a summary or a label, exactly or by its beginning.
const find = `(function(words, kinds) {
  const seen = e => { const r = e.getBoundingClientRect(); const s = getComputedStyle(e);
    return r.width > 0 && r.height > 0 && s.visibility !== "hidden" && e.checkVisibility(); };
  const text = e => (e.innerText || e.value || e.getAttribute("aria-label") || "").replace(/\s+/g, " ").trim();
  const all = [...document.querySelectorAll(kinds)].filter(seen);
  return all.find(e => text(e) === words) || all.find(e => (e.getAttribute("aria-label") || "") === words) ||
    all.find(e => text(e).startsWith(words));
})`

// click clicks what is called by words, and waits for the page after it if there is one.
func (b *browser) click(words string) {
	b.t.Helper()
	js := fmt.Sprintf(`(function() { const e = %s(%q, "a,button,summary,label,input[type=submit]"); if (!e) return false;
		e.scrollIntoView({block: "center"}); setTimeout(() => e.click()); return true; })()`, find, words)
	b.until("clicking "+words, js)
	b.settle()
}

// settle waits until the page is complete.
func (b *browser) settle() {
	b.t.Helper()
	b.do("a moment", chromedp.Sleep(30*time.Millisecond)) // until a click has begun to load another page
	b.until("waiting for the page", `document.readyState === "complete"`)
}

// until runs a script until it returns true. A page that is left in the middle is no failure.
func (b *browser) until(what, js string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		ok := false
		err := chromedp.Run(ctx, chromedp.Evaluate(js, &ok))
		if err == nil && ok {
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("%s: not in %s (%v)\n%s", what, patience, err, b.text())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// fill sets the field with a label.
func (b *browser) fill(label, value string) {
	b.t.Helper()
	js := fmt.Sprintf(`(function() { const l = [...document.querySelectorAll("label")].find(l => l.innerText.replace(/\s+/g, " ").trim() === %q);
		const f = l && (l.control || document.getElementById(l.htmlFor)); if (!f) return false; f.focus();
		if (f.tagName === "SELECT") { const o = [...f.options].find(o => o.text === %q ||
			o.value === %q); if (!o) return false; f.value = o.value; }
		else { f.value = %q; } f.dispatchEvent(new Event("input", {bubbles: true})); f.dispatchEvent(new Event("change", {bubbles: true}));
		return true; })()`, label, value, value, value)
	b.until("filling "+label, js)
}

// see waits until the page shows a text.
func (b *browser) see(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		b.until("looking for "+text, fmt.Sprintf(`document.body.innerText.replace(/\s+/g, " ").includes(%q)`, text))
	}
}

// signIn signs in by an access key.
func (b *browser) signIn(a apptest.Account) {
	b.t.Helper()
	b.open("/console/")
	b.see("Sign in to ecrin")
	b.signInHere(a)
}

// signOut ends the session by the menu.
func (b *browser) signOut() {
	b.t.Helper()
	b.click("Signed in as")
	b.click("Sign out")
	b.see("Sign in to ecrin")
}

// clearCookies ends all sessions of the browser.
func clearCookies() chromedp.Action { return network.ClearBrowserCookies() }

// signInHere signs in by an access key on the page that shows the form.
func (b *browser) signInHere(a apptest.Account) {
	b.t.Helper()
	b.fill("Access key id", a.KeyID)
	b.fill("Secret access key", a.Secret)
	b.click("Sign in")
	b.see("Repositories")
}

// evaluate returns what a script returns.
func (b *browser) evaluate(js string, out any) {
	b.t.Helper()
	b.do("evaluating "+js, chromedp.Evaluate(js, out))
}

// await returns what a script promises.
func (b *browser) await(js string, out any) {
	b.t.Helper()
	b.do("awaiting "+js, chromedp.Evaluate(js, out,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
}

// width sets the width of the window.
func (b *browser) width(w int64) {
	b.t.Helper()
	b.do("resizing", emulation.SetDeviceMetricsOverride(w, 900, 1, w < 500))
}

// dark sets the theme that the system has.
func (b *browser) dark(on bool) {
	value := "light"
	if on {
		value = "dark"
	}
	b.do("theme", emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}))
}

// pictures keeps a picture of the page in light and in dark, and on a phone.
func (b *browser) pictures(file string) {
	b.t.Helper()
	if os.Getenv("ECRIN_SCREENSHOTS") == "" {
		return
	}
	b.shot(file + "-light")
	b.dark(true)
	b.shot(file + "-dark")
	b.width(390)
	b.shot(file + "-390")
	b.width(1440)
	b.dark(false)
}

// shot keeps a picture of the page in the folder of ECRIN_SCREENSHOTS, if it is set.
func (b *browser) shot(file string) {
	b.t.Helper()
	dir := os.Getenv("ECRIN_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	b.do("picture", chromedp.Evaluate(`scrollTo(0, 0)`, nil), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		png, err = page.CaptureScreenshot().WithCaptureBeyondViewport(true).Do(ctx)
		return err
	}))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
