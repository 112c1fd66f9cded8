package apptemplate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
)

func TestFromCompose(t *testing.T) {
	t.Parallel()
	services, findings := apptemplate.ParseCompose([]byte(`
services:
  web:
    build: {context: ./web, dockerfile: Dockerfile.prod, target: run, args: {VERSION: "2", EMPTY: }}
    ports: ["8080:80", "9000-9002:9000-9002", {target: 81, published: 81}, "53:53/udp"]
    entrypoint: /bin/run --now
    command: ["serve", "a b"]
    depends_on: {db: {condition: service_healthy}}
    environment: {A: b}
    healthcheck: {test: curl -f http://localhost/ || exit 1, interval: 1m30s, timeout: 500ms, retries: 3, start_period: 10s}
    deploy: {replicas: 2, resources: {limits: {cpus: "0.5", memory: 512M}}}
  db:
    image: "postgres:${PG:-16}"
    ports: ["5432"]
  api:
    build: api
`), nil)
	if apptemplate.Failed(findings) || len(services) != 3 {
		t.Fatalf("got %+v\n%s", services, show(findings))
	}
	for _, want := range []string{"environment: is not taken over", "PG has its default, 16", "a port of UDP", "EMPTY has no value"} {
		if !strings.Contains(show(findings), want) {
			t.Errorf("got\n%s\nwant %q in it", show(findings), want)
		}
	}
	text, err := apptemplate.FromCompose(services, apptemplate.Start{App: "shop", Repo: "org/shop"})
	if err != nil {
		t.Fatal(err)
	}
	got, findings := apptemplate.Parse(text)
	if len(findings) > 0 {
		t.Fatalf("the template of a file of compose has findings:\n%s\n%s", show(findings), text)
	}
	var images []string
	for _, i := range got.Images() {
		images = append(images, i.Repository.String()+" "+i.Build.Context+" "+i.Build.Dockerfile+" "+strings.Join(i.Build.Args, ","))
	}
	if want := []string{"org/shop/web web web/Dockerfile.prod VERSION=2", "org/shop/api api  "}; !slices.Equal(images, want) {
		t.Errorf("got %q, want %q", images, want)
	}
	if s := got.Services[0]; s.Replicas != 2 || s.Limits.Memory != "512Mi" || s.Limits.CPU != "0.5" ||
		!slices.Equal(s.Command, []string{"/bin/run", "--now"}) || !slices.Equal(s.Args, []string{"serve", "a b"}) || len(s.Ports) != 5 {
		t.Errorf("got %+v", s)
	}
	probe := apptemplate.Probe{Command: []string{"/bin/sh", "-c", "curl -f http://localhost/ || exit 1"}, Period: 90, Timeout: 1, Failures: 3,
		Delay: 10}
	if s := got.Services[0]; s.Readiness == nil || !cmp.Equal(*s.Readiness, probe) {
		t.Errorf("the healthcheck: got %+v, want %+v", s.Readiness, probe)
	}
	if s := got.Services[1]; s.Image != "postgres:16" || s.HasRepo {
		t.Errorf("got %+v", s)
	}
	if i, j := strings.Index(string(text), "services.db"), strings.Index(string(text), "services.web"); i < 0 || j < i {
		t.Errorf("the workflow starts web before db, on which it depends:\n%s", text)
	}
}

func TestBadCompose(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"version: '3'":                                                        "services: is missing",
		"services: [a]":                                                       "must be a mapping",
		"services: {a: {}}":                                                   "neither an image nor a build",
		"services: {a: {image: 'x:$TAG'}}":                                    "$TAG has no default",
		"services: {a: {image: 'x:${TAG}'}}":                                  "has no default",
		"services: {a: {image: 'x:${TAG:-${OTHER}}'}}":                        "${OTHER} has no default",
		"services: {'a b': {image: x}}":                                       "at most 63 letters",
		"services: {a: &x {image: y, extends: *x}}":                           "extends.service: is missing",
		"services: {a: {extends: b}}":                                         `there is no service "b"`,
		"services: {a: {extends: b}, b: {extends: a}}":                        "extend each other",
		"services: {a: {extends: {file: b.yaml, service: b}}}":                "is not followed, because it is in another file",
		"services: {a: {build: {context: ., dockerfile_inline: FROM x}}}":     "dockerfile_inline: is not taken over",
		"services: {a: {image: y, env_file: [a.env]}}":                        "env_file: is not taken over",
		"services: {a: {image: y, ports: ['1-200:1-200']}}":                   "no range of at most 100",
		"services: {a: {image: y, ports: ['[::1']}}":                          "it is no port",
		"services: {a: {image: y, ports: [x]}}":                               `"x" is no port`,
		"services: {a: {image: y, healthcheck: {test: [x]}}}":                 "begins with none of CMD",
		"services: {a: {image: y, healthcheck: {test: x, interval: 1}}}":      "it is no time",
		"services: {a: {image: 'x:${TAG:?name it}'}}":                         "the variable TAG has no value: name it",
		"services: {a: {image: 'x:${TAG'}}":                                   "does not end",
		"services: {a: {image: 'x:${}'}}":                                     "begins no variable",
		"services: {a: {image: 'x:" + strings.Repeat("${A:-", 40) + "'}}":     "begins no variable",
		"services: {a: {image: y, scale: x}}":                                 "must be a number from 0 to 10000",
		"include: [b.yaml]\nservices: {a: {image: y}}":                        "include: is not followed",
		"services: {a: {image: y, command: \"'\"}}":                           "a quote does not end",
		"services: {a: {image: y, deploy: {resources: {limits: {cpus: x}}}}}": "no number of processors",
		"services: {a: {image: y, mem_limit: lots}}":                          "it is no size",
		"services: {a: {image: y, entrypoint: \"'\"}}":                        "a quote does not end",
		"services: {a: {image: y, entrypoint: []}}":                           "services.a.entrypoint: is empty, which is not taken over",
		"services:\n  a:\n    image: y\n    depends_on:\n    - no":            "5:error:services.a.depends_on: there is no service \"no\"",
		"services:\n  a:\n    image: y\n    depends_on:\n      no: {}":        "5:error:services.a.depends_on: there is no service \"no\"",
		"services:\n  a:\n    ports: ['1']":                                   "2:error:services.a: has neither an image nor a build",
	} {
		if _, findings := apptemplate.ParseCompose([]byte(text), nil); !strings.Contains(show(findings), want) {
			t.Errorf("%s: got %s, want %s", text, show(findings), want)
		}
	}
	services, _ := apptemplate.ParseCompose([]byte("services: {a: {build: ../x}}"), nil)
	if _, err := apptemplate.FromCompose(services, apptemplate.Start{App: "a"}); err == nil || !strings.Contains(err.Error(), "not inside") {
		t.Errorf("a build outside of the repository: got %v", err)
	}
	for _, text := range []string{"services: {a: {build: 'https://github.com/o/r.git'}}", "services: {a: {build: 'git@github.com:o/r'}}",
		"services: {a: {image: x}, A: {image: y}}"} {
		services, _ := apptemplate.ParseCompose([]byte(text), nil)
		if _, err := apptemplate.FromCompose(services, apptemplate.Start{App: "a"}); err == nil {
			t.Errorf("%s: got a template", text)
		}
	}
}

// Each key that a template has no place for is reported with its line, once if many services have it. Values that Deployments have anyway,
// extensions, and dependencies that need not be there are not.
func TestKeysThatAreNotTakenOver(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"shm_size: 1g": "shm_size", "stop_signal: SIGINT": "stop_signal", "tty: true": "tty",
		"read_only: true": "read_only", "dns: 1.1.1.1": "dns",
		"platform: linux/arm64": "platform", "restart: on-failure": "restart", "logging: {driver: none}": "logging", "labels: [a]": "labels",
		"networks: [a]": "networks", "foo: bar": "foo", "deploy: {placement: {}}": "deploy.placement",
		"deploy: {restart_policy: {condition: none}}":       "deploy.restart_policy.condition",
		"deploy: {resources: {reservations: {memory: 1g}}}": "deploy.resources.reservations",
		"restart: always": "", "restart: unless-stopped": "", "platform: linux/amd64": "", "x-note: a": "",
		"deploy: {mode: replicated, restart_policy: {condition: any}}": "", "tty: false": "", "depends_on: {b: {required: false}}": "",
	} {
		_, findings := apptemplate.ParseCompose([]byte("services:\n  a:\n    image: y\n    "+text+"\n"), nil)
		if want != "" {
			want = "4:warning:services.a." + want + ": is not taken over: add it to the template by hand"
		}
		if got := strings.TrimSpace(show(findings)); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	var many strings.Builder
	for i := range 250 {
		fmt.Fprintf(&many, "  s%d:\n    image: y\n    tty: true\n", i)
	}
	_, findings := apptemplate.ParseCompose([]byte("foo: bar\nservices:\n"+many.String()), nil)
	want := "1:warning:foo: is not taken over: add it to the template by hand\n5:warning:services.s0.tty: is not taken over, nor is that of lines " +
		"8, 11, 14, 17, 20, 23, 26, 29, 32, 35, 239 more: add them to the template by hand"
	if got := strings.TrimSpace(show(findings)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// A file of compose as people write it: anchors, extends, profiles, variables of .env, ports in all forms, builds in all forms.
const written = `
name: shop
x-defaults: &defaults
  restart: unless-stopped
  env_file: [.env, {path: more.env, required: false}]
x-health: &health
  interval: 10s
  retries: 5
services:
  base:
    <<: *defaults
    build:
      context: ./api
      args: &args {VERSION: "${VERSION:-1}", TOKEN: }
    entrypoint: ["/bin/run"]
    command: --all
    ports: ["8080"]
    healthcheck: {<<: *health, test: [CMD, /bin/check]}
  api:
    extends: {service: base}
    build: {dockerfile: Dockerfile.prod, args: [MODE=prod]}
    command: ["--port", "${PORT:-8080}"]
    depends_on: [db, adminer]
    ports:
    - 3000
    - "3001-3002"
    - "8000:80"
    - "9090-9091:8081-8082"
    - "127.0.0.1:5001:5001"
    - "[::1]:5002:5002/tcp"
    - "6060:6060/udp"
    - "${PORT:-8080}:8080"
    - {target: "7000", published: "7000-7010", protocol: tcp, mode: host}
    - {target: 7001, host_ip: 127.0.0.1, published: 7001}
    - 22:22
    expose: ["9000", 9001/tcp]
    mem_limit: 1gb
    cpus: "0.25"
  db:
    image: "${REGISTRY}/postgres:${PG:-${FALLBACK:-15}}"
    command: echo $$HOME
    healthcheck: {disable: true}
    scale: "${N:-2}"
  worker:
    extends: base
    ports: !reset null
    healthcheck: {test: ["NONE"]}
    deploy: {replicas: "3"}
  adminer:
    image: adminer
    profiles: [debug]
`

func TestComposeAsWritten(t *testing.T) {
	t.Parallel()
	env,
		err := apptemplate.Variables([]byte("\ufeff# the registry\nexport REGISTRY='r.example.com' # ours\nPG=16 # version\nVERSION=\"2 #2\"\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	services, findings := apptemplate.ParseCompose([]byte(written), func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	})
	if apptemplate.Failed(findings) {
		t.Fatalf("got\n%s", show(findings))
	}
	text, err := apptemplate.FromCompose(services, apptemplate.Start{App: "shop", Repo: "org/shop"})
	if err != nil {
		t.Fatal(err)
	}
	got, findings := apptemplate.Parse(text)
	if len(findings) > 0 || len(got.Services) != 4 {
		t.Fatalf("the template: got %d services, %s\n%s", len(got.Services), show(findings), text)
	}
	by := map[string]apptemplate.Service{}
	for _, s := range got.Services {
		by[s.Name] = s
	}
	if s := by["api"]; s.Build.Context != "api" || s.Build.Dockerfile != "api/Dockerfile.prod" ||
		!slices.Equal(s.Build.Args, []string{"MODE=prod", "VERSION=2 #2"}) || !slices.Equal(s.Command, []string{"/bin/run"}) ||
		!slices.Equal(s.Args, []string{"--port", "8080"}) || s.Limits.CPU != "0.25" || s.Limits.Memory != "1Gi" || s.Readiness == nil ||
		s.Readiness.Failures != 5 {
		t.Errorf("api: got %+v, build %+v", s, s.Build)
	}
	var ports []string
	for _, p := range by["api"].Ports {
		text := fmt.Sprint(p.Target)
		if p.Node {
			text += "!"
		}
		ports = append(ports, text)
	}
	want := "8080! 3000 3001 3002 80! 8081! 8082! 5001 5002 7000! 7001 22! 9000 9001"
	slices.Sort(ports)
	sorted := strings.Fields(want)
	slices.Sort(sorted)
	if !slices.Equal(ports, sorted) {
		t.Errorf("the ports: got %q, want %q", ports, sorted)
	}
	if s := by["db"]; s.Image != "r.example.com/postgres:16" || !slices.Equal(s.Args, []string{"echo", "$HOME"}) || s.Readiness != nil ||
		s.Replicas != 2 {
		t.Errorf("db: got %+v", s)
	}
	if s := by["worker"]; !slices.Equal(s.Args, []string{"--all"}) || len(s.Ports) != 1 || s.Readiness != nil || s.Replicas != 3 {
		t.Errorf("worker: got %+v", s)
	}
	if strings.Contains(string(text), "adminer") {
		t.Errorf("the service with a profile is in the template:\n%s", text)
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"A": "line 1: want KEY=VALUE", "A=1\n=2": "line 2: want KEY=VALUE",
		"A='x":    "a quote does not end",
		"A='x' y": "text behind the closing quote", "A B=1": "want KEY=VALUE", strings.Repeat("\n", apptemplate.MaxFile+1): "more than"} {
		if _, err := apptemplate.Variables([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.50q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzVariables(f *testing.F) {
	f.Add([]byte("A=1\nexport B='x y' # z\nC=\"\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := apptemplate.Variables(text)
		for key, value := range all {
			if err == nil && (key == "" || strings.ContainsAny(value, "\n")) {
				t.Errorf("got %q=%q", key, value)
			}
		}
	})
}
