package cli_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// aliases returns YAML whose aliases stand for 10 to the power of a number of values.
func aliases(depth int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < depth; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	return b.String()
}

// heapOf returns how much the heap grows at most while do runs, in bytes.
func heapOf(do func()) (most int64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, done, stopped := m.HeapAlloc, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				runtime.ReadMemStats(&m)
				most = max(most, int64(m.HeapAlloc)-int64(before))
			}
		}
	}()
	do()
	close(done)
	<-stopped
	return most
}

// Documents of any size and depth, and aliases that stand for more than there is memory, end with an error that says what is too much, in
// bounded time and memory. It does not run beside other tests, whose memory would count.
func TestOversizedDocuments(t *testing.T) {
	dir := t.TempDir()
	path := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	write := func(name string, text []byte) string {
		t.Helper()
		file := path(name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: x, image: localhost:1/x:1}]}\n"
	large := bytes.Repeat([]byte("# a line of a comment that is long enough\n"), 100<<20/42)
	huge := write("huge.yaml", append(large, pod...))
	deep := write("deep.yaml", []byte(pod+"extra: "+strings.Repeat("[", 50_000)+strings.Repeat("]", 50_000)+"\n"))
	bomb := write("bomb.yaml", []byte(aliases(12)+pod))
	write("huge/.release/application_template.yaml", append(large, "services: []\n"...))
	write("deep/.release/application_template.yaml", []byte("services: "+strings.Repeat("[", 50_000)+strings.Repeat("]", 50_000)+"\n"))
	write("bomb/.release/application_template.yaml", []byte(aliases(12)+"services: *a11\n"))
	write("huge-base/kustomization.yaml", []byte("resources: [big.yaml]\n"))
	write("huge-base/big.yaml", append(large, pod...))
	write("huge-map/kustomization.yaml", []byte("resources: [pod.yaml]\nconfigMapGenerator:\n- name: m\n  files: [k=big.bin]\n"))
	write("huge-map/pod.yaml", []byte(pod))
	write("huge-map/big.bin", large)
	write("late/kustomization.yaml", append(bytes.Repeat([]byte("# a comment\n"), 2<<20/12), "resources: [https://127.0.0.1:1/x.git]\n"...))
	write("bomb-base/kustomization.yaml", []byte("resources: [bomb.yaml]\n"))
	write("bomb-base/bomb.yaml", []byte(pod+aliases(12)))
	write("bomb-patch/kustomization.yaml", []byte("resources: [pod.yaml]\npatches:\n- patch: |-\n    "+
		strings.ReplaceAll(pod+aliases(12), "\n", "\n    ")+"\n"))
	write("bomb-patch/pod.yaml", []byte(pod))
	write("bomb-kustomization/kustomization.yaml", []byte("resources: [pod.yaml]\n"+aliases(12)))
	write("bomb-kustomization/pod.yaml", []byte(pod))
	bombValues := write("bombvalues.yaml", []byte(aliases(12)))
	write("folder/huge.yaml", append(large, pod...))
	var chart bytes.Buffer
	z := gzip.NewWriter(&chart)
	w := tar.NewWriter(z)
	for name, text := range map[string][]byte{"x/Chart.yaml": []byte("apiVersion: v2\nname: x\nversion: 1.0.0\n"),
		"x/templates/a.yaml": large} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	packed := write("huge.tgz", chart.Bytes())
	write("chart/Chart.yaml", []byte("apiVersion: v2\nname: x\nversion: 1.0.0\n"))
	write("chart/templates/pod.yaml", []byte(pod))
	values := write("values.yaml", append(bytes.Repeat([]byte("# a comment\n"), 2<<20/12), "late: true\n"...))
	tests := write("tests.yaml", append(large, "tests: []\n"...))
	deepTests := write("deeptests.yaml", []byte("tests: "+strings.Repeat("[", 50_000)+strings.Repeat("]", 50_000)+"\n"))
	bombTests := write("bombtests.yaml", []byte(aliases(12)+"tests: *a11\n"))
	write("policy.json", append([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:*","Sid":"`),
		append(bytes.Repeat([]byte("x"), 100<<20), `"}]}`...)...))
	ofPolicy := write("ofpolicy.yaml", []byte("registry: 111122223333/us-east-1\npolicies: {team/app: policy.json}\ntests:\n"+
		"- nobody outside 111122223333 pulls team/app\n"))
	for _, c := range []struct {
		what string
		args []string
		want string
	}{
		{"a manifest of 100 MB", []string{"preflight", huge}, "more than"},
		{"a folder with a manifest of 100 MB", []string{"preflight", path("folder")}, "more than"},
		{"a kustomization with a base of 100 MB", []string{"preflight", path("huge-base")}, "more than"},
		{"a kustomization with a file of 100 MB", []string{"preflight", path("huge-map")}, "more than"},
		{"a kustomization that names an address late", []string{"preflight", path("late")}, "more than"},
		{"a chart of 100 MB", []string{"preflight", packed}, "more than"},
		{"values of 2 MB", []string{"preflight", path("chart"), "--values", values}, "more than"},
		{"a deep manifest", []string{"preflight", deep}, "could not be read"},
		{"aliases in a manifest", []string{"preflight", bomb}, "could not be read"},
		{"aliases in a base", []string{"preflight", path("bomb-base")}, "excessive aliasing"},
		{"aliases in a patch", []string{"preflight", path("bomb-patch")}, "excessive aliasing"},
		{"aliases in a kustomization", []string{"preflight", path("bomb-kustomization")}, "excessive aliasing"},
		{"aliases in values", []string{"preflight", path("chart"), "--values", bombValues}, "excessive aliasing"},
		{"a template of 100 MB", []string{"application", "validate", path("huge")}, "more than"},
		{"a deep template", []string{"application", "validate", path("deep")}, "deep"},
		{"aliases in a template", []string{"application", "validate", path("bomb")}, "is not a valid application template"},
		{"tests of 100 MB", []string{"policy", "test", tests}, "larger than"},
		{"deep tests", []string{"policy", "test", deepTests}, "is no file of tests"},
		{"aliases in tests", []string{"policy", "test", bombTests}, "is no file of tests"},
		{"a policy of 100 MB", []string{"policy", "test", ofPolicy}, "policy.json"},
	} {
		var code int
		var out, errs string
		begun := time.Now()
		heap := heapOf(func() { code, out, errs = run(t, c.args...) })
		took := time.Since(begun)
		if code == 0 || c.want != "" && !strings.Contains(out+errs, c.want) || len(out+errs) > 10_000 || strings.Contains(errs, "panic") {
			t.Errorf("%s: got exit code %d, %.1000s%.1000s, want an error with %q", c.what, code, out, errs, c.want)
		}
		if took > 30*time.Second || heap > 400<<20 {
			t.Errorf("%s: took %s and %d MB of memory", c.what, took.Round(time.Millisecond), heap>>20)
		}
	}
}

// 10,000 images of a registry that does not answer are each answered, in bounded time and memory.
func TestTenThousandImages(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "  - {name: c%d, image: 127.0.0.1:1/team/app%d:1}\n", i, i)
	}
	file := filepath.Join(t.TempDir(), "many.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	var code int
	var out, errs string
	heap := heapOf(func() { code, out, errs = run(t, "preflight", file) })
	took := time.Since(begun)
	if n := strings.Count(out, "127.0.0.1:1/team/app"); code != 3 || n < 10_000 || heap > 400<<20 || took > 2*time.Minute {
		t.Errorf("got exit code %d and %d images after %s with %d MB, %.500s, want an answer for each", code, n, took, heap>>20, errs)
	}
}
