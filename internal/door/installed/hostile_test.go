package installed_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/door/installed"
	"github.com/ecrin-dev/ecrin/internal/test/installtest"
)

var attribute = regexp.MustCompile(`="[^"]*"`)

var canary = `"><script>alert(1)</script>` + "\u202e"

// Texts of the vendor, of the cluster and of files are text, wherever they are shown.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, "Big "+canary[:len(canary)-3])
	config := "apiVersion: kots.io/v1beta1\nkind: Config\nmetadata: {name: c}\nspec:\n  groups:\n  - name: g\n    items:\n" +
		"    - {name: '" + canary + "', title: '" + canary + "', type: text, default: '" + canary + "'}\n    - {name: two, title: '" + canary +
		"', type: bool}\n    - {name: three, type: textarea, value: '" + canary + "'}\n    - {name: four, title: '" + canary + "', type: label}\n"
	v.Release("1.0", "1.0", false, canary, "config.yaml", config)
	v.Install()
	v.Release("2.0", "2.0", false, canary, "config.yaml", config, "note.yaml",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: n}\ndata:\n  x: '"+
			canary+"'\n")
	o := options(v.Dir)
	o.Wait = time.Second // the deployment cannot end well
	b := open(t, serve(t, o).address())
	b.does("/", "do", "check")
	path := filepath.Join(v.Dir, "state.json")
	text := read(t, path)
	encoded := strings.NewReplacer(`"`, `\"`).Replace(canary)
	for _, change := range [][2]string{{`"versionLabel": "2.0"`, `"versionLabel": "` + encoded + `", "error": "` + encoded + `"`},
		{`"source": "Upstream Update"`, `"source": "` + encoded + `"`}, {`"namespace": "shop"`, `"namespace": "` + encoded + `"`},
		{`"status": "pending"`, `"status": "failed"`}} {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("the state has no %s: %s", change[0], text)
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	name := "a<script>b\u202e.yaml"
	if err := os.WriteFile(filepath.Join(v.Dir, "versions/1/upstream", name), []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	checks := `{"sequence":1,"images":[{"image":"` + encoded + `","in":["` + encoded + `"],"pull":"no","digest":"` + encoded +
		`","platforms":["` +
		encoded + `"],"problem":"` + encoded + `","with":"` + encoded + `"}],"notes":["` + encoded + `"],"objects":"` +
		hashOf(t, filepath.Join(v.Dir, "versions/1/rendered/this-cluster/all.yaml")) + `"}`
	if err := os.WriteFile(filepath.Join(v.Dir, "checks/1.json"), []byte(checks), 0o600); err != nil {
		t.Fatal(err)
	}
	b.post("/versions/1", "do", "deploy") // its title has the label
	b.ends()
	for _, path := range []string{"/", "/versions/1", "/versions/1/files", "/versions/1/files?" + url.Values{"file": {"upstream/" +
		name}}.Encode(),
		"/versions/1/files?file=upstream/config.yaml", "/versions/1/files?file=rendered/this-cluster/all.yaml", "/diff", "/diff?rendered=yes",
		"/config",
		"/licence", "/registry", "/job"} {
		page := b.page(path)
		page = strings.ReplaceAll(page, `<script defer src="`, "")
		lacks(t, page, "<script", "onerror=")
		if path != "/config" { // whose fields have the values as they are
			lacks(t, attribute.ReplaceAllString(page, ""), "\u202e")
		}
		if strings.HasPrefix(path, "/versions") || path == "/" || path == "/config" {
			has(t, page, "&lt;script")
		}
	}
	if g := b.send("GET", "/versions/1/file?"+url.Values{"path": {"upstream/" + name}}.Encode(), nil); g.status != http.StatusOK ||
		!strings.HasPrefix(g.header.Get("Content-Disposition"), "attachment") || g.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a file: got %d, %q", g.status, g.header)
	}
	if got := b.send("GET", "/", nil).header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") ||
		strings.Contains(got, "unsafe") {
		t.Errorf("the policy of pages is %q", got)
	}
}

// Files out of the folder, by paths or links, are not read. A file above a megabyte is sent and not shown.
func TestFilesStayInTheirFolder(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, "Big")
	v.Release("1.0", "1.0", false, "")
	v.Install()
	secret := filepath.Join(t.TempDir(), "outside")
	folder := filepath.Join(v.Dir, "versions/0/upstream")
	for _, f := range []struct{ path, text string }{{secret, "outside the folder"}, {filepath.Join(folder, "large.txt"),
		strings.Repeat("a: b\n",
			300_000)}, {filepath.Join(folder, "binary"), "\x00\x01"}} {
		if err := os.WriteFile(f.path, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for to, link := range map[string]string{secret: "link", "../../../state.json": "state", filepath.Dir(secret): "folder"} {
		if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, serve(t, options(v.Dir)).address())
	for _, name := range []string{"upstream/link", "upstream/state", "upstream/folder/outside", "../../state.json",
		"upstream/../../../state.json",
		"/etc/passwd", secret, "upstream", ".", "upstream//web.yaml", "./upstream/web.yaml"} {
		for _, path := range []string{"/versions/0/files?" + url.Values{"file": {name}}.Encode(),
			"/versions/0/file?" + url.Values{"path": {name}}.Encode()} {
			if g := b.send("GET", path, nil); g.status != http.StatusNotFound || strings.Contains(g.body, "outside the folder") {
				t.Errorf("%s: got %d\n%s", path, g.status, g.body)
			}
		}
	}
	lacks(t, b.page("/versions/0/files"), ">link<", ">state<")
	has(t, b.page("/versions/0/files?file=upstream/large.txt"), "too long to be shown", "1.50 MB")
	has(t, b.page("/versions/0/files?file=upstream/binary"), "This file is no text.")
	if g := b.send("GET", "/versions/0/file?path=upstream/large.txt", nil); len(g.body) != 1_500_000 {
		t.Errorf("a large file: got %d with %d bytes", g.status, len(g.body))
	}
}

// No page has the id of the licence, also not where files have it in base64, or a password.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	v := installtest.New(t, "Big")
	v.Release("1.0", "1.0", false, "", "config.yaml",
		"apiVersion: kots.io/v1beta1\nkind: Config\nmetadata: {name: c}\nspec:\n  groups:\n  - name: g\n    "+
			"items:\n    - {name: host, type: text, default: a.example}\n    - {name: admin, title: Admin password, type: password}\n"+
			"    - {name: tls, type: bool}\n",
		"map.yaml",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  host: '{{repl ConfigOption \"host\" }}'\n  admin: '{{repl ConfigOption "+
			"\"admin\" }}'\n")
	v.Install()
	b := open(t, serve(t, options(v.Dir)).address())
	has(t, b.page("/config"), "a.example", "Admin password", "not set")
	has(t, b.does("/config", "value-0", "b.example", "value-1", "hunter2hunter2", "value-2", "yes", "do", "save"), "Sequence 1 was made")
	has(t, b.page("/"), "Config Change")
	has(t, b.page("/config"), `value="b.example"`, "set, and not shown", "checked")
	has(t, b.does("/config", "value-0", "b.example", "value-2", "yes", "do", "save"), "Nothing was changed.")
	old := b.form("/config", "value-0", "c.example", "value-2", "yes")
	b.does("/versions/1", "do", "deploy")
	i, err := install.Open(v.Dir, installtest.Options())
	if err != nil {
		t.Fatal(err)
	}
	id := i.License().ID
	i.Close()
	h, err := install.Look(v.Dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := h.Files(1)
	if err != nil {
		t.Fatal(err)
	}
	token := regexp.MustCompile(`[A-Za-z0-9+/]{12,}={0,2}`)
	inside := func(text string) bool {
		for range 4 {
			if strings.Contains(text, id) || strings.Contains(text, "hunter2") {
				return true
			}
			text = token.ReplaceAllStringFunc(text, func(s string) string {
				if b, err := base64.StdEncoding.DecodeString(s); err == nil {
					return string(b)
				}
				return s
			})
		}
		return false
	}
	secrets := 0
	for _, name := range files {
		stored, err := h.Read(1, name)
		if err != nil {
			t.Fatal(err)
		}
		if inside(string(stored)) {
			secrets++
		}
		for _, path := range []string{"/versions/1/files?" + url.Values{"file": {name}}.Encode(), "/versions/1/file?" +
			url.Values{"path": {name}}.Encode()} {
			if page := b.page(path); inside(page) {
				t.Errorf("%s has a secret:\n%s", path, page)
			}
		}
	}
	if secrets < 4 {
		t.Errorf("%d files have secrets, want licence, pull secret, config and what is rendered", secrets)
	}
	for _, path := range []string{"/", "/diff", "/diff?rendered=yes", "/config", "/licence", "/registry", "/job", "/versions/1"} {
		if page := b.page(path); inside(page) {
			t.Errorf("%s has a secret:\n%s", path, page)
		}
	}
	b.does("/config", "value-0", "b.example", "value-2", "yes", "clear-1", "yes", "do", "save")
	has(t, b.page("/config"), "not set")
	if g := b.send("POST", "/config", old); g.status != http.StatusConflict {
		t.Errorf("a form from before another change: got %d", g.status)
	}
}

// No text has a secret after Hide, whatever is around it.
func FuzzHide(f *testing.F) {
	for _, s := range []string{"", "a: b", "password: ", "YWJjZGVmZ2g=", "====", strings.Repeat("QUJD", 40)} {
		f.Add(s, "s3cret-id")
	}
	f.Fuzz(func(t *testing.T, text, secret string) {
		if len(secret) < 6 {
			return
		}
		for _, s := range []string{text + secret, text + " " + base64.StdEncoding.EncodeToString([]byte("user:"+secret)) + " " + text} {
			got, hidden := installed.Hide(s, secret)
			if !hidden {
				t.Errorf("%q with %q is shown as %q", s, secret, got)
			}
		}
	})
}
