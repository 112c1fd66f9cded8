package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Pin is an image that a user has pinned: no lifecycle policy acts on it.
type Pin struct {
	Digest    string
	Principal string // ARN of who pinned it
	Reason    string // "" for none
	At        time.Time
}

// PinImage pins an image, or changes the reason of its pin.
//
// Errors: fault.ImageNotFound, fault.RepositoryNotFound.
func (s *Store) PinImage(ctx context.Context, r Repository, d name.Digest, principal, reason string) (p Pin, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		var one int
		found, err := t.one(`SELECT 1 FROM images WHERE repository = $1 AND digest = $2 AND deleted_at <= 0`, args{r.ID, d.String()}, &one)
		if err != nil {
			return err
		}
		if !found {
			return ImageNotFound()
		}
		p = Pin{Digest: d.String(), Principal: principal, Reason: reason, At: fromMicros(micros(s.now()))}
		_, err = t.exec(`INSERT INTO image_pins (repository, digest, principal, reason, pinned_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (repository, digest) DO UPDATE SET principal = excluded.principal, reason = excluded.reason, pinned_at = excluded.pinned_at`,
			r.ID, p.Digest, p.Principal, p.Reason, micros(p.At))
		return err
	})
	return p, err
}

// UnpinImage takes the pin of an image back.
//
// Errors: fault.ImageNotPinned, fault.RepositoryNotFound.
func (s *Store) UnpinImage(ctx context.Context, r Repository, d name.Digest) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		n, err := t.exec(`DELETE FROM image_pins WHERE repository = $1 AND digest = $2`, r.ID, d.String())
		if err == nil && n == 0 {
			return fault.ImageNotPinned.New("image %s is not pinned", d)
		}
		return err
	})
}

// Pins returns the pins of the images of a repository, ordered by digest: those after the given one, at most limit.
func (s *Store) Pins(ctx context.Context, repository int64, after string, limit int) (all []Pin, err error) {
	err = s.read.rows(ctx, `SELECT p.digest, p.principal, p.reason, p.pinned_at FROM image_pins p
		JOIN images i ON i.repository = p.repository AND i.digest = p.digest AND i.deleted_at <= 0
		WHERE p.repository = $1 AND p.digest > $2 ORDER BY p.digest LIMIT $3`, args{repository, position(after), limit},
		func(scan func(...any) error) error {
			var p Pin
			var at int64
			err := scan(&p.Digest, &p.Principal, &p.Reason, &at)
			p.At = fromMicros(at)
			all = append(all, p)
			return err
		})
	return all, err
}

// ImageUse is a report that an image runs somewhere.
type ImageUse struct {
	Digest name.Digest
	By     string // who uses it, such as the name of a cluster
	Until  time.Time
}

// maxUses limits the rows of an account about images in use, and maxReported those of one report.
const (
	maxUses     = 50_000
	maxReported = 500
)

// ReportUse records which images of the repositories of an account are in use, and until when they count as such. A later report about
// the same image by the same user replaces an earlier one.
//
// Errors: fault.LimitExceeded (more than maxUses images and users), fault.InvalidParameter (more than maxReported).
func (s *Store) ReportUse(ctx context.Context, account name.Account, uses []ImageUse) error {
	if len(uses) > maxReported {
		return fault.InvalidParameter.New("a report has at most %d images, this has %d", maxReported, len(uses))
	}
	return s.write.doMany(ctx, len(uses)+1, func(t *tx) error {
		return t.reportUses(account.String(), uses)
	})
}

// ImageUses returns who uses an image of an account now, by name: those after the given one, at most limit.
func (s *Store) ImageUses(ctx context.Context, account name.Account, d name.Digest, after string, limit int) (all []ImageUse, err error) {
	err = s.read.rows(ctx, `SELECT used_by, until FROM in_use WHERE account = $1 AND digest = $2 AND until > $3 AND used_by > $4
		ORDER BY used_by LIMIT $5`, args{account.String(), d.String(), micros(s.now()), after, limit}, func(scan func(...any) error) error {
		u := ImageUse{Digest: d}
		var until int64
		err := scan(&u.By, &until)
		u.Until = fromMicros(until)
		all = append(all, u)
		return err
	})
	return all, err
}

// reportUses stores which images are in use. Errors: fault.LimitExceeded.
func (t *tx) reportUses(account string, uses []ImageUse) error {
	for _, u := range uses {
		if _, err := t.exec(`INSERT INTO in_use (account, digest, used_by, until) VALUES ($1, $2, $3, $4)
			ON CONFLICT (account, digest, used_by) DO UPDATE SET until = excluded.until`,
			account, u.Digest.String(), u.By, micros(u.Until)); err != nil {
			return err
		}
	}
	var n int
	if err := t.row(t.ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM in_use WHERE account = $1 LIMIT $2) q`,
		args{account, maxUses + 1}, &n); err != nil {
		return err
	}
	if n > maxUses {
		return fault.LimitExceeded.New("at most %d images of an account are recorded as in use", maxUses)
	}
	return nil
}

// DeleteEndedUses deletes up to limit reports about images that are not in use any more, and returns how many. If there are none,
// nothing is written.
func (s *Store) DeleteEndedUses(ctx context.Context, limit int) (n int64, err error) {
	now := micros(s.now())
	due, err := s.ids(ctx, `SELECT until FROM in_use WHERE until <= $1 ORDER BY until LIMIT 1`, now)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	err = s.write.doMany(ctx, limit, func(t *tx) (err error) {
		n, err = t.exec(`DELETE FROM in_use WHERE (account, digest, used_by) IN (
			SELECT account, digest, used_by FROM in_use WHERE until <= $1 ORDER BY until LIMIT $2)`, now, limit)
		return err
	})
	return n, err
}
