package console

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
)

func init() {
	rows = append(rows,
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/tags/{tag}", serve: (*request).imagePage},
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/images/{digest}", serve: (*request).imagePage},
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/images", serve: (*request).imagesPage},
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/history", serve: (*request).historyPage},
		row{method: "POST", path: "{account}/{region}/repositories/{repo}/-/history", serve: (*request).onHistory},
	)
}

// What a page shows of an image. Its author decides how much there is: a manifest has up to 10,000 layers or images, and a config up to a
// megabyte of anything.
const (
	maxLayers  = 500 // rows, of one image or of two
	maxPairs   = 200 // labels, annotations, variables
	maxTagsOf  = 50  // of one image on its page
	maxTagsRow = 10  // of one image in a list
	maxTagsBin = 3   // of one deleted image
)

// layerRow is a layer, or an instruction that made none.
type layerRow struct {
	Number     int
	Word, Rest string
	Size       int64
	Digest     string
	Empty      bool
	Width      string // of 100
	In         *sharedLayer
}

// barPart is a layer in the picture of all.
type barPart struct {
	X, Width, Label, To, Class string
}

// imageView is one image.
type imageView struct {
	Name, Tag, Digest, MediaType string
	Platform                     string
	Kind                         string
	Size                         int64
	Pushed, Pulled               time.Time
	Tags                         []link
	MoreTags                     int64
	Layers                       []layerRow
	MoreLayers                   int64
	Bar                          []barPart
	Children, Beside             []childRow
	ChildPager                   pager
	Subject                      string
	SubjectTo                    string
	Config                       []pair
	Labels, Annotations          []pair
	Env                          []string
	MorePairs                    int64 // labels, annotations and variables that are not shown
	ConfigMissing                string
	Manifest                     string // "" if it is too long to be shown
	Commands                     []command
	Here                         string
	BesideNone                   *trouble
	Shared                       bool // it is known where the layers are
	SharedDenied                 *trouble
	Pullers                      *pullers
	Uses                         []useRow // what runs it
	UsesMore                     bool
	UsesNone                     *trouble
}

// useRow is an application that runs an image.
type useRow struct {
	Name  string
	Until time.Time
}

// pair is a name with a value.
type pair struct{ Name, Value string }

// imagePage shows what is in an image, and what refers to it.
func (x *request) imagePage() error {
	repository := x.at["repo"]
	if with := strings.TrimSpace(x.r.URL.Query().Get("with")); with != "" {
		return x.comparePage(with)
	}
	i, err := x.read(repository, x.at["tag"], x.at["digest"])
	if err != nil {
		return err
	}
	v := imageView{Name: repository, Tag: x.at["tag"], Digest: i.ImageDigest, MediaType: i.ImageManifestMediaType,
		Platform: i.config.platform(), ConfigMissing: i.ImageConfigMissing, Kind: "image"}
	if text := indented(i.ImageManifest); len(text) <= maxFileShown {
		v.Manifest = text
	}
	details, err := x.details(repository, []tagged{{Digest: i.ImageDigest}})
	if err != nil && x.status(err) != http.StatusForbidden {
		return err
	}
	if d, ok := details[i.ImageDigest]; ok {
		v.Size, v.Pushed, v.Pulled, v.Kind = sizeOf(d.ImageSizeInBytes), timeOf(d.ImagePushedAt), timeOf(d.LastRecordedPullTime), kindOf(d)
		v.Tags, v.MoreTags = x.tagLinks(repository, d.ImageTags, maxTagsOf)
	}
	v.layers(i)
	if len(i.content.Layers) > 0 {
		var shared map[string]sharedLayer
		shared, v.SharedDenied = x.sharedLayers(repository, i.ImageDigest)
		v.share(shared)
	}
	v.Pullers = x.pullers(repository, i.ImageDigest, v.Size, maxPullers)
	v.Layers, v.MoreLayers = firsts(v.Layers, maxLayers)
	v.Children, v.ChildPager = x.children(repository, i)
	if s := i.content.Subject; s != nil {
		v.Subject, v.SubjectTo = s.Digest, x.repositoryPath(repository, "images", s.Digest)
	}
	if v.Beside, err = x.referrers(repository, i.ImageDigest); err != nil {
		v.BesideNone = x.troubleOf(err)
	}
	if err := v.uses(x, repository); err != nil {
		return err
	}
	v.Annotations = pairsOf(i.content.Annotations)
	v.configure(i.config)
	v.shorten()
	reference := x.uri(repository) + "@" + i.ImageDigest
	v.Commands = []command{{"docker", "docker pull " + reference}, {"skopeo", "skopeo inspect docker://" + reference},
		{"crane", "crane manifest " + reference}}
	v.Here = x.r.URL.EscapedPath()
	title := v.Tag
	if title == "" {
		title = digest12(v.Digest)
	}
	return x.render(http.StatusOK, "image", &view{Title: repository + " " + title, Section: "repositories", Main: v,
		Crumbs: []link{{Text: "Repositories", To: x.base() + "/repositories"}, {Text: repository, To: x.repositoryPath(repository)}}})
}

// uses fills in what runs the image.
func (v *imageView) uses(x *request, repository string) error {
	out, err := do[ecrintypes.ListImageUsesResponse](x, "ecrin", "ListImageUses", &ecrintypes.ListImageUsesRequest{
		RegistryId: x.account.String(), RepositoryName: repository, ImageDigest: v.Digest, MaxResults: some[int32](20)})
	if v.UsesNone, err = x.part(err); err != nil || out == nil {
		return err
	}
	v.UsesMore = out.NextToken != ""
	for _, u := range out.Uses {
		v.Uses = append(v.Uses, useRow{Name: strings.TrimPrefix(u.UsedBy, "application/"), Until: u.Until.Time})
	}
	return nil
}

// shorten leaves out what is more than a page shows.
func (v *imageView) shorten() {
	var more [3]int64
	v.Annotations, more[0] = firsts(v.Annotations, maxPairs)
	v.Labels, more[1] = firsts(v.Labels, maxPairs)
	v.Env, more[2] = firsts(v.Env, maxPairs)
	v.MorePairs = more[0] + more[1] + more[2]
}

// tagLinks returns links to the first tags of an image, and how many are left out.
func (x *request) tagLinks(repository string, tags []string, most int) (all []link, more int64) {
	tags, more = firsts(tags, most)
	for _, t := range tags {
		all = append(all, link{Text: t, To: x.repositoryPath(repository, "tags", t)})
	}
	return all, more
}

// children returns the images of an index that the page shows: those from the number that the address has.
func (x *request) children(repository string, i *image) (all []childRow, p pager) {
	total := len(i.content.Manifests)
	from, _ := strconv.Atoi(x.r.URL.Query().Get("from"))
	from = max(0, min(from, (total-1)/pageSize*pageSize))
	end := min(from+pageSize, total)
	for _, d := range i.content.Manifests[from:end] {
		all = append(all, childRow{What: d.what(), Digest: d.Digest, Size: d.Size, To: x.repositoryPath(repository, "images", d.Digest)})
	}
	p.Text = many(int64(len(all)), "image", "images") + " of " + count(int64(total)) + ", in the order of the index"
	if from > 0 {
		p.First = x.query("from", "")
	}
	if end < total {
		p.Next = x.query("from", strconv.Itoa(end))
	}
	return all, p
}

// layers fills in the layers, each with the instruction that made it as far as the config tells.
func (v *imageView) layers(i *image) {
	var total int64
	for _, l := range i.content.Layers {
		total += l.Size
	}
	next := 0
	add := func(word, rest string, empty bool) {
		r := layerRow{Number: len(v.Layers) + 1, Word: word, Rest: rest, Empty: empty}
		if !empty {
			l := i.content.Layers[next]
			next++
			r.Size, r.Digest = l.Size, l.Digest
			if total > 0 {
				r.Width = fmt.Sprintf("%.1f", 100*float64(l.Size)/float64(total))
			}
			if rest == "" && word == "" {
				r.Rest = l.MediaType
				if title := l.Annotations["org.opencontainers.image.title"]; title != "" {
					r.Rest = title
				}
			}
		}
		v.Layers = append(v.Layers, r)
	}
	if i.config != nil {
		for _, h := range i.config.History {
			if !h.EmptyLayer && next >= len(i.content.Layers) {
				break // the history tells of more layers than there are
			}
			word, rest := instruction(h.CreatedBy)
			add(word, rest, h.EmptyLayer)
		}
	}
	for next < len(i.content.Layers) {
		add("", "", false)
	}
	v.bar(total)
}

// share fills in where the layers are. In the picture, a layer of other images has another colour than one that only this image has.
func (v *imageView) share(in map[string]sharedLayer) {
	n := 0
	for i := range v.Layers {
		l := &v.Layers[i]
		if l.Empty {
			continue
		}
		if one, ok := in[l.Digest]; ok {
			l.In, v.Shared = &one, true
			if n < len(v.Bar) {
				if v.Bar[n].Class = "f1"; one.Images > 1 {
					v.Bar[n].Class, v.Bar[n].Label = "f3", v.Bar[n].Label+", in "+many(one.Images, "image", "images")
				}
			}
		}
		n++
	}
}

// bar fills in the picture of the layers: at least five of a thousand for each, so that small ones are seen.
func (v *imageView) bar(total int64) {
	const least, gap = 5.0, 2.0
	n, free := 0, 1000.0
	for _, l := range v.Layers {
		if !l.Empty {
			n++
		}
	}
	if free -= float64(n) * (least + gap); n == 0 || total == 0 || free < 0 {
		return
	}
	at := 0.0
	for _, l := range v.Layers {
		if l.Empty {
			continue
		}
		w := least + free*float64(l.Size)/float64(total)
		v.Bar = append(v.Bar, barPart{X: fmt.Sprintf("%.1f", at), Width: fmt.Sprintf("%.1f", w), To: fmt.Sprintf("#layer-%d", l.Number),
			Label: fmt.Sprintf("Layer %d: %s, %s", l.Number, shown(l.Word), size(l.Size)), Class: []string{"f1", "f2"}[len(v.Bar)%2]})
		at += w + gap
	}
}

// configure fills in what the config says about a container.
func (v *imageView) configure(c *configFile) {
	if c == nil {
		return
	}
	add := func(name, value string) {
		if value != "" {
			v.Config = append(v.Config, pair{name, value})
		}
	}
	add("Entrypoint", strings.Join(c.Config.Entrypoint, " "))
	add("Command", strings.Join(c.Config.Cmd, " "))
	add("Works in", c.Config.WorkingDir)
	add("User", c.Config.User)
	var ports []string
	for p := range c.Config.ExposedPorts {
		ports = append(ports, p)
	}
	slices.Sort(ports)
	add("Ports", strings.Join(ports, " "))
	add("Author", c.Author)
	if c.Created != nil {
		add("Created", c.Created.UTC().Format("2 Jan 2006, 15:04 UTC"))
	}
	v.Env = c.Config.Env
	v.Labels = pairsOf(c.Config.Labels)
}

func pairsOf(m map[string]string) (all []pair) {
	for k, v := range m {
		all = append(all, pair{k, v})
	}
	slices.SortFunc(all, func(a, b pair) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// imagesView is the list of images of a repository by digest.
type imagesView struct {
	Rows   []imageListRow
	Pager  pager
	Denied *trouble
}

// imageListRow is an image of the list.
type imageListRow struct {
	Digest, To, Kind string
	Tags             []link
	More             int64 // tags that are not shown
	Size             int64
	Pushed, Pulled   time.Time
}

// imagesPage lists images by digest, also those without a tag.
func (x *request) imagesPage() error {
	repository := x.at["repo"]
	v := imagesView{}
	out, err := do[ecrtypes.DescribeImagesResponse](x, "ecr", "DescribeImages", &ecrtypes.DescribeImagesRequest{
		RegistryId: x.account.String(), RepositoryName: repository, NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	switch {
	case err != nil && x.status(err) != http.StatusForbidden:
		return err
	case err != nil:
		v.Denied = x.troubleOf(err)
	default:
		for _, d := range out.ImageDetails {
			r := imageListRow{Digest: d.ImageDigest, To: x.repositoryPath(repository, "images", d.ImageDigest), Kind: kindOf(d),
				Size: sizeOf(d.ImageSizeInBytes), Pushed: timeOf(d.ImagePushedAt), Pulled: timeOf(d.LastRecordedPullTime)}
			r.Tags, r.More = x.tagLinks(repository, d.ImageTags, maxTagsRow)
			v.Rows = append(v.Rows, r)
		}
		v.Pager = x.pagerOf(many(int64(len(v.Rows)), "image", "images"), out.NextToken)
	}
	return x.showRepository(http.StatusOK, "images", "images", v)
}

// historyView is what has happened to tags, and the images that can be restored.
type historyView struct {
	Moves         []moveRow
	Pager         pager
	Put           right // to give a tag back; of no meaning if Removed is not set
	Removed       bool
	MovesDenied   *trouble
	Deleted       []deletedRow
	Bin           pager
	DeletedDenied *trouble
}

// moveRow is a move of a tag.
type moveRow struct {
	Tag, From, To, FromPath, ToPath, By string
	At                                  time.Time
	Back                                bool // the tag was removed and has not moved since, as far as the page shows
}

// deletedRow is an image that can be restored.
type deletedRow struct {
	Digest string
	Size   int64
	At     time.Time
	Tags   []string // that come back with it
	More   int64    // of these that the row does not show
	Taken  int64    // tags that another image has now
}

// historyPage shows the moves of tags and the bin.
func (x *request) historyPage() error {
	repository := x.at["repo"]
	v := historyView{}
	out, err := do[ecrintypes.ListTagHistoryResponse](x, "ecrin", "ListTagHistory", &ecrintypes.ListTagHistoryRequest{
		RegistryId: x.account.String(), RepositoryName: repository, NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	if err != nil {
		v.MovesDenied = x.troubleOf(err)
	} else {
		newer := map[string]bool{}
		for _, m := range out.Moves {
			r := moveRow{Tag: m.ImageTag, From: m.FromDigest, To: m.ToDigest, By: m.PrincipalArn, At: m.At.Time}
			r.FromPath, r.ToPath = x.repositoryPath(repository, "images", m.FromDigest), x.repositoryPath(repository, "images", m.ToDigest)
			r.Back = m.ToDigest == "" && !newer[m.ImageTag]
			newer[m.ImageTag], v.Removed = true, v.Removed || r.Back
			v.Moves = append(v.Moves, r)
		}
		v.Pager = x.pagerOf(many(int64(len(v.Moves)), "move", "moves")+", newest first", out.NextToken)
	}
	if v.Removed {
		rights, err := x.may(repository, "ecr:PutImage")
		if err != nil {
			return err
		}
		v.Put = rights["ecr:PutImage"]
	}
	deleted, err := do[ecrintypes.ListDeletedImagesResponse](x, "ecrin", "ListDeletedImages", &ecrintypes.ListDeletedImagesRequest{
		RegistryId: x.account.String(), RepositoryName: repository})
	if err != nil {
		v.DeletedDenied = x.troubleOf(err)
	} else if len(deleted.Images) > 0 {
		var page []ecrintypes.DeletedImage
		page, v.Bin = x.binPage(deleted.Images)
		at := map[string]time.Time{}
		for _, d := range page {
			at[d.ImageDigest] = d.DeletedAt.Time
		}
		lost, err := x.lost(repository, at)
		if err != nil {
			return err
		}
		for _, d := range page {
			r := deletedRow{Digest: d.ImageDigest, Size: sizeOf(d.ImageSizeInBytes), At: d.DeletedAt.Time,
				Taken: int64(len(lost[d.ImageDigest].Taken))}
			r.Tags, r.More = firsts(lost[d.ImageDigest].Tags, maxTagsBin)
			v.Deleted = append(v.Deleted, r)
		}
	}
	return x.showRepository(http.StatusOK, "history", "history", v)
}
