package meta

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Amounts are numbers of repositories, of images and of bytes. In a limit, NoLimit stands for any number.
type Amounts struct{ Repositories, Images, Bytes int64 }

// NoLimit is an amount that is not limited.
const NoLimit = -1

// StorageQuota limits what the repositories of an account have whose name is the prefix, or begins with the prefix and a slash; "" is the
// prefix of all. It applies to all regions together.
type StorageQuota struct {
	Account   name.Account
	Prefix    string
	Max       Amounts
	Used      Amounts // Bytes until they are collected, once for each repository that holds a blob
	CreatedAt time.Time
	UpdatedAt time.Time
}

// MaxStorageQuotas is the number of quotas that an account may have.
const MaxStorageQuotas = 100

const storageQuotaColumns = `prefix, max_repositories, max_images, max_bytes, created_at, updated_at, repositories, images, bytes`

func scanStorageQuota(a name.Account, scan func(...any) error) (StorageQuota, error) {
	q := StorageQuota{Account: a}
	var created, updated int64
	err := scan(&q.Prefix, &q.Max.Repositories, &q.Max.Images, &q.Max.Bytes, &created, &updated, &q.Used.Repositories, &q.Used.Images,
		&q.Used.Bytes)
	q.CreatedAt, q.UpdatedAt = fromMicros(created), fromMicros(updated)
	return q, err
}

// StorageQuotas returns the quotas of an account in the order of their prefixes, at most MaxStorageQuotas.
func (s *Store) StorageQuotas(ctx context.Context, a name.Account) (all []StorageQuota, err error) {
	err = s.read.rows(ctx, `SELECT `+storageQuotaColumns+` FROM storage_quotas WHERE account = $1 ORDER BY prefix`, args{a.String()},
		func(scan func(...any) error) error {
			q, err := scanStorageQuota(a, scan)
			all = append(all, q)
			return err
		})
	return all, err
}

func noStorageQuota(a name.Account, prefix string) error {
	return fault.StorageQuotaNotFound.New("the account %s has no quota of the prefix '%s'", a, name.Clip(prefix))
}

// amountsOfPrefix counts what the repositories of an account with a prefix have.
const amountsOfPrefix = `SELECT CAST(COALESCE(SUM(CASE WHEN r.deleted_at = 0 THEN 1 ELSE 0 END), 0) AS BIGINT),
		CAST(COALESCE(SUM(CASE WHEN r.deleted_at = 0 THEN t.images ELSE 0 END), 0) AS BIGINT), CAST(COALESCE(SUM(t.bytes), 0) AS BIGINT)
	FROM repository_totals t JOIN repositories r ON r.id = t.repository
	WHERE t.account = $1 AND ($2 = '' OR r.name = $2 OR substr(r.name, 1, length($2) + 1) = $2 || '/')`

// PutStorageQuota stores a quota, or replaces the limits of the one with its prefix, and returns it. Repositories that have more already
// keep what they have.
//
// Errors: fault.LimitExceeded (too many quotas), fault.AccountNotFound.
func (s *Store) PutStorageQuota(ctx context.Context, in StorageQuota) (out StorageQuota, err error) {
	account := in.Account.String()
	err = s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, in.Account); err != nil {
			return err
		}
		var have int
		var exists bool
		if err := t.row(t.ctx, `SELECT COUNT(*), COUNT(CASE WHEN prefix = $2 THEN 1 END) > 0 FROM storage_quotas WHERE account = $1`,
			args{account, in.Prefix}, &have, &exists); err != nil {
			return err
		}
		if !exists && have >= MaxStorageQuotas {
			return fault.LimitExceeded.New("an account can have at most %d quotas", MaxStorageQuotas)
		}
		var used Amounts
		if err := t.row(t.ctx, amountsOfPrefix, args{account, in.Prefix}, &used.Repositories, &used.Images, &used.Bytes); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO storage_quotas (account, `+storageQuotaColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9)
			ON CONFLICT (account, prefix) DO UPDATE SET max_repositories = excluded.max_repositories, max_images = excluded.max_images,
				max_bytes = excluded.max_bytes, updated_at = excluded.updated_at, repositories = excluded.repositories,
				images = excluded.images, bytes = excluded.bytes`,
			account, in.Prefix, in.Max.Repositories, in.Max.Images, in.Max.Bytes, micros(s.now()), used.Repositories, used.Images,
			used.Bytes); err != nil {
			return err
		}
		out, err = storageQuota(t.ctx, t, in.Account, in.Prefix)
		return err
	})
	return out, err
}

// StorageQuota returns the quota of an account with a prefix. Errors: fault.StorageQuotaNotFound.
func (s *Store) StorageQuota(ctx context.Context, a name.Account, prefix string) (StorageQuota, error) {
	return storageQuota(ctx, s.read, a, prefix)
}

func storageQuota(ctx context.Context, q querier, a name.Account, prefix string) (StorageQuota, error) {
	return scanStorageQuota(a, func(dest ...any) error {
		err := q.row(ctx, `SELECT `+storageQuotaColumns+` FROM storage_quotas WHERE account = $1 AND prefix = $2`,
			args{a.String(), prefix}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return noStorageQuota(a, prefix)
		}
		return err
	})
}

// DeleteStorageQuota deletes a quota. Errors: fault.StorageQuotaNotFound.
func (s *Store) DeleteStorageQuota(ctx context.Context, a name.Account, prefix string) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM storage_quotas WHERE account = $1 AND prefix = $2`, a.String(), prefix)
		if err == nil && n == 0 {
			err = noStorageQuota(a, prefix)
		}
		return err
	})
}

// quotasFor are the quotas of an account ($1) that apply to a repository with a name ($2).
const quotasFor = `SELECT ` + storageQuotaColumns + ` FROM storage_quotas
	WHERE account = $1 AND (prefix = '' OR prefix = $2 OR substr($2, 1, length(prefix) + 1) = prefix || '/') ORDER BY prefix`

// CheckRoom returns the error of a change that adds so much to a repository, if its quotas do not permit it now: so that a push that must
// fail is refused before its bytes are sent. The change itself decides again.
//
// Errors: fault.StorageQuotaExceeded.
func (s *Store) CheckRoom(ctx context.Context, reg name.Registry, repo name.Repo, more Amounts) error {
	return s.read.rows(ctx, quotasFor, args{reg.Account.String(), repo.String()}, func(scan func(...any) error) error {
		q, err := scanStorageQuota(reg.Account, scan)
		if err != nil {
			return err
		}
		return q.room(more)
	})
}

// room returns the error of a change that adds so much, nil if the quota permits it. Source of the first sentence: ECR service model,
// LimitExceededException.
func (q *StorageQuota) room(more Amounts) error {
	for _, one := range []struct {
		max, used, more int64
		what            string
	}{
		{q.Max.Repositories, q.Used.Repositories, more.Repositories, "repositories"},
		{q.Max.Images, q.Used.Images, more.Images, "images"},
		{q.Max.Bytes, q.Used.Bytes, more.Bytes, "bytes"},
	} {
		if one.more <= 0 || one.max < 0 || one.used+one.more <= one.max {
			continue
		}
		of := "the account " + q.Account.String()
		if q.Prefix != "" {
			of = "the repositories '" + q.Prefix + "' of " + of
		}
		return fault.StorageQuotaExceeded.New("The operation did not succeed because it would have exceeded a service limit for your account. "+
			"The quota of %s is %s %s: they have %d, and this would add %d", of, strconv.FormatInt(one.max, 10), one.what, one.used, one.more)
	}
	return nil
}

// addToTotals adds to what a repository has. quotas is false if its account has none.
func (t *tx) addToTotals(repository int64, more Amounts) (quotas bool, err error) {
	_, err = t.changeOne(`UPDATE repository_totals SET images = images + $2, bytes = bytes + $3 WHERE repository = $1
		RETURNING EXISTS (SELECT 1 FROM storage_quotas q WHERE q.account = repository_totals.account)`,
		args{repository, more.Images, more.Bytes}, &quotas)
	return quotas, err
}

// charge adds to what a repository has, inside the transaction, and to the quotas that apply to it.
//
// Errors: fault.StorageQuotaExceeded (something is added for which a quota has no room).
func (t *tx) charge(r Repository, more Amounts) error {
	quotas, err := t.addToTotals(r.ID, more)
	if err != nil || !quotas {
		return err
	}
	return t.chargeQuotas(r.Registry.Account, r.Name, more)
}

// chargeQuotas adds to what the repositories of quotas have that apply to a name. Errors: those of charge.
func (t *tx) chargeQuotas(a name.Account, repo name.Repo, more Amounts) error {
	var all []StorageQuota
	err := t.rows(t.ctx, quotasFor, args{a.String(), repo.String()}, func(scan func(...any) error) error {
		q, err := scanStorageQuota(a, scan)
		all = append(all, q)
		return err
	})
	if err != nil {
		return err
	}
	for i := range all {
		if err := all[i].room(more); err != nil {
			return err
		}
	}
	for i := range all {
		if _, err := t.exec(`UPDATE storage_quotas SET repositories = repositories + $3, images = images + $4, bytes = bytes + $5
			WHERE account = $1 AND prefix = $2`, a.String(), all[i].Prefix, more.Repositories, more.Images, more.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// totals returns what a repository has; Repositories is 1.
func (t *tx) totals(repository int64) (have Amounts, err error) {
	have.Repositories = 1
	_, err = t.one(`SELECT images, bytes FROM repository_totals WHERE repository = $1`, args{repository}, &have.Images, &have.Bytes)
	return have, err
}

// openTotals inserts the totals of a new repository and charges its quotas for it. Errors: those of charge.
func (t *tx) openTotals(r Repository) error {
	if _, err := t.exec(`INSERT INTO repository_totals (repository, account, region, images, bytes) VALUES ($1, $2, $3, 0, 0)`, r.ID,
		r.Registry.Account.String(), r.Registry.Region.String()); err != nil {
		return err
	}
	return t.chargeQuotas(r.Registry.Account, r.Name, Amounts{Repositories: 1})
}

// closeTotals takes a repository that is deleted from its quotas. Its bytes count until they are collected.
func (t *tx) closeTotals(r Repository) error {
	have, err := t.totals(r.ID)
	if err != nil {
		return err
	}
	return t.chargeQuotas(r.Registry.Account, r.Name, Amounts{Repositories: -1, Images: -have.Images})
}

// reopenTotals charges the quotas for a repository that is restored, perhaps under another name. Errors: those of charge.
func (t *tx) reopenTotals(r Repository, as name.Repo) error {
	have, err := t.totals(r.ID)
	if err != nil {
		return err
	}
	if err := t.chargeQuotas(r.Registry.Account, r.Name, Amounts{Bytes: -have.Bytes}); err != nil {
		return err
	}
	return t.chargeQuotas(r.Registry.Account, as, have)
}

// discharge takes bytes of a repository, which may be deleted, from its totals and quotas.
func (t *tx) discharge(repository, bytes int64) error {
	quotas, err := t.addToTotals(repository, Amounts{Bytes: -bytes})
	if err != nil || !quotas {
		return err
	}
	var account, repo string
	if err := t.row(t.ctx, `SELECT account, name FROM repositories WHERE id = $1`, args{repository}, &account, &repo); err != nil {
		return err
	}
	a, err1 := name.ParseAccount(account)
	n, err2 := name.ParseRepo(repo)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return t.chargeQuotas(a, n, Amounts{Bytes: -bytes})
}
