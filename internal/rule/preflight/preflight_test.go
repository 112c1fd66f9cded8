package preflight_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/preflight"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{image: nginx:1}]}\n"

func TestKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want preflight.Kind
	}{
		{pod, preflight.Manifests},
		{"# nothing\n---\n" + pod, preflight.Manifests},
		{"services: {a: {image: b}}", preflight.Compose},
		{"version: '3'\nservices:\n  a: {image: b}", preflight.Compose},
		{"services: [{name: a, image: b}]", preflight.Template},
		{"environment_templates: []\nservices: {}", preflight.Template},
		{"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization", preflight.Kustomization},
		{"apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization", preflight.Manifests},
		{"a: [", preflight.Manifests}, {"", preflight.Manifests}, {"- a", preflight.Manifests},
	} {
		if got := preflight.KindOf(rewrite.File{Path: "f.yaml", Data: []byte(c.text)}); got != c.want {
			t.Errorf("%q: got %s, want %s", c.text, got, c.want)
		}
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, images, notes, failed string }{
		{pod + "---\n" + pod, "nginx:1", "", ""},
		{"services:\n  a: {image: 'b:1', platform: linux/arm64}\n  c: {image: 'b:1'}\n  d: {image: 'b:1'}\n  e: {build: .}",
			"b:1 linux/arm64,b:1",
			"service e in f.yaml line 5 is built, and not checked", ""},
		{"environment_templates: [{name: ephemeral}]\nservices:\n- {name: a, image: b}\n- {name: c, static: true, image: d}\n- {name: e, has_repo: true, image: o/e}",
			"b", "service e in f.yaml line 5 is built from", ""},
		{"services: {a: {image: 'A B'}}", "", "", "is no name of an image"},
		{"environment_templates: [{name: ephemeral}]\nservices:\n- {name: a}", "", "", "f.yaml:3: services[0].image is missing"},
		{"apiVersion: x.example.com/v1\nkind: Web\nmetadata: {name: a}\nspec: {image: 'b:1'}", "", "b:1 at spec.image is not checked", ""},
		{"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {volumes: [{name: v, image: {reference: 'h:1/team/nope:1.0'}}]}",
			"h:1/team/nope:1.0", "", ""},
		{"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{image: 'QUAY.io/A'}]}",
			"", "", "\"QUAY.io/A\" is no name of an image"},
		{"a: 1", "", "", "it is no object"},
	} {
		got := preflight.Images(rewrite.File{Path: "f.yaml", Data: []byte(c.text)})
		var images []string
		for _, i := range got.Images {
			images = append(images, strings.TrimSpace(i.Image.String()+" "+i.Platform))
		}
		if strings.Join(images, ",") != c.images || !has(got.Notes, c.notes) || !has(got.Failed, c.failed) {
			t.Errorf("%s\ngot %q, %q, %q, want %q, %q, %q", c.text, images, got.Notes, got.Failed, c.images, c.notes, c.failed)
		}
	}
}

// has reports whether the only text has another one in it; without one, there is no text.
func has(all []string, want string) bool {
	return len(all) == 0 && want == "" || len(all) == 1 && want != "" && strings.Contains(all[0], want)
}

func TestNearest(t *testing.T) {
	t.Parallel()
	got := preflight.Nearest("1.2.4", []string{"latest", "1.2.3", "1.3", "2.2.4"}, 2)
	if want := []string{"1.2.3", "2.2.4"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzImages(f *testing.F) {
	f.Add([]byte(pod))
	f.Add([]byte("services: {a: {image: b, platform: c}}"))
	f.Add([]byte("environment_templates: [{name: ephemeral}]\nservices: [{name: a, image: b}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, i := range preflight.Images(rewrite.File{Path: "f.yaml", Data: text}).Images {
			if len(i.In) == 0 || i.Image.Path == "" {
				t.Errorf("got %+v", i)
			}
		}
	})
}
