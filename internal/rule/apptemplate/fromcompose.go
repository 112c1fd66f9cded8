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

// Start are the values of a template that a file of compose does not have.
type Start struct {
	App  string // name of the application
	Repo string // org/repo; "" for App
}

// FromCompose returns the text of an application template for the services of a file of compose: those with a build are built from the
// repository of the application, the others run the image that they name.
//
// Services with profiles are left out, because compose starts them on request only, and a template has no such services.
//
// Errors: a service builds outside of the repository; the template would have errors, such as two names that differ in capitals only.
func FromCompose(services []ComposeService, start Start) ([]byte, error) {
	services = slices.DeleteFunc(slices.Clone(services), func(s ComposeService) bool { return len(s.Profiles) > 0 })
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
		o := outService{Name: s.Name, Image: s.Image, Command: s.Command, Args: s.Args, Replicas: s.Replicas}
		for _, d := range s.DependsOn {
			if slices.ContainsFunc(services, func(other ComposeService) bool { return other.Name == d }) {
				o.DependsOn = append(o.DependsOn, d)
			}
		}
		if s.Build != nil {
			o.HasRepo, o.Image = true, repo+"/"+s.Name
			b := *s.Build
			b.Context = path.Clean(strings.TrimPrefix(b.Context, "./"))
			if !inside(b.Context) || !inside(b.Dockerfile) || strings.Contains(b.Context, ":") {
				return nil, fmt.Errorf("line %d: the service %s is built from %s, which is not inside of the repository", s.Build.Line, s.Name,
					name.Clip(b.Context))
			}
			dockerfile := b.Dockerfile
			if dockerfile != "" {
				dockerfile = path.Join(b.Context, dockerfile) // compose looks below the context, a template below the root
			}
			o.Build = &outBuild{Context: b.Context, Dockerfile: dockerfile, Target: b.Target, Args: b.Args}
		}
		if s.Health != nil {
			o.ReadinessProbe = outProbeOf(*s.Health)
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
	if _, findings := Parse(b.Bytes()); Failed(findings) {
		i := slices.IndexFunc(findings, func(f Finding) bool { return f.Severity == Error })
		return nil, fmt.Errorf("the template would have the error: %s %s", findings[i].Path, findings[i].Text)
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

	ReadinessProbe *outProbe `yaml:"readiness_probe,omitempty"`
}

type outProbe struct {
	Exec     outExec `yaml:"exec"`
	Delay    int     `yaml:"initial_delay_seconds,omitempty"`
	Period   int     `yaml:"period_seconds,omitempty"`
	Timeout  int     `yaml:"timeout_seconds,omitempty"`
	Failures int     `yaml:"failure_threshold,omitempty"`
}

type outExec struct {
	Command []string `yaml:"command"`
}

func outProbeOf(p Probe) *outProbe {
	return &outProbe{outExec{p.Command}, p.Delay, p.Period, p.Timeout, p.Failures}
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
