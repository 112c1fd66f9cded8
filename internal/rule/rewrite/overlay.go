package rewrite

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The folders of an application at the installer, and the names of files in them.
const (
	BaseDir        = "base"
	MidstreamDir   = "overlays/midstream"
	DownstreamDir  = "overlays/downstreams/this-cluster"
	Kustomization  = "kustomization.yaml"
	secretFile     = "secret.yaml"
	patchFile      = "pullsecrets.yaml"
	volumesFile    = "volumes.yaml"
	labelsFile     = "backup-label-transformer.yaml"
	slugAnnotation = "kots.io/app-slug"
)

// Auth is a host with what a client sends to it.
type Auth struct {
	Host               string // with port, without a path
	Username, Password string
}

// DockerConfig returns the JSON that clients read credentials from, with one entry for each host.
func DockerConfig(auths []Auth) []byte {
	type entry struct {
		Auth string `json:"auth"`
	}
	all := map[string]entry{}
	for _, a := range auths {
		all[a.Host] = entry{base64.StdEncoding.EncodeToString([]byte(a.Username + ":" + a.Password))}
	}
	text, err := json.Marshal(map[string]any{"auths": all})
	if err != nil {
		panic(err) // strings only
	}
	return text
}

// Secrets are the pull secrets of an application.
type Secrets struct {
	Slug       string
	Namespaces []string // of the application first; a secret without a namespace if there is none
	Config     []byte   // of DockerConfig
}

// SecretName returns the name of the pull secret of an application.
func SecretName(slug string) string { return slug + "-registry" }

// adminSecretName is the name of the second pull secret, which installers of the vendor's guide use for themselves.
const adminSecretName = "kotsadm-replicated-registry"

// object is an object of Kubernetes with its members in the usual order.
type object struct {
	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Metadata   metadata          `yaml:"metadata"`
	Type       string            `yaml:"type,omitempty"`
	Data       map[string]string `yaml:"data,omitempty"`
	Spec       any               `yaml:"spec,omitempty"`
}

type metadata struct {
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// YAML returns the secrets as documents. Annotations create them before everything else.
func (s Secrets) YAML() []byte {
	namespaces := s.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	var all []any
	for _, namespace := range namespaces {
		for _, name := range []string{SecretName(s.Slug), adminSecretName} {
			all = append(all, object{APIVersion: "v1", Kind: "Secret", Metadata: metadata{Name: name, Namespace: namespace,
				Annotations: map[string]string{"kots.io/creation-phase": "-9999", "helm.sh/hook": "pre-install,pre-upgrade",
					"helm.sh/hook-weight": "-9999"}},
				Type: "kubernetes.io/dockerconfigjson", Data: map[string]string{".dockerconfigjson": base64.StdEncoding.EncodeToString(s.Config)}})
		}
	}
	return documents(all)
}

// documents returns values as YAML documents.
func documents(all []any) []byte {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	for _, one := range all {
		if err := e.Encode(one); err != nil {
			panic(fmt.Sprintf("encoding %T: %v", one, err)) // structs, maps and strings only
		}
	}
	if err := e.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// references is a list of secrets, as pods have it.
type reference struct {
	Name string `yaml:"name"`
}

// Patch is a strategic merge patch in a file of its own, or in one with others.
type Patch struct {
	Target *Target // nil for the object that the patch names
	Text   []byte
}

// Target are the objects that a patch is for.
type Target struct {
	Group   string `yaml:"group,omitempty"`
	Version string `yaml:"version"`
	Kind    string `yaml:"kind"`
}

// maxPatches is how many objects have a patch each. Kustomize copies all objects for each patch, so that more of them take minutes: then
// the objects of a kind have one patch.
const maxPatches = 100

// Patches returns the patches that add a pull secret to all objects that run images, also those whose images are public. Objects that
// cannot be patched, because they have no name of their own, are returned too.
func Patches(objects []Object, secret string) (patches []Patch, unpatched []Object) {
	var each []Object
	done := map[string]bool{}
	for _, o := range objects {
		switch {
		case o.pods == noPods || done[o.key()]:
		case o.generatedNameOnly || o.Name == "":
			unpatched = append(unpatched, o)
		default:
			done[o.key()] = true
			each = append(each, o)
		}
	}
	byKind := map[string]Object{}
	if len(each) > maxPatches {
		byKind = alike(objects)
	}
	var single []any
	for _, o := range each {
		if _, ok := byKind[o.APIVersion+" "+o.Kind]; !ok {
			single = append(single, o.patch(o.Name, secret))
		}
	}
	if len(single) > 0 {
		patches = append(patches, Patch{Text: documents(single)})
	}
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		o := byKind[kind]
		o.Namespace = ""
		t := Target{Version: o.APIVersion, Kind: o.Kind}
		if group, version, ok := strings.Cut(o.APIVersion, "/"); ok {
			t.Group, t.Version = group, version
		}
		patches = append(patches, Patch{&t, documents([]any{o.patch("all", secret)})})
	}
	return patches, unpatched
}

// alike returns an object of each kind of Kubernetes itself whose objects all run images, and have them at one place.
func alike(objects []Object) map[string]Object {
	all, differ := map[string]Object{}, map[string]bool{}
	for _, o := range objects {
		kind := o.APIVersion + " " + o.Kind
		if first, ok := all[kind]; o.pods == noPods || !mergesByName(o) || ok && first.pods != o.pods {
			differ[kind] = true
		}
		all[kind] = o
	}
	maps.DeleteFunc(all, func(kind string, _ Object) bool { return differ[kind] })
	return all
}

// patch returns the patch that adds a pull secret to an object.
func (o Object) patch(name, secret string) object {
	list := []reference{{secret}}
	if !mergesByName(o) { // the list of a custom resource is replaced: it keeps what it has
		for _, own := range o.secrets {
			if own != secret {
				list = append(list, reference{own})
			}
		}
	}
	return o.withSpec(name, map[string]any{"imagePullSecrets": list})
}

// withSpec returns a patch with a part of the spec of the pods.
func (o Object) withSpec(name string, spec any) object {
	inner := func(key string, v any) map[string]any { return map[string]any{key: v} }
	switch o.pods {
	case templateOf:
		spec = inner("template", inner("spec", spec))
	case jobTemplate:
		spec = inner("jobTemplate", inner("spec", inner("template", inner("spec", spec))))
	}
	return object{APIVersion: o.APIVersion, Kind: o.Kind, Metadata: metadata{Name: name, Namespace: o.Namespace}, Spec: spec}
}

// volumes returns the patches that rename the images of volumes, nil for none: kustomize does not look there, or only in some kinds.
func volumes(objects []Object, renames []Rename) []byte {
	to := map[string]string{}
	for _, r := range renames {
		to[r.Name] = r.NewName
	}
	var all []any
	done := map[string]bool{}
	for _, o := range objects {
		var list []any
		for _, v := range o.volumes {
			r, err := ParseReference(v.image)
			if err != nil || to[r.Name()] == "" {
				continue
			}
			list = append(list, map[string]any{"name": v.name,
				"image": map[string]any{"reference": to[r.Name()] + strings.TrimPrefix(r.String(), r.Name())}})
		}
		if len(list) > 0 && o.Name != "" && !done[o.key()] {
			done[o.key()] = true
			all = append(all, o.withSpec(o.Name, map[string]any{"volumes": list}))
		}
	}
	if len(all) == 0 {
		return nil
	}
	return documents(all)
}

// mergesByName reports whether kustomize merges lists of pull secrets and volumes of an object by name: of the kinds of Kubernetes itself.
func mergesByName(o Object) bool {
	group, _, ok := strings.Cut(o.APIVersion, "/")
	return !ok || slices.Contains([]string{"apps", "batch", "extensions"}, group)
}

// kustomization is a kustomization.yaml, in the form that all versions of kustomize read.
type kustomization struct {
	APIVersion   string            `yaml:"apiVersion"`
	Kind         string            `yaml:"kind"`
	Bases        []string          `yaml:"bases,omitempty"`
	Annotations  map[string]string `yaml:"commonAnnotations,omitempty"`
	Images       []Rename          `yaml:"images,omitempty"`
	Patches      []string          `yaml:"patchesStrategicMerge,omitempty"`
	ByKind       []targeted        `yaml:"patches,omitempty"`
	Resources    []string          `yaml:"resources,omitempty"`
	Transformers []string          `yaml:"transformers,omitempty"`
}

// targeted is a file with a patch for several objects.
type targeted struct {
	Path   string `yaml:"path"`
	Target Target `yaml:"target"`
}

func newKustomization() kustomization {
	return kustomization{APIVersion: "kustomize.config.k8s.io/v1beta1", Kind: "Kustomization"}
}

// Base returns the kustomization of the folder of the vendor's manifests, whose paths are relative to it.
func Base(paths []string) File {
	k := newKustomization()
	k.Resources = slices.Sorted(slices.Values(paths))
	return File{BaseDir + "/" + Kustomization, documents([]any{k})}
}

// Midstream is what is generated between the vendor's manifests and the changes of the customer.
type Midstream struct {
	Slug    string
	Renames []Rename
	Secrets *Secrets // nil for none: nothing is patched then
	Objects []Object // of the base
}

// Files returns the files of the folder, and the objects that get no pull secret, see Patches.
func (m Midstream) Files() (files []File, unpatched []Object) {
	k := newKustomization()
	k.Bases = []string{"../../" + BaseDir}
	k.Annotations = map[string]string{slugAnnotation: m.Slug}
	k.Images = m.Renames
	add := func(name string, data []byte) { files = append(files, File{MidstreamDir + "/" + name, data}) }
	if m.Secrets != nil {
		var patches []Patch
		patches, unpatched = Patches(m.Objects, SecretName(m.Slug))
		for _, p := range patches {
			file := patchFile
			if p.Target == nil {
				k.Patches = []string{file}
			} else {
				file = strings.ToLower("pullsecrets-"+strings.TrimLeft(p.Target.Group+"-", "-")+p.Target.Version+"-"+p.Target.Kind) + ".yaml"
				k.ByKind = append(k.ByKind, targeted{file, *p.Target})
			}
			add(file, p.Text)
		}
		k.Resources = []string{secretFile}
		add(secretFile, m.Secrets.YAML())
	}
	if patches := volumes(m.Objects, m.Renames); len(patches) > 0 {
		k.Patches = append(k.Patches, volumesFile)
		add(volumesFile, patches)
	}
	k.Transformers = []string{labelsFile}
	add(labelsFile, documents([]any{map[string]any{
		"apiVersion": "builtin", "kind": "LabelTransformer", "metadata": map[string]any{"name": "backup-label-transformer"},
		"labels":     map[string]string{"kots.io/backup": "velero"},
		"fieldSpecs": []any{map[string]any{"path": "metadata/labels", "create": true}}}}))
	add(Kustomization, documents([]any{k}))
	return files, unpatched
}

// Downstream returns the kustomization of the folder that is the customer's. It is written once, and never again.
func Downstream() File {
	k := newKustomization()
	k.Bases = []string{"../../midstream"}
	return File{DownstreamDir + "/" + Kustomization, documents([]any{k})}
}
