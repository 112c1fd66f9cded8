package usage

import (
	"context"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxCacheKeys limits the rules whose counts wait to be written. There is one for each rule that is used, of which a registry has 50.
const maxCacheKeys = 20_000

// cacheKey is a rule on a day.
type cacheKey struct {
	registry name.Registry
	prefix   string
	day      time.Time
}

// CountCache adds what a pull through cache rule did.
func (s *Service) CountCache(reg name.Registry, prefix string, c meta.CacheCount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addCache(cacheKey{reg, prefix, s.now().UTC().Truncate(24 * time.Hour)}, c)
}

// addCache adds to a rule. The caller holds mu.
func (s *Service) addCache(k cacheKey, c meta.CacheCount) {
	sum, known := s.caches[k]
	if !known && len(s.caches) >= maxCacheKeys {
		return
	}
	if s.caches == nil {
		s.caches = map[cacheKey]meta.CacheCount{}
	}
	sum.Add(c)
	s.caches[k] = sum
}

// flushCaches writes the counts of rules. What cannot be written waits for the next time.
func (s *Service) flushCaches(ctx context.Context) error {
	s.mu.Lock()
	all := s.caches
	s.caches = nil
	s.mu.Unlock()
	rows := make([]meta.CacheDay, 0, len(all))
	for k, c := range all {
		rows = append(rows, meta.CacheDay{Registry: k.registry, Prefix: k.prefix, Day: k.day, CacheCount: c})
	}
	for len(rows) > 0 {
		some := rows[:min(len(rows), flushRows)]
		if err := s.meta.AddCacheCounts(ctx, some); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, r := range rows {
				s.addCache(cacheKey{r.Registry, r.Prefix, r.Day}, r.CacheCount)
			}
			return err
		}
		rows = slices.Delete(rows, 0, len(some))
	}
	return nil
}
