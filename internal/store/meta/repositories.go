package meta

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Repository is one repository of a registry. Its ID differs from that of an earlier repository of the same name.
type Repository struct {
	ID         int64
	Registry   name.Registry
	Name       name.Repo
	CreatedAt  time.Time
	Mutability Mutability
	ScanOnPush bool
	Encryption string      // EncryptionAES256, KMS or KMS_DSSE
	KMSKey     string      // "" without KMS
	Policy     BoundPolicy // the repository policy; an empty Text if there is none
	Protection Protection  // what cannot be deleted
}

// EncryptionAES256 is the encryption of a repository without KMS keys.
// Source: ECR API reference, EncryptionConfiguration.
const EncryptionAES256 = "AES256"

// ARN returns the repository's ARN.
func (r Repository) ARN() string { return r.Registry.RepositoryARN(r.Name.String()) }

// RepositoryNotFound returns the error for a repository that does not exist, with ECR's text.
func RepositoryNotFound(r name.Registry, repo name.Repo) *fault.Error {
	return fault.RepositoryNotFound.New("The repository with name '%s' does not exist in the registry with id '%s'", repo, r.Account)
}

const repositoryColumns = `id, account, region, name, created_at, mutability, exclusions, scan_on_push, encryption, kms_key, policy, policy_ids,
	protection`

func scanRepository(scan func(...any) error) (Repository, error) {
	var r Repository
	var account, region, repo, filters, ids string
	var created int64
	err := scan(&r.ID, &account, &region, &repo, &created, &r.Mutability.Mode, &filters, &r.ScanOnPush, &r.Encryption,
		&r.KMSKey, &r.Policy.Text, &ids, &r.Protection)
	if err != nil {
		return Repository{}, err
	}
	r.CreatedAt = fromMicros(created)
	if filters != "" {
		r.Mutability.Filters = strings.Split(filters, " ")
	}
	var err1, err2, err3, err4 error
	r.Policy.IDs, err4 = idsOf(ids)
	r.Registry.Account, err1 = name.ParseAccount(account)
	r.Registry.Region, err2 = name.ParseRegion(region)
	r.Name, err3 = name.ParseRepo(repo)
	return r, errors.Join(err1, err2, err3, err4)
}

// CreateRepository stores a new repository with its resource tags and returns it with its ID.
// Errors: fault.RepositoryAlreadyExists, fault.AccountNotFound, fault.StorageQuotaExceeded.
func (s *Store) CreateRepository(ctx context.Context, r Repository, resourceTags map[string]string) (Repository, error) {
	r.CreatedAt = fromMicros(micros(r.CreatedAt)) // with the precision of the database
	err := s.write.do(ctx, func(t *tx) error { return s.createRepository(t, &r, resourceTags) })
	return r, err
}

// createRepository is CreateRepository inside a transaction. It sets the ID of r.
func (s *Store) createRepository(t *tx, r *Repository, resourceTags map[string]string) (err error) {
	if err := accountExists(t, r.Registry.Account); err != nil {
		return err
	}
	if r.ID, err = t.newID(s.now()); err != nil {
		return err
	}
	n, err := t.exec(`INSERT INTO repositories (`+repositoryColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (account, region, name) WHERE deleted_at = 0 DO NOTHING`,
		r.ID, r.Registry.Account.String(), r.Registry.Region.String(), r.Name.String(), micros(r.CreatedAt), r.Mutability.Mode,
		strings.Join(r.Mutability.Filters, " "), truth(r.ScanOnPush), r.Encryption, r.KMSKey, r.Policy.Text, idsText(r.Policy.IDs),
		int(r.Protection))
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.RepositoryAlreadyExists.New("The repository with name '%s' already exists in the registry with id '%s'",
			r.Name, r.Registry.Account)
	}
	if err := t.openTotals(*r); err != nil {
		return err
	}
	if err := t.event(event.RepositoryCreated(t.origin(r.Registry, s.now()), r.Name, t.by)); err != nil {
		return err
	}
	return putResourceTags(t, r.ID, resourceTags)
}

// Repository returns a repository. Errors: fault.RepositoryNotFound.
func (s *Store) Repository(ctx context.Context, reg name.Registry, repo name.Repo) (Repository, error) {
	return cached(&s.cache.repositories, repositoryKey{reg, repo}, func() (Repository, error) {
		return scanRepository(func(dest ...any) error {
			err := s.read.row(ctx, `SELECT `+repositoryColumns+
				` FROM repositories WHERE account = $1 AND region = $2 AND name = $3 AND deleted_at = 0`,
				args{reg.Account.String(), reg.Region.String(), repo.String()}, dest...)
			if errors.Is(err, sql.ErrNoRows) {
				return RepositoryNotFound(reg, repo)
			}
			return err
		})
	})
}

// RepositoryByID returns a repository that is not deleted, read from the database. Errors: fault.RepositoryNotFound.
func (s *Store) RepositoryByID(ctx context.Context, id int64) (Repository, error) {
	return scanRepository(func(dest ...any) error {
		err := s.read.row(ctx, `SELECT `+repositoryColumns+` FROM repositories WHERE id = $1 AND deleted_at <= 0`, args{id}, dest...)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.RepositoryNotFound.New("The repository does not exist")
		}
		return err
	})
}

// Repositories returns a registry's repositories, ordered by name: those after the given name, at most limit.
func (s *Store) Repositories(ctx context.Context, reg name.Registry, after string, limit int) ([]Repository, error) {
	var all []Repository
	err := s.read.rows(ctx, `SELECT `+repositoryColumns+` FROM repositories
		WHERE account = $1 AND region = $2 AND name > $3 AND deleted_at = 0 ORDER BY name LIMIT $4`,
		args{reg.Account.String(), reg.Region.String(), position(after), limit}, func(scan func(...any) error) error {
			r, err := scanRepository(scan)
			all = append(all, r)
			return err
		})
	return all, err
}

// DeleteRepository marks a repository deleted, with all its contents; its name can be used again at once. Without
// force the repository must not contain images. Errors: fault.RepositoryNotFound, fault.RepositoryNotEmpty,
// fault.RepositoryProtected (also with force).
func (s *Store) DeleteRepository(ctx context.Context, r Repository, force bool) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := deletable(t, r, ProtectsItself); err != nil {
			return err
		}
		var one int
		if !force {
			found, err := t.one(`SELECT 1 FROM images WHERE repository = $1 AND deleted_at = 0 LIMIT 1`, args{r.ID}, &one)
			if err != nil {
				return err
			}
			if found {
				return fault.RepositoryNotEmpty.New("The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", r.Name, r.Registry.Account)
			}
		}
		t.touch(scope{kind: scopeRepositories})
		now := s.now()
		if _, err := t.exec(`UPDATE repositories SET deleted_at = $2 WHERE id = $1`, r.ID, micros(now)); err != nil {
			return err
		}
		if err := t.closeTotals(r); err != nil {
			return err
		}
		if err := candidate(t, candidateRepository, r.ID, "", now); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM uploads WHERE repository = $1`, r.ID); err != nil {
			return err
		}
		return t.event(event.RepositoryDeleted(t.origin(r.Registry, now), r.Name, t.by))
	})
}

// checkRepository checks, inside the transaction, that a repository is not deleted. Errors: fault.RepositoryNotFound.
func checkRepository(t *tx, r Repository) error {
	_, err := current(t, r)
	return err
}

// current reads a repository again inside the transaction. Errors: fault.RepositoryNotFound.
func current(t *tx, r Repository) (Repository, error) {
	return scanRepository(func(dest ...any) error {
		found, err := t.one(`SELECT `+repositoryColumns+` FROM repositories WHERE id = $1 AND deleted_at <= 0`, args{r.ID}, dest...)
		if err == nil && !found {
			return RepositoryNotFound(r.Registry, r.Name)
		}
		return err
	})
}

// change runs one statement on a repository that is not deleted; $1 of the text is its ID. policy is the policy that the statement changes,
// zero for none. Errors: fault.RepositoryNotFound.
func (s *Store) change(ctx context.Context, r Repository, policy event.PolicyChange, text string, a ...any) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		t.touch(r.scope())
		if _, err := t.exec(text, append(args{r.ID}, a...)...); err != nil || policy.Type == "" {
			return err
		}
		return t.policyChanged(r.Registry, r.Name, policy, s.now())
	})
}

// scope returns the scope of the repository's settings and policy.
func (r Repository) scope() scope {
	return scope{kind: scopeRepository, registry: r.Registry, repo: r.Name}
}

// SetMutability replaces a repository's tag mutability, which applies to later pushes. Errors:
// fault.RepositoryNotFound.
func (s *Store) SetMutability(ctx context.Context, r Repository, m Mutability) error {
	return s.change(ctx, r, event.PolicyChange{Type: event.PolicyTagMutability},
		`UPDATE repositories SET mutability = $2, exclusions = $3 WHERE id = $1`, m.Mode, strings.Join(m.Filters, " "))
}

// SetScanOnPush sets whether pushed images of a repository are to be scanned. Errors: fault.RepositoryNotFound.
func (s *Store) SetScanOnPush(ctx context.Context, r Repository, on bool) error {
	return s.change(ctx, r, event.PolicyChange{}, `UPDATE repositories SET scan_on_push = $2 WHERE id = $1`, truth(on))
}

// SetPolicy replaces a repository's policy; an empty Text removes it. Errors: fault.RepositoryNotFound.
func (s *Store) SetPolicy(ctx context.Context, r Repository, p BoundPolicy) error {
	return s.change(ctx, r, event.PolicyChange{Type: event.PolicyRepository, Deleted: p.Text == ""},
		`UPDATE repositories SET policy = $2, policy_ids = $3 WHERE id = $1`, p.Text, idsText(p.IDs))
}

// ReplacePolicy is SetPolicy, but only if the repository still has the policy of r. replaced reports whether it had.
// Errors: fault.RepositoryNotFound.
func (s *Store) ReplacePolicy(ctx context.Context, r Repository, p BoundPolicy) (replaced bool, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		replaced = false
		now, err := current(t, r)
		if err != nil || now.Policy.Text != r.Policy.Text {
			return err
		}
		t.touch(r.scope())
		_, err = t.exec(`UPDATE repositories SET policy = $2, policy_ids = $3 WHERE id = $1`, r.ID, p.Text, idsText(p.IDs))
		if err == nil {
			err = t.policyChanged(r.Registry, r.Name, event.PolicyChange{Type: event.PolicyRepository, Deleted: p.Text == ""}, s.now())
		}
		replaced = err == nil
		return err
	})
	return replaced && err == nil, err
}

// MaxResourceTags limits the resource tags of a repository. Source: ECR user guide, tagging.
const MaxResourceTags = 50

func putResourceTags(t *tx, repository int64, resourceTags map[string]string) error {
	t.touch(scope{kind: scopeResourceTags, repository: repository})
	for k, v := range resourceTags {
		if _, err := t.exec(`INSERT INTO repository_labels (repository, label, value) VALUES ($1, $2, $3)
			ON CONFLICT (repository, label) DO UPDATE SET value = excluded.value`, repository, k, v); err != nil {
			return err
		}
	}
	if len(resourceTags) == 0 {
		return nil
	}
	var n int
	if _, err := t.one(`SELECT COUNT(*) FROM repository_labels WHERE repository = $1`, args{repository}, &n); err != nil {
		return err
	}
	if n > MaxResourceTags {
		return fault.TooManyTags.New("a repository can have at most %d tags; this would make %d", MaxResourceTags, n)
	}
	return nil
}

// PutResourceTags adds or replaces resource tags. Errors: fault.RepositoryNotFound, fault.TooManyTags.
func (s *Store) PutResourceTags(ctx context.Context, r Repository, resourceTags map[string]string) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		return putResourceTags(t, r.ID, resourceTags)
	})
}

// RemoveResourceTags removes resource tags; keys that the repository does not have are ignored. Errors:
// fault.RepositoryNotFound.
func (s *Store) RemoveResourceTags(ctx context.Context, r Repository, keys []string) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		t.touch(scope{kind: scopeResourceTags, repository: r.ID})
		for _, k := range keys {
			if _, err := t.exec(`DELETE FROM repository_labels WHERE repository = $1 AND label = $2`, r.ID, k); err != nil {
				return err
			}
		}
		return nil
	})
}

// ResourceTag is one resource tag.
type ResourceTag struct{ Key, Value string }

// ResourceTags returns a repository's resource tags, ordered by key. The slice is shared with the cache and must not
// be changed.
func (s *Store) ResourceTags(ctx context.Context, r Repository) ([]ResourceTag, error) {
	return cached(&s.cache.resourceTags, r.ID, func() (all []ResourceTag, err error) {
		err = s.read.rows(ctx, `SELECT label, value FROM repository_labels WHERE repository = $1 ORDER BY label`, args{r.ID},
			func(scan func(...any) error) error {
				var one ResourceTag
				err := scan(&one.Key, &one.Value)
				all = append(all, one)
				return err
			})
		return all, err
	})
}
