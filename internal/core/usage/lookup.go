package usage

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// lookupLife is how long a pull by digest counts for the tag by which the same caller has looked the digest up.
	lookupLife = 5 * time.Minute
	// maxLookups limits the lookups that are remembered, of callers with credentials and of others each.
	maxLookups = 10_000
)

// Lookup is an image that a caller has looked up by a tag. Clients such as containerd send HEAD with the tag, and then GET with the digest
// of the answer.
type Lookup struct {
	By         string // the caller, as limits count it; "" for callers without credentials
	Registry   name.Registry
	Repository string
	Digest     string
}

// lookups are the lookups of a time, and those before it: the older ones are forgotten together, after lookupLife or when there are many.
type lookups struct {
	now, before map[Lookup]string // tags
	since       time.Time
}

// LookedUp remembers the tag of a lookup.
func (s *Service) LookedUp(l Lookup, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.lookupsOf(l)
	k.now[l] = tag
}

// TagOf returns the tag by which the caller has looked the image up less than 5 to 10 minutes ago, and forgets it: one lookup is one pull.
// It returns "" for none.
func (s *Service) TagOf(l Lookup) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.lookupsOf(l)
	tag, found := k.now[l]
	if !found {
		tag = k.before[l]
	}
	delete(k.now, l)
	delete(k.before, l)
	return tag
}

// lookupsOf returns the lookups among which one is. The caller holds mu.
func (s *Service) lookupsOf(l Lookup) *lookups {
	k := &s.looked[0]
	if l.By == "" {
		k = &s.looked[1]
	}
	now := s.now()
	if age := now.Sub(k.since); k.now == nil || len(k.now) >= maxLookups/2 || age >= lookupLife || age < 0 {
		if k.before = k.now; age >= 2*lookupLife {
			k.before = nil
		}
		k.now, k.since = map[Lookup]string{}, now
	}
	return k
}
