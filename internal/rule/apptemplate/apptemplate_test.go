package apptemplate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
)

const voting = `app: voting
repo_name: Org/voting
auto_deploy: true
context: staging
environment_templates:
- name: ephemeral
- name: permanent
services:
- name: vote
  image: Org/voting/vote
  has_repo: true
  static: false
  build: {context: vote, args: [VERSION=1]}
  ports:
  - type: node_port
    target_port: '80'
    port: '5000'
  memory: {limits: 128Mi}
  depends_on: [redis]
- name: worker
  image: Org/voting/vote
  has_repo: true
  command: ["python", "work.py"]
- name: redis
  image: redis:7
- name: site
  static: true
  build_command: npm run build
  build_output_directory: dist
- name: vendorapp
  image: 222222222222.dkr.ecr.eu-west-2.amazonaws.com/vendorapp:latest
  has_repo: false
  static: false
builds:
- {name: tools, dockerfile: tools/Dockerfile}
jobs:
- {name: migrate, command: [./migrate], from_services: vote, halt_on_error: true}
workflows:
- name: setup
  parallelize:
  - {step: all, tasks: [jobs.migrate, services.all]}
`

func show(all []apptemplate.Finding) string {
	var lines []string
	for _, f := range all {
		lines = append(lines, fmt.Sprintf("%d:%s:%s: %s", f.Line, f.Severity, f.Path, f.Text))
	}
	return strings.Join(lines, "\n")
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	got, findings := apptemplate.Parse([]byte(voting))
	if len(findings) > 0 {
		t.Errorf("got findings, want none:\n%s", show(findings))
	}
	if got.App != "voting" || got.Context != "staging" || !slices.Equal(got.Environments, []string{"ephemeral", "permanent"}) {
		t.Errorf("got %+v", got)
	}
	var images []string
	for _, i := range got.Images() {
		images = append(images, i.Repository.String()+"="+strings.Join(i.Services, ","))
	}
	if want := []string{"org/voting/vote=vote,worker", "org/voting/tools="}; !slices.Equal(images, want) {
		t.Errorf("built images: got %q, want %q", images, want)
	}
	port := apptemplate.Port{Target: 80, Port: 5000, Node: true}
	if s := got.Services[0]; s.Limits.Memory != "128Mi" || len(s.Ports) != 1 || s.Ports[0] != port {
		t.Errorf("the service vote: got %+v", s)
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	const head = "environment_templates: [{name: ephemeral}]\n"
	for _, c := range []struct{ text, want string }{
		{"", "0:error:: the file is empty"},
		{"a: [", "1:error:: it is no YAML"},
		{"- a", "1:error:: must be a mapping, got a list"},
		{"app: x", "1:error:environment_templates: is missing"},
		{head + "services: {}", "2:error:services: must be a list, got a mapping"},
		{head + "services:\n- {name: a, image: b, imge: c}",
			`3:warning:services[0].imge: the key is not known, and does nothing: did you mean image?`},
		{head + "services:\n- {name: a, image: b, Has_Repo: true}",
			`3:warning:services[0].Has_Repo: the key is not known, and does nothing: did you mean has_repo?`},
		{head + "Services: []", `2:warning:Services: the key is not known, and does nothing: did you mean services?`},
		{head + "services:\n- name: a\n  static: true\n  image: b",
			"5:warning:services[0].image: a static service runs no container: its image is not used"},
		{head + "services:\n- name: a\n  has_repo: true\n  image: ghcr.io/o/a", "5:error:services[0].image: has_repo is true"},
		{head + "services:\n- name: a\n  has_repo: true\n  image: o/a:1.0", "has a tag or a digest"},
		{head + "services:\n- name: a", "3:error:services[0].image: is missing"},
		{head + "services:\n- {name: a, image: null}", "3:error:services[0].image: is missing"},
		{head + "services:\n- {name: a, image: 'B A'}", "3:error:services[0].image: is no name of an image"},
		{head + "services:\n- {name: a, image: b}\n- {name: A, image: b}", "4:error:services[1].name: the name is there twice"},
		{head + "services:\n- {name: a, image: b, image: c}", "3:error:services[0].image: the key is there twice"},
		{head + "services:\n- {image: b}", "3:error:services[0].name: is missing"},
		{head + "services:\n- {name: a, image: b, has_repo: yes}", `3:error:services[0].has_repo: must be true or false, got "yes"`},
		{head + "services:\n- {name: a, image: b, ports: [{target_port: 70000}]}", "target_port: must be a number from 1 to 65535"},
		{head + "services:\n- {name: a, image: b, ports: [{type: host, target_port: 7}]}", "must be node_port or container_port"},
		{head + "services:\n- {name: a, image: b, depends_on: [c]}", `depends_on[0]: there is no service "c"`},
		{head + "services:\n- {name: a, has_repo: true, build: {context: ../x}}", "must be a path inside of the repository"},
		{head + "services:\n- {name: a, has_repo: true, image: o/r/Web}\n- {name: b, has_repo: true, image: o/r/web}",
			"4:error:services: the images o/r/Web and o/r/web"},
		{head + "services:\n- {name: a, has_repo: true, image: '%%'}", "cannot be made the name of a repository"},
		{head + "services:\n- {name: a, image: b, memory: {limits: lots}}", "must be a quantity"},
		{head + "jobs: [{name: j, from_services: a}]", `there is no service "a"`},
		{head + "services: [{name: a, image: b}]\nworkflows: [{name: setup, parallelize: [{step: s, tasks: [services.c]}]}]",
			`there is no service "c"`},
		{"environment_templates: [{name: ephemeral}, {name: ephemeral}]", "the name is there twice"},
		{"environment_templates: [{name: often}]", `1:warning:environment_templates[0].name: is "often"`},
		{strings.Repeat("#", apptemplate.MaxFile+1), "the file has more than"},
	} {
		_, findings := apptemplate.Parse([]byte(c.text))
		got := show(findings)
		if !strings.Contains(got, c.want) {
			t.Errorf("%.200s\ngot\n%s\nwant\n%s", c.text, got, c.want)
		}
		if strings.Count(got, "\n") > 1 {
			t.Errorf("%.200s\ngot %d findings for one mistake:\n%s", c.text, 1+strings.Count(got, "\n"), got)
		}
	}
}

// A key that a mapping merges counts, and one of its own counts more.
func TestMergedKeys(t *testing.T) {
	t.Parallel()
	got, findings := apptemplate.Parse([]byte("environment_templates: [{name: ephemeral}]\nservices:\n" +
		"- &base {name: a, image: b, replicas: 2}\n- {<<: *base, name: c}\n- {name: d, <<: [*base]}\n"))
	if len(findings) > 0 || len(got.Services) != 3 || got.Services[1].Name != "c" || got.Services[1].Image != "b" ||
		got.Services[2].Name != "d" || got.Services[2].Replicas != 2 {
		t.Errorf("got %+v\n%s", got.Services, show(findings))
	}
}

// Aliases that would make a small file a large one end the reading, and so do aliases that contain themselves.
func TestAliasBombs(t *testing.T) {
	t.Parallel()
	var bomb strings.Builder
	bomb.WriteString("environment_templates: [{name: ephemeral}]\nvolumes:\n- &p {target_port: 1}\n- &ports [")
	bomb.WriteString(strings.Repeat("*p, ", 400) + "]\n- &s {name: a, image: b, ports: *ports}\nservices: [")
	bomb.WriteString(strings.Repeat("*s, ", 400) + "]\n")
	_, findings := apptemplate.Parse([]byte(bomb.String()))
	if got := show(findings); !apptemplate.Failed(findings) || !strings.Contains(got, "aliases make the file larger") {
		t.Errorf("got\n%.2000s", got)
	}
	for _, text := range []string{"services: &a [*a]", "&a\nservices: *a", "services:\n- &a {<<: *a, name: b, image: c}",
		"builds: &a [&b {args: *b, <<: [*b, *a]}]"} {
		_, findings := apptemplate.Parse([]byte(text))
		if !apptemplate.Failed(findings) {
			t.Errorf("%s: got no error", text)
		}
	}
}

// R9: names of repositories are in lower case, with - for what they cannot have.
func TestR9RepositoryNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ logical, want string }{
		{"Org/Repo/frontendTests", "org/repo/frontendtests"},
		{"org/repo/My Service!", "org/repo/my-service"},
		{"org/a__b/c--d..e", "org/a-b/c-d-e"},
		{"//org//x_y/-z-", "org/x_y/z"},
		{"org/über", "org/ber"},
		{"a", ""}, {"%%", ""}, {"", ""}, {strings.Repeat("ab/", 100), ""},
	} {
		got, err := apptemplate.Repository(c.logical)
		if got.String() != c.want && err == nil || (err != nil) != (c.want == "") {
			t.Errorf("%q: got %q and %v, want %q", c.logical, got, err, c.want)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	got, findings := apptemplate.ParseSettings([]byte("compose: docker-compose.yml\napplication_template: .release/app.yaml\n"))
	if len(findings) > 0 || got.Compose != "docker-compose.yml" || got.Template != ".release/app.yaml" {
		t.Errorf("got %+v\n%s", got, show(findings))
	}
	for text, want := range map[string]string{
		"application_template: ../x": "must be a path inside", "application_template: /etc/passwd": "must be a path inside",
		"Compose: x": "did you mean compose?", "compose: [x]": "must be a text",
	} {
		if _, findings := apptemplate.ParseSettings([]byte(text)); !strings.Contains(show(findings), want) {
			t.Errorf("%s: got %s, want %s", text, show(findings), want)
		}
	}
}

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
    deploy: {replicas: 2, resources: {limits: {cpus: "0.5", memory: 512M}}}
  db:
    image: "postgres:${PG:-16}"
    ports: ["5432"]
  api:
    build: api
`))
	if apptemplate.Failed(findings) || len(services) != 3 {
		t.Fatalf("got %+v\n%s", services, show(findings))
	}
	for _, want := range []string{"environment: is not taken over", "PG has its default, 16", "no single port", "a port of UDP"} {
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
		!slices.Equal(s.Command, []string{"/bin/run", "--now"}) || !slices.Equal(s.Args, []string{"serve", "a b"}) || len(s.Ports) != 2 {
		t.Errorf("got %+v", s)
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
		"version: '3'":                                 "services: is missing",
		"services: [a]":                                "must be a mapping",
		"services: {a: {}}":                            "neither an image nor a build",
		"services: {a: {image: 'x:$TAG'}}":             "without a default",
		"services: {a: {image: 'x:${TAG}'}}":           "has no default",
		"services: {a: {image: 'x:${TAG:-${OTHER}}'}}": "has no default",
		"services: {'a b': {image: x}}":                "at most 63 letters",
		"services: {a: &x {image: y, extends: *x}}":    "is not followed",
		"services: {a: {image: y, entrypoint: \"'\"}}": "a quote does not end",
	} {
		if _, findings := apptemplate.ParseCompose([]byte(text)); !strings.Contains(show(findings), want) {
			t.Errorf("%s: got %s, want %s", text, show(findings), want)
		}
	}
	services, _ := apptemplate.ParseCompose([]byte("services: {a: {build: ../x}}"))
	if _, err := apptemplate.FromCompose(services, apptemplate.Start{App: "a"}); err == nil || !strings.Contains(err.Error(), "not inside") {
		t.Errorf("a build outside of the repository: got %v", err)
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"":                       nil,
		"npm  start":             {"npm", "start"},
		`sh -c "a 'b' \"c\" \n"`: {"sh", "-c", `a 'b' "c" \n`},
		`a\ b '' 'c\'`:           {"a b", "", `c\`},
	} {
		if got, err := apptemplate.Words(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q and %v, want %q", line, got, err, want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add([]byte(voting))
	f.Add([]byte("services: &a [&b {<<: [*b, *a]}]"))
	f.Add([]byte("services:\n  a: {image: '${A:-b}', build: {args: {a: 1}}, ports: ['1:2']}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, findings := apptemplate.Parse(text)
		if !apptemplate.Failed(findings) {
			for _, i := range got.Images() {
				if i.Repository.String() == "" {
					t.Errorf("an image without a repository: %+v", i)
				}
			}
		}
		lines := 1 + strings.Count(string(text), "\n") + strings.Count(string(text), "\r")
		for _, f := range findings {
			if f.Line < 0 || f.Line > lines+1 {
				t.Errorf("a finding in line %d of %d: %s", f.Line, lines, f.Text)
			}
		}
		apptemplate.ParseSettings(text)
		services, findings := apptemplate.ParseCompose(text)
		if apptemplate.Failed(findings) {
			return
		}
		made, err := apptemplate.FromCompose(services, apptemplate.Start{App: "app"})
		if err != nil {
			return
		}
		if _, findings := apptemplate.Parse(made); strings.Contains(show(findings), "is no YAML") {
			t.Errorf("the template of a file of compose:\n%s\n%s", show(findings), made)
		}
	})
}
