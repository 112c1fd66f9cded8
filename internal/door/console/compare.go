package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// compareView is what is different in two images.
type compareView struct {
	Name                 string
	Old, New             comparedImage
	Platforms            []link // that both have, if both are indexes
	Rows                 []compareRow
	MoreRows             int64 // that are not shown
	Shared, Gone, Added  int64 // bytes of layers
	Config               []diffLine
	MoreConfig           int64 // lines that are not shown
	ConfigMissing        bool
	SameLayers, NoConfig bool
}

// comparedImage is one of two images.
type comparedImage struct {
	Reference, Digest, To string
	Size                  int64 // of its layers
	image                 *image
}

// compareRow is a layer of one of the images, or of both.
type compareRow struct {
	Class        string // add, cut or ""
	Word, Rest   string
	Digest       string
	Size         int64
	InOld, InNew int // its number; 0 if it is not there
}

// reference returns a tag or a digest as the arguments of read.
func reference(text string) (tag, digest string) {
	if strings.Contains(text, ":") {
		return "", text
	}
	return text, ""
}

// comparePage shows what is different in the image of the page, compared with another one of its repository.
func (x *request) comparePage(with string) error {
	repository := x.at["repo"]
	v := compareView{Name: repository}
	var err error
	if v.Old, err = x.compared(with); err != nil {
		return err
	}
	this := x.at["tag"]
	if this == "" {
		this = x.at["digest"]
	}
	if v.New, err = x.compared(this); err != nil {
		return err
	}
	if err := x.samePlatform(&v); err != nil {
		return err
	}
	v.layers()
	v.Rows, v.MoreRows = firsts(v.Rows, maxLayers)
	before, after := configLines(v.Old.image.config), configLines(v.New.image.config)
	v.NoConfig = before == "" && after == ""
	v.ConfigMissing = v.Old.image.ImageConfigMissing != "" || v.New.image.ImageConfigMissing != ""
	if !v.ConfigMissing && before != after {
		v.Config, v.MoreConfig = firsts(diff(before, after), maxLayers)
	}
	return x.render(http.StatusOK, "compare", &view{Title: repository + " compared", Section: "repositories", Main: v,
		Crumbs: []link{{Text: "Repositories", To: x.base() + "/repositories"}, {Text: repository, To: x.repositoryPath(repository)},
			{Text: v.New.Reference, To: v.New.To}}})
}

func (x *request) compared(text string) (c comparedImage, err error) {
	tag, digest := reference(text)
	if c.image, err = x.read(x.at["repo"], tag, digest); err != nil {
		return c, err
	}
	c.Reference, c.Digest = text, c.image.ImageDigest
	c.To = x.repositoryPath(x.at["repo"], "images", c.Digest)
	if tag != "" {
		c.To = x.repositoryPath(x.at["repo"], "tags", tag)
	} else {
		c.Reference = digest12(digest)
	}
	return c, nil
}

// platforms returns the images of an index by platform.
func (i *image) platforms() map[string]string {
	all := map[string]string{}
	for _, d := range i.content.Manifests {
		if d.Platform != nil && d.ArtifactType == "" && d.Platform.OS != "unknown" {
			all[d.what()] = d.Digest
		}
	}
	return all
}

// samePlatform replaces indexes by their images of one platform: the one that the address names, or the first that both have.
//
// Errors: fault.InvalidParameter (they have no platform together).
func (x *request) samePlatform(v *compareView) error {
	before, after := v.Old.image.platforms(), v.New.image.platforms()
	if len(before) == 0 && len(after) == 0 {
		return nil
	}
	if len(before) == 0 {
		before = map[string]string{v.Old.image.config.platform(): v.Old.Digest}
	}
	if len(after) == 0 {
		after = map[string]string{v.New.image.config.platform(): v.New.Digest}
	}
	var both []string
	for p := range before {
		if after[p] != "" {
			both = append(both, p)
		}
	}
	slices.Sort(both)
	if len(both) == 0 {
		return fault.InvalidParameter.New("the images have no platform in common: they cannot be compared")
	}
	chosen := both[0]
	if want := x.r.URL.Query().Get("platform"); slices.Contains(both, want) {
		chosen = want
	}
	offered, _ := firsts(both, pageSize)
	for _, p := range offered {
		v.Platforms = append(v.Platforms, link{Text: p, To: x.query("platform", p), Here: p == chosen, Count: -1})
	}
	for c, digest := range map[*comparedImage]string{&v.Old: before[chosen], &v.New: after[chosen]} {
		if digest == c.Digest {
			continue
		}
		i, err := x.read(x.at["repo"], "", digest)
		if err != nil {
			return err
		}
		c.image = i
	}
	return nil
}

// layers aligns the layers of both images.
func (v *compareView) layers() {
	var old, now imageView
	old.layers(v.Old.image)
	now.layers(v.New.image)
	full := func(all []layerRow) []layerRow {
		return slices.DeleteFunc(all, func(l layerRow) bool { return l.Empty })
	}
	a, b := full(old.Layers), full(now.Layers)
	v.SameLayers = true
	v.align(a, b)
	v.sum(a, b)
}

// align adds the layers of both images as rows, those that both have in their order beside each other. What follows maxLayers layers that
// are the same at the beginning is aligned for maxLayers more: an image can have 10,000, and the work grows with the product.
func (v *compareView) align(a, b []layerRow) {
	same := 0
	for same < len(a) && same < len(b) && a[same].Digest == b[same].Digest {
		v.add("", b[same], same+1, same+1)
		same++
	}
	old, now := a, b
	a, b = a[same:min(same+maxLayers, len(a))], b[same:min(same+maxLayers, len(b))]
	common := make([][]int, len(a)+1) // lengths of the longest common layers of the rests
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); a[i].Digest == b[j].Digest {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i].Digest == b[j].Digest:
			v.add("", b[j], same+i+1, same+j+1)
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			v.add("cut", a[i], same+i+1, 0)
			i++
		default:
			v.add("add", b[j], 0, same+j+1)
			j++
		}
	}
	for i := same + len(a); i < len(old); i++ {
		v.add("cut", old[i], i+1, 0)
	}
	for j := same + len(b); j < len(now); j++ {
		v.add("add", now[j], 0, j+1)
	}
}

// sum adds up the layers of both images.
func (v *compareView) sum(a, b []layerRow) {
	there := map[string]bool{}
	for _, l := range a {
		v.Old.Size += l.Size
		there[l.Digest] = true
	}
	kept := map[string]bool{}
	for _, l := range b {
		v.New.Size += l.Size
		if kept[l.Digest] = true; there[l.Digest] {
			v.Shared += l.Size
		} else {
			v.Added += l.Size
		}
	}
	for _, l := range a {
		if !kept[l.Digest] {
			v.Gone += l.Size
		}
	}
}

func (v *compareView) add(class string, l layerRow, old, now int) {
	v.Rows = append(v.Rows, compareRow{Class: class, Word: l.Word, Rest: l.Rest, Digest: l.Digest, Size: l.Size, InOld: old, InNew: now})
	v.SameLayers = v.SameLayers && class == ""
}

// configLines returns what a config says about a container as lines, for a comparison.
func configLines(c *configFile) string {
	if c == nil {
		return ""
	}
	var v imageView
	v.configure(c)
	var b strings.Builder
	line := func(name, value string) { b.WriteString(shown(name) + ": " + shown(value) + "\n") }
	line("Platform", c.platform())
	for _, p := range v.Config {
		line(p.Name, p.Value)
	}
	env := slices.Sorted(slices.Values(v.Env))
	for _, e := range env {
		line("Environment", e)
	}
	for _, l := range v.Labels {
		line("Label "+l.Name, l.Value)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
