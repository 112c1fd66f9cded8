package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/netip"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// ConsoleIdle is how long a session of a browser lasts without a request, and ConsoleLife how long in any case.
const (
	ConsoleIdle = time.Hour
	ConsoleLife = 12 * time.Hour
)

// The limits of sessions of browsers.
const (
	maxConsoleSessions = 20          // of one principal
	maxAgent           = 200         // characters that are kept of what a browser says it is
	consoleNoted       = time.Minute // a use is stored when the stored one is older
)

// ConsoleSession is a session of a browser.
type ConsoleSession struct {
	meta.ConsoleSession
	Caller Caller // who does the requests now
	Base   Caller // who signed in; Caller, unless the user has switched to a role
}

// proofOf returns a MAC of the hash of a password, by which a session ends when the password changes.
func (s *Service) proofOf(hash string) string {
	return hex.EncodeToString(s.keys.MAC("password of a console session", []byte(hash))[:16])
}

// BeginConsole begins a session of a browser for a caller, who has just been authenticated by an access key or a password, and returns the
// value of its cookie, which has 43 characters of A-Z a-z 0-9 _ -. The session ends after ConsoleIdle without a request, after ConsoleLife,
// and when the access key, the password, the user or the role ends. Of the sessions of a principal the one that was not used for longest
// makes room.
//
// Errors: fault.AccessDenied (the operator and customers have no console; the password has changed).
func (s *Service) BeginConsole(ctx context.Context, by Caller, from netip.Addr, agent string) (cookie secret.String, err error) {
	switch by.Kind {
	case Root, User, RoleSession, FederatedUser:
	default:
		return secret.String{}, fault.AccessDenied.New("the console is for users, roles and root users of accounts")
	}
	value, id := make([]byte, 32), make([]byte, 6)
	rand.Read(value)
	rand.Read(id)
	text := base64.RawURLEncoding.EncodeToString(value)
	now := s.now()
	c := meta.ConsoleSession{Hash: hashOfCookie(text), ID: hex.EncodeToString(id), Principal: by.Principal, AccessKey: by.AccessKey,
		CreatedAt: now, UsedAt: now, EndsAt: now.Add(ConsoleLife), Address: from.String(), Agent: clipped(agent, maxAgent)}
	if by.AccessKey == "" {
		p, err := s.meta.LoginProfile(ctx, by.Principal)
		if gone(err) {
			return secret.String{}, wrongPassword().Because(err)
		}
		if err != nil {
			return secret.String{}, err
		}
		c.Proof = s.proofOf(p.Hash)
	}
	return secret.New(text), s.meta.PutConsoleSession(ctx, c, maxConsoleSessions)
}

func hashOfCookie(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// clipped returns the printable ASCII characters of a text, at most n.
func clipped(text string, n int) string {
	out := make([]byte, 0, n)
	for i := 0; i < len(text) && len(out) < n; i++ {
		if c := text[i]; c >= ' ' && c < 0x7f {
			out = append(out, c)
		}
	}
	return string(out)
}

// Console returns the session of a cookie, and records its use.
//
// Errors: fault.ExpiredCredentials (there is no such session, or it has ended; a role that the user has switched to leaves without an
// error).
func (s *Service) Console(ctx context.Context, cookie string) (ConsoleSession, error) {
	ended := func(why string, err error) (ConsoleSession, error) {
		return ConsoleSession{}, fault.ExpiredCredentials.New("the session has ended: %s", why).Because(err)
	}
	if len(cookie) != base64.RawURLEncoding.EncodedLen(32) {
		return ended("sign in", nil)
	}
	row, err := s.meta.ConsoleSession(ctx, hashOfCookie(cookie))
	if errors.Is(err, fault.ObjectNotFound) {
		return ended("sign in again", err)
	}
	if err != nil {
		return ConsoleSession{}, err
	}
	now := s.now()
	if !now.Before(row.EndsAt) || !now.Before(row.UsedAt.Add(ConsoleIdle)) {
		return ended("it was not used for an hour, or is twelve hours old", nil)
	}
	c := ConsoleSession{ConsoleSession: row}
	if row.AccessKey != "" {
		c.Base, err = s.keyCaller(ctx, row.AccessKey, true)
	} else {
		c.Base, err = s.callerByPassword(ctx, row)
	}
	switch {
	case gone(err), errors.Is(err, errInactive), errors.Is(err, fault.AccessKeyNotFound):
		return ended("its key, password, user or role is not valid any more", err)
	case err != nil:
		return ConsoleSession{}, err
	case c.Base.Principal != row.Principal:
		return ended("it was begun by another principal", nil)
	}
	c.Caller = c.Base
	if row.Switched != "" {
		role, err := s.keyCaller(ctx, row.Switched, true)
		switch {
		case gone(err), errors.Is(err, errInactive), errors.Is(err, fault.AccessKeyNotFound):
			c.Switched = ""
		case err != nil:
			return ConsoleSession{}, err
		default:
			c.Caller = role
		}
	}
	if now.Sub(row.UsedAt) >= consoleNoted {
		return c, s.meta.ConsoleSessionUsed(ctx, row.Hash, now)
	}
	return c, nil
}

// callerByPassword returns the user of a session that was begun by a password which has not changed. Errors: as of an entity that is gone.
func (s *Service) callerByPassword(ctx context.Context, row meta.ConsoleSession) (Caller, error) {
	p, err := s.meta.LoginProfile(ctx, row.Principal)
	if err != nil {
		return Caller{}, err
	}
	if s.proofOf(p.Hash) != row.Proof {
		return Caller{}, errInactive
	}
	return s.callerOf(ctx, row.Principal, "")
}

// SwitchConsole lets the requests of a session be done by the role whose session has an access key; "" goes back to who signed in.
//
// Errors: fault.ObjectNotFound (the session has ended).
func (s *Service) SwitchConsole(ctx context.Context, c ConsoleSession, accessKey string) error {
	return s.meta.SwitchConsoleSession(ctx, c.Hash, accessKey)
}

// EndConsole ends a session of the principal who has signed in, by the id that lists show. Errors: fault.ObjectNotFound.
func (s *Service) EndConsole(ctx context.Context, by ConsoleSession, id string) error {
	return s.meta.DeleteConsoleSession(ctx, by.Principal, id)
}

// Consoles returns the sessions of the principal who has signed in that have not ended by their time, the last used first.
func (s *Service) Consoles(ctx context.Context, by ConsoleSession) (all []ConsoleSession, err error) {
	rows, err := s.ConsoleSessions(ctx, by.Principal)
	for _, c := range rows {
		all = append(all, ConsoleSession{ConsoleSession: c, Caller: by.Caller, Base: by.Base})
	}
	return all, err
}

// ConsoleSessions returns the sessions of a principal, by its unique id or the digits of an account, that have not ended by their time, the
// last used first.
func (s *Service) ConsoleSessions(ctx context.Context, principal string) (all []meta.ConsoleSession, err error) {
	rows, err := s.meta.ConsoleSessions(ctx, principal)
	now := s.now()
	for _, c := range rows {
		if now.Before(c.EndsAt) && now.Before(c.UsedAt.Add(ConsoleIdle)) {
			all = append(all, c)
		}
	}
	return all, err
}

// SignedInBy returns by what a session was begun: the id of an access key, or "password".
func SignedInBy(c meta.ConsoleSession) string {
	if c.AccessKey != "" {
		return c.AccessKey
	}
	return "password"
}

// ConsoleMAC returns a MAC of data for the session of a cookie, in hexadecimal digits: proof that a form was sent to this browser.
func (s *Service) ConsoleMAC(c ConsoleSession, data string) string {
	return hex.EncodeToString(s.keys.MAC("form of a console", []byte(c.Hash+" "+data))[:16])
}

// SignOnMAC returns a MAC of data of a sign-in at an identity provider, in 64 hexadecimal digits.
func (s *Service) SignOnMAC(data string) string {
	return hex.EncodeToString(s.keys.MAC("single sign-on of the console", []byte(data)))
}
