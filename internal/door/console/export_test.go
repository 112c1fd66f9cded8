package console

import (
	"encoding/json"
	"slices"
	"strings"
)

// Row is one method of one path.
type Row struct {
	Method, Path string
	Open         bool
}

// Rows returns all requests that are served.
func Rows() (all []Row) {
	for _, r := range rows {
		all = append(all, Row{r.method, r.path, r.open})
	}
	return all
}

var (
	Shown       = shown
	Size        = size
	Instruction = instruction
	OwnPath     = ownPath
	CSVLine     = csvLine
	OpenSignOn  = openSignOn
	PlacesOf    = placesOf
	Quoted      = quoted
	Visible     = visible
	ParseSize   = parseSize
	ParseDay    = parseDay
	PlaceOf     = placeOf
	WordsOf     = words
	CleanPath   = pathOf
	ClipTo      = clipped
	PlainPolicy = plainDocument
	WhoTrusts   = trustedBy
)

// Bounds returns the end of an axis for numbers up to n, of both kinds of charts.
func Bounds(n int64) (bars, egress int64) { return roundUp(n), niceTop(n) }

// DiffOf returns the lines of a comparison with their signs.
func DiffOf(before, after string) (all []string) {
	for _, l := range diff(before, after) {
		all = append(all, l.Sign+l.Text)
	}
	return all
}

// Edited returns the lines of a text as an editor draws them, and the number of its problems.
func Edited(text string) (lines []string, problems int) {
	e := newEditor("", text, nil)
	for _, l := range e.Lines {
		lines = append(lines, l.Before+l.Mark)
	}
	return lines, len(e.Problems)
}

// Found returns the path of the row of a method and a path, and the parts of the path that it names; "" for none.
func Found(method, path string) (row string, at map[string]string) {
	o, at, _ := find(method, path)
	if o == nil {
		return "", nil
	}
	return o.path, at
}

// ReadImageFile reads a manifest and a config as pages show them, and returns how much of them is shown at most.
func ReadImageFile(manifest, config string) (layers, bar, pairs int) {
	i := &image{}
	_ = json.Unmarshal([]byte(manifest), &i.content)
	var c configFile
	if json.Unmarshal([]byte(config), &c) == nil {
		i.config = &c
	}
	var v imageView
	v.layers(i)
	v.configure(i.config)
	v.shorten()
	v.Layers, _ = firsts(v.Layers, maxLayers)
	return len(v.Layers), len(v.Bar), len(v.Env) + len(v.Labels) + len(v.Annotations)
}

// Aligned compares the layers of two images, and returns the rows and whether all are the same.
func Aligned(a, b []string) (rows []string, same bool) {
	of := func(digests []string) (all []layerRow) {
		for _, d := range digests {
			all = append(all, layerRow{Digest: d, Size: 1})
		}
		return all
	}
	v := compareView{SameLayers: true}
	v.align(of(a), of(b))
	for _, r := range v.Rows {
		rows = append(rows, r.Class+r.Digest)
	}
	return rows, v.SameLayers
}

// Sorted returns tags of one digest each in the order of the list: "1.0=a".
func Sorted(all ...string) (out []string) {
	var tags []tagged
	for _, text := range all {
		tag, digest, _ := strings.Cut(text, "=")
		tags = append(tags, tagged{Tag: tag, Digest: digest})
	}
	for _, t := range byVersion(tags) {
		mark := ""
		if t.Moves {
			mark = "~"
		}
		out = append(out, t.Tag+mark)
	}
	return out
}

// After returns the tag with which the page after a tag begins, in the order of Sorted, when the tag has been deleted meanwhile; "" for
// none.
func After(tag string, all ...string) string {
	list := func(without string) (tags []tagged) {
		for _, text := range all {
			if one, digest, _ := strings.Cut(text, "="); one != without {
				tags = append(tags, tagged{Tag: one, Digest: digest})
			}
		}
		return byVersion(tags)
	}
	before := list("")
	at := slices.IndexFunc(before, func(t tagged) bool { return t.Tag == tag })
	rest := list(tag)
	last := tagOfKey(rest, before[at].key())
	if i := slices.IndexFunc(rest, func(t tagged) bool { return compareTags(t, last) > 0 }); i >= 0 {
		return rest[i].Tag
	}
	return ""
}
