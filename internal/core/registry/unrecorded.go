package registry

import (
	"context"
	"slices"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxUnrecorded limits the digests of stored bytes that a process keeps in memory because neither their record nor a candidate could be
// stored. Bytes beyond it are found by the full collection after the next start.
const maxUnrecorded = 10_000

// unrecorded are digests of stored bytes of which the database knows nothing. It is safe for concurrent use.
type unrecorded struct {
	mu   sync.Mutex
	all  []name.Digest
	more bool // there were others
}

func (u *unrecorded) add(d name.Digest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.all) < maxUnrecorded {
		u.all = append(u.all, d)
	} else {
		u.more = true
	}
}

// settle makes the digests candidates, and forgets them when they are.
func (u *unrecorded) settle(ctx context.Context, candidates func(context.Context, []name.Digest) error) error {
	u.mu.Lock()
	some := slices.Clone(u.all[:min(len(u.all), collectPage)])
	u.mu.Unlock()
	if len(some) == 0 {
		return nil
	}
	if err := candidates(ctx, some); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = u.all[len(some):]
	return nil
}

// Unrecorded reports whether bytes are stored of which the database knows nothing. A stop is not a clean one then.
func (s *Service) Unrecorded() bool {
	s.unrecorded.mu.Lock()
	defer s.unrecorded.mu.Unlock()
	return len(s.unrecorded.all) > 0 || s.unrecorded.more
}
