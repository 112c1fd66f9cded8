package meta

import (
	"context"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Quota limits the rows that one principal has in a table.
type Quota struct {
	Key string // of the principal: identity.Caller.LimitKey
	Max int    // number of rows; 0 for no limit
}

// The statements that count the rows of a key, up to a number. Expired tokens and sessions, which are kept for some hours, do
// not count.
const (
	uploadsOfPrincipal  = `SELECT COUNT(*) FROM (SELECT 1 FROM uploads WHERE limit_key = $1 LIMIT $2) q`
	uploadsOfRepository = `SELECT COUNT(*) FROM (SELECT 1 FROM uploads WHERE repository = $1 LIMIT $2) q`
	tokensOfPrincipal   = `SELECT COUNT(*) FROM (SELECT 1 FROM tokens WHERE limit_key = $1 AND expires_at > $3 LIMIT $2) q`
	sessionsOfPrincipal = `SELECT COUNT(*) FROM (SELECT 1 FROM sessions WHERE limit_key = $1 AND expires_at > $3 LIMIT $2) q`
)

// counted identifies the rows that a quota limits: a statement that counts them, and its key.
type counted struct {
	text string
	key  any
}

// limit is a quota of the rows of one key, with the error for one row too many.
type limit struct {
	counted
	max  int
	full error
	at   time.Time // only rows that expire later count; zero if the rows do not expire
}

// countedTo identifies a limit: different callers have different limits of the rows of one repository.
type countedTo struct {
	counted
	max int
}

func (l limit) countedTo() countedTo { return countedTo{l.counted, l.max} }

// fullKeys remembers the keys that were found to have no room, so that a principal that goes on regardless is refused
// without a write: the writer would count all its rows each time. The zero value is ready. Safe for concurrent use.
type fullKeys struct {
	mu    sync.Mutex
	until map[countedTo]time.Time
}

const (
	// maxRefusal is how long a key counts as full. It counts anew at once after this process has deleted rows.
	maxRefusal = time.Second
	// maxFull limits the keys that are remembered.
	maxFull = 4096
	// maxBounds limits the keys for which a transaction remembers a number of rows.
	maxBounds = 4096
)

// doWithin runs a write that inserts a row for which the limits must have room.
//
// Errors: fault.QuotaExceeded, and those of writer.do.
func (s *Store) doWithin(ctx context.Context, limits []limit, fn func(*tx) error) error {
	for _, l := range limits {
		if l.max > 0 && s.full.has(l.countedTo(), s.now()) {
			return l.full
		}
	}
	var full *limit
	err := s.write.do(ctx, func(t *tx) error {
		full = nil
		for i, l := range limits {
			room, err := t.hasRoom(l)
			if err != nil {
				return err
			}
			if !room {
				full = &limits[i]
				return l.full
			}
		}
		return fn(t)
	})
	if err != nil && full != nil {
		s.full.note(full.countedTo(), s.now().Add(maxRefusal))
	}
	return err
}

// hasRoom reports, inside the transaction, whether another row may be inserted. It counts the row as inserted.
//
// The only process of a database remembers how many rows a key has at most, expired ones included, and counts again only if
// that number reaches the limit: otherwise each of 10,000 insertions would count those before it.
func (t *tx) hasRoom(l limit) (bool, error) {
	if l.max <= 0 {
		return true, nil
	}
	if n, ok := t.bounds[l.counted]; ok && n < l.max {
		t.bounds[l.counted] = n + 1
		return true, nil
	}
	in := args{l.key, l.max}
	if !l.at.IsZero() {
		in = append(in, micros(l.at))
	}
	var n int
	if err := t.row(t.ctx, l.text, in, &n); err != nil {
		return false, err
	}
	if n >= l.max {
		return false, nil
	}
	if !t.remote { // the rows of other processes would be missing from the number
		if t.bounds == nil || len(t.bounds) >= maxBounds {
			t.bounds = map[counted]int{}
		}
		t.bounds[l.counted] = n + 1
	}
	return true, nil
}

func (q *fullKeys) has(c countedTo, at time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	until, ok := q.until[c]
	return ok && at.Before(until)
}

func (q *fullKeys) note(c countedTo, until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.until == nil || len(q.until) >= maxFull {
		q.until = map[countedTo]time.Time{}
	}
	q.until[c] = until
}

// clear forgets all keys. It is called after rows were deleted.
func (q *fullKeys) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.until = nil
}

// tooMany returns the error for a row beyond a quota.
func tooMany(format string, args ...any) error { return fault.QuotaExceeded.New(format, args...) }

// DeleteExpired deletes tokens and sessions of browsers that expired more than an hour before at, and sessions that expired more than 13
// hours before at: docker tokens that were issued for a session last up to 12 hours longer than it. It deletes at most limit rows of each
// in one transaction, the oldest first, and returns how many it deleted together. It returns 0 if there are none left.
func (s *Store) DeleteExpired(ctx context.Context, at time.Time, limit int) (int, error) {
	tokens, err := s.deleteExpired(ctx, scopeTokens,
		`DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, at.Add(-tokenKept), limit)
	if err != nil {
		return tokens, err
	}
	sessions, err := s.deleteExpired(ctx, scopeSessions,
		`DELETE FROM sessions WHERE access_key IN (SELECT access_key FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`,
		at.Add(-sessionKept), limit)
	if err != nil {
		return tokens + sessions, err
	}
	var consoles int64
	err = s.write.doMany(ctx, limit, func(t *tx) (err error) {
		consoles, err = t.exec(`DELETE FROM console_sessions WHERE hash IN (SELECT hash FROM console_sessions WHERE ends_at < $1
			ORDER BY ends_at LIMIT $2)`, micros(at.Add(-consoleKept)), limit)
		return err
	})
	return tokens + sessions + int(consoles), err
}

// How long tokens, sessions and sessions of browsers are kept after they have expired. The hour is for a clock that leaps
// forward and back.
const (
	tokenKept   = time.Hour
	sessionKept = 13 * time.Hour
	consoleKept = time.Hour
)

func (s *Store) deleteExpired(ctx context.Context, stale scopeKind, text string, before time.Time, limit int) (int, error) {
	var n int64
	err := s.write.doMany(ctx, limit, func(t *tx) (err error) {
		if n, err = t.exec(text, micros(before), limit); n > 0 {
			t.touch(scope{kind: stale})
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if n > 0 {
		s.full.clear()
	}
	return int(n), nil
}
