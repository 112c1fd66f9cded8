package credential_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// clock is a clock that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// issuer gives tokens of 12 hours.
type issuer struct {
	clock *clock
	life  time.Duration

	mu    sync.Mutex
	given int
	err   error
}

func (s *issuer) Credential(_ context.Context, host string) (credential.Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given++
	if s.err != nil {
		return credential.Credential{}, s.err
	}
	now := s.clock.now()
	return credential.Credential{Host: host, Username: "AWS", Password: secret.New(fmt.Sprint("p", s.given)), From: now,
		ExpiresAt: now.Add(s.life)}, nil
}

func (s *issuer) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given
}

func (s *issuer) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func newCache(dir string, s *issuer) *credential.Cache {
	return &credential.Cache{Dir: dir, Source: s, Now: s.clock.now, Key: func(host string) string { return "key-" + host }}
}

// TestCacheTwelveHours: a token is used for six hours, a further one then. When the other side fails, the older one is used as long as it
// lives; when it refuses, it is not.
func TestCacheTwelveHours(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ecrin")
	s := &issuer{clock: newClock(), life: 12 * time.Hour}
	get := func(want string, wantErr error) {
		t.Helper()
		c, err := newCache(dir, s).Credential(t.Context(), "a.b") // each call as another process
		if got := c.Password.Reveal(); err == nil && got != want || !errors.Is(err, wantErr) {
			t.Errorf("after %s and %d calls: got %q, %v, want %q, %v", s.clock.now().Format(time.TimeOnly), s.calls(), got, err, want, wantErr)
		}
	}
	get("p1", nil)
	s.clock.move(6*time.Hour - time.Second)
	get("p1", nil)
	s.clock.move(2 * time.Second)
	get("p2", nil)
	away := &credential.CallError{Operation: "GetAuthorizationToken", Host: "a.b", Message: "dial tcp: i/o timeout"}
	s.fail(away)
	s.clock.move(7 * time.Hour)
	get("p2", nil)
	calls := s.calls()
	get("p2", nil)
	if s.calls() != calls {
		t.Errorf("right after a failure: got %d further calls, want none", s.calls()-calls)
	}
	s.clock.move(5 * time.Hour)
	get("", away)
	s.fail(nil)
	get(fmt.Sprint("p", s.calls()+1), nil)
	refused := &credential.CallError{Operation: "AssumeRole", Host: "a.b", Code: "AccessDenied",
		Err: &smithy.GenericAPIError{Code: "AccessDenied"}}
	s.fail(refused)
	s.clock.move(7 * time.Hour)
	get("", refused)
	s.fail(away)
	get("", away) // the refused one is not used any more
	s.fail(nil)
	get(fmt.Sprint("p", s.calls()+1), nil)
	s.clock.move(-time.Hour) // before the token was got
	get(fmt.Sprint("p", s.calls()+1), nil)
}

// TestCacheFiles: files are of the user alone, those that others may read are not used, and ended ones are removed.
func TestCacheFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ecrin")
	s := &issuer{clock: newClock(), life: 12 * time.Hour}
	c := newCache(dir, s)
	get := func(host string) string {
		t.Helper()
		one, err := c.Credential(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		return one.Password.Reveal()
	}
	get("a.b")
	path := filepath.Join(dir, "key-a.b.token.json")
	for file, want := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want the mode %o", file, info.Mode(), err, want)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := get("a.b"); got != "p2" {
		t.Errorf("a file that others can read: got %s from it, want a new token", got)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := get("a.b"); got != "p3" {
		t.Errorf("a broken file: got %s, want a new token", got)
	}
	if got := c.Hosts(); len(got) != 1 || got[0] != "a.b" {
		t.Errorf("Hosts: got %v, want a.b", got)
	}
	s.clock.move(13 * time.Hour)
	get("c.d")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file of a token that has ended: got %v, want none", err)
	}
	c.Forget("c.d")
	if got := c.Hosts(); len(got) != 0 {
		t.Errorf("after Forget: got %v", got)
	}
	s.fail(credential.ErrNone)
	if _, err := c.Credential(t.Context(), "e.f"); !errors.Is(err, credential.ErrNone) {
		t.Errorf("got %v, want ErrNone", err)
	}
	if left, _ := filepath.Glob(dir + "/*e.f*"); len(left) > 0 {
		t.Errorf("a host without credentials leaves %v", left)
	}
}

// TestCacheManyProcesses: processes that want the same token at the same time get one.
func TestCacheManyProcesses(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ecrin")
	s := &issuer{clock: newClock(), life: 12 * time.Hour}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			c, err := newCache(dir, s).Credential(t.Context(), "a.b")
			if got := c.Password.Reveal(); err != nil || got != "p1" {
				t.Errorf("got %q, %v, want p1", got, err)
			}
		})
	}
	all.Wait()
	if got := s.calls(); got != 1 {
		t.Errorf("got %d calls for 20 processes, want 1", got)
	}
}

// TestCacheWithoutFolder: a cache that cannot be written costs a call, and nothing else.
func TestCacheWithoutFolder(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", credential.CacheOff, filepath.Join(file, "x")} {
		s := &issuer{clock: newClock(), life: 12 * time.Hour}
		for i := range 2 {
			if c, err := newCache(dir, s).Credential(t.Context(), "a.b"); err != nil || c.Password.Reveal() != fmt.Sprint("p", i+1) {
				t.Errorf("%q: got %v, %v", dir, c, err)
			}
		}
	}
}
