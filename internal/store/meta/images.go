package meta

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ManifestHead is what a pull needs of a manifest besides its bytes.
type ManifestHead struct {
	Digest    name.Digest
	MediaType string
	Subject   name.Digest
	Size      int64 // of the manifest, in bytes
}

// ImageNotFound returns the error for an image that does not exist, with ECR's text.
func ImageNotFound() *fault.Error { return fault.ImageNotFound.New("Requested image not found") }

// Head returns the head of a manifest by tag or digest. Errors: fault.ImageNotFound.
func (s *Store) Head(ctx context.Context, repository int64, ref name.Reference) (ManifestHead, error) {
	h, gen, ok := s.cache.heads.get(headKey{repository, ref})
	if ok {
		return h, nil
	}
	h, err := s.head(ctx, repository, ref)
	if err == nil {
		s.cache.heads.put(headKey{repository, ref}, h, gen)
	}
	return h, err
}

// head reads a manifest's head. For a tag it also reads the body if that is small: clients that pull a tag need both.
func (s *Store) head(ctx context.Context, repository int64, ref name.Reference) (h ManifestHead, err error) {
	text, key := `SELECT digest, media_type, subject, manifest_size, NULL FROM images WHERE repository = $1 AND digest = $2 AND deleted_at <= 0`, ref.Digest.String()
	if ref.Tag != (name.Tag{}) {
		text, key = `SELECT i.digest, i.media_type, i.subject, i.manifest_size,
				CASE WHEN i.manifest_size <= 8192 THEN (SELECT m.body FROM manifests m WHERE m.digest = i.digest) END
			FROM images i WHERE i.repository = $1 AND i.deleted_at <= 0 AND i.digest = (SELECT digest FROM tags WHERE repository = $1 AND tag = $2)`, ref.Tag.String()
	}
	heads, bodies := s.cache.heads.generations(), s.cache.bodies.generations()
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
	// Many tags point to few images: their entries share the strings of the entry of the digest.
	if known, _, ok := s.cache.heads.shelf.get(headKey{repository, name.Reference{Digest: h.Digest}}); ok && known == h {
		h = known
	}
	if err == nil && body != nil {
		s.cache.heads.put(headKey{repository, name.Reference{Digest: h.Digest}}, h, heads)
		s.cache.bodies.put(h.Digest, body, bodies)
	}
	return h, err
}

// maxCachedBody is the largest manifest that the cache keeps, in bytes; it keeps at most 2,048. The query of head
// repeats it.
const maxCachedBody = 8 << 10

// Body returns the bytes of a manifest exactly as they were pushed; the caller must not change them. The caller must
// have found the digest in a repository by Head. Errors: fault.ImageNotFound.
func (s *Store) Body(ctx context.Context, d name.Digest) ([]byte, error) {
	body, gen, ok := s.cache.bodies.get(d)
	if ok {
		return body, nil
	}
	err := s.read.row(ctx, `SELECT body FROM manifests WHERE digest = $1`, args{d.String()}, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ImageNotFound()
	}
	if err == nil && len(body) <= maxCachedBody {
		s.cache.bodies.put(d, body, gen)
	}
	return body, err
}

// Image is one image of a repository.
type Image struct {
	ManifestHead
	ArtifactType string
	Annotations  map[string]string // only stored for images with a subject
	Bytes        int64             // sizes of config and layers as stored; for an index, of its largest image
	PushedAt     time.Time
	PulledAt     time.Time // zero for never
	DeletedAt    time.Time // zero if the image is not deleted
	Tags         []string  // sorted by bytes
}

const imageColumns = `i.digest, i.media_type, i.artifact_type, i.subject, i.annotations, i.manifest_size, i.size, i.pushed_at, i.pulled_at, i.deleted_at`

func scanImage(scan func(...any) error, more ...any) (Image, error) {
	var im Image
	var digest, subject, annotations string
	var pushed, pulled, deleted int64
	dest := append([]any{&digest, &im.MediaType, &im.ArtifactType, &subject, &annotations, &im.Size, &im.Bytes, &pushed,
		&pulled, &deleted}, more...)
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

// TagState selects images by whether they have a tag.
type TagState int

// The states. Any is the zero value.
const (
	Any TagState = iota
	Tagged
	Untagged
)

// Position is a place in the order of images: by push time, digest and tag. The zero Position is before all images.
type Position struct {
	PushedAt int64 // microseconds since 1970
	Digest   string
	Tag      string
}

// Images returns a repository's images with their tags in the order of Position: those after the given one, at most
// limit.
func (s *Store) Images(ctx context.Context, repository int64, state TagState, after Position, limit int) ([]Image, error) {
	text, a := `SELECT `+imageColumns+` FROM images i WHERE i.repository = $1 AND i.deleted_at = 0 AND (i.pushed_at, i.digest) > ($2, $3)
		ORDER BY i.pushed_at, i.digest LIMIT $4`, args{repository, after.PushedAt, position(after.Digest), limit}
	if state != Any {
		text, a = `SELECT `+imageColumns+
			` FROM images i WHERE i.repository = $1 AND i.tagged = $5 AND i.deleted_at = 0 AND (i.pushed_at, i.digest) > ($2, $3)
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

// tagAll sets the tags of a page of images, which begins right after the given position.
func (s *Store) tagAll(ctx context.Context, repository int64, after Position, page []Image) error {
	index := make(map[string]int, len(page))
	for i, im := range page {
		index[im.Digest.String()] = i
	}
	last := page[len(page)-1]
	// The range of the page selects its tagged images again without reading the images outside it. An image that was
	// pushed into the range since then is ignored.
	return s.read.rows(ctx, `SELECT i.digest, t.tag FROM images i JOIN tags t ON t.repository = i.repository AND t.digest = i.digest
		WHERE i.repository = $1 AND i.tagged = 1 AND i.deleted_at = 0
			AND (i.pushed_at, i.digest) > ($2, $3) AND (i.pushed_at, i.digest) <= ($4, $5)
		ORDER BY i.pushed_at, i.digest, t.tag`,
		args{repository, after.PushedAt, position(after.Digest), micros(last.PushedAt),
			last.Digest.String()}, func(scan func(...any) error) error {
			var digest, tag string
			err := scan(&digest, &tag)
			if i, ok := index[digest]; ok && err == nil {
				page[i].Tags = append(page[i].Tags, tag)
			}
			return err
		})
}

// Image returns one image with its tags. Errors: fault.ImageNotFound.
func (s *Store) Image(ctx context.Context, repository int64, d name.Digest) (Image, error) {
	im, err := scanImage(func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+imageColumns+
			` FROM images i WHERE i.repository = $1 AND i.digest = $2 AND i.deleted_at <= 0`, args{repository, d.String()}, dest...)
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

// tagsOf returns the tags of an image after the given one, at most limit; limit -1 means all.
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

// ImageIDs returns (digest, tag) pairs in the order of Position: those after the given one, at most limit.
func (s *Store) ImageIDs(ctx context.Context, repository int64, state TagState, after Position, limit int) ([]ImageID, error) {
	all, err := s.restOfImage(ctx, repository, after, limit)
	if err != nil || len(all) == limit {
		return all, err
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
	err = s.read.rows(ctx, text, a, func(scan func(...any) error) error {
		var id ImageID
		err := scan(&id.PushedAt, &id.Digest, &id.Tag)
		all = append(all, id)
		return err
	})
	return all, err
}

// restOfImage returns the tags of the image of a position that follow its tag, at most limit: those of the last image of a page that the
// page had no room for. Without a tag there are none.
func (s *Store) restOfImage(ctx context.Context, repository int64, after Position, limit int) (all []ImageID, err error) {
	if after.Tag == "" {
		return nil, nil
	}
	d, err := name.ParseDigest(after.Digest)
	if err != nil {
		return nil, err
	}
	tags, err := s.tagsOf(ctx, repository, d, after.Tag, limit)
	for _, tag := range tags {
		all = append(all, ImageID{Position{after.PushedAt, after.Digest, tag}})
	}
	return all, err
}

// NewestTag is the Position before all of NewestTags.
var NewestTag = Position{PushedAt: math.MaxInt64}

// NewestTags returns (digest, tag) pairs, those of the image that was pushed last first, and of one image by name: those after the given
// one, at most limit.
func (s *Store) NewestTags(ctx context.Context, repository int64, after Position, limit int) (all []ImageID, err error) {
	if all, err = s.restOfImage(ctx, repository, after, limit); err != nil || len(all) == limit {
		return all, err
	}
	err = s.read.rows(ctx,
		`SELECT i.pushed_at, i.digest, t.tag FROM images i JOIN tags t ON t.repository = i.repository AND t.digest = i.digest
		WHERE i.repository = $1 AND i.tagged = 1 AND i.deleted_at = 0 AND (i.pushed_at, i.digest) < ($2, $3)
		ORDER BY i.pushed_at DESC, i.digest DESC, t.tag LIMIT $4`,
		args{repository, after.PushedAt, position(after.Digest), limit - len(all)}, func(scan func(...any) error) error {
			var id ImageID
			err := scan(&id.PushedAt, &id.Digest, &id.Tag)
			all = append(all, id)
			return err
		})
	return all, err
}

// TagsFrom returns (digest, tag) pairs of a repository, sorted by the bytes of the tags: those from a text on, at most limit.
func (s *Store) TagsFrom(ctx context.Context, repository int64, from string, limit int) (all []ImageID, err error) {
	err = s.read.rows(ctx, `SELECT digest, tag FROM tags WHERE repository = $1 AND tag >= $2 ORDER BY tag LIMIT $3`,
		args{repository, from, limit}, func(scan func(...any) error) error {
			var id ImageID
			err := scan(&id.Digest, &id.Tag)
			all = append(all, id)
			return err
		})
	return all, err
}

// Tags returns a repository's tags, sorted by bytes: those after the given one, at most limit; limit -1 means all.
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

// maxReferrersBytes limits the annotations of one page of referrers, in bytes: a page with large annotations ends
// early.
const maxReferrersBytes = 3 << 20

// Referrers returns the images whose subject is d, ordered by digest: those after the given one ("" for all), at most
// limit. If artifactTypes is not empty, only images of these types are returned. more is true if there may be others
// after the last one.
func (s *Store) Referrers(ctx context.Context, repository int64, d name.Digest, artifactTypes []string, after string,
	limit int) (page []Image, more bool, err error) {
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
				if len(page) == limit || len(page) > 0 && size+n > maxReferrersBytes {
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

// maxPullsPerWrite limits how many pull times one transaction records. It limits the time that other writes wait, and
// the memory of the write's savepoint, which holds every page that it changes.
const maxPullsPerWrite = 500

// pullResolution is the time for which the recorded pull time of an image stays as it is: an image that is pulled all the time has
// one write in it. ECR promises a new time within 24 hours only. Source: ECR API reference, ImageDetail.
const pullResolution = time.Hour

// SetPulled records pull times in several transactions; after an error some may be recorded. Images that no longer
// exist are skipped, and those with a recorded time that is less than pullResolution older, or later.
func (s *Store) SetPulled(ctx context.Context, pulls map[PullKey]time.Time) error {
	keys := slices.SortedFunc(maps.Keys(pulls), func(a, b PullKey) int { // neighbours in the index share pages
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Digest.String(), b.Digest.String()))
	})
	for some := range slices.Chunk(keys, maxPullsPerWrite) {
		err := s.write.doMany(ctx, len(some), func(t *tx) error {
			last := map[int64]int64{}
			for _, k := range some {
				if _, err := t.exec(`UPDATE images SET pulled_at = $3 WHERE repository = $1 AND digest = $2 AND pulled_at <= $4`,
					k.Repository, k.Digest.String(), micros(pulls[k]), micros(pulls[k].Add(-pullResolution))); err != nil {
					return err
				}
				last[k.Repository] = max(last[k.Repository], micros(pulls[k]))
			}
			for _, repository := range slices.Sorted(maps.Keys(last)) {
				if _, err := t.exec(`UPDATE repository_totals SET pulled_at = $2 WHERE repository = $1 AND pulled_at <= $3`, repository,
					last[repository], last[repository]-pullResolution.Microseconds()); err != nil {
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

// PullKey identifies an image that was pulled.
type PullKey struct {
	Repository int64
	Digest     name.Digest
}
