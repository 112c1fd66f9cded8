package meta

import (
	"context"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The limits of rows of pulls of images on one day.
const (
	MaxImagePullers       = 50   // of one image: principals with tags
	MaxPrincipalPulls     = 1000 // of one principal in one account
	MaxAccountPulls       = 5000 // of one account
	imagePullsOfStatement = 6    // statements for one row at most
)

// ImagePull is what a principal pulled of an image on a day.
type ImagePull struct {
	Registry   name.Registry
	Repository string    // "" for pulls of the account that have no row of their own
	Digest     string    // of the manifest that was sent
	Day        time.Time // UTC
	Principal  string    // ARN; "" for all others of the image
	Tag        string    // by which it was pulled; "" for a pull by digest
	Pulls      int64
	At         time.Time // of the last one
}

// The statements of AddImagePulls.
const (
	addImagePull = `UPDATE image_pulls SET pulls = pulls + $8, pulled_at = CASE WHEN pulled_at < $9 THEN $9 ELSE pulled_at END
		WHERE account = $1 AND region = $2 AND repository = $3 AND digest = $4 AND day = $5 AND principal = $6 AND tag = $7`
	insertImagePull = `INSERT INTO image_pulls (account, region, repository, digest, day, principal, tag, pulls, pulled_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	countImagePulls = `SELECT COUNT(*) FROM image_pulls WHERE account = $1 AND region = $2 AND repository = $3 AND digest = $4 AND day = $5
		AND principal <> ''`
	countPrincipalPulls = `SELECT COUNT(*) FROM image_pulls WHERE day = $1 AND day > 0 AND account = $2 AND principal = $3`
	countAccountPulls   = `SELECT COUNT(*) FROM image_pulls WHERE day = $1 AND day > 0 AND account = $2`
)

// AddImagePulls adds pulls to the rows of their days, in one transaction: several processes add to the same rows. What is beyond the rows
// of an image is added to its row without a principal, and what is beyond those of a principal or an account to the row of the account
// without a repository. What is of accounts that do not exist any more is left out.
func (s *Store) AddImagePulls(ctx context.Context, all []ImagePull) error {
	return s.write.doMany(ctx, imagePullsOfStatement*len(all), func(t *tx) error {
		exists := map[name.Account]bool{}
		have := map[[3]string]int{} // rows of accounts and principals on a day, as this transaction has left them
		for _, p := range all {
			if _, known := exists[p.Registry.Account]; !known {
				err := accountExists(t, p.Registry.Account)
				if err != nil && !errors.Is(err, fault.AccountNotFound) {
					return err
				}
				exists[p.Registry.Account] = err == nil
			}
			if !exists[p.Registry.Account] {
				continue
			}
			if err := t.addImagePull(p, have); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) addImagePull(p ImagePull, have map[[3]string]int) error {
	day := micros(p.Day.UTC().Truncate(24 * time.Hour))
	account := p.Registry.Account.String()
	in := args{account, p.Registry.Region.String(), p.Repository, p.Digest, day, p.Principal, p.Tag, p.Pulls, micros(p.At)}
	count := func(text string, key [3]string, in args) (int, error) {
		n, known := have[key]
		if known {
			return n, nil
		}
		err := t.row(t.ctx, text, in, &n)
		have[key] = n
		return n, err
	}
	ofDay := p.Day.UTC().Format(time.DateOnly)
	ofAccount, ofPrincipal := [3]string{ofDay, account, ""}, [3]string{ofDay, account, p.Principal}
	if p.Repository == "" {
		in[1], in[3], in[5], in[6] = "", "", "", ""
	}
	for { // the row, that of all others of the image, and that of all others of the account
		n, err := t.exec(addImagePull, in...)
		if err != nil || n > 0 {
			return err
		}
		if p.Repository == "" {
			break
		}
		if n, err := count(countAccountPulls, ofAccount, args{day, account}); err != nil {
			return err
		} else if n >= MaxAccountPulls {
			p = ImagePull{}
		}
		if p.Principal != "" {
			if n, err := count(countPrincipalPulls, ofPrincipal, args{day, account, p.Principal}); err != nil {
				return err
			} else if n >= MaxPrincipalPulls {
				p = ImagePull{}
			}
		}
		if p.Repository == "" {
			in[1], in[2], in[3], in[5], in[6] = "", "", "", "", ""
			continue
		}
		if p.Principal == "" {
			break
		}
		var pullers int
		if err := t.row(t.ctx, countImagePulls, in[:5], &pullers); err != nil {
			return err
		}
		if pullers < MaxImagePullers {
			break
		}
		p.Principal, p.Tag, in[5], in[6] = "", "", "", ""
	}
	if p.Repository != "" {
		have[ofAccount]++
		if p.Principal != "" {
			have[ofPrincipal]++
		}
	}
	_, err := t.exec(insertImagePull, in...)
	return err
}

// ImagePulls returns the pulls of an image since a day, by principal and tag: at most MaxImagePullers and one for each day.
func (s *Store) ImagePulls(ctx context.Context, r Repository, digest string, since time.Time) (all []ImagePull, err error) {
	err = s.read.rows(ctx, `SELECT principal, tag, CAST(SUM(pulls) AS BIGINT), MAX(pulled_at) FROM image_pulls
		WHERE account = $1 AND region = $2 AND repository = $3 AND digest = $4 AND day >= $5 GROUP BY principal, tag`,
		args{r.Registry.Account.String(), r.Registry.Region.String(), r.Name.String(), digest, micros(since.UTC().Truncate(24 * time.Hour))},
		func(scan func(...any) error) error {
			p := ImagePull{Registry: r.Registry, Repository: r.Name.String(), Digest: digest}
			var at int64
			err := scan(&p.Principal, &p.Tag, &p.Pulls, &at)
			p.At = fromMicros(at)
			all = append(all, p)
			return err
		})
	return all, err
}

// UncountedImagePulls returns how many pulls of an account since a day are of no image, because there were too many rows.
func (s *Store) UncountedImagePulls(ctx context.Context, a name.Account, since time.Time) (n int64, err error) {
	err = s.read.row(ctx, `SELECT CAST(COALESCE(SUM(pulls), 0) AS BIGINT) FROM image_pulls
		WHERE account = $1 AND region = '' AND repository = '' AND digest = '' AND day >= $2`,
		args{a.String(), micros(since.UTC().Truncate(24 * time.Hour))}, &n)
	return n, err
}

// DeleteImagePulls deletes rows of days before one, at most limit, and returns how many it deleted.
func (s *Store) DeleteImagePulls(ctx context.Context, before time.Time, limit int) (deleted int, err error) {
	err = s.write.doMany(ctx, limit, func(t *tx) error {
		n, err := t.exec(`DELETE FROM image_pulls WHERE (account, region, repository, digest, day, principal, tag) IN (
			SELECT account, region, repository, digest, day, principal, tag FROM image_pulls WHERE day > 0 AND day < $1 ORDER BY day LIMIT $2)`,
			micros(before.UTC().Truncate(24*time.Hour)), limit)
		deleted = int(n)
		return err
	})
	return deleted, err
}
