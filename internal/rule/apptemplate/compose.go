package apptemplate

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ComposeService is what is read of a service of a file of docker compose.
type ComposeService struct {
	Name          string
	Image         string // with the defaults of its variables
	Build         *Build
	Command, Args []string
	DependsOn     []string
	Ports         []Port
	CPU, Memory   string // limits, as quantities of Kubernetes
	Replicas      int
	Platform      string
	Line          int
}

// ParseCompose reads the services of a file of docker compose. Keys that say nothing about images are left alone. If a finding is an error,
// the services are not to be used.
//
// Source: the compose specification.
func ParseCompose(text []byte) ([]ComposeService, []Finding) {
	r := &reader{}
	root := r.parse(text)
	if root == nil {
		if len(r.findings) == 0 {
			r.note(Error, nil, "", "the file is empty")
		}
		return nil, r.findings
	}
	services := r.at(root, "", 0).mapping(nil).need("services", ": a file of compose has a mapping of them").mapping(nil)
	var all []ComposeService
	for _, label := range services.keys {
		if len(all) == maxItems {
			services.fail("has more than %d entries", maxItems)
			break
		}
		m := services.get(label).mapping(nil)
		if !m.there() {
			continue
		}
		s := ComposeService{Name: label, Line: m.node.Line, Platform: m.get("platform").text()}
		if !serviceName.MatchString(label) {
			m.fail("must have at most 63 letters, digits, - and _")
		}
		s.Image = interpolated(m.get("image"))
		s.Build = composeBuild(m.get("build"))
		if s.Image == "" && s.Build == nil && !m.get("extends").there() && !m.get("provider").there() {
			m.fail("has neither an image nor a build")
		}
		if m.get("extends").there() {
			m.get("extends").warn("is not followed: give the file that `docker compose config` prints")
		}
		// The entrypoint of compose is the command of Kubernetes, and the command of compose its args.
		s.Command, s.Args = m.get("entrypoint").words(), m.get("command").words()
		s.DependsOn = names(m.get("depends_on"))
		s.Ports = composePorts(m.get("ports"))
		deploy := m.get("deploy").mapping(nil)
		limits := deploy.get("resources").mapping(nil).get("limits").mapping(nil)
		s.CPU, s.Memory = composeCPU(limits.get("cpus")), composeMemory(limits.get("memory"))
		s.Replicas = deploy.get("replicas").number(0, 10_000)
		for _, key := range []string{"volumes", "environment", "env_file", "secrets", "configs", "healthcheck"} {
			if v := m.get(key); v.there() {
				v.warn("is not taken over: add it to the template by hand")
			}
		}
		all = append(all, s)
	}
	slices.SortStableFunc(r.findings, func(a, b Finding) int { return a.Line - b.Line })
	return all, r.findings
}

// names reads a list of texts, or the keys of a mapping.
func names(v value) []string {
	if v.there() && v.node.Kind == yaml.MappingNode {
		return v.mapping(nil).keys
	}
	return v.texts()
}

// composeBuild reads build: a folder, or a mapping.
func composeBuild(v value) *Build {
	switch {
	case !v.there():
		return nil
	case v.node.Kind == yaml.ScalarNode:
		return &Build{Context: v.text(), Line: v.node.Line}
	}
	m := v.mapping(nil)
	if !m.there() {
		return nil
	}
	b := &Build{Context: m.get("context").text(), Dockerfile: m.get("dockerfile").text(), Target: m.get("target").text(), Line: m.node.Line}
	if args := m.get("args"); args.there() && args.node.Kind == yaml.MappingNode {
		all := args.mapping(nil)
		for _, key := range all.keys {
			if value := all.get(key); value.there() {
				b.Args = append(b.Args, key+"="+interpolated(value))
			}
		}
	} else {
		for _, one := range args.list() {
			if text := interpolated(one); strings.Contains(text, "=") {
				b.Args = append(b.Args, text)
			}
		}
	}
	return b
}

// interpolated reads a text with the defaults of its variables: ${NAME:-default} and ${NAME-default}; $$ is a dollar.
func interpolated(v value) string {
	text := v.text()
	if !strings.Contains(text, "$") {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' {
			out.WriteByte(text[i])
			continue
		}
		rest := text[i+1:]
		end := strings.IndexByte(rest, '}')
		switch {
		case strings.HasPrefix(rest, "$"):
			out.WriteByte('$')
			i++
			continue
		case strings.HasPrefix(rest, "{") && end > 0:
			variable, without, ok := strings.Cut(rest[1:end], "-")
			if !ok || strings.ContainsAny(without, "${") {
				v.fail("the variable %s has no default: give the file that `docker compose config` prints", name.Clip(rest[:end+1]))
				return ""
			}
			v.warn("the variable %s has its default, %s", name.Clip(strings.TrimSuffix(variable, ":")), name.Clip(without))
			out.WriteString(without)
			i += end + 1
		default:
			v.fail("it has a variable without a default: give the file that `docker compose config` prints")
			return ""
		}
	}
	return out.String()
}

// composePorts reads ports in the short and in the long form. Ranges are left out.
func composePorts(v value) []Port {
	var all []Port
	for _, one := range few(v, v.list()) {
		if !one.there() {
			continue
		}
		if one.node.Kind == yaml.MappingNode {
			m := one.mapping(nil)
			p := Port{Target: m.need("target", "").number(1, 65535), Node: m.get("published").there()}
			all = append(all, p)
			continue
		}
		text, protocol, _ := strings.Cut(one.text(), "/")
		if protocol == "udp" {
			one.warn("a port of UDP is left out")
			continue
		}
		parts := strings.Split(text, ":")
		target, err := strconv.Atoi(parts[len(parts)-1])
		if err != nil || target < 1 || target > 65535 {
			one.warn("is left out: it is no single port")
			continue
		}
		all = append(all, Port{Target: target, Node: len(parts) > 1})
	}
	return all
}

// composeCPU returns a number of processors, such as 0.5, as it is.
func composeCPU(v value) string {
	text := v.text()
	if n, err := strconv.ParseFloat(text, 64); text != "" && (err != nil || n <= 0) {
		v.warn("is left out: it is no number of processors")
		return ""
	}
	return text
}

// composeMemory returns a size such as 512m or 1gb as a quantity of Kubernetes.
func composeMemory(v value) string {
	text := strings.ToLower(v.text())
	if text == "" {
		return ""
	}
	digits := strings.TrimRight(text, "bkmgi")
	unit := strings.TrimSuffix(strings.TrimSuffix(text[len(digits):], "b"), "i")
	to, ok := map[string]string{"": "", "k": "Ki", "m": "Mi", "g": "Gi"}[unit]
	if n, err := strconv.ParseFloat(digits, 64); err != nil || n <= 0 || !ok {
		v.warn("is left out: it is no size")
		return ""
	}
	return digits + to
}

// Start are the values of a template that a file of compose does not have.
type Start struct {
	App  string // name of the application
	Repo string // org/repo; "" for App
}

// FromCompose returns the text of an application template for the services of a file of compose: those with a build are built from the
// repository of the application, the others run the image that they name.
//
// Errors: a service builds outside of the repository.
func FromCompose(services []ComposeService, start Start) ([]byte, error) {
	if start.App == "" {
		return nil, errors.New("an application needs a name")
	}
	repo := start.Repo
	if repo == "" {
		repo = start.App
	}
	out := outTemplate{App: start.App, AutoDeploy: true, RepoName: repo,
		Environments: []outName{{"ephemeral"}, {"permanent"}}, Services: []outService{}}
	var order outWorkflow
	order.Name = "setup"
	for _, s := range services {
		o := outService{Name: s.Name, Image: s.Image, Command: s.Command, Args: s.Args, DependsOn: s.DependsOn, Replicas: s.Replicas}
		if s.Build != nil {
			o.HasRepo, o.Image = true, repo+"/"+s.Name
			b := *s.Build
			b.Context = path.Clean(strings.TrimPrefix(b.Context, "./"))
			if !inside(b.Context) || !inside(b.Dockerfile) || strings.Contains(b.Context, "://") {
				return nil, fmt.Errorf("line %d: the service %s is built from %s, which is not inside of the repository", s.Build.Line, s.Name,
					name.Clip(b.Context))
			}
			dockerfile := b.Dockerfile
			if dockerfile != "" {
				dockerfile = path.Join(b.Context, dockerfile) // compose looks below the context, a template below the root
			}
			o.Build = &outBuild{Context: b.Context, Dockerfile: dockerfile, Target: b.Target, Args: b.Args}
		}
		for _, p := range s.Ports {
			kind := "container_port"
			if p.Node {
				kind = "node_port"
			}
			o.Ports = append(o.Ports, outPort{Type: kind, TargetPort: strconv.Itoa(p.Target), Port: strconv.Itoa(p.Target)})
		}
		if s.CPU != "" {
			o.CPU = &outLimits{s.CPU}
		}
		if s.Memory != "" {
			o.Memory = &outLimits{s.Memory}
		}
		out.Services = append(out.Services, o)
	}
	for _, task := range ordered(services) {
		order.Parallelize = append(order.Parallelize, outStep{Step: task, Tasks: []string{"services." + task}})
	}
	if len(services) > 0 {
		end := outStep{"remove-environment", []string{"release.remove_environment"}}
		out.Workflows = []outWorkflow{order, {Name: "teardown", Parallelize: []outStep{end}}}
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(out), e.Close()); err != nil {
		return nil, fmt.Errorf("writing the template: %w", err)
	}
	return b.Bytes(), nil
}

// ordered returns the names of services, each behind those that it depends on. In a circle, the order of the file counts.
func ordered(services []ComposeService) []string {
	var all []string
	state := map[string]bool{} // true when it is being looked at or done
	var visit func(s ComposeService)
	visit = func(s ComposeService) {
		if state[s.Name] {
			return
		}
		state[s.Name] = true
		for _, d := range s.DependsOn {
			for _, o := range services {
				if o.Name == d {
					visit(o)
				}
			}
		}
		all = append(all, s.Name)
	}
	for _, s := range services {
		visit(s)
	}
	return all
}

type outTemplate struct {
	App          string        `yaml:"app"`
	AutoDeploy   bool          `yaml:"auto_deploy"`
	RepoName     string        `yaml:"repo_name"`
	Environments []outName     `yaml:"environment_templates"`
	Services     []outService  `yaml:"services"`
	Workflows    []outWorkflow `yaml:"workflows,omitempty"`
}

type outName struct {
	Name string `yaml:"name"`
}

type outService struct {
	Name      string     `yaml:"name"`
	Image     string     `yaml:"image"`
	HasRepo   bool       `yaml:"has_repo"`
	Static    bool       `yaml:"static"`
	Build     *outBuild  `yaml:"build,omitempty"`
	Command   []string   `yaml:"command,omitempty"`
	Args      []string   `yaml:"args,omitempty"`
	DependsOn []string   `yaml:"depends_on,omitempty"`
	Ports     []outPort  `yaml:"ports,omitempty"`
	CPU       *outLimits `yaml:"cpu,omitempty"`
	Memory    *outLimits `yaml:"memory,omitempty"`
	Replicas  int        `yaml:"replicas,omitempty"`
}

type outBuild struct {
	Context    string   `yaml:"context"`
	Dockerfile string   `yaml:"dockerfile,omitempty"`
	Target     string   `yaml:"target,omitempty"`
	Args       []string `yaml:"args,omitempty"`
}

type outPort struct {
	Type       string `yaml:"type"`
	TargetPort string `yaml:"target_port"`
	Port       string `yaml:"port"`
}

type outLimits struct {
	Limits string `yaml:"limits"`
}

type outWorkflow struct {
	Name        string    `yaml:"name"`
	Parallelize []outStep `yaml:"parallelize"`
}

type outStep struct {
	Step  string   `yaml:"step"`
	Tasks []string `yaml:"tasks"`
}
