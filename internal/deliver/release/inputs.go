package release

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
	"github.com/ecrin-dev/ecrin/internal/rule/helm"
	"github.com/ecrin-dev/ecrin/internal/rule/preflight"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// kustomizations are the names of files of kustomize.
var kustomizations = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// Charts says how charts of Helm are rendered.
type Charts struct {
	Values             []byte // that differ from those of the charts, in YAML
	Release, Namespace string // "" for the name of the chart, and default
}

// Inputs are the images of files, and what else is to be said about the files.
type Inputs struct {
	Kinds   []preflight.Kind // of each file that has something, each once
	Images  []preflight.Wanted
	Cluster string // that an application template names
	Notes   []string
	Failed  []string
	charts  Charts
}

// ReadInputs reads what paths name: files, folders of manifests, folders with a kustomization, folders of applications, charts of Helm as
// folders and archives, and - for what stdin has, such as the output of helm template. Kustomizations are built as kubectl kustomize does,
// and charts are rendered as helm template does, without what is not on this machine.
//
// Errors: a path cannot be read, a kustomization cannot be built, or a chart cannot be rendered.
func ReadInputs(ctx context.Context, paths []string, stdin io.Reader, charts Charts) (in Inputs, err error) {
	in.charts = charts
	for _, path := range paths {
		if path == "-" {
			files, err := rewrite.ReadStream(stdin, "standard input.yaml")
			if err != nil {
				return in, fmt.Errorf("reading standard input: %w", err)
			}
			in.add(files...)
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return in, err
		}
		switch {
		case info.IsDir():
			err = in.folder(ctx, path)
		case strings.HasSuffix(path, ".tgz") || strings.HasSuffix(path, ".tar.gz"):
			err = in.archive(ctx, path)
		case slices.Contains(kustomizations, filepath.Base(path)):
			err = in.built(filepath.Dir(path))
		default:
			err = in.file(path)
		}
		if err != nil {
			return in, err
		}
	}
	return in, nil
}

// readManifest reads a file.
//
// Errors: it cannot be read, or has more than rule.MaxFile bytes.
func readManifest(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, rule.MaxFile+1))
	if err == nil && len(data) > rule.MaxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, rule.MaxFile)
	}
	return data, err
}

func (in *Inputs) file(path string) error {
	data, err := readManifest(path)
	if err != nil {
		return err
	}
	name := path
	if !rule.Manifest(name) {
		name += ".yaml" // it is named, so it is read
	}
	in.add(rule.File{Path: name, Data: data})
	return nil
}

func (in *Inputs) folder(ctx context.Context, dir string) error {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool {
			_, err := os.Stat(filepath.Join(dir, n))
			return err == nil
		})
	}
	switch {
	case has(apptemplate.File, apptemplate.SettingsFile):
		a, err := ReadApplication(dir)
		if err != nil {
			return err
		}
		in.add(rule.File{Path: filepath.Join(dir, a.File), Data: a.Text})
		return nil
	case has(kustomizations...):
		return in.built(dir)
	case has("Chart.yaml"):
		packed, err := pack(dir)
		if err != nil {
			return err
		}
		return in.rendered(ctx, dir, packed)
	}
	files, err := rewrite.ReadFolder(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		switch path := filepath.Join(dir, f.Path); {
		case !rule.Manifest(f.Path):
		case len(f.Data) > rule.MaxFile:
			in.Failed = append(in.Failed, fmt.Sprintf("%s: it has more than %d bytes", path, rule.MaxFile))
		default:
			in.add(rule.File{Path: path, Data: f.Data})
		}
	}
	return nil
}

// maxArchive is the largest archive of a chart that is read, in bytes.
const maxArchive = 64 << 20

func (in *Inputs) archive(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	packed, err := io.ReadAll(io.LimitReader(f, maxArchive+1))
	if err == nil && len(packed) > maxArchive {
		err = fmt.Errorf("%s has more than %d bytes", path, maxArchive)
	}
	if err != nil {
		return err
	}
	return in.rendered(ctx, path, packed)
}

// pack returns the chart in a folder as an archive, as helm package makes it.
func pack(dir string) ([]byte, error) {
	files, err := rewrite.ReadFolder(dir)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: "chart/" + f.Path, Mode: 0o644, Size: int64(len(f.Data))}); err != nil {
			return nil, fmt.Errorf("packing the chart %s: %w", dir, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, err
		}
	}
	err = errors.Join(w.Close(), z.Close())
	return b.Bytes(), err
}

// rendered adds what a chart of Helm renders.
func (in *Inputs) rendered(ctx context.Context, path string, packed []byte) error {
	chart, err := helm.Load(packed)
	if err != nil {
		return fmt.Errorf("the chart %s: %w", path, err)
	}
	if missing := chart.Missing(); len(missing) > 0 {
		return fmt.Errorf("the chart %s needs %s, which it does not have in charts/: run `helm dependency build %s`", path,
			strings.Join(missing, ", "), path)
	}
	one := rewrite.Chart{Release: cmp.Or(in.charts.Release, chart.Name), Namespace: in.charts.Namespace}
	text, err := rewrite.Charts{Revision: 1, Now: time.Now()}.Template(ctx, one, packed, in.charts.Values)
	if err != nil {
		return fmt.Errorf("rendering the chart %s: %w", path, err)
	}
	in.Kinds = append(in.Kinds, preflight.Chart)
	in.add(rule.File{Path: path + ".yaml", Data: text})
	return nil
}

// built adds what a kustomization builds.
func (in *Inputs) built(dir string) error {
	if err := local(dir, map[string]bool{}, 0); err != nil {
		return err
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return fmt.Errorf("building the kustomization %s: %w", dir, err)
	}
	text, err := built.AsYaml()
	if err != nil {
		return fmt.Errorf("building the kustomization %s: %w", dir, err)
	}
	in.Kinds = append(in.Kinds, preflight.Kustomization)
	in.add(rule.File{Path: filepath.Join(dir, "kustomization.yaml"), Data: text})
	return nil
}

// maxBases limits how deep kustomizations lead to others.
const maxBases = 30

// local checks that a kustomization and those that it leads to name nothing that kustomize would fetch, for which it starts git.
func local(dir string, seen map[string]bool, depth int) error {
	whole, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if seen[whole] {
		return nil
	}
	if seen[whole] = true; depth > maxBases {
		return fmt.Errorf("%s: kustomizations are nested deeper than %d", dir, maxBases)
	}
	for _, label := range kustomizations {
		f, err := os.Open(filepath.Join(dir, label))
		if err != nil {
			continue // kustomize says what is missing
		}
		text, err := io.ReadAll(io.LimitReader(f, apptemplate.MaxFile+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if len(text) > apptemplate.MaxFile {
			return fmt.Errorf("%s has more than %d bytes", filepath.Join(dir, label), apptemplate.MaxFile)
		}
		var k struct {
			Resources  []string         `yaml:"resources"`
			Bases      []string         `yaml:"bases"`
			Components []string         `yaml:"components"`
			Crds       []string         `yaml:"crds"`
			Generators []string         `yaml:"generators"`
			Charts     []map[string]any `yaml:"helmCharts"`
		}
		if err := safeyaml.Unmarshal(text, &k); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, label), err)
		}
		var whole any
		if err := safeyaml.Unmarshal(text, &whole); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, label), err)
		}
		if remote(whole, "") {
			return fmt.Errorf("%s names what is not on this machine: run `kustomize build %s | ecrin preflight -`", dir, dir)
		}
		if err := small(dir, whole); err != nil {
			return err
		}
		if len(k.Charts) > 0 {
			return fmt.Errorf("%s has charts of Helm: run `kustomize build --enable-helm %s | ecrin preflight -`", dir, dir)
		}
		for _, one := range slices.Concat(k.Resources, k.Bases, k.Components, k.Crds, k.Generators) {
			path := filepath.Join(dir, one)
			switch info, err := os.Stat(path); {
			case err != nil && !strings.Contains(one, "\n"):
				return fmt.Errorf("%s names %s, which is not on this machine: run `kustomize build %s | ecrin preflight -`", dir, one, dir)
			case err == nil && info.IsDir():
				if err := local(path, seen, depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// small checks that no file that a value of a kustomization names, alone or as KEY=FILE, is larger than a manifest may be, and that neither
// it nor a text in the value stands for more than it has: kustomize reads it whole, and writes out what aliases stand for.
func small(dir string, v any) error {
	switch v := v.(type) {
	case map[string]any:
		for _, one := range v {
			if err := small(dir, one); err != nil {
				return err
			}
		}
	case []any:
		for _, one := range v {
			if err := small(dir, one); err != nil {
				return err
			}
		}
	case string:
		if strings.Contains(v, "\n") {
			return swells([]byte(v))
		}
		_, file, _ := strings.Cut(v, "=")
		for _, one := range []string{v, file} {
			path := filepath.Join(dir, one)
			if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
				continue // kustomize says what is missing
			}
			text, err := readManifest(path)
			if err == nil {
				if err = swells(text); err != nil {
					err = fmt.Errorf("%s: %w", path, err)
				}
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// swells returns the error of YAML that stands for much more than it has, or is nested too deep. What is no YAML is none.
func swells(text []byte) error {
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var v any
		err := d.Decode(&v)
		var wrong *yaml.TypeError
		switch {
		case err == nil || errors.As(err, &wrong):
		case strings.Contains(err.Error(), "excessive aliasing"), strings.Contains(err.Error(), "max depth"):
			return err
		default:
			return nil
		}
	}
}

// remote reports whether a value of a kustomization, which is not a label, an annotation or a literal, is an address.
func remote(v any, key string) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, one := range v {
			if !slices.Contains([]string{"commonAnnotations", "commonLabels", "labels", "literals", "images", "patch", "value"}, k) &&
				remote(one, k) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(one any) bool { return remote(one, key) })
	case string:
		return strings.Contains(v, "://") || strings.HasPrefix(v, "git@") || strings.HasPrefix(v, "git::")
	}
	return false
}

func (in *Inputs) add(files ...rule.File) {
	for _, f := range files {
		found := preflight.Images(f)
		if found.Kind == preflight.Kustomization {
			in.Notes = append(in.Notes, f.Path+" is a kustomization in a folder of manifests, and is not built: name its folder")
			continue
		}
		if len(found.Images)+len(found.Notes)+len(found.Failed) > 0 && !slices.Contains(in.Kinds, found.Kind) {
			in.Kinds = append(in.Kinds, found.Kind)
		}
		in.Images = preflight.Merge(in.Images, found.Images...)
		in.Notes = append(in.Notes, found.Notes...)
		in.Failed = append(in.Failed, found.Failed...)
		if found.Cluster != "" {
			in.Cluster = found.Cluster
		}
	}
}
