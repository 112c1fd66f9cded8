package upstream

import (
	"context"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// authFor returns what authorizes requests for a path: that of the registry which the path of the repository names.
func (r *Registry) authFor(ctx context.Context, path string) (authorizer, error) {
	if r.of == nil {
		return r.auth, nil
	}
	t, _, err := r.tokensOf(ctx, strings.TrimPrefix(path, "/v2/"))
	return t, err
}

// tokensOf returns the tokens for a repository of a registry of the kind ECR, and the name of the repository for its API.
//
// Errors: an [Error]; of the reason Invalid for a registry of another kind.
func (r *Registry) tokensOf(ctx context.Context, repo string) (t *ecrTokens, own string, err error) {
	t, ok := r.auth.(*ecrTokens)
	if !ok {
		return nil, "", invalid("the registry is not of the kind ECR")
	}
	if r.of == nil {
		return t, repo, nil
	}
	named, rest, err := name.CutRegistry(repo)
	if err != nil || named == (name.Registry{}) {
		return t, repo, nil // a path that names no registry, or a wrong one, which the registry refuses
	}
	r.mu.Lock()
	have := r.named[named]
	r.mu.Unlock()
	if have != nil {
		return have, rest, nil
	}
	with, err := r.of(ctx, named)
	if err != nil {
		return nil, "", err
	}
	if have, err = newECRTokens(r.c, r.host, with); err != nil {
		return nil, "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if first := r.named[named]; first != nil {
		return first, rest, nil
	}
	if len(r.named) >= maxRepos {
		clear(r.named)
	}
	r.named[named] = have
	return have, rest, nil
}
