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

// CacheRule fills the repositories of a registry that have a prefix from another registry.
type CacheRule struct {
	Registry       name.Registry
	Prefix         string // without the slash at its end; RootPrefix for all repositories
	Upstream       string // the name that ECR has for the kind of registry; "" if it has none
	Host           string // HOST or HOST:PORT
	UpstreamPrefix string // as Prefix; "", of a rule that was made without one, means RootPrefix
	Credential     string // the ARN of a secret; "" for none
	Role           string // the ARN of a role; "" for none
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// MaxCacheRules is the number of rules that a registry may have. Source: ECR user guide, service quotas.
const MaxCacheRules = 50

const cacheRuleColumns = `prefix, upstream, host, upstream_prefix, credential, role, created_at, updated_at`

// NoCacheRule returns the error for a rule that does not exist, with ECR's text.
func NoCacheRule(reg name.Registry, prefix string) *fault.Error {
	return fault.PullThroughCacheRuleNotFound.New("Pull through cache rule with prefix '%s' does not exist in registry with id '%s'",
		name.Clip(prefix), reg.Account)
}

// CacheRules returns the rules of a registry, at most MaxCacheRules, in the order of their prefixes. The result is cached: callers must
// not modify it.
func (s *Store) CacheRules(ctx context.Context, reg name.Registry) ([]CacheRule, error) {
	return cached(&s.cache.cacheRules, reg, func() (all []CacheRule, err error) {
		err = s.read.rows(ctx, `SELECT `+cacheRuleColumns+` FROM cache_rules WHERE account = $1 AND region = $2 ORDER BY prefix`,
			args{reg.Account.String(), reg.Region.String()}, func(scan func(...any) error) error {
				r := CacheRule{Registry: reg}
				var created, updated int64
				err := scan(&r.Prefix, &r.Upstream, &r.Host, &r.UpstreamPrefix, &r.Credential, &r.Role, &created, &updated)
				r.CreatedAt, r.UpdatedAt = fromMicros(created), fromMicros(updated)
				all = append(all, r)
				return err
			})
		return all, err
	})
}

// CreateCacheRule stores a rule, and returns it with the times.
//
// Errors: fault.PullThroughCacheRuleAlreadyExists, fault.LimitExceeded, fault.AccountNotFound.
func (s *Store) CreateCacheRule(ctx context.Context, r CacheRule) (CacheRule, error) {
	account, region := r.Registry.Account.String(), r.Registry.Region.String()
	err := s.write.do(ctx, func(t *tx) error {
		if err := accountExists(t, r.Registry.Account); err != nil {
			return err
		}
		now := micros(s.now())
		r.CreatedAt, r.UpdatedAt = fromMicros(now), fromMicros(now)
		t.touch(scope{kind: scopeCacheRules})
		n, err := t.exec(`INSERT INTO cache_rules (account, region, `+cacheRuleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
			ON CONFLICT (account, region, prefix) DO NOTHING`,
			account, region, r.Prefix, r.Upstream, r.Host, r.UpstreamPrefix, r.Credential, r.Role, now)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.PullThroughCacheRuleAlreadyExists.New("A pull through cache rule with prefix '%s' already exists in registry with id '%s'",
				r.Prefix, r.Registry.Account)
		}
		var have int
		if _, err := t.one(`SELECT COUNT(*) FROM cache_rules WHERE account = $1 AND region = $2`, args{account, region}, &have); err != nil {
			return err
		}
		if have > MaxCacheRules {
			return fault.LimitExceeded.New("a registry can have at most %d pull through cache rules", MaxCacheRules)
		}
		return t.policyChanged(r.Registry, name.Repo{}, event.PolicyChange{Type: event.PolicyPullThroughCache, Name: r.Prefix}, s.now())
	})
	return r, err
}

// UpdateCacheRule replaces credential and role of the rule with the registry and the prefix of r, and returns the time of the change.
//
// Errors: fault.PullThroughCacheRuleNotFound.
func (s *Store) UpdateCacheRule(ctx context.Context, r CacheRule) (at time.Time, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		now := micros(s.now())
		at = fromMicros(now)
		t.touch(scope{kind: scopeCacheRules})
		n, err := t.exec(`UPDATE cache_rules SET credential = $4, role = $5, updated_at = $6 WHERE account = $1 AND region = $2 AND prefix = $3`,
			r.Registry.Account.String(), r.Registry.Region.String(), r.Prefix, r.Credential, r.Role, now)
		if err == nil && n == 0 {
			err = NoCacheRule(r.Registry, r.Prefix)
		}
		if err != nil {
			return err
		}
		return t.policyChanged(r.Registry, name.Repo{}, event.PolicyChange{Type: event.PolicyPullThroughCache, Name: r.Prefix}, s.now())
	})
	return at, err
}

// DeleteCacheRule deletes a rule. What it has brought stays.
//
// Errors: fault.PullThroughCacheRuleNotFound.
func (s *Store) DeleteCacheRule(ctx context.Context, reg name.Registry, prefix string) error {
	return s.write.do(ctx, func(t *tx) error {
		t.touch(scope{kind: scopeCacheRules})
		n, err := t.exec(`DELETE FROM cache_rules WHERE account = $1 AND region = $2 AND prefix = $3`,
			reg.Account.String(), reg.Region.String(), prefix)
		if err == nil && n == 0 {
			err = NoCacheRule(reg, prefix)
		}
		if err != nil {
			return err
		}
		deleted := event.PolicyChange{Type: event.PolicyPullThroughCache, Name: prefix, Deleted: true}
		return t.policyChanged(reg, name.Repo{}, deleted, s.now())
	})
}

// CacheCheck is the last comparison of a reference of a repository with another registry.
type CacheCheck struct {
	Digest string // that a rule has set the tag to
	At     time.Time
}

// CacheCheck returns the last comparison of a tag, or of the referrers of a digest. ok is false if there was none.
func (s *Store) CacheCheck(ctx context.Context, repository int64, reference string) (c CacheCheck, ok bool, err error) {
	var at int64
	err = s.read.row(ctx, `SELECT digest, checked_at FROM cache_checks WHERE repository = $1 AND reference = $2`, args{repository, reference},
		&c.Digest, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return CacheCheck{}, false, nil
	}
	c.At = fromMicros(at)
	return c, err == nil, err
}

// PutCacheCheck stores a comparison. Errors: fault.RepositoryNotFound.
func (s *Store) PutCacheCheck(ctx context.Context, r Repository, reference, digest string) error {
	return s.write.do(ctx, func(t *tx) error {
		if err := checkRepository(t, r); err != nil {
			return err
		}
		return cacheChecked(t, r.ID, reference, digest, s.now())
	})
}

func cacheChecked(t *tx, repository int64, reference, digest string, at time.Time) error {
	_, err := t.exec(`INSERT INTO cache_checks (repository, reference, digest, checked_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (repository, reference) DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at`,
		repository, reference, digest, micros(at))
	return err
}

// ofRule reports whether the tag of an image may be moved: for one that a rule has brought, whether no push has set the tag.
func ofRule(t *tx, repository int64, tag name.Tag, p Put) (bool, error) {
	if p.Cached == nil {
		return true, nil
	}
	var now, set string
	found, err := t.one(`SELECT digest FROM tags WHERE repository = $1 AND tag = $2`, args{repository, tag.String()}, &now)
	if err != nil || !found {
		return err == nil, err
	}
	_, err = t.one(`SELECT digest FROM cache_checks WHERE repository = $1 AND reference = $2`, args{repository, tag.String()}, &set)
	return set == now, err
}

// ReferrerOfBlob returns the digest of an image of the repository that names a blob; the zero Digest if none does.
func (s *Store) ReferrerOfBlob(ctx context.Context, repository int64, d name.Digest) (name.Digest, error) {
	var text string
	err := s.read.row(ctx, `SELECT digest FROM image_references WHERE repository = $1 AND target = $2 AND kind = 1 LIMIT 1`,
		args{repository, d.String()}, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return name.Digest{}, nil
	}
	if err != nil {
		return name.Digest{}, err
	}
	return name.ParseDigest(text)
}
