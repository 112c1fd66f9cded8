package identity

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// TokenLife is the lifetime of a docker token. Source: ECR user guide, private registry authentication.
const TokenLife = 12 * time.Hour

// claims is the content of a docker password, which is sealed. It contains no rights: each request looks up the caller.
type claims struct {
	ID      string `json:"i"`
	Account string `json:"a"`
	Region  string `json:"r"`
	Key     string `json:"k"`
	Issued  int64  `json:"t"` // Unix seconds
	Expires int64  `json:"e"`
}

// opened is the content of a docker password that was unsealed.
type opened struct{ claims }

const tokenContext = "docker token v1"

// IssueToken returns a docker password for the caller in a region, valid for TokenLife. It stores the id of the token,
// so that the token can be listed and revoked. The password has 150 to 400 characters of A-Z a-z 0-9 _ -.
//
// Errors: fault.AccountNotFound, fault.QuotaExceeded (the caller has too many tokens).
func (s *Service) IssueToken(ctx context.Context, c Caller, region name.Region) (password secret.String, expires time.Time, err error) {
	id := make([]byte, 8)
	rand.Read(id)
	now := s.now()
	expires = now.Add(TokenLife)
	text, err := json.Marshal(claims{hex.EncodeToString(id), c.Account.String(), region.String(), c.AccessKey, now.Unix(), expires.Unix()})
	if err != nil {
		return secret.String{}, time.Time{}, fmt.Errorf("encoding a token: %w", err)
	}
	err = s.meta.PutToken(ctx, meta.Token{
		ID: hex.EncodeToString(id), Account: c.Account, Principal: c.ARN, AccessKey: c.AccessKey, Region: region, IssuedAt: now,
		ExpiresAt: expires,
	}, meta.Quota{Key: c.LimitKey(), Max: s.maxTokens})
	return secret.New(base64.RawURLEncoding.EncodeToString(sealWith(s.keys.token, text, tokenContext))), expires, err
}

// TokenCaller returns the caller of a docker password. The password must be for the region (any region if region is
// zero), not expired and not revoked. The access key with which it was issued must be active; if that key belongs to a
// session, the session may have expired, but its role or user must exist.
//
// Errors: fault.TokenInvalid (not a token of this installation), fault.ExpiredCredentials (no longer valid, or for
// another region).
func (s *Service) TokenCaller(ctx context.Context, password string, region name.Region) (Caller, error) {
	o, err := s.open(password)
	if errors.Is(err, fault.TokenInvalid) {
		return Caller{}, &Refusal{
			Err: err, Class: RefusedToken, Cause: "the password is not an authorization token of this installation", Cure: cureToken,
		}
	}
	if err != nil {
		return Caller{}, err
	}
	refused := func(class RefusalClass, why, cure string) (Caller, error) {
		account, _ := name.ParseAccount(o.Account) // a token of this installation has a valid one
		return Caller{}, &Refusal{
			Err:     fault.ExpiredCredentials.New("Your authorization token has expired. Reauthenticate and try again."),
			Account: account, AccessKey: o.Key, Class: class, Cause: fmt.Sprintf("token %s of account %s: %s", o.ID, o.Account, why), Cure: cure,
		}
	}
	if s.now().Unix() >= o.Expires {
		return refused(RefusedExpired, "past its 12 hours", cureToken)
	}
	if region != (name.Region{}) && o.Region != region.String() {
		return refused(RefusedRegion, "issued for region "+o.Region+", used in "+region.String(), cureRegion)
	}
	row, err := s.meta.Token(ctx, o.ID)
	switch {
	case errors.Is(err, fault.TokenNotFound):
		return refused(RefusedDeleted, "its account is gone", cureToken)
	case err != nil:
		return Caller{}, err
	case !row.RevokedAt.IsZero():
		return refused(RefusedRevoked, "revoked", cureToken)
	}
	c, err := s.keyCaller(ctx, o.Key, false)
	switch {
	case gone(err):
		return refused(RefusedDeleted, "its access key, session, user or role was deleted", cureKey)
	case errors.Is(err, errInactive):
		return refused(RefusedInactive, "its access key is inactive", cureKey)
	case err != nil:
		return Caller{}, err
	}
	c.Token = o.ID
	issuedFor, err := name.ParseRegion(o.Region)
	if err != nil {
		return Caller{}, fmt.Errorf("reading the region of token %s: %w", o.ID, err)
	}
	return c.In(issuedFor.Partition()), nil
}

func (s *Service) open(password string) (opened, error) {
	s.mu.RLock()
	o, ok := s.tokens[password]
	s.mu.RUnlock()
	if ok {
		return o, nil
	}
	invalid := fault.TokenInvalid.New("the password is not an authorization token of this registry: get one with `aws ecr get-login-password`")
	if len(password) > 2048 {
		return opened{}, invalid
	}
	sealed, err := unarmored(password)
	if err != nil {
		return opened{}, invalid
	}
	text, err := s.keys.openHeld(s.keys.token, tokenPurpose, sealed, tokenContext, s.now())
	if err != nil {
		return opened{}, invalid
	}
	if err := json.Unmarshal(text, &o.claims); err != nil {
		return opened{}, invalid.Because(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tokens) >= 4096 {
		clear(s.tokens)
	}
	s.tokens[password] = o
	return o, nil
}
