package apptemplate_test

import (
	"encoding/json"
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
		{head + "services:\n- {name: a, image: b, readiness_probe: {period_seconds: 5}}",
			"3:error:services[0].readiness_probe: must have one of"},
		{head + "services:\n- {name: a, image: b, liveness_probe: {http_get: {path: /}}}",
			"3:error:services[0].liveness_probe.http_get.port: is missing"},
		{head + "services:\n- {name: a, image: b, liveness_probe: {Exec: {}, tcp_socket: {port: 1}}}", "did you mean exec?"},
		{head + "jobs: [{name: j, from_services: a}]", `there is no service "a"`},
		{head + "jobs: [{name: j}]", "2:error:jobs[0].from_services: is missing"},
		{head + "services: [{name: a, image: b}]\njobs: [{name: j, from_services: a, image: c}]", "3:error:jobs[0].from_services: and image"},
		{head + "jobs: [{name: j, image: 'B A'}]", "2:error:jobs[0].image: is no name of an image"},
		{head + "jobs: [{name: j, image: b, Schedule: x}]", "2:warning:jobs[0].Schedule: the key is not known"},
		{head + "jobs: [{name: " + strings.Repeat("j", 53) + ", image: b}]", "has more than 52 characters"},
		{head + "jobs: [{name: j, image: b, halt_on_error: 1}]", "must be true or false"},
		{head + "cron_jobs: [{name: j, image: b}]", "2:error:cron_jobs[0].schedule: is missing"},
		{head + "cron_jobs: [{name: j, image: b, schedule: often}]", "2:error:cron_jobs[0].schedule: must be five fields"},
		{head + "cron_jobs: [{name: j, image: b, schedule: '@daily', concurrency_policy: Never}]", "must be Allow, Forbid or Replace"},
		{head + "cron_jobs: [{name: j, image: b, schedule: '0 3 * * *', From_Services: a}]", "did you mean from_services?"},
		{head + "workflows: [{name: Setup}]", `2:warning:workflows[0].name: is "Setup"`},
		{head + "workflows: [{name: setup}, {name: setup}]", "the name is there twice"},
		{head + "workflows: [{name: setup, order_from: [], parallelize: []}]", "a workflow has one of them"},
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

const withJobs = `app: shop
repo_name: org/shop
environment_templates: [{name: ephemeral}]
services:
- {name: db, image: 'postgres:16'}
- {name: web, image: org/shop/web, has_repo: true, ports: [{target_port: 80}], readiness_probe: {http_get: {path: /up, port: 80},
	period_seconds: 5},
   liveness_probe: {exec: {command: ./live now}}, startup_probe: {tcp_socket: {port: 80}, failure_threshold: 30}}
- {name: mail, image: 'mail:1'}
- {name: site, static: true}
jobs:
- {name: migrate, from_services: web, command: ./migrate up, completed_timeout: 600}
- {name: web, image: 'busybox:1', args: [warm], halt_on_error: false, parallelism: 2, completions: 3}
- {name: never, from_services: web}
cron_jobs:
- {name: clean_up, from_services: web, schedule: '0 3 * * *'}
- {name: report, image: org/shop/report, has_repo: true, schedule: '@daily', concurrency_policy: Replace, memory: {limits: 64Mi}}
workflows:
- name: setup
  parallelize:
  - {step: data, tasks: [services.db]}
  - {step: migrate, tasks: [jobs.migrate, jobs.migrate]}
  - {step: run, tasks: [services.web, services.db, jobs.web]}
- name: patch
  order_from: [jobs.migrate, services.all]
- name: teardown
  parallelize: [{step: end, tasks: [release.remove_environment]}]
`

// stages returns the kinds and names of the objects of stages.
func stages(all []apptemplate.Stage) string {
	var lines []string
	for _, s := range all {
		line := s.Name + ":"
		for _, o := range s.Objects {
			meta, _ := o["metadata"].(map[string]any)
			line += fmt.Sprintf(" %s/%s", o["kind"], meta["name"])
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// Jobs run in the steps of the workflow, which are stages; what no step names comes last.
func TestStages(t *testing.T) {
	t.Parallel()
	tmpl, findings := apptemplate.Parse([]byte(withJobs))
	if len(findings) > 0 {
		t.Fatalf("got findings:\n%s", show(findings))
	}
	var built []string
	for _, i := range tmpl.Images() {
		built = append(built, i.Repository.String())
	}
	if want := []string{"org/shop/web", "org/shop/report"}; !slices.Equal(built, want) {
		t.Errorf("built images: got %q, want %q", built, want)
	}
	d := apptemplate.Deployment{Environment: "preview", Namespace: "preview", Run: "abc", Workflow: apptemplate.Setup, PullSecret: "pull",
		Images: map[string]string{"db": "postgres:16@sha256:1", "web": "r/web:1@sha256:2", "mail": "mail:1@sha256:3",
			"jobs.web": "busybox:1@sha256:4", "cron_jobs.report": "r/report:1@sha256:5"}}
	const last = "\nall others: Deployment/mail CronJob/clean-up CronJob/report"
	want := "data: Deployment/db\nmigrate: Job/migrate-abc\nrun: Deployment/web Service/web Job/web-abc" + last
	all := tmpl.Stages(d)
	if got := stages(all); got != want {
		t.Errorf("setup: got\n%s\nwant\n%s", got, want)
	}
	d.Workflow = apptemplate.Patch
	want = "jobs.migrate: Job/migrate-abc\nservices.all: Deployment/db Deployment/web Service/web Deployment/mail\n" +
		"all others: CronJob/clean-up CronJob/report"
	if got := stages(tmpl.Stages(d)); got != want {
		t.Errorf("patch: got\n%s\nwant\n%s", got, want)
	}
	tmpl.Workflows = nil
	want = "all others: Deployment/db Deployment/web Service/web Deployment/mail CronJob/clean-up CronJob/report"
	if got := stages(tmpl.Stages(d)); got != want {
		t.Errorf("without workflows: got\n%s\nwant\n%s", got, want)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"command":["./migrate","up"]`, `"activeDeadlineSeconds":600`, `"backoffLimit":0`, `"restartPolicy":"Never"`, `"parallelism":2`,
		`"completions":3`, `"ecrin.dev/go-on-after-failure":"true"`, `"image":"busybox:1@sha256:4"`, `"schedule":"0 3 * * *"`,
		`"concurrencyPolicy":"Forbid"`, `"concurrencyPolicy":"Replace"`, `"memory":"64Mi"`,
		`"readinessProbe":{"httpGet":{"path":"/up","port":80},"periodSeconds":5}`, `"livenessProbe":{"exec":{"command":["./live","now"]}}`,
		`"startupProbe":{"failureThreshold":30,"tcpSocket":{"port":80}}`, `"image":"r/web:1@sha256:2"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the objects: got %s\nwant %s in it", text, want)
		}
	}
	if got := strings.Count(string(text), `"imagePullSecrets":[{"name":"pull"}]`); got != 7 {
		t.Errorf("got %d templates of pods with the pull secret, want 7", got)
	}
	// The selector of the service web has no pod of the job web.
	if strings.Count(string(text), `"app.kubernetes.io/name":"web"`) != 5 || !strings.Contains(string(text),
		`"app.kubernetes.io/name":"job-web"`) {
		t.Errorf("the labels: got %s", text)
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
	f.Add([]byte(withJobs))
	f.Add([]byte("services: &a [&b {<<: [*b, *a]}]"))
	f.Add([]byte(written))
	f.Add([]byte("services:\n  a: {image: '${A:-b}', build: {args: {a: 1}}, ports: ['1:2']}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, findings := apptemplate.Parse(text)
		if !apptemplate.Failed(findings) {
			for _, i := range got.Images() {
				if i.Repository.String() == "" {
					t.Errorf("an image without a repository: %+v", i)
				}
			}
			all := map[string]string{}
			for _, s := range got.Services {
				all[s.Key()] = "a:1@sha256:1"
			}
			for _, j := range slices.Concat(got.Jobs, got.CronJobs) {
				all[j.Key()] = "a:1@sha256:1"
			}
			names := map[string]bool{}
			for _, s := range got.Stages(apptemplate.Deployment{Images: all, Run: "abcdefgh", Workflow: apptemplate.Setup}) {
				for _, o := range s.Objects {
					meta, _ := o["metadata"].(map[string]any)
					label, _ := meta["name"].(string)
					key := fmt.Sprint(o["kind"], " ", label)
					if names[key] || label == "" || len(label) > 63 {
						t.Errorf("the object %s is there twice, or has no good name", key)
					}
					names[key] = true
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
		services, findings := apptemplate.ParseCompose(text, func(name string) (string, bool) { return "$" + name, len(name)%2 == 0 })
		if apptemplate.Failed(findings) {
			return
		}
		made, err := apptemplate.FromCompose(services, apptemplate.Start{App: "app"})
		if err != nil {
			return
		}
		if _, findings := apptemplate.Parse(made); apptemplate.Failed(findings) {
			t.Errorf("the template of a file of compose:\n%s\n%s", show(findings), made)
		}
	})
}
