package meta

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Release is a set of files of an application.
type Release struct {
	Application string // id
	Sequence    int64  // of the application, from 1
	Files       []byte // JSON of the files, compressed; nil in lists
	Spec        string // form in which the files were given: json or yaml
	Bytes       int64  // of Files
	Promoted    bool   // it was promoted: it does not change any more
	Archived    bool
	CreatedAt   time.Time
	EditedAt    time.Time
	CreatedBy   string // ARN
	Images      []ReleaseImage
	Charts      []ReleaseChart
}

// ReleaseImage is an image that the files of a release name.
type ReleaseImage struct {
	Repository string // HOST/PATH
	Tag        string // "" for none
	Digest     string // "" for none
}

// Promotion is a release on a channel.
type Promotion struct {
	Channel     string // id
	Sequence    int64  // of the channel, from 1
	Application string // id
	Release     int64  // sequence of the application
	Label       string // of the version
	Notes       string
	Required    bool
	PromotedAt  time.Time
	PromotedBy  string    // ARN
	DemotedAt   time.Time // zero for a promotion that is offered
	// ProxyDomain and RegistryDomain are the hosts at which customers pull the images; "" for that of the request.
	ProxyDomain, RegistryDomain string
}

func noRelease(sequence int64) error {
	return fault.ObjectNotFound.New("the application has no release %d", sequence)
}

const releaseColumns = `application, sequence, spec, bytes, promoted, archived_at, created_at, edited_at, created_by`

func scanRelease(scan func(...any) error) (Release, error) {
	var r Release
	var archived, created, edited int64
	err := scan(&r.Application, &r.Sequence, &r.Spec, &r.Bytes, &r.Promoted, &archived, &created, &edited, &r.CreatedBy)
	r.Archived, r.CreatedAt, r.EditedAt = archived != 0, fromMicros(created), fromMicros(edited)
	return r, err
}

// PutRelease stores a release. With the sequence 0 it is a new one, else it replaces the files of one that was never promoted.
//
// Errors: fault.ObjectNotFound (the application, the release), fault.ObjectInUse (it was promoted), fault.LimitExceeded.
func (s *Store) PutRelease(ctx context.Context, r Release) (Release, error) {
	err := s.write.do(ctx, func(t *tx) error {
		var last, total int64
		found, err := t.one(`SELECT last_release, release_bytes FROM applications WHERE id = $1`, args{r.Application}, &last, &total)
		if err == nil && !found {
			err = noApplication(r.Application)
		}
		if err != nil {
			return err
		}
		now := micros(s.now())
		r.Bytes, r.EditedAt = int64(len(r.Files)), fromMicros(now)
		if r.Sequence == 0 {
			if last >= MaxReleases {
				return fault.LimitExceeded.New("an application can have at most %d releases", MaxReleases)
			}
			r.Sequence, r.CreatedAt = last+1, fromMicros(now)
			_, err = t.exec(`INSERT INTO releases (application, sequence, files, spec, bytes, promoted, archived_at, created_at, edited_at,
				created_by) VALUES ($1, $2, $3, $4, $5, 0, 0, $6, $6, $7)`, r.Application, r.Sequence, r.Files, r.Spec, r.Bytes, now, r.CreatedBy)
		} else {
			err = t.editRelease(&r, &total, now)
		}
		if err != nil {
			return err
		}
		if total += r.Bytes; total > MaxReleaseBytes {
			return fault.LimitExceeded.New("the releases of an application can have at most %d bytes", int64(MaxReleaseBytes))
		}
		if _, err := t.exec(`UPDATE applications SET last_release = $2, release_bytes = $3 WHERE id = $1`,
			r.Application, max(last, r.Sequence), total); err != nil {
			return err
		}
		if err := t.putCharts(r); err != nil {
			return err
		}
		for _, i := range r.Images {
			if _, err := t.exec(`INSERT INTO release_images (application, sequence, repository, tag, digest) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT DO NOTHING`, r.Application, r.Sequence, i.Repository, i.Tag, i.Digest); err != nil {
				return err
			}
		}
		return nil
	})
	return r, err
}

// editRelease replaces the files of a release, and takes those before from the total.
func (t *tx) editRelease(r *Release, total *int64, now int64) error {
	var bytes, created int64
	var promoted bool
	found, err := t.one(`SELECT bytes, promoted, created_at, created_by FROM releases WHERE application = $1 AND sequence = $2`,
		args{r.Application, r.Sequence}, &bytes, &promoted, &created, &r.CreatedBy)
	switch {
	case err != nil:
		return err
	case !found:
		return noRelease(r.Sequence)
	case promoted:
		return fault.ObjectInUse.New("the release %d was promoted, so that customers may have it: make a new release", r.Sequence)
	}
	r.CreatedAt = fromMicros(created)
	*total -= bytes
	if _, err := t.exec(`DELETE FROM release_images WHERE application = $1 AND sequence = $2`, r.Application, r.Sequence); err != nil {
		return err
	}
	if _, err := t.exec(`DELETE FROM release_compatibility WHERE application = $1 AND sequence = $2`, r.Application, r.Sequence); err != nil {
		return err
	}
	_, err = t.exec(`UPDATE releases SET files = $3, spec = $4, bytes = $5, edited_at = $6 WHERE application = $1 AND sequence = $2`,
		r.Application, r.Sequence, r.Files, r.Spec, r.Bytes, now)
	return err
}

// Release returns a release with its files. Errors: fault.ObjectNotFound.
func (s *Store) Release(ctx context.Context, application string, sequence int64) (r Release, err error) {
	var files []byte
	r, err = scanRelease(func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+releaseColumns+`, files FROM releases WHERE application = $1 AND sequence = $2`,
			args{application, sequence}, append(dest, &files)...)
		if errors.Is(err, sql.ErrNoRows) {
			return noRelease(sequence)
		}
		return err
	})
	r.Files = files
	return r, err
}

// Releases returns at most limit releases of an application without their files, the newest first, from below a sequence; 0 for all.
func (s *Store) Releases(ctx context.Context, application string, below int64, limit int) (all []Release, err error) {
	if below == 0 {
		below = MaxReleases + 1
	}
	err = s.read.rows(ctx, `SELECT `+releaseColumns+` FROM releases WHERE application = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3`,
		args{application, below, limit}, func(scan func(...any) error) error {
			one, err := scanRelease(scan)
			all = append(all, one)
			return err
		})
	return all, err
}

// maxRecentPromotions limits the promotions in which RecentImages looks for releases.
const maxRecentPromotions = 1000

// RecentImages returns the images of the newest releases of an application that a channel offers, at most releases of them, those of the
// newest first.
func (s *Store) RecentImages(ctx context.Context, application string, releases int) (all []ReleaseImage, err error) {
	var newest []int64
	err = s.read.rows(ctx, `SELECT release FROM promotions WHERE application = $1 AND demoted_at = 0 ORDER BY release DESC LIMIT $2`,
		args{application, maxRecentPromotions}, func(scan func(...any) error) error {
			var release int64
			err := scan(&release)
			if n := len(newest); n < releases && (n == 0 || newest[n-1] != release) {
				newest = append(newest, release)
			}
			return err
		})
	for _, release := range newest {
		if err != nil {
			break
		}
		err = s.read.rows(ctx, `SELECT repository, tag, digest FROM release_images WHERE application = $1 AND sequence = $2`,
			args{application, release}, func(scan func(...any) error) error {
				var i ReleaseImage
				err := scan(&i.Repository, &i.Tag, &i.Digest)
				all = append(all, i)
				return err
			})
	}
	return all, err
}

// Promote puts a release on channels, with the next sequence of each. It returns the promotions in the order of the channels.
//
// Errors: fault.ObjectNotFound (the release, a channel), fault.ObjectAlreadyExists (a channel offers another release with the label),
// fault.TargetChanged (a channel asks for other labels than the given one).
func (s *Store) Promote(ctx context.Context, p Promotion, channels []Channel, tell func(Promotion, Channel) event.Event) (
	all []Promotion, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		all = all[:0]
		n, err := t.exec(`UPDATE releases SET promoted = 1 WHERE application = $1 AND sequence = $2 AND archived_at = 0`,
			p.Application, p.Release)
		if err == nil && n == 0 {
			err = noRelease(p.Release)
		}
		if err != nil {
			return err
		}
		t.touch(scope{kind: scopeOffers})
		now := micros(s.now())
		for _, c := range channels {
			one := p
			one.Channel, one.PromotedAt = c.ID, fromMicros(now)
			var proxy, registry string
			var application string
			var semver bool
			found, err := t.changeOne(`UPDATE channels SET last_sequence = last_sequence + 1 WHERE id = $1 AND archived_at = 0
				RETURNING last_sequence, application, semver_required, proxy_domain, registry_domain`, args{c.ID}, &one.Sequence, &application,
				&semver, &proxy, &registry)
			one.ProxyDomain, one.RegistryDomain = cmp.Or(proxy, p.ProxyDomain), cmp.Or(registry, p.RegistryDomain)
			switch {
			case err == nil && (!found || application != p.Application):
				err = noChannel(c.ID)
			case err == nil && semver != c.SemverRequired: // the label was checked by the channel as it was
				err = fault.TargetChanged.New("the channel %s has been changed by another request", c.Slug)
			}
			if err != nil {
				return err
			}
			if c.SemverRequired {
				var other int64
				found, err := t.one(`SELECT release FROM promotions WHERE channel = $1 AND version_label = $2 AND demoted_at = 0 AND release <> $3
					LIMIT 1`, args{c.ID, p.Label, p.Release}, &other)
				if err == nil && found {
					err = fault.ObjectAlreadyExists.New("the channel %s has the version %s already, of the release %d", c.Name, p.Label, other)
				}
				if err != nil {
					return err
				}
			}
			if _, err := t.exec(`INSERT INTO promotions (channel, sequence, application, release, version_label, notes, required, promoted_at,
				promoted_by, demoted_at, proxy_domain, registry_domain) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11)`, c.ID,
				one.Sequence, p.Application, p.Release, p.Label, p.Notes, truth(p.Required), now, p.PromotedBy, one.ProxyDomain,
				one.RegistryDomain); err != nil {
				return err
			}
			all = append(all, one)
			if tell != nil {
				if err := t.event(tell(one, c)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return all, err
}

const promotionColumns = `channel, sequence, application, release, version_label, notes, required, promoted_at, promoted_by, demoted_at,
	proxy_domain, registry_domain`

func scanPromotion(scan func(...any) error) (Promotion, error) {
	var p Promotion
	var promoted, demoted int64
	err := scan(&p.Channel, &p.Sequence, &p.Application, &p.Release, &p.Label, &p.Notes, &p.Required, &promoted, &p.PromotedBy, &demoted,
		&p.ProxyDomain, &p.RegistryDomain)
	p.PromotedAt, p.DemotedAt = fromMicros(promoted), fromMicros(demoted)
	return p, err
}

// Promotions returns at most limit promotions of a channel, the oldest first, from above a sequence of the channel; demoted ones too if
// all is true.
func (s *Store) Promotions(ctx context.Context, channel string, above int64, all bool, limit int) (list []Promotion, err error) {
	err = s.read.rows(ctx, `SELECT `+promotionColumns+` FROM promotions WHERE channel = $1 AND sequence > $2 AND (demoted_at = 0 OR $3 = 1)
		ORDER BY sequence LIMIT $4`, args{channel, above, truth(all), limit}, func(scan func(...any) error) error {
		one, err := scanPromotion(scan)
		list = append(list, one)
		return err
	})
	return list, err
}

// NewestPromotions returns at most limit promotions of a channel, the newest first, from below a sequence of the channel; 0 for all.
// Demoted ones are returned too if all is true.
func (s *Store) NewestPromotions(ctx context.Context, channel string, below int64, all bool, limit int) (list []Promotion, err error) {
	if below == 0 {
		below = math.MaxInt64
	}
	err = s.read.rows(ctx, `SELECT `+promotionColumns+` FROM promotions WHERE channel = $1 AND sequence < $2 AND (demoted_at = 0 OR $3 = 1)
		ORDER BY sequence DESC LIMIT $4`, args{channel, below, truth(all), limit}, func(scan func(...any) error) error {
		one, err := scanPromotion(scan)
		list = append(list, one)
		return err
	})
	return list, err
}

// Offers returns at most limit promotions of a channel that are offered, the newest first: those with a sequence above one, and up to
// another one unless that is 0; with required those alone without which no later one may be installed.
func (s *Store) Offers(ctx context.Context, channel string, above, upTo int64, required bool, limit int) (list []Promotion, err error) {
	if upTo == 0 {
		upTo = math.MaxInt64
	}
	err = s.read.rows(ctx, `SELECT `+promotionColumns+` FROM promotions WHERE channel = $1 AND sequence > $2 AND sequence <= $3
		AND demoted_at = 0 AND (required = 1 OR $4 = 0) ORDER BY sequence DESC LIMIT $5`, args{channel, above, upTo, truth(required), limit},
		func(scan func(...any) error) error {
			one, err := scanPromotion(scan)
			list = append(list, one)
			return err
		})
	return list, err
}

// Promotion returns a promotion of a channel. Errors: fault.ObjectNotFound.
func (s *Store) Promotion(ctx context.Context, channel string, sequence int64) (Promotion, error) {
	return scanPromotion(func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+promotionColumns+` FROM promotions WHERE channel = $1 AND sequence = $2`,
			args{channel, sequence}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.ObjectNotFound.New("the channel has no version with the sequence %d", sequence)
		}
		return err
	})
}

// Demote ends the offer of a version on a channel, or with again begins it anew. It returns the promotion.
//
// Errors: fault.ObjectNotFound.
func (s *Store) Demote(ctx context.Context, channel string, sequence int64, again bool) (p Promotion, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		at := micros(s.now())
		if again {
			at = 0
		}
		n, err := t.exec(`UPDATE promotions SET demoted_at = $3 WHERE channel = $1 AND sequence = $2`, channel, sequence, at)
		if err == nil && n == 0 {
			err = fault.ObjectNotFound.New("the channel has no version with the sequence %d", sequence)
		}
		t.touch(scope{kind: scopeOffers})
		return err
	})
	if err != nil {
		return p, err
	}
	return s.Promotion(ctx, channel, sequence)
}
