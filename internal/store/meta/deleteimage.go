package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Removed is one (digest, tag) pair that a deletion removed; Tag is "" for an untagged image.
type Removed struct {
	Digest string
	Tag    string
}

// AnyTags makes DeleteImage delete an image regardless of its tags.
var AnyTags = []string{"*"} // not a valid tag

// DeleteImage marks an image deleted and removes its tags, all of which must be in tags: the tags for which the
// deletion was allowed.
//
// Errors: fault.ImageNotFound, fault.ImageReferenced (an index of the repository refers to it), fault.TargetChanged
// (the image has another tag), fault.RepositoryNotFound, fault.RepositoryProtected.
func (s *Store) DeleteImage(ctx context.Context, r Repository, d name.Digest, tags []string,
	principal string) (removed []Removed, err error) {
	err = s.weighed(ctx, 5, rowsOfImage, args{r.ID, d.String(), maxGroupCost}, func(t *tx) (err error) {
		if err := deletable(t, r, ProtectsContents); err != nil {
			return err
		}
		if removed, err = s.deleteImage(t, r, d, tags, principal); err != nil {
			return err
		}
		return lifecycleOutdated(t, r.ID)
	})
	return removed, err
}

// The statements that count the rows that the deletion of an image changes, up to a number: of the image with a digest, and of
// the one with a tag.
const (
	rowsOfImage = `SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM image_references WHERE repository = $1 AND digest = $2 LIMIT $3) q) +
		3 * (SELECT COUNT(*) FROM (SELECT 1 FROM tags WHERE repository = $1 AND digest = $2 LIMIT $3) q)`
	rowsOfTag = `SELECT COUNT(*) FROM (SELECT 1 FROM image_references
		WHERE repository = $1 AND digest = (SELECT digest FROM tags WHERE repository = $1 AND tag = $2) LIMIT $3) q`
)

// weighed is doMany for a write that changes as many rows as count returns, besides the statements of cost. The count can be
// higher when the write has its turn: a principal could queue a push and deletions of what it stores. Then the write is not
// made, and is queued again with the higher count, so that a group never contains many such writes.
func (s *Store) weighed(ctx context.Context, cost int, count string, in args, fn func(*tx) error) error {
	var rows int
	if err := s.read.row(ctx, count, in, &rows); err != nil {
		return err
	}
	for {
		var now int
		err := s.write.doMany(ctx, cost+rows, func(t *tx) error {
			if err := t.row(t.ctx, count, in, &now); err != nil {
				return err
			}
			if now > rows {
				return errHeavier
			}
			return fn(t)
		})
		if !errors.Is(err, errHeavier) {
			return err
		}
		rows = now
	}
}

// errHeavier is the refusal of a write that changes more rows than its cost says.
var errHeavier error = fault.Unavailable.New("the write has more to change than was counted")

func (s *Store) deleteImage(t *tx, r Repository, d name.Digest, tags []string, principal string) ([]Removed, error) {
	if err := unreferenced(t, r.ID, d.String()); err != nil {
		return nil, err
	}
	t.touch(scope{kind: scopeImages, repository: r.ID})
	now := s.now()
	n, err := t.exec(`UPDATE images SET deleted_at = $3, tagged = 0 WHERE repository = $1 AND digest = $2 AND deleted_at <= 0`, r.ID, d.String(), micros(now))
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, ImageNotFound()
	}
	if err := t.charge(r, Amounts{Images: -1}); err != nil {
		return nil, err
	}
	if err := retireReferences(t, r.ID, d.String()); err != nil {
		return nil, err
	}
	if err := candidate(t, candidateImage, r.ID, d.String(), now); err != nil {
		return nil, err
	}
	var removed []Removed
	err = t.rows(t.ctx, `SELECT tag FROM tags WHERE repository = $1 AND digest = $2 ORDER BY tag`, args{r.ID, d.String()},
		func(scan func(...any) error) error {
			one := Removed{Digest: d.String()}
			err := scan(&one.Tag)
			removed = append(removed, one)
			return err
		})
	if err != nil {
		return nil, err
	}
	for _, one := range removed {
		if !slices.Contains(tags, one.Tag) && !slices.Equal(tags, AnyTags) {
			return nil, fault.TargetChanged.New("image %s has the tag '%s' now", d, one.Tag)
		}
		if err := s.history(t, r.ID, one.Tag, d.String(), "", principal, now); err != nil {
			return nil, err
		}
	}
	if _, err := t.exec(`DELETE FROM tags WHERE repository = $1 AND digest = $2`, r.ID, d.String()); err != nil {
		return nil, err
	}
	tags = nil
	for _, one := range removed {
		tags = append(tags, one.Tag)
	}
	if err := t.deleted(r, d, tags, now); err != nil {
		return nil, err
	}
	if removed == nil {
		removed = []Removed{{Digest: d.String()}}
	}
	return removed, nil
}

// unreferenced checks that no index of the repository refers to the image. Errors: fault.ImageReferenced.
func unreferenced(t *tx, repository int64, digest string) error {
	var by []string
	err := t.rows(t.ctx, `SELECT digest FROM image_references
		WHERE repository = $1 AND target = $2 AND kind = 2 ORDER BY digest LIMIT 10`, args{repository,
		digest}, func(scan func(...any) error) error {
		var d string
		err := scan(&d)
		by = append(by, d)
		return err
	})
	if err == nil && by != nil {
		err = fault.ImageReferenced.New("Requested image referenced by manifest list: [%s]", strings.Join(by, ", "))
	}
	return err
}

// DeleteTag removes a tag. With last, an image is deleted with its last tag, as in the ECR API; without, it stays
// untagged, as in the OCI specification. named is the digest that the tag must point to, the zero Digest for any.
//
// Errors: fault.ImageNotFound, fault.TargetChanged (the tag points to another image), fault.ImageReferenced,
// fault.RepositoryNotFound, fault.RepositoryProtected.
func (s *Store) DeleteTag(ctx context.Context, r Repository, tag name.Tag, named name.Digest, last bool,
	principal string) (removed Removed, err error) {
	write := s.write.do
	if last {
		write = func(ctx context.Context, fn func(*tx) error) error {
			return s.weighed(ctx, 5, rowsOfTag, args{r.ID, tag.String(), maxGroupCost}, fn)
		}
	}
	err = write(ctx, func(t *tx) error {
		if err := deletable(t, r, ProtectsContents); err != nil {
			return err
		}
		var digest string
		found, err := t.one(`SELECT digest FROM tags WHERE repository = $1 AND tag = $2`, args{r.ID, tag.String()}, &digest)
		switch {
		case err != nil:
			return err
		case !found:
			return ImageNotFound()
		case named != (name.Digest{}) && named.String() != digest:
			return fault.TargetChanged.New("the tag '%s' names image %s, not %s", tag, digest, named)
		}
		if err := lifecycleOutdated(t, r.ID); err != nil {
			return err
		}
		removed = Removed{Digest: digest, Tag: tag.String()}
		if last {
			var others int
			if _, err := t.one(`SELECT COUNT(*) FROM (SELECT 1 FROM tags WHERE repository = $1 AND digest = $2 LIMIT 2) q`,
				args{r.ID, digest}, &others); err != nil {
				return err
			}
			if others == 1 {
				d, err := name.ParseDigest(digest)
				if err != nil {
					return err
				}
				_, err = s.deleteImage(t, r, d, []string{tag.String()}, principal)
				return err
			}
		}
		t.touch(scope{kind: scopeImages, repository: r.ID})
		if _, err := t.exec(`DELETE FROM tags WHERE repository = $1 AND tag = $2`, r.ID, tag.String()); err != nil {
			return err
		}
		at := s.now()
		if err := s.history(t, r.ID, tag.String(), digest, "", principal, at); err != nil {
			return err
		}
		d, err := name.ParseDigest(digest)
		if err != nil {
			return err
		}
		if err := t.deleted(r, d, []string{tag.String()}, at); err != nil {
			return err
		}
		return untagIfLast(t, r.ID, digest, at)
	})
	return removed, err
}

// DeletedImages returns images that are marked deleted and not collected yet, latest first, at most limit.
func (s *Store) DeletedImages(ctx context.Context, repository int64, limit int) ([]Image, error) {
	var all []Image
	err := s.read.rows(ctx,
		`SELECT `+imageColumns+` FROM images i WHERE i.repository = $1 AND i.deleted_at > 0 ORDER BY i.deleted_at DESC LIMIT $2`,
		args{repository, limit}, func(scan func(...any) error) error {
			im, err := scanImage(scan)
			all = append(all, im)
			return err
		})
	return all, err
}

// DeletedImage returns the manifest of an image that is marked deleted. Errors: fault.ImageNotFound.
func (s *Store) DeletedImage(ctx context.Context, repository int64, d name.Digest) (mediaType string, body []byte, err error) {
	err = s.read.row(ctx, `SELECT i.media_type, m.body FROM images i JOIN manifests m ON m.digest = i.digest
		WHERE i.repository = $1 AND i.digest = $2 AND i.deleted_at <> 0`, args{repository, d.String()}, &mediaType, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, fault.ImageNotFound.New("image %s is not among the deleted images of the repository", d)
	}
	return mediaType, body, err
}

// RestoreImage undoes the deletion of an image and sets tags. Its blobs must still exist, and its children as for PutImage with
// the same value of sparse. Errors:
// fault.ImageNotFound, fault.LayersNotFound, fault.ReferencedImagesNotFound, fault.ImageTagAlreadyExists, fault.StorageQuotaExceeded.
func (s *Store) RestoreImage(ctx context.Context, r Repository, d name.Digest, tags []name.Tag, principal string,
	sparse bool) error {
	mediaType, body, err := s.DeletedImage(ctx, r.ID, d)
	if err != nil {
		return err
	}
	m, err := manifest.Parse(body, mediaType)
	if err != nil {
		return fmt.Errorf("reading the manifest of deleted image %s: %w", d, err)
	}
	return s.PutImage(ctx, r, Put{Manifest: m, Body: body, Digest: d, Tags: tags, Principal: principal, Restore: true, Sparse: sparse})
}

// TagMove is one entry of the history of tags.
type TagMove struct {
	ID        int64
	Tag       string
	From, To  string // digests; From is "" for a new tag, To is "" for a removed tag
	At        time.Time
	Principal string // ARN
}

// TagHistory returns the moves of a repository's tags, or of one tag if it is not "", latest first: those with an ID
// below before (0 for all), at most limit.
func (s *Store) TagHistory(ctx context.Context, repository int64, tag string, before int64, limit int) ([]TagMove, error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	text, a := `SELECT id, tag, from_digest, to_digest, moved_at, principal FROM tag_history WHERE repository = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, args{repository, before, limit}
	if tag != "" {
		text, a = `SELECT id, tag, from_digest, to_digest, moved_at, principal FROM tag_history WHERE repository = $1 AND tag = $4 AND id < $2 ORDER BY id DESC LIMIT $3`, append(a, tag)
	}
	var all []TagMove
	err := s.read.rows(ctx, text, a, func(scan func(...any) error) error {
		var m TagMove
		var at int64
		err := scan(&m.ID, &m.Tag, &m.From, &m.To, &at, &m.Principal)
		m.At = fromMicros(at)
		all = append(all, m)
		return err
	})
	return all, err
}
