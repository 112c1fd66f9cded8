package meta

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ManifestHead is what a pull needs to know of a manifest besides its bytes.
type ManifestHead struct {
	Digest    name.Digest
	MediaType string
	Subject   name.Digest
	Size      int64 // of the manifest, in bytes
}

// ImageNotFound is the answer for an image that is not there, in ECR's words.
func ImageNotFound() *fault.Error { return fault.ImageNotFound.New("Requested image not found") }

// Head finds a manifest by tag or digest. Errors: fault.ImageNotFound.
func (s *Store) Head(ctx context.Context, repository int64, ref name.Reference) (ManifestHead, error) {
	return cached(&s.cache.heads, headKey{repository, ref}, func() (ManifestHead, error) { return s.head(ctx, repository, ref) })
}

// head reads a manifest's head, and its body along with it when that is small: who asks for a tag wants both.
func (s *Store) head(ctx context.Context, repository int64, ref name.Reference) (h ManifestHead, err error) {
	text, key := `SELECT digest, media_type, subject, manifest_size, NULL FROM images WHERE repository = $1 AND digest = $2 AND deleted_at = 0`, ref.Digest.String()
	if ref.Tag != (name.Tag{}) {
		text, key = `SELECT i.digest, i.media_type, i.subject, i.manifest_size,
				CASE WHEN i.manifest_size <= 8192 THEN (SELECT m.body FROM manifests m WHERE m.digest = i.digest) END
			FROM tags t JOIN images i ON i.repository = t.repository AND i.digest = t.digest AND i.deleted_at = 0
			WHERE t.repository = $1 AND t.tag = $2`, ref.Tag.String()
	}
	heads, bodies := s.cache.heads.generation(), s.cache.bodies.generation()
	var digest, subject string
	var body []byte
	err = s.read.row(ctx, text, args{repository, key}, &digest, &h.MediaType, &subject, &h.Size, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return ManifestHead{}, ImageNotFound()
	}
	if err != nil {
		return ManifestHead{}, err
	}
	h.Digest, err = name.ParseDigest(digest)
	if subject != "" && err == nil {
		h.Subject, err = name.ParseDigest(subject)
	}
	// Many tags name few images: entries share the texts of the image's own entry.
	if known, _, ok := s.cache.heads.get(headKey{repository, name.Reference{Digest: h.Digest}}); ok && known == h {
		h = known
	}
	if err == nil && body != nil {
		s.cache.heads.put(headKey{repository, name.Reference{Digest: h.Digest}}, h, heads)
		s.cache.bodies.put(h.Digest, body, bodies)
	}
	return h, err
}

// cachedBody bounds what the cache keeps of manifests: 2,048 bodies of at most this many bytes. Head's text has it too.
const cachedBody = 8 << 10

// Body reads a manifest's bytes, exactly as they were pushed; callers must not change them. Whoever asks has seen its
// Head in a repository. Errors: fault.ImageNotFound.
func (s *Store) Body(ctx context.Context, d name.Digest) ([]byte, error) {
	body, gen, ok := s.cache.bodies.get(d)
	if ok {
		return body, nil
	}
	err := s.read.row(ctx, `SELECT body FROM manifests WHERE digest = $1`, args{d.String()}, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ImageNotFound()
	}
	if err == nil && len(body) <= cachedBody {
		s.cache.bodies.put(d, body, gen)
	}
	return body, err
}

// Image is one image of a repository.
type Image struct {
	ManifestHead
	ArtifactType string
	Annotations  map[string]string // only kept for images with a subject
	Bytes        int64             // config and layers as stored; of an index, those of its largest image
	PushedAt     time.Time
	PulledAt     time.Time // zero when it never was
	DeletedAt    time.Time // zero while it is there
	Tags         []string  // in their order
}

const imageColumns = `i.digest, i.media_type, i.artifact_type, i.subject, i.annotations, i.manifest_size, i.size, i.pushed_at, i.pulled_at, i.deleted_at`

func scanImage(scan func(...any) error, more ...any) (Image, error) {
	var im Image
	var digest, subject, annotations string
	var pushed, pulled, deleted int64
	dest := append([]any{&digest, &im.MediaType, &im.ArtifactType, &subject, &annotations, &im.Size, &im.Bytes, &pushed, &pulled, &deleted}, more...)
	err := scan(dest...)
	if err != nil {
		return Image{}, err
	}
	im.PushedAt, im.PulledAt, im.DeletedAt = fromMicros(pushed), fromMicros(pulled), fromMicros(deleted)
	if im.Digest, err = name.ParseDigest(digest); err != nil {
		return Image{}, err
	}
	if subject != "" {
		if im.Subject, err = name.ParseDigest(subject); err != nil {
			return Image{}, err
		}
	}
	if annotations != "" {
		if err := json.Unmarshal([]byte(annotations), &im.Annotations); err != nil {
			return Image{}, fmt.Errorf("reading the annotations of %s: %w", digest, err)
		}
	}
	return im, nil
}

// TagState filters images by whether they have a tag.
type TagState int

// The states. Any is the zero value.
const (
	Any TagState = iota
	Tagged
	Untagged
)

// Position is a place in the order of images: push time, then digest, then tag. The zero Position is before all.
type Position struct {
	PushedAt int64 // microseconds since 1970
	Digest   string
	Tag      string
}

// Images lists a repository's images with their tags in the order of Position, those after the given one.
func (s *Store) Images(ctx context.Context, repository int64, state TagState, after Position, limit int) ([]Image, error) {
	text, a := `SELECT `+imageColumns+` FROM images i WHERE i.repository = $1 AND i.deleted_at = 0 AND (i.pushed_at, i.digest) > ($2, $3)
		ORDER BY i.pushed_at, i.digest LIMIT $4`, args{repository, after.PushedAt, position(after.Digest), limit}
	if state != Any {
		text, a = `SELECT `+imageColumns+` FROM images i WHERE i.repository = $1 AND i.tagged = $5 AND i.deleted_at = 0 AND (i.pushed_at, i.digest) > ($2, $3)
			ORDER BY i.pushed_at, i.digest LIMIT $4`, append(a, truth(state == Tagged))
	}
	var all []Image
	err := s.read.rows(ctx, text, a, func(scan func(...any) error) error {
		im, err := scanImage(scan)
		all = append(all, im)
		return err
	})
	if err != nil {
		return nil, err
	}
	if state != Untagged && len(all) > 0 {
		err = s.tagAll(ctx, repository, after, all)
	}
	return all, err
}

// tagAll fills in the tags of a page of images, the first of which come right after the given position.
func (s *Store) tagAll(ctx context.Context, repository int64, after Position, page []Image) error {
	index := make(map[string]int, len(page))
	for i, im := range page {
		index[im.Digest.String()] = i
	}
	last := page[len(page)-1]
	// The page's limits find its tagged images again, however many others lie between them; an image that came into the
	// range since does not count.
	return s.read.rows(ctx, `SELECT i.digest, t.tag FROM images i JOIN tags t ON t.repository = i.repository AND t.digest = i.digest
		WHERE i.repository = $1 AND i.tagged = 1 AND i.deleted_at = 0
			AND (i.pushed_at, i.digest) > ($2, $3) AND (i.pushed_at, i.digest) <= ($4, $5)
		ORDER BY i.pushed_at, i.digest, t.tag`,
		args{repository, after.PushedAt, position(after.Digest), micros(last.PushedAt), last.Digest.String()}, func(scan func(...any) error) error {
			var digest, tag string
			err := scan(&digest, &tag)
			if i, ok := index[digest]; ok && err == nil {
				page[i].Tags = append(page[i].Tags, tag)
			}
			return err
		})
}

// Image finds one image, with its tags. Errors: fault.ImageNotFound.
func (s *Store) Image(ctx context.Context, repository int64, d name.Digest) (Image, error) {
	im, err := scanImage(func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+imageColumns+` FROM images i WHERE i.repository = $1 AND i.digest = $2 AND i.deleted_at = 0`, args{repository, d.String()}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return ImageNotFound()
		}
		return err
	})
	if err == nil {
		im.Tags, err = s.tagsOf(ctx, repository, d, "", -1)
	}
	return im, err
}

// tagsOf lists tags of an image after the given one; limit -1 is all.
func (s *Store) tagsOf(ctx context.Context, repository int64, d name.Digest, after string, limit int) ([]string, error) {
	var tags []string
	err := s.read.rows(ctx, `SELECT tag FROM tags WHERE repository = $1 AND digest = $2 AND tag > $3 ORDER BY tag LIMIT $4`,
		args{repository, d.String(), position(after), limitOrAll(limit)}, func(scan func(...any) error) error {
			var tag string
			err := scan(&tag)
			tags = append(tags, tag)
			return err
		})
	return tags, err
}

func limitOrAll(n int) int {
	if n < 0 {
		return 1 << 31
	}
	return n
}

// ImageID is one (digest, tag) pair; Tag is "" for an untagged image.
type ImageID struct {
	Position
}

// ImageIDs lists (digest, tag) pairs in the order of Position, those after the given one, at most limit.
func (s *Store) ImageIDs(ctx context.Context, repository int64, state TagState, after Position, limit int) ([]ImageID, error) {
	var all []ImageID
	if after.Tag != "" { // the rest of the image that the last page ended in
		d, err := name.ParseDigest(after.Digest)
		if err != nil {
			return nil, err
		}
		tags, err := s.tagsOf(ctx, repository, d, after.Tag, limit)
		if err != nil {
			return nil, err
		}
		for _, tag := range tags {
			all = append(all, ImageID{Position{after.PushedAt, after.Digest, tag}})
		}
	}
	if len(all) == limit {
		return all, nil
	}
	text, a := `SELECT i.pushed_at, i.digest, COALESCE(t.tag, '') FROM images i
		LEFT JOIN tags t ON t.repository = i.repository AND t.digest = i.digest
		WHERE i.repository = $1 AND i.deleted_at = 0 AND (i.pushed_at, i.digest) > ($2, $3)
		ORDER BY i.pushed_at, i.digest, t.tag LIMIT $4`, args{repository, after.PushedAt, position(after.Digest), limit - len(all)}
	if state != Any {
		text, a = `SELECT i.pushed_at, i.digest, COALESCE(t.tag, '') FROM images i
			LEFT JOIN tags t ON t.repository = i.repository AND t.digest = i.digest
			WHERE i.repository = $1 AND i.tagged = $5 AND i.deleted_at = 0 AND (i.pushed_at, i.digest) > ($2, $3)
			ORDER BY i.pushed_at, i.digest, t.tag LIMIT $4`, append(a, truth(state == Tagged))
	}
	err := s.read.rows(ctx, text, a, func(scan func(...any) error) error {
		var id ImageID
		err := scan(&id.PushedAt, &id.Digest, &id.Tag)
		all = append(all, id)
		return err
	})
	return all, err
}

// Tags lists a repository's tags in their order (bytes), those after the given one; limit -1 is all.
func (s *Store) Tags(ctx context.Context, repository int64, after string, limit int) ([]string, error) {
	tags := []string{}
	err := s.read.rows(ctx, `SELECT tag FROM tags WHERE repository = $1 AND tag > $2 ORDER BY tag LIMIT $3`,
		args{repository, position(after), limitOrAll(limit)}, func(scan func(...any) error) error {
			var tag string
			err := scan(&tag)
			tags = append(tags, tag)
			return err
		})
	return tags, err
}

// referrersBytes bounds the annotations of one page of referrers: a page ends early rather than answer gigabytes.
const referrersBytes = 3 << 20

// Referrers lists the images whose subject is d by digest, those after the given one ("" for all), at most limit.
// artifactTypes, when not empty, keeps only those. more tells that there may be others after the last one.
func (s *Store) Referrers(ctx context.Context, repository int64, d name.Digest, artifactTypes []string, after string, limit int) (page []Image, more bool, err error) {
	const batch = 100
	size := 0
	after = position(after)
	for {
		read := 0
		err := s.read.rows(ctx, `SELECT `+imageColumns+`, LENGTH(i.annotations) FROM images i
			WHERE i.repository = $1 AND i.subject = $2 AND i.subject <> '' AND i.deleted_at = 0 AND i.digest > $3 ORDER BY i.digest LIMIT $4`,
			args{repository, d.String(), after, batch}, func(scan func(...any) error) error {
				var n int
				im, err := scanImage(scan, &n)
				if err != nil {
					return err
				}
				if read++; len(artifactTypes) > 0 && !slices.Contains(artifactTypes, im.ArtifactType) {
					after = im.Digest.String()
					return nil
				}
				if len(page) == limit || len(page) > 0 && size+n > referrersBytes {
					return errPageFull
				}
				after = im.Digest.String()
				page, size = append(page, im), size+n
				return nil
			})
		if errors.Is(err, errPageFull) {
			return page, true, nil
		}
		if err != nil || read < batch {
			return page, false, err
		}
	}
}

var errPageFull = errors.New("the page is full")

// pullsAtOnce is how many pull times one transaction records: other writes wait no longer than for that many, and the
// savepoint of a write holds every page that it changes in memory.
const pullsAtOnce = 500

// SetPulled records pull times, some at a time; when it fails, some may be recorded. It skips images that are gone.
func (s *Store) SetPulled(ctx context.Context, pulls map[PullKey]time.Time) error {
	keys := slices.Collect(maps.Keys(pulls))
	for some := range slices.Chunk(keys, pullsAtOnce) {
		err := s.write.do(ctx, func(t *tx) error {
			for _, k := range some {
				if _, err := t.exec(`UPDATE images SET pulled_at = $3 WHERE repository = $1 AND digest = $2 AND pulled_at < $3`,
					k.Repository, k.Digest.String(), micros(pulls[k])); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// PullKey names an image that was pulled.
type PullKey struct {
	Repository int64
	Digest     name.Digest
}
