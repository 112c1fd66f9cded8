package meta

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// EntityTags returns the tags of an entity.
func (s *Store) EntityTags(ctx context.Context, id string) (map[string]string, error) {
	all := map[string]string{}
	err := s.read.rows(ctx, `SELECT tag, value FROM entity_tags WHERE entity = $1`, args{id}, func(scan func(...any) error) error {
		var k, v string
		err := scan(&k, &v)
		all[k] = v
		return err
	})
	return all, err
}

// PutEntityTags adds or replaces tags. The tag keys of users and roles are case-insensitive and keep the spelling in
// which they were first stored: the value changes in one statement, so that no decision misses it. The tag keys of
// other entities are case-sensitive.
//
// Errors: fault.LimitExceeded (more than maxCount), fault.NoSuchEntity. Source: IAM user guide, tags for IAM
// resources.
func (s *Store) PutEntityTags(ctx context.Context, id string, tags map[string]string, maxCount int) error {
	return s.identity(ctx, func(t *tx) error {
		kind, err := kindOf(t, id)
		if err != nil {
			return err
		}
		if err := putTags(t, id, kind, tags); err != nil {
			return err
		}
		var n int
		_, err = t.one(`SELECT COUNT(*) FROM entity_tags WHERE entity = $1`, args{id}, &n)
		if err == nil && n > maxCount {
			err = fault.LimitExceeded.New("The number of tags has reached the maximum limit.")
		}
		return err
	})
}

func putTags(t *tx, id string, kind EntityKind, tags map[string]string) error {
	spelled, err := spellings(t, id, kind)
	if err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if _, err := t.exec(`INSERT INTO entity_tags (entity, tag, value) VALUES ($1, $2, $3) ON CONFLICT (entity, tag) DO UPDATE SET value = excluded.value`,
			id, spelled.of(k), tags[k]); err != nil {
			return err
		}
	}
	return nil
}

// RemoveEntityTags removes tags. Keys are compared as in PutEntityTags; keys that the entity does not have are
// ignored. Errors: fault.NoSuchEntity.
func (s *Store) RemoveEntityTags(ctx context.Context, id string, keys []string) error {
	return s.identity(ctx, func(t *tx) error {
		kind, err := kindOf(t, id)
		if err != nil {
			return err
		}
		spelled, err := spellings(t, id, kind)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if _, err := t.exec(`DELETE FROM entity_tags WHERE entity = $1 AND tag = $2`, id, spelled.of(k)); err != nil {
				return err
			}
		}
		return nil
	})
}

// spelling maps the lower-case form of an entity's tag keys to the stored form; it is nil if keys are case-sensitive.
type spelling map[string]string

func spellings(t *tx, id string, kind EntityKind) (spelling, error) {
	if kind != User && kind != Role {
		return nil, nil
	}
	all := spelling{}
	err := t.rows(t.ctx, `SELECT tag FROM entity_tags WHERE entity = $1`, args{id}, func(scan func(...any) error) error {
		var k string
		err := scan(&k)
		all[strings.ToLower(k)] = k
		return err
	})
	return all, err
}

// of returns the stored form of a key. A new key is added in the given form.
func (s spelling) of(key string) string {
	if s == nil {
		return key
	}
	folded := strings.ToLower(key)
	if _, ok := s[folded]; !ok {
		s[folded] = key
	}
	return s[folded]
}
