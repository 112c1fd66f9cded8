package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The largest input of Find.
const (
	MaxFile    = 16 << 20 // bytes of a file
	MaxObjects = 100_000  // in all files
)

// File is a file with its path relative to a folder, with slashes.
type File struct {
	Path string
	Data []byte
}

// Object is an object of Kubernetes in a file.
type Object struct {
	APIVersion, Kind  string
	Name, Namespace   string // Namespace "" if the object says none
	File              string
	Line              int  // where the document begins, from 1
	Excluded          bool // an annotation says that it is not installed
	images            []placed
	pods              podPath
	volumes           []volume // whose content is an image
	secrets           []string // names in imagePullSecrets that it has
	generatedNameOnly bool
}

// String returns the object for messages, such as "Deployment web in web.yaml line 3".
func (o Object) String() string {
	return fmt.Sprintf("%s %s in %s line %d", o.Kind, o.Name, o.File, o.Line)
}

// placed is a text with the path of the value that it is.
type placed struct{ path, text string }

// volume is a volume of pods whose content is an image.
type volume struct{ name, image string }

// podPath says where an object has the spec of its pods.
type podPath uint8

const (
	noPods      podPath = iota
	podSpec             // spec, of a Pod
	templateOf          // spec.template.spec
	jobTemplate         // spec.jobTemplate.spec.template.spec
)

// Image is an image that objects run.
type Image struct {
	Reference
	Objects []Object // that run it, in the order of the files
}

// Unseen is a text that looks like an image, at a place where an installer does not look, or the image of a pod that is no name of an
// image: nothing is rewritten there.
type Unseen struct {
	Object
	Path string // of the value, such as spec.image
	Text string
	Err  error // why it is no name of an image; nil for a text at another place
}

// Why returns why nothing is rewritten.
func (u Unseen) Why() string {
	if u.Err != nil {
		return u.Err.Error()
	}
	return "it is at no place where installers look"
}

// FileError is a file, or an object, that could not be read.
type FileError struct {
	File string
	Line int // from 1; 0 for the whole file
	Err  error
}

// Error returns the place and the reason.
func (e FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s: line %d: %v", e.File, e.Line, e.Err)
}

// Found is what is in some files.
type Found struct {
	Images  []Image     // by reference as written, sorted
	Objects []Object    // all objects, in the order of the files
	Unseen  []Unseen    // in the order of the files
	Skipped []FileError // what is not YAML or no object

	Documents []Document // in the order of the files, without those that have nothing
}

// Document is a document of a file.
type Document struct {
	File    string
	Line    int      // of its first line in the file, from 1
	Data    []byte   // without the line that separates it from the one before
	Objects []Object // in it: several for a list
	Err     error    // it is no YAML or no object
}

// Split returns the documents of a file. Nothing of them is interpreted.
func Split(f File) []Document {
	if strings.EqualFold(path.Ext(f.Path), ".json") {
		return []Document{{File: f.Path, Line: 1, Data: f.Data}}
	}
	var all []Document
	from, begin, line := 0, 1, 0
	add := func(end int) {
		if !remarks(f.Data[from:end]) {
			all = append(all, Document{File: f.Path, Line: begin, Data: f.Data[from:end]})
		}
	}
	for at := 0; at < len(f.Data); line++ {
		end := len(f.Data)
		if i := bytes.IndexByte(f.Data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		text := f.Data[at:end]
		switch rest, separates := bytes.CutPrefix(text, []byte("---")); {
		case separates && len(bytes.TrimSpace(rest)) == 0:
			add(at)
			from, begin = end, line+2
		case separates && (rest[0] == ' ' || rest[0] == '\t'): // the document begins in this line
			add(at)
			from, begin = at, line+1
		case bytes.Equal(bytes.TrimSpace(text), []byte("...")) && text[0] == '.':
			add(at)
			from, begin = end, line+2
		}
		at = end
	}
	add(len(f.Data))
	return all
}

// remarks reports whether text has only comments, directives and blank lines.
func remarks(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

// truth returns a value of an annotation as text, also one that is a boolean by mistake.
func truth(v any) string { return strings.ToLower(fmt.Sprint(v)) }

// Find finds the images in files whose names end in .yaml, .yml or .json: those of the containers, init containers and volumes of pods, of
// what has a template of pods, and of jobs that are scheduled. Lists are looked into. Other files are left alone.
//
// An image in another place, such as a custom resource or an ephemeral container, is in Unseen, and so is one of a volume of a custom
// resource: lists of those cannot be patched by name.
func Find(files []File) Found {
	var f Found
	byRef := map[string]*Image{}
	for _, file := range files {
		if !Manifest(file.Path) {
			continue
		}
		if len(file.Data) > MaxFile {
			f.Skipped = append(f.Skipped, FileError{File: file.Path, Err: fmt.Errorf("it has more than %d bytes", MaxFile)})
			continue
		}
		f.file(file, byRef)
	}
	for _, ref := range slices.Sorted(maps.Keys(byRef)) {
		f.Images = append(f.Images, *byRef[ref])
	}
	return f
}

// Manifest reports whether Find reads a file, by its name.
func Manifest(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(path.Ext(name)))
}

// file adds what is in one file.
func (f *Found) file(file File, byRef map[string]*Image) {
	for _, d := range Split(file) {
		objects, skipped := len(f.Objects), len(f.Skipped)
		f.document(&d, byRef)
		d.Objects = slices.Clone(f.Objects[objects:])
		if d.Err == nil && len(d.Objects) == 0 && len(f.Skipped) == skipped {
			continue // nothing but comments, or an empty list
		}
		f.Documents = append(f.Documents, d)
	}
}

// document adds the objects of one document, or sets its Err.
func (f *Found) document(d *Document, byRef map[string]*Image) {
	fail := func(line int, err error) {
		d.Err = err
		f.Skipped = append(f.Skipped, FileError{File: d.File, Line: line, Err: err})
	}
	var n yaml.Node
	if err := yaml.Unmarshal(d.Data, &n); err != nil {
		fail(d.Line, fmt.Errorf("the document that begins here: %w", err))
		return
	}
	if len(n.Content) == 0 || n.Content[0].Tag == "!!null" {
		return
	}
	line := d.Line - 1 + n.Content[0].Line
	var m map[string]any
	if err := n.Content[0].Decode(&m); err != nil {
		fail(line, err)
		return
	}
	if len(m) == 0 {
		return
	}
	if err := f.object(d.File, line, m, byRef, 0); err != nil {
		fail(line, err)
	}
}

// object adds one object, or those of a list. Its error is that of an object that is none, alone or in a list.
func (f *Found) object(file string, line int, m map[string]any, byRef map[string]*Image, depth int) error {
	kind, _ := m["kind"].(string)
	if items, ok := m["items"].([]any); ok && strings.HasSuffix(kind, "List") && depth < 3 {
		for _, item := range items {
			one, ok := item.(map[string]any)
			if !ok {
				return errors.New("an item of the list is no object")
			}
			if err := f.object(file, line, one, byRef, depth+1); err != nil {
				return fmt.Errorf("an item of the list: %w", err)
			}
		}
		return nil
	}
	version, _ := m["apiVersion"].(string)
	if kind == "" || version == "" {
		return errors.New("it is no object: kind or apiVersion is missing")
	}
	if len(f.Objects) >= MaxObjects {
		return fmt.Errorf("there are more than %d objects", MaxObjects)
	}
	meta := child(m, "metadata")
	o := Object{APIVersion: version, Kind: kind, File: file, Line: line}
	o.Name, _ = meta["name"].(string)
	o.Namespace, _ = meta["namespace"].(string)
	_, generated := meta["generateName"]
	notes := child(meta, "annotations")
	o.Excluded = truth(notes["kots.io/exclude"]) == "true" || truth(notes["kots.io/when"]) == "false"
	o.generatedNameOnly = generated && o.Name == ""
	seen := map[string]bool{} // paths of values that were read as images
	spec := child(m, "spec")
	switch {
	case kind == "Pod":
		o.take(podSpec, spec, "spec", seen)
	case child(child(child(spec, "jobTemplate"), "spec"), "template") != nil:
		template := child(child(child(spec, "jobTemplate"), "spec"), "template")
		o.take(jobTemplate, child(template, "spec"), "spec.jobTemplate.spec.template.spec", seen)
	case child(spec, "template") != nil:
		o.take(templateOf, child(child(spec, "template"), "spec"), "spec.template.spec", seen)
	}
	for _, p := range o.images {
		text := p.text
		ref, err := ParseReference(text)
		if err != nil {
			f.Unseen = append(f.Unseen, Unseen{Object: o, Path: p.path, Text: text, Err: err})
			continue
		}
		image := byRef[text]
		if image == nil {
			image = &Image{Reference: ref}
			byRef[text] = image
		}
		if n := len(image.Objects); n == 0 || image.Objects[n-1].key() != o.key() {
			image.Objects = append(image.Objects, o)
		}
	}
	f.Objects = append(f.Objects, o)
	f.unseen(o, m, "", seen, 0)
	return nil
}

// RunsImages reports whether Find has read images in the object.
func (o Object) RunsImages() bool { return o.pods != noPods }

// ID returns what identifies an object in a cluster, whatever the version of its kind.
func (o Object) ID() string {
	group, _, ok := strings.Cut(o.APIVersion, "/")
	if !ok {
		group = ""
	}
	return strings.Join([]string{group, o.Kind, o.Namespace, o.Name}, "\x00")
}

// key identifies an object.
func (o Object) key() string {
	return strings.Join([]string{o.APIVersion, o.Kind, o.Namespace, o.Name}, "\x00")
}

// take notes the images and pull secrets of a spec of pods, which may be nil.
func (o *Object) take(at podPath, spec map[string]any, where string, seen map[string]bool) {
	for _, list := range []string{"initContainers", "containers"} {
		containers, _ := spec[list].([]any)
		for i, c := range containers {
			one, _ := c.(map[string]any)
			text, _ := one["image"].(string)
			if text == "" {
				continue
			}
			o.pods = at
			path := fmt.Sprintf("%s.%s[%d].image", where, list, i)
			o.images = append(o.images, placed{path, text})
			seen[path] = true
		}
	}
	volumes, _ := spec["volumes"].([]any)
	for i, v := range volumes {
		one, _ := v.(map[string]any)
		label, _ := one["name"].(string)
		text, _ := child(one, "image")["reference"].(string)
		if text == "" || label == "" || !mergesByName(*o) {
			continue
		}
		o.pods = at
		path := fmt.Sprintf("%s.volumes[%d].image.reference", where, i)
		o.images, o.volumes = append(o.images, placed{path, text}), append(o.volumes, volume{label, text})
		seen[path] = true
	}
	secrets, _ := spec["imagePullSecrets"].([]any)
	for _, s := range secrets {
		one, _ := s.(map[string]any)
		if text, _ := one["name"].(string); text != "" {
			o.secrets = append(o.secrets, text)
		}
	}
}

// child returns a map in a map; nil if there is none.
func child(m map[string]any, key string) map[string]any {
	c, _ := m[key].(map[string]any)
	return c
}

// maxUnseenDepth limits how deep unseen looks.
const maxUnseenDepth = 32

// unseen adds texts that look like images at other places of an object.
func (f *Found) unseen(o Object, v any, at string, seen map[string]bool, depth int) {
	if depth > maxUnseenDepth {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			where := strings.TrimPrefix(at+"."+key, ".")
			if text, ok := v[key].(string); ok && imageKey(key) && !seen[where] && looksLikeImage(text, key) {
				f.Unseen = append(f.Unseen, Unseen{Object: o, Path: where, Text: text})
			}
			if text, ok := child(v, key)["reference"].(string); ok && key == "image" && !seen[where+".reference"] && looksLikeImage(text, key) {
				f.Unseen = append(f.Unseen, Unseen{Object: o, Path: where + ".reference", Text: text})
			}
			f.unseen(o, v[key], where, seen, depth+1)
		}
		repo, _ := v["repository"].(string)
		tag, hasTag := v["tag"]
		if ref, err := ParseReference(repo); err == nil && repo != "" && hasTag {
			if host, _ := v["registry"].(string); host != "" && ref.Host == "" {
				repo = host + "/" + repo
			}
			f.Unseen = append(f.Unseen, Unseen{Object: o, Path: at, Text: fmt.Sprintf("%s:%v", repo, tag)})
		}
	case []any:
		for i, one := range v {
			f.unseen(o, one, fmt.Sprintf("%s[%d]", at, i), seen, depth+1)
		}
	}
}

// imageKey reports whether values of a key are often images.
func imageKey(key string) bool {
	return key == "image" || strings.HasSuffix(key, "Image") || strings.HasSuffix(strings.ToLower(key), "_image")
}

// looksLikeImage reports whether a text is probably the name of an image: it parses as one, and has a slash, a tag or a digest, or its key
// is image.
func looksLikeImage(text, key string) bool {
	_, err := ParseReference(text)
	return err == nil && (key == "image" || strings.ContainsAny(text, "/:@"))
}
