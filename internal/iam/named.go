package iam

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/identity"
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

// pair finds a container and what is to be its member, or no more. Errors: fault.NoSuchEntity.
func (s *Service) pair(ctx context.Context, c identity.Caller, kind meta.EntityKind, container string, memberKind meta.EntityKind, member string) (in, of meta.Entity, err error) {
	if in, err = s.meta.Entity(ctx, c.Account, kind, container); err == nil {
		of, err = s.meta.Entity(ctx, c.Account, memberKind, member)
	}
	return in, of, err
}

// askedPath is the path that an input gives a new entity; "" for an input without one.
func askedPath(in any) string {
	if v, ok := in.(interface{ GetPath() string }); ok {
		return v.GetPath()
	}
	return ""
}
