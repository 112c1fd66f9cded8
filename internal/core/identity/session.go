package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

const sessionContext = "session token v1"

// Credentials are temporary credentials of STS.
type Credentials struct {
	AccessKey string
	Secret    secret.String
	Token     secret.String // only A-Z a-z 0-9 _ -
	ExpiresAt time.Time
}

// IssueSession stores the session v and returns its credentials. by is the caller that asked for it. It sets the AccessKey,
// SealedSecret and IssuedAt of v, and its ExpiresAt to the time life after now, in whole seconds.
//
// Errors: fault.AccountNotFound, fault.QuotaExceeded (by has too many sessions).
func (s *Service) IssueSession(ctx context.Context, by Caller, v meta.Session, life time.Duration) (Credentials, error) {
	k := s.newKey("ASIA", v.Account, v.Principal)
	v.AccessKey, v.SealedSecret = k.ID, k.SealedSecret
	v.IssuedAt = k.CreatedAt
	v.ExpiresAt = k.CreatedAt.Add(life).Truncate(time.Second)
	token := base64.RawURLEncoding.EncodeToString(sealWith(s.keys.session, []byte(k.ID), sessionContext))
	return Credentials{AccessKey: k.ID, Secret: k.Secret, Token: secret.New(token), ExpiresAt: v.ExpiresAt},
		s.meta.PutSession(ctx, v, meta.Quota{Key: by.LimitKey(), Max: s.maxSessions})
}

// unarmored decodes base64 and accepts only one spelling of the same bytes. The library's decoder ignores line ends,
// and verified tokens are cached by their text: with several spellings, one token could fill the cache.
func unarmored(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("a line end in a token")
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// openSessionToken returns the id of the access key to which a session token belongs.
func (s *Service) openSessionToken(token string) (string, error) {
	s.mu.RLock()
	key, ok := s.sessions[token]
	s.mu.RUnlock()
	if ok {
		return key, nil
	}
	sealed, err := unarmored(token)
	if err != nil {
		return "", err
	}
	text, err := s.keys.openHeld(s.keys.session, sessionPurpose, sealed, sessionContext, s.now())
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) >= 4096 {
		clear(s.sessions)
	}
	s.sessions[token] = string(text)
	return string(text), nil
}

// Session returns the session of a caller, or the zero Session if the caller has long-term credentials.
// Errors: fault.AccessKeyNotFound (the session was deleted).
func (s *Service) Session(ctx context.Context, c Caller) (meta.Session, error) {
	if c.SessionKey == "" {
		return meta.Session{}, nil
	}
	return s.meta.Session(ctx, c.SessionKey)
}

// Seal encrypts and authenticates plain for a purpose and returns it as text. Only Open, of the same installation and
// with the same purpose, can read it.
func (s *Service) Seal(purpose string, plain []byte) string {
	return base64.RawURLEncoding.EncodeToString(sealWith(s.keys.message, plain, purpose))
}

// Open returns the plain value of a text that Seal made for the same purpose. Any other text is an error.
func (s *Service) Open(purpose, text string) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	return openWith(s.keys.message, sealed, purpose)
}

// usage collects the last uses of keys and roles until FlushUsed stores them.
type usage struct {
	mu          sync.Mutex
	keys, roles map[string]meta.Use
	tokens      map[tokenOf]meta.CustomerTokenUse // with the ids of licences
}

// tokenOf is a token of a customer or, without a name, the id of its licence.
type tokenOf struct{ customer, name string }

// takeTokens returns the uses of tokens of customers that are not stored, and begins anew.
func (u *usage) takeTokens() map[tokenOf]meta.CustomerTokenUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	tokens := u.tokens
	u.tokens = nil
	return tokens
}

// noteToken notes a use of a token of a customer, unless there is a later one.
func (u *usage) noteToken(use meta.CustomerTokenUse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tokens == nil {
		u.tokens = map[tokenOf]meta.CustomerTokenUse{}
	}
	key := tokenOf{use.Customer, use.Name}
	if have, ok := u.tokens[key]; !ok || have.At.Before(use.At) {
		u.tokens[key] = use
	}
}

// CustomerUsed notes that a customer has used its token, or the id of its licence, from an address. FlushUsed stores it.
func (s *Service) CustomerUsed(c Caller, address string) {
	if c.Kind == Customer {
		s.used.noteToken(meta.CustomerTokenUse{Customer: c.UserID, Name: c.Token, At: s.now(), Address: address})
	}
}

// flushTokens stores when tokens of customers were last used. What could not be stored is kept for the next call.
func (s *Service) flushTokens(ctx context.Context) error {
	tokens := s.used.takeTokens()
	if len(tokens) == 0 {
		return nil
	}
	err := s.meta.CustomerTokensUsed(ctx, slices.Collect(maps.Values(tokens)))
	if err != nil {
		for _, use := range tokens {
			s.used.noteToken(use)
		}
	}
	return err
}

func (u *usage) note(c Caller, region, service string, at time.Time) {
	use := meta.Use{At: at, Region: region, Service: service}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.keys == nil {
		u.keys, u.roles = map[string]meta.Use{}, map[string]meta.Use{}
	}
	switch {
	case c.Kind == RoleSession:
		u.roles[c.Principal] = use
	case c.SessionKey == "" && c.Kind != Operator:
		u.keys[c.AccessKey] = use
	}
}

func (u *usage) take() (keys, roles map[string]meta.Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	keys, roles, u.keys, u.roles = u.keys, u.roles, nil, nil
	return keys, roles
}

// keep keeps uses that could not be stored for the next attempt, unless there are later ones.
func (u *usage) keep(keys, roles map[string]meta.Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.keys == nil {
		u.keys, u.roles = map[string]meta.Use{}, map[string]meta.Use{}
	}
	for _, m := range []struct{ to, from map[string]meta.Use }{{u.keys, keys}, {u.roles, roles}} {
		for id, use := range m.from {
			if _, later := m.to[id]; !later {
				m.to[id] = use
			}
		}
	}
}

// FlushUsed stores when keys, roles and tokens of customers were last used. What could not be stored is kept for the next call.
func (s *Service) FlushUsed(ctx context.Context) error {
	failed := s.flushTokens(ctx)
	keys, roles := s.used.take()
	if len(keys)+len(roles) == 0 {
		return failed
	}
	err := s.meta.SetUsed(ctx, keys, roles)
	if err != nil {
		s.used.keep(keys, roles)
	}
	return errors.Join(failed, err)
}

const (
	usedFlush = 2 * time.Second
	// expirySweep is the time between two sweeps of expired tokens and sessions. The first one is at the start.
	expirySweep = 10 * time.Minute
	// maxExpired limits the rows of a table that one transaction of a sweep deletes.
	maxExpired = 500
)

// The kinds of background work of Run.
const (
	UseWork    = "key_use"
	ExpiryWork = "expired_rows"
)

// DeleteExpired deletes the tokens and sessions that have expired long ago, until none are left, in transactions of at most
// 500 rows between which other changes have their turn. It returns how many it deleted.
func (s *Service) DeleteExpired(ctx context.Context) (int, error) {
	now, all := s.now(), 0
	for {
		n, err := s.meta.DeleteExpired(ctx, now, maxExpired)
		if all += n; err != nil || n == 0 {
			return all, err
		}
	}
}

// AddWork adds to a runner that the last uses of keys and roles are stored every two seconds and when the server stops, and that
// DeleteExpired runs every ten minutes, in one process of the installation.
func (s *Service) AddWork(r *jobs.Runner) {
	r.AddTask(jobs.Task{Name: UseWork, What: "recording when access keys were used", Every: usedFlush, Run: s.FlushUsed, Stop: s.FlushUsed})
	r.Add(jobs.Kind{Name: ExpiryWork, What: "deleting expired tokens and sessions", Every: expirySweep, AtStart: true,
		Work: func(ctx context.Context, _ *jobs.Job) error {
			_, err := s.DeleteExpired(ctx)
			return err
		}})
}

// Issuer returns the ARN of the role, user or root user from which the session of a caller was made, and the caller's
// own ARN without a session. It returns "" if the subject of the caller cannot be read, such as after it was deleted.
func (s *Service) Issuer(ctx context.Context, c Caller) string {
	u, err := s.subject(ctx, c.Principal, c.SessionKey)
	switch {
	case err != nil:
		return ""
	case u.Policy.Issuer != "":
		return u.Policy.Issuer
	}
	return u.Caller.ARN
}
