package console_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// maxPages is how many pages the test of every page opens, and maxAlike how many of them may have the same form of address.
const (
	maxPages = 150
	maxAlike = 1
)

// tool returns a file of a package of npm that tools/clients/install has installed.
func tool(t *testing.T, name, file string) string {
	t.Helper()
	out, err := exec.Command("../../tools/clients/install", "where").Output()
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), name+"-[0-9]*", "node_modules", file))
	if err != nil || len(all) == 0 {
		t.Skipf("%s is not installed, which needs npm: tools/clients/install npm", name)
	}
	return all[len(all)-1]
}

// stock makes something for each kind of page to show.
func stock(t *testing.T, s *apptest.Server) {
	t.Helper()
	root, other := s.Root(t), s.NewAccount(t, "111122223333")
	repo := root.CreateRepository(t, "team/app")
	for i, tag := range []string{"1.4.0", "1.4.2", "1.4.0-rc.1", "latest", strings.Repeat("long-", 24) + "tag"} {
		repo.Push(t, tag, ocitest.NewImage(uint64(min(i, 1)), 30000, 9000))
	}
	root.CreateRepository(t, "empty")
	if _, err := root.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: aws.String("team/app"),
		PolicyText: aws.String(`{"Version":"2012-10-17","Statement":[{"Sid":"One","Effect":"Allow","Principal":{"AWS":"111122223333"},` +
			`"Action":["ecr:ListImages","ecr:GetDownloadUrlForLayer"]}]}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.ECR().PutLifecyclePolicy(t.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: aws.String("team/app"),
		LifecyclePolicyText: aws.String(`{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"imageCountMoreThan",` +
			`"countNumber":5},"action":{"type":"expire"}}]}`)}); err != nil {
		t.Fatal(err)
	}
	theirs := other.Docker(t)
	theirs.Prefix = ""
	if got := theirs.Repo("team/app").Manifest(t, "1.4.2").Status; got != 403 {
		t.Fatalf("a pull of another account: got %d, want 403", got)
	}
	s.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Shop"},
		new(ecrintypes.VendorApplicationResponse))
	s.Operator(t, "CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop", Files: []ecrintypes.ReleaseFile{{Path: "web.yaml",
		Content: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: nginx:1}]}\n"}}},
		new(ecrintypes.ReleaseResponse))
	s.Operator(t, "PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: 1, ChannelIds: []string{"stable"},
		VersionLabel: "1.0"}, new(ecrintypes.PromoteReleaseResponse))
	var c ecrintypes.CreateCustomerResponse
	s.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop",
		CustomerName: `Big "><script>alert(1)</script>`}, &c)
	s.Operator(t, "PutEntitlement", &ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: c.Customer.CustomerId,
		Repositories: []string{"team/*"}}, new(ecrintypes.EntitlementResponse))
}

// What runs in a page: axe, which returns what it finds; what is wider than the window; and the links.
const (
	axeRun = `axe.run(document, {resultTypes: ["violations"]%s}).then(r => r.violations.map(v => v.id + ": " + v.help + ": " +
		v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + " " + (n.any[0] || n.all[0] || n.none[0] || {message: ""}).message).join(" | ")))`
	wide = `(function() { const w = document.documentElement.clientWidth, out = [];
		if (document.documentElement.scrollWidth > w) for (const e of document.querySelectorAll("main *")) {
			if (e.getBoundingClientRect().right > w + 1 && !e.closest(".scroll, table, pre, svg")) out.push(e.tagName + "." + e.className); }
		return document.documentElement.scrollWidth > w ? ["the page is " + document.documentElement.scrollWidth + " wide"].concat(out.slice(0,
			4)) : []; })()`
	hrefs = `[...document.querySelectorAll("a[href]")].filter(a => a.origin === location.origin).map(a => a.pathname + a.search)`
)

// axe returns what axe-core finds on the page.
func (b *browser) axe() (found []string) {
	b.t.Helper()
	text, err := os.ReadFile(tool(b.t, "axe-core", "axe-core/axe.min.js"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.evaluate(string(text)+"; true", new(bool))
	b.await(fmt.Sprintf(axeRun, ""), &found)
	return found
}

// form returns what pages with the same template have in common in their addresses.
func form(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	path := regexp.MustCompile(`sha256:[0-9a-f]+|/tags/[^/]+`).ReplaceAllString(u.Path, "ID")
	if strings.Contains(path, "/denied/") {
		path = "denied"
	}
	var keys []string
	for key := range u.Query() {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return path + "?" + strings.Join(keys, "&")
}

// Every page that links lead to is opened in light and dark, wide and narrow: axe finds nothing, nothing is wider than the window, no
// script of others has run, and the HTML is valid. ECRIN_PAGES is a folder that keeps the pages.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	stock(t, s)
	b := newBrowser(t, s)
	b.signIn(s.Root(t))
	if n := b.crawl("/console", "/console/"); n < 80 {
		t.Errorf("%d pages were found, want more", n)
	}
}

// crawl opens every page below a path that links lead to from some pages, checks it, and returns how many there are.
func (b *browser) crawl(below string, queue ...string) (n int) {
	t := b.t
	t.Helper()
	axe, err := os.ReadFile(tool(t, "axe-core", "axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if kept := os.Getenv("ECRIN_PAGES"); kept != "" {
		folder = filepath.Join(kept, t.Name())
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	of := map[string]string{} // address of a file
	alike := map[string]int{}
	for known := map[string]bool{}; len(queue) > 0 && n < maxPages; {
		at := queue[0]
		queue = queue[1:]
		if known[at] || !strings.HasPrefix(at, below) || alike[form(at)] == maxAlike {
			continue
		}
		known[at] = true
		alike[form(at)]++
		var source string
		b.await(fmt.Sprintf(`fetch(%q, {headers: {Accept: "text/html"}}).then(async r => r.ok ? r.text() : "status " + r.status)`, at), &source)
		if strings.HasPrefix(source, "status ") {
			t.Errorf("%s: %s", at, source)
		}
		if !strings.HasPrefix(source, "<!doctype html>") {
			continue // a file to download
		}
		b.open(at)
		n++
		file := fmt.Sprintf("page%03d.html", n)
		of[file] = at
		if err := os.WriteFile(filepath.Join(folder, file), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		var more []string
		b.evaluate(hrefs, &more)
		queue = append(queue, more...)
		b.evaluate(string(axe)+"; true", new(bool))
		for _, look := range []struct {
			width int64
			dark  bool
		}{{1440, false}, {1440, true}, {390, false}, {320, false}} {
			b.width(look.width)
			b.dark(look.dark)
			var found []string
			switch {
			case look.dark: // what else it looks for is the same as in light
				b.await(fmt.Sprintf(axeRun, `, runOnly: ["color-contrast"]`), &found)
			case look.width != 320:
				b.await(fmt.Sprintf(axeRun, ""), &found)
			}
			var over []string
			b.evaluate(wide, &over)
			for _, one := range append(found, over...) {
				t.Errorf("%s, %d wide, dark %v: %s", at, look.width, look.dark, one)
			}
		}
		b.width(1440)
		b.dark(false)
		b.pictures(fmt.Sprintf("%s-page%03d", t.Name(), n))
	}
	t.Logf("%d pages, %d addresses not opened", n, len(queue))
	validate(t, folder, of)
	return n
}

// validate has html-validate read the pages of a folder.
func validate(t *testing.T, folder string, of map[string]string) {
	t.Helper()
	config := filepath.Join(folder, "config.json")
	if err := os.WriteFile(config, []byte(`{"root": true, "extends": ["html-validate:recommended"], "rules": {
		"doctype-style": ["error", {"style": "lowercase"}], "no-trailing-whitespace": "off", "no-inline-style": "error", "long-title": "off",
		"form-dup-name": ["error", {"shared": ["radio", "checkbox", "submit"]}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(folder, "*.html"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", append([]string{tool(t, "html-validate", ".bin/html-validate"), "--config", config,
		"--formatter", "json=" + filepath.Join(folder, "found.json")}, pages...)...)
	said, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("html-validate: %v\n%s", err, said)
	}
	out, err := os.ReadFile(filepath.Join(folder, "found.json"))
	if err != nil {
		t.Fatalf("html-validate: %v\n%s", err, said)
	}
	var reports []struct {
		FilePath string
		Messages []struct {
			RuleID, Message string
			Line, Column    int
		}
	}
	if err := json.Unmarshal(out, &reports); err != nil {
		t.Fatalf("html-validate: %v\n%s", err, out)
	}
	for _, r := range reports {
		for _, m := range r.Messages {
			t.Errorf("%s:%d:%d: %s (%s)", of[filepath.Base(r.FilePath)], m.Line, m.Column, m.Message, m.RuleID)
		}
	}
}
