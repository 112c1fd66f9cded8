package rewrite_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

const (
	digest  = "sha256:0a420a73a4e564a1a1d54a265d7975aa913d25b8506919b6405f3146c47fb79e"
	private = "499999999999.dkr.ecr.us-east-2.amazonaws.com"
)

var proxy = rewrite.Proxy{Host: "proxy.example.com", Slug: "mysampleecrapp"}

func TestParseReference(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want rewrite.Reference
		repo string // registry and repository
	}{
		{"nginx", rewrite.Reference{Path: "nginx"}, "docker.io library/nginx"},
		{"nginx:1.27", rewrite.Reference{Path: "nginx", Tag: "1.27"}, "docker.io library/nginx"},
		{"org/app", rewrite.Reference{Path: "org/app"}, "docker.io org/app"},
		{"docker.io/nginx", rewrite.Reference{Host: "docker.io", Path: "nginx"}, "docker.io library/nginx"},
		{"docker.io/library/nginx@" + digest, rewrite.Reference{Host: "docker.io", Path: "library/nginx", Digest: digest},
			"docker.io library/nginx"},
		{"host:5000/a/b:1@" + digest, rewrite.Reference{Host: "host:5000", Path: "a/b", Tag: "1", Digest: digest}, "host:5000 a/b"},
		{"localhost/a", rewrite.Reference{Host: "localhost", Path: "a"}, "localhost a"},
		{private + "/demo-apps/nginx:latest", rewrite.Reference{Host: private, Path: "demo-apps/nginx", Tag: "latest"},
			private + " demo-apps/nginx"},
	} {
		got, err := rewrite.ParseReference(tt.text)
		if err != nil || got != tt.want || got.String() != tt.text || got.Registry()+" "+got.Repository() != tt.repo {
			t.Errorf("%s: got %+v, %s %s, %v", tt.text, got, got.Registry(), got.Repository(), err)
		}
	}
	for _, bad := range []string{"", ":", "a:", "A/b", "a//b", "/a", "a/", "a b", "a@sha256:1", "a:b:c", "{{ image }}", "repl{{ a }}",
		"https://host/a", "a@" + digest + "@" + digest, strings.Repeat("a", 300)} {
		if got, err := rewrite.ParseReference(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("host:5000/a/b:1@" + digest)
	f.Add("nginx")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := rewrite.ParseReference(s)
		if err == nil && r.String() != s {
			t.Errorf("%q became %q", s, r)
		}
	})
}

const manifests = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: init, image: busybox}]
      containers:
      - {name: a, image: ` + private + `/demo-apps/nginx:2}
      - {name: b, image: "` + private + `/demo-apps/nginx:1@` + digest + `"}
      imagePullSecrets: [{name: own}]
      ephemeralContainers: [{name: debug, image: tools/debug:1}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 1 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: org/job:3}]}}}}
---
# a comment alone
---
apiVersion: v1
kind: List
items:
- &pod
  apiVersion: v1
  kind: Pod
  metadata: {name: one}
  spec: &spec {containers: [{name: a, image: quay.io/org/pod}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: two}
  spec: *spec
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: roll}
spec: {template: {spec: {imagePullSecrets: [{name: kept}], containers: [{name: a, image: quay.io/org/roll}]}}}
---
apiVersion: example.com/v1
kind: Database
metadata: {name: db}
spec: {image: quay.io/org/db:5, backup: {repository: quay.io/org/backup, tag: 7}, sidecarImage: quay.io/org/side}
`

func files() []rewrite.File {
	return []rewrite.File{{Path: "all.yaml", Data: []byte(manifests)}, {Path: "README.md", Data: []byte("image: no/image")},
		{Path: "broken.yaml", Data: []byte("a: [\n")}, {Path: "values.yml", Data: []byte("image: x/y\n")}}
}

func TestFindImages(t *testing.T) {
	t.Parallel()
	f := rewrite.Find(files())
	var got []string
	for _, i := range f.Images {
		var in []string
		for _, o := range i.Objects {
			in = append(in, o.Kind+" "+o.Name)
		}
		got = append(got, i.String()+" in "+strings.Join(in, ", "))
	}
	want := []string{
		private + "/demo-apps/nginx:1@" + digest + " in Deployment web",
		private + "/demo-apps/nginx:2 in Deployment web",
		"busybox in Deployment web",
		"org/job:3 in CronJob nightly",
		"quay.io/org/pod in Pod one, Pod two",
		"quay.io/org/roll in Rollout roll",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var unseen []string
	for _, u := range f.Unseen {
		unseen = append(unseen, u.Kind+" "+u.Name+" "+u.Path+" "+u.Text)
	}
	wantUnseen := []string{
		"Deployment web spec.template.spec.ephemeralContainers[0].image tools/debug:1",
		"Database db spec.backup quay.io/org/backup:7",
		"Database db spec.image quay.io/org/db:5",
		"Database db spec.sidecarImage quay.io/org/side",
	}
	if d := cmp.Diff(wantUnseen, unseen); d != "" {
		t.Error(d)
	}
	var skipped []string
	for _, s := range f.Skipped {
		skipped = append(skipped, s.File)
	}
	if !slices.Equal(skipped, []string{"broken.yaml", "values.yml"}) {
		t.Errorf("skipped: %v", f.Skipped)
	}
}

func TestFindInTenThousandObjects(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\nspec: {containers: [{name: a, image: h.example/i%d:1}]}\n", i, i%100)
	}
	f := rewrite.Find([]rewrite.File{{Path: "a.yaml", Data: []byte(b.String())}})
	if len(f.Objects) != 10_000 || len(f.Images) != 100 || len(f.Skipped) != 0 {
		t.Errorf("got %d objects with %d images, skipped %v", len(f.Objects), len(f.Images), f.Skipped)
	}
}

// An alias that stands for itself many times must not fill the memory.
func TestFindRefusesExpandingAliases(t *testing.T) {
	t.Parallel()
	text := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 12 {
		text += fmt.Sprintf("%c: &%c [%s]\n", 'b'+i, 'b'+i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", 'a'+i), 10), ", "))
	}
	if f := rewrite.Find([]rewrite.File{{Path: "a.yaml", Data: []byte(text)}}); len(f.Skipped) != 1 {
		t.Errorf("got %+v", f)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte(manifests))
	f.Fuzz(func(t *testing.T, text []byte) {
		found := rewrite.Find([]rewrite.File{{Path: "a.yaml", Data: text}})
		for _, i := range found.Images {
			if _, err := rewrite.ParseReference(i.String()); err != nil {
				t.Error(err)
			}
		}
		m := rewrite.Midstream{Slug: "a", Objects: found.Objects, Secrets: &rewrite.Secrets{Slug: "a"},
			Renames: proxy.Renames(found.Images, func(rewrite.Reference) bool { return true })}
		all, _ := m.Files()
		for _, file := range all {
			var n yaml.Node
			if err := yaml.Unmarshal(file.Data, &n); err != nil {
				t.Errorf("%s: %v", file.Path, err)
			}
		}
	})
}

// build builds a folder with kustomize's library.
func build(t *testing.T, files []rewrite.File, folder string) string {
	t.Helper()
	fs := filesys.MakeFsInMemory()
	for _, f := range files {
		if err := fs.WriteFile("/app/"+f.Path, f.Data); err != nil {
			t.Fatal(err)
		}
	}
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(fs, "/app/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// overlays returns the folders of an application with one file of manifests.
func overlays(t *testing.T, text string, renames []rewrite.Rename, found rewrite.Found) []rewrite.File {
	t.Helper()
	auths := []rewrite.Auth{{Host: proxy.Host, Username: "LICENSE_ID", Password: "secret-id"}}
	m := rewrite.Midstream{Slug: proxy.Slug, Renames: renames, Objects: found.Objects,
		Secrets: &rewrite.Secrets{Slug: proxy.Slug, Namespaces: []string{"shop"}, Config: rewrite.DockerConfig(auths)}}
	all, unpatched := m.Files()
	if len(unpatched) > 0 {
		t.Errorf("not patched: %v", unpatched)
	}
	return append(all, rewrite.Base([]string{"all.yaml"}), rewrite.Downstream(), rewrite.File{Path: "base/all.yaml", Data: []byte(text)})
}

func TestP4MidstreamOfThePrivateImage(t *testing.T) {
	t.Parallel()
	found := rewrite.Find(files())
	onlyECR := func(r rewrite.Reference) bool { return r.Host == private }
	all := overlays(t, manifests, proxy.Renames(found.Images, onlyECR), found)
	i := slices.IndexFunc(all, func(f rewrite.File) bool { return f.Path == "overlays/midstream/kustomization.yaml" })
	want := `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
bases:
  - ../../base
commonAnnotations:
  kots.io/app-slug: mysampleecrapp
images:
  - name: ` + private + `/demo-apps/nginx
    newName: proxy.example.com/proxy/mysampleecrapp/` + private + `/demo-apps/nginx
patchesStrategicMerge:
  - pullsecrets.yaml
resources:
  - secret.yaml
transformers:
  - backup-label-transformer.yaml
`
	if d := cmp.Diff(want, string(all[i].Data)); d != "" {
		t.Error(d)
	}
	text := build(t, all, rewrite.DownstreamDir)
	for _, part := range []string{
		"image: proxy.example.com/proxy/mysampleecrapp/" + private + "/demo-apps/nginx:2\n",
		"name: mysampleecrapp-registry", "name: kotsadm-replicated-registry", "kots.io/backup: velero", "kots.io/app-slug: mysampleecrapp",
		`kots.io/creation-phase: "-9999"`, "image: busybox\n", "type: kubernetes.io/dockerconfigjson",
		base64.StdEncoding.EncodeToString([]byte(`{"auths":{"proxy.example.com":{"auth":"` +
			base64.StdEncoding.EncodeToString([]byte("LICENSE_ID:secret-id")) + `"}}}`)),
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the build has no %q:\n%s", part, text)
		}
	}
	secrets := pullSecrets(t, text)
	want2 := map[string][]string{"Deployment web": {"mysampleecrapp-registry", "own"}, "CronJob nightly": {"mysampleecrapp-registry"},
		"Pod one": {"mysampleecrapp-registry"}, "Pod two": {"mysampleecrapp-registry"}, "Rollout roll": {"kept", "mysampleecrapp-registry"}}
	if d := cmp.Diff(want2, secrets); d != "" {
		t.Error(d)
	}
}

// pullSecrets returns the pull secrets of each object that runs pods, sorted.
func pullSecrets(t *testing.T, text string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct {
				Secrets  []struct{ Name string } `yaml:"imagePullSecrets"`
				Template struct {
					Spec struct {
						Secrets []struct{ Name string } `yaml:"imagePullSecrets"`
					}
				}
				Job struct {
					Spec struct {
						Template struct {
							Spec struct {
								Secrets []struct{ Name string } `yaml:"imagePullSecrets"`
							}
						}
					}
				} `yaml:"jobTemplate"`
			}
		}
		if d.Decode(&o) != nil {
			return all
		}
		for _, s := range slices.Concat(o.Spec.Secrets, o.Spec.Template.Spec.Secrets, o.Spec.Job.Spec.Template.Spec.Secrets) {
			all[o.Kind+" "+o.Metadata.Name] = append(all[o.Kind+" "+o.Metadata.Name], s.Name)
		}
		slices.Sort(all[o.Kind+" "+o.Metadata.Name])
		if len(all[o.Kind+" "+o.Metadata.Name]) == 0 {
			delete(all, o.Kind+" "+o.Metadata.Name)
		}
	}
}

func TestP8TagsAndDigestsSurviveOneEntry(t *testing.T) {
	t.Parallel()
	found := rewrite.Find(files())
	renames := proxy.Renames(found.Images, func(r rewrite.Reference) bool { return r.Host == private })
	if len(renames) != 1 {
		t.Errorf("got %d entries, want 1: %v", len(renames), renames)
	}
	text := build(t, overlays(t, manifests, renames, found), rewrite.DownstreamDir)
	for _, tail := range []string{":2\n", ":1@" + digest + "\n"} {
		if !strings.Contains(text, "/demo-apps/nginx"+tail) {
			t.Errorf("the build has no image with %q:\n%s", tail, text)
		}
	}
}

func TestPrivateImagesOfDockerHubHaveAllSpellings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"redis":                   {"docker.io/library/redis", "docker.io/redis", "library/redis", "redis"},
		"docker.io/library/redis": {"docker.io/library/redis", "docker.io/redis", "library/redis", "redis"},
		"org/app:1":               {"docker.io/org/app", "org/app"},
		"quay.io/org/app:1":       {"quay.io/org/app"},
	} {
		r, err := rewrite.ParseReference(text)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range proxy.Renames([]rewrite.Image{{Reference: r}}, func(rewrite.Reference) bool { return true }) {
			got = append(got, e.Name)
			if e.NewName != "proxy.example.com/proxy/mysampleecrapp/"+e.Name {
				t.Errorf("%s: %s becomes %s", text, e.Name, e.NewName)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestImagesThatAreThereAlreadyStay(t *testing.T) {
	t.Parallel()
	p := rewrite.Proxy{Host: "proxy.example.com", Slug: "a", Vendor: "images.vendor.example", StandardAt: "registry.example.com"}
	image := func(text string) rewrite.Image {
		r, err := rewrite.ParseReference(text)
		if err != nil {
			t.Fatal(err)
		}
		return rewrite.Image{Reference: r}
	}
	got := p.Renames([]rewrite.Image{image("proxy.example.com/proxy/a/x/y"), image("images.vendor.example/a/b"),
		image("registry.example.com/a/b:1"), image("public/image")},
		func(r rewrite.Reference) bool { return r.Host != "" })
	want := []rewrite.Rename{{Name: "registry.example.com/a/b", NewName: "images.vendor.example/a/b"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestP11LocalRegistry(t *testing.T) {
	t.Parallel()
	found := rewrite.Find(files())
	for _, flat := range []bool{false, true} {
		l := rewrite.Local{Host: "registry.local:5000", Namespace: "apps", Flat: flat}
		renames, copies, err := l.Renames(found.Images)
		if err != nil {
			t.Fatal(err)
		}
		text := build(t, overlays(t, manifests, renames, found), rewrite.DownstreamDir)
		want := []string{"image: registry.local:5000/apps/demo-apps/nginx:2\n", "image: registry.local:5000/apps/library/busybox\n",
			"image: registry.local:5000/apps/org/job:3\n"}
		if flat {
			want = []string{"image: registry.local:5000/apps/nginx:2\n", "image: registry.local:5000/apps/busybox\n"}
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("flat %v: the build has no %q:\n%s", flat, w, text)
			}
		}
		if len(copies) != len(found.Images) || !strings.HasSuffix(copies[0].To, "nginx@"+digest) || strings.Contains(copies[0].To, ":1@") {
			t.Errorf("flat %v: copies %v", flat, copies)
		}
	}
}

// Images of volumes are found and renamed in all kinds that have pods, also in pods without another image of the registry. Those of custom
// resources are reported.
func TestImagesOfVolumes(t *testing.T) {
	t.Parallel()
	const volumes = `volumes: [{name: w, emptyDir: {}}, {name: v, image: {reference: "quay.io/org/model:1", pullPolicy: Always}}]`
	pod := `{containers: [{name: a, image: "nginx:1"}], ` + volumes + `}`
	other := strings.ReplaceAll(pod, "model", "other")
	text := `{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: ` + pod + `}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: n}, spec: {template: {spec: ` + pod + `}}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {jobTemplate: {spec: {template: {spec: ` + pod + `}}}}}
---
{apiVersion: example.com/v1, kind: Rollout, metadata: {name: r}, spec: {template: {spec: ` + other + `}}}
`
	found := rewrite.Find([]rewrite.File{{Path: "all.yaml", Data: []byte(text)}})
	if len(found.Images) != 2 || found.Images[1].String() != "quay.io/org/model:1" || len(found.Images[1].Objects) != 3 {
		t.Fatalf("got %+v", found.Images)
	}
	if len(found.Unseen) != 1 || found.Unseen[0].Path != "spec.template.spec.volumes[1].image.reference" || found.Unseen[0].Kind != "Rollout" {
		t.Errorf("unseen: %+v", found.Unseen)
	}
	renames := proxy.Renames(found.Images, func(r rewrite.Reference) bool { return r.Host == "quay.io" })
	got := build(t, overlays(t, text, renames, found), rewrite.DownstreamDir)
	for part, want := range map[string]int{"reference: " + proxy.Host + "/proxy/" + proxy.Slug + "/quay.io/org/model:1\n": 3,
		"reference: quay.io/org/other:1\n": 1, "pullPolicy: Always": 4, "emptyDir: {}": 4, "name: " + proxy.Slug + "-registry\n": 5} {
		if n := strings.Count(got, part); n != want {
			t.Errorf("%q is there %d times, want %d:\n%s", part, n, want, got)
		}
	}
}

// Images that are on the host of the customer's registry are copied below its namespace too. Those that are there stay: a second rewrite
// changes nothing.
func TestImagesOfTheHostOfTheLocalRegistry(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		local       rewrite.Local
		image, want string // want "" for one that stays
	}{
		{rewrite.Local{Host: "r.local:5000", Namespace: "far"}, "r.local:5000/shop/api:1", "r.local:5000/far/shop/api:1"},
		{rewrite.Local{Host: "r.local:5000", Namespace: "far"}, "r.local:5000/farther/api:1", "r.local:5000/far/farther/api:1"},
		{rewrite.Local{Host: "r.local:5000", Namespace: "far"}, "r.local:5000/far:1", "r.local:5000/far/far:1"},
		{rewrite.Local{Host: "r.local:5000", Namespace: "far", Flat: true}, "r.local:5000/shop/api:1", "r.local:5000/far/api:1"},
		{rewrite.Local{Host: "r.local:5000", Namespace: "far"}, "r.local:5001/far/api:1", "r.local:5000/far/far/api:1"},
		{rewrite.Local{Host: "r.local:5000", Namespace: "far"}, "r.local:5000/far/shop/api:1", ""},
		{rewrite.Local{Host: "r.local:5000"}, "r.local:5000/shop/api:1", ""},
		{rewrite.Local{Host: "docker.io", Namespace: "me"}, "me/api:1", ""},
		{rewrite.Local{Host: "docker.io", Namespace: "me"}, "nginx:1", "docker.io/me/library/nginx:1"},
	} {
		r, err := rewrite.ParseReference(tt.image)
		if err != nil {
			t.Fatal(err)
		}
		renames, copies, err := tt.local.Renames([]rewrite.Image{{Reference: r}})
		if err != nil || (tt.want == "") != (len(renames)+len(copies) == 0) || len(copies) == 1 && copies[0].To != tt.want {
			t.Errorf("%s to %+v: got %v, %v, %v, want %q", tt.image, tt.local, renames, copies, err, tt.want)
		}
	}
}

func TestLocalNamesThatCollideAreRefused(t *testing.T) {
	t.Parallel()
	found := rewrite.Find([]rewrite.File{{Path: "a.yaml", Data: []byte(`{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers:
		[{image: "quay.io/one/app:1"}, {image: "ghcr.io/two/app:1"}]}}`)}})
	_, _, err := rewrite.Local{Host: "l:1", Flat: true}.Renames(found.Images)
	if err == nil || !strings.Contains(err.Error(), "ghcr.io/two/app and quay.io/one/app would both be l:1/app") {
		t.Errorf("got %v", err)
	}
	if _, _, err := (rewrite.Local{Host: "l:1"}).Renames(found.Images); err != nil {
		t.Error(err)
	}
}

func TestP14ImageOfAnUnreachableRegistryIsPrivate(t *testing.T) {
	t.Parallel()
	for verdict, want := range map[rewrite.Verdict]bool{rewrite.Pulled: false, rewrite.NoPlatform: false, rewrite.Refused: true} {
		d := rewrite.Decide(verdict, errors.New("connection refused"))
		if d.Private != want || d.Why == "" || want && !strings.Contains(d.Why, "connection refused") {
			t.Errorf("%d: %+v", verdict, d)
		}
	}
}

func TestObjectsWithoutNameAreReported(t *testing.T) {
	t.Parallel()
	found := rewrite.Find([]rewrite.File{{Path: "a.yaml", Data: []byte("{apiVersion: batch/v1, kind: Job, metadata: {generateName: a-}, " +
		"spec: {template: {spec: {containers: [{image: a}]}}}}")}})
	patches, unpatched := rewrite.Patches(found.Objects, "s")
	if len(patches) > 0 || len(unpatched) != 1 {
		t.Errorf("got %v, %v", patches, unpatched)
	}
}

func TestP12DownstreamIsTheCustomers(t *testing.T) {
	t.Parallel()
	found := rewrite.Find(files())
	all := overlays(t, manifests, nil, found)
	i := slices.IndexFunc(all, func(f rewrite.File) bool { return f.Path == rewrite.DownstreamDir+"/kustomization.yaml" })
	all[i].Data = append(all[i].Data, "replicas: [{name: web, count: 2}]\n"...)
	if text := build(t, all, rewrite.DownstreamDir); !strings.Contains(text, "replicas: 2") {
		t.Errorf("the change of the customer is not in the build:\n%s", text)
	}
}

// Images of the proxy and of the vendor's registry stay as they are, also at a port; an image without a host is one of neither.
func TestImagesThatTheProxyServes(t *testing.T) {
	for _, tt := range []struct {
		proxy rewrite.Proxy
		image string
		want  bool
	}{
		{rewrite.Proxy{Host: "proxy.example.com", Vendor: "images.example.com"}, "proxy.example.com/proxy/shop/a", true},
		{rewrite.Proxy{Host: "proxy.example.com", Vendor: "images.example.com"}, "images.example.com/shop/a", true},
		{rewrite.Proxy{Host: "localhost:5100"}, "localhost:5100/shop/a:1", true},
		{rewrite.Proxy{Host: "localhost:5100"}, "localhost:5101/shop/a:1", false},
		{rewrite.Proxy{Host: "proxy.example.com"}, "nginx", false},
	} {
		r, err := rewrite.ParseReference(tt.image)
		if got := tt.proxy.Serves(r); err != nil || got != tt.want {
			t.Errorf("%s at %+v: got %t, %v, want %t", tt.image, tt.proxy, got, err, tt.want)
		}
	}
}
