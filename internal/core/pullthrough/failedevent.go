package pullthrough

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// failedEvery is the time in which a repository has one event of a failed fetch at most: a client that asks again and again must not
	// fill the table of events.
	failedEvery = time.Minute
	// maxFailedEvents is how many repositories are remembered for that, and how many of them may be of one account.
	maxFailedEvents          = 10_000
	maxFailedEventsOfAccount = 100
	// failedTime is the time that the storing of an event may take.
	failedTime = 10 * time.Second
)

// reported remembers the repositories that have had an event of a failed fetch. The zero value is ready.
type reported struct {
	mu  sync.Mutex
	all map[string]time.Time
}

// first reports whether a repository has had no event for failedEvery, and remembers that it has one now.
func (r *reported) first(account name.Account, repo string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	key, own := account.String()+"/"+repo, 0
	for k, at := range r.all {
		if age := now.Sub(at); age >= failedEvery || age < 0 {
			delete(r.all, k)
		} else if strings.HasPrefix(k, account.String()+"/") {
			own++
		}
	}
	if _, had := r.all[key]; had || own >= maxFailedEventsOfAccount || len(r.all) >= maxFailedEvents {
		return false
	}
	if r.all == nil {
		r.all = map[string]time.Time{}
	}
	r.all[key] = now
	return true
}

// reportFailure stores the event of an image or a layer that another registry did not give. ref is zero for a layer.
func (s *Service) reportFailure(o origin, q Request, ref name.Reference, answer, err error) {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || s.ctx.Err() != nil || !s.reported.first(q.Registry.Account, q.Registry.Region.String()+"/"+q.Name.String(), s.now()) {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, failedTime)
	defer cancel()
	from := event.Origin{Registry: q.Registry, Time: s.now()}
	rand.Read(from.ID[:])
	pull := event.CachePull{Prefix: o.rule.Prefix, Image: event.Image{Repository: q.Name, Digest: ref.Digest}, Tag: ref.Tag,
		Upstream: o.rule.Host, FailureCode: failureCode(e.Reason), FailureReason: fault.From(answer).Public}
	if err := s.meta.RecordEvents(ctx, []event.Event{event.CacheSynced(from, pull)}); err != nil {
		s.log.Warn("the event of a failed fetch could not be stored", "repository", q.Name, "error", err)
	}
}

// failureCode returns the code of a reason in events, such as NotFound.
func failureCode(r upstream.Reason) string {
	var b strings.Builder
	for word := range strings.FieldsSeq(r.String()) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// ServedStored counts the bytes of a layer that a repository held, if a rule could have brought it: they were not fetched.
func (s *Service) ServedStored(ctx context.Context, registry name.Registry, repo name.Repo, bytes int64) {
	if o, ok, err := s.origin(ctx, registry, repo); err == nil && ok {
		s.counts.Saved.Add(uint64(bytes))
		s.tell(o, meta.CacheCount{Hits: 1, Saved: bytes})
	}
}
