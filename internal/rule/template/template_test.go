package template_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/template"
)

const digest = "sha256:0a420a73a4e564a1a1d54a265d7975aa913d25b8506919b6405f3146c47fb79e"

func values() template.Values {
	return template.Values{
		Proxy:       rewrite.Proxy{Host: "proxy.example.com", Slug: "shop", Vendor: "images.vendor.example", StandardAt: "registry.example.com"},
		Private:     func(r rewrite.Reference) bool { return strings.HasSuffix(r.Host, ".amazonaws.com") },
		LicenseAuth: []byte("licence"), LocalAuth: []byte("local"), Channel: "Stable", VersionLabel: "1.2", Sequence: 4, Cursor: "9",
		Field: func(name string) string { return map[string]string{"seats": "25"}[name] },
		Helm:  func(path string) any { return map[string]any{".image.tag": "1.27"}[path] },
	}
}

func render(t *testing.T, text string, v template.Values) string {
	t.Helper()
	out, err := template.Render("a.yaml", []byte(text), v)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return string(out)
}

func TestP13LocalImageName(t *testing.T) {
	t.Parallel()
	const private = "499999999999.dkr.ecr.us-east-2.amazonaws.com/demo-apps/nginx:2"
	local := values()
	local.Local = &rewrite.Local{Host: "registry.local", Namespace: "apps", Flat: true}
	paths := values()
	paths.Local = &rewrite.Local{Host: "registry.local"}
	public := values()
	public.ProxyPublic = true
	for _, tt := range []struct {
		name string
		v    template.Values
		text string
		want string
	}{
		{"a public image stays", values(), `LocalImageName "nginx:1"`, "nginx:1"},
		{"a private image is proxied", values(), `LocalImageName "` + private + `"`, "proxy.example.com/proxy/shop/" + private},
		{"a local registry, last parts", local, `LocalImageName "` + private + `"`, "registry.local/apps/nginx:2"},
		{"a local registry, paths", paths, `LocalImageName "` + private + `"`, "registry.local/demo-apps/nginx:2"},
		{"another place of the local registry", local, `LocalImageName "registry.local/shop/api:1"`, "registry.local/apps/api:1"},
		{"already the local name", local, `LocalImageName "registry.local/apps/api:1"`, "registry.local/apps/api:1"},
		{"a digest in a local registry", paths, `LocalImageName "quay.io/a/b:1@` + digest + `"`, "registry.local/a/b@" + digest},
		{"public images by the proxy", public, `LocalImageName "nginx:1"`, "proxy.example.com/proxy/shop/nginx:1"},
		{"the vendor's images at another host", values(), `LocalImageName "registry.example.com/shop/api:1"`, "images.vendor.example/shop/api:1"},
		{"already the proxy's name", values(), `LocalImageName "proxy.example.com/proxy/shop/a/b:1"`, "proxy.example.com/proxy/shop/a/b:1"},
		{"ReplicatedImageName", values(), `ReplicatedImageName "nginx:1"`, "proxy.example.com/proxy/shop/nginx:1"},
		{"ReplicatedImageName without the proxy", values(), `ReplicatedImageName "nginx:1" true`, "nginx:1"},
		{"ReplicatedImageName, local", local, `ReplicatedImageName "nginx:1" true`, "registry.local/apps/nginx:1"},
		{"ReplicatedImageRegistry", values(), `ReplicatedImageRegistry "ghcr.io"`, "proxy.example.com/proxy/shop/ghcr.io"},
		{"ReplicatedImageRegistry without the proxy", values(), `ReplicatedImageRegistry "ghcr.io" true`, "ghcr.io"},
		{"ReplicatedImageRegistry of the proxy", values(), `ReplicatedImageRegistry "proxy.example.com"`, "proxy.example.com"},
		{"ReplicatedImageRegistry, local", local, `ReplicatedImageRegistry "ghcr.io"`, "registry.local/apps"},
	} {
		if got := render(t, "image: repl{{ "+tt.text+" }}", tt.v); got != "image: "+tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if got := render(t, "image: {{repl "+tt.text+" }}", tt.v); got != "image: "+tt.want {
			t.Errorf("%s, the other delimiters: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestFunctionsOfRegistriesAndLicences(t *testing.T) {
	t.Parallel()
	const chart = `registry: '{{repl HasLocalRegistry | ternary LocalRegistryHost "proxy.example.com" }}'
repository: '{{repl HasLocalRegistry | ternary LocalRegistryNamespace "proxy/shop/ghcr.io/org" }}/nginx'
secret: repl{{ ImagePullSecretName }} repl{{ LocalRegistryImagePullSecret }} repl{{ LicenseDockerCfg }}
address: 'repl{{ LocalRegistryAddress }}' seats: repl{{ LicenseFieldValue "seats" }} none: '{{repl LicenseFieldValue "none" }}'
version: repl{{ ChannelName }} repl{{ VersionLabel }} repl{{ Sequence }} repl{{ Cursor }} repl{{ IsAirgap }} {{repl HelmValue ".image.tag" }}
helm: {{ .Values.untouched }}
`
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	want := `registry: 'proxy.example.com'
repository: 'proxy/shop/ghcr.io/org/nginx'
secret: shop-registry ` + b64("licence") + " " + b64("licence") + `
address: '' seats: 25 none: ''
version: Stable 1.2 4 9 false 1.27
helm: {{ .Values.untouched }}
`
	if got := render(t, chart, values()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	local := values()
	local.Local = &rewrite.Local{Host: "registry.local", Namespace: "apps"}
	got := render(t, chart, local)
	for _, part := range []string{"registry: 'registry.local'", "repository: 'apps/nginx'", b64("local"), "address: 'registry.local/apps'"} {
		if !strings.Contains(got, part) {
			t.Errorf("with a registry of the customer there is no %q in\n%s", part, got)
		}
	}
}

// Each function of the vendor's guide is there, with its result for a private image, and for a registry of the customer.
func TestEachFunctionOfTheGuide(t *testing.T) {
	t.Parallel()
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	const private, proxied = "quay.io/org/app:1", "proxy.example.com/proxy/shop/quay.io/org/app:1"
	for _, tt := range []struct{ text, proxy, local string }{
		{`LocalImageName "` + private + `"`, proxied, "registry.local/apps/org/app:1"},
		{`LocalImageName "nginx"`, "nginx", "registry.local/apps/library/nginx"},
		{`LocalRegistryAddress`, "", "registry.local/apps"},
		{`LocalRegistryHost`, "", "registry.local"},
		{`LocalRegistryNamespace`, "", "apps"},
		{`HasLocalRegistry`, "false", "true"},
		{`LocalRegistryImagePullSecret`, b64("licence"), b64("local")},
		{`ImagePullSecretName`, "shop-registry", "shop-registry"},
		{`LicenseDockerCfg`, b64("licence"), b64("licence")},
		{`LicenseFieldValue "seats"`, "25", "25"},
		{`ChannelName`, "Stable", "Stable"},
		{`VersionLabel`, "1.2", "1.2"},
		{`Sequence`, "4", "4"},
		{`Cursor`, "9", "9"},
		{`IsAirgap`, "false", "false"},
		{`ReplicatedImageName "` + private + `"`, proxied, "registry.local/apps/org/app:1"},
		{`ReplicatedImageName "` + private + `" true`, private, "registry.local/apps/org/app:1"},
		{`ReplicatedImageRegistry "quay.io"`, "proxy.example.com/proxy/shop/quay.io", "registry.local/apps"},
		{`ReplicatedImageRegistry "quay.io" true`, "quay.io", "registry.local/apps"},
		{`HelmValue ".image.tag"`, "1.27", "1.27"},
		// Of the library that vendors use, as far as the result depends on the arguments alone.
		{`ternary "a" "b" IsAirgap`, "b", "b"},
		{`list 1 2 3 | join "-"`, "1-2-3", "1-2-3"},
		{`until 3 | join ","`, "0,1,2", "0,1,2"},
		{`untilStep 4 0 -2 | join ","`, "4,2", "4,2"},
		{`seq 3`, "1 2 3", "1 2 3"},
		{`cat "a" nil 2`, "a 2", "a 2"},
		{`printf "%s-%d" "a" 3`, "a-3", "a-3"},
		{`concat (list 1) (list 2 3) | len`, "3", "3"},
		{`"a.b" | replace "." "-" | indent 2`, "  a-b", "  a-b"},
	} {
		v := values()
		v.Private = func(r rewrite.Reference) bool { return r.Host == "quay.io" }
		for _, want := range []string{tt.proxy, tt.local} {
			for _, form := range []string{"repl{{ %s }}", "{{repl %s }}"} {
				if got := render(t, fmt.Sprintf(form, tt.text), v); got != want {
					t.Errorf("%s, local %v: got %q, want %q", tt.text, v.Local, got, want)
				}
			}
			v.Local = &rewrite.Local{Host: "registry.local", Namespace: "apps"}
		}
	}
}

func TestTemplatesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"an unknown function":    "repl{{ Nothing }}",
		"no end":                 "repl{{ ChannelName",
		"the environment":        `repl{{ env "HOME" }}`,
		"the environment, again": `repl{{ expandenv "$HOME" }}`,
		"keys":                   `repl{{ genPrivateKey "rsa" }}`,
		"much text":              `repl{{ repeat 2000000000 "ab" }}`,
		"much text by nesting":   `repl{{ range $i, $x := splitList "" (repeat 30000 "a") }}repl{{ repeat 3000 "abcdefgh" }}repl{{ end }}`,
		"no image":               `repl{{ LocalImageName "A B" }}`,
		"long lists":             `repl{{ until 2000000000 }}`,
		"a deep indent":          `repl{{ indent 2000000000 "a" }}`,
		"a chart's value":        `repl{{ HelmValue ".a" }}`,
	} {
		v := values()
		v.Helm = nil
		if out, err := template.Render("a.yaml", []byte(text), v); err == nil {
			t.Errorf("%s: got %.80s, want an error", name, out)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add("image: repl{{ LocalImageName \"nginx\" }} {{repl if IsAirgap }}a{{repl end }}")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "range") || strings.Contains(text, "template") || strings.Contains(text, "block") {
			t.Skip() // loops and recursion end by the limit of the result, but late
		}
		_, _ = template.Render("a.yaml", []byte(text), values())
	})
}
