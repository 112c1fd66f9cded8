package console

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// maxSortedTags is how many tags of a repository are sorted by version, which needs all of them at once. Of more, the last pushed are the
// first, and those that are searched for are in the order of their names.
const maxSortedTags = 2000

// tagStep is how many tags one operation lists for that.
const tagStep = 1000

// repositoryView is the head of each page of a repository.
type repositoryView struct {
	Name, URI  string
	Mutability string
	Except     []string // patterns of tags that do not follow Mutability
	ARN        string   // "" for who may not describe it, as all below
	Created    time.Time
	Scanned    bool // at a push, by the setting
	Encryption string
	Tabs       tabs
	Rights     map[string]right
	Body       any
}

// tabs are the parts of one thing.
type tabs struct {
	Title string
	Links []link
}

// parts are the pages of a repository.
var parts = []struct{ key, text, path string }{
	{"tags", "Tags", ""},
	{"images", "Images", "images"},
	{"permissions", "Permissions", "permissions"},
	{"lifecycle", "Lifecycle", "lifecycle"},
	{"history", "Tag history", "history"},
	{"settings", "Settings", "settings"},
}

// repositoryActions are the actions whose buttons the pages of a repository have.
var repositoryActions = []string{"ecr:BatchDeleteImage", "ecr:DeleteRepository", "ecr:SetRepositoryPolicy", "ecr:PutLifecyclePolicy",
	"ecr:PutImageTagMutability", "ecr:PutImageScanningConfiguration", "ecr:TagResource", "ecr:UntagResource", "ecrin:PutRepositoryProtection",
	"ecrin:PinImage", "ecrin:RestoreImage"}

// showRepository sends a page of a repository.
func (x *request) showRepository(status int, part, file string, body any) error {
	repository := x.at["repo"]
	v := repositoryView{Name: repository, URI: x.uri(repository), Body: body, Tabs: tabs{Title: repository}}
	rights, err := x.may(repository, repositoryActions...)
	if err != nil {
		return err
	}
	v.Rights = rights
	out, err := do[ecrtypes.DescribeRepositoriesResponse](x, "ecr", "DescribeRepositories", &ecrtypes.DescribeRepositoriesRequest{
		RegistryId: x.account.String(), RepositoryNames: []string{repository}})
	switch {
	case err == nil:
		r := out.Repositories[0]
		v.Mutability, v.ARN, v.Created = string(r.ImageTagMutability), r.RepositoryArn, r.CreatedAt.Time
		v.Scanned = r.ImageScanningConfiguration != nil && r.ImageScanningConfiguration.ScanOnPush != nil &&
			*r.ImageScanningConfiguration.ScanOnPush
		if e := r.EncryptionConfiguration; e != nil {
			v.Encryption = string(e.EncryptionType)
		}
		for _, f := range r.ImageTagMutabilityExclusionFilters {
			v.Except = append(v.Except, f.Filter)
		}
	case x.status(err) != http.StatusForbidden:
		return err
	default:
		v.Mutability = "unknown"
	}
	for _, p := range parts {
		to := x.repositoryPath(repository)
		if p.path != "" {
			to = x.repositoryPath(repository, p.path)
		}
		v.Tabs.Links = append(v.Tabs.Links, link{Text: p.text, To: to, Here: p.key == part, Count: -1})
	}
	crumbs := []link{{Text: "Repositories", To: x.base() + "/repositories"}}
	if i := strings.LastIndexByte(repository, '/'); i > 0 {
		crumbs = append(crumbs, link{Text: repository[:i], To: x.base() + "/repositories?" + values("q", repository[:i+1]+"*")})
	}
	return x.render(status, file, &view{Title: repository, Section: "repositories", Crumbs: crumbs, Main: v})
}

// tagRow is a tag of the list.
type tagRow struct {
	tagged
	To, Link string // the page of the image, and the address that opens or closes the row
	Open     bool
	Index    bool
	Kind     string
	Size     int64
	Pushed   time.Time
	Pulled   time.Time
	Pulls    pullCount
	Children []childRow
	More     int64      // children that only the page of the image shows
	Beside   []childRow // referrers
	Pullers  *pullers
	Trouble  *trouble
}

// childRow is what is inside of an index, or what refers to an image.
type childRow struct {
	What, Digest, To string
	Size             int64
	Pushed, Pulled   time.Time // of an image of an index
}

// tagsView is the list of tags.
type tagsView struct {
	Query  string
	Rows   []tagRow
	Pager  pager
	Denied *trouble
	Cut    *trouble // there are more tags than are shown, and the person may not see the others
	Pull   clientCommands
	Push   clientCommands
	First  bool
}

// tagsPage shows the tags of a repository, the newest version first.
func (x *request) tagsPage() error { return x.showTags(http.StatusOK) }

func (x *request) showTags(status int) error {
	repository, q := x.at["repo"], x.r.URL.Query()
	v := tagsView{Query: strings.TrimSpace(q.Get("q")), First: q.Get("q") == "" && q.Get("after") == ""}
	all, more, err := x.tags(repository)
	if err != nil && x.status(err) != http.StatusForbidden {
		return err
	}
	var page []tagged
	switch {
	case err != nil:
		v.Denied = x.troubleOf(err)
	case more:
		page, v.Pager, err = x.someTags(repository, v.Query, q.Get("after"))
		if v.Cut, err = x.part(err); err != nil {
			return err
		}
	}
	if err == nil && v.Denied == nil && (!more || v.Cut != nil) {
		page, v.Pager = x.sortedTags(byVersion(all), v.Query, q.Get("after"), v.Cut != nil)
	}
	if v.Rows, err = x.tagRows(repository, page, q.Get("open")); err != nil {
		return err
	}
	example, push := "TAG", "1.0"
	if len(page) > 0 {
		example, push = page[0].Tag, "TAG"
	}
	uri := x.uri(repository)
	v.Pull, v.Push = x.choose("pull", x.registryAt(uri).pull(uri, example)), x.choose("push", x.registryAt(uri).push(uri, push))
	return x.showRepository(status, "tags", "tags", v)
}

// sortedTags returns a page of tags that are sorted by version. cut says that the repository has more.
func (x *request) sortedTags(all []tagged, query, after string, cut bool) ([]tagged, pager) {
	last := tagOfKey(all, after)
	if query != "" {
		all = slices.DeleteFunc(all, func(t tagged) bool { return !strings.Contains(t.Tag, query) })
	}
	start := 0
	if after != "" {
		if start = slices.IndexFunc(all, func(t tagged) bool { return compareTags(t, last) > 0 }); start < 0 {
			start = len(all)
		}
	}
	page := all[start:min(start+pageSize, len(all))]
	next := ""
	if start+len(page) < len(all) {
		next = page[len(page)-1].key()
	}
	of := " of "
	if cut {
		of = " of the first "
	}
	return page, x.pagerOf(many(int64(len(page)), "tag", "tags")+of+count(int64(len(all)))+
		", newest version first; tags that move stand at the version they point to", next)
}

// someTags returns a page of the tags of a large repository: those of the image that was pushed last first, or those that have a text in
// their names.
func (x *request) someTags(repository, query, after string) (page []tagged, p pager, err error) {
	in := &ecrintypes.ListTagsRequest{RegistryId: x.account.String(), RepositoryName: repository, NextToken: after,
		MaxResults: some[int32](pageSize)}
	text := ", last pushed first: of more than 2,000 tags the versions are not sorted"
	if query != "" {
		if in.TagPattern, text = "*"+query+"*", ", by name"; in.Validate() != nil {
			return nil, p, nil // no tag has such a text
		}
	}
	out, err := do[ecrintypes.ListTagsResponse](x, "ecrin", "ListTags", in)
	if err != nil {
		return nil, p, err
	}
	for _, t := range out.Tags {
		page = append(page, tagged{Tag: t.ImageTag, Digest: t.ImageDigest})
	}
	return page, x.pagerOf(many(int64(len(page)), "tag", "tags")+text, out.NextToken), nil
}

// tags returns the tags of a repository, at most maxSortedTags, and whether there are more. Who may not list them by name, which reads
// no images, gets those that were pushed first.
func (x *request) tags(repository string) (all []tagged, more bool, err error) {
	in := &ecrintypes.ListTagsRequest{RegistryId: x.account.String(), RepositoryName: repository, TagPattern: "*",
		MaxResults: some[int32](tagStep)}
	for range maxSortedTags / tagStep {
		out, err := do[ecrintypes.ListTagsResponse](x, "ecrin", "ListTags", in)
		if err != nil && x.status(err) == http.StatusForbidden {
			return x.firstTags(repository)
		}
		if err != nil {
			return nil, false, err
		}
		for _, t := range out.Tags {
			all = append(all, tagged{Tag: t.ImageTag, Digest: t.ImageDigest})
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			return all, false, nil
		}
	}
	return all, true, nil
}

// firstTags is tags by the operation of ECR.
func (x *request) firstTags(repository string) (all []tagged, more bool, err error) {
	in := &ecrtypes.ListImagesRequest{RegistryId: x.account.String(), RepositoryName: repository, MaxResults: some[int32](tagStep),
		Filter: &ecrtypes.ListImagesFilter{TagStatus: ecrtypes.TagStatusTAGGED}}
	for range maxSortedTags / tagStep {
		out, err := do[ecrtypes.ListImagesResponse](x, "ecr", "ListImages", in)
		if err != nil {
			return nil, false, err
		}
		for _, id := range out.ImageIds {
			all = append(all, tagged{Tag: id.ImageTag, Digest: id.ImageDigest})
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			return all, false, nil
		}
	}
	return all, true, nil
}

// tagRows returns the rows of tags, with their images.
func (x *request) tagRows(repository string, page []tagged, open string) ([]tagRow, error) {
	details, err := x.details(repository, page)
	if err != nil && x.status(err) != http.StatusForbidden {
		return nil, err
	}
	var names []string
	for _, t := range page {
		names = append(names, t.Tag)
	}
	pulls, err := x.pullCounts(repository, names)
	if err != nil {
		return nil, err
	}
	rows := make([]tagRow, 0, len(page))
	for _, t := range page {
		r := tagRow{tagged: t, Pulls: pulls[t.Tag], To: x.repositoryPath(repository, "tags", t.Tag), Link: x.query("open", t.Tag)}
		if d, ok := details[t.Digest]; ok {
			r.Pushed, r.Pulled, r.Size, r.Kind = timeOf(d.ImagePushedAt), timeOf(d.LastRecordedPullTime), sizeOf(d.ImageSizeInBytes), kindOf(d)
			r.Index = manifest.KindOf(d.ImageManifestMediaType) == manifest.Index
		}
		if r.Open = t.Tag == open; r.Open {
			r.Link = x.query("open", "")
			if err := x.openRow(repository, &r); err != nil {
				r.Trouble = x.troubleOf(err)
			}
			r.Pullers = x.pullers(repository, t.Digest, r.Size, firstPullers)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// details returns the images of tags by digest. A digest that is not there any more is left out.
func (x *request) details(repository string, page []tagged) (map[string]ecrtypes.ImageDetail, error) {
	var ids []ecrtypes.ImageIdentifier
	seen := map[string]bool{}
	for _, t := range page {
		if !seen[t.Digest] {
			seen[t.Digest] = true
			ids = append(ids, ecrtypes.ImageIdentifier{ImageDigest: t.Digest})
		}
	}
	found, err := x.describe(repository, ids)
	if err != nil {
		return nil, err
	}
	all := map[string]ecrtypes.ImageDetail{}
	for _, d := range found {
		all[d.ImageDigest] = d
	}
	return all, nil
}

// describe returns images. Those that are not there any more are left out.
func (x *request) describe(repository string, ids []ecrtypes.ImageIdentifier) (all []ecrtypes.ImageDetail, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	in := &ecrtypes.DescribeImagesRequest{RegistryId: x.account.String(), RepositoryName: repository, ImageIds: ids}
	out, err := do[ecrtypes.DescribeImagesResponse](x, "ecr", "DescribeImages", in)
	if errors.Is(err, fault.ImageNotFound) { // one was deleted after the list was read
		for _, id := range ids {
			in.ImageIds = []ecrtypes.ImageIdentifier{id}
			one, err := do[ecrtypes.DescribeImagesResponse](x, "ecr", "DescribeImages", in)
			if err == nil {
				all = append(all, one.ImageDetails...)
			}
		}
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	return out.ImageDetails, nil
}

// openRow reads what is inside of an index and what refers to the image.
func (x *request) openRow(repository string, r *tagRow) error {
	image, err := x.read(repository, "", r.Digest)
	if err != nil {
		return err
	}
	children, more := firsts(image.content.Manifests, pageSize)
	r.More = more
	for _, d := range children {
		r.Children = append(r.Children, childRow{What: d.what(), Digest: d.Digest, Size: d.Size,
			To: x.repositoryPath(repository, "images", d.Digest)})
	}
	if err := x.childDetails(repository, r.Children); err != nil {
		return err
	}
	r.Beside, err = x.referrers(repository, r.Digest)
	return err
}

// childDetails adds to the images of an index what is known of them: the descriptor has the size of the manifest alone.
func (x *request) childDetails(repository string, children []childRow) error {
	var ids []tagged
	for _, c := range children {
		ids = append(ids, tagged{Digest: c.Digest})
	}
	all, err := x.details(repository, ids)
	for i, c := range children {
		d, found := all[c.Digest]
		if children[i].Size = sizeOf(d.ImageSizeInBytes); found {
			children[i].Pushed, children[i].Pulled = timeOf(d.ImagePushedAt), timeOf(d.LastRecordedPullTime)
		}
	}
	return err
}

// referrers returns what refers to an image, such as signatures and bills of materials.
func (x *request) referrers(repository, digest string) (all []childRow, err error) {
	out, err := do[ecrtypes.ListImageReferrersResponse](x, "ecr", "ListImageReferrers", &ecrtypes.ListImageReferrersRequest{
		RegistryId: x.account.String(), RepositoryName: repository, SubjectId: ecrtypes.SubjectIdentifier{ImageDigest: digest},
		MaxResults: some[int32](50)})
	if err != nil {
		return nil, err
	}
	for _, r := range out.Referrers {
		all = append(all, childRow{What: artifactOf(r.ArtifactType), Digest: r.Digest, Size: r.Size,
			To: x.repositoryPath(repository, "images", r.Digest)})
	}
	return all, nil
}

// artifactOf returns a word for a media type of artifacts.
func artifactOf(mediaType string) string {
	for _, known := range []struct{ part, word string }{
		{"cosign", "signature"}, {"notary", "signature"}, {"signature", "signature"}, {"spdx", "SBOM"}, {"cyclonedx", "SBOM"},
		{"sbom", "SBOM"}, {"in-toto", "attestation"}, {"sigstore", "signature"}, {"helm", "chart"},
	} {
		if strings.Contains(mediaType, known.part) {
			return known.word
		}
	}
	return mediaType
}

// kindOf returns a word for what an image is.
func kindOf(d ecrtypes.ImageDetail) string {
	switch {
	case manifest.KindOf(d.ImageManifestMediaType) == manifest.Index:
		return "index"
	case d.ArtifactMediaType != "" && !strings.Contains(d.ArtifactMediaType, "container.image") &&
		!strings.Contains(d.ArtifactMediaType, "oci.image.config"):
		return artifactOf(d.ArtifactMediaType)
	}
	return "image"
}

// command is what is typed for one client.
type command struct{ Client, Text string }

// pickedView is what is about to be done with selected tags.
type pickedView struct {
	Tags    []tagged
	Gone    []string // tags that are not there any more
	Last    []string // digests that keep no tag
	Losses  *losses
	Trouble *trouble
}

// onTags does something with selected tags: it shows what will be deleted, deletes it, or keeps images from expiry.
func (x *request) onTags() error {
	repository, picked := x.at["repo"], x.form["pick"]
	if len(picked) == 0 {
		return x.done(x.repositoryPath(repository), "No tag was selected.")
	}
	if len(picked) > 100 {
		return fault.InvalidParameter.New("at most 100 tags at once")
	}
	switch x.form.Get("do") {
	case "delete":
		return x.confirmDelete(picked)
	case "delete-these":
		return x.deleteTags(picked)
	case "pin":
		return x.pinTags(picked)
	}
	return errNothing
}

// pinTags keeps the images of tags from expiry. What could not be kept does not hold up the others, and is said.
func (x *request) pinTags(picked []string) error {
	repository := x.at["repo"]
	kept := map[string]bool{} // digests
	var left []string
	var first error
	for _, tag := range picked {
		out, err := do[ecrintypes.PinImageResponse](x, "ecrin", "PinImage", &ecrintypes.PinImageRequest{RegistryId: x.account.String(),
			RepositoryName: repository, ImageTag: tag, Reason: "kept in the console"})
		if err != nil {
			if left = append(left, tag); first == nil {
				first = err
			}
			continue
		}
		kept[out.Image.ImageDigest] = true
	}
	if len(kept) == 0 {
		return first
	}
	f := flash{Text: many(int64(len(kept)), "image is", "images are") + " kept from expiry."}
	if first != nil {
		f.Bad = true
		f.Text += " Nothing was done for " + named(left) + ": " + shown(publicText(first))
	}
	x.setFlash(f)
	return x.redirect(x.repositoryPath(repository))
}

// confirmDelete shows what a deletion of tags takes away.
func (x *request) confirmDelete(picked []string) error {
	repository := x.at["repo"]
	var ids []ecrtypes.ImageIdentifier
	for _, tag := range picked {
		id := ecrtypes.ImageIdentifier{ImageTag: tag}
		if (&ecrtypes.DescribeImagesRequest{RepositoryName: repository, ImageIds: []ecrtypes.ImageIdentifier{id}}).Validate() == nil {
			ids = append(ids, id)
		}
	}
	found, err := x.describe(repository, ids)
	if err != nil {
		return err
	}
	v := pickedView{}
	for _, d := range found {
		left := slices.DeleteFunc(slices.Clone(d.ImageTags), func(tag string) bool { return slices.Contains(picked, tag) })
		if len(left) == 0 && !slices.Contains(v.Last, d.ImageDigest) {
			v.Last = append(v.Last, d.ImageDigest)
		}
		for _, tag := range d.ImageTags {
			seen := slices.ContainsFunc(v.Tags, func(t tagged) bool { return t.Tag == tag })
			if slices.Contains(picked, tag) && !seen {
				v.Tags = append(v.Tags, tagged{Tag: tag, Digest: d.ImageDigest})
			}
		}
	}
	for _, tag := range picked {
		if !slices.ContainsFunc(v.Tags, func(t tagged) bool { return t.Tag == tag }) {
			v.Gone = append(v.Gone, tag)
		}
	}
	if len(v.Tags) > 0 {
		if v.Losses, err = x.losses(repository, v.Tags); err != nil {
			return err
		}
	}
	return x.showRepository(http.StatusOK, "tags", "deletetags", v)
}

// deleteTags deletes tags, and with the last tag of an image the image.
func (x *request) deleteTags(picked []string) error {
	repository := x.at["repo"]
	in := &ecrtypes.BatchDeleteImageRequest{RegistryId: x.account.String(), RepositoryName: repository}
	for _, tag := range picked {
		in.ImageIds = append(in.ImageIds, ecrtypes.ImageIdentifier{ImageTag: tag})
	}
	out, err := do[ecrtypes.BatchDeleteImageResponse](x, "ecr", "BatchDeleteImage", in)
	if err != nil {
		return err
	}
	f := flash{Text: "Nothing was deleted."}
	if n := len(out.ImageIds); n > 0 {
		f = flash{Text: many(int64(n), "tag was", "tags were") + " deleted.", Link: x.repositoryPath(repository, "history"),
			LinkText: "Restore"}
	}
	if len(out.Failures) > 0 {
		f.Bad = true
		f.Text += " " + count(int64(len(out.Failures))) + " could not be: " + shown(out.Failures[0].FailureReason)
	}
	x.setFlash(f)
	return x.redirect(x.repositoryPath(repository))
}
