// Package apptemplate reads application templates, which say of which services an application consists, which of them are built from its
// git repository, and which run images of others. It makes one of a file of docker compose.
//
// All functions are pure. Source: the schema that the platform publishes, and templates that are published.
package apptemplate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The files of an application, from the root of its git repository.
const (
	File         = ".release/application_template.yaml"
	SettingsFile = ".release.yaml" // may name another File
)

// The largest number of services, builds and jobs of a template, each.
const maxItems = 500

// Template is an application.
type Template struct {
	App      string
	Context  string // the cluster
	RepoName string // org/repo

	Services     []Service
	Builds       []Build // images that are built without a service
	Jobs         []Job   // that workflows run
	CronJobs     []Job
	Workflows    []Workflow
	Environments []string // names of templates of environments, such as ephemeral
}

// Service is a part of an application that runs.
type Service struct {
	Name    string
	Image   string // a reference, or the logical name of an image that is built from the repository; "" if only Build is there
	HasRepo bool   // it is built from the repository of the application
	Static  bool   // files of a site: there is no container
	Build   *Build // nil for none

	Command, Args []string
	Ports         []Port
	Replicas      int // 0 for one
	Requests      Resources
	Limits        Resources

	Readiness, Liveness, Startup *Probe // nil for none

	Line int // in the file, from 1
}

// Probe says how a container is asked whether it works: by a command, a request of HTTP, or a connection.
type Probe struct {
	Command                          []string
	Path                             string // of the request, with Port
	Port                             int    // of the request, or of the connection if there is no Path
	Delay, Period, Timeout, Failures int    // seconds, and failures in succession; 0 for those of Kubernetes
}

// Build says how an image is built.
type Build struct {
	Name       string // of an entry of builds; "" for that of a service
	Context    string // folder, "" for the root
	Dockerfile string // "" for Dockerfile in the context
	Target     string // stage, "" for the last
	Args       []string
	Line       int
}

// Port is a port of a service.
type Port struct {
	Target int // of the container
	Port   int // of the service; 0 for the same
	Node   bool
}

// Resources are quantities of Kubernetes, "" for none.
type Resources struct{ CPU, Memory string }

// The keys of the parts of a template.
var (
	templateKeys = []string{"app", "auto_deploy", "context", "domain", "repo_name", "execution_type", "git_fetch_depth", "mode",
		"parallelize_app_imports", "tracking_branch", "tracking_tag", "app_imports", "builds", "charts", "cron_jobs", "custom_links",
		"development_environment", "environment_templates", "hostnames", "rules", "infrastructure", "ingress", "jobs", "node_selector",
		"notifications", "resources", "schema_version", "secrets", "services", "sidecars", "shared_volumes", "volumes", "workflows", "routes"}
	serviceKeys = []string{"name", "image", "has_repo", "static", "build", "build_base", "build_command", "build_output_directory",
		"build_package_install_command", "build_destination_directory", "completed_timeout", "command", "args", "cpu", "memory",
		"storage", "depends_on", "configmap", "cron", "init", "liveness_probe", "readiness_probe", "startup_probe", "max_surge",
		"node_selector", "pinned", "ports", "registry", "replicas", "resources", "role", "sidecars", "stateful", "termination_grace_period",
		"volumes"}
	buildKeys = []string{"context", "dockerfile", "target", "args", "args_static", "image_scan"}
	entryKeys = append([]string{"name", "has_repo", "image"}, buildKeys...)
	probeKeys = []string{"exec", "http_get", "httpGet", "tcp_socket", "initial_delay_seconds", "period_seconds", "timeout_seconds",
		"failure_threshold", "success_threshold"}
	portKeys = []string{"type", "target_port", "port", "loadbalancer", "protocol", "path"}
	jobKeys  = []string{"name", "command", "args", "from_services", "image", "has_repo", "halt_on_error", "completed_timeout", "cpu", "memory",
		"cron", "sidecars", "init", "node_selector", "role", "service_account_name", "parallelism", "completions", "volumes"}
	cronJobKeys      = append([]string{"schedule", "concurrency_policy"}, jobKeys...)
	environmentKinds = []string{"ephemeral", "permanent"}
)

// serviceName is the form of names of services: that of objects of Kubernetes, in which capitals are written small.
var serviceName = lazyregexp.New(`^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`)

// Parse reads an application template. The findings are in the order of the file; if one is an error, the template is not to be used.
func Parse(text []byte) (Template, []Finding) {
	r := &reader{}
	var t Template
	root := r.parse(text)
	if root == nil {
		if len(r.findings) == 0 {
			r.note(Error, nil, "", "the file is empty")
		}
		return t, r.findings
	}
	top := r.at(root, "", 0).mapping(templateKeys)
	if !top.there() {
		return t, r.findings
	}
	t.App, t.Context, t.RepoName = top.get("app").text(), top.get("context").text(), top.get("repo_name").text()
	top.get("auto_deploy").flag()
	if v := top.get("mode"); v.there() {
		v.warn("the key is deprecated, and does nothing")
	}
	t.environments(top)
	defaults := resourcesOf(top.get("resources").mapping(nil))
	t.services(top.get("services"), defaults)
	t.builds(top.get("builds"))
	t.Jobs = t.jobs(top.get("jobs"), jobKeys)
	t.CronJobs = t.jobs(top.get("cron_jobs"), cronJobKeys)
	t.workflows(top.get("workflows"))
	if !Failed(r.findings) {
		t.images(func(line int, text string) {
			r.findings = append(r.findings, Finding{Severity: Error, Line: line, Column: 1, Path: "services", Text: text})
		})
	}
	if len(t.Services) == 0 && len(t.Builds) == 0 && !Failed(r.findings) && !top.get("charts").there() {
		r.note(Warning, root, "services", "the application has no services")
	}
	slices.SortStableFunc(r.findings, func(a, b Finding) int { return a.Line - b.Line })
	return t, r.findings
}

// environments reads the templates of environments: a list of names, or a mapping.
func (t *Template) environments(top mapping) {
	v := top.need("environment_templates", ": it has the names of the kinds of environments, ephemeral and permanent")
	if !v.there() {
		return
	}
	if v.kind() == "a mapping" {
		t.Environments = v.mapping(environmentKinds).keys
		return
	}
	for _, one := range v.list() {
		label := one.mapping(nil).need("name", "")
		switch text := label.text(); {
		case text == "":
		case slices.Contains(t.Environments, text):
			label.fail("the name is there twice")
		default:
			if !slices.Contains(environmentKinds, text) {
				label.warn("is %q, and not ephemeral or permanent", name.Clip(text))
			}
			t.Environments = append(t.Environments, text)
		}
	}
}

// few notes an error if a list has too many entries.
func few(v value, all []value) []value {
	if len(all) > maxItems {
		v.fail("has more than %d entries", maxItems)
		return nil
	}
	return all
}

func (t *Template) services(v value, defaults Service) {
	names := map[string]bool{}
	var others []value // names of services that services depend on
	for _, one := range few(v, v.list()) {
		m := one.mapping(serviceKeys)
		if !m.there() {
			continue
		}
		s := Service{Line: m.node.Line, Replicas: defaults.Replicas, Requests: defaults.Requests, Limits: defaults.Limits}
		s.Name = unique(m.need("name", ""), names)
		s.Image, s.HasRepo, s.Static = m.get("image").text(), m.get("has_repo").flag(), m.get("static").flag()
		if b := m.get("build"); b.there() {
			s.Build = buildOf(b.mapping(buildKeys))
		}
		s.Command, s.Args = m.get("command").words(), m.get("args").words()
		s.Ports = portsOf(m.get("ports"))
		for key, to := range map[string]**Probe{"readiness_probe": &s.Readiness, "liveness_probe": &s.Liveness, "startup_probe": &s.Startup} {
			*to = probeOf(m.get(key))
		}
		s.override(resourcesOf(m))
		s.check(m)
		t.Services = append(t.Services, s)
		others = append(others, m.get("depends_on").list()...)
	}
	for _, o := range others {
		if text := o.text(); text != "" && t.service(text) == nil {
			o.fail("there is no service %q", name.Clip(text))
		}
	}
}

// probeOf reads a probe; nil for none.
func probeOf(v value) *Probe {
	m := v.mapping(probeKeys)
	if !m.there() {
		return nil
	}
	p := &Probe{Delay: m.get("initial_delay_seconds").number(0, 86_400), Period: m.get("period_seconds").number(1, 86_400),
		Timeout: m.get("timeout_seconds").number(1, 86_400), Failures: m.get("failure_threshold").number(1, 10_000)}
	kinds := 0
	if exec := m.get("exec"); exec.there() {
		kinds++
		p.Command = exec.mapping([]string{"command"}).need("command", "").words()
	}
	for _, key := range []string{"http_get", "httpGet"} {
		if request := m.get(key); request.there() {
			kinds++
			of := request.mapping([]string{"path", "port", "scheme"})
			p.Path, p.Port = cmp.Or(of.get("path").text(), "/"), of.need("port", "").number(1, 65535)
		}
	}
	if socket := m.get("tcp_socket"); socket.there() {
		kinds++
		p.Port = socket.mapping([]string{"port"}).need("port", "").number(1, 65535)
	}
	if kinds != 1 {
		v.fail("must have one of exec, http_get and tcp_socket")
		return nil
	}
	return p
}

// override takes the resources that a service has of its own.
func (s *Service) override(own Service) {
	if own.Replicas > 0 {
		s.Replicas = own.Replicas
	}
	for _, pair := range []struct{ to, from *string }{{&s.Limits.CPU, &own.Limits.CPU}, {&s.Limits.Memory, &own.Limits.Memory},
		{&s.Requests.CPU, &own.Requests.CPU}, {&s.Requests.Memory, &own.Requests.Memory}} {
		if *pair.from != "" {
			*pair.to = *pair.from
		}
	}
}

// check checks what the keys of a service say together.
func (s *Service) check(m mapping) {
	image := m.get("image")
	switch {
	case s.Static && image.there():
		image.warn("a static service runs no container: its image is not used")
	case s.Static:
	case s.HasRepo && image.there():
		if named, why := fullReference(s.Image); named {
			image.fail("has_repo is true, so that the image is built from the repository and has a logical name such as org/repo/%s; %s",
				s.Name, why)
		} else if _, err := Repository(s.Image); err != nil {
			image.fail("%v", err)
		}
	case image.there():
		if _, err := rewrite.ParseReference(s.Image); err != nil {
			image.fail("is no name of an image, such as registry.example.com/team/app:1.0 or postgres:14, got %q", name.Clip(s.Image))
		}
	case s.Build == nil:
		m.r.note(Error, m.node, m.below("image"), "is missing: a service that is not static needs an image, or a build")
	}
}

// fullReference reports whether the image of a service is a reference to a registry, or one with a tag or a digest, and why.
func fullReference(image string) (bool, string) {
	first, _, _ := strings.Cut(image, "/")
	switch {
	case strings.Contains(image, "/") && (strings.ContainsAny(first, ".:") || first == "localhost"):
		return true, name.Clip(image) + " is an image of the registry " + name.Clip(first) + ": set has_repo: false"
	case strings.ContainsAny(image, ":@"):
		return true, name.Clip(image) + " has a tag or a digest: leave it out, or set has_repo: false"
	}
	return false, ""
}

// unique reads the name of an entry of a list.
func unique(v value, names map[string]bool) string {
	text := v.text()
	switch folded := strings.ReplaceAll(strings.ToLower(text), "_", "-"); {
	case text == "":
	case !serviceName.MatchString(text):
		v.fail("must have at most 63 letters, digits, - and _, got %q", name.Clip(text))
	case names[folded]:
		v.fail("the name is there twice, at least without regard to capitals and to - and _")
	default:
		names[folded] = true
	}
	return text
}

func buildOf(m mapping) *Build {
	b := &Build{Context: m.get("context").text(), Dockerfile: m.get("dockerfile").text(), Target: m.get("target").text()}
	if m.there() {
		b.Line = m.node.Line
	}
	for _, key := range []string{"context", "dockerfile"} {
		if v := m.get(key); v.there() && !inside(v.text()) {
			v.fail("must be a path inside of the repository, got %q", name.Clip(v.text()))
		}
	}
	for _, v := range m.get("args").list() {
		text := v.text()
		if key, _, ok := strings.Cut(text, "="); !ok || key == "" {
			v.fail("must be KEY=VALUE, got %q", name.Clip(text))
			continue
		}
		b.Args = append(b.Args, text)
	}
	return b
}

// inside reports whether a path stays below the folder that it is relative to.
func inside(p string) bool {
	if strings.HasPrefix(p, "/") || strings.ContainsAny(p, "\\\x00") {
		return false
	}
	return !slices.Contains(strings.Split(p, "/"), "..")
}

func portsOf(v value) []Port {
	var all []Port
	for _, one := range few(v, v.list()) {
		m := one.mapping(portKeys)
		p := Port{Target: m.need("target_port", "").number(1, 65535), Port: m.get("port").number(1, 65535)}
		switch kind := m.get("type"); kind.text() {
		case "node_port":
			p.Node = true
		case "", "container_port":
		default:
			kind.fail("must be node_port or container_port, got %s", kind.kind())
		}
		all = append(all, p)
	}
	return all
}

// quantity is the form of a quantity of Kubernetes.
var quantity = lazyregexp.New(`^[0-9]+(?:\.[0-9]+)?(?:m|k|K|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$`)

// resourcesOf reads cpu, memory and replicas of a service, or those that all services have.
func resourcesOf(m mapping) (s Service) {
	read := func(key string) (limit, request string) {
		at := m.get(key)
		if !at.there() {
			return "", ""
		}
		pair := at.mapping([]string{"limits", "requests"})
		for _, one := range []struct {
			key string
			to  *string
		}{{"limits", &limit}, {"requests", &request}} {
			if q := pair.get(one.key); q.there() {
				if *one.to = q.text(); !quantity.MatchString(*one.to) {
					q.fail("must be a quantity, such as 250m or 1Gi, got %s", q.kind())
				}
			}
		}
		return limit, request
	}
	s.Limits.CPU, s.Requests.CPU = read("cpu")
	s.Limits.Memory, s.Requests.Memory = read("memory")
	s.Replicas = m.get("replicas").number(0, 10_000)
	return s
}

// service returns the service with a name; nil for none.
func (t *Template) service(label string) *Service {
	for i := range t.Services {
		if t.Services[i].Name == label {
			return &t.Services[i]
		}
	}
	return nil
}

func (t *Template) builds(v value) {
	names := map[string]bool{}
	for _, one := range few(v, v.list()) {
		m := one.mapping(entryKeys)
		if !m.there() {
			continue
		}
		b := buildOf(m)
		b.Name = unique(m.need("name", ""), names)
		t.Builds = append(t.Builds, *b)
	}
}

// Image is an image that is built from the repository of an application.
type Image struct {
	Logical    string // as the template names it
	Repository name.Repo
	Services   []string // that run it; none for an entry of builds
	Build      *Build   // nil for the Dockerfile in the root
}

// logical returns the logical name of the image of a service or of an entry of builds.
func (t *Template) logical(image, label string) string {
	switch {
	case image != "":
		return image
	case t.RepoName != "":
		return t.RepoName + "/" + label
	case t.App != "":
		return t.App + "/" + label
	}
	return label
}

// Built reports whether the image of the service is built from the repository of the application.
func (s Service) Built() bool { return !s.Static && (s.HasRepo || s.Image == "" && s.Build != nil) }

// Images returns the images that are built, each once, in the order of the file. Several services may run one. The template is one without
// errors.
func (t *Template) Images() []Image { return t.images(func(int, string) {}) }

// images is Images, and reports names that cannot be those of repositories, and names that would be one repository.
func (t *Template) images(report func(line int, text string)) []Image {
	var all []Image
	add := func(logical, service string, b *Build, line int) {
		repo, err := Repository(logical)
		if err != nil {
			report(line, err.Error())
			return
		}
		i := slices.IndexFunc(all, func(o Image) bool { return o.Repository == repo })
		if i < 0 {
			i = len(all)
			all = append(all, Image{Logical: logical, Repository: repo})
		}
		if all[i].Logical != logical {
			report(line, fmt.Sprintf("the images %s and %s would both be in the repository %s", name.Clip(all[i].Logical), name.Clip(logical),
				repo))
			return
		}
		if service != "" {
			all[i].Services = append(all[i].Services, service)
		}
		if all[i].Build == nil {
			all[i].Build = b
		}
	}
	for _, s := range t.Services {
		if s.Built() {
			add(t.logical(s.Image, s.Name), s.Name, s.Build, s.Line)
		}
	}
	for _, b := range t.Builds {
		add(t.logical("", b.Name), "", &b, b.Line)
	}
	for _, j := range slices.Concat(t.Jobs, t.CronJobs) {
		if j.Built() {
			add(t.logical(j.Image, j.Name), "", nil, j.Line)
		}
	}
	return all
}
