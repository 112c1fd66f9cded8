package rewrite_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// packed returns the archive of a chart, with names and contents of files given in turn.
func packed(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := 0; i < len(files); i += 2 {
		err := w.WriteHeader(&tar.Header{Name: files[i], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[i+1]))})
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const chartObject = `apiVersion: kots.io/v1beta2
kind: HelmChart
metadata: {name: shop}
spec:
  chart: {name: shop, chartVersion: 1.2.0}
  releaseName: web
  weight: 3
  values:
    image:
      registry: '{{repl HasLocalRegistry | ternary LocalRegistryHost "proxy.example.com" }}'
      repository: '{{repl HasLocalRegistry | ternary LocalRegistryNamespace "proxy/shop/quay.io/org" }}/nginx'
      whole: 'repl{{ LocalImageName "quay.io/org/app:1" }}'
      public: 'repl{{ LocalImageName "quay.io/open/app:1" }}'
      always: 'repl{{ ReplicatedImageName (HelmValue ".image.repository") }}:repl{{ HelmValue ".image.tags[1]" }}'
      host: 'repl{{ ReplicatedImageRegistry "ghcr.io" }}'
      never: 'repl{{ ReplicatedImageName "ghcr.io/a/b" true }}'
    pullSecrets: [{name: '{{repl ImagePullSecretName }}'}]
  optionalValues:
  - when: 'repl{{ HasLocalRegistry }}'
    recursiveMerge: true
    values: {image: {local: true}}
  - when: 'repl{{ not HasLocalRegistry }}'
    values: {extra: 1}
  builder: {all: true}
`

func chartFiles(t *testing.T) []rule.File {
	t.Helper()
	return append(pods("quay.io/org/app:1"), rule.File{Path: "chart.yaml", Data: []byte(chartObject)},
		rule.File{Path: "shop-1.2.0.tgz", Data: packed(t, "shop/Chart.yaml", "name: shop\nversion: 1.2.0\n", "shop/values.yaml",
			"image: {repository: ghcr.io/vendor/api, tags: [a, b]}\n", "shop/charts/sub/Chart.yaml", "name: sub\n", "../evil.yaml", "x")})
}

func TestP13NamesOfImagesInTemplates(t *testing.T) {
	t.Parallel()
	in := input(chartFiles(t))
	in.Known = []rewrite.Known{{Image: "quay.io/org/app:1", Private: true}, {Image: "quay.io/open/app:1"}}
	same := map[string]any{"pullSecrets": []any{map[string]any{"name": "shop-registry"}}}
	proxied := map[string]any{"image": map[string]any{"registry": "proxy.example.com", "repository": "proxy/shop/quay.io/org/nginx",
		"whole": "proxy.example.com/proxy/shop/quay.io/org/app:1", "public": "quay.io/open/app:1",
		"always": "proxy.example.com/proxy/shop/ghcr.io/vendor/api:b", "host": "proxy.example.com/proxy/shop/ghcr.io", "never": "ghcr.io/a/b"},
		"pullSecrets": same["pullSecrets"], "extra": 1}
	local := map[string]any{"image": map[string]any{"registry": "own.example.com:5000", "repository": "apps/nginx",
		"whole": "own.example.com:5000/apps/org/app:1", "public": "own.example.com:5000/apps/open/app:1",
		"always": "own.example.com:5000/apps/vendor/api:b", "host": "own.example.com:5000/apps", "never": "own.example.com:5000/apps/a/b",
		"local": true}, "pullSecrets": same["pullSecrets"]}
	for what, want := range map[string]map[string]any{"by the proxy": proxied, "in a registry of the customer": local} {
		if in.Local = nil; what != "by the proxy" {
			in.Local = &rule.Local{Host: "own.example.com:5000", Namespace: "apps"}
		}
		out, err := (&rewrite.Engine{}).Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Charts) != 1 || out.Charts[0].Release != "web" || out.Charts[0].Archive != "shop-1.2.0.tgz" || out.Charts[0].Weight != 3 {
			t.Fatalf("%s: charts %+v, skipped %v", what, out.Charts, out.Skipped)
		}
		i := slices.IndexFunc(out.Files, func(f rule.File) bool { return f.Path == "charts/web/values.yaml" })
		var got map[string]any
		if err := yaml.Unmarshal(out.Files[i].Data, &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", what, d)
		}
		// The object is for installers: kustomize does not see it, and rewrites nothing in it.
		if text := built(t, out); strings.Contains(text, "HelmChart") || strings.Contains(text, "ghcr.io") {
			t.Errorf("%s: the build has the chart:\n%s", what, text)
		}
	}
}

// helm renders charts in tests.
type helm struct{ text string }

func (h helm) Template(_ context.Context, _ rewrite.Chart, archive, values []byte) ([]byte, error) {
	return []byte(strings.ReplaceAll(h.text, "ALL", map[bool]string{true: "quay.io/all/app:1", false: "quay.io/few/app:1"}[bytes.Contains(
		values, []byte("all: true"))])), nil
}

// A chart of the old form is rewritten like other manifests. Of the new form, only the images are wanted, and they are copied.
func TestChartsOfBothForms(t *testing.T) {
	t.Parallel()
	h := helm{string(pods("ALL")[0].Data)}
	in := input([]rule.File{chartFiles(t)[1], chartFiles(t)[2]})
	in.AllPrivate = true
	in.Files[0].Data = bytes.Replace(in.Files[0].Data, []byte("kots.io/v1beta2"), []byte("kots.io/v1beta1"), 1)
	out, err := (&rewrite.Engine{Helm: h}).Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if text := built(t, out); !strings.Contains(text, "image: proxy.example.com/proxy/shop/quay.io/few/app:1\n") || len(out.Charts) > 0 {
		t.Errorf("v1beta1: charts %v, build\n%s", out.Charts, text)
	}
	if out, err = (&rewrite.Engine{}).Run(t.Context(), in); err != nil || len(out.Skipped) != 1 ||
		!strings.Contains(out.Skipped[0].Error(), `"../evil.yaml" is no path in the folder of the chart`) || len(out.Broken) != 1 {
		t.Errorf("v1beta1, an archive that leads out of its folder: %v, %v", out.Skipped, err)
	}
	in.Files = chartFiles(t)[1:]
	in.Local = &rule.Local{Host: "own.example.com"}
	if out, err = (&rewrite.Engine{Helm: h}).Run(t.Context(), in); err != nil || len(out.Objects) > 0 || len(out.Copies) != 1 ||
		out.Copies[0].To != "own.example.com/all/app:1" {
		t.Errorf("v1beta2: %d objects, copies %v, %v", len(out.Objects), out.Copies, err)
	}
}

// Charts that are none, too large or named as no release is are reported.
func TestChartsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	bad := strings.Replace(chartObject, "releaseName: web", "releaseName: ../../overlays", 1)
	huge := packed(t, "shop/values.yaml", strings.Repeat("a", 70<<20))
	in := input([]rule.File{{Path: "bad.yaml", Data: []byte(bad)}, {Path: "a.tgz", Data: []byte("no archive")}, {Path: "b.tgz", Data: huge},
		{Path: "none.yaml", Data: []byte(chartObject)}, {Path: "loop.yaml", Data: []byte("a: 'repl{{ HelmValue \".a\" }}'")}})
	in.AllPrivate = true
	out, err := (&rewrite.Engine{}).Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range out.Skipped {
		got = append(got, s.File)
	}
	slices.Sort(got)
	// The templates in bad.yaml and none.yaml ask for values of charts that the release does not have.
	if d := cmp.Diff([]string{"a.tgz", "b.tgz", "bad.yaml", "loop.yaml", "none.yaml"}, got); d != "" {
		t.Errorf("%s\n%v", d, out.Skipped)
	}
}

// The objects of charts that an installer installs are rewritten like others, in the namespace of the chart, without hooks that no
// deployment has.
func TestChartsToInstall(t *testing.T) {
	t.Parallel()
	object := strings.Replace(chartObject, "weight: 3", "weight: 3\n  namespace: other", 1)
	object = object[:strings.Index(object, "  values:")] + "  values: {image: quay.io/org/app:1}\n"
	hook := func(kind, event string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + kind + ", annotations: {helm.sh/hook: '" + event + "'}}\n" +
			"spec: {template: {spec: {containers: [{name: a, image: quay.io/org/" + kind + ":1}]}}}\n"
	}
	in := input([]rule.File{{Path: "chart.yaml", Data: []byte(object)}, {Path: "shop.tgz", Data: packed(t,
		"shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.0\n", "shop/values.yaml", "image: none\nname: web\n",
		"shop/templates/web.yaml",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: '{{ .Values.name }}', labels: {r: '{{ .Release.Name }}'}}\n"+
			"spec: {template: {spec: {containers: [{name: a, image: '{{ .Values.image }}'}]}}}\n",
		"shop/templates/role.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: all}\n",
		"shop/templates/migrate.yaml", hook("migrate", "pre-install,pre-upgrade"),
		"shop/templates/test.yaml", hook("check", "test"))}})
	in.AllPrivate, in.InstallCharts = true, true
	out, err := (&rewrite.Engine{}).Run(t.Context(), in)
	if err != nil || len(out.Skipped) > 0 || len(out.Charts) != 1 {
		t.Fatalf("%v, skipped %v, charts %v", err, out.Skipped, out.Charts)
	}
	text := built(t, out)
	for _, want := range []string{"image: proxy.example.com/proxy/shop/quay.io/org/app:1\n",
		"image: proxy.example.com/proxy/shop/quay.io/org/migrate:1\n",
		"r: web\n", "ecrin.dev/chart: web\n", "ecrin.dev/chart-weight: \"3\"\n", "helm.sh/hook: pre-install,pre-upgrade\n",
		"  name: web\n  namespace: other\n", "  name: shop-registry\n  namespace: other\n", "kots.io/app-slug: shop\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "check") || strings.Contains(text, "  name: all\n  namespace:") {
		t.Errorf("the build has a test, or a role of the cluster with a namespace:\n%s", text)
	}
}

// Charts that cannot be rendered are named, also as what an installer cannot do without.
func TestChartsThatFail(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ object, template, want string }{
		"a password that is random": {chartObject, "a: {{ randAlphaNum 8 }}", "randAlphaNum makes another value each time"},
		"the chart says so":         {chartObject, `{{ fail "set the name" }}`, "shop/templates/a.yaml: set the name"},
		"a loop": {chartObject,
			`{{ range until 1000000 }}{{ range until 1000000 }}aaaaaaaaaaaaaa{{ end }}{{ end }}`, "renders more than"},
		"no object":    {chartObject, "a: b", "it has no metadata"},
		"no YAML":      {chartObject, "a: [", "shop/templates/a.yaml"},
		"another form": {strings.Replace(chartObject, "kots.io/v1beta2", "kots.io/v1beta3", 1), "", "kots.io/v1beta3 is not known"},
		"one release twice": {chartObject + "---\n" + strings.Replace(chartObject, "name: shop}", "name: shop2}", 1),
			"", "two charts have the release web"},
	} {
		in := input([]rule.File{{Path: "chart.yaml", Data: []byte(tt.object)}, {Path: "shop.tgz", Data: packed(t,
			"shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.0\n", "shop/values.yaml", "image: {repository: a, tags: [a, b]}\n",
			"shop/templates/a.yaml", tt.template)}})
		in.AllPrivate, in.InstallCharts = true, true
		out, err := (&rewrite.Engine{}).Run(t.Context(), in)
		if err != nil || len(out.Broken) != 1 || !strings.Contains(out.Broken[0].Error(), tt.want) {
			t.Errorf("%s: %v, %v, want %s", name, out.Broken, err, tt.want)
		}
	}
}
