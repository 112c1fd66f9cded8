package meta

import (
	"sync"

	"github.com/ecrin-dev/ecrin/internal/name"
)

// cache holds what hot requests read again and again. It is exact, not eventual: this process is the only writer of its
// database (see lockDir), every change drops what it touches after its commit and before it is acknowledged, and a
// read that began before a drop is not kept (see shelf.gen).
type cache struct {
	keys         shelf[string, AccessKey]
	tokens       shelf[string, Token]
	sessions     shelf[string, Session]
	registries   shelf[name.Registry, BoundPolicy]
	labels       shelf[int64, []Label] // by repository
	settings     shelf[settingKey, string]
	repositories shelf[repositoryKey, Repository]
	heads        shelf[headKey, ManifestHead]
	bodies       shelf[name.Digest, []byte]
	holdings     shelf[holdingKey, Holding]
	tagLists     shelf[int64, []byte] // by repository
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
)

func (c *cache) init() {
	c.keys.most, c.tokens.most, c.settings.most = 4096, 4096, 1024
	c.sessions.most, c.registries.most, c.labels.most = 4096, 1024, 4096
	c.repositories.most, c.holdings.most = 4096, 16384
	// Enough for a pull of any tag of a repository with 100,000 of them; an entry costs some 150 bytes, see head.
	c.heads.most = 128 << 10
	c.bodies.most = 2048
	c.tagLists.most = 4
}

func (c *cache) dropIdentity() {
	c.keys.drop()
	c.tokens.drop()
	c.sessions.drop()
	c.settings.drop()
}

func (c *cache) dropRepositories() {
	c.repositories.drop()
	c.heads.drop()
	c.holdings.drop()
	c.tagLists.drop()
}

// dropImages forgets what a push changes.
func (c *cache) dropImages(repository int64, p Put) {
	keys := []headKey{{repository, name.Reference{Digest: p.Digest}}}
	for _, t := range p.Tags {
		keys = append(keys, headKey{repository, name.Reference{Tag: t}})
		// A tag that only moves leaves the list as it was.
		c.tagLists.dropUnless(repository, func(list []byte) bool { return lists(list, t.String()) })
	}
	c.heads.drop(keys...)
	blobs := p.Manifest.Blobs()
	holdings := make([]holdingKey, 0, len(blobs)+1)
	for _, b := range blobs {
		holdings = append(holdings, holdingKey{repository, b.Digest})
	}
	c.holdings.drop(append(holdings, holdingKey{})...)
}

// dropRepository forgets all images and blobs of a repository. Deletions are rare, so it forgets those of its
// neighbours too.
func (c *cache) dropRepository(repository int64) {
	c.heads.drop()
	c.holdings.drop()
	c.tagLists.drop(repository)
}

// shelf is a bounded map that may be emptied at any time. When it is full it starts again empty: simple, and the cost
// of a refill is spread over most requests.
type shelf[K comparable, V any] struct {
	mu   sync.RWMutex
	gen  uint64
	most int
	m    map[K]V
}

func (s *shelf[K, V]) get(k K) (v V, gen uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok = s.m[k]
	return v, s.gen, ok
}

// generation is what put wants of a value that was read after now.
func (s *shelf[K, V]) generation() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.gen
}

// put keeps v unless something was dropped since gen was seen: then v may be older than the drop.
func (s *shelf[K, V]) put(k K, v V, gen uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen != gen {
		return
	}
	if s.m == nil || len(s.m) >= s.most {
		s.m = map[K]V{}
	}
	s.m[k] = v
}

func (s *shelf[K, V]) drop(keys ...K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	if len(keys) == 0 {
		s.m = nil
	}
	for _, k := range keys {
		delete(s.m, k)
	}
}

// dropUnless drops k unless its value still holds. Reads that are under way are not kept in either case: they may be
// older than the change, whatever the value on the shelf is.
func (s *shelf[K, V]) dropUnless(k K, holds func(V) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	if v, ok := s.m[k]; ok && !holds(v) {
		delete(s.m, k)
	}
}

// cached answers from the shelf or reads and keeps. Errors are not kept.
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
