// Package charts_test compares what ecrin renders of charts with what the program helm renders.
package charts_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/helm"
)

// program returns the path of the program helm.
func program(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("helm"); err == nil {
		return path
	}
	dir, err := exec.Command("../../../tools/clients/install", "where").Output()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "helm-v*[0-9]"))
	if err != nil || len(found) == 0 {
		t.Fatal("helm is not installed: run tools/clients/install helm")
	}
	return found[len(found)-1]
}

// run runs helm in a folder.
func run(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// documents returns the documents of a text, without blank lines around them.
func documents(text string) (all []string) {
	for d := range strings.SplitSeq("\n"+text, "\n---\n") {
		if d = strings.TrimSpace(d); d != "" {
			all = append(all, d)
		}
	}
	return all
}

const (
	deployment = `{{- range $i, $name := .Values.names }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "shop.name" $ }}-{{ $name | lower | trunc 20 }}
  labels: {{- include "shop.labels" $ | nindent 4 }}
spec:
  replicas: {{ $.Values.replicas | default 2 }}
  template:
    spec:
      containers:
      - name: {{ $name | quote }}
        image: "{{ $.Values.global.registry }}/{{ $.Values.image.repository }}:{{ $.Values.image.tag | default $.Chart.AppVersion }}"
        env: {{- toYaml $.Values.env | nindent 10 }}
        args: [{{ tpl $.Values.argument $ | quote }}, {{ printf "%s-%d" $.Release.Name (int $.Values.port) | squote }}]
        {{- with $.Values.resources }}
        resources: {{ toYaml . | nindent 10 }}
        {{- end }}
{{- end }}
`
	helpers = `{{- define "shop.name" -}}{{ .Release.Name }}-{{ .Chart.Name }}{{- end -}}
{{- define "shop.labels" -}}
app: {{ include "shop.name" . }}
version: {{ .Chart.Version | quote }}
service: {{ .Release.Service }}
ns: {{ .Release.Namespace }}
root: {{ .Chart.IsRoot }}
{{- end -}}`
	everything = `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-all
data:
  json: {{ toJson .Values.env | quote }}
  missing: "{{ .Values.nothing }}"
  deep: "{{ (.Values.nothing).more }}"
  sum: {{ .Values.env | toYaml | sha256sum }}
  has: {{ .Capabilities.APIVersions.Has "apps/v1" | quote }}
  kube: {{ .Capabilities.KubeVersion.Version }} {{ .Capabilities.KubeVersion.Major }}.{{ .Capabilities.KubeVersion.Minor }}
  newer: {{ semverCompare ">=1.30-0" .Capabilities.KubeVersion.GitVersion | quote }}
  revision: "{{ .Release.Revision }} {{ .Release.IsInstall }} {{ .Release.IsUpgrade }}"
  template: {{ .Template.Name }} {{ .Template.BasePath }}
  file: {{ .Files.Get "files/a.txt" | quote }}
  lines: {{ .Files.Lines "files/a.txt" | join "|" | quote }}
  lookup: {{ (lookup "v1" "Secret" "x" "y") | toJson | quote }}
  float: "{{ .Values.big }} {{ .Values.small }} {{ .Values.port }}"
  list: {{ until 4 | join "," | quote }} 
  seq: {{ seq 3 | quote }}
  cat: {{ cat "a" 1 "b" | quote }}
  nested: {{ (fromYaml "a: {b: 3}").a.b | quote }}
  toml: {{ toToml (dict "a" "b") | quote }}
  array: {{ fromJsonArray "[1,2]" | toJson | quote }}
  ternary: {{ ternary "yes" "no" .Values.flag }}
  dig: {{ dig "a" "b" "none" .Values.env | quote }}
  replaced: {{ "a.b.c" | replace "." "-" }}
  regex: {{ regexReplaceAll "[^a-z]" "a1b2" "" }}
  dns: "{{ getHostByName "example.com" }}"
  pretty: |
    {{- toYamlPretty .Values.env | nindent 4 }}
{{ (.Files.Glob "files/**.txt").AsConfig | indent 2 }}
---
apiVersion: v1
kind: Secret
metadata: {name: files}
data:
{{ (.Files.Glob "{files,more}/?.txt").AsSecrets | indent 2 }}
`
	hook = `apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations:
    helm.sh/hook: pre-install, pre-upgrade
    helm.sh/hook-weight: "-5"
`
)

// charts are folders of charts, by name, with the values to render each with.
var charts = map[string]struct {
	files  map[string]string
	values string
	fails  bool // helm refuses it too
}{
	"everything": {files: map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.2.3\nappVersion: \"7.1\"\n",
		"values.yaml": "names: [Web, api]\nreplicas: 3\nport: 8080\nbig: 12345678\nsmall: 0.1\nflag: true\nglobal: {registry: r.example.com}\n" +
			"image: {repository: a/b}\nenv: {A: x, list: [1, two, null], n: null}\nargument: '{{ .Release.Name }}-{{ .Values.port }}'\n" +
			"resources: {limits: {cpu: 100m}}\n",
		"templates/_helpers.tpl":  helpers,
		"templates/web.yaml":      deployment,
		"templates/all.yaml":      everything,
		"templates/job.yaml":      hook,
		"templates/unknown.yaml":  strings.Replace(hook, "pre-install, pre-upgrade", "crd-install", 1),
		"templates/NOTES.txt":     "Thank you",
		"templates/service.yaml":  "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n",
		"templates/zz.yaml":       "apiVersion: example.com/v1\nkind: Zebra\nmetadata: {name: z}\n---\napiVersion: example.com/v1\nkind: Ape\nmetadata: {name: a}\n",
		"templates/role.yaml":     "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\n",
		"templates/namespace.yml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n",
		"crds/a.yaml":             "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.example.com}\n",
		"files/a.txt":             "one\ntwo\n", "files/deep/b.txt": "b", "files/c.bin": "c", "more/d.txt": "d", "README.md": "# x",
	}, values: "replicas: 5\nenv: {A: null, B: \"{{ no }}\"}\nresources: null\n"},
	"charts in charts": {files: map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: top\nversion: 1.0.0\ndependencies:\n" +
			"- {name: sub, version: 1.x.x, repository: '', alias: first, condition: first.enabled}\n" +
			"- {name: sub, version: ~1, repository: '', alias: second, condition: 'none.at.all,second.enabled', import-values: [public, {child: inner, parent: from.second}]}\n" +
			"- {name: off, version: '*', repository: '', tags: [back, front]}\n- {name: lib, version: 0.1.0, repository: ''}\n",
		"values.yaml": "global: {registry: g.example.com, deep: {a: 1}}\ntags: {back: false}\nfirst: {enabled: true, v: from-parent}\n" +
			"second: {enabled: true, list: [1]}\nown: 1\n",
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: top}\ndata:\n  all: {{ .Values | toJson | quote }}\n" +
			"  sub: {{ .Subcharts.first.Values.v | quote }}\n  lib: {{ include \"lib.hello\" . }}\n  over: {{ include \"over\" . }}\n",
		"templates/_o.tpl":                "{{ define \"over\" }}top{{ end }}",
		"charts/sub/Chart.yaml":           "apiVersion: v2\nname: sub\nversion: 1.4.0\n",
		"charts/sub/values.yaml":          "enabled: false\nv: own\nw: [a]\nexports: {public: {imported: yes-it-is}}\ninner: {x: 1, n: null}\nglobal: {deep: {b: 2}, registry: no}\n",
		"charts/sub/templates/a.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Chart.Name }}}\ndata:\n  all: {{ .Values | toJson | quote }}\n  over: {{ include \"over\" . }} {{ .Template.Name }} {{ .Chart.IsRoot }}\n",
		"charts/sub/templates/_o.tpl":     "{{ define \"over\" }}sub{{ end }}",
		"charts/sub/crds/c.yaml":          "kind: CustomResourceDefinition\napiVersion: apiextensions.k8s.io/v1\nmetadata: {name: c.example.com}\n",
		"charts/off/Chart.yaml":           "apiVersion: v2\nname: off\nversion: 3.0.0\n",
		"charts/off/templates/a.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: off}\n",
		"charts/lib/Chart.yaml":           "apiVersion: v2\nname: lib\nversion: 0.1.0\ntype: library\n",
		"charts/lib/templates/_h.tpl":     "{{ define \"lib.hello\" }}hello{{ end }}",
		"charts/_hidden/Chart.yaml":       "x",
		"charts/undeclared/Chart.yaml":    "apiVersion: v2\nname: undeclared\nversion: 1.0.0\n",
		"charts/undeclared/templates/a.y": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: undeclared-{{ .Values.global.registry }}}\n",
	}, values: "first: {v: null, extra: {a: [1, {b: c}]}}\nsecond: {w: null}\nglobal: {deep: {c: 3}}\n"},
	"an old chart": {files: map[string]string{
		"Chart.yaml":                "name: old\nversion: 0.1.0\n",
		"requirements.yaml":         "dependencies:\n- {name: sub, version: 1.0.0, repository: 'http://x', condition: sub.on}\n",
		"values.yaml":               "sub: {on: true}\n",
		"templates/a.yaml":          "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {f: {{ .Files.Get \"requirements.yaml\" | quote }}, v: {{ .Chart.APIVersion }}}\n",
		"charts/sub/Chart.yaml":     "name: sub\nversion: 1.0.0\n",
		"charts/sub/templates/a.ym": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
	}, values: "{}"},
	"a required value": {files: failing(`{{ required "give a name" .Values.name }}`), fails: true, values: "{}"},
	"a failure":        {files: failing(`{{ fail "not here" }}`), fails: true, values: "{}"},
	"another cluster": {
		files: map[string]string{"Chart.yaml": "apiVersion: v2\nname: x\nversion: 1.0.0\nkubeVersion: '>=9.0.0'\n"}, fails: true, values: "{}"},
	"no function":       {files: failing(`{{ env "HOME" }}`), fails: true, values: "{}"},
	"values of a chart": {files: failing(`x`), fails: true, values: "sub: 1"},
	"itself":            {files: failing(`{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`), fails: true, values: "{}"},
}

func failing(text string) map[string]string {
	return map[string]string{"Chart.yaml": "apiVersion: v2\nname: x\nversion: 1.0.0\n", "templates/a.yaml": text + "\n",
		"charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n"}
}

func TestChartsAreRenderedAsHelmDoes(t *testing.T) {
	made := t.TempDir()
	if _, err := run(t, made, "create", "usual"); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(slices.Sorted(maps.Keys(charts)), "usual", "usual, with all") {
		t.Run(name, func(t *testing.T) {
			dir, one := t.TempDir(), charts[name]
			folder := filepath.Join(dir, "chart")
			if one.files == nil {
				folder, one.values = filepath.Join(made, "usual"), "{}"
				if name != "usual" {
					one.values = "ingress: {enabled: true, className: x}\nautoscaling: {enabled: true}\nreplicaCount: 4\npodAnnotations: {a: b}\n" +
						"resources: {limits: {cpu: 1}}\nlivenessProbe: null\nimagePullSecrets: [{name: a}]\n"
				}
			}
			for path, text := range one.files {
				path = filepath.Join(folder, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := run(t, dir, "package", folder, "-d", dir); err != nil {
				t.Fatal(err)
			}
			packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
			if err != nil || len(packed) != 1 {
				t.Fatal(packed, err)
			}
			if err := os.WriteFile(filepath.Join(dir, "values.yaml"), []byte(one.values), 0o644); err != nil {
				t.Fatal(err)
			}
			want, herr := run(t, dir, "template", "web", packed[0], "--values", "values.yaml", "--namespace", "apps", "--include-crds",
				"--kube-version", "v1.33.1")
			archive, err := os.ReadFile(packed[0])
			if err != nil {
				t.Fatal(err)
			}
			c, err := helm.Load(archive)
			var got []byte
			if err == nil {
				got, err = c.Render(t.Context(), []byte(one.values), helm.Options{Release: "web", Namespace: "apps", KubeVersion: "v1.33.1"})
			}
			if (herr != nil) != one.fails || (err != nil) != one.fails {
				t.Fatalf("helm says %v, ecrin %v", herr, err)
			}
			if one.fails {
				t.Logf("helm: %v\necrin: %v", herr, err)
			}
			if d := cmp.Diff(documents(want), documents(string(got))); d != "" {
				t.Errorf("helm has -, ecrin has +:\n%s", d)
			}
		})
	}
}
