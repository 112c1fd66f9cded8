package meta

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Expiry is an image that a lifecycle policy deletes, as the decision saw it.
type Expiry struct {
	Image    *lifecycle.Image
	ByPull   bool // the decision depends on the last pull
	Follows  bool // it is a referrer that goes because its subject does
	Priority int  // of the rule
}

// maxExpiryRows limits the rows that one transaction of ExpireImages changes, unless its first image alone has more.
const maxExpiryRows = 128

// expirySteps is the number of statements for one image besides its rows.
const expirySteps = 10

// ExpiredBy is the principal of the tag history for images that a lifecycle policy deleted.
const ExpiredBy = "ecr.amazonaws.com"

// ExpireImages marks images of the list as deleted, from its beginning, as many as fit into one transaction, and returns how many of the
// list it has dealt with. An image that is not any more as the decision saw it is skipped: it has other tags, was pushed again, pulled
// where that matters, pinned, or is used; an index of the repository refers to it; or its subject stays. lines returns the audit lines
// of those that are deleted; it is called in the transaction, perhaps several times, and gets a subsequence of the list.
//
// Errors: fault.TargetChanged (the policy, or images that were counted, have changed since generation was read; nothing is deleted),
// fault.RepositoryNotFound, fault.RepositoryProtected.
func (s *Store) ExpireImages(ctx context.Context, r Repository, generation int64, list []Expiry, lines func(gone []Expiry) []byte) (n int,
	gone []Expiry, err error) {
	if len(list) == 0 {
		return 0, nil, nil
	}
	budget := maxExpiryRows
	for {
		more := 0
		err = s.write.doMany(ctx, budget, func(t *tx) error {
			n, gone, more = 0, nil, 0
			if err := deletable(t, r, ProtectsContents); err != nil {
				return err
			}
			l, err := t.lifecycle(r.ID)
			if err != nil {
				return err
			}
			if l.Generation != generation || generation == 0 {
				return fault.TargetChanged.New("the lifecycle policy or the images of the repository have changed since the decision")
			}
			for left := budget; n < len(list); n++ {
				var rows int
				if err := t.row(t.ctx, rowsOfImage, args{r.ID, list[n].Image.Digest.String(), maxGroupCost}, &rows); err != nil {
					return err
				}
				if rows += expirySteps; rows > left && n == 0 {
					more = rows
					return errHeavier
				}
				if left -= rows; left < 0 {
					break
				}
				ok, err := s.expire(t, r, &list[n])
				if err != nil {
					return err
				}
				if ok {
					gone = append(gone, list[n])
				}
			}
			if len(gone) > 0 && lines != nil {
				t.emit(lines(gone))
			}
			return nil
		})
		if more == 0 {
			return n, gone, err
		}
		budget = more
	}
}

// expire marks an image as deleted, and returns false if it stays.
func (s *Store) expire(t *tx, r Repository, e *Expiry) (bool, error) {
	ok, err := s.stillDue(t, r, e)
	if err != nil || !ok {
		return false, err
	}
	tags := make([]string, len(e.Image.Tags))
	for i, tag := range e.Image.Tags {
		tags[i] = tag.Name
	}
	_, err = s.deleteImage(t, r, e.Image.Digest, tags, ExpiredBy)
	return err == nil, err
}

// stillDue reports whether an image is as the decision saw it.
func (s *Store) stillDue(t *tx, r Repository, e *Expiry) (bool, error) {
	digest := e.Image.Digest.String()
	var pushed, pulled int64
	found, err := t.one(`SELECT pushed_at, pulled_at FROM images WHERE repository = $1 AND digest = $2 AND deleted_at <= 0`,
		args{r.ID, digest}, &pushed, &pulled)
	if err != nil || !found || pushed != micros(e.Image.PushedAt) || e.ByPull && pulled != micros(e.Image.PulledAt) {
		return false, err
	}
	same, n := true, 0
	err = t.rows(t.ctx, `SELECT tag, moved_at FROM tags WHERE repository = $1 AND digest = $2 ORDER BY tag`, args{r.ID, digest},
		func(scan func(...any) error) error {
			var tag string
			var moved int64
			err := scan(&tag, &moved)
			same = same && n < len(e.Image.Tags) && e.Image.Tags[n].Name == tag && micros(e.Image.Tags[n].MovedAt) == moved
			n++
			return err
		})
	if err != nil || !same || n != len(e.Image.Tags) {
		return false, err
	}
	var one int
	for _, q := range []struct {
		text string
		args args
	}{
		{`SELECT 1 FROM image_references WHERE repository = $1 AND target = $2 AND kind = 2 LIMIT 1`, args{r.ID, digest}},
		{`SELECT 1 FROM image_pins WHERE repository = $1 AND digest = $2`, args{r.ID, digest}},
		{`SELECT 1 FROM in_use WHERE account = $1 AND digest = $2 AND until > $3 LIMIT 1`,
			args{r.Registry.Account.String(), digest, micros(s.now())}},
	} {
		if found, err := t.one(q.text, q.args, &one); err != nil || found {
			return false, err
		}
	}
	if e.Follows {
		found, err := t.one(`SELECT 1 FROM images WHERE repository = $1 AND digest = $2 AND deleted_at <= 0`,
			args{r.ID, e.Image.Subject.String()}, &one)
		return !found, err
	}
	return true, nil
}
