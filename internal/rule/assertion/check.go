package assertion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// World is what tests are checked against.
type World interface {
	// Repositories returns the names of the repositories.
	Repositories(context.Context) ([]string, error)
	// Tags returns the tags of a repository; known is false if they are not known, because only its policy is.
	Tags(ctx context.Context, repository string) (tags []string, known bool, err error)
	// Access calls each for who may do the actions of a permission, and who may not, until it returns false.
	Access(ctx context.Context, repository, tag string, p ecrintypes.Permission, each func(ecrintypes.RepositoryAccess) bool) error
	// Explain decides one action for a principal. repository is "" for an action without one. Errors: ErrNoPrincipal.
	Explain(ctx context.Context, principal, action, repository, tag string) (allowed bool, why string, err error)
}

// ErrNoPrincipal is what World.Explain returns for a principal that does not exist.
var ErrNoPrincipal = errors.New("the principal does not exist")

// Result is the outcome of a test.
type Result struct {
	Test
	Passed  bool
	Checked int      // images that were tested
	Why     []string // of a test that failed: what differs, in sentences
	Took    time.Duration
}

const (
	maxWhy    = 10     // sentences of one result
	maxTags   = 1000   // tags of one repository that one test tries
	maxTested = 100000 // images that one test tries
)

// Check checks a test. A test that names no image that exists fails: it would pass whatever the policies say.
//
// Errors: those of the world. A test that fails is no error.
func Check(ctx context.Context, w World, t Test) (r Result, err error) {
	r.Test = t
	begin := time.Now()
	defer func() { r.Took = time.Since(begin) }()
	all, err := w.Repositories(ctx)
	if err != nil {
		return r, err
	}
	for _, im := range t.Images {
		found := false
		for _, repository := range all {
			if !name.Matches(im.Repository, repository) {
				continue
			}
			tags, err := tagsOf(ctx, w, repository, im.Tag)
			if err != nil {
				return r, err
			}
			for _, tag := range tags {
				if r.Checked++; r.Checked > maxTested {
					return r, fmt.Errorf("more than %d images: write narrower patterns", maxTested)
				}
				found = true
				if err := r.image(ctx, w, repository, tag); err != nil {
					return r, err
				}
				if len(r.Why) >= maxWhy {
					return r, nil
				}
			}
		}
		if !found {
			r.fail("nothing matches %s, so that the test says nothing", im)
		}
	}
	r.Passed = len(r.Why) == 0
	return r, nil
}

// tagsOf returns the tags to be tried. Where none are known, texts stand for them that the pattern matches.
func tagsOf(ctx context.Context, w World, repository, pattern string) ([]string, error) {
	if pattern == "" {
		return []string{""}, nil
	}
	all, known, err := w.Tags(ctx, repository)
	if err != nil {
		return nil, err
	}
	if !known {
		if !strings.Contains(pattern, "*") {
			return []string{pattern}, nil
		}
		for _, text := range []string{"0", "1", "latest"} {
			all = append(all, strings.ReplaceAll(pattern, "*", text))
		}
		return all, nil
	}
	all = slices.DeleteFunc(all, func(tag string) bool { return !name.Matches(pattern, tag) })
	if len(all) > maxTags {
		return nil, fmt.Errorf("more than %d tags of %s match %s: write a narrower pattern", maxTags, repository, pattern)
	}
	return all, nil
}

func (r *Result) fail(format string, a ...any) {
	if len(r.Why) < maxWhy {
		r.Why = append(r.Why, fmt.Sprintf(format, a...))
	}
}

// image tests one image.
func (r *Result) image(ctx context.Context, w World, repository, tag string) error {
	switch r.Subject {
	case Principal:
		return r.one(ctx, w, r.Who, repository, tag)
	case Anyone:
		p, ok := r.permission()
		if !ok {
			return fmt.Errorf("anyone and nobody are tested for pulls and pushes only")
		}
		return w.Access(ctx, repository, tag, p, func(a ecrintypes.RepositoryAccess) bool {
			if a.Kind != ecrintypes.AccessKindANONYMOUS && a.Kind != ecrintypes.AccessKindSTRANGER {
				return false // who comes after these has more than a stranger, or less by its own account's will
			}
			if a.Allowed != r.Allowed {
				r.fail("%s: %s", Image{repository, tag}, reason(a))
			}
			return len(r.Why) < maxWhy
		})
	}
	p, ok := r.permission()
	if !ok {
		return fmt.Errorf("anyone and nobody are tested for pulls and pushes only")
	}
	return w.Access(ctx, repository, tag, p, func(a ecrintypes.RepositoryAccess) bool {
		if r.Buyers && a.Kind == ecrintypes.AccessKindCUSTOMER {
			return true
		}
		if (a.Allowed || a.Delegated) && !r.excepts(a.Principal, a.AccountId) {
			r.fail("%s: %s", Image{repository, tag}, reason(a))
		}
		return len(r.Why) < maxWhy
	})
}

func (r *Result) permission() (ecrintypes.Permission, bool) {
	switch {
	case slices.Equal(r.Actions, PullActions):
		return ecrintypes.PermissionPULL, true
	case slices.Equal(r.Actions, PushActions):
		return ecrintypes.PermissionPUSH, true
	}
	return "", false
}

func reason(a ecrintypes.RepositoryAccess) string {
	if a.Delegated && !a.Allowed {
		return fmt.Sprintf("%s may as soon as its own account allows it", a.Principal)
	}
	return a.Reason
}

// one tests all actions for one principal.
func (r *Result) one(ctx context.Context, w World, who, repository, tag string) error {
	for _, action := range r.Actions {
		allowed, why, err := w.Explain(ctx, who, action, repository, tag)
		if errors.Is(err, ErrNoPrincipal) {
			r.Why = []string{fmt.Sprintf("%s does not exist, so that the test says nothing", who)}
			return nil
		}
		if err != nil {
			return err
		}
		if !allowed {
			if r.Allowed {
				r.fail("%s: %s", Image{repository, tag}, why)
			}
			return nil
		}
	}
	if !r.Allowed {
		r.fail("%s: %s may %s", Image{repository, tag}, who, strings.Join(r.Actions, ", "))
		return nil
	}
	if _, both := r.permission(); !both || who == "*" {
		return nil
	}
	allowed, why, err := w.Explain(ctx, who, Token, "", "")
	if err == nil && !allowed {
		r.fail("%s: no client can log in: %s", Image{repository, tag}, why)
	}
	return err
}
