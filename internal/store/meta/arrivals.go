package meta

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ArrivalKind is the kind of the jobs that look whether what a pull-through cache has stored makes images complete. These are replicated.
const ArrivalKind = "replication_arrival"

// Arrival is the input of such a job: an image, or a blob, that was fetched into a repository whose images are replicated.
type Arrival struct {
	Repository int64  `json:"repository"`
	Digest     string `json:"digest"`
	Blob       bool   `json:"blob,omitempty"`
}

// arrived enqueues the job for what a pull-through cache has stored in a repository, if a replication rule selects the repository.
func (t *tx) arrived(r Repository, d name.Digest, isBlob bool, s *Store) error {
	rules, err := replicationRules(t.ctx, t, r.Registry)
	if err != nil || !slices.ContainsFunc(rules, func(rule storedRule) bool { return rule.selects(r.Name.String()) }) {
		return err
	}
	in := Arrival{Repository: r.ID, Digest: d.String(), Blob: isBlob}
	text, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encoding the input of a job: %w", err)
	}
	return t.enqueue(NewJob{Kind: ArrivalKind, Key: fmt.Sprintf("%d %s", r.ID, in.Digest), Account: r.Registry.Account.String(),
		Input: string(text)}, s.now())
}

// AddFetchedBlob is AddBlob for a blob that a pull-through cache has fetched: images that it makes complete are replicated, and the
// labels of those whose config it is are read.
//
// Errors: those of AddBlob.
func (s *Store) AddFetchedBlob(ctx context.Context, r Repository, info blob.Info, upload string) (added bool, err error) {
	return s.recordBlob(ctx, r, info, upload, func(t *tx) error {
		if err := t.configArrived(r.ID, info.Digest, info.Size, micros(s.now())); err != nil {
			return err
		}
		return t.arrived(r, info.Digest, true, s)
	})
}

// Referring returns digests of images of a repository that refer to a blob or, for an image, of indexes that contain it: those after the
// given one, in their order, at most limit.
func (s *Store) Referring(ctx context.Context, repository int64, target string, isBlob bool, after string, limit int) (all []string,
	err error) {
	kind := 2
	if isBlob {
		kind = 1
	}
	err = s.read.rows(ctx, `SELECT digest FROM image_references WHERE repository = $1 AND target = $2 AND kind = $3 AND digest > $4
		ORDER BY digest LIMIT $5`, args{repository, target, kind, position(after), limit}, func(scan func(...any) error) error {
		var d string
		err := scan(&d)
		all = append(all, d)
		return err
	})
	return all, err
}

// Replicate copies an image of a repository to the destinations of the rules, as its push does.
//
// Errors: fault.RepositoryNotFound.
func (s *Store) Replicate(ctx context.Context, r Repository, d name.Digest) error {
	return s.write.do(ctx, func(t *tx) error {
		now, err := current(t, r)
		if err != nil {
			return err
		}
		if live, err := livesIn(t, r.ID, d); err != nil || !live {
			return err
		}
		return s.replicate(t, now, d)
	})
}
