package trail

import (
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

	// The reasons of each party that are counted apart at once: of one principal at one owner, of one account, and in all. Requests beyond the
	// first limit are counted together for the principal and the owner, those beyond the others for the account and the owner.
	// If there are too many of these pairs too, all other requests are counted together, with a number for each account.
	maxReasonsOfPair      = 64
	maxReasonsOfAccount   = 256
	maxReasons            = 2048
	maxOverflowsOfAccount = 64
	maxOverflows          = 256

	// maxCountedIDs is how many of the last counted requests of each party can be explained by their ids.
	maxCountedIDs = 8192
)

// reason is why a request failed, and for whom.
type reason struct {
	account   name.Account // of the caller
	owner     name.Account // of the resource; zero if no account of this installation owns it
	principal string       // its unique id; "" for anonymous callers
	action    string
	code      string // errorCode
	resource  string // of refused credentials, the class of the refusal
	scope     scope
	party     party
}

// party is a group of callers. The requests of each are counted apart, so that no party can take the room of another.
type party uint8

const (
	insiders  party = iota // principals of the account that owns the resource, and the operator
	strangers              // principals of other accounts
	nobody                 // anyone: callers of no account, and refused credentials
	parties
)

// pair is a principal and the owner of the resources on which its requests failed.
type pair struct {
	principal string
	owner     name.Account
}

func (r *reason) pair() pair { return pair{r.principal, r.owner} }

// payer returns the account whose limits the reason counts against: that of the caller, or of the owner if the caller has none.
func (r *reason) payer() name.Account {
	if r.account == (name.Account{}) {
		return r.owner
	}
	return r.account
}

// wide reports whether the reason is that of requests that have failed for different reasons.
func (r *reason) wide() bool { return r.scope != byCause }

// scope is the set of requests that are counted together.
type scope string

const (
	byCause     scope = audit.CountedCause // of one principal, action, errorCode and resource
	byPrincipal scope = "principal"        // of one principal, on resources of one owner
	byAccount   scope = "account"          // of one account, on resources of one owner
	byNothing   scope = "accounts"         // of all accounts for which there is no other room; each has a number of its own
)

// counter counts the requests of one party that fail for each reason. It is safe for concurrent use.
type counter struct {
	mu        sync.Mutex
	reasons   map[reason]*entry
	overflows int                  // entries of the scopes other than byCause
	pairs     map[pair]int         // number of the reasons of each principal at each owner
	accounts  map[name.Account]int // by payer
	wide      map[name.Account]int // number of overflows, by payer

	ids     map[[16]byte]stand // by the id of a counted request
	recent  [][16]byte         // the keys of ids; a ring
	replace int                // the oldest of recent, when it is full
}

// stand is the request with a line that stands for a counted one.
type stand struct {
	request [16]byte
	wide    bool // it may have failed for another reason
}

// entry counts the requests of one reason in one period.
type entry struct {
	since   time.Time // of the first request
	seen    int       // requests with a line
	line    *failed   // the last of these lines; nil until it is made
	request string    // the id of its request
	counted counted
	shares  map[name.Account]*counted // instead of counted, of the scope byNothing: of each account that a request concerns
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
	accounts []string // whose trail has it
}

// take counts a request, and reports whether it has a line. If keep is not nil, the caller passes the line to keep. If the
// period of the reason has ended, due has the lines of its counted requests.
func (c *counter) take(why reason, request string, now time.Time) (write bool, keep func(*failed), due []*summary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reasons == nil {
		c.reasons, c.pairs = map[reason]*entry{}, map[pair]int{}
		c.accounts, c.wide = map[name.Account]int{}, map[name.Account]int{}
		c.ids = map[[16]byte]stand{}
	}
	r := c.room(why)
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
	if r.scope == byNothing {
		e.share(&why, request, now)
	} else {
		e.counted.add(r.scope, request, now)
	}
	c.remember(request, e.request, r.wide())
	return false, nil, due
}

func (n *counted) add(s scope, request string, now time.Time) {
	if n.requests == 0 {
		n.first, n.from, n.scope = request, now, s
	}
	n.requests++
	n.last, n.to = request, now
}

// share counts a request for each account that it concerns. There are no more numbers than accounts of the installation.
func (e *entry) share(why *reason, request string, now time.Time) {
	if e.shares == nil {
		e.shares = map[name.Account]*counted{}
	}
	for i, a := range []name.Account{why.owner, why.account} {
		if i == 1 && a == why.owner || a == (name.Account{}) && why.owner != why.account {
			continue
		}
		if e.shares[a] == nil {
			e.shares[a] = &counted{}
		}
		e.shares[a].add(byNothing, request, now)
	}
}

// room returns the reason by which a request is counted: r, or a wider one if there is no room for r. All but the last have an
// owner, so that a line that stands for several requests is in the trail of the owner of their resources.
func (c *counter) room(r reason) reason {
	r.scope = byCause
	payer, full := r.payer(), c.pairs[r.pair()] >= maxReasonsOfPair
	if c.reasons[r] != nil || !full && c.accounts[payer] < maxReasonsOfAccount && len(c.reasons)-c.overflows < maxReasons {
		return r
	}
	free := c.wide[payer] < maxOverflowsOfAccount
	wide := reason{account: r.account, owner: r.owner, principal: r.principal, party: r.party, scope: byPrincipal}
	if c.reasons[wide] != nil || full && free && c.overflows < maxOverflows/2 {
		return wide
	}
	wide.principal, wide.scope = "", byAccount
	if c.reasons[wide] != nil || free && c.overflows < maxOverflows-2 {
		return wide
	}
	return reason{party: r.party, scope: byNothing}
}

func (c *counter) add(r reason, e *entry) {
	c.reasons[r] = e
	if r.wide() {
		c.overflows++
		c.wide[r.payer()]++
		return
	}
	c.pairs[r.pair()]++
	c.accounts[r.payer()]++
}

func (c *counter) remove(r reason) {
	delete(c.reasons, r)
	if r.wide() {
		c.overflows--
		less(c.wide, r.payer())
		return
	}
	less(c.pairs, r.pair())
	less(c.accounts, r.payer())
}

// less takes one from a number of a map, which has no zeros.
func less[K comparable](of map[K]int, key K) {
	if of[key]--; of[key] == 0 {
		delete(of, key)
	}
}

// due returns the lines of the counted requests, none if none was counted.
func (e *entry) due() (all []*summary) {
	if e.line == nil {
		return nil
	}
	if e.counted.requests > 0 {
		all = append(all, &summary{e.line, e.counted, e.line.accounts})
	}
	for a, n := range e.shares {
		var trail []string
		if a != (name.Account{}) {
			trail = []string{a.String()}
		}
		all = append(all, &summary{e.line, *n, trail})
	}
	return all
}

// ended removes the entries whose period has ended, or with all every entry, and returns the lines of their counted requests.
func (c *counter) ended(now time.Time, all bool) (due []*summary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r, e := range c.reasons {
		if !all && now.Sub(e.since) < countPeriod {
			continue
		}
		due = append(due, e.due()...)
		c.remove(r)
	}
	return due
}

// remember keeps which request stands for a counted one.
func (c *counter) remember(request, by string, wide bool) {
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
	c.ids[id] = stand{to, wide}
}

// representative returns the request with a line for a counted request, "" if none is known, and whether both failed for the same
// reason.
func (c *counter) representative(request string) (of string, alike bool) {
	id, ok := parseRequestID(request)
	if !ok {
		return "", false
	}
	c.mu.Lock()
	to, ok := c.ids[id]
	c.mu.Unlock()
	if !ok {
		return "", false
	}
	return audit.ID(to.request).String(), !to.wide
}

func parseRequestID(s string) (id [16]byte, ok bool) {
	digits := strings.ReplaceAll(s, "-", "")
	if len(s) != 36 || len(digits) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(digits))
	return id, err == nil
}

// record returns the line. It has the content of the last of the requests with a line, as far as it is that of all.
func (s *summary) record(now time.Time) audit.Record {
	r, m := s.failed.record, s.more
	r.EventID, r.Time, r.RequestID = audit.NewID(), now, s.first
	if s.scope != byCause {
		r.Name, r.Request, r.Resources, r.ErrorMessage, m = audit.CountedTogether, audit.Params{}, nil, "", more{}
	}
	if s.scope == byAccount || s.scope == byNothing {
		r.Identity = audit.Identity{Type: audit.Unknown, Account: r.Identity.Account}
		r.SourceIP, r.UserAgent = "", ""
	}
	if s.scope == byNothing {
		r.Identity.Account, r.ErrorCode, r.Source, r.Region = "", "AccessDenied", "", ""
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

// SummaryWork is the kind of background work that calls Summarize, and SummarizeEvery the time between two calls.
const (
	SummaryWork    = "audit_summaries"
	SummarizeEvery = time.Second
)

// Summarize writes the lines of counted requests whose period has ended, and with all those of all periods.
func (t *Trail) Summarize(all bool) { t.summarize(t.ended(all)) }

// ended returns the lines of the counted requests of all parties; see counter.ended.
func (t *Trail) ended(all bool) (due []*summary) {
	for i := range t.counts {
		due = append(due, t.counts[i].ended(t.now(), all)...)
	}
	return due
}

func (t *Trail) summarize(due []*summary) {
	for _, s := range due {
		r := s.record(t.now())
		t.log.Append(s.stranger, &r, s.accounts...)
	}
}

// Representative returns the id of a request that has a line and stands for the given request, which has been counted and has no
// line; "" if none is known. alike reports whether both failed for the same reason, that is, have the same principal, action, error
// code and resource. Only the last 8,192 counted requests of each party are known.
func (t *Trail) Representative(request string) (of string, alike bool) {
	for i := 0; i < len(t.counts) && of == ""; i++ {
		of, alike = t.counts[i].representative(request)
	}
	return of, alike
}
