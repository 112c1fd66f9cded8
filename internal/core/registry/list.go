package registry

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Repositories lists a registry's repositories by name: those after the given name, "" for all, at most limit. more tells
// whether others follow.
func (s *Service) Repositories(ctx context.Context, reg name.Registry, after string, limit int) (page []Repository, more bool, err error) {
	page, err = s.meta.Repositories(ctx, reg, after, limit+1)
	page, more = cut(page, limit)
	return page, more, err
}

// cut shortens a page that was read with one entry more than its limit.
func cut[T any](page []T, limit int) ([]T, bool) {
	if len(page) <= limit {
		return page, false
	}
	return page[:limit], true
}

// Tags lists the tags of a repository in the order of their bytes: those after the given one, "" for all, at most limit; -1
// for no limit. more tells whether others follow.
func (s *Service) Tags(ctx context.Context, r Repository, after string, limit int) (page []string, more bool, err error) {
	if limit < 0 {
		page, err = s.meta.Tags(ctx, r.ID, after, -1)
		return page, false, err
	}
	page, err = s.meta.Tags(ctx, r.ID, after, limit+1)
	page, more = cut(page, limit)
	return page, more, err
}

// TagList gives all tags of a repository as they stand between the brackets of a JSON array, without the first and the last
// quotation mark. It is kept ready in memory: do not change it.
func (s *Service) TagList(ctx context.Context, r Repository) ([]byte, error) {
	return s.meta.TagList(ctx, r.ID)
}

// Referrers lists the images whose subject is a digest, by digest: those of the artifact types, all without any; after the
// given digest, at most limit. A page with large annotations is shorter. more tells whether others follow.
func (s *Service) Referrers(ctx context.Context, r Repository, subject name.Digest, types []string, after string, limit int) (page []Image, more bool, err error) {
	return s.meta.Referrers(ctx, r.ID, subject, types, after, limit)
}

// maxMountSources is how many repositories are tried when a mount names no source.
const maxMountSources = 10

// MountSources lists the repositories of a registry from which a mount that names no source may take a blob, the oldest
// first.
func (s *Service) MountSources(ctx context.Context, reg name.Registry, d name.Digest) ([]Repository, error) {
	return s.meta.Holders(ctx, reg, d, maxMountSources)
}
