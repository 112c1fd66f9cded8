package rewrite

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/template"
	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// The folders of an application beside those of package rule/rewrite.
const (
	UpstreamDir = "upstream"          // the release as it is
	UserDir     = "upstream/userdata" // licence, values of the customer, and installation.yaml
	KindsDir    = "kotsKinds"         // objects for installers
	SkippedDir  = "skippedFiles"
	RenderedDir = "rendered/this-cluster" // what overlays build
)

// render renders the templates in manifests. A file whose templates fail is left out.
func render(files []rule.File, v template.Values, packed []archive) (rendered []rule.File, failed []rule.FileError) {
	for _, f := range files {
		if !rule.Manifest(f.Path) || strings.HasPrefix(f.Path, path.Base(UserDir)+"/") {
			continue
		}
		text, err := renderChart(f, v, packed)
		if err != nil {
			failed = append(failed, rule.FileError{File: f.Path, Err: err})
			continue
		}
		rendered = append(rendered, rule.File{Path: f.Path, Data: text})
	}
	return rendered, failed
}

// forInstallers reports whether an object is for installers, and not for a cluster.
func forInstallers(o rule.Object) bool {
	group, _, _ := strings.Cut(o.APIVersion, "/")
	return slices.Contains([]string{"kots.io", "troubleshoot.sh", "troubleshoot.replicated.com", "embeddedcluster.replicated.com",
		"cluster.kurl.sh", "kurl.sh"}, group) || group == "velero.io" && o.Kind == "Backup" ||
		group == "app.k8s.io" && o.Kind == "Application"
}

// sorted are documents by where they go.
type sorted struct {
	base, kinds []rule.File // with paths relative to their folders
	objects     []rule.Object
	images      []rule.Image // of the objects
	unseen      []rule.Unseen
	skipped     []rule.FileError
	seen        map[string]string // file of each object
}

// add sorts the documents. Of two objects with one name, the first is used.
func (s *sorted) add(found rule.Found) {
	s.skipped = append(s.skipped, found.Skipped...)
	in := map[string]bool{}
	for _, d := range found.Documents {
		if d.Err != nil {
			continue // it is in Skipped
		}
		switch why := s.refuse(d); {
		case why == "":
			s.objects = append(s.objects, d.Objects...)
			s.base = appendTo(s.base, d)
			for _, o := range d.Objects {
				in[o.String()] = true
			}
		case why == kept:
			s.kinds = appendTo(s.kinds, d)
		default:
			s.skipped = append(s.skipped, rule.FileError{File: d.File, Line: d.Line, Err: fmt.Errorf("%s", why)})
		}
	}
	s.keep(found, in)
}

const kept = "kept" // the document is for installers

// refuse returns why a document does not go to the cluster; "" if it does, kept if it is for installers.
func (s *sorted) refuse(d rule.Document) string {
	for _, o := range d.Objects {
		group, _, _ := strings.Cut(o.APIVersion, "/")
		switch id := o.ID(); {
		case forInstallers(o):
			return kept
		case o.Excluded:
			return "an annotation of " + o.String() + " says that it is not installed"
		case group == "kustomize.config.k8s.io" || o.Kind == "Kustomization" && group == "":
			return "it is a kustomization: build it with kustomize, and rewrite the result"
		case o.Name == "":
			return o.Kind + " without metadata.name: kustomize builds only objects with a name"
		case s.seen[id] != "":
			return o.String() + " is in " + s.seen[id] + " already, and only that one is used"
		default:
			s.seen[id] = o.File
		}
	}
	return ""
}

// appendTo appends a document to its file, the last one or a new one.
func appendTo(files []rule.File, d rule.Document) []rule.File {
	text := d.Data
	if !bytes.HasSuffix(text, []byte("\n")) {
		text = append(slices.Clip(text), '\n')
	}
	if n := len(files); n > 0 && files[n-1].Path == d.File {
		if !bytes.HasPrefix(text, []byte("---")) {
			files[n-1].Data = append(files[n-1].Data, "---\n"...)
		}
		files[n-1].Data = append(files[n-1].Data, text...)
		return files
	}
	return append(files, rule.File{Path: d.File, Data: slices.Clone(text)})
}

// keep keeps the images and the unseen ones of what goes to the cluster.
func (s *sorted) keep(found rule.Found, in map[string]bool) {
	for _, i := range found.Images {
		i.Objects = slices.DeleteFunc(slices.Clone(i.Objects), func(o rule.Object) bool { return !in[o.String()] })
		if len(i.Objects) > 0 {
			s.images = withImage(s.images, i)
		}
	}
	for _, u := range found.Unseen {
		if in[u.Object.String()] {
			s.unseen = append(s.unseen, u)
		}
	}
}

// withImage adds an image to those of other files.
func withImage(all []rule.Image, image rule.Image) []rule.Image {
	i, there := slices.BinarySearchFunc(all, image.String(), func(a rule.Image, s string) int { return strings.Compare(a.String(), s) })
	if there {
		all[i].Objects = append(slices.Clip(all[i].Objects), image.Objects...)
		return all
	}
	return slices.Insert(all, i, image)
}

// withMore adds the images of charts, and those that the vendor says are needed besides, without those that it excludes.
func withMore(images, others []rule.Image, app application) []rule.Image {
	images = slices.Clone(images)
	for _, i := range others {
		images = withImage(images, rule.Image{Reference: i.Reference})
	}
	for _, text := range app.AdditionalImages {
		if r, err := rule.ParseReference(text); err == nil {
			images = withImage(images, rule.Image{Reference: r})
		}
	}
	return slices.DeleteFunc(images, func(i rule.Image) bool { return len(i.Objects) == 0 && slices.Contains(app.ExcludedImages, i.String()) })
}

// application is what an object of the kind Application of a release says to installers.
type application struct {
	ProxyDomain          string   `yaml:"proxyRegistryDomain"`
	RegistryDomain       string   `yaml:"replicatedRegistryDomain"`
	AdditionalNamespaces []string `yaml:"additionalNamespaces"`
	AdditionalImages     []string `yaml:"additionalImages"`
	ExcludedImages       []string `yaml:"excludedImages"`
}

// applications returns the first Application in files; the zero value if there is none that can be read.
func applications(files []rule.File) application {
	for _, f := range files {
		if !rule.Manifest(f.Path) || !bytes.Contains(f.Data, []byte("kots.io/")) {
			continue
		}
		for _, d := range rule.Split(f) {
			var o struct {
				APIVersion string `yaml:"apiVersion"`
				Kind       string
				Spec       application
			}
			if safeyaml.Unmarshal(d.Data, &o) == nil && o.Kind == "Application" && strings.HasPrefix(o.APIVersion, "kots.io/") {
				return o.Spec
			}
		}
	}
	return application{}
}

// skippedFiles returns the index of what was skipped, and the files that it names.
func skippedFiles(files []rule.File, skipped []rule.FileError) []rule.File {
	type entry struct {
		Path   string `yaml:"path"`
		Line   int    `yaml:"line,omitempty"`
		Reason string `yaml:"reason"`
	}
	index := struct {
		SkippedFiles []entry `yaml:"skippedFiles"`
	}{[]entry{}}
	var all []rule.File
	for _, s := range skipped {
		index.SkippedFiles = append(index.SkippedFiles, entry{s.File, s.Line, s.Err.Error()})
		here := func(f rule.File) bool { return f.Path == SkippedDir+"/"+s.File }
		if i := slices.IndexFunc(files, func(f rule.File) bool { return f.Path == s.File }); i >= 0 && !slices.ContainsFunc(all, here) {
			all = append(all, rule.File{Path: SkippedDir + "/" + s.File, Data: files[i].Data})
		}
	}
	text, err := yaml.Marshal(index)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return append(all, rule.File{Path: SkippedDir + "/_index.yaml", Data: text})
}
