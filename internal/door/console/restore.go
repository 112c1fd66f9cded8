package console

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	// maxMovesRead is how many moves of tags are read, the newest first, to find the tags of deleted images.
	maxMovesRead = 1000
	// together is how long before its image a tag was deleted that counts as deleted with it: BatchDeleteImage deletes one tag after another.
	together = time.Minute
	// maxTagsBack is how many tags one form gives back to an image.
	maxTagsBack = 100
)

// lostTags are the tags that were deleted with an image.
type lostTags struct {
	Tags  []string // that no image has now
	Taken []string // that another image has now
}

// lost returns the tags that were deleted with images, by the digests and the times of their deletion. Tags of moves before the last
// maxMovesRead are left out, and all of them for who may not list the history.
func (x *request) lost(repository string, at map[string]time.Time) (map[string]lostTags, error) {
	out, err := do[ecrintypes.ListTagHistoryResponse](x, "ecrin", "ListTagHistory", &ecrintypes.ListTagHistoryRequest{
		RegistryId: x.account.String(), RepositoryName: repository, MaxResults: some[int32](maxMovesRead)})
	if _, err = x.part(err); err != nil || out == nil {
		return nil, err
	}
	all := map[string]lostTags{}
	newer := map[string]string{} // where the tags were moved since; "" if they were removed
	for _, m := range out.Moves {
		now, moved := newer[m.ImageTag]
		if !moved {
			newer[m.ImageTag] = m.ToDigest
		}
		deleted, ok := at[m.FromDigest]
		if !ok || m.ToDigest != "" || m.At.After(deleted) || m.At.Before(deleted.Add(-together)) {
			continue
		}
		of := all[m.FromDigest]
		switch {
		case slices.Contains(of.Tags, m.ImageTag) || slices.Contains(of.Taken, m.ImageTag):
			continue
		case now == "":
			of.Tags = append(of.Tags, m.ImageTag)
		default:
			of.Taken = append(of.Taken, m.ImageTag)
		}
		all[m.FromDigest] = of
	}
	for digest, of := range all {
		slices.Sort(of.Tags)
		slices.Sort(of.Taken)
		all[digest] = of
	}
	return all, nil
}

// maxDeleted is how many deleted images ListDeletedImages returns, the last deleted.
const maxDeleted = 1000

// binPage returns a page of deleted images, the last deleted first: those after the key that the address has as bin. The key is the time
// of a deletion in microseconds and the digest, so that a page goes on after an image that was restored meanwhile.
func (x *request) binPage(all []ecrintypes.DeletedImage) ([]ecrintypes.DeletedImage, pager) {
	compare := func(d ecrintypes.DeletedImage, at int64, digest string) int {
		return cmp.Or(cmp.Compare(at, d.DeletedAt.UnixMicro()), cmp.Compare(d.ImageDigest, digest))
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b ecrintypes.DeletedImage) int { return compare(a, b.DeletedAt.UnixMicro(), b.ImageDigest) })
	page, p := all, pager{}
	if key := x.r.URL.Query().Get("bin"); key != "" {
		p.First = x.query("bin", "")
		text, digest, _ := strings.Cut(key, ".")
		at, _ := strconv.ParseInt(text, 10, 64) // of a wrong key the page is empty
		page = slices.DeleteFunc(slices.Clone(all), func(d ecrintypes.DeletedImage) bool { return compare(d, at, digest) <= 0 })
	}
	if len(page) > pageSize {
		page = page[:pageSize]
		last := page[pageSize-1]
		p.Next = x.query("bin", strconv.FormatInt(last.DeletedAt.UnixMicro(), 10)+"."+last.ImageDigest)
	}
	p.Text = count(int64(len(page))) + " of " + many(int64(len(all)), "deleted image", "deleted images") + ", last deleted first"
	if len(all) >= maxDeleted {
		p.Text = count(int64(len(page))) + " of the " + count(int64(len(all))) + " images that were deleted last; there can be more"
	}
	return page, p
}

// onHistory brings a deleted image back with its tags, or gives a tag back that was removed.
func (x *request) onHistory() error {
	if tag := x.form.Get("tag"); tag != "" {
		return x.giveBack(tag, x.form.Get("digest"))
	}
	return x.restore(x.form.Get("digest"))
}

// restore brings a deleted image back, with the tags that were deleted with it and that no image has now.
func (x *request) restore(digest string) error {
	repository := x.at["repo"]
	to := x.repositoryPath(repository, "history")
	deleted, err := do[ecrintypes.ListDeletedImagesResponse](x, "ecrin", "ListDeletedImages", &ecrintypes.ListDeletedImagesRequest{
		RegistryId: x.account.String(), RepositoryName: repository})
	if _, err = x.part(err); err != nil {
		return err
	}
	var of lostTags
	if deleted != nil {
		i := slices.IndexFunc(deleted.Images, func(d ecrintypes.DeletedImage) bool { return d.ImageDigest == digest })
		if i >= 0 {
			all, err := x.lost(repository, map[string]time.Time{digest: deleted.Images[i].DeletedAt.Time})
			if err != nil {
				return err
			}
			of = all[digest]
		}
	}
	tags := of.Tags[:min(len(of.Tags), maxTagsBack)]
	first := ""
	if len(tags) > 0 {
		first = tags[0]
	}
	if err := act(x, "ecrin", "RestoreImage", &ecrintypes.RestoreImageRequest{RegistryId: x.account.String(), RepositoryName: repository,
		ImageDigest: digest, ImageTag: first}); err != nil {
		return err
	}
	for i := 1; i < len(tags); i++ {
		if err := x.putTag(repository, digest, tags[i]); err != nil {
			x.setFlash(flash{Bad: true, Text: "The image was restored with " + named(tags[:i]) + ". The rest was not given back, " +
				named(tags[i:]) + ": " + shown(publicText(err))})
			return x.redirect(to)
		}
	}
	text := "The image was restored without a tag."
	if len(tags) > 0 {
		text = "The image was restored with " + named(tags) + "."
	}
	if len(of.Tags) > len(tags) {
		text += " " + many(int64(len(of.Tags)-len(tags)), "tag is", "tags are") + " left to be given back."
	}
	if len(of.Taken) > 0 {
		text += " Another image has " + named(of.Taken) + " now."
	}
	return x.done(to, text)
}

// named returns tags in words, such as "the tags 1.0, 1.1".
func named(tags []string) string {
	const most = 5
	var shorter []string
	for _, tag := range tags[:min(len(tags), most)] {
		shorter = append(shorter, clipped(shown(tag), 40))
	}
	text := "the tag "
	if len(tags) != 1 {
		text = "the tags "
	}
	text += strings.Join(shorter, ", ")
	if more := len(tags) - len(shorter); more > 0 {
		text += " and " + count(int64(more)) + " more"
	}
	return text
}

// giveBack gives a tag back to the image from which it was removed, if it has not moved since. An image of the bin is restored with it.
func (x *request) giveBack(tag, digest string) error {
	repository := x.at["repo"]
	to := x.repositoryPath(repository, "history")
	out, err := do[ecrintypes.ListTagHistoryResponse](x, "ecrin", "ListTagHistory", &ecrintypes.ListTagHistoryRequest{
		RegistryId: x.account.String(), RepositoryName: repository, ImageTag: tag, MaxResults: some[int32](1)})
	if err != nil {
		return err
	}
	if len(out.Moves) == 0 || out.Moves[0].FromDigest != digest || out.Moves[0].ToDigest != "" {
		x.setFlash(flash{Bad: true, Text: "The tag " + shown(tag) + " has moved since. Nothing was changed."})
		return x.redirect(to)
	}
	err = x.putTag(repository, digest, tag)
	if errors.Is(err, fault.ImageNotFound) {
		if err := act(x, "ecrin", "RestoreImage", &ecrintypes.RestoreImageRequest{RegistryId: x.account.String(), RepositoryName: repository,
			ImageDigest: digest, ImageTag: tag}); err != nil {
			return err
		}
		return x.done(to, "The image was restored with the tag "+shown(tag)+".")
	}
	if err != nil {
		return err
	}
	return x.done(to, "The tag "+shown(tag)+" was given back to "+digest12(digest)+".")
}

// putTag gives an image of a repository a tag.
//
// Errors: those of ReadImage and PutImage.
func (x *request) putTag(repository, digest, tag string) error {
	read, err := do[ecrintypes.ReadImageResponse](x, "ecrin", "ReadImage", &ecrintypes.ReadImageRequest{RegistryId: x.account.String(),
		RepositoryName: repository, ImageDigest: digest})
	if err != nil {
		return err
	}
	return act(x, "ecr", "PutImage", &ecrtypes.PutImageRequest{RegistryId: x.account.String(), RepositoryName: repository,
		ImageManifest: read.ImageManifest, ImageManifestMediaType: read.ImageManifestMediaType, ImageDigest: digest, ImageTag: tag})
}
