package rewrite

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/template"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// ChartsDir has the values of charts, each in a folder with the name of its release.
const ChartsDir = "charts"

// The largest archive of a chart that is read.
const (
	maxChart      = 64 << 20 // bytes, after decompression
	maxChartFiles = 10_000
)

// releaseForm is the form of the name of a release. Source: helm, names of releases.
var releaseForm = lazyregexp.New(`^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$`)

// Chart is a chart that the application installs by helm. Names of images in its values are those that the vendor has written by templates:
// nothing is rewritten in it.
type Chart struct {
	Release      string         // name of the release of helm
	Name         string         // of the chart
	Version      string         // of the chart
	Namespace    string         // "" for that of the application
	Weight       int            // lower ones are installed before
	UpgradeFlags []string       // of helm upgrade
	Values       map[string]any // with the optional ones whose condition is true
	Builder      map[string]any // further values with which all images are in the templates
	Archive      string         // file in the release; "" if it has none
	File         string         // that has the object
	old          bool           // of kots.io/v1beta1: its templates are objects like the others
}

// helmChart is an object of the kind HelmChart.
type helmChart struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Spec       struct {
		Chart struct {
			Name         string
			ChartVersion string `yaml:"chartVersion"`
			ReleaseName  string `yaml:"releaseName"`
		}
		ReleaseName    string `yaml:"releaseName"`
		Namespace      string
		Weight         int
		Exclude        any
		UpgradeFlags   []string `yaml:"helmUpgradeFlags"`
		Values         map[string]any
		OptionalValues []struct {
			When           any
			RecursiveMerge bool `yaml:"recursiveMerge"`
			Values         map[string]any
		} `yaml:"optionalValues"`
		Builder map[string]any
	}
}

// archive is what is known of a chart in a release.
type archive struct {
	path, name, version string
	values              map[string]any
}

// archives returns the charts in a release. A file that is no chart is left out.
func archives(files []rule.File) (all []archive, failed []rule.FileError) {
	for _, f := range files {
		if !strings.HasSuffix(f.Path, ".tgz") && !strings.HasSuffix(f.Path, ".tar.gz") {
			continue
		}
		a, err := readArchive(f)
		if err != nil {
			failed = append(failed, rule.FileError{File: f.Path, Err: fmt.Errorf("reading the chart: %w", err)})
			continue
		}
		all = append(all, a)
	}
	return all, failed
}

// readArchive reads what is needed of the archive of a chart. Nothing is extracted to a disk.
//
// Errors: it is no such archive; it has more than maxChart bytes or maxChartFiles files.
func readArchive(f rule.File) (archive, error) {
	a := archive{path: f.Path}
	z, err := gzip.NewReader(bytes.NewReader(f.Data))
	if err != nil {
		return a, err
	}
	r := tar.NewReader(io.LimitReader(z, maxChart))
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && n == maxChartFiles {
			err = fmt.Errorf("it has more than %d files", maxChartFiles)
		}
		if err != nil {
			return a, err
		}
		dir, base := path.Split(path.Clean(h.Name))
		if h.Typeflag != tar.TypeReg || strings.Count(dir, "/") != 1 || base != "Chart.yaml" && base != "values.yaml" || h.Size > rule.MaxFile {
			continue // of a chart below, or no file that is needed
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return a, err
		}
		if base == "values.yaml" {
			err = safeyaml.Unmarshal(text, &a.values)
		} else {
			var about struct{ Name, Version string }
			err = safeyaml.Unmarshal(text, &about)
			a.name, a.version = about.Name, about.Version
		}
		if err != nil {
			return a, fmt.Errorf("%s: %w", base, err)
		}
	}
	if a.name == "" {
		return a, errors.New("it has no Chart.yaml with a name")
	}
	return a, nil
}

// find returns the archive of a chart; nil if there is none. A version may be missing.
func find(all []archive, name, version string) *archive {
	for i, a := range all {
		if a.name == name && (version == "" || a.version == version || a.version == "v"+version || "v"+a.version == version) {
			return &all[i]
		}
	}
	return nil
}

// renderChart renders a file, whose templates may ask for values of the chart that an object in it is about. The name of the chart is known
// after the first rendering.
func renderChart(f rule.File, v template.Values, all []archive) ([]byte, error) {
	if !bytes.Contains(f.Data, []byte("HelmValue")) {
		return template.Render(f.Path, f.Data, v)
	}
	v.Helm = func(string) any { return "unknown" } // also a name of an image
	text, err := template.Render(f.Path, f.Data, v)
	if err != nil {
		return nil, err
	}
	v.Helm = nil
	for _, d := range rule.Split(rule.File{Path: f.Path, Data: text}) {
		var c helmChart
		if safeyaml.Unmarshal(d.Data, &c) == nil && c.Kind == "HelmChart" {
			if a := find(all, c.Spec.Chart.Name, c.Spec.Chart.ChartVersion); a != nil {
				v.Helm = func(p string) any { return valueAt(a.values, p) }
				break
			}
		}
	}
	return template.Render(f.Path, f.Data, v)
}

// valueAt returns a value by a path such as ".image.tag" or ".hosts[0].name"; "" if there is none.
func valueAt(values map[string]any, p string) any {
	var v any = values
	for part := range strings.SplitSeq(strings.Trim(p, "."), ".") {
		key, indexes, _ := strings.Cut(part, "[")
		m, _ := v.(map[string]any)
		v = m[key]
		for index := range strings.SplitSeq(indexes, "[") {
			if index == "" {
				continue
			}
			list, _ := v.([]any)
			i, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
			if err != nil || i < 0 || i >= len(list) {
				return ""
			}
			v = list[i]
		}
	}
	if v == nil {
		return ""
	}
	return v
}

// charts returns the charts that objects for installers name.
func charts(kinds []rule.File, all []archive) (found []Chart, failed []rule.FileError) {
	for _, f := range kinds {
		for _, d := range rule.Split(f) {
			var c helmChart
			if !bytes.Contains(d.Data, []byte("HelmChart")) {
				continue
			}
			if err := safeyaml.Unmarshal(d.Data, &c); err != nil || c.Kind != "HelmChart" {
				if err != nil {
					failed = append(failed, rule.FileError{File: f.Path, Line: d.Line, Err: fmt.Errorf("reading the HelmChart: %w", err)})
				}
				continue
			}
			if text(c.Spec.Exclude) == "true" {
				continue
			}
			if c.APIVersion != "kots.io/v1beta1" && c.APIVersion != "kots.io/v1beta2" {
				failed = append(failed, rule.FileError{File: f.Path, Line: d.Line, Err: fmt.Errorf("a HelmChart of %s is not known", c.APIVersion)})
				continue
			}
			one := Chart{Release: first(c.Spec.ReleaseName, c.Spec.Chart.ReleaseName, c.Metadata.Name, c.Spec.Chart.Name),
				Name: c.Spec.Chart.Name, Version: c.Spec.Chart.ChartVersion, Namespace: c.Spec.Namespace, Weight: c.Spec.Weight,
				UpgradeFlags: c.Spec.UpgradeFlags,
				Values:       map[string]any{}, Builder: c.Spec.Builder, File: f.Path, old: c.APIVersion == "kots.io/v1beta1"}
			if !releaseForm.MatchString(one.Release) {
				failed = append(failed, rule.FileError{File: f.Path, Line: d.Line, Err: fmt.Errorf("%q is no name of a release of helm", one.Release)})
				continue
			}
			if slices.ContainsFunc(found, func(other Chart) bool { return other.Release == one.Release }) {
				failed = append(failed, rule.FileError{File: f.Path, Line: d.Line, Err: fmt.Errorf("two charts have the release %s", one.Release)})
				continue
			}
			merge(one.Values, c.Spec.Values, true)
			for _, o := range c.Spec.OptionalValues {
				if text(o.When) == "true" {
					merge(one.Values, o.Values, o.RecursiveMerge)
				}
			}
			if a := find(all, one.Name, one.Version); a != nil {
				one.Archive = a.path
			} else {
				failed = append(failed, rule.FileError{File: f.Path, Line: d.Line,
					Err: fmt.Errorf("the release has no archive of the chart %s %s", one.Name, one.Version)})
			}
			found = append(found, one)
		}
	}
	return found, failed
}

// text returns a value that may be a boolean or the text of one.
func text(v any) string { return strings.ToLower(strings.TrimSpace(fmt.Sprint(v))) }

// first returns the first text that is not empty.
func first(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// merge adds values to others. Maps in them are merged if deep is true, and replaced otherwise.
func merge(into, from map[string]any, deep bool) {
	for key, v := range from {
		m, isMap := v.(map[string]any)
		had, hadMap := into[key].(map[string]any)
		if deep && isMap && hadMap {
			had = maps.Clone(had)
			merge(had, m, true)
			into[key] = had
			continue
		}
		into[key] = v
	}
}

// Helm renders charts as helm template does.
type Helm interface {
	// Template returns the objects of a chart, as YAML documents. values are the YAML of its values, archive is its file.
	Template(ctx context.Context, c Chart, archive, values []byte) ([]byte, error)
}

// template renders the charts whose objects are needed: those of the old form, whose objects go to the base, with a registry of the
// customer, or for a bundle, the others too, whose images must be there, and all of them if the caller installs them itself.
func (e *Engine) template(ctx context.Context, in Input, all []Chart) (base, others []rule.File, failed []rule.FileError) {
	render := e.Helm
	if render == nil {
		render = Charts{Namespace: in.Namespace}
	}
	for _, c := range all {
		if c.Archive == "" || !c.old && in.Local == nil && !in.InstallCharts && !in.Builder {
			continue
		}
		v := maps.Clone(c.Values)
		if in.Builder || !c.old && !in.InstallCharts {
			merge(v, c.Builder, true)
		}
		values, err := yaml.Marshal(v)
		var text []byte
		if err == nil {
			text, err = render.Template(ctx, c, content(in.Files, c.Archive), values)
		}
		if err == nil && in.InstallCharts {
			text, err = c.marked(text)
		}
		if err != nil {
			failed = append(failed, rule.FileError{File: c.File, Err: fmt.Errorf("the chart %s: %w", c.Name, err)})
			continue
		}
		f := rule.File{Path: ChartsDir + "/" + c.Release + ".yaml", Data: text}
		if c.old || in.InstallCharts {
			base = append(base, f)
		} else {
			others = append(others, f)
		}
	}
	return base, others, failed
}

// content returns the content of a file of a release.
func content(files []rule.File, path string) []byte {
	for _, f := range files {
		if f.Path == path {
			return f.Data
		}
	}
	return nil
}
