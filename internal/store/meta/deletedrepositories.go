package meta

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// DeletedRepository is a repository that is marked deleted. Several may have one name; their IDs differ.
type DeletedRepository struct {
	Repository
	DeletedAt time.Time
}

const deletedColumns = repositoryColumns + `, deleted_at`

func scanDeleted(scan func(...any) error) (d DeletedRepository, err error) {
	var at int64
	d.Repository, err = scanRepository(func(dest ...any) error { return scan(append(dest, &at)...) })
	d.DeletedAt = fromMicros(at)
	return d, err
}

// DeletedRepositories lists the deleted repositories of a registry that can be restored, the last created first: those with an ID
// below the given one (0 for all), at most limit.
func (s *Store) DeletedRepositories(ctx context.Context, reg name.Registry, below int64, limit int) ([]DeletedRepository, error) {
	if below == 0 {
		below = 1<<63 - 1
	}
	var all []DeletedRepository
	err := s.read.rows(ctx, `SELECT `+deletedColumns+` FROM repositories
		WHERE account = $1 AND region = $2 AND id < $3 AND deleted_at > 0 AND collecting = 0 ORDER BY id DESC LIMIT $4`,
		args{reg.Account.String(), reg.Region.String(), below, limit}, func(scan func(...any) error) error {
			d, err := scanDeleted(scan)
			all = append(all, d)
			return err
		})
	return all, err
}

// DeletedRepository finds a deleted repository of a registry by its ID. Errors: fault.RepositoryNotFound.
func (s *Store) DeletedRepository(ctx context.Context, reg name.Registry, id int64) (DeletedRepository, error) {
	d, err := scanDeleted(func(dest ...any) error {
		return s.read.row(ctx, `SELECT `+deletedColumns+` FROM repositories WHERE id = $1 AND collecting = 0`, args{id}, dest...)
	})
	if errors.Is(err, sql.ErrNoRows) || err == nil && (d.Registry != reg || d.DeletedAt.IsZero()) {
		return DeletedRepository{}, fault.RepositoryNotFound.New(
			"there is no deleted repository with the id %d in the registry with id '%s'", id, reg.Account)
	}
	return d, err
}

// RestoreRepository takes back the deletion of a repository, with its images, tags, settings and policy, under a name that must be
// free. Errors: fault.RepositoryNotFound (it is not deleted any more), fault.RepositoryAlreadyExists, fault.AccountNotFound,
// fault.StorageQuotaExceeded.
func (s *Store) RestoreRepository(ctx context.Context, r Repository, as name.Repo) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, r.Registry.Account); err != nil {
			return err
		}
		var one int
		taken, err := t.one(`SELECT 1 FROM repositories WHERE account = $1 AND region = $2 AND name = $3 AND deleted_at = 0`,
			args{r.Registry.Account.String(), r.Registry.Region.String(), as.String()}, &one)
		if err != nil {
			return err
		}
		if taken {
			return fault.RepositoryAlreadyExists.New("The repository with name '%s' already exists in the registry with id '%s'",
				as, r.Registry.Account)
		}
		t.touch(scope{kind: scopeRepositories})
		n, err := t.exec(`UPDATE repositories SET deleted_at = 0, name = $2 WHERE id = $1 AND deleted_at <> 0 AND collecting = 0`, r.ID, as.String())
		if err == nil && n == 0 {
			err = fault.RepositoryNotFound.New("there is no deleted repository with the id %d in the registry with id '%s'", r.ID,
				r.Registry.Account)
		}
		if err != nil {
			return err
		}
		if err := t.reopenTotals(r, as); err != nil {
			return err
		}
		return t.event(event.RepositoryRestored(t.origin(r.Registry, s.now()), as, t.by))
	})
}
