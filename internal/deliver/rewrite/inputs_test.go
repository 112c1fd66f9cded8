package rewrite_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// mixed has what vendors write: anchors and merge keys, several documents, a list, a definition and an object of it, a job without a name,
// two objects with one name, documents that are none.
const mixed = `%YAML 1.1
---
# The front.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web # stays
spec:
  selector: &labels {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - &common {name: init, image: quay.io/org/app:1, resources: &small {limits: {cpu: 10m}}}
      containers:
      - <<: *common
        name: main
      - {name: side, image: "quay.io/org/app@sha256:0123456789012345678901234567890123456789012345678901234567890123", resources: *small}
--- # a comment on the line of the separator
apiVersion: v1
kind: ConfigMap
metadata: {name: text}
data:
  manifest: |
    kind: Pod
    spec: {containers: [{image: quay.io/org/not-run:1}]}
...
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: one}, spec: {containers: [{name: a, image: "quay.io/org/list:1"}]}}
- {apiVersion: v1, kind: Service, metadata: {name: svc}, spec: {ports: [{port: 80}]}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.example.com}
spec:
  group: example.com
  names: {kind: Database, plural: databases}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {image: {
      type: string, default: "quay.io/org/db:4"}}}}}}}
---
apiVersion: example.com/v1
kind: Database
metadata: {name: db}
spec: {image: "quay.io/org/db:5"}
---
apiVersion: batch/v1
kind: Job
metadata: {generateName: once-}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: "quay.io/org/job:1"}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: one}
spec: {containers: [{name: a, image: "quay.io/org/second:1"}]}
---
just: [text
---
- a
- list
---
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [https://example.com/evil.yaml]
---
apiVersion: v1
kind: Pod
metadata: {name: off, annotations: {kots.io/exclude: "true"}}
spec: {containers: [{name: a, image: "quay.io/org/off:1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: last, namespace: other}
spec: {containers: [{name: a, image: "quay.io/org/last"}]}
`

func TestManifestsOfAllForms(t *testing.T) {
	t.Parallel()
	in := input([]rule.File{{Path: "a/mixed.yaml", Data: []byte(mixed)}, {Path: "kustomization.yaml", Data: []byte("resources: [x]")},
		{Path: "pod.json", Data: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"json"},
			"spec":{"containers":[{"image":"quay.io/org/json:1"}]}}`)}})
	in.AllPrivate, in.Namespace = true, "shop"
	out, err := (&rewrite.Engine{}).Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	text := built(t, out)
	at := "image: proxy.example.com/proxy/shop/quay.io/org/"
	for part, n := range map[string]int{at + "app:1\n": 2, at + "app@sha256:0123": 1, at + "list:1\n": 1, at + "json:1\n": 1, at + "last\n": 1,
		"quay.io/org/not-run:1": 1, "quay.io/org/db:5": 1, "quay.io/org/db:4": 1, "kind: CustomResourceDefinition": 1,
		"quay.io/org/job": 0, "quay.io/org/second": 0, "quay.io/org/off": 0, "evil": 0, "cpu: 10m": 3,
		"name: shop-registry\n": 4 + 2, "namespace: other": 1 + 2, "namespace: shop": 2} {
		if got := strings.Count(text, part); got != n {
			t.Errorf("%q is %d times in the build, want %d", part, got, n)
		}
	}
	var unseen []string
	for _, u := range out.Unseen {
		unseen = append(unseen, u.Kind+" "+u.Path+" "+u.Text)
	}
	if len(unseen) != 1 || unseen[0] != "Database spec.image quay.io/org/db:5" {
		t.Errorf("unseen: %v", unseen)
	}
	var skipped strings.Builder
	for _, s := range out.Skipped {
		fmt.Fprintln(&skipped, s.Error())
	}
	for _, part := range []string{"without metadata.name", "Pod one in a/mixed.yaml line", "is in a/mixed.yaml already",
		"it is a kustomization", "says that it is not installed", "kustomization.yaml: line 1: it is no object", "a/mixed.yaml: line 66: "} {
		if !strings.Contains(skipped.String(), part) {
			t.Errorf("skipped does not say %q:\n%s", part, skipped.String())
		}
	}
	for _, f := range out.Files {
		if f.Path == "base/a/mixed.yaml" && !strings.Contains(string(f.Data), "name: web # stays") {
			t.Errorf("the text of the vendor is not kept:\n%s", f.Data)
		}
	}
}

// many returns manifests with some objects of two kinds, in one file.
func many(n int) []rule.File {
	var b strings.Builder
	for i := range n {
		if i%2 == 0 {
			fmt.Fprintf(&b, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\ndata: {a: b}\n", i)
			continue
		}
		fmt.Fprintf(&b, "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d%d}\nspec: {selector: {matchLabels: {a: b}}, "+
			"template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: 'quay.io/org/i%d:1'}]}}}\n", i, i%100)
	}
	return []rule.File{{Path: "all.yaml", Data: []byte(b.String())}}
}

func TestTenThousandObjects(t *testing.T) {
	t.Parallel()
	in := input(many(10_000))
	in.AllPrivate = true
	begin := time.Now()
	out, err := (&rewrite.Engine{}).Run(t.Context(), in)
	if err != nil || len(out.Objects) != 10_000 || len(out.Images) != 50 || len(out.Renames) != 50 || len(out.Skipped) != 0 {
		t.Fatalf("%d objects, %d images, skipped %v, %v", len(out.Objects), len(out.Images), out.Skipped, err)
	}
	if err := out.Write(t.TempDir(), nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("took %v", time.Since(begin))
}

// So many objects have one patch for each kind, and kustomize builds the same as with single ones.
func TestManyObjectsHavePatchesByKind(t *testing.T) {
	t.Parallel()
	in := input(many(300))
	in.AllPrivate = true
	out, err := (&rewrite.Engine{}).Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	text := built(t, out)
	for part, n := range map[string]int{"- name: shop-registry\n": 150, "image: proxy.example.com/proxy/shop/quay.io/org/i": 150,
		"kind: ConfigMap": 150} {
		if got := strings.Count(text, part); got != n {
			t.Errorf("%q is %d times in the build, want %d", part, got, n)
		}
	}
}
