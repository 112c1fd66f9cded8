package identity_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// Tens of thousands of tokens and sessions that one principal asked for go in one sweep after they have expired. Those that
// are kept for a while after their end stay, and so do valid ones. The principal that asks for them is limited by its
// quota, and others are not.
func TestAllExpiredTokensAndSessionsGoInOneSweep(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	quota := slowtest.Rounds(640, 10_000)
	limited := identity.New(w.meta, w.ring, w.now, identity.Options{MaxTokens: quota, MaxSessions: quota})
	mallory, alice := w.root(t, other), w.root(t, home)
	of := func(c identity.Caller) meta.Session {
		return meta.Session{Account: c.Account, Kind: meta.UserSession, Principal: c.Principal}
	}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range quota / 64 {
				_, _, err1 := limited.IssueToken(t.Context(), mallory, east)
				_, err2 := limited.IssueSession(t.Context(), mallory, of(mallory), time.Hour)
				if err := errors.Join(err1, err2); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for {
		_, _, err1 := limited.IssueToken(t.Context(), mallory, east)
		_, err2 := limited.IssueSession(t.Context(), mallory, of(mallory), time.Hour)
		if err1 == nil || err2 == nil {
			continue
		}
		wantCode(t, "a token beyond the quota", err1, fault.QuotaExceeded)
		wantCode(t, "a session beyond the quota", err2, fault.QuotaExceeded)
		break
	}
	password := w.token(t, alice) // another principal of the same installation
	first, err := limited.IssueSession(t.Context(), alice, of(alice), time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	w.at = w.at.Add(13 * time.Hour) // all have expired, and are kept
	if n, err := w.DeleteExpired(t.Context()); err != nil || n != 0 {
		t.Errorf("a sweep an hour after the tokens have expired: got %d, %v, want 0", n, err)
	}
	w.at = w.at.Add(time.Minute)
	if n, err := w.DeleteExpired(t.Context()); err != nil || n != quota+1 {
		t.Errorf("the sweep of the tokens deleted %d rows (%v), want %d: sessions stay until no token of theirs is left", n, err, quota+1)
	}
	w.at = w.at.Add(time.Hour)
	valid := w.token(t, alice)
	if n, err := w.DeleteExpired(t.Context()); err != nil || n != quota+1 {
		t.Errorf("the sweep of the sessions deleted %d rows (%v), want %d", n, err, quota+1)
	}
	if n, err := w.DeleteExpired(t.Context()); err != nil || n != 0 {
		t.Errorf("a second sweep deleted %d rows (%v), want 0", n, err)
	}
	if _, err := w.TokenCaller(t.Context(), password, east); !errors.Is(err, fault.ExpiredCredentials) {
		t.Errorf("a token after the sweep: got %v, want ExpiredCredentials", err)
	}
	if _, err := w.meta.Session(t.Context(), first.AccessKey); !errors.Is(err, fault.AccessKeyNotFound) {
		t.Errorf("a session after the sweep: got %v, want AccessKeyNotFound", err)
	}
	if _, err := w.TokenCaller(t.Context(), valid, east); err != nil {
		t.Errorf("a valid token after the sweep: %v", err)
	}
	if _, _, err := limited.IssueToken(t.Context(), mallory, east); err != nil {
		t.Errorf("a token after the expired ones were deleted: %v", err)
	}
}

// A docker password that was issued at the end of a session is valid for its 12 hours: the session is kept as long.
func TestSessionIsKeptForItsTokens(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	alice := w.root(t, home)
	session, err := w.IssueSession(t.Context(), alice, meta.Session{Account: home, Kind: meta.UserSession, Principal: alice.Principal},
		time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.at = w.at.Add(time.Hour - time.Second)
	caller, err := w.KeyCaller(t.Context(), session.AccessKey)
	if err != nil {
		t.Fatal(err)
	}
	password := w.token(t, caller)
	for _, after := range []time.Duration{2 * time.Second, 6 * time.Hour, 6*time.Hour - 4*time.Second} {
		w.at = w.at.Add(after)
		if _, err := w.DeleteExpired(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.TokenCaller(t.Context(), password, east); err != nil {
			t.Errorf("the password at %v, while its session has expired: %v", w.at, err)
		}
	}
	w.at = w.at.Add(time.Hour + time.Minute)
	if _, err := w.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.meta.Session(t.Context(), session.AccessKey); !errors.Is(err, fault.AccessKeyNotFound) {
		t.Errorf("the session after the last password has ended: got %v, want AccessKeyNotFound", err)
	}
}
