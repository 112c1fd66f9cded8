package registry

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Repositories returns up to limit repositories of a registry in the order of their names, starting after the name
// after; "" starts at the first. more reports whether others follow.
func (s *Service) Repositories(ctx context.Context, reg name.Registry, after string, limit int) (page []Repository, more bool, err error) {
	page, err = s.meta.Repositories(ctx, reg, after, limit+1)
	page, more = cut(page, limit)
	return page, more, err
}

// cut shortens a page to limit entries and reports whether it had more.
func cut[T any](page []T, limit int) ([]T, bool) {
	if len(page) <= limit {
		return page, false
	}
	return page[:limit], true
}

// Tags returns up to limit tags of a repository in byte order, starting after the tag after; "" starts at the first,
// and a limit of -1 means no limit. more reports whether others follow.
func (s *Service) Tags(ctx context.Context, r Repository, after string, limit int) (page []string, more bool, err error) {
	if limit < 0 {
		page, err = s.meta.Tags(ctx, r.ID, after, -1)
		return page, false, err
	}
	page, err = s.meta.Tags(ctx, r.ID, after, limit+1)
	page, more = cut(page, limit)
	return page, more, err
}

// TagList returns all tags of a repository in the form in which they appear between the brackets of a JSON array,
// without the first and the last quotation mark. The result is cached: callers must not modify it.
func (s *Service) TagList(ctx context.Context, r Repository) ([]byte, error) {
	return s.meta.TagList(ctx, r.ID)
}

// Referrers returns up to limit images whose subject is the given digest, in the order of their digests, starting after
// the digest after; "" starts at the first. If types is not empty, only images with one of these artifact types are
// returned. A page with large annotations is shorter than limit. more reports whether others follow.
func (s *Service) Referrers(ctx context.Context, r Repository, subject name.Digest, types []string, after string,
	limit int) (page []Image, more bool, err error) {
	return s.meta.Referrers(ctx, r.ID, subject, types, after, limit)
}

// maxMountSources is the number of repositories that are tried when a mount names no source.
const maxMountSources = 10

// MountSources returns maxMountSources candidates of a mount that names no source. The first held of them are the
// oldest repositories of the registry of to that hold the blob; the others are to itself, which the caller decides about
// in the same way. So the work of the search is the same however many repositories hold the blob, and its time does not
// tell whether a repository holds it that the client must not read.
//
// Errors: fault.RepositoryNotFound (to was deleted).
func (s *Service) MountSources(ctx context.Context, to Repository, d name.Digest) (candidates []Repository, held int, err error) {
	ids, err := s.meta.Holders(ctx, to.Registry, d, maxMountSources)
	if err != nil {
		return nil, 0, err
	}
	held = len(ids)
	for i := range maxMountSources {
		id := to.ID
		if i < held {
			id = ids[i]
		}
		r, err := s.meta.RepositoryByID(ctx, id)
		if errors.Is(err, fault.RepositoryNotFound) && i < held { // it was deleted since
			r, err = to, nil
		}
		if err != nil {
			return nil, 0, err
		}
		candidates = append(candidates, r)
	}
	return candidates, held, nil
}
