// Package preflight finds the images that a file will run, whatever the file is for: manifests of Kubernetes, a file of docker compose, or
// an application template. All functions are pure.
package preflight

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Kind is what a file is.
type Kind string

// The kinds of files.
const (
	Manifests     Kind = "manifests"     // of Kubernetes
	Kustomization Kind = "kustomization" // to be built first
	Chart         Kind = "chart"         // of Helm, to be rendered first
	Compose       Kind = "compose"
	Template      Kind = "template" // of an application
)

// Wanted is an image that something will run.
type Wanted struct {
	Image    rewrite.Reference
	In       []string // what runs it, such as "Deployment web in web.yaml line 3"
	Platform string   // that it asks for; "" for none
}

// Found is what is in one file.
type Found struct {
	Kind    Kind
	Images  []Wanted
	Cluster string   // that the file names; "" for none
	Notes   []string // what was not looked at
	Failed  []string // what could not be read
}

// KindOf returns what a file is, by its first document.
func KindOf(f rewrite.File) Kind {
	for _, d := range rewrite.Split(f) {
		var n yaml.Node
		if yaml.Unmarshal(d.Data, &n) != nil || len(n.Content) == 0 || n.Content[0].Kind != yaml.MappingNode {
			continue
		}
		has := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content[0].Content); i += 2 {
			has[n.Content[0].Content[i].Value] = n.Content[0].Content[i+1]
		}
		services := has["services"]
		switch {
		case has["apiVersion"] != nil && has["kind"] != nil:
			if has["kind"].Value == "Kustomization" && strings.HasPrefix(has["apiVersion"].Value, "kustomize.config.k8s.io/") {
				return Kustomization
			}
			return Manifests
		case has["environment_templates"] != nil, services != nil && services.Kind == yaml.SequenceNode:
			return Template
		case services != nil:
			return Compose
		}
	}
	return Manifests
}

// Images finds the images of a file. A kustomization has none: what it builds has.
func Images(f rewrite.File) Found {
	switch kind := KindOf(f); kind {
	case Compose:
		return compose(f)
	case Template:
		return template(f)
	default:
		found := rewrite.Find([]rewrite.File{f})
		out := Found{Kind: kind}
		for _, i := range found.Images {
			w := Wanted{Image: i.Reference}
			for _, o := range i.Objects {
				w.In = append(w.In, o.String())
			}
			out.Images = append(out.Images, w)
		}
		for _, u := range found.Unseen {
			if u.Err != nil {
				out.Failed = append(out.Failed, fmt.Sprintf("%s: %s: %v", u.Object, u.Path, u.Err))
				continue
			}
			out.Notes = append(out.Notes, fmt.Sprintf("%s: %s at %s is not checked: it is no container of a pod", u.Object, u.Text, u.Path))
		}
		for _, s := range found.Skipped {
			out.Failed = append(out.Failed, s.Error())
		}
		return out
	}
}

// failures returns the errors of a file as text.
func failures(f rewrite.File, all []apptemplate.Finding) (failed []string) {
	for _, one := range all {
		if one.Severity == apptemplate.Error {
			failed = append(failed, strings.TrimSpace(fmt.Sprintf("%s:%d: %s %s", f.Path, one.Line, one.Path, one.Text)))
		}
	}
	return failed
}

func compose(f rewrite.File) Found {
	services, findings := apptemplate.ParseCompose(f.Data, nil)
	out := Found{Kind: Compose, Failed: failures(f, findings)}
	if apptemplate.Failed(findings) {
		return out
	}
	for _, s := range services {
		in := fmt.Sprintf("service %s in %s line %d", s.Name, f.Path, s.Line)
		switch {
		case s.Build != nil:
			out.Notes = append(out.Notes, in+" is built, and not checked")
		case s.Image != "":
			out.add(f, s.Line, s.Image, in, s.Platform)
		}
	}
	return out
}

func template(f rewrite.File) Found {
	t, findings := apptemplate.Parse(f.Data)
	out := Found{Kind: Template, Cluster: t.Context, Failed: failures(f, findings)}
	if apptemplate.Failed(findings) {
		return out
	}
	for _, s := range t.Services {
		in := fmt.Sprintf("service %s in %s line %d", s.Name, f.Path, s.Line)
		switch {
		case s.Static:
		case s.Built():
			out.Notes = append(out.Notes, in+" is built from the repository of the application, and checked when it is deployed")
		default:
			out.add(f, s.Line, s.Image, in, "")
		}
	}
	for _, j := range slices.Concat(t.Jobs, t.CronJobs) {
		in := fmt.Sprintf("job %s in %s line %d", j.Name, f.Path, j.Line)
		switch {
		case j.Built():
			out.Notes = append(out.Notes, in+" is built from the repository of the application, and checked when it is deployed")
		case j.Image != "":
			out.add(f, j.Line, j.Image, in, "")
		}
	}
	return out
}

// add adds an image, once for each platform.
func (o *Found) add(f rewrite.File, line int, text, in, platform string) {
	ref, err := rewrite.ParseReference(text)
	if err != nil {
		o.Failed = append(o.Failed, fmt.Sprintf("%s:%d: %v", f.Path, line, err))
		return
	}
	o.Images = Merge(o.Images, Wanted{Image: ref, In: []string{in}, Platform: platform})
}

// Merge adds images to others, each once for each platform that is asked for.
func Merge(all []Wanted, more ...Wanted) []Wanted {
	for _, w := range more {
		i := slices.IndexFunc(all, func(o Wanted) bool { return o.Image == w.Image && o.Platform == w.Platform })
		if i < 0 {
			all = append(all, w)
			continue
		}
		all[i].In = append(slices.Clip(all[i].In), w.In...)
	}
	return all
}

// Nearest returns the texts that are most like one, the most like it first, at most n.
func Nearest(text string, all []string, n int) []string {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b string) int { return name.Distance(a, text) - name.Distance(b, text) })
	return all[:min(n, len(all))]
}
