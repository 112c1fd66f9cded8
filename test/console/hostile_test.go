package console_test

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// What a person must be able to hit: buttons, fields and links that are no part of a sentence have 24 by 24 pixels at least, or enough room
// around them, as the boxes of rows have. Source: WCAG 2.2, success criterion 2.5.8.
const smallTargets = `[...document.querySelectorAll("main button, main summary, main input:not([type=hidden])" +
	", main select, main .btn, nav a")].filter(e => e.checkVisibility() && !e.closest(".vh, .seg, .check, details:not([open]) > :not(summary)") &&
		!e.matches(".vh")).filter(e => {
		const r = (e.closest("label") || e).getBoundingClientRect(); return r.width > 0 && (r.width < 24 || r.height < 23.5) &&
			!e.closest("p, .crumbs"); })
	.map(e => e.tagName + "." + e.className + " " + (e.innerText || e.name || "").slice(0, 30) + " " +
		JSON.stringify(e.getBoundingClientRect()))`

// Boxes whose text is cut off, or lies over that of the next cell.
const clippedText = `[...document.querySelectorAll("main h1, main h2, main h3, main p, main dd, main dt, main .btn, main .st, main .tag" +
	", main .facts > span, main label, .top summary")].filter(e => e.checkVisibility() && !e.closest(".vh, .scroll, pre") &&
		!e.matches(".vh")).filter(e => { const s = getComputedStyle(e);
		return e.scrollWidth > e.clientWidth + 2 && e.clientWidth > 0 && s.display !== "inline" && s.overflowX !== "auto"; })
	.map(e => e.tagName + "." + e.className + ": " + e.innerText.slice(0, 60) + " " + e.scrollWidth + " in " + e.clientWidth)`

// looks fails the test for what is cut, too wide or too small on the page, at each width.
func (b *browser) looks(at string, widths ...int64) {
	b.t.Helper()
	if len(widths) == 0 {
		widths = []int64{1440, 390, 320}
	}
	for _, w := range widths {
		b.width(w)
		var found []string
		for _, script := range []string{wide, clippedText, smallTargets} {
			var some []string
			b.evaluate(script, &some)
			found = append(found, some...)
		}
		for _, one := range found {
			b.t.Errorf("%s, %d wide: %s", at, w, one)
		}
	}
	b.width(1440)
}

// In forced colours and without motion the page has what it had.
func TestForcedColours(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 3000))
	b := newBrowser(t, s)
	b.signIn(root)
	b.do("forced colours", emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "forced-colors", Value: "active"},
		{Name: "prefers-reduced-motion", Value: "reduce"}}))
	b.click("team/app")
	b.see("1.0")
	b.shot("tags-forced")
	var here string
	b.evaluate(`getComputedStyle(document.querySelector(".tabs a[aria-current]")).textDecorationLine`, &here)
	if here != "underline" {
		t.Errorf("the tab that is shown has the decoration %q", here)
	}
	var moving []string
	b.evaluate(`document.getAnimations().map(a => a.animationName || a.transitionProperty)`, &moving)
	if len(moving) > 0 {
		t.Errorf("these move: %q", moving)
	}
	// The order of the focus is that of reading, the first stop leads to the content, and each stop is seen.
	b.open("/console/000000000000/us-east-1/repositories")
	var order []string
	for i := range 40 {
		var at string
		b.do("the next stop", chromedp.KeyEvent("\t"),
			chromedp.Evaluate(`(function() { const e = document.activeElement, r = e.getBoundingClientRect();
			if (e === document.body) return "end";
			const s = getComputedStyle(e); return (s.outlineStyle === "none" && s.boxShadow === "none" && !e.closest(".find, .q") ? "UNSEEN " : "") +
				(e.innerText || e.placeholder || e.name || e.tagName).replace(/\s+/g, " ").trim().slice(0, 40); })()`, &at))
		if at == "end" {
			break
		}
		order = append(order, at)
		if i == 0 && at != "Skip to content" {
			t.Errorf("the first stop is %q", at)
		}
		if strings.HasPrefix(at, "UNSEEN") {
			t.Errorf("the focus is not seen on %q", at)
		}
	}
	t.Logf("stops: %q", order)
}

// A form that is sent after its session has ended comes back filled, whether the server was restarted meanwhile or not.
func TestFormIsNotLost(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app")
	b := newBrowser(t, s)
	b.signIn(root)
	b.open("/console/000000000000/us-east-1/repositories")
	b.click("team/app")
	b.click("Permissions")
	b.click("Edit policy JSON")
	const text = `{"Version":"2012-10-17","Statement":[{"Sid":"Mine","Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`
	b.fill("Policy text, JSON", text)
	s.Restart(t)
	b.click("Check") // the session outlives the server
	b.see("Mine", "everyone")
	b.do("ending the session", clearCookies())
	b.click("Save")
	b.see("Your session has ended", "what you filled in is kept")
	b.everywhere("kept-signin")
	b.looks("the form to sign in with a form that was kept")
	b.fill("Access key id", root.KeyID)
	b.fill("Secret access key", root.Secret)
	b.click("Sign in")
	b.see("Send it again?", "Mine")
	b.everywhere("kept")
	b.looks("a form that was kept")
	for _, one := range b.axe() {
		t.Error(one)
	}
	b.click("Send it now")
	b.see("The policy was saved.", "Mine")
}

// A part of a page that looks again by itself says since when it is old while the server is gone, keeps its content, and goes on when the
// server is back.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	b := newBrowser(t, s)
	b.signIn(root)
	b.see("Waiting for the first push")
	s.Stop(t)
	b.see("No answer since", "what is shown is from then", "Waiting for the first push")
	b.shot("lost-connection")
	s.Back(t)
	b.until("the part that is new", `!document.querySelector(".stale")`)
	b.see("Waiting for the first push")
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 300))
	b.see("Last push", "team/app")
}

// Single keys go through the rows of a list, open one, and lead to other pages, until they are turned off.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "1.0.0", ocitest.NewImage(1, 300))
	repo.Push(t, "2.0.0", ocitest.NewImage(2, 300))
	b := newBrowser(t, s)
	b.signIn(root)
	b.click("team/app")
	b.see("1.0.0", "2.0.0")
	focus := func() (text string) {
		b.evaluate(`document.activeElement.innerText.trim()`, &text)
		return text
	}
	press := func(keys ...string) {
		for _, k := range keys {
			b.do("pressing "+k, chromedp.KeyEvent(k))
		}
		b.settle()
	}
	press("j")
	if got := focus(); got != "2.0.0" {
		t.Errorf("the first row: got %q", got)
	}
	press("j", "j", "k", "j")
	if got := focus(); got != "1.0.0" {
		t.Errorf("the last row: got %q", got)
	}
	press("x")
	b.until("the row to be selected",
		`document.querySelector("input[value='1.0.0']").checked && !document.querySelector("input[value='2.0.0']").checked`)
	press("o")
	b.see("One image, and nothing refers to it.")
	press("g", "d")
	b.see("Nothing was denied")
	press("g", "r")
	b.see("team/app", "Last push")
	press("?")
	b.see("the next and the previous row of a list")
	b.looks("keys")
	b.pictures("keys")
	b.click("Turn the keys off")
	b.see("Single keys do nothing now.")
	b.click("Repositories")
	b.click("team/app")
	b.see("1.0.0", "2.0.0")
	press("j")
	if got := focus(); strings.HasPrefix(got, "2.0.0") && len(got) < 7 {
		t.Error("a key that is turned off has moved the focus")
	}
}

// What is typed into the field that finds is answered below it; the keyboard leads through the answers.
func TestPaletteByKeyboard(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "1.4.2", ocitest.NewImage(1, 3000))
	b := newBrowser(t, s)
	b.signIn(root)
	b.do("typing", chromedp.Focus("#find"), chromedp.KeyEvent("app"))
	b.until("the answers", `!document.getElementById("palette").hidden && document.getElementById("palette").innerText.includes("team/app")`)
	b.looks("the palette", 1440, 390)
	b.pictures("palette")
	b.do("Escape", chromedp.KeyEvent(kb.Escape))
	b.until("they are gone", `document.getElementById("palette").hidden && document.activeElement.id === "find"`)
	b.do("again", chromedp.KeyEvent("\b"))
	b.until("the answers", `!document.getElementById("palette").hidden`)
	b.do("the first", chromedp.KeyEvent(kb.ArrowDown+kb.ArrowDown+kb.ArrowUp), chromedp.KeyEvent(kb.Enter))
	b.see("team/app", "1.4.2")
	b.do("Enter in the field", chromedp.Focus("#find"), chromedp.KeyEvent("1.4"), chromedp.KeyEvent(kb.Enter))
	b.see("Search", "team/app")
}

// On a phone a chart shows today first, where its bars end.
func TestChartsBeginWithToday(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 3000))
	b := newBrowser(t, s)
	b.signIn(root)
	b.width(390)
	b.open("/console/000000000000/us-east-1/usage")
	var right []float64
	b.evaluate(`[...document.querySelectorAll(".pic.latest")].map(p => p.querySelector("svg").getBoundingClientRect().right -
		p.getBoundingClientRect().right)`, &right)
	if len(right) < 3 {
		t.Fatalf("got %d charts", len(right))
	}
	for i, r := range right {
		if r < -1 || r > 1 {
			t.Errorf("the chart %d ends %v pixels beside its part", i, r)
		}
	}
}
