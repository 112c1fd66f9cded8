package meta

import (
	"errors"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// cache holds values that many requests read. Cached values are never stale: the transaction of a change names what
// the change makes stale, the cache drops it after the commit and before the change is acknowledged, and a value
// whose read began before a drop is not kept (see shelf.gen). If other processes write to the same database,
// Store.Refresh drops what their changes have named before a request is served. The absence of a value is not cached.
type cache struct {
	keys         shelf[string, AccessKey]
	tokens       shelf[string, Token]
	sessions     shelf[string, Session]
	registries   shelf[name.Registry, BoundPolicy]
	resourceTags shelf[int64, []ResourceTag] // by repository
	grants       shelf[int64, []AccessGrant] // by repository
	settings     shelf[settingKey, string]
	exclusions   shelf[name.Registry, []PullExclusion]
	cacheRules   shelf[name.Registry, []CacheRule]
	repositories shelf[repositoryKey, Repository]
	heads        tiered[headKey, ManifestHead]
	bodies       tiered[name.Digest, []byte]
	holdings     shelf[holdingKey, Holding]
	tagLists     shelf[int64, []byte]       // by repository
	leading      shelf[int64, *leadingTags] // by repository
	offers       shelf[offersKey, *ImageOffers]
}

type (
	settingKey struct {
		registry name.Registry
		setting  string
	}
	repositoryKey struct {
		registry name.Registry
		repo     name.Repo
	}
	headKey struct {
		repository int64
		ref        name.Reference
	}
	holdingKey struct {
		repository int64
		digest     name.Digest
	}
	offersKey struct{ application, repository string }
)

func (c *cache) init() {
	c.keys.max, c.tokens.max, c.settings.max = 4096, 4096, 1024
	c.sessions.max, c.registries.max, c.resourceTags.max = 4096, 1024, 4096
	c.grants.max = 4096
	c.repositories.max, c.holdings.max, c.exclusions.max, c.cacheRules.max = 4096, 16384, 1024, 256
	// Further ones are in files, see SpillTo. A head takes about 150 bytes.
	c.heads.max, c.heads.form = 16<<10, headForm{}
	c.bodies.max, c.bodies.form = 2048, bodyForm{}
	c.tagLists.max = 4
	c.leading.max = 256
	c.offers.max, c.offers.weigh = 1<<16, (*ImageOffers).weight // about 100 bytes each
}

// dropImages drops the images and blobs of all repositories.
func (c *cache) dropImages() {
	c.heads.drop()
	c.holdings.drop()
	c.leading.drop()
}

// SpillTo makes the caches of manifests larger by files in dir that have no name, with at most max bytes together. It is called
// before the store is used.
//
// Errors: the files cannot be made.
func (s *Store) SpillTo(dir string, max int64) error {
	heads, err := newSpill(dir, max/8)
	if err != nil {
		return err
	}
	bodies, err := newSpill(dir, max-max/8)
	if err != nil {
		return errors.Join(err, heads.close())
	}
	s.cache.heads.spill, s.cache.bodies.spill = heads, bodies
	return nil
}

// Trim drops the values that need much memory. They are read again when they are needed.
func (s *Store) Trim() {
	s.cache.dropImages()
	s.cache.bodies.drop()
	s.cache.tagLists.drop()
	s.cache.offers.drop()
	if s.shrink != nil {
		_ = s.shrink() // a connection that is in use keeps its pages
	}
}

func (c *cache) dropAll() {
	c.keys.drop()
	c.tokens.drop()
	c.sessions.drop()
	c.registries.drop()
	c.resourceTags.drop()
	c.grants.drop()
	c.settings.drop()
	c.exclusions.drop()
	c.cacheRules.drop()
	c.repositories.drop()
	c.dropImages()
	c.tagLists.drop()
	c.offers.drop()
}

// shelf is a map with a bounded number of values, any of which may be dropped at any time. A full shelf is emptied
// before the next value is kept: that is simple, and the cost of reading the values again is spread over many
// requests.
type shelf[K comparable, V any] struct {
	mu    sync.RWMutex
	gen   uint64
	max   int         // of the values, or with weigh of their weights
	weigh func(V) int // nil if each value has the weight 1
	size  int         // the weight of m
	m     map[K]V
}

func (s *shelf[K, V]) weight(v V) int {
	if s.weigh == nil {
		return 1
	}
	return s.weigh(v)
}

// remove removes a value. The caller holds the lock.
func (s *shelf[K, V]) remove(k K) {
	if v, ok := s.m[k]; ok {
		s.size -= s.weight(v)
		delete(s.m, k)
	}
}

func (s *shelf[K, V]) get(k K) (v V, gen uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok = s.m[k]
	return v, s.gen, ok
}

// room reports whether another value is kept without emptying the shelf.
func (s *shelf[K, V]) room() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.size < s.max
}

// generation returns the number that put needs for a value that is read after this call.
func (s *shelf[K, V]) generation() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.gen
}

// put keeps v unless a value was dropped since generation returned gen: then v may be older than that drop. A value that is heavier than
// the shelf is not kept.
func (s *shelf[K, V]) put(k K, v V, gen uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	weight := s.weight(v)
	if s.gen != gen || weight > s.max {
		return
	}
	s.remove(k)
	if s.m == nil || s.size+weight > s.max {
		s.m, s.size = map[K]V{}, 0
	}
	s.m[k], s.size = v, s.size+weight
}

func (s *shelf[K, V]) drop(keys ...K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	if len(keys) == 0 {
		s.m, s.size = nil, 0
	}
	for _, k := range keys {
		s.remove(k)
	}
}

// dropUnless drops k if holds reports false for its value. Values whose read is in progress are not kept in either
// case: they may be older than the change.
func (s *shelf[K, V]) dropUnless(k K, holds func(V) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	if v, ok := s.m[k]; ok && !holds(v) {
		s.remove(k)
	}
}

// cached returns the value of k on the shelf, or reads it and keeps it. Errors are not kept.
func cached[K comparable, V any](s *shelf[K, V], k K, read func() (V, error)) (V, error) {
	v, gen, ok := s.get(k)
	if ok {
		return v, nil
	}
	v, err := read()
	if err == nil {
		s.put(k, v, gen)
	}
	return v, err
}
