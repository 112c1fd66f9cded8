package identity_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// begun begins a session and returns its cookie.
func (w *fixture) begun(t *testing.T, by identity.Caller) string {
	t.Helper()
	cookie, err := w.BeginConsole(t.Context(), by, desk, "browser\x1b[2J "+strings.Repeat("x", 500))
	if err != nil {
		t.Fatal(err)
	}
	return cookie.Reveal()
}

// ended fails the test unless a session has ended.
func (w *fixture) ended(t *testing.T, cookie, why string) {
	t.Helper()
	if _, err := w.Console(t.Context(), cookie); !errors.Is(err, fault.ExpiredCredentials) {
		t.Errorf("%s: got %v, want the end of the session", why, err)
	}
}

// A session lasts an hour from its last use and twelve hours in all, and what the browser says of itself is kept as printable text.
func TestConsoleSessionEndsByTime(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	root := w.root(t, home)
	cookie := w.begun(t, root)
	for n := range 14 { // used each 50 minutes
		c, err := w.Console(t.Context(), cookie)
		if err != nil {
			t.Fatalf("the use %d: got %+v, %v", n, c, err)
		}
		if c.Caller != root || c.Base != root || strings.ContainsRune(c.Agent, 0x1b) || len(c.Agent) != 200 || c.Address != desk.String() {
			t.Fatalf("got the session %+v of %+v", c, c.Caller)
		}
		w.at = w.at.Add(50 * time.Minute)
	}
	if _, err := w.Console(t.Context(), cookie); err != nil {
		t.Errorf("after 11 h 40 min: %v", err)
	}
	w.at = w.at.Add(19 * time.Minute)
	if _, err := w.Console(t.Context(), cookie); err != nil {
		t.Errorf("after 11 h 59 min: %v", err)
	}
	w.at = w.at.Add(time.Minute)
	w.ended(t, cookie, "after twelve hours")

	idle := w.begun(t, root)
	w.at = w.at.Add(identity.ConsoleIdle)
	w.ended(t, idle, "after an hour without a use")
	for _, wrong := range []string{"", "x", strings.Repeat("A", 43), cookie[:42], cookie + "A"} {
		w.ended(t, wrong, "the cookie "+wrong)
	}
}

// A session ends at once with the access key, the user, the password, and by its end.
func TestConsoleSessionEndsWithWhatItIsFrom(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	user, key := w.person(t, 1)
	caller, err := w.KeyCaller(t.Context(), key.ID)
	must(t, err)
	byKey := w.begun(t, caller)
	if c, err := w.Console(t.Context(), byKey); err != nil || c.Caller.Principal != user.ID {
		t.Fatalf("got %+v, %v", c, err)
	}
	must(t, w.meta.SetAccessKeyActive(t.Context(), key.ID, false))
	w.ended(t, byKey, "the key is inactive")
	must(t, w.meta.SetAccessKeyActive(t.Context(), key.ID, true))
	if _, err := w.Console(t.Context(), byKey); err != nil {
		t.Errorf("the key is active again: %v", err)
	}
	must(t, w.meta.DeleteAccessKey(t.Context(), key.ID))
	w.ended(t, byKey, "the key was deleted")

	ann := w.user(t, "ann", w.hashed(t))
	in, err := w.SignIn(t.Context(), other, "ann", password, desk)
	must(t, err)
	byPassword, second := w.begun(t, in.Caller), w.begun(t, in.Caller)
	c, err := w.Console(t.Context(), byPassword)
	must(t, err)
	all, err := w.Consoles(t.Context(), c)
	if err != nil || len(all) != 2 || !slices.ContainsFunc(all, func(o identity.ConsoleSession) bool { return o.ID == c.ID }) {
		t.Errorf("got the sessions %+v, %v", all, err)
	}
	must(t, w.EndConsole(t.Context(), c, c.ID))
	w.ended(t, byPassword, "it was ended")
	must(t, w.meta.UpdateLoginProfile(t.Context(), ann.ID, "", "$another", nil))
	w.ended(t, second, "the password has changed")
	if _, err := w.BeginConsole(t.Context(), identity.Caller{Kind: identity.Operator}, desk, ""); !errors.Is(err, fault.AccessDenied) {
		t.Errorf("the operator: got %v, want no session", err)
	}
}

// Sessions of a principal are bounded: the one that was not used for longest makes room, and no session of another principal does.
func TestConsoleSessionsAreBounded(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	others := w.begun(t, w.root(t, other))
	first := w.begun(t, w.root(t, home))
	var last string
	for range 20 {
		w.at = w.at.Add(time.Second)
		last = w.begun(t, w.root(t, home))
	}
	w.ended(t, first, "of 21 sessions the first")
	for _, cookie := range []string{others, last} {
		if _, err := w.Console(t.Context(), cookie); err != nil {
			t.Error(err)
		}
	}
}

// A session acts by the role it was switched to until that ends, and then as before.
func TestConsoleSwitchesRole(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	root := w.root(t, home)
	_, role := w.member(t, 7)
	cookie := w.begun(t, root)
	c, err := w.Console(t.Context(), cookie)
	must(t, err)
	given, err := w.IssueSession(t.Context(), root, meta.Session{Account: home, Kind: meta.RoleSession, Principal: role.ID, Name: "x"},
		15*time.Minute)
	must(t, err)
	must(t, w.SwitchConsole(t.Context(), c, given.AccessKey))
	if c, err = w.Console(t.Context(), cookie); err != nil || c.Caller.Principal != role.ID || c.Base != root ||
		c.Caller.SessionKey != given.AccessKey {
		t.Errorf("got %+v, %v, want the role", c.Caller, err)
	}
	w.at = w.at.Add(15 * time.Minute)
	if c, err = w.Console(t.Context(), cookie); err != nil || c.Caller != root || c.Switched != "" {
		t.Errorf("after the session of the role: got %+v, %v, want who signed in", c.Caller, err)
	}
}
