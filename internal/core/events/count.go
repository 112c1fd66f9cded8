package events

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Mode says which requests of a kind have events that ECR has none for.
type Mode string

// The modes.
const (
	Off     Mode = "off"
	Counted Mode = "counted" // one event for all alike in a window of time
	Sampled Mode = "sampled" // one event for one of sampleOf, of pulls only
)

// ParseMode returns the mode with a name. Errors: another name, or Sampled without sampling.
func ParseMode(text string, sampling bool) (Mode, error) {
	switch m := Mode(text); {
	case m == Off, m == Counted, m == Sampled && sampling:
		return m, nil
	case sampling:
		return "", fmt.Errorf("want off, counted or sampled, got %q", text)
	}
	return "", fmt.Errorf("want off or counted, got %q", text)
}

const (
	// window is the time in which equal requests are counted.
	window = 5 * time.Minute
	// sampleOf is how many pulls have one event with Sampled.
	sampleOf = 100

	// The counts of one window: of an account in all regions, of one principal in it, and in all. Pulls beyond them have no event; denials
	// beyond them are counted together for the registry, of which there may be maxWide for an account. They bound the rows that requests
	// without a change make. All callers without credentials of the account are one principal: they make at most 40 rows in 5 minutes.
	maxCountsOfAccount   = 200
	maxCountsOfPrincipal = 20
	maxWide              = 20
	maxCounts            = 5000
)

// counter counts pulls and denials until their events are written. It is safe for concurrent use.
type counter struct {
	pulls, denials Mode
	now            func() time.Time

	mu      sync.Mutex
	since   time.Time // the begin of the window
	counts  map[countKey]*counted
	parts   map[countPart]int
	samples []event.Event // of pulls
}

type countKey struct {
	pull      bool
	registry  name.Registry
	repo      name.Repo
	digest    name.Digest // of pulls
	action    string      // of denials
	principal string      // of denials; "" for callers that are not of the account
}

// countPart is a set of counts that has a limit.
type countPart struct {
	account    name.Account
	pull, wide bool
	of         bool // of one principal
	principal  string
}

type counted struct {
	n        int64
	request  string
	from, to time.Time
}

// wide is the action of denials that are counted together because there are too many different ones.
const wide = "*"

// add counts a request. It returns false if there is no place for it.
func (c *counter) add(k countKey, request string) bool {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts, c.parts, c.since = map[countKey]*counted{}, map[countPart]int{}, now
	}
	if n := c.counts[k]; n != nil {
		n.n, n.to = n.n+1, now
		return true
	}
	if len(c.counts) >= maxCounts {
		return false
	}
	for part, limit := range k.parts() {
		if c.parts[part] >= limit {
			return false
		}
	}
	for part := range k.parts() {
		c.parts[part]++
	}
	c.counts[k] = &counted{n: 1, request: request, from: now, to: now}
	return true
}

// parts returns the sets in which a count is, with their limits.
func (k countKey) parts() map[countPart]int {
	account := k.registry.Account
	switch {
	case k.pull:
		return map[countPart]int{{account: account, pull: true}: maxCountsOfAccount}
	case k.action == wide:
		return map[countPart]int{{account: account, wide: true}: maxWide}
	}
	return map[countPart]int{{account: account}: maxCountsOfAccount,
		{account: account, of: true, principal: k.principal}: maxCountsOfPrincipal}
}

// take returns the events of the window if it has ended, or with all those of the present one, and begins anew.
func (c *counter) take(all bool) (events []event.Event) {
	now := c.now()
	c.mu.Lock()
	events, c.samples = c.samples, nil
	var counts map[countKey]*counted
	if age := now.Sub(c.since); all || age >= window || age < 0 {
		counts, c.counts = c.counts, nil
	}
	c.mu.Unlock()
	for k, n := range counts {
		events = append(events, k.event(n))
	}
	slices.SortFunc(events, func(a, b event.Event) int { return a.Time.Compare(b.Time) })
	return events
}

func (k countKey) event(n *counted) event.Event {
	o := origin(k.registry, n.to)
	if k.pull {
		i := event.Image{Repository: k.repo, Digest: k.digest}
		return event.ImagePulled(o, event.Pull{Image: i, Count: n.n, From: n.from, To: n.to})
	}
	return event.RequestDenied(o, event.Denial{Action: k.action, Principal: k.principal, Repository: k.repo, RequestID: n.request, Count: n.n,
		From: n.from, To: n.to})
}

func origin(r name.Registry, at time.Time) event.Origin {
	o := event.Origin{Registry: r, Time: at}
	rand.Read(o.ID[:])
	o.ID[6], o.ID[8] = o.ID[6]&0x0f|0x40, o.ID[8]&0x3f|0x80
	return o
}

// Pulled counts or samples a pull. It never waits.
func (s *Service) Pulled(r meta.Repository, d name.Digest) {
	c := &s.counts
	switch c.pulls {
	case Counted:
		c.add(countKey{pull: true, registry: r.Registry, repo: r.Name, digest: d}, "")
	case Sampled:
		if mathrand.IntN(sampleOf) != 0 {
			return
		}
		i := event.Image{Repository: r.Name, Digest: d}
		e := event.ImagePulled(origin(r.Registry, c.now()), event.Pull{Image: i, Count: 1, OneIn: sampleOf})
		c.mu.Lock()
		if len(c.samples) < maxCountsOfAccount {
			c.samples = append(c.samples, e)
		}
		c.mu.Unlock()
	}
}

// Denial is a request that was denied.
type Denial struct {
	Registry   name.Registry // of the resource
	Repository name.Repo     // zero if the resource is none, or need not exist
	Action     string
	Principal  string // ARN of a caller of the account of the registry; "" for others
	RequestID  string
}

// Denied counts a denial. It never waits. Callers of other accounts and without credentials are counted together: they can send any
// number of different requests.
func (s *Service) Denied(d Denial) {
	c := &s.counts
	if c.denials != Counted {
		return
	}
	k := countKey{registry: d.Registry, repo: d.Repository, action: d.Action, principal: d.Principal}
	if d.Principal == "" {
		k.repo = name.Repo{}
	}
	if !c.add(k, d.RequestID) {
		c.add(countKey{registry: d.Registry, action: wide}, d.RequestID)
	}
}

// writeCounts stores the events of counted requests whose window has ended, and with all of all. If that fails they are lost: they are
// statistics, and memory for them is bounded.
func (s *Service) writeCounts(ctx context.Context, all bool) error {
	const page = 100
	for part := range slices.Chunk(s.counts.take(all), page) {
		if err := s.meta.RecordEvents(ctx, part); err != nil {
			return err
		}
	}
	return nil
}
