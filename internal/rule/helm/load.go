// Package helm renders packed charts of Helm as helm template does, without its library: that registers all types of Kubernetes at each
// start of a program that links it (docs/design/vendor.md has the figures). What it renders is compared with the program helm in
// test/clients.
//
// The package is pure: a chart has no cluster, no name server and no source of randomness. A function that needs one fails, or has the
// result that it has for helm template.
package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// The largest chart, with the charts in it.
const (
	maxPacked   = 64 << 20 // bytes of the archive
	maxUnpacked = 64 << 20 // bytes
	maxFile     = 5 << 20  // bytes of a file. Source: Helm, pkg/chart/loader.
	maxFiles    = 10_000
	maxDepth    = 8 // charts in charts
)

// Metadata is what Chart.yaml says. Templates have it as .Chart. Source: Helm, pkg/chart.
type Metadata struct {
	Name         string            `json:"name,omitempty"`
	Home         string            `json:"home,omitempty"`
	Sources      []string          `json:"sources,omitempty"`
	Version      string            `json:"version,omitempty"`
	Description  string            `json:"description,omitempty"`
	Keywords     []string          `json:"keywords,omitempty"`
	Maintainers  []*Maintainer     `json:"maintainers,omitempty"`
	Icon         string            `json:"icon,omitempty"`
	APIVersion   string            `json:"apiVersion,omitempty"`
	Condition    string            `json:"condition,omitempty"`
	Tags         string            `json:"tags,omitempty"`
	AppVersion   string            `json:"appVersion,omitempty"`
	Deprecated   bool              `json:"deprecated,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	KubeVersion  string            `json:"kubeVersion,omitempty"`
	Dependencies []*Dependency     `json:"dependencies,omitempty"`
	Type         string            `json:"type,omitempty"`
}

// Maintainer is a person in Metadata.
type Maintainer struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	URL   string `json:"url,omitempty"`
}

// Dependency is a chart that another one needs.
type Dependency struct {
	Name         string   `json:"name"`
	Version      string   `json:"version,omitempty"`
	Repository   string   `json:"repository"`
	Condition    string   `json:"condition,omitempty"`
	Tags         []string `json:"tags,omitempty"`
	Enabled      bool     `json:"enabled,omitempty"`
	ImportValues []any    `json:"import-values,omitempty"`
	Alias        string   `json:"alias,omitempty"`
}

// file is a file of a chart.
type file struct {
	name string // relative to the folder of the chart, with slashes
	data []byte
}

// Chart is a chart in memory. Render changes it: it is rendered once.
type Chart struct {
	Metadata
	Schema    bool // it has a schema of its values, which is not applied
	values    map[string]any
	templates []file
	files     []file
	parent    *Chart
	charts    []*Chart
}

// budget is what is left of the limits for a chart and those in it.
type budget struct{ bytes, files int64 }

// Load reads a packed chart.
//
// Errors: it is no chart; a path leads out of its folder; it has a link or a device; it is too large.
func Load(packed []byte) (*Chart, error) {
	return load(packed, &budget{maxUnpacked, maxFiles}, 0)
}

// Missing returns the names of the dependencies that Chart.yaml has and the chart has not, at any depth. What they would install is not
// among what Render returns.
func (c *Chart) Missing() (all []string) {
	for _, d := range c.Dependencies {
		if !slices.ContainsFunc(c.charts, func(one *Chart) bool { return one.Name == d.Name && fits(d.Version, one.Version) }) {
			all = append(all, d.Name)
		}
	}
	for _, one := range c.charts {
		all = append(all, one.Missing()...)
	}
	return all
}

func load(packed []byte, left *budget, depth int) (*Chart, error) {
	files, err := unpack(packed, left)
	if err != nil {
		return nil, err
	}
	return assemble(files, left, depth)
}

// unpack returns the files of a packed chart, without the folder that they are in.
func unpack(packed []byte, left *budget) ([]file, error) {
	if len(packed) > maxPacked {
		return nil, fmt.Errorf("the archive has more than %d bytes", maxPacked)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("the archive is not compressed by gzip: %w", err)
	}
	var files []file
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the archive is damaged: %w", err)
		}
		folder, name, below := strings.Cut(path.Clean(strings.ReplaceAll(h.Name, `\`, "/")), "/")
		switch {
		case h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader:
			continue
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%q is no file: a chart has no links and no devices", clip(h.Name))
		case !below || folder == "" || folder == ".." || strings.ContainsAny(name, ":\x00"):
			return nil, fmt.Errorf("%q is no path in the folder of the chart", clip(h.Name))
		case h.Size > maxFile:
			return nil, fmt.Errorf("%q has more than %d bytes", clip(h.Name), maxFile)
		}
		left.files--
		left.bytes -= h.Size
		if left.files < 0 || left.bytes < 0 {
			return nil, fmt.Errorf("the chart has more than %d files or %d bytes", maxFiles, maxUnpacked)
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("the archive is damaged: %w", err)
		}
		files = append(files, file{name, bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))})
	}
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// assemble makes a chart of its files.
func assemble(files []file, left *budget, depth int) (*Chart, error) {
	c := &Chart{}
	read := func(name string, into any) error {
		for _, f := range files { // the last one counts
			if f.name != name {
				continue
			}
			if err := yaml.Unmarshal(f.data, into); err != nil {
				return fmt.Errorf("reading %s: %w", name, err)
			}
		}
		return nil
	}
	err := read("Chart.yaml", &c.Metadata)
	if c.APIVersion == "" {
		c.APIVersion = "v1"
	}
	if err == nil {
		err = read("requirements.yaml", &c.Metadata)
	}
	if err == nil {
		err = read("values.yaml", &c.values)
	}
	switch {
	case err != nil:
		return nil, err
	case c.Name == "" || c.Name == "." || c.Name == ".." || strings.Contains(c.Name, "/"):
		return nil, errors.New("the chart has no Chart.yaml with a name")
	case slices.Contains(c.Dependencies, nil):
		return nil, fmt.Errorf("the chart %s has a dependency that is empty", c.Name)
	}
	below, order := map[string][]file{}, []string{}
	for _, f := range files {
		switch rest, inCharts := strings.CutPrefix(f.name, "charts/"); {
		case f.name == "Chart.yaml" || f.name == "Chart.lock" || f.name == "values.yaml":
		case f.name == "requirements.yaml" || f.name == "requirements.lock":
			if c.APIVersion == "v1" {
				c.files = append(c.files, f)
			}
		case f.name == "values.schema.json":
			c.Schema = true
		case strings.HasPrefix(f.name, "templates/"):
			c.templates = append(c.templates, f)
		case inCharts && path.Ext(f.name) != ".prov":
			name, _, _ := strings.Cut(rest, "/")
			if _, ok := below[name]; !ok {
				order = append(order, name)
			}
			below[name] = append(below[name], file{rest, f.data})
		default:
			c.files = append(c.files, f)
		}
	}
	for _, name := range order {
		if strings.IndexAny(name, "_.") == 0 {
			continue
		}
		one, err := inside(name, below[name], left, depth+1)
		if err != nil {
			return nil, fmt.Errorf("the chart %s in %s: %w", clip(name), c.Name, err)
		}
		c.add(one)
		c.Schema = c.Schema || one.Schema
	}
	return c, nil
}

// inside returns a chart in the folder charts of another one.
func inside(name string, files []file, left *budget, depth int) (*Chart, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("there are charts in charts, more than %d deep", maxDepth)
	}
	if path.Ext(name) == ".tgz" {
		if files[0].name != name {
			return nil, errors.New("it is a folder with the name of an archive")
		}
		return load(files[0].data, left, depth)
	}
	var all []file
	for _, f := range files {
		if _, rest, ok := strings.Cut(f.name, "/"); ok {
			all = append(all, file{rest, f.data})
		}
	}
	return assemble(all, left, depth)
}

// add adds charts that the chart needs.
func (c *Chart) add(all ...*Chart) {
	for _, one := range all {
		one.parent = c
		c.charts = append(c.charts, one)
	}
}

// folder returns the path of the chart in the one that is rendered.
func (c *Chart) folder() string {
	if c.parent == nil {
		return c.Name
	}
	return c.parent.folder() + "/charts/" + c.Name
}

// definitions returns the files with definitions of kinds, of the chart and those in it.
func (c *Chart) definitions() (all []file) {
	for _, f := range c.files {
		ext := strings.ToLower(path.Ext(f.name))
		if strings.HasPrefix(f.name, "crds/") && slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
			all = append(all, file{path.Join(c.folder(), f.name), f.data})
		}
	}
	for _, one := range c.charts {
		all = append(all, one.definitions()...)
	}
	return all
}
