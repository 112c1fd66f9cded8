package meta

import (
	"context"
	"strings"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// TagsLeadingTo returns the tags by which a client can reach a manifest: its own, and those of the indexes above it, on
// every level. Each tag occurs once, and the order is not defined. The result may be shared: the caller must not
// modify it.
func (s *Store) TagsLeadingTo(ctx context.Context, repository int64, d name.Digest) ([]string, error) {
	known, err := s.leading(repository)
	if err != nil {
		return nil, err
	}
	if tags, _, ok := known.get(d); ok && tags != nil {
		return tags, nil
	}
	return s.readLeading(ctx, repository, d, known)
}

// TagClasses sorts tags into classes.
type TagClasses interface {
	ID() string           // the same for all values that sort all tags alike
	Of(tag string) string // the class of a tag, an arbitrary text
}

// SomeTagsLeadingTo returns the tags by which a client can reach a manifest if there are few, as TagsLeadingTo does. If there
// are many, it returns one tag of each class, and many is true. It calls classes only in the latter case. If classes returns
// nil, it returns all tags in any case.
//
// The result is kept for the ID, so that a further call reads no tags and sorts none.
func (s *Store) SomeTagsLeadingTo(ctx context.Context, repository int64, d name.Digest, classes func() TagClasses) (tags []string,
	many bool, err error) {
	known, err := s.leading(repository)
	if err != nil {
		return nil, false, err
	}
	tags, many, ok := known.get(d)
	if !ok {
		if tags, err = s.readLeading(ctx, repository, d, known); err != nil {
			return nil, false, err
		}
		many = len(tags) > fewTags
	}
	if !many {
		return tags, false, nil
	}
	c := classes()
	if c == nil {
		if tags == nil {
			tags, err = s.readLeading(ctx, repository, d, known)
		}
		return tags, true, err
	}
	id := c.ID()
	if some, ok := known.some(d, id); ok {
		return some, true, nil
	}
	if tags == nil {
		if tags, err = s.readLeading(ctx, repository, d, known); err != nil {
			return nil, false, err
		}
	}
	var some []string
	seen := map[string]bool{}
	for _, tag := range tags {
		if class := c.Of(tag); !seen[class] {
			seen[class] = true
			some = append(some, strings.Clone(tag)) // a part of the text of all tags would keep that text in memory
		}
	}
	known.putSome(d, id, some)
	return some, true, nil
}

// fewTags is the number of tags up to which SomeTagsLeadingTo returns all: sorting fewer would take longer than what it saves.
const fewTags = 32

// leading returns the tags that are known of a repository.
func (s *Store) leading(repository int64) (*leadingTags, error) {
	return cached(&s.cache.leading, repository, func() (*leadingTags, error) { return new(leadingTags), nil })
}

// readLeading reads all tags that lead to a manifest, and notes them.
//
// An index cannot be above itself, because a digest is known only once what it refers to is, and indexes nest MaxDepth deep at
// most. UNION finds an index that is above in several ways once, so that no tag occurs twice: a tag has one digest. The tags
// come in one text: scanning as many rows would take several times as long.
func (s *Store) readLeading(ctx context.Context, repository int64, d name.Digest, known *leadingTags) ([]string, error) {
	var text string
	// The repository is a column of above so that both databases begin with the few indexes. With $1 in its place they begin with
	// all tags of the repository: 0.2 s for 100,000.
	err := s.read.row(ctx, `WITH RECURSIVE above(repository, digest) AS (
			SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT)
			UNION SELECT r.repository, r.digest FROM above a CROSS JOIN image_references r
			WHERE r.repository = a.repository AND r.target = a.digest AND r.kind = 2)
		SELECT COALESCE(string_agg(t.tag, '","'), '') FROM above a CROSS JOIN tags t
			WHERE t.repository = a.repository AND t.digest = a.digest`,
		args{repository, d.String()}, &text)
	if err != nil {
		return nil, err
	}
	tags := []string{}
	if text != "" {
		tags = strings.Split(text, tagSeparator)
	}
	known.put(d, tags)
	return tags, nil
}

// leadingTags holds the tags that lead to images of one repository. The cache drops the whole value with a change of the
// repository's tags or indexes: what a reader puts into it later is not seen by anyone.
type leadingTags struct {
	mu   sync.Mutex
	m    map[name.Digest]*leadingTo
	size int // number of digests, tags and classes in m
}

// leadingTo is what is known of the tags that lead to one image.
type leadingTo struct {
	tags []string            // all of them; nil if they are too many to be kept
	many bool                // they are more than fewTags
	some map[string][]string // one of each class, by the ID of the classes
}

// maxLeading limits the digests, tags and classes of one repository that are kept, about 50 bytes each.
const maxLeading = 4096

func (l *leadingTags) get(d name.Digest) (tags []string, many, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.m[d]
	if !ok {
		return nil, false, false
	}
	return one.tags, one.many, true
}

func (l *leadingTags) put(d name.Digest, tags []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m[d] != nil {
		return
	}
	one := &leadingTo{tags: tags, many: len(tags) > fewTags}
	if len(tags) >= maxLeading {
		one.tags = nil
	}
	l.grow(1 + len(one.tags))
	l.m[d] = one
}

// some returns the tags that putSome has kept.
func (l *leadingTags) some(d name.Digest, id string) ([]string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.m[d]
	if one == nil {
		return nil, false
	}
	some, ok := one.some[id]
	return some, ok
}

// putSome keeps one tag of each class. The ID counts like tags, because it contains conditions of policies.
func (l *leadingTags) putSome(d name.Digest, id string, some []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 1 + len(some) + len(id)/50
	one := l.m[d]
	if one == nil || n >= maxLeading {
		return
	}
	if l.grow(n); l.m[d] == nil { // the other images have made room
		one = &leadingTo{many: one.many}
		l.m[d] = one
	}
	if one.some == nil {
		one.some = map[string][]string{}
	}
	one.some[id] = some
}

// grow counts n more values. If there are too many, it forgets all others.
func (l *leadingTags) grow(n int) {
	if l.size += n; l.m == nil || l.size > maxLeading {
		l.m, l.size = map[name.Digest]*leadingTo{}, n
	}
}
