package iam

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// update changes the entity that has a name now. Errors: those of meta.Store.UpdateEntity.
func (s *Service) update(ctx context.Context, account name.Account, kind meta.EntityKind, entityName string, change func(*meta.Entity) error) (meta.Entity, error) {
	e, err := s.meta.Entity(ctx, account, kind, entityName)
	if err != nil {
		return meta.Entity{}, err
	}
	return s.meta.UpdateEntity(ctx, e, change)
}

// remove deletes the entity that has a name now. Errors: those of meta.Store.DeleteEntity.
func (s *Service) remove(ctx context.Context, account name.Account, kind meta.EntityKind, entityName string) error {
	e, err := s.meta.Entity(ctx, account, kind, entityName)
	if err != nil {
		return err
	}
	return s.meta.DeleteEntity(ctx, e)
}
