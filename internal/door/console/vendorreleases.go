package console

import (
	"bytes"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const releasePath = applicationPath + "/releases/{sequence}"

var releaseRows = []row{
	{method: "GET", path: applicationPath + "/releases", serve: (*request).releasesPage},
	{method: "GET", path: applicationPath + "/create-release", serve: (*request).createReleasePage},
	{method: "POST", path: applicationPath + "/create-release", serve: (*request).createRelease},
	{method: "GET", path: releasePath, serve: (*request).releasePage},
	{method: "GET", path: releasePath + "/file", serve: (*request).releaseFile},
	{method: "GET", path: releasePath + "/promote", serve: (*request).promotePage},
	{method: "POST", path: releasePath + "/promote", serve: (*request).promote},
}

// releaseRow is a release of the list.
type releaseRow struct {
	Sequence, Bytes int64
	To              string
	Promoted        bool
	On              []string // channels of which it is the newest version
	Charts          []string
	Created         time.Time
	By              string
}

// releasesView are the releases of an application.
type releasesView struct {
	Rows    []releaseRow
	Pager   pager
	Trouble *trouble
	First   bool
}

func releaseOf(to string, r ecrintypes.VendorRelease) releaseRow {
	row := releaseRow{Sequence: r.Sequence, Bytes: r.Bytes, To: to, Promoted: r.Promoted, Created: r.CreatedAt.Time, By: r.CreatedBy}
	for _, c := range r.Charts {
		row.Charts = append(row.Charts, c.ChartName+" "+c.ChartVersion)
	}
	return row
}

// releasesPage lists the releases of an application, the newest first.
func (x *request) releasesPage() error {
	slug := x.at["app"]
	v := releasesView{First: x.r.URL.Query().Get("after") == ""}
	out, err := do[ecrintypes.ListReleasesResponse](x, "ecrin", "ListReleases", &ecrintypes.ListReleasesRequest{AccountId: x.account.String(),
		ApplicationSlug: slug, NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	if err != nil && x.status(err) != http.StatusForbidden {
		return err
	}
	channels, denied := x.channels(slug)
	if denied != nil && x.status(denied) != http.StatusForbidden {
		return denied
	}
	if v.Trouble = x.troubleOf(err); err == nil {
		for _, r := range out.Releases {
			row := releaseOf(x.releaseTo(r.Sequence), r)
			for _, c := range channels {
				if c.Release == r.Sequence {
					row.On = append(row.On, c.Name+" "+c.Current)
				}
			}
			v.Rows = append(v.Rows, row)
		}
		v.Pager = x.pagerOf(many(int64(len(v.Rows)), "release", "releases")+", newest first", out.NextToken)
	}
	return x.showApplication(http.StatusOK, applicationPage{tab: "releases", section: "releases", file: "releases", title: "Releases", body: v,
		cli: "ecrin release list " + quoted(slug), actions: []string{"ecrin:CreateRelease"}, onChannels: []string{"ecrin:PromoteRelease"},
		channels: channels})
}

// releaseTo returns the path of a page of a release of the application of the page.
func (x *request) releaseTo(sequence int64, parts ...string) string {
	return x.applicationTo(x.at["app"], append([]string{"releases", strconv.FormatInt(sequence, 10)}, parts...)...)
}

// sequence returns the release that the path names.
//
// Errors: errNoPage.
func (x *request) sequence() (int64, error) {
	n, err := strconv.ParseInt(x.at["sequence"], 10, 64)
	if err != nil || n < 1 {
		return 0, errNoPage
	}
	return n, nil
}

// release returns the release that the path names, with its files.
//
// Errors: errNoPage, and those of DescribeRelease.
func (x *request) release() (*ecrintypes.DescribeReleaseResponse, error) {
	sequence, err := x.sequence()
	if err != nil {
		return nil, err
	}
	return x.releaseFiles(sequence)
}

func (x *request) releaseFiles(sequence int64) (*ecrintypes.DescribeReleaseResponse, error) {
	return do[ecrintypes.DescribeReleaseResponse](x, "ecrin", "DescribeRelease", &ecrintypes.DescribeReleaseRequest{
		AccountId: x.account.String(), ApplicationSlug: x.at["app"], Sequence: sequence})
}

// maxFileShown is the size of the largest file whose content a page shows, in bytes.
const maxFileShown = 256 << 10

// fileView is a file of a list, and its content if it is the one that is shown.
type fileView struct {
	Path, To, Download string
	Size               int64
	Here, Binary       bool
	Long               bool     // it has more than maxFileShown bytes
	Lines              []string // of its text
	Text               string
}

// releaseView is a release with its files.
type releaseView struct {
	releaseRow
	Edited        time.Time
	Files         []fileView
	File          *fileView
	Images        []string
	Compatibility []ecrintypes.ReleaseCompatibility
	NewFrom       string // the page that makes a release of this one with another file
}

func bytesOf(f ecrintypes.ReleaseFile) []byte {
	if f.Data != nil {
		return f.Data
	}
	return []byte(f.Content)
}

// showFile sets the content of a file of a page.
func (f *fileView) show(data []byte) {
	f.Size = int64(len(data))
	switch {
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		f.Binary = true
	case len(data) > maxFileShown:
		f.Long = true
	default:
		f.Text = string(data)
		for _, l := range strings.Split(strings.TrimSuffix(f.Text, "\n"), "\n") {
			f.Lines = append(f.Lines, visible(strings.TrimSuffix(l, "\r")))
		}
	}
}

// releasePage shows a release: its files, the images that they name, and on which clusters it was tried.
func (x *request) releasePage() error {
	out, err := x.release()
	if err != nil {
		return err
	}
	slug, sequence := x.at["app"], out.Release.Sequence
	v := releaseView{releaseRow: releaseOf(x.releaseTo(sequence), out.Release), Edited: out.Release.EditedAt.Time,
		Compatibility: out.Compatibility}
	for _, i := range out.Images {
		v.Images = append(v.Images, imageText(i))
	}
	at := x.r.URL.Query().Get("file")
	for i, f := range out.Files {
		one := fileView{Path: f.Path, To: v.To + "?" + values("file", f.Path), Here: f.Path == at || at == "" && i == 0,
			Download: x.releaseTo(sequence, "file") + "?" + values("path", f.Path), Size: int64(len(bytesOf(f)))}
		if one.Here {
			one.show(bytesOf(f))
			v.NewFrom = x.applicationTo(slug, "create-release") + "?" + values("from", strconv.FormatInt(sequence, 10), "file", f.Path)
			v.File = &one
		}
		v.Files = append(v.Files, one)
	}
	if v.File == nil {
		return errNoPage
	}
	channels, err := x.channels(slug)
	if err != nil && x.status(err) != http.StatusForbidden {
		return err
	}
	title := "Release " + strconv.FormatInt(sequence, 10)
	return x.showApplication(http.StatusOK, applicationPage{section: "releases", file: "release", title: title, body: v,
		cli: "ecrin release show " + quoted(slug) + " " + strconv.FormatInt(sequence, 10), actions: []string{"ecrin:CreateRelease"},
		onChannels: []string{"ecrin:PromoteRelease"}, channels: channels, crumbs: []link{{Text: "Releases", To: x.applicationTo(slug,
			"releases")}}})
}

func imageText(i ecrintypes.ReleaseImage) string {
	text := i.Repository
	if i.ImageTag != "" {
		text += ":" + i.ImageTag
	}
	if i.ImageDigest != "" {
		text += "@" + i.ImageDigest
	}
	return text
}

// releaseFile sends a file of a release.
func (x *request) releaseFile() error {
	out, err := x.release()
	if err != nil {
		return err
	}
	at := x.r.URL.Query().Get("path")
	i := slices.IndexFunc(out.Files, func(f ecrintypes.ReleaseFile) bool { return f.Path == at })
	if i < 0 {
		return errNoPage
	}
	x.attach("application/octet-stream", path.Base(at), bytesOf(out.Files[i]))
	return nil
}

// attach sends a file that the browser stores.
func (x *request) attach(media, file string, data []byte) {
	h := x.w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": file}))
	h.Set("Content-Length", strconv.Itoa(len(data)))
	x.w.WriteHeader(http.StatusOK)
	_, _ = x.w.Write(data) // a client that is gone needs no answer
}

// newReleaseView is the form that makes a release of one file, or of the files of another release with one of them changed.
type newReleaseView struct {
	From   int64 // the other release; 0 for none
	File   string
	Text   string
	Others int // files of the other release beside the one that is changed
	Wrong  *trouble
}

// exampleManifest is in the form of a first release.
const exampleManifest = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: nginx
spec:
  selector:
    matchLabels: {app: nginx}
  template:
    metadata:
      labels: {app: nginx}
    spec:
      containers:
      - name: nginx
        image: nginx
`

// createReleasePage shows the form that makes a release. With from and file in the query it has that file of that release.
func (x *request) createReleasePage() error {
	q := x.r.URL.Query()
	v := newReleaseView{File: "nginx-deployment.yaml", Text: exampleManifest}
	if from, err := strconv.ParseInt(q.Get("from"), 10, 64); err == nil && from > 0 {
		out, err := x.releaseFiles(from)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(out.Files, func(f ecrintypes.ReleaseFile) bool { return f.Path == q.Get("file") })
		if i < 0 || !utf8.Valid(bytesOf(out.Files[i])) || len(bytesOf(out.Files[i])) > maxFileShown/4 {
			return errNoPage
		}
		v = newReleaseView{From: from, File: q.Get("file"), Text: string(bytesOf(out.Files[i])), Others: len(out.Files) - 1}
	}
	return x.showCreateRelease(http.StatusOK, v)
}

func (x *request) showCreateRelease(status int, v newReleaseView) error {
	slug := x.at["app"]
	return x.showApplication(status, applicationPage{section: "releases", file: "createrelease", title: "Create release", body: v,
		cli: "ecrin release create " + quoted(slug) + " FOLDER", actions: []string{"ecrin:CreateRelease"},
		crumbs: []link{{Text: "Releases", To: x.applicationTo(slug, "releases")}}})
}

// createRelease makes a release, and shows it with the warnings about its files.
func (x *request) createRelease() error {
	v := newReleaseView{File: strings.TrimSpace(x.form.Get("file")), Text: strings.ReplaceAll(x.form.Get("text"), "\r\n", "\n")}
	v.From, _ = strconv.ParseInt(x.form.Get("from"), 10, 64)
	in := &ecrintypes.CreateReleaseRequest{AccountId: x.account.String(), ApplicationSlug: x.at["app"],
		Files: []ecrintypes.ReleaseFile{{Path: v.File, Content: v.Text}}}
	var err error
	if v.From > 0 {
		var before *ecrintypes.DescribeReleaseResponse
		if before, err = x.releaseFiles(v.From); err == nil {
			v.Others = len(before.Files) - 1
			for _, f := range before.Files {
				if f.Path != v.File {
					in.Files = append(in.Files, f)
				}
			}
		}
	}
	var out *ecrintypes.ReleaseResponse
	if err == nil {
		out, err = do[ecrintypes.ReleaseResponse](x, "ecrin", "CreateRelease", in)
	}
	if err != nil {
		v.Wrong = x.troubleOf(err)
		return x.showCreateRelease(x.status(err), v)
	}
	f := flash{Text: "Release " + count(out.Release.Sequence) + " was created: " +
		many(int64(len(out.Images)), "image", "images") + " in it."}
	if len(out.Warnings) > 0 {
		f.Text, f.Bad = f.Text+" "+shown(strings.Join(out.Warnings, "; ")), true
	}
	x.setFlash(f)
	return x.redirect(x.releaseTo(out.Release.Sequence))
}

// seeing are the customers of a channel, who will see a version that is promoted to it.
type seeing struct {
	channelRow
	Picked    bool
	Customers []string
	Pinned    []string // who are held at an earlier version
	More      bool
	Trouble   *trouble
}

// promoteView is the form that promotes a release, with a preview of who will see it.
type promoteView struct {
	Sequence     int64
	To           string
	Channels     []seeing
	Label, Notes string
	Required     bool
	Preview      bool
	Trouble      *trouble
	Wrong        *trouble
}

// promotePage shows the form that promotes a release.
func (x *request) promotePage() error { return x.showPromote(http.StatusOK, promoteView{}, nil) }

func (x *request) showPromote(status int, v promoteView, picked []string) error {
	slug := x.at["app"]
	sequence, err := x.sequence()
	if err != nil {
		return err
	}
	v.Sequence, v.To = sequence, x.releaseTo(sequence)
	all, err := x.channels(slug)
	if err != nil && x.status(err) != http.StatusForbidden {
		return err
	}
	v.Trouble = x.troubleOf(err)
	for _, c := range all {
		one := seeing{channelRow: c, Picked: slices.Contains(picked, c.ID)}
		if one.Picked && v.Preview {
			x.whoSees(slug, &one)
		}
		v.Channels = append(v.Channels, one)
	}
	title := "Promote release " + strconv.FormatInt(sequence, 10)
	return x.showApplication(status, applicationPage{section: "releases", file: "promote", title: title, body: v,
		cli:        "ecrin release promote " + quoted(slug) + " " + strconv.FormatInt(sequence, 10) + " CHANNEL",
		onChannels: []string{"ecrin:PromoteRelease"}, channels: all, crumbs: []link{{Text: "Releases", To: x.applicationTo(slug, "releases")},
			{Text: "Release " + strconv.FormatInt(sequence, 10), To: v.To}}})
}

// whoSees adds the first customers of a channel.
func (x *request) whoSees(slug string, c *seeing) {
	out, err := do[ecrintypes.ListCustomersResponse](x, "ecrin", "ListCustomers", &ecrintypes.ListCustomersRequest{
		AccountId: x.account.String(), ApplicationSlug: slug, ChannelId: c.ID, MaxResults: some[int32](pageSize)})
	if c.Trouble = x.troubleOf(err); err != nil {
		return
	}
	c.More = out.NextToken != ""
	for _, one := range out.Customers {
		pinned := slices.ContainsFunc(one.Channels, func(of ecrintypes.CustomerChannel) bool {
			return of.ChannelId == c.ID && of.PinnedSequence != nil
		})
		expired := one.ExpiresAt != nil && !x.begun.Before(one.ExpiresAt.Time)
		switch {
		case expired:
			c.Pinned = append(c.Pinned, one.CustomerName+" (licence expired)")
		case pinned:
			c.Pinned = append(c.Pinned, one.CustomerName+" (pinned)")
		default:
			c.Customers = append(c.Customers, one.CustomerName)
		}
	}
}

// promote previews who will see a release, or promotes it.
func (x *request) promote() error {
	picked := x.form["channel"]
	v := promoteView{Label: strings.TrimSpace(x.form.Get("label")), Notes: strings.ReplaceAll(x.form.Get("notes"), "\r\n", "\n"),
		Required: x.form.Get("required") == "yes", Preview: true}
	sequence, err := x.sequence()
	if err != nil {
		return err
	}
	if len(picked) == 0 {
		v.Wrong = x.troubleOf(fault.InvalidParameter.New("pick a channel at least"))
		return x.showPromote(http.StatusBadRequest, v, nil)
	}
	switch x.form.Get("do") {
	case "preview":
		return x.showPromote(http.StatusOK, v, picked)
	case "promote":
	default:
		return fault.InvalidParameter.New("the form does not say what to do")
	}
	out, err := do[ecrintypes.PromoteReleaseResponse](x, "ecrin", "PromoteRelease", &ecrintypes.PromoteReleaseRequest{
		AccountId: x.account.String(), ApplicationSlug: x.at["app"], Sequence: sequence, ChannelIds: picked, VersionLabel: v.Label,
		ReleaseNotes: v.Notes, Required: &v.Required})
	if err != nil {
		v.Wrong = x.troubleOf(err)
		return x.showPromote(x.status(err), v, picked)
	}
	var on []string
	for _, p := range out.Promotions {
		on = append(on, p.ChannelSlug)
	}
	to := x.applicationTo(x.at["app"], "releases")
	if len(on) == 1 {
		to = x.applicationTo(x.at["app"], "channels", on[0])
	}
	return x.done(to, "Release "+count(sequence)+" is offered on "+strings.Join(on, ", ")+".")
}
