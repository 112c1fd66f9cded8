// Package chart reads packed Helm charts, and sets values in them. Equal charts with equal values are equal packages, byte for byte.
//
// The package is pure.
package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// The largest chart that is read.
const (
	MaxPacked   = 32 << 20 // bytes
	maxUnpacked = 64 << 20 // bytes
	maxFiles    = 10_000
	maxMetadata = 1 << 20 // bytes of Chart.yaml
	maxValues   = 4 << 20 // bytes of values.yaml
	maxText     = 255     // characters of a name or a version
)

// Media types. Source: Helm, pkg/registry.
const (
	ConfigType     = "application/vnd.cncf.helm.config.v1+json"
	ContentType    = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	ProvenanceType = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

// Annotation says in Chart.yaml what happens to the values of the chart for a customer: always sets them, also in a signed chart, whose
// signature is not sent then; never leaves them. Without it, values are set in charts without a signature.
const Annotation = "ecrin.dev/pull-secret"

// Chart is what Chart.yaml says of a chart.
type Chart struct {
	Name        string
	Version     string
	Description string
	PullSecret  string         // value of Annotation; "" for none
	Metadata    map[string]any // all of Chart.yaml
}

var (
	nameText    = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)
	versionText = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

// Tag returns the tag of a version: + is not a character of tags. Source: Helm, pkg/registry.
func Tag(version string) string { return strings.ReplaceAll(version, "+", "_") }

// file is a file of a chart.
type file struct {
	header *tar.Header
	data   []byte
}

// unpack returns the files of a packed chart.
func unpack(packed []byte) ([]file, error) {
	if len(packed) > MaxPacked {
		return nil, fmt.Errorf("the chart has more than %d bytes", MaxPacked)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, errors.New("the chart is not compressed by gzip")
	}
	var files []file
	t, total := tar.NewReader(z), int64(0)
	for {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return files, nil
		case err != nil:
			return nil, fmt.Errorf("the chart is no tar archive: %w", err)
		case h.Typeflag != tar.TypeReg:
			continue
		}
		if total += h.Size; total > maxUnpacked || len(files) == maxFiles {
			return nil, fmt.Errorf("the chart has more than %d files or %d bytes", maxFiles, maxUnpacked)
		}
		data, err := io.ReadAll(io.LimitReader(t, h.Size))
		if err != nil {
			return nil, fmt.Errorf("the chart is damaged: %w", err)
		}
		files = append(files, file{h, data})
	}
}

// find returns the index of a file of the chart itself, not of charts in it; -1 for none.
func find(files []file, label string) int {
	return slices.IndexFunc(files, func(f file) bool {
		folder, rest, ok := strings.Cut(path.Clean(f.header.Name), "/")
		return ok && folder != ".." && rest == label
	})
}

// Read returns what Chart.yaml says of a packed chart.
//
// Errors: it is no chart, or it is too large.
func Read(packed []byte) (Chart, error) {
	files, err := unpack(packed)
	if err != nil {
		return Chart{}, err
	}
	i := find(files, "Chart.yaml")
	if i < 0 || len(files[i].data) > maxMetadata {
		return Chart{}, errors.New("the archive has no Chart.yaml")
	}
	c := Chart{}
	if err := safeyaml.Unmarshal(files[i].data, &c.Metadata); err != nil {
		return Chart{}, fmt.Errorf("the file Chart.yaml is not YAML: %w", err)
	}
	text := func(v any) string { s, _ := v.(string); return s }
	c.Name, c.Version, c.Description = text(c.Metadata["name"]), text(c.Metadata["version"]), text(c.Metadata["description"])
	if notes, ok := c.Metadata["annotations"].(map[string]any); ok {
		c.PullSecret = text(notes[Annotation])
	}
	if !nameText.MatchString(c.Name) || !versionText.MatchString(c.Version) || len(c.Name)+len(c.Version) > maxText {
		return Chart{}, errors.New("the file Chart.yaml has no name and version of a chart")
	}
	return c, nil
}

// Value is a value of a chart: a text at a path of keys.
type Value struct {
	Path []string
	Text string
}

// Set returns a packed chart with values in its values.yaml, whose comments, order and other values stay.
//
// Errors: it is no chart, it is too large, or its values are not one object in YAML.
func Set(packed []byte, values []Value) ([]byte, error) {
	files, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	meta := find(files, "Chart.yaml")
	if meta < 0 {
		return nil, errors.New("the archive has no Chart.yaml")
	}
	i, before := find(files, "values.yaml"), []byte(nil)
	if i >= 0 {
		before = files[i].data
	}
	after, err := setValues(before, values)
	if err != nil {
		return nil, err
	}
	if i < 0 {
		folder, _, _ := strings.Cut(path.Clean(files[meta].header.Name), "/")
		h := *files[meta].header
		h.Name = folder + "/values.yaml"
		i = meta + 1
		files = slices.Insert(files, i, file{header: &h})
	}
	files[i].data = after
	return pack(files)
}

// pack returns a chart of files.
func pack(files []file) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Name: f.header.Name, Mode: f.header.Mode & 0o777, Size: int64(len(f.data)), Typeflag: tar.TypeReg,
			ModTime: f.header.ModTime.Truncate(time.Second)}
		if err := t.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("packing %s: %w", f.header.Name, err)
		}
		if _, err := t.Write(f.data); err != nil {
			return nil, fmt.Errorf("packing %s: %w", f.header.Name, err)
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// setValues returns values.yaml with values.
func setValues(text []byte, values []Value) ([]byte, error) {
	if len(text) > maxValues {
		return nil, fmt.Errorf("values.yaml has more than %d bytes", maxValues)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	switch err := d.Decode(&doc); {
	case err == io.EOF:
		doc = yaml.Node{Kind: yaml.DocumentNode, HeadComment: string(bytes.TrimSpace(text))}
	case err != nil:
		return nil, fmt.Errorf("values.yaml is not YAML: %w", err)
	default:
		if err := d.Decode(&second); err != io.EOF {
			return nil, errors.New("values.yaml has several documents")
		}
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		doc.Content = []*yaml.Node{{Kind: yaml.MappingNode, Tag: "!!map"}}
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("values.yaml is not an object")
	}
	for _, v := range values {
		at := doc.Content[0]
		for _, key := range v.Path[:len(v.Path)-1] {
			at = object(at, key)
		}
		*member(at, v.Path[len(v.Path)-1]) = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v.Text}
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return nil, fmt.Errorf("writing values.yaml: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("writing values.yaml: %w", err)
	}
	return b.Bytes(), nil
}

// member returns the value of a key of an object, which is added if it is not there.
func member(of *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(of.Content); i += 2 {
		if of.Content[i].Value == key {
			return of.Content[i+1]
		}
	}
	value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	of.Content = append(of.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
	return value
}

// object returns the value of a key of an object as an object. An alias becomes a copy, so that what it names stays as it is; a value that
// is no object is replaced.
func object(of *yaml.Node, key string) *yaml.Node {
	v := member(of, key)
	if v.Kind == yaml.AliasNode && v.Alias.Kind == yaml.MappingNode {
		*v = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: slices.Clone(v.Alias.Content)}
	}
	if v.Kind != yaml.MappingNode {
		*v = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", HeadComment: v.HeadComment, LineComment: v.LineComment, FootComment: v.FootComment}
	}
	v.Style = 0 // an object in braces has no place for comments of its members
	return v
}
