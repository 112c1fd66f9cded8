package meta

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// maxLifecycleImages and maxLifecycleTags limit what an evaluation has in memory: about 700 MB. ECR's quota is 100,000 images.
	maxLifecycleImages = 1_000_000
	maxLifecycleTags   = 2_000_000
	// lifecyclePage is the number of rows that one query of an evaluation returns.
	lifecyclePage = 500
)

// scanLimits limits what an evaluation reads: in all, and by one query.
type scanLimits struct{ images, tags, page int }

// LifecycleImages returns all images of a repository with what lifecycle policies use of them. It reads by pages, between which the
// repository may change; see ExpireImages. It calls between after each page of rows.
//
// Errors: fault.LimitExceeded (the repository has more images or tags than an evaluation may have in memory).
func (s *Store) LifecycleImages(ctx context.Context, r Repository, between func()) ([]lifecycle.Image, error) {
	l := lifecycleScan{s: s, repository: r.ID, numbers: map[string]int32{}, between: between}
	for _, step := range []func(context.Context) error{l.readImages, l.readTags, l.readPins} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if r.Protection >= ProtectsContents {
		for i := range l.all {
			l.all[i].Protection |= lifecycle.Undeletable
		}
	}
	return l.all, l.readUses(ctx, r.Registry.Account.String())
}

// lifecycleScan is the state of LifecycleImages.
type lifecycleScan struct {
	s          *Store
	repository int64
	all        []lifecycle.Image
	numbers    map[string]int32 // by digest
	between    func()
}

func tooLarge(what string, limit int) error {
	return fault.LimitExceeded.New("a repository with more than %d %s is not evaluated: delete some first", limit, what)
}

// readImages reads the images in the order of their push, and what indexes name.
func (l *lifecycleScan) readImages(ctx context.Context) error {
	var after Position
	for {
		first, read, indexes := len(l.all), 0, false
		err := l.s.read.rows(ctx, `SELECT digest, size, pushed_at, pulled_at, untagged_at, subject,
				CASE WHEN media_type IN ('application/vnd.oci.image.index.v1+json', 'application/vnd.docker.distribution.manifest.list.v2+json')
					THEN 1 ELSE 0 END
			FROM images WHERE repository = $1 AND deleted_at = 0 AND (pushed_at, digest) > ($2, $3) ORDER BY pushed_at, digest LIMIT $4`,
			args{l.repository, after.PushedAt, after.Digest, l.s.scan.page}, func(scan func(...any) error) error {
				var digest, subject string
				var im lifecycle.Image
				var pushed, pulled, untagged int64
				var index int
				if err := scan(&digest, &im.Bytes, &pushed, &pulled, &untagged, &subject, &index); err != nil {
					return err
				}
				im.PushedAt, im.PulledAt, im.UntaggedAt = fromMicros(pushed), fromMicros(pulled), fromMicros(untagged)
				indexes = indexes || index != 0
				var err error
				if im.Digest, err = name.ParseDigest(digest); err != nil {
					return err
				}
				if subject != "" {
					if im.Subject, err = name.ParseDigest(subject); err != nil {
						return err
					}
				}
				after = Position{PushedAt: pushed, Digest: digest}
				read++
				if _, twice := l.numbers[digest]; twice { // it was deleted and pushed again meanwhile: the next evaluation sees it
					return nil
				}
				l.numbers[digest] = int32(len(l.all))
				l.all = append(l.all, im)
				return nil
			})
		if err != nil {
			return err
		}
		if len(l.all) > l.s.scan.images {
			return tooLarge("images", l.s.scan.images)
		}
		if indexes && len(l.all) > first {
			if err := l.readChildren(ctx, l.all[first], after); err != nil {
				return err
			}
		}
		l.between()
		if read < l.s.scan.page {
			return nil
		}
	}
}

// readChildren reads the images that the indexes from one image to a position name.
func (l *lifecycleScan) readChildren(ctx context.Context, from lifecycle.Image, to Position) error {
	return l.s.read.rows(ctx, `SELECT i.digest, r.target FROM images i JOIN image_references r ON r.repository = i.repository AND r.digest = i.digest
		WHERE i.repository = $1 AND i.deleted_at = 0 AND (i.pushed_at, i.digest) >= ($2, $3) AND (i.pushed_at, i.digest) <= ($4, $5)
			AND i.media_type IN ('application/vnd.oci.image.index.v1+json', 'application/vnd.docker.distribution.manifest.list.v2+json')
			AND r.kind = 2
		ORDER BY i.pushed_at, i.digest`,
		args{l.repository, micros(from.PushedAt), from.Digest.String(), to.PushedAt, to.Digest}, func(scan func(...any) error) error {
			var digest, target string
			if err := scan(&digest, &target); err != nil {
				return err
			}
			child, err := name.ParseDigest(target)
			if n, ok := l.numbers[digest]; ok && err == nil {
				l.all[n].Children = append(l.all[n].Children, child)
			}
			return err
		})
}

// readTags reads the tags, by name.
func (l *lifecycleScan) readTags(ctx context.Context) error {
	after, total := "", 0
	for {
		read := 0
		err := l.s.read.rows(ctx, `SELECT tag, digest, moved_at FROM tags WHERE repository = $1 AND tag > $2 ORDER BY tag LIMIT $3`,
			args{l.repository, after, l.s.scan.page}, func(scan func(...any) error) error {
				var digest string
				var tag lifecycle.Tag
				var moved int64
				if err := scan(&tag.Name, &digest, &moved); err != nil {
					return err
				}
				tag.MovedAt, after = fromMicros(moved), tag.Name
				if n, ok := l.numbers[digest]; ok {
					l.all[n].Tags = append(l.all[n].Tags, tag)
				}
				read++
				return nil
			})
		if err != nil {
			return err
		}
		if total += read; total > l.s.scan.tags {
			return tooLarge("tags", l.s.scan.tags)
		}
		l.between()
		if read < l.s.scan.page {
			return nil
		}
	}
}

// readPins reads which images are pinned.
func (l *lifecycleScan) readPins(ctx context.Context) error {
	return l.protect(ctx, lifecycle.Pinned, `SELECT digest FROM image_pins WHERE repository = $1 AND digest > $2 ORDER BY digest LIMIT $3`,
		l.repository)
}

// readUses reads which images are in use.
func (l *lifecycleScan) readUses(ctx context.Context, account string) error {
	return l.protect(ctx, lifecycle.InUse, `SELECT digest FROM in_use WHERE account = $1 AND until > $4 AND digest > $2 ORDER BY digest LIMIT $3`,
		account, micros(l.s.now()))
}

// protect sets a protection of the images whose digests a statement returns by pages.
func (l *lifecycleScan) protect(ctx context.Context, p lifecycle.Protection, text string, of any, more ...any) error {
	after := ""
	for {
		read := 0
		err := l.s.read.rows(ctx, text, append(args{of, after, l.s.scan.page}, more...), func(scan func(...any) error) error {
			if err := scan(&after); err != nil {
				return err
			}
			if n, ok := l.numbers[after]; ok {
				l.all[n].Protection |= p
			}
			read++
			return nil
		})
		l.between()
		if err != nil || read < l.s.scan.page {
			return err
		}
	}
}
