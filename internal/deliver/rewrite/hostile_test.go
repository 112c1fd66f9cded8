package rewrite_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// A file that is too large is refused before it is in memory, and what is no file is left alone.
func TestFoldersThatAreTooLarge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "large.yaml"))
	if err == nil {
		err = f.Truncate(8 << 30) // a file with a hole
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := rewrite.ReadFolder(dir); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<30 {
		t.Errorf("it took %d bytes of memory", n)
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"link.yaml": "/etc/passwd", "folder": "/etc", "loop": "."} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := rewrite.ReadFolder(dir); err != nil || len(files) != 0 {
		t.Errorf("links and pipes: got %v, %v", files, err)
	}
}

// Text that is small and means much, or that is large, is reported and harms nothing: the other files are rewritten.
func TestHostileManifests(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		n, m := string(rune('1'+i)), string(rune('0'+i))
		bomb += "a" + n + ": &a" + n + " [" + strings.TrimSuffix(strings.Repeat("*a"+m+", ", 9), ", ") + "]\n"
	}
	bomb = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\n" + bomb
	self := "apiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: self, annotations: *m}\n"
	keys := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: keys}\ndata: {" + strings.Repeat("a: b, ", 3) + "}\n"
	deep := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: deep}\ndata: " + strings.Repeat("{a: ", 20_000) +
		strings.Repeat("}", 20_000) + "\n"
	tags := "apiVersion: v1\nkind: ConfigMap\nmetadata: !!binary aaaa\n"
	huge := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: huge}\ndata: {a: " + strings.Repeat("a", 17<<20) + "}\n"
	files := pods("quay.io/org/app:1")
	for name, text := range map[string]string{"bomb": bomb, "self": self, "keys": keys, "deep": deep, "tags": tags,
		"huge":  huge,
		"chart": "apiVersion: kots.io/v1beta2\nkind: HelmChart\n" + bomb, "config": "apiVersion: kots.io/v1beta1\nkind: Application\n" + bomb} {
		files = append(files, rule.File{Path: name + ".yaml", Data: []byte(text)})
	}
	in := input(files)
	in.AllPrivate = true
	begin := time.Now()
	out, err := (&rewrite.Engine{}).Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 2*time.Minute {
		t.Errorf("it took %s", took)
	}
	skipped := map[string]bool{}
	for _, s := range out.Skipped {
		skipped[s.File] = true
	}
	for _, name := range []string{"bomb", "self", "keys", "deep", "tags", "huge", "chart", "config"} {
		if !skipped[name+".yaml"] {
			t.Errorf("%s is not reported: %v", name, out.Skipped)
		}
	}
	if text := built(t, out); !strings.Contains(text, "image: proxy.example.com/proxy/shop/quay.io/org/app:1\n") {
		t.Errorf("the build is\n%s", text)
	}
}
