package meta

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Protection is what of a repository cannot be deleted. The numbers are stored.
type Protection uint8

// The protections. Each includes those before it.
const (
	Unprotected      Protection = iota
	ProtectsItself              // the repository
	ProtectsContents            // its images and tags
)

// SetProtection sets what of a repository cannot be deleted. Errors: fault.RepositoryNotFound.
func (s *Store) SetProtection(ctx context.Context, r Repository, p Protection) error {
	return s.change(ctx, r, event.PolicyChange{Type: event.PolicyProtection, Deleted: p == Unprotected},
		`UPDATE repositories SET protection = $2 WHERE id = $1`, int(p))
}

// deletable checks, inside the transaction, that a repository exists and does not protect what a write deletes.
//
// Errors: fault.RepositoryNotFound, fault.RepositoryProtected.
func deletable(t *tx, r Repository, from Protection) error {
	now, err := current(t, r)
	if err == nil && now.Protection >= from {
		err = protected(now, from)
	}
	return err
}

func protected(r Repository, from Protection) error {
	what := "repository"
	if from == ProtectsContents {
		what = "images and tags of the repository"
	}
	return fault.RepositoryProtected.New("The %s with name '%s' in the registry with id '%s' cannot be deleted because of deletion protection: `ecrin repository unprotect %s` ends it", what, r.Name, r.Registry.Account, r.Name)
}
