package installed_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/door/installed"
	"github.com/ecrin-dev/ecrin/internal/test/installtest"
)

// two returns a vendor whose version 1.0 is deployed, with 2.0 on offer.
func two(t *testing.T) *installtest.Vendor {
	t.Helper()
	v := installtest.New(t, "Northwind")
	v.Release("1.0", "1.0", false, "")
	v.Install()
	v.Release("2.0", "2.0", false, "What is new", "more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n")
	return v
}

// A check finds the new version, its differences, files and images are shown, it is deployed, and the version before it is deployed again.
func TestCheckDeployAndRollBack(t *testing.T) {
	t.Parallel()
	v := two(t)
	b := open(t, serve(t, options(v.Dir)).address())
	has(t, b.page("/"), "<bdi>1.0</bdi> deployed", "currently deployed version", "licence of <b><bdi>Northwind</bdi>", "Redeploy",
		"not checked")
	has(t, b.does("/", "do", "check"), "1 new version, the newest 2.0")
	has(t, b.page("/"), "New version available: <bdi>2.0</bdi>", "Upstream Update", "1 image, reachable", "1 new")
	if got, want := v.History(), "0 1.0 deployed, 1 2.0 pending; current 0"; got != want {
		t.Errorf("after the check: got %q, want %q", got, want)
	}
	has(t, b.page("/diff"), "2 files differ", "upstream/more.yaml", "new file",
		`<ins class="ln add"><span class="vh">added </span>kind: ConfigMap`,
		"ecrin update diff --from 0 --to 1")
	has(t, b.page("/diff?from=0&to=1&rendered=yes"), "rendered/this-cluster/all.yaml", "/shop/api:2.0")
	lacks(t, b.page("/diff?from=1&to=1"), "<ins")
	has(t, b.page("/versions/1"), "What is new", v.Host+"/shop/api:2.0", "pull secret", v.Images["2.0"].Digest, "Deployment web")
	has(t, b.page("/versions/1/files"), "overlays/midstream/kustomization.yaml", "upstream/", "kind: Kustomization")
	has(t, b.page("/versions/1/files?file=upstream/web.yaml"), "kind: Deployment", "exactly as the vendor has released it")
	has(t, b.does("/versions/1", "do", "deploy"), "2.0")
	if got, want := v.History(), "0 1.0 deployed, 1 2.0 deployed; current 1"; got != want {
		t.Errorf("after the deployment: got %q, want %q", got, want)
	}
	has(t, b.page("/"), "replaced", "Roll back")
	b.does("/versions/0", "do", "deploy")
	if got, want := v.History(), "0 1.0 deployed, 1 2.0 deployed; current 0"; got != want {
		t.Errorf("after going back: got %q, want %q", got, want)
	}
	has(t, b.does("/", "do", "refresh"), "Version 1.0 is deployed.")
	has(t, b.does("/", "do", "check"), "There is no new version.")
	has(t, b.does("/licence", "do", "sync"), "The licence has not changed.")
	has(t, b.page("/registry"), "by the licence from", "ecrin update registry --none")
	if text := read(t, filepath.Join(v.Dir, "state.json")); !strings.Contains(text, `"back": true`) {
		t.Errorf("the deployment of an earlier version did not go back: %s", text)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// No row is served without a session, none takes a form without the token of the session or from another site, and no other host's name
// reaches one.
func TestEveryRowNeedsASession(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, "Big")
	v.Release("1.0", "1.0", false, "")
	v.Install()
	c := serve(t, options(v.Dir))
	stranger, own := visit(t, c.address()), open(t, c.address())
	before := v.History()
	for _, row := range installed.Rows() {
		path := "/" + strings.ReplaceAll(row.Path, "{version}", "0")
		var form url.Values
		if row.Method == "POST" {
			form = url.Values{"csrf": {"x"}, "secret": {"x"}, "do": {"deploy"}, "seen": {"0"}}
		}
		want := http.StatusUnauthorized
		if row.Open {
			want = http.StatusForbidden
		}
		if g := stranger.send(row.Method, path, form); g.status != want {
			t.Errorf("%s %s without a session: got %d, want %d", row.Method, path, g.status, want)
		}
		for _, host := range []string{"attacker.example", "127.0.0.1.attacker.example:80", "10.0.0.1", "[::2]:80", "localhost.attacker.example"} {
			if g := own.send(row.Method, path, form, "Host", host); g.status != http.StatusMisdirectedRequest {
				t.Errorf("%s %s with the host %s: got %d", row.Method, path, host, g.status)
			}
		}
		if row.Method != "POST" {
			continue
		}
		if g := own.send("POST", path, form); g.status != http.StatusForbidden {
			t.Errorf("%s with a wrong token: got %d", path, g.status)
		}
		if row.Open {
			continue
		}
		good := own.form("/", "do", "deploy")
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://127.0.0.1:1"},
			{"Origin", "https://attacker.example"}, {"Content-Type", "text/plain"}} {
			if g := own.send("POST", path, good, header...); g.status != http.StatusForbidden && g.status != http.StatusBadRequest {
				t.Errorf("%s with %q: got %d", path, header, g.status)
			}
		}
	}
	if got := v.History(); got != before {
		t.Errorf("the history was %q, and is %q", before, got)
	}
	outside := &visitor{t, strings.Join(strings.SplitN(own.base, "/", 4)[:3], "/"), own.http}
	for _, path := range []string{"/", "/open", "/x/", "/a/console.css"} {
		if g := outside.send("GET", path, nil); g.status != http.StatusNotFound || strings.Contains(g.body, "shop") {
			t.Errorf("%s without the key: got %d\n%s", path, g.status, g.body)
		}
	}
	for _, path := range []string{"/versions/1", "/versions/-1", "/versions/00", "/versions/x", "/none", "/diff?from=9", "/diff?to=x",
		"/?before=x",
		"/versions/0/files?file=none", "/versions/0/file?path=none"} {
		if g := own.send("GET", path, nil); g.status != http.StatusNotFound {
			t.Errorf("%s: got %d", path, g.status)
		}
	}
	if g := own.send("POST", "/diff", own.form("/")); g.status != http.StatusMethodNotAllowed {
		t.Errorf("a form for a page without one: got %d", g.status)
	}
}

// The secret of an address begins one session, also of many requests at once; after it comes another address. The cookie is not for
// scripts, other sites, or other servers of this machine.
func TestSecretIsUsedOnce(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, "Big")
	v.Release("1.0", "1.0", false, "")
	v.Install()
	c := serve(t, options(v.Dir))
	first := c.address()
	if g := visit(t, first).send("GET", "/open?secret="+secretOf(first), nil); g.status != http.StatusOK || g.header.Get("Set-Cookie") != "" {
		t.Errorf("reading the address: got %d, %q", g.status, g.header)
	}
	var begun atomic.Int32
	var wait sync.WaitGroup
	for range 8 {
		b := visit(t, first)
		wait.Go(func() {
			g := b.send("POST", "/open", url.Values{"secret": {secretOf(first)}})
			if g.status == http.StatusForbidden {
				return
			}
			begun.Add(1)
			cookie := g.header.Get("Set-Cookie")
			for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=" + b.base[strings.LastIndexByte(b.base, '/'):] + "/"} {
				if !strings.Contains(cookie, want) {
					t.Errorf("the cookie is %q, want %q in it", cookie, want)
				}
			}
		})
	}
	wait.Wait()
	if begun.Load() != 1 || c.address() == first {
		t.Errorf("%d sessions have begun, and the next address is %s", begun.Load(), c.address())
	}
	if g := visit(t, first).send("GET", "/open?secret="+secretOf(first), nil); g.status != http.StatusForbidden {
		t.Errorf("the address once more: got %d", g.status)
	}
	open(t, c.address()).page("/")
}

// A session ends after an hour without use, after twelve hours, by signing out, and when eight others are used later.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, "Big")
	v.Release("1.0", "1.0", false, "")
	v.Install()
	var skew atomic.Int64
	o := options(v.Dir)
	o.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	c := serve(t, o)
	status := func(b *visitor) int { return b.send("GET", "/", nil).status }
	idle, busy := open(t, c.address()), open(t, c.address())
	for range 13 {
		skew.Add(int64(50 * time.Minute))
		status(busy)
	}
	if a, b := status(idle), status(busy); a != http.StatusUnauthorized || b != http.StatusOK {
		t.Errorf("after 11 hours: unused %d, used %d", a, b)
	}
	skew.Add(int64(50 * time.Minute))
	status(busy)
	skew.Add(int64(50 * time.Minute))
	if got := status(busy); got != http.StatusUnauthorized {
		t.Errorf("after 12 hours: got %d", got)
	}
	out := open(t, c.address())
	out.post("/", "do", "x")
	if g := out.send("POST", "/signout", out.form("/")); g.status != http.StatusOK || status(out) != http.StatusUnauthorized {
		t.Errorf("signed out: got %d, then %d", g.status, status(out))
	}
	var all []*visitor
	for range 9 {
		all = append(all, open(t, c.address()))
	}
	if got := status(all[0]); got != http.StatusUnauthorized {
		t.Errorf("the first of nine sessions: got %d", got)
	}
	if got := status(all[8]); got != http.StatusOK {
		t.Errorf("the last of nine sessions: got %d", got)
	}
}

// A theme leads back to a page of the installation only.
func TestThemeLeadsToOwnPages(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, "Big")
	v.Release("1.0", "1.0", false, "")
	v.Install()
	b := open(t, serve(t, options(v.Dir)).address())
	key := b.base[strings.LastIndexByte(b.base, '/'):]
	for next, want := range map[string]string{key + "/diff?from=0": key + "/diff?from=0", "//attacker.example/": key + "/",
		"https://attacker.example/": key + "/", key + "/\\attacker.example": key + "/", "/other/": key + "/", key + "//attacker.example": key +
			"/"} {
		g := b.send("POST", "/theme", b.form("/", "theme", "dark", "next", next))
		if g.status != http.StatusSeeOther || g.location != want {
			t.Errorf("next %q: got %d to %q, want %q", next, g.status, g.location, want)
		}
	}
	has(t, b.page("/"), `data-theme="dark"`)
}

// A required version comes first: the buttons of later ones say why, and the server refuses them too.
func TestRequiredVersionComesFirst(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, "Big")
	v.Release("1.0", "1.0", false, "")
	v.Install()
	v.Release("1.5", "1.0", true, "")
	v.Release("2.0", "2.0", false, "")
	b := open(t, serve(t, options(v.Dir)).address())
	b.does("/", "do", "check")
	has(t, b.page("/"), "New version available: <bdi>1.5</bdi>", "It is required",
		"the version 1 (1.5) is required: deploy it before the version 2")
	if g := b.post("/versions/2", "do", "deploy"); g.status != http.StatusConflict || !strings.Contains(g.body, "is required") {
		t.Errorf("the version after the required one: got %d\n%s", g.status, g.body)
	}
	if got, want := v.History(), "0 1.0 deployed, 1 1.5 pending, 2 2.0 pending; current 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	b.does("/versions/1", "do", "deploy")
	b.does("/versions/2", "do", "deploy")
	if got, want := v.History(), "0 1.0 deployed, 1 1.5 deployed, 2 2.0 deployed; current 2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// One thing is done at a time: during a deployment nothing else begins, the pages are there, and its progress is shown. What was decided
// on an older page is refused.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	v := two(t)
	b := open(t, serve(t, options(v.Dir)).address())
	b.does("/", "do", "check")
	old := b.form("/versions/0", "do", "deploy")
	forms := map[string]url.Values{"/": b.form("/", "do", "check"), "/versions/0": old, "/versions/1": b.form("/versions/1", "do", "images"),
		"/licence": b.form("/licence", "do", "sync")}
	v.Hold(true)
	g := b.post("/versions/1", "do", "deploy")
	v.Held()
	if g.status != http.StatusSeeOther || !strings.HasSuffix(g.location, "/job") {
		t.Errorf("a deployment that takes long: got %d to %q", g.status, g.location)
	}
	for path, form := range forms {
		if g := b.send("POST", path, form); g.status != http.StatusConflict || !strings.Contains(g.body, "Something else is running") {
			t.Errorf("%s during a deployment: got %d\n%s", path, g.status, g.body)
		}
	}
	has(t, b.page("/job"), "Deployment of 2.0", "running</span>", "deploying the version 1", "part=job", "Stop")
	part := b.send("GET", "/job?part=job&n=3", nil, "HX-Request", "true")
	if part.status != http.StatusOK || strings.Contains(part.body, "<html") || !strings.Contains(part.body, "n=4") {
		t.Errorf("a part of the page: got %d\n%s", part.status, part.body)
	}
	has(t, b.page("/"), "is running: one thing is done at a time", "deploying")
	v.Hold(false)
	has(t, b.ends(), "Version 2.0 is deployed.")
	if g := b.send("POST", "/versions/0", old); g.status != http.StatusConflict || !strings.Contains(g.body, "has changed since") {
		t.Errorf("a form from before the deployment: got %d\n%s", g.status, g.body)
	}
	if got, want := v.History(), "0 1.0 deployed, 1 2.0 deployed; current 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// While another process works with the folder, the pages can be read, and what would change something says so. The lock is not kept between
// two actions.
func TestAnotherProcessHasTheLock(t *testing.T) {
	t.Parallel()
	v := two(t)
	b := open(t, serve(t, options(v.Dir)).address())
	b.does("/", "do", "check")
	i, err := install.Open(v.Dir, installtest.Options())
	if err != nil {
		t.Fatalf("the lock was not given back: %v", err)
	}
	for path, do := range map[string]string{"/": "check", "/versions/1": "deploy", "/licence": "sync", "/config": "save"} {
		form := b.form(path, "do", do)
		if path == "/config" {
			form = b.form("/", "seen", "1")
		}
		if g := b.send("POST", path, form); g.status != http.StatusConflict || !strings.Contains(g.body, "Another ecrin works with this folder") {
			t.Errorf("%s: got %d\n%s", path, g.status, g.body)
		}
	}
	b.page("/versions/1/files")
	b.page("/diff")
	i.Close()
	b.does("/versions/1", "do", "deploy")
	if got, want := v.History(), "0 1.0 deployed, 1 2.0 deployed; current 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A deployment that is stopped, or whose process is told to end, or is killed, is not complete, and goes on with the button.
func TestDeploymentGoesOn(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stop", "terminate", "kill"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			v := two(t)
			cmd, said, address := child(t, v.Dir)
			b := open(t, address)
			if !said.Scan() {
				t.Fatal("the child has no second address")
			}
			b.does("/", "do", "check")
			v.Hold(true)
			b.post("/versions/1", "do", "deploy")
			v.Held()
			next := said.Text()
			switch how {
			case "stop":
				b.post("/job", "do", "stop")
				has(t, b.ends(), "it was stopped")
			case "terminate":
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				if !said.Scan() || said.Text() != "ended" {
					t.Errorf("the child says %q, want ended", said.Text())
				}
				if err := cmd.Wait(); err != nil {
					t.Errorf("the end of the child: %v", err)
				}
			case "kill":
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
			v.Hold(false)
			if got, want := v.History(), "0 1.0 deployed, 1 2.0 deploying; current 1"; got != want {
				t.Fatalf("in between: got %q, want %q", got, want)
			}
			if how != "stop" {
				next = serve(t, options(v.Dir)).address()
			}
			b = open(t, next)
			has(t, b.page("/"), "is not complete", "Resume")
			b.does("/versions/1", "do", "deploy")
			if got, want := v.History(), "0 1.0 deployed, 1 2.0 deployed; current 1"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A version that the cluster cannot run has failed, with the words of the cluster.
func TestFailedDeployment(t *testing.T) {
	t.Parallel()
	v := two(t)
	v.Release("3.0", "none", false, "")
	b := open(t, serve(t, options(v.Dir)).address())
	has(t, b.does("/", "do", "check"), "2 new versions, the newest 3.0; 1 image cannot be pulled")
	has(t, b.page("/"), "1 of 1 image cannot be pulled")
	has(t, b.page("/versions/2"), "cannot be pulled", "the image does not exist there")
	has(t, b.does("/versions/2", "do", "deploy"), "has failed", "ImagePullBackOff")
	has(t, b.page("/"), "failed</span>", "ImagePullBackOff", "Deployment of 3.0</bdi> has failed")
}

// Fifty versions are on a page, by key.
func TestHistoryHasPages(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, "Big")
	v.Release("1.0", "1.0", false, "")
	v.Install()
	path := filepath.Join(v.Dir, "state.json")
	text := read(t, path)
	begin, end := strings.Index(text, `"versions": [`)+len(`"versions": [`), strings.Index(text, "\n  ],\n  \"current\"")
	one := text[begin:end]
	var all []string
	for n := range 120 {
		all = append(all, strings.NewReplacer(`"sequence": 0`, fmt.Sprintf(`"sequence": %d`, n), `"versionLabel": "1.0"`,
			fmt.Sprintf(`"versionLabel": "v%d."`, n)).Replace(one))
	}
	if err := os.WriteFile(path, []byte(text[:begin]+strings.Join(all, ",")+text[end:]), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, serve(t, options(v.Dir)).address())
	first := b.page("/")
	has(t, first, "v119.", "v70.", "?before=70", "120 versions")
	lacks(t, first, "v69.", "v1.")
	last := b.page("/?before=20")
	has(t, last, "v19.", "v0.")
	lacks(t, last, "v20.", "before=0")
}

// The pages are served on this machine only, and end when they are told to.
func TestServeOnThisMachineOnly(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := installed.New(options(t.TempDir())).Serve(t.Context(), l); !errors.Is(err, installed.ErrNotLoopback) {
		t.Errorf("got %v", err)
	}
	c := serve(t, options(t.TempDir()))
	b := open(t, c.address())
	if g := b.send("GET", "/", nil); g.status != http.StatusInternalServerError || !strings.Contains(g.body, "there is no installation") {
		t.Errorf("a folder without an installation: got %d\n%s", g.status, g.body)
	}
	if err := c.end(); err != nil {
		t.Errorf("the end: %v", err)
	}
	if _, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", strings.Split(b.base, "/")[2]); err == nil {
		t.Error("the address is still served")
	}
}
