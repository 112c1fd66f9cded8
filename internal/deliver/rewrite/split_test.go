package rewrite_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// forms returns files with objects in all forms that manifests have, more than are built at once.
func forms() []rule.File {
	files := many(220)
	add := func(name, text string) { files = append(files, rule.File{Path: name, Data: []byte(text)}) }
	var jobs strings.Builder
	for i := range 30 {
		fmt.Fprintf(&jobs, "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: j%d, namespace: n%d}\nspec:\n  jobTemplate:\n    spec:\n"+
			"      template:\n        spec:\n          initContainers: [{name: i, image: 'redis'}]\n          containers:\n"+
			"          - {name: a, image: docker.io/library/redis:%d}\n          - name: b # a comment\n            image: &x quay.io/org/j:1\n"+
			"          - {name: c, image: *x}\n---\n", i, i%3, i)
	}
	add("jobs/all.yml", jobs.String())
	add("list.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: p1}\n  spec: {containers: [{name: a, "+
		"image: 'quay.io/org/p@sha256:"+strings.Repeat("a", 64)+"'}]}\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: p2}\n"+
		"  spec: {imagePullSecrets: [{name: own}], containers: [{name: a, image: 'quay.io/org/p:1@sha256:"+strings.Repeat("b", 64)+"'}]}\n")
	add("pod.json", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"json"},"spec":{"containers":[{"name":"a","image":"quay.io:443/org/p"}]}}`)
	add("custom.yaml", "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t, annotations: {image: quay.io/org/i1}}\nspec:\n"+
		"  image: quay.io/org/i1:1\n  pods: {containers: [{name: a, image: 'quay.io/org/i2:1'}]}\n---\napiVersion: example.com/v1\nkind: Thing\n"+
		"metadata: {name: u}\nspec: {template: {spec: {containers: [{name: a, image: 'quay.io/org/i3:2'}], imagePullSecrets: [{name: own}]}}}\n")
	add("volume.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: v}\nspec: {containers: [{name: a, image: redis}], volumes: [{name: a, image: "+
		"{reference: quay.io/org/v}}]}\n")
	add("text.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: text}\ndata:\n  a: |\n    ---\n    image: quay.io/org/i1\n  b: \"x\\ty\"\n")
	return files
}

func configMaps(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m%d}\n", i)
	}
	return b.Bytes()
}

// Objects that are built in parts are built as kustomize builds the whole, with changes of the customer and without.
func TestPartsAreBuiltAsTheWhole(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]string{
		"no change":           "",
		"few that run images": "",
		"patches": "resources: [../../midstream]\nnamePrefix: my-\npatches:\n" +
			`- patch: '[{"op": "add", "path": "/spec/replicas", "value": 3}]'` + "\n  target: {kind: Deployment, name: d7}\n- path: two.yaml\n",
		"images": "bases: [../../midstream]\nimages: [{name: quay.io/org/i1, newTag: '9'}]\nlabels: [{pairs: {zone: north}}]\nconfigMapGenerator: [{name: c0, " +
			"behavior: merge, literals: [x=y]}]\n",
	} {
		in := input(forms())
		if what == "few that run images" { // each has a patch of its own, also in a list
			in.Files = append([]rule.File{{Path: "a.yaml", Data: configMaps(250)}}, in.Files[2:]...)
		}
		in.AllPrivate = true
		out, err := (&rewrite.Engine{}).Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(out.Objects); n <= 200 {
			t.Fatalf("%d objects are built at once", n)
		}
		dir := filepath.Join(t.TempDir(), "app")
		if change != "" {
			own := filepath.Join(dir, rule.DownstreamDir)
			if err := os.MkdirAll(own, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"kustomization.yaml": change,
				"two.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d9}\nspec: {replicas: 2}\n"} {
				if err := os.WriteFile(filepath.Join(own, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		text := builtIn(t, out, dir)
		want := 150
		if what == "few that run images" {
			want = 3
		}
		if n := strings.Count(text, "proxy.example.com/proxy/shop/"); n < want {
			t.Errorf("%s: %d images have other names", what, n)
		}
	}
}

// What is wrong in one of many objects, or in a change for one that is not there, is said.
func TestErrorsOfParts(t *testing.T) {
	t.Parallel()
	in := input(many(300))
	in.AllPrivate = true
	out, err := (&rewrite.Engine{}).Run(t.Context(), in)
	dir := filepath.Join(t.TempDir(), "app")
	if err == nil {
		err = out.Write(dir, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, rule.DownstreamDir, "kustomization.yaml")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(own, "resources: [../../midstream]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: none}, data: {a: c}}'}]\n")
	if _, err := rewrite.Build(dir); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a change for an object that is not there: got %v", err)
	}
	write(own, "resources: [../../midstream]\n")
	write(filepath.Join(dir, "base/all.yaml"), string(many(300)[0].Data)+"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {}\n")
	if _, err := rewrite.Build(dir); err == nil || !strings.Contains(err.Error(), "missing metadata.name") {
		t.Errorf("an object without a name: got %v", err)
	}
}

// BenchmarkTenThousandObjects rewrites and builds 10,000 objects with 2,000 images.
func BenchmarkTenThousandObjects(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		if i%2 == 0 {
			fmt.Fprintf(&text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\ndata: {a: b}\n", i)
			continue
		}
		fmt.Fprintf(&text, "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d%d}\nspec: {selector: {matchLabels: {a: b}}, "+
			"template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: 'quay.io/org/i%d:1'}]}}}\n", i, i/2%2000)
	}
	for b.Loop() {
		in := input([]rule.File{{Path: "all.yaml", Data: []byte(text.String())}})
		in.AllPrivate = true
		begin := time.Now()
		out, err := (&rewrite.Engine{}).Run(b.Context(), in)
		dir := filepath.Join(b.TempDir(), "app")
		if err == nil {
			err = out.Write(dir, nil)
		}
		if err != nil {
			b.Fatal(err)
		}
		built := time.Now()
		all, err := rewrite.Build(dir)
		if err != nil || strings.Count(string(all), "image: proxy.example.com/") != 5000 {
			b.Fatal(err)
		}
		b.ReportMetric(built.Sub(begin).Seconds(), "s-rewrite")
		b.ReportMetric(time.Since(built).Seconds(), "s-build")
	}
}
