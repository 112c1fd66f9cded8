package rewrite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// Build builds the overlay of the customer in the folder of an application by the library of kustomize, as kubectl kustomize does: nothing
// outside of base and overlays is read, and no plugin and no other program is run.
//
// Errors: a file cannot be read; those of kustomize, such as a change of the customer that is for an object that is gone.
func Build(dir string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	w := whole{files: map[string][]byte{}}
	for _, folder := range []string{rule.BaseDir, path.Dir(rule.MidstreamDir)} {
		err := fs.WalkDir(root.FS(), folder, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			w.files[name], err = root.ReadFile(name)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var midstream []byte
	if parts := w.split(); parts != nil {
		if midstream, err = w.midstream(parts); err != nil {
			return nil, err
		}
		if w.plainDownstream() {
			return midstream, nil
		}
	}
	files := filesys.MakeFsInMemory()
	for name, data := range w.files {
		switch {
		case midstream != nil && strings.HasPrefix(name, rule.MidstreamDir+"/"):
			continue
		case path.Base(name) == rule.Kustomization:
			data = modern(data)
		}
		if err := files.WriteFile("/app/"+name, data); err != nil {
			return nil, err
		}
	}
	if midstream != nil { // the customer's changes are made to what it has built
		err := files.WriteFile("/app/"+rule.MidstreamDir+"/"+rule.Kustomization, []byte("resources: [all.yaml]\n"))
		if err == nil {
			err = files.WriteFile("/app/"+rule.MidstreamDir+"/all.yaml", midstream)
		}
		if err != nil {
			return nil, err
		}
	}
	return build(files, rule.DownstreamDir)
}

// build builds an overlay in a file system.
func build(files filesys.FileSystem, overlay string) ([]byte, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/app/"+overlay)
	if err != nil {
		return nil, fmt.Errorf("building the overlays: %w", errors.New(strings.ReplaceAll(err.Error(), "/app/", "")))
	}
	return built.AsYaml()
}

// modern returns a kustomization with the members that the library has in place of bases and patchesStrategicMerge, which it still reads
// but complains of on the standard error of the process. The result of a build is the same. Another text is returned as it is.
func modern(text []byte) []byte {
	var k map[string]any
	if safeyaml.Unmarshal(text, &k) != nil {
		return text
	}
	changed := false
	if bases, ok := k["bases"].([]any); ok {
		resources, _ := k["resources"].([]any)
		k["resources"] = append(slices.Clip(resources), bases...)
		delete(k, "bases")
		changed = true
	}
	if old, ok := k["patchesStrategicMerge"].([]any); ok && !slices.ContainsFunc(old, inline) {
		var patches []any
		for _, file := range old {
			patches = append(patches, map[string]any{"path": file})
		}
		others, _ := k["patches"].([]any)
		k["patches"] = append(patches, others...)
		delete(k, "patchesStrategicMerge")
		changed = true
	}
	if !changed {
		return text
	}
	out, err := yaml.Marshal(k)
	if err != nil {
		return text
	}
	return out
}

// inline reports whether an entry of patchesStrategicMerge is no path of a file.
func inline(v any) bool {
	s, ok := v.(string)
	return !ok || strings.Contains(s, "\n")
}

// WriteBuilt writes what Build has built.
func WriteBuilt(dir string, text []byte) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return replace(root, RenderedDir, []rule.File{{Path: RenderedDir + "/all.yaml", Data: text}})
}
