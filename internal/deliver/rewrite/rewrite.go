// Package rewrite makes of the files of an application what a cluster of a customer installs: it asks which images can be pulled without
// credentials, renders the templates in the files, and writes kustomize overlays that pull the other images with the licence of the
// customer, or all images from a registry of the customer.
//
// The rules are those of package rule/rewrite. Here is what asks registries, reads and writes folders, and builds overlays.
package rewrite

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/template"
)

// Known is an image about which was decided before: it is not asked for again.
type Known struct {
	Image   string `yaml:"image" json:"image"`
	Private bool   `yaml:"isPrivate" json:"isPrivate"`
}

// Input is an application, and how its images are to be pulled.
type Input struct {
	Slug  string
	Files []rule.File // of the release, as they are in it

	// Proxy is used for private images, unless there is a Local; a Host "" means that there is none, and names of images stay. An object
	// of the kind Application in Files may name other hosts, and Installed overrides both: the hosts that the server of updates said.
	Proxy, Installed rule.Proxy
	Local            *rule.Local // registry of the customer, which has all images; nil for none

	// InstallCharts makes the objects of all charts go to the base, with the annotations ChartAnnotation and WeightAnnotation: the caller
	// installs them without helm. Their images are rewritten like those of other objects.
	InstallCharts bool

	// Builder makes Images have those of all charts too, as they are with the builder values: what a bundle has to have.
	Builder bool

	// Mirrors makes settings of nodes for the proxy in place of other names of images and pull secrets.
	Mirrors bool

	Known      []Known
	AllPrivate bool // no registry is asked: there is no network, or public images too are pulled by the proxy

	// License and LocalAuth are what clients send to the proxy and to Local, without Host; no Password means that no secret is made.
	License, LocalAuth rule.Auth
	// Namespace is where the application is installed; "" for the one that the client says. The secrets are there, in the further
	// namespaces that the application names, and in those whose objects run images.
	Namespace string

	// Values are what templates in Files know beside the names of images: Field, Channel, VersionLabel, Sequence, Cursor and Airgap.
	Values template.Values
}

// Output is what there is to write for an application, see Write.
type Output struct {
	Release   []rule.File // as given
	Files     []rule.File // of the folders that are generated, with paths relative to the folder of the application
	Images    []Decided   // by reference, sorted
	Renames   []rule.Rename
	Copies    []rule.Copy // that Local must have
	Copied    []Copied    // by a Transfer, which the caller runs
	Charts    []Chart     // that helm installs, in the order of the files
	Proxy     rule.Proxy  // as it was used
	Objects   []rule.Object
	Unseen    []rule.Unseen
	Skipped   []rule.FileError
	Broken    []rule.FileError // charts that could not be rendered, which are in Skipped too
	Unpatched []rule.Object
	Config    []byte // docker configuration of the pull secrets; nil for none
}

// Decided is an image with the decision on it.
type Decided struct {
	Image    string   `json:"image"` // as written
	Private  bool     `json:"isPrivate"`
	Why      string   `json:"why"`
	PulledAs string   `json:"pulledAs"`          // the name with which a cluster pulls it
	In       []string `json:"in"`                // the objects that run it
	Problem  string   `json:"problem,omitempty"` // why a cluster will not pull it
}

// Known returns the decisions, for a later run.
func (o Output) Known() []Known {
	all := []Known{}
	for _, i := range o.Images {
		all = append(all, Known{i.Image, i.Private})
	}
	return all
}

// Engine rewrites applications.
type Engine struct {
	Asker Asker
	// Decided is called after each decision on an image of the objects: done of them of all are made. Calls follow each other. nil for none.
	Decided func(done, all int, image string, d rule.Decision)
	// Helm renders charts; nil for Charts with the namespace of the application.
	Helm Helm
}

// Run rewrites an application. It writes nothing.
//
// Errors: fault.InvalidParameter (images that collide in the registry of the customer); a registry closes all connections without an
// answer; that of ctx.
func (e *Engine) Run(ctx context.Context, in Input) (Output, error) {
	out := Output{Proxy: in.Proxy}
	var astray []rule.FileError
	in.Files, astray = inside(in.Files)
	out.Release = in.Files
	app := applications(in.Files)
	out.Proxy = hosts(in.Proxy, app, in.Installed)
	out.Proxy.Slug = in.Slug
	d := e.decisions(in, out.Proxy)

	values := in.Values
	values.Proxy, values.Local, values.ProxyPublic = out.Proxy, in.Local, in.AllPrivate
	if out.Proxy.Host == "" {
		values.Proxy = rule.Proxy{Slug: in.Slug}
	}
	values.LicenseAuth, values.LocalAuth = out.licenseConfig(in), localConfig(in)
	values.Private = func(r rule.Reference) bool { return d.of(ctx, r).Private }
	packed, failed := archives(in.Files)
	failed = append(astray, failed...)
	rendered, more := render(in.Files, values, packed)
	failed = append(failed, more...)
	if d.failed != nil {
		return Output{}, d.failed
	}

	s := sorted{seen: map[string]string{}}
	s.add(rule.Find(rendered))
	out.Charts, out.Broken = charts(s.kinds, packed)
	base, others, more := e.template(ctx, in, out.Charts)
	if ctx.Err() != nil {
		return Output{}, context.Cause(ctx)
	}
	out.Broken = append(out.Broken, more...)
	failed = append(failed, out.Broken...)
	s.add(rule.Find(base))
	if !in.InstallCharts {
		out.Charts = slices.DeleteFunc(out.Charts, func(c Chart) bool { return c.old })
	}
	out.Objects = s.objects
	out.Skipped = append(failed, s.skipped...)
	out.Unseen = s.unseen
	images := withMore(s.images, rule.Find(others).Images, app)
	if err := d.all(ctx, images); err != nil {
		return Output{}, err
	}
	private := func(r rule.Reference) bool { return d.of(ctx, r).Private }
	var err error
	switch {
	case in.Local != nil:
		if out.Renames, out.Copies, err = in.Local.Renames(images); err != nil {
			return Output{}, err
		}
		out.Config = values.LocalAuth
	case in.Mirrors:
		out.Files = out.Proxy.Mirrors(out.Proxy.MirrorHosts(images, private), in.License)
	case out.Proxy.Host != "":
		out.Renames = out.Proxy.Renames(images, private)
		out.Config = values.LicenseAuth
	}
	for _, i := range images {
		decision := d.of(ctx, i.Reference)
		one := Decided{Image: i.String(), Private: decision.Private, Why: decision.Why, PulledAs: renamed(i.Reference, out.Renames)}
		unnamed := !out.Proxy.Serves(i.Reference) && !out.Proxy.Has(i.Reference)
		if in.Local == nil && decision.Private && out.Proxy.Host != "" && unnamed {
			one.Problem = "it has no name at the proxy: the vendor knows the name of the registry " + i.Host
		}
		for _, o := range i.Objects {
			one.In = append(one.In, o.Kind+" "+o.Name)
		}
		out.Images = append(out.Images, one)
	}
	out.write(in, app, s)
	return out, nil
}

// inside returns the files whose paths stay in their folder on every system. The others are left out.
func inside(files []rule.File) (good []rule.File, failed []rule.FileError) {
	for _, f := range files {
		if !fs.ValidPath(f.Path) || f.Path == "." || strings.ContainsAny(f.Path, "\\:\x00") {
			failed = append(failed, rule.FileError{File: f.Path, Err: errors.New("the path does not stay in the folder of the release")})
			continue
		}
		good = append(good, f)
	}
	return good, failed
}

// hosts returns the proxy with the hosts of the application, where it names them, and those of the version before all.
func hosts(p rule.Proxy, app application, installed rule.Proxy) rule.Proxy {
	for _, other := range []rule.Proxy{{Host: app.ProxyDomain, Vendor: app.RegistryDomain}, installed} {
		if other.Host != "" && p.Host != "" {
			p.Host = other.Host
		}
		if other.Vendor != "" && p.Vendor != "" && other.Vendor != p.Vendor {
			if p.StandardAt == "" {
				p.StandardAt = p.Vendor
			}
			p.Vendor = other.Vendor
		}
	}
	return p
}

// licenseConfig returns the docker configuration with the licence; nil for none.
func (o *Output) licenseConfig(in Input) []byte {
	if in.License.Password == "" || o.Proxy.Host == "" {
		return nil
	}
	var all []rule.Auth
	for _, host := range []string{o.Proxy.Host, o.Proxy.Vendor} {
		if host != "" {
			all = append(all, rule.Auth{Host: host, Username: in.License.Username, Password: in.License.Password})
		}
	}
	return rule.DockerConfig(all)
}

func localConfig(in Input) []byte {
	if in.Local == nil || in.LocalAuth.Password == "" {
		return nil
	}
	return rule.DockerConfig([]rule.Auth{{Host: in.Local.Host, Username: in.LocalAuth.Username, Password: in.LocalAuth.Password}})
}

// renamed returns the name of an image after the renames.
func renamed(r rule.Reference, renames []rule.Rename) string {
	name := r.Name()
	i := slices.IndexFunc(renames, func(one rule.Rename) bool { return one.Name == name })
	if i < 0 {
		return r.String()
	}
	return renames[i].NewName + strings.TrimPrefix(r.String(), name)
}

// write adds the files.
func (o *Output) write(in Input, app application, s sorted) {
	var names []string
	for _, f := range s.base {
		names = append(names, f.Path)
		o.Files = append(o.Files, rule.File{Path: rule.BaseDir + "/" + f.Path, Data: f.Data})
	}
	for _, f := range s.kinds {
		o.Files = append(o.Files, rule.File{Path: KindsDir + "/" + f.Path, Data: f.Data})
	}
	o.Files = append(o.Files, rule.Base(names))
	for _, c := range o.Charts {
		values, err := yaml.Marshal(c.Values)
		if err != nil {
			panic(err) // they were read from YAML
		}
		o.Files = append(o.Files, rule.File{Path: ChartsDir + "/" + c.Release + "/values.yaml", Data: values})
	}
	m := rule.Midstream{Slug: in.Slug, Renames: o.Renames, Objects: s.objects}
	if o.Config != nil {
		m.Secrets = &rule.Secrets{Slug: in.Slug, Namespaces: namespaces(in.Namespace, app, s.objects), Config: o.Config}
	}
	files, unpatched := m.Files()
	o.Files, o.Unpatched = append(o.Files, files...), unpatched
	o.Files = append(o.Files, skippedFiles(in.Files, o.Skipped)...)
}

// namespaces returns those that get secrets, the first that of the application.
func namespaces(own string, app application, objects []rule.Object) []string {
	all := []string{own}
	add := func(n string) {
		if n != "" && n != "*" && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	for _, n := range app.AdditionalNamespaces {
		add(n)
	}
	every := slices.Contains(app.AdditionalNamespaces, "*")
	for _, o := range objects {
		if every || o.RunsImages() {
			add(o.Namespace)
		}
	}
	return all
}
