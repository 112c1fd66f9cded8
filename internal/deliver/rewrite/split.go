package rewrite

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// The library of kustomize compares each object that it reads with all before, and looks for each image in all objects: 10,000 objects
// would take hours. The generated overlay changes each object by itself. So the objects are built in parts, each with the images and
// patches that it needs, and the results are put together: it is the same text (TestPartsAreBuiltAsTheWhole).
const (
	maxWhole = 200 // objects that are built at once
	inPart   = 8   // objects of a part
)

// generatedKustomization is the kustomization of the generated overlay, or of the base.
type generatedKustomization struct {
	APIVersion   string            `yaml:"apiVersion"`
	Kind         string            `yaml:"kind"`
	Bases        []string          `yaml:"bases,omitempty"`
	Annotations  map[string]string `yaml:"commonAnnotations,omitempty"`
	Images       []rule.Rename     `yaml:"images,omitempty"`
	Patches      []string          `yaml:"patchesStrategicMerge,omitempty"`
	ByKind       []any             `yaml:"patches,omitempty"`
	Resources    []string          `yaml:"resources,omitempty"`
	Transformers []string          `yaml:"transformers,omitempty"`
}

// strict reads YAML without members that are not known.
func strict(text []byte, into any) bool {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	return d.Decode(into) == nil
}

// whole are the files of base and overlays, by path.
type whole struct {
	files     map[string][]byte
	base, mid generatedKustomization
}

// split returns the objects of the base, if there are so many of them that they are built in parts, and if the kustomizations are those
// that are generated. Else it returns nil.
func (w *whole) split() []rule.Document {
	if !strict(w.files[rule.BaseDir+"/"+rule.Kustomization], &w.base) ||
		!strict(w.files[rule.MidstreamDir+"/"+rule.Kustomization], &w.mid) ||
		len(w.base.Bases)+len(w.base.Annotations)+len(w.base.Images)+len(w.base.Patches)+len(w.base.ByKind)+len(w.base.Transformers) > 0 ||
		!slices.Equal(w.mid.Bases, []string{"../../" + rule.BaseDir}) {
		return nil
	}
	var all []rule.Document
	for _, name := range w.base.Resources {
		text, ok := w.files[path.Join(rule.BaseDir, name)]
		if !ok {
			return nil // a folder, or nothing: kustomize says which
		}
		all = append(all, rule.Split(rule.File{Path: name, Data: text})...)
	}
	if len(all) <= maxWhole {
		return nil
	}
	return all
}

// midstream returns what the generated overlay makes of the objects, in parts.
func (w *whole) midstream(all []rule.Document) ([]byte, error) {
	var out bytes.Buffer
	add := func(text []byte) {
		if out.Len() > 0 && len(text) > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	if len(w.mid.Resources) > 0 { // the secrets come first, as in a build of the whole
		k := w.mid
		k.Bases, k.Images, k.Patches, k.ByKind = nil, nil, nil, nil
		text, err := w.part(k, nil)
		if err != nil {
			return nil, err
		}
		add(text)
	}
	patches := map[string][]rule.Document{} // by object
	for _, file := range w.mid.Patches {
		for _, d := range rule.Split(rule.File{Path: file, Data: w.files[path.Join(rule.MidstreamDir, file)]}) {
			ids := identities(d.Data)
			if len(ids) != 1 {
				return nil, fmt.Errorf("%s, line %d: it is no object", file, d.Line)
			}
			patches[ids[0]] = append(patches[ids[0]], d)
		}
	}
	images := map[string]rule.Rename{}
	for _, r := range w.mid.Images {
		images[r.Name] = r
	}
	for _, part := range parts(all) {
		k := w.mid
		k.Resources, k.Images, k.Patches = nil, nil, nil
		names := map[string]bool{}
		more := map[string][]byte{}
		var patch bytes.Buffer
		for _, d := range part {
			more[rule.BaseDir+"/"+d.File] = slices.Concat(more[rule.BaseDir+"/"+d.File], []byte("---\n"), d.Data, []byte("\n"))
			var n yaml.Node
			if err := yaml.Unmarshal(d.Data, &n); err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", d.File, d.Line, err)
			}
			imagesIn(&n, names, map[*yaml.Node]bool{})
			for _, id := range identities(d.Data) {
				for _, p := range patches[id] {
					patch.WriteString("---\n")
					patch.Write(p.Data)
					patch.WriteByte('\n')
				}
				delete(patches, id)
			}
		}
		for _, r := range w.mid.Images { // in their order
			if names[r.Name] {
				k.Images = append(k.Images, images[r.Name])
			}
		}
		if patch.Len() > 0 {
			k.Patches = []string{"part.yaml"}
			more[rule.MidstreamDir+"/part.yaml"] = patch.Bytes()
		}
		built, err := w.part(k, more)
		if err != nil {
			return nil, err
		}
		add(built)
	}
	for _, left := range patches {
		return nil, fmt.Errorf("%s, line %d: there is no such object", left[0].File, left[0].Line)
	}
	return out.Bytes(), nil
}

// parts divides objects. A file with a list stays whole: kustomize puts the items of a list after the other objects of its file.
func parts(all []rule.Document) (out [][]rule.Document) {
	withList := map[string]bool{}
	for _, d := range all {
		withList[d.File] = withList[d.File] || bytes.Contains(d.Data, []byte("List"))
	}
	for len(all) > 0 {
		n := min(len(all), inPart)
		for n < len(all) && withList[all[n].File] && all[n].File == all[n-1].File {
			n++
		}
		out, all = append(out, all[:n]), all[n:]
	}
	return out
}

// part builds the generated overlay with another kustomization. more are further files, with those of the base.
func (w *whole) part(k generatedKustomization, more map[string][]byte) ([]byte, error) {
	files := filesys.MakeFsInMemory()
	write := func(name string, data []byte) error { return files.WriteFile("/app/"+name, data) }
	text, err := yaml.Marshal(k)
	if err == nil {
		err = write(rule.MidstreamDir+"/"+rule.Kustomization, modern(text))
	}
	if err == nil && len(k.Bases) > 0 {
		b := w.base
		b.Resources = slices.DeleteFunc(slices.Clone(b.Resources), func(name string) bool {
			_, ok := more[path.Join(rule.BaseDir, name)]
			return !ok
		})
		if text, err = yaml.Marshal(b); err == nil {
			err = write(rule.BaseDir+"/"+rule.Kustomization, text)
		}
	}
	for name, data := range more {
		if err == nil {
			err = write(name, data)
		}
	}
	for name, data := range w.files { // what the kustomization names: secrets, patches by kind, transformers
		if dir, base := path.Split(name); err == nil && dir == rule.MidstreamDir+"/" && base != rule.Kustomization {
			err = write(name, data)
		}
	}
	if err != nil {
		return nil, err
	}
	return build(files, rule.MidstreamDir)
}

// plainDownstream reports whether the overlay of the customer changes nothing.
func (w *whole) plainDownstream() bool {
	var k generatedKustomization
	text, ok := w.files[rule.DownstreamDir+"/"+rule.Kustomization]
	if !ok || !strict(text, &k) || (k.APIVersion != "" && k.APIVersion != "kustomize.config.k8s.io/v1beta1") ||
		(k.Kind != "" && k.Kind != "Kustomization") {
		return false
	}
	all := append(slices.Clone(k.Resources), k.Bases...)
	k.Resources, k.Bases = nil, nil
	return slices.Equal(all, []string{"../../midstream"}) && len(k.Annotations)+len(k.Images)+len(k.Patches)+len(k.ByKind)+
		len(k.Transformers) == 0
}

// identities returns what names the object in a document, or those of a list.
func identities(text []byte) (all []string) {
	type object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Name, Namespace string }
		Items      []yaml.Node
	}
	var add func(o object, depth int)
	add = func(o object, depth int) {
		if strings.HasSuffix(o.Kind, "List") && depth < 3 { // as Find has it
			for _, item := range o.Items {
				var one object
				if item.Decode(&one) == nil {
					add(one, depth+1)
				}
			}
		}
		all = append(all, strings.Join([]string{o.APIVersion, o.Kind, o.Metadata.Namespace, o.Metadata.Name}, "\x00"))
	}
	var o object
	if safeyaml.Unmarshal(text, &o) == nil && o.Kind != "" {
		add(o, 0)
	}
	return all
}

// imagesIn adds the names that kustomize may compare with those of images: the values of keys image, with and without what may be a tag
// and a digest. seen are the nodes that others name.
func imagesIn(n *yaml.Node, names map[string]bool, seen map[*yaml.Node]bool) {
	if n.Kind == yaml.AliasNode {
		if n = n.Alias; seen[n] {
			return
		}
		seen[n] = true
	}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue
		}
		value := c
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if n.Kind == yaml.MappingNode && n.Content[i-1].Value == "image" && value.Kind == yaml.ScalarNode {
			name, _, _ := strings.Cut(value.Value, "@")
			names[value.Value], names[name] = true, true
			if i := strings.LastIndexByte(name, ':'); i >= 0 {
				names[name[:i]] = true
			}
			continue
		}
		imagesIn(c, names, seen)
	}
}
