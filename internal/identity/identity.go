package identity

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/secret"
	"github.com/ecrin-dev/ecrin/internal/sigv4"
)

// Service answers who calls, and manages accounts and keys. Safe for concurrent use.
type Service struct {
	meta *meta.Store
	keys *Keyring
	now  func() time.Time

	mu      sync.RWMutex
	secrets map[string]openedSecret // unsealed secrets of keys in use
	tokens  map[string]opened       // verified docker passwords by their text
}

type openedSecret struct {
	sealed string // which sealed form it was opened from
	secret secret.String
}

// New makes the service over a store.
func New(m *meta.Store, k *Keyring, now func() time.Time) *Service {
	return &Service{meta: m, keys: k, now: now, secrets: map[string]openedSecret{}, tokens: map[string]opened{}}
}

// Key is an access key with its secret, which is shown where it was made or to the operator.
type Key struct {
	meta.AccessKey
	Secret secret.String
}

// MaxKeys is how many access keys a principal may have. Source: IAM quotas.
const MaxKeys = 2

// EnsureDefault makes the default account at the first start; later it checks that the account and the master key are the
// same. created tells whether it was made now.
func (s *Service) EnsureDefault(ctx context.Context, id name.Account) (created bool, err error) {
	all, err := s.meta.Accounts(ctx)
	if err != nil {
		return false, err
	}
	for _, a := range all {
		if a.Default && a.ID != id {
			return false, fault.InvalidParameter.New("this data directory belongs to the default account %s, not %s: start with --account %s, then add the other with `ecrin account create %s`", a.ID, id, a.ID, id)
		}
		if a.Default {
			return false, s.checkMasterKey(ctx, all)
		}
	}
	_, err = s.createAccount(ctx, meta.Account{ID: id, Default: true})
	return err == nil, err
}

// checkMasterKey opens one sealed secret: a server that starts with another master key could serve nobody.
func (s *Service) checkMasterKey(ctx context.Context, all []meta.Account) error {
	for _, a := range all {
		keys, err := s.meta.AccessKeys(ctx, a.ID)
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			if _, err := s.secretOf(keys[0]); err != nil {
				return fmt.Errorf("the master key is not the one that this data directory was made with, bring that one back: %w", err)
			}
			return nil
		}
	}
	return nil
}

// CreateAccount makes an account with one root key. Errors: fault.AccountAlreadyExists.
func (s *Service) CreateAccount(ctx context.Context, id name.Account, alias string) (Key, error) {
	return s.createAccount(ctx, meta.Account{ID: id, Alias: alias})
}

func (s *Service) createAccount(ctx context.Context, a meta.Account) (Key, error) {
	a.CreatedAt = s.now()
	k := s.newKey(a.ID)
	return k, s.meta.CreateAccount(ctx, a, k.AccessKey)
}

func (s *Service) newKey(account name.Account) Key {
	id := make([]byte, 10)
	key := make([]byte, 30)
	rand.Read(id)
	rand.Read(key)
	k := Key{
		AccessKey: meta.AccessKey{
			ID:        "AKIA" + base32.StdEncoding.EncodeToString(id),
			Account:   account,
			Principal: RootARN(account),
			Active:    true,
			CreatedAt: s.now(),
		},
		Secret: secret.New(base64.StdEncoding.EncodeToString(key)),
	}
	k.SealedSecret = s.keys.sealSecret(k.ID, k.Secret)
	return k
}

// CreateKey makes one more root key. Errors: fault.AccountNotFound, fault.AccessKeyLimit.
func (s *Service) CreateKey(ctx context.Context, account name.Account) (Key, error) {
	k := s.newKey(account)
	return k, s.meta.PutAccessKey(ctx, k.AccessKey, MaxKeys)
}

// Credentials gives the oldest active root key of an account with its secret, for the operator.
// Errors: fault.AccountNotFound, fault.AccessKeyNotFound.
func (s *Service) Credentials(ctx context.Context, account name.Account) (Key, error) {
	if _, err := s.meta.Account(ctx, account); err != nil {
		return Key{}, err
	}
	all, err := s.meta.AccessKeys(ctx, account)
	if err != nil {
		return Key{}, err
	}
	for _, k := range all {
		if k.Active && k.Principal == RootARN(account) {
			opened, err := s.secretOf(k)
			return Key{k, opened}, err
		}
	}
	return Key{}, fault.AccessKeyNotFound.New("account %s has no active root key: make one with `ecrin account keys create %s`", account, account)
}

func (s *Service) secretOf(k meta.AccessKey) (secret.String, error) {
	s.mu.RLock()
	have, ok := s.secrets[k.ID]
	s.mu.RUnlock()
	if ok && have.sealed == string(k.SealedSecret) {
		return have.secret, nil
	}
	opened, err := s.keys.openSecret(k.ID, k.SealedSecret)
	if err != nil {
		return secret.String{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.secrets) > 1024 {
		clear(s.secrets)
	}
	s.secrets[k.ID] = openedSecret{string(k.SealedSecret), opened}
	return opened, nil
}

// Authenticate tells who signed the request, in header or query form. bodyHash is the SHA-256 of the body in lower-case
// hexadecimal. The caller must compare the signature's scope with the host.
// Errors: fault.MissingCredentials, fault.IncompleteSignature, fault.UnknownAccessKey, fault.SignatureMismatch.
func (s *Service) Authenticate(ctx context.Context, r *http.Request, bodyHash string) (Caller, *sigv4.Signature, error) {
	sig, err := sigv4.Parse(r)
	if err != nil {
		return Caller{}, nil, err
	}
	unknown := fault.UnknownAccessKey.New("The security token included in the request is invalid.")
	if sig.SessionToken != "" {
		return Caller{}, sig, unknown // no sessions exist yet
	}
	var caller Caller
	var key secret.String
	if sig.AccessKeyID == OperatorKeyID {
		caller = Caller{Kind: Operator, ARN: "arn:aws:iam:::operator", UserID: "operator", AccessKey: OperatorKeyID}
		key = s.keys.OperatorSecret()
	} else {
		k, err := s.meta.AccessKey(ctx, sig.AccessKeyID)
		if errors.Is(err, fault.AccessKeyNotFound) || err == nil && !k.Active {
			return Caller{}, sig, unknown
		}
		if err != nil {
			return Caller{}, sig, err
		}
		caller = rootOf(k.Account, k.ID)
		if key, err = s.secretOf(k); err != nil {
			return Caller{}, sig, err
		}
	}
	if err := sig.Verify(r, []byte(key.Reveal()), bodyHash, s.now()); err != nil {
		return Caller{}, sig, err
	}
	return caller, sig, nil
}

// KeyCaller tells who an active access key belongs to, for values that were bound to it and are authentic.
// Errors: fault.ExpiredCredentials (the key is gone or inactive).
func (s *Service) KeyCaller(ctx context.Context, id string) (Caller, error) {
	k, err := s.meta.AccessKey(ctx, id)
	if errors.Is(err, fault.AccessKeyNotFound) || err == nil && !k.Active {
		return Caller{}, fault.ExpiredCredentials.New("the access key behind this address is no longer active")
	}
	if err != nil {
		return Caller{}, err
	}
	return rootOf(k.Account, k.ID), nil
}
