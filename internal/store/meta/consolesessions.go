package meta

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// ConsoleSession is a session of a browser.
type ConsoleSession struct {
	Hash      string // SHA-256 of the value of the cookie, in hexadecimal digits
	ID        string // names the session in lists
	Principal string // unique id of the user or role, or the digits of an account
	AccessKey string // with which the session ends; "" for one that was begun by a password
	Proof     string // of the password by which it was begun; "" for one that was begun by an access key
	Switched  string // access key of the session of the role that the user has switched to; "" for none
	CreatedAt time.Time
	UsedAt    time.Time
	EndsAt    time.Time // at the latest
	Address   string    // of the client that began it
	Agent     string    // of the same client, as it says itself
}

const consoleColumns = `hash, id, principal, access_key, proof, switched, created_at, used_at, ends_at, address, agent`

func scanConsole(scan func(...any) error) (c ConsoleSession, err error) {
	var created, used, ends int64
	err = scan(&c.Hash, &c.ID, &c.Principal, &c.AccessKey, &c.Proof, &c.Switched, &created, &used, &ends, &c.Address, &c.Agent)
	c.CreatedAt, c.UsedAt, c.EndsAt = fromMicros(created), fromMicros(used), fromMicros(ends)
	return c, err
}

// PutConsoleSession stores a new session. Of a principal that has most of them, the one that was not used for longest ends.
func (s *Store) PutConsoleSession(ctx context.Context, c ConsoleSession, most int) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM console_sessions WHERE hash IN (SELECT hash FROM console_sessions WHERE principal = $1
			ORDER BY used_at DESC, hash DESC LIMIT 1000 OFFSET $2)`, c.Principal, max(0, most-1))
		if err == nil {
			_, err = t.exec(`INSERT INTO console_sessions (`+consoleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
				c.Hash, c.ID, c.Principal, c.AccessKey, c.Proof, c.Switched, micros(c.CreatedAt), micros(c.UsedAt), micros(c.EndsAt),
				c.Address, c.Agent)
		}
		return err
	})
}

// ConsoleSession returns a session by the hash of its cookie. Errors: fault.ObjectNotFound.
func (s *Store) ConsoleSession(ctx context.Context, hash string) (c ConsoleSession, err error) {
	found := false
	err = s.read.rows(ctx, `SELECT `+consoleColumns+` FROM console_sessions WHERE hash = $1`, args{hash}, func(scan func(...any) error) error {
		found = true
		c, err = scanConsole(scan)
		return err
	})
	if err == nil && !found {
		err = noConsoleSession()
	}
	return c, err
}

func noConsoleSession() error { return fault.ObjectNotFound.New("the session has ended") }

// ConsoleSessions returns the sessions of a principal, the last used first.
func (s *Store) ConsoleSessions(ctx context.Context, principal string) (all []ConsoleSession, err error) {
	err = s.read.rows(ctx, `SELECT `+consoleColumns+` FROM console_sessions WHERE principal = $1 ORDER BY used_at DESC, hash DESC`,
		args{principal},
		func(scan func(...any) error) error {
			c, err := scanConsole(scan)
			all = append(all, c)
			return err
		})
	return all, err
}

// ConsoleSessionUsed stores the last use of a session. One that has ended stays ended.
func (s *Store) ConsoleSessionUsed(ctx context.Context, hash string, at time.Time) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE console_sessions SET used_at = $2 WHERE hash = $1 AND used_at < $2`, hash, micros(at))
		return err
	})
}

// SwitchConsoleSession stores the access key of a session of a role, or "" for the end of that. Errors: fault.ObjectNotFound.
func (s *Store) SwitchConsoleSession(ctx context.Context, hash, accessKey string) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE console_sessions SET switched = $2 WHERE hash = $1`, hash, accessKey)
		if err == nil && n == 0 {
			err = noConsoleSession()
		}
		return err
	})
}

// DeleteConsoleSession ends a session of a principal. Errors: fault.ObjectNotFound.
func (s *Store) DeleteConsoleSession(ctx context.Context, principal, id string) error {
	return s.write.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM console_sessions WHERE principal = $1 AND id = $2`, principal, id)
		if err == nil && n == 0 {
			err = noConsoleSession()
		}
		return err
	})
}
