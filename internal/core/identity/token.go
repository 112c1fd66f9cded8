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

// TokenLife is how long a docker token is good. Source: ECR user guide, private registry authentication.
const TokenLife = 12 * time.Hour

// claims is what a docker password holds, sealed. It carries no rights: each request looks the caller up again.
type claims struct {
	ID      string `json:"i"`
	Account string `json:"a"`
	Region  string `json:"r"`
	Key     string `json:"k"`
	Issued  int64  `json:"t"` // Unix seconds
	Expires int64  `json:"e"`
}

// opened is a docker password that was unsealed before.
type opened struct{ claims }

const tokenContext = "docker token v1"

// IssueToken makes a docker password for the caller in a region. It is recorded, so that it can be listed and revoked.
// The password has only the characters A-Z a-z 0-9 _ - and is 150 to 400 characters long.
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
		ID: hex.EncodeToString(id), Account: c.Account, Principal: c.ARN, AccessKey: c.AccessKey, Region: region, IssuedAt: now, ExpiresAt: expires,
	})
	return secret.New(base64.RawURLEncoding.EncodeToString(sealWith(s.keys.token, text, tokenContext))), expires, err
}

// TokenCaller tells whose docker password it is, if it is good in the region (none for any) now: not expired, not revoked, and the
// access key it was got with still active, or the role or user of its session still there. It may outlive the session. Errors: fault.TokenInvalid (not a token of this installation),
// fault.ExpiredCredentials (it was one, or is one of another region).
func (s *Service) TokenCaller(ctx context.Context, password string, region name.Region) (Caller, error) {
	o, err := s.open(password)
	if errors.Is(err, fault.TokenInvalid) {
		return Caller{}, &Refusal{Err: err, Cause: "the password is not an authorization token of this installation", Cure: cureToken}
	}
	if err != nil {
		return Caller{}, err
	}
	refused := func(why, cure string) (Caller, error) {
		account, _ := name.ParseAccount(o.Account) // a token of this installation has a valid one
		return Caller{}, &Refusal{
			Err:     fault.ExpiredCredentials.New("Your authorization token has expired. Reauthenticate and try again."),
			Account: account, AccessKey: o.Key, Cause: fmt.Sprintf("token %s of account %s: %s", o.ID, o.Account, why), Cure: cure,
		}
	}
	ended := func(why string) (Caller, error) { return refused(why, cureToken) }
	if s.now().Unix() >= o.Expires {
		return ended("past its 12 hours")
	}
	if region != (name.Region{}) && o.Region != region.String() {
		return refused("issued for region "+o.Region+", used in "+region.String(), cureRegion)
	}
	row, err := s.meta.Token(ctx, o.ID)
	switch {
	case errors.Is(err, fault.TokenNotFound):
		return ended("its account is gone")
	case err != nil:
		return Caller{}, err
	case !row.RevokedAt.IsZero():
		return ended("revoked")
	}
	c, err := s.keyCaller(ctx, o.Key, false)
	switch {
	case gone(err):
		return refused("its access key, session, user or role was deleted", cureKey)
	case errors.Is(err, errInactive):
		return refused("its access key is inactive", cureKey)
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
	text, err := openWith(s.keys.token, sealed, tokenContext)
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
