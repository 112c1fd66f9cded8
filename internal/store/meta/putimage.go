package meta

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Put is an image to store: a parsed manifest, its bytes and its tags.
type Put struct {
	Manifest  *manifest.Manifest
	Body      []byte
	Digest    name.Digest
	Tags      []name.Tag // none for an untagged image
	Principal string     // the ARN of the caller, for the tag history
	// Labels are the labels of a new image, of manifest.Manifest.Labels; nil if they are to be read later.
	Labels []byte

	// RefuseSame refuses an image that exists with the same tag by fault.ImageAlreadyExists, as the ECR API does.
	RefuseSame bool
	// Restore permits blobs that were removed from the repository while the image was deleted.
	Restore bool
	// Quotas enforces ECR's quota of tags per image.
	Quotas bool
	// Sparse accepts an index of images that the repository does not have. Indexes in it must exist nevertheless.
	Sparse bool
	// Cached, if not nil, is the rule by which the image was fetched. The repository need not hold its blobs, which are fetched when they are
	// asked for. It implies Sparse and Restore, and records that the tags were compared with the other registry now.
	Cached *CacheRule
}

// MaxDepth limits the nesting of indexes. MaxTagsPerImage is ECR's quota. Source: ECR user guide, service quotas.
const (
	MaxDepth        = 8
	MaxTagsPerImage = 1000
)

// PutImage stores an image and moves its tags in one transaction. Pushing a deleted image again restores it.
//
// Errors: fault.RepositoryNotFound, fault.LayersNotFound, fault.ReferencedImagesNotFound, fault.ImageTagAlreadyExists
// (immutable, on another image), fault.ImageAlreadyExists (with RefuseSame), fault.ManifestInvalid (too deep),
// fault.LimitExceeded, fault.StorageQuotaExceeded.
func (s *Store) PutImage(ctx context.Context, r Repository, p Put) error {
	children, annotations, err := summarize(p)
	if err != nil {
		return err
	}
	if p.Cached == nil {
		if err := s.admit(ctx, r, p.Manifest, children); err != nil {
			return err
		}
	}
	cost := p.cost(children)
	if cost > digestsPerSet { // the references of a deleted image are removed before they are inserted again
		var removed int
		if err := s.read.row(ctx, deletedReferences, args{r.ID, p.Digest.String(), maxGroupCost}, &removed); err != nil {
			return err
		}
		cost += removed
	}
	return s.write.doMany(ctx, cost, func(t *tx) error {
		now, err := current(t, r)
		if err != nil {
			return err
		}
		var deleted int64
		exists, err := t.one(`SELECT deleted_at FROM images WHERE repository = $1 AND digest = $2`, args{r.ID, p.Digest.String()}, &deleted)
		if err != nil {
			return err
		}
		live := exists && deleted == 0
		if live && p.RefuseSame && len(p.Tags) == 0 {
			return alreadyExists(r, p.Digest, "null")
		}
		if !live {
			if exists { // insertImage inserts them again
				if _, err := t.exec(`DELETE FROM image_references WHERE repository = $1 AND digest = $2`, r.ID, p.Digest.String()); err != nil {
					return err
				}
			}
			if err := insertImage(t, now, p, children, annotations, micros(s.now())); err != nil {
				return err
			}
		}
		var moved []name.Tag
		for _, tag := range p.Tags {
			if mine, err := ofRule(t, r.ID, tag, p); err != nil {
				return err
			} else if !mine {
				continue
			}
			yes, err := s.moveTag(t, now, tag, p)
			if err != nil {
				return err
			}
			if yes {
				moved = append(moved, tag)
			}
			if p.Cached == nil {
				continue
			}
			if err := cacheChecked(t, r.ID, tag.String(), p.Digest.String(), s.now()); err != nil {
				return err
			}
		}
		if live && moved == nil {
			return nil // nothing has changed
		}
		if p.Cached == nil {
			err = s.replicate(t, now, p.Digest)
		} else { // its blobs may be elsewhere
			err = t.arrived(now, p.Digest, false, s)
		}
		if err != nil {
			return err
		}
		if err := s.lifecyclePushed(t, r.ID, live, moved != nil); err != nil {
			return err
		}
		return t.event(pushed(t.origin(now.Registry, s.now()), now, p, moved)...)
	})
}

// cost returns the number of statements of the write that stores an image, roughly; those for sets of digests count several
// times.
func (p *Put) cost(children []child) int {
	const perTag = 6
	return 6 + perTag*len(p.Tags) + len(p.Manifest.Blobs()) + 2*len(p.Manifest.Elsewhere()) + len(children)
}

const deletedReferences = `SELECT COUNT(*) FROM (SELECT 1 FROM image_references WHERE repository = $1 AND digest = $2 AND kind > 2 LIMIT $3) q`

func alreadyExists(r Repository, d name.Digest, tag string) error {
	return fault.ImageAlreadyExists.New("Image with digest '%s' and tag '%s' already exists in the repository with name '%s' in registry with id '%s'", d, tag, r.Name, r.Registry.Account)
}

// child is an image that an index names.
type child struct {
	digest string
	needed bool // the repository must have it
}

func summarize(p Put) (children []child, annotations string, err error) {
	p.Sparse = p.Sparse || p.Cached != nil
	m := p.Manifest
	seen := map[string]int{}
	for _, c := range m.Manifests {
		d, needed := c.Digest.String(), !p.Sparse || manifest.KindOf(c.MediaType) != manifest.Image
		if i, ok := seen[d]; ok {
			children[i].needed = children[i].needed || needed
			continue
		}
		seen[d] = len(children)
		children = append(children, child{d, needed})
	}
	if m.Subject != nil && len(m.Annotations) > 0 {
		text, err := json.Marshal(m.Annotations)
		if err != nil {
			return nil, "", fmt.Errorf("encoding annotations: %w", err)
		}
		annotations = string(text)
	}
	return children, annotations, nil
}

// insertImage checks that the blobs and children of an image exist, and stores the image or restores it.
func insertImage(t *tx, r Repository, p Put, children []child, annotations string, at int64) error {
	size, untyped, err := checkBlobs(t, r, p.Manifest, p)
	if err != nil {
		return err
	}
	depth, largest, err := checkChildren(t, r, children)
	if err != nil {
		return err
	}
	if p.Manifest.Kind == manifest.Index {
		size = largest
		if err := checkNotNamed(t, r, p.Digest); err != nil {
			return err
		}
	}
	subject := ""
	if p.Manifest.Subject != nil {
		subject = p.Manifest.Subject.Digest.String()
	}
	if err := t.charge(r, Amounts{Images: 1}); err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO manifests (digest, body) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`,
		p.Digest.String(), p.Body); err != nil {
		return err
	}
	tagged := 0
	if len(p.Tags) > 0 && p.Cached == nil { // all of them move to it, or the write is refused; an update later writes each index again
		tagged = 1
	}
	if _, err := t.exec(`INSERT INTO images (repository, digest, media_type, artifact_type, subject, annotations, manifest_size, size, depth, pushed_at, registry, tagged)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (repository, digest) DO UPDATE SET media_type = excluded.media_type, artifact_type = excluded.artifact_type,
			subject = excluded.subject, annotations = excluded.annotations, size = excluded.size, depth = excluded.depth,
			tagged = excluded.tagged, untagged_at = 0, pushed_at = excluded.pushed_at, pulled_at = 0, deleted_at = 0`,
		r.ID, p.Digest.String(), p.Manifest.MediaType, p.Manifest.ArtifactType, subject, annotations, len(p.Body), size, depth, at,
		r.Registry.String(), tagged); err != nil {
		return err
	}
	if err := t.putLabels(r.ID, p, at); err != nil {
		return err
	}
	if err := t.pushedTo(r.ID, at); err != nil {
		return err
	}
	t.touch(scope{kind: scopeImage, repository: r.ID, ref: name.Reference{Digest: p.Digest}})
	blobs := p.Manifest.Blobs()
	digests, targets := make([]name.Digest, len(blobs)), make([]string, len(blobs))
	for i, b := range blobs {
		digests[i], targets[i] = b.Digest, b.Digest.String()
	}
	if err := referTo(t, referToBlob, referToBlobs, r.ID, p.Digest.String(), targets); err != nil {
		return err
	}
	for _, d := range p.Manifest.Elsewhere() { // the repository may hold it; then it is in use
		digests = append(digests, d)
		if _, err := t.exec(referToBlob, r.ID, p.Digest.String(), d.String()); err != nil {
			return err
		}
		if err := uncondemn(t, r.ID, d); err != nil {
			return err
		}
	}
	t.touchHoldings(r.ID, digests)
	if err := setTypes(t, r.ID, untyped); err != nil {
		return err
	}
	images := make([]string, len(children))
	for i, c := range children {
		images[i] = c.digest
	}
	return referTo(t, referToImage, referToImages, r.ID, p.Digest.String(), images)
}

// checkBlobs returns the sum of the stored sizes of config and layers, and takes back their condemnation. With p.Restore, blobs that a
// client has removed while the image was deleted are there too. untyped are the blobs without a media type: no manifest has referred
// to them before. Errors: fault.LayersNotFound, with the digests that the repository does not
// hold; fault.ManifestInvalid (a size differs).
func checkBlobs(t *tx, r Repository, m *manifest.Manifest, p Put) (total int64, untyped []manifest.Descriptor, err error) {
	type blob struct {
		size      int64
		mediaType string
		condemned int64
	}
	blobs := m.Blobs()
	digests := make([]string, len(blobs))
	for i, b := range blobs {
		digests[i] = b.Digest.String()
	}
	held := make(map[string]blob, len(blobs))
	if err := found(t, heldBlob, heldBlobs, r.ID, digests, func(scan func(...any) error) error {
		var d string
		var h blob
		err := scan(&d, &h.size, &h.mediaType, &h.condemned)
		held[d] = h
		return err
	}); err != nil {
		return 0, nil, err
	}
	var missing []string
	for i, b := range blobs {
		h, ok := held[digests[i]]
		switch {
		case !ok && p.Cached != nil:
			total += max(0, b.Size)
		case !ok, h.condemned < 0 && !p.Restore && p.Cached == nil:
			missing = append(missing, digests[i])
		case b.Size >= 0 && b.Size != h.size:
			return 0, nil, manifest.Invalid("blob %s has %d bytes, not %d", b.Digest, h.size, b.Size)
		}
		total += h.size
		if ok && h.mediaType == "" {
			untyped = append(untyped, b)
			held[digests[i]] = blob{h.size, b.MediaType, h.condemned} // another descriptor of the same blob may follow
		}
	}
	if missing != nil {
		return 0, nil, layersNotFound(r, missing)
	}
	for i, b := range blobs {
		if held[digests[i]].condemned == 0 {
			continue
		}
		if err := uncondemn(t, r.ID, b.Digest); err != nil {
			return 0, nil, err
		}
	}
	return total, untyped, nil
}

// checkChildren returns the depth of an index of these images and the size of the largest image. Errors:
// fault.ReferencedImagesNotFound, fault.ManifestInvalid (too deep).
func checkChildren(t *tx, r Repository, children []child) (depth int, largest int64, err error) {
	digests := make([]string, len(children))
	for i, c := range children {
		digests[i] = c.digest
	}
	living := make(map[string]bool, len(children))
	if err := found(t, livingImage, livingImages, r.ID, digests, func(scan func(...any) error) error {
		var d string
		var size int64
		var below int
		err := scan(&d, &size, &below)
		living[d] = true
		depth, largest = max(depth, below+1), max(largest, size)
		return err
	}); err != nil {
		return 0, 0, err
	}
	var missing []string
	for _, c := range children {
		if c.needed && !living[c.digest] {
			missing = append(missing, c.digest)
		}
	}
	if missing != nil {
		return 0, 0, imagesNotFound(r, missing)
	}
	if depth > MaxDepth {
		return 0, 0, manifest.Invalid("indexes may nest %d deep, this one is %d deep", MaxDepth, depth)
	}
	return depth, largest, nil
}

// checkNotNamed checks that no index names a new index, which an index can do only if it was accepted without its images and
// said that it is an image. The depth of that index does not count what is below.
//
// Errors: fault.ManifestInvalid.
func checkNotNamed(t *tx, r Repository, d name.Digest) error {
	var by string
	found, err := t.one(`SELECT digest FROM image_references WHERE repository = $1 AND target = $2 AND kind = 2 LIMIT 1`,
		args{r.ID, d.String()}, &by)
	if err == nil && found {
		err = manifest.Invalid("the index %s names this index as an image: delete it first", by)
	}
	return err
}

func layersNotFound(r Repository, missing []string) error {
	return fault.LayersNotFound.New("Layers with digests '[%s]' required for pushing image into repository with name '%s' "+
		"in the registry with id '%s' do not exist", clipList(missing), r.Name, r.Registry.Account).With("digests", missing)
}

func imagesNotFound(r Repository, missing []string) error {
	return fault.ReferencedImagesNotFound.New("Images with digests '[%s]' required for pushing image into repository with name '%s' "+
		"in the registry with id '%s' do not exist", clipList(missing), r.Name, r.Registry.Account).With("digests", missing)
}

func clipList(digests []string) string {
	const maxListed = 20
	if len(digests) > maxListed {
		return strings.Join(digests[:maxListed], ", ") + fmt.Sprintf(", and %d more", len(digests)-maxListed)
	}
	return strings.Join(digests, ", ")
}

// moveTag points a tag to the image of p, and updates the tag's history and the tagged state of both images. It returns whether the tag
// named another image or none before.
func (s *Store) moveTag(t *tx, r Repository, tag name.Tag, p Put) (moved bool, err error) {
	var from string
	found, err := t.one(`SELECT digest FROM tags WHERE repository = $1 AND tag = $2`, args{r.ID, tag.String()}, &from)
	to := p.Digest.String()
	switch {
	case err != nil:
		return false, err
	case found && from == to:
		if p.RefuseSame {
			return false, alreadyExists(r, p.Digest, tag.String())
		}
		return false, nil
	case found && r.Mutability.Freezes(tag):
		return false, fault.ImageTagAlreadyExists.New("The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.", tag, r.Name)
	}
	if p.Quotas {
		var n int
		if _, err := t.one(`SELECT COUNT(*) FROM (SELECT 1 FROM tags WHERE repository = $1 AND digest = $2 LIMIT 1000) q`,
			args{r.ID, to}, &n); err != nil {
			return false, err
		}
		if n >= MaxTagsPerImage {
			return false, fault.LimitExceeded.New("an image can have at most %d tags", MaxTagsPerImage)
		}
	}
	at := s.now()
	t.touch(scope{kind: scopeTag, repository: r.ID, ref: name.Reference{Tag: tag}})
	if _, err := t.exec(`INSERT INTO tags (repository, tag, digest, moved_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (repository, tag) DO UPDATE SET digest = excluded.digest, moved_at = excluded.moved_at`,
		r.ID, tag.String(), to, micros(at)); err != nil {
		return false, err
	}
	if err := s.history(t, r.ID, tag.String(), from, to, p.Principal, at); err != nil {
		return false, err
	}
	if _, err := t.exec(`UPDATE images SET tagged = 1, untagged_at = 0 WHERE repository = $1 AND digest = $2 AND tagged = 0`, r.ID, to); err != nil {
		return false, err
	}
	if found {
		err = untagIfLast(t, r.ID, from, at)
	}
	return err == nil, err
}

func (s *Store) history(t *tx, repository int64, tag, from, to, principal string, at time.Time) error {
	id, err := t.newID(at)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO tag_history (id, repository, tag, from_digest, to_digest, moved_at, principal) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		id, repository, tag, from, to, micros(at), principal)
	return err
}

// untagIfLast marks an image untagged if no tag points to it any more.
func untagIfLast(t *tx, repository int64, digest string, at time.Time) error {
	_, err := t.exec(`UPDATE images SET tagged = 0, untagged_at = $3 WHERE repository = $1 AND digest = $2
		AND NOT EXISTS (SELECT 1 FROM tags WHERE repository = $1 AND digest = $2)`, repository, digest, micros(at))
	return err
}
