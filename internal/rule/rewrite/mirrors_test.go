package rewrite_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

func TestMirrorsKeepNames(t *testing.T) {
	t.Parallel()
	p := rewrite.Proxy{Host: "proxy.example.com", Slug: "shop", Names: map[string]string{"own.example:5000": "mine"}}
	var images []rewrite.Image
	for _, text := range []string{"redis:1", "docker.io/org/app", "quay.io/org/app:1", "quay.io/org/b", "own.example:5000/a",
		"none.example:1/a", "proxy.example.com/proxy/shop/x", "ghcr.io/public"} {
		r, err := rewrite.ParseReference(text)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, rewrite.Image{Reference: r})
	}
	hosts := p.MirrorHosts(images, func(r rewrite.Reference) bool { return r.Host != "ghcr.io" })
	if d := cmp.Diff([]string{"docker.io", "own.example:5000", "quay.io"}, hosts); d != "" {
		t.Error(d)
	}
	got := map[string]string{}
	for _, f := range p.Mirrors(hosts, rewrite.Auth{Username: "LICENSE_ID", Password: "id"}) {
		got[f.Path] = string(f.Data)
	}
	hostsFile := func(server, name string) string {
		at := `host."https://proxy.example.com/v2/proxy/shop/` + name + `"`
		return `server = "https://` + server + `"

[` + at + `]
  capabilities = ["pull", "resolve"]
  override_path = true
  [` + at + `.header]
    authorization = "Basic TElDRU5TRV9JRDppZA=="
`
	}
	mirror := func(host, name string) string {
		return "  " + host + ":\n    endpoint:\n      - https://proxy.example.com\n    rewrite:\n      ^(.*)$: proxy/shop/" + name + "/$1\n"
	}
	want := map[string]string{
		"mirrors/containerd/docker.io/hosts.toml":         hostsFile("registry-1.docker.io", "docker.io"),
		"mirrors/containerd/quay.io/hosts.toml":           hostsFile("quay.io", "quay.io"),
		"mirrors/containerd/own.example_5000_/hosts.toml": hostsFile("own.example:5000", "mine"),
		"mirrors/k3s/registries.yaml": "mirrors:\n" + mirror("docker.io", "docker.io") + mirror("own.example:5000", "mine") +
			mirror("quay.io", "quay.io") + "configs:\n  proxy.example.com:\n    auth:\n      password: id\n      username: LICENSE_ID\n",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
