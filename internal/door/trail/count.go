package trail

import (
	"context"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Requests that fail for the same reason can be repeated without end. In each countPeriod the first maxAlike of them have a
// line each; the others are counted, and one line has their number.
const (
	countPeriod = time.Minute
	maxAlike    = 10

	// The reasons that are counted apart at once: of one principal, of one account, and in all. Requests beyond the first
	// limit are counted together for the principal, those beyond the others for the account.
	maxReasonsOfPrincipal = 64
	maxReasonsOfAccount   = 256
	maxReasons            = 2048
	maxOverflows          = 256

	// maxCountedIDs is how many of the last counted requests can be explained by their ids.
	maxCountedIDs = 8192
)

// reason is why a request failed, and for whom.
type reason struct {
	account   name.Account // of the caller
	principal string       // its unique id; "" for anonymous callers
	action    string
	code      string // errorCode
	resource  string
	stranger  bool // see strange
	scope     scope
}

// scope is the set of requests that are counted together.
type scope string

const (
	byCause     scope = "cause"     // of one principal, action, errorCode and resource
	byPrincipal scope = "principal" // of one principal
	byAccount   scope = "account"   // of one account
)

// counter counts the requests that fail for each reason. It is safe for concurrent use.
type counter struct {
	mu        sync.Mutex
	reasons   map[reason]*entry
	overflows int            // entries of the scopes other than byCause
	principal map[string]int // number of the reasons of each principal
	account   map[name.Account]int

	ids     map[[16]byte][16]byte // the request with a line, by the id of a counted request
	recent  [][16]byte            // the keys of ids; a ring
	replace int                   // the oldest of recent, when it is full
}

// entry counts the requests of one reason in one period.
type entry struct {
	since   time.Time // of the first request
	seen    int       // requests with a line
	line    *failed   // the last of these lines; nil until it is made
	request string    // the id of its request
	counted counted
}

// counted is the number of requests for which one line stands.
type counted struct {
	requests    int64
	first, last string // ids of the first and the last request
	from, to    time.Time
	scope       scope
}

// failed is the line of a request that failed.
type failed struct {
	record   audit.Record
	more     more
	accounts []string
	stranger bool
}

// summary is a line that stands for several requests.
type summary struct {
	*failed
	counted
}

// take counts a request, and reports whether it has a line. If keep is not nil, the caller passes the line to keep. If the
// period of the reason has ended, due is the line of its counted requests.
func (c *counter) take(r reason, request string, now time.Time) (write bool, keep func(*failed), due *summary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reasons == nil {
		c.reasons, c.principal, c.account = map[reason]*entry{}, map[string]int{}, map[name.Account]int{}
		c.ids = map[[16]byte][16]byte{}
	}
	r = c.room(r)
	e := c.reasons[r]
	if e != nil && now.Sub(e.since) >= countPeriod {
		due = e.due()
		c.remove(r)
		e = nil
	}
	if e == nil {
		e = &entry{since: now}
		c.add(r, e)
	}
	if e.seen < maxAlike {
		e.seen++
		if e.seen == maxAlike {
			e.request = request
			keep = func(f *failed) {
				c.mu.Lock()
				defer c.mu.Unlock()
				e.line = f
			}
		}
		return true, keep, due
	}
	if e.counted.requests == 0 {
		e.counted.first, e.counted.from, e.counted.scope = request, now, r.scope
	}
	e.counted.requests++
	e.counted.last, e.counted.to = request, now
	c.remember(request, e.request)
	return false, nil, due
}

// room returns the reason by which a request is counted: r, or a wider one if there is no room for r.
func (c *counter) room(r reason) reason {
	r.scope = byCause
	if c.reasons[r] != nil || c.principal[r.principal] < maxReasonsOfPrincipal && c.account[r.account] < maxReasonsOfAccount &&
		len(c.reasons)-c.overflows < maxReasons {
		return r
	}
	wide := reason{account: r.account, principal: r.principal, stranger: r.stranger, scope: byPrincipal}
	if c.reasons[wide] != nil || c.principal[r.principal] >= maxReasonsOfPrincipal && c.overflows < maxOverflows/2 {
		return wide
	}
	wide = reason{account: r.account, stranger: r.stranger, scope: byAccount}
	if c.reasons[wide] != nil || c.overflows < maxOverflows-2 {
		return wide
	}
	return reason{stranger: r.stranger, scope: byAccount} // the last ones, of all other accounts
}

func (c *counter) add(r reason, e *entry) {
	c.reasons[r] = e
	if r.scope != byCause {
		c.overflows++
		return
	}
	c.principal[r.principal]++
	c.account[r.account]++
}

func (c *counter) remove(r reason) {
	delete(c.reasons, r)
	if r.scope != byCause {
		c.overflows--
		return
	}
	if c.principal[r.principal]--; c.principal[r.principal] == 0 {
		delete(c.principal, r.principal)
	}
	if c.account[r.account]--; c.account[r.account] == 0 {
		delete(c.account, r.account)
	}
}

// due returns the line of the counted requests, nil if none was counted.
func (e *entry) due() *summary {
	if e.counted.requests == 0 || e.line == nil {
		return nil
	}
	return &summary{e.line, e.counted}
}

// ended removes the entries whose period has ended, or with all every entry, and returns the lines of their counted requests.
func (c *counter) ended(now time.Time, all bool) (due []*summary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r, e := range c.reasons {
		if !all && now.Sub(e.since) < countPeriod {
			continue
		}
		if s := e.due(); s != nil {
			due = append(due, s)
		}
		c.remove(r)
	}
	return due
}

// remember keeps by which request a counted one is explained.
func (c *counter) remember(request, by string) {
	id, ok := parseRequestID(request)
	to, ok2 := parseRequestID(by)
	if !ok || !ok2 {
		return
	}
	if len(c.recent) < maxCountedIDs {
		c.recent = append(c.recent, id)
	} else {
		delete(c.ids, c.recent[c.replace])
		c.recent[c.replace] = id
		c.replace = (c.replace + 1) % maxCountedIDs
	}
	c.ids[id] = to
}

// representative returns the request with a line for a counted request; "" if none is known.
func (c *counter) representative(request string) string {
	id, ok := parseRequestID(request)
	if !ok {
		return ""
	}
	c.mu.Lock()
	to, ok := c.ids[id]
	c.mu.Unlock()
	if !ok {
		return ""
	}
	return audit.ID(to).String()
}

func parseRequestID(s string) (id [16]byte, ok bool) {
	digits := strings.ReplaceAll(s, "-", "")
	if len(s) != 36 || len(digits) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(digits))
	return id, err == nil
}

// countedName is the eventName of a line that stands for requests with different reasons.
const countedName = "RequestsCountedTogether"

// record returns the line. It has the content of the last of the requests with a line, as far as it is that of all.
func (s *summary) record(now time.Time) audit.Record {
	r, m := s.failed.record, s.more
	r.EventID, r.Time, r.RequestID = audit.NewID(), now, s.first
	if s.scope != byCause {
		r.Name, r.Request, r.Resources, r.ErrorMessage, m = countedName, audit.Params{}, nil, "", more{}
	}
	if s.scope == byAccount {
		r.Identity = audit.Identity{Type: audit.Unknown, Account: r.Identity.Account}
		r.SourceIP, r.UserAgent = "", ""
	}
	if m.decision != nil {
		own := *m.decision // fit may shorten it
		m.decision = &own
	}
	m.counted = &s.counted
	fit(&r, &m)
	return r
}

// params returns the member of additionalEventData that has the number of requests.
func (c *counted) params() (p audit.Params) {
	p.Int("requests", c.requests)
	p.String("scope", string(c.scope))
	p.String("from", c.from.UTC().Format(time.RFC3339))
	p.String("to", c.to.UTC().Format(time.RFC3339))
	p.String("firstRequestID", c.first)
	p.String("lastRequestID", c.last)
	return p
}

// Run writes the lines of counted requests when their period has ended, until ctx ends, and then those of all periods.
func (t *Trail) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.summarize(t.counts.ended(t.now(), false))
		case <-ctx.Done():
			t.summarize(t.counts.ended(t.now(), true))
			return
		}
	}
}

func (t *Trail) summarize(due []*summary) {
	for _, s := range due {
		r := s.record(t.now())
		t.log.Append(s.stranger, &r, s.accounts...)
	}
}

// Representative returns the id of a request that has a line and failed for the same reason as the given request, which has been
// counted and has no line; "" if none is known. Only the last 8,192 counted requests are known.
func (t *Trail) Representative(request string) string { return t.counts.representative(request) }
