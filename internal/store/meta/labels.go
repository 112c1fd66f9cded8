package meta

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// labelsPause is the time after which a config that could not be read is read again, at most maxLabelTries times.
	labelsPause   = time.Hour
	maxLabelTries = 24
	// maxLabelled is the number of images whose labels are read again when a cache has fetched a config.
	maxLabelled = 1000
)

// putLabels stores the labels of an image that is stored, or that they are to be read; see Put.Labels.
func (t *tx) putLabels(repository int64, p Put, at int64) (err error) {
	switch string(p.Labels) {
	case "{}":
	case "":
		_, err = t.exec(`INSERT INTO labels_due (repository, digest, due_at, tries) VALUES ($1, $2, $3, 0)
			ON CONFLICT (repository, digest) DO NOTHING`, repository, p.Digest.String(), at)
	default:
		_, err = t.exec(`INSERT INTO image_labels (repository, digest, labels) VALUES ($1, $2, $3)
			ON CONFLICT (repository, digest) DO NOTHING`, repository, p.Digest.String(), string(p.Labels))
	}
	return err
}

// configArrived lets the labels of images be read whose config this blob may be.
func (t *tx) configArrived(repository int64, d name.Digest, size, at int64) error {
	if size > manifest.MaxConfig {
		return nil
	}
	_, err := t.exec(`INSERT INTO labels_due (repository, digest, due_at, tries)
		SELECT repository, digest, $3, 0 FROM image_references WHERE repository = $1 AND target = $2 AND kind = 1 LIMIT $4
		ON CONFLICT (repository, digest) DO UPDATE SET due_at = excluded.due_at, tries = 0`, repository, d.String(), at, maxLabelled)
	return err
}

// DueLabels is an image whose labels are to be read.
type DueLabels struct {
	Repository int64
	Digest     name.Digest

	due int64
}

// DueLabels returns images whose labels are to be read now, those that wait longest first, at most limit.
func (s *Store) DueLabels(ctx context.Context, limit int) (all []DueLabels, err error) {
	err = s.read.rows(ctx, `SELECT repository, digest, due_at FROM labels_due WHERE due_at <= $1 ORDER BY due_at LIMIT $2`,
		args{micros(s.now()), limit}, func(scan func(...any) error) error {
			var one DueLabels
			var d string
			err := scan(&one.Repository, &d, &one.due)
			if err == nil {
				one.Digest, err = name.ParseDigest(d)
			}
			all = append(all, one)
			return err
		})
	return all, err
}

// SetLabels stores labels that were read, as Put.Labels; nil for those that could not be read, which are due again in an hour, a day long.
// Images that became due again meanwhile stay due.
func (s *Store) SetLabels(ctx context.Context, of []DueLabels, labels [][]byte) error {
	return s.write.doMany(ctx, 3*len(of), func(t *tx) error {
		for i, one := range of {
			digest := one.Digest.String()
			if labels[i] == nil {
				if _, err := t.exec(`UPDATE labels_due SET tries = tries + 1, due_at = $4 WHERE repository = $1 AND digest = $2 AND due_at = $3`,
					one.Repository, digest, one.due, micros(s.now().Add(labelsPause))); err != nil {
					return err
				}
				if _, err := t.exec(`DELETE FROM labels_due WHERE repository = $1 AND digest = $2 AND tries >= $3`, one.Repository, digest,
					maxLabelTries); err != nil {
					return err
				}
				continue
			}
			var there int
			found, err := t.one(`SELECT 1 FROM images WHERE repository = $1 AND digest = $2`, args{one.Repository, digest}, &there)
			if err != nil {
				return err
			}
			if found && string(labels[i]) != "{}" {
				if _, err := t.exec(`INSERT INTO image_labels (repository, digest, labels) VALUES ($1, $2, $3)
					ON CONFLICT (repository, digest) DO UPDATE SET labels = excluded.labels`, one.Repository, digest, string(labels[i])); err != nil {
					return err
				}
			}
			if _, err := t.exec(`DELETE FROM labels_due WHERE repository = $1 AND digest = $2 AND due_at = $3`, one.Repository, digest,
				one.due); err != nil {
				return err
			}
		}
		return nil
	})
}

// Labels returns the labels of images of a repository, by their digests. Images without labels are not among them.
func (s *Store) Labels(ctx context.Context, repository int64, digests []string) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	for len(digests) > 0 {
		set := digests[:min(digestsPerSet, len(digests))]
		digests = digests[len(set):]
		in := args{repository}
		for i := range digestsPerSet { // the last set is filled with its first digest
			in = append(in, set[i%len(set)])
		}
		if err := s.read.rows(ctx, labelsOfImages, in, func(scan func(...any) error) error {
			var digest, text string
			if err := scan(&digest, &text); err != nil {
				return err
			}
			var one map[string]string
			if err := json.Unmarshal([]byte(text), &one); err != nil {
				return fmt.Errorf("reading the labels of %s: %w", digest, err)
			}
			all[digest] = one
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

const labelsOfImages = `SELECT digest, labels FROM image_labels WHERE repository = $1 AND digest IN (
		$2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
		$18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)`
