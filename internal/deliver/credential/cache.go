package credential

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Cache keeps the credentials of a source in files, which the processes of a user share: one gets a token, and the others wait for it.
// Credentials are used until [Credential.RenewAt]. It is safe for concurrent use.
//
// While the other side fails, a credential that has not ended is used further; a refusal of it is reported. Failures of the cache itself
// are not: without it, each process gets its own token.
type Cache struct {
	Dir    string // mode 0700; [CacheOff] and "" for no cache
	Source Source
	Key    func(host string) string // what determines a credential, as a hash, such as [AWS.Key]; "" if it must not be kept
	Now    func() time.Time         // nil means time.Now
	Log    func(format string, args ...any)
}

const (
	maxEntry    = 64 << 10         // bytes of a file
	maxLockWait = 30 * time.Second // for another process that gets a token; then this one gets its own
	lockPoll    = 20 * time.Millisecond
	retryAfter  = time.Minute      // after a failure, while an older credential is used
	endMargin   = 30 * time.Second // a credential that ends sooner counts as ended
)

// entry is the content of a file of the cache.
type entry struct {
	Host      string    `json:"host"`
	Username  string    `json:"username"`
	Password  string    `json:"password"`
	From      time.Time `json:"from"`
	ExpiresAt time.Time `json:"expiresAt"`
	FailedAt  time.Time `json:"failedAt,omitzero"` // of the last attempt to renew it
}

func (e *entry) credential() Credential {
	return Credential{Host: e.Host, Username: e.Username, Password: secret.New(e.Password), From: e.From, ExpiresAt: e.ExpiresAt}
}

// fresh reports whether a credential needs no renewal. One that was got in the future does: the clock was moved.
func (e *entry) fresh(now time.Time) bool {
	return e.Password != "" && !now.Before(e.From) && now.Before(e.credential().RenewAt())
}

// alive reports whether a credential can still be used.
func (e *entry) alive(now time.Time) bool {
	return e.Password != "" && !now.Before(e.From) && now.Add(endMargin).Before(e.ExpiresAt)
}

// Credential returns the credentials that are kept for a host, or new ones.
//
// Errors: those of the source.
func (c *Cache) Credential(ctx context.Context, host string) (Credential, error) {
	key := ""
	if c.Dir != "" && c.Dir != CacheOff {
		key = c.Key(host)
	}
	if key == "" {
		return c.Source.Credential(ctx, host)
	}
	path := filepath.Join(c.Dir, key+entrySuffix)
	if e := c.read(path, host); e.fresh(c.now()) {
		return e.credential(), nil
	}
	unlock := c.lock(ctx, filepath.Join(c.Dir, key+".lock"))
	defer unlock()
	now := c.now()
	e := c.read(path, host) // another process may have got one
	if e.fresh(now) || e.alive(now) && !e.FailedAt.IsZero() && now.Sub(e.FailedAt).Abs() < retryAfter {
		return e.credential(), nil
	}
	got, err := c.Source.Credential(ctx, host)
	switch {
	case err == nil && !got.ExpiresAt.IsZero():
		c.write(path, &entry{Host: host, Username: got.Username, Password: got.Password.Reveal(), From: got.From, ExpiresAt: got.ExpiresAt})
	case err == nil:
	case errors.Is(err, ErrNone):
		_ = os.Remove(filepath.Join(c.Dir, key+".lock")) // there is nothing to keep for this host
	case Refused(err):
		_ = os.Remove(path) // if there is one: whose credentials are refused does not go on with the old token
	case e.alive(now):
		c.say("using the token for %s that ends at %s: %v", host, e.ExpiresAt.UTC().Format(time.RFC3339), err)
		e.FailedAt = now
		c.write(path, e)
		return e.credential(), nil
	}
	return got, err
}

// Forget removes what is kept for a host.
func (c *Cache) Forget(host string) {
	for path := range c.entries() {
		if e := c.read(path, host); e.Host == host {
			_ = os.Remove(path) // if another process has not removed it
		}
	}
}

// Hosts returns the hosts whose credentials are kept and have not ended.
func (c *Cache) Hosts() (hosts []string) {
	for path := range c.entries() {
		if e := c.read(path, ""); e.alive(c.now()) {
			hosts = append(hosts, e.Host)
		}
	}
	return hosts
}

const entrySuffix = ".token.json"

// entries yields the paths of the files of the cache.
func (c *Cache) entries() map[string]bool {
	found := map[string]bool{}
	if c.Dir == "" || c.Dir == CacheOff {
		return found
	}
	files, _ := os.ReadDir(c.Dir) // without the folder there are none
	for _, f := range files {
		if strings.HasSuffix(f.Name(), entrySuffix) {
			found[filepath.Join(c.Dir, f.Name())] = true
		}
	}
	return found
}

func (c *Cache) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

func (c *Cache) say(format string, args ...any) {
	if c.Log != nil {
		c.Log(format, args...)
	}
}

// read returns the entry of a host, or of any host for ""; an empty one if there is none. A file that others may read or write is not
// used.
func (c *Cache) read(path, host string) *entry {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return &entry{}
	}
	content, err := readLimited(path, maxEntry)
	var e entry
	if err != nil || json.Unmarshal(content, &e) != nil || host != "" && e.Host != host || e.Username == "" {
		return &entry{}
	}
	return &e
}

// write keeps an entry, and removes those that have ended.
func (c *Cache) write(path string, e *entry) {
	content, err := json.Marshal(e)
	if err == nil {
		err = durable.WriteFile(path, append(content, '\n'), 0o600)
	}
	if err != nil {
		c.say("the token is not kept: %v", err)
		return
	}
	for other := range c.entries() {
		if old := c.read(other, ""); other != path && !old.alive(c.now()) {
			_ = os.Remove(other)                                            // another process may have done it
			_ = os.Remove(strings.TrimSuffix(other, entrySuffix) + ".lock") // nobody waits for the lock of a token that has ended
		}
	}
}

// lock takes the lock of a file between processes, and returns how to release it. Without the lock in time, or in a folder that cannot be
// written, the caller goes on without it.
func (c *Cache) lock(ctx context.Context, path string) (unlock func()) {
	none := func() {}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		c.say("tokens are not kept: %v", err)
		return none
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		c.say("tokens are not kept: %v", err)
		return none
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for end := time.Now().Add(maxLockWait); ; {
		if err = durable.TryLock(f); err == nil {
			return func() { _ = errors.Join(durable.Unlock(f), f.Close()) } // the end of the process releases it too
		}
		if !errors.Is(err, durable.ErrLocked) || time.Now().After(end) {
			break
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	_ = f.Close() // nothing was written
	return none
}
