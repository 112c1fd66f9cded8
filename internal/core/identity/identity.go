package identity

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Service authenticates callers and collects the policies and condition keys that apply to them. It does not decide
// whether a request is allowed: package guard does. Safe for concurrent use.
type Service struct {
	meta         *meta.Store
	keys         *Keyring
	now          func() time.Time
	organization string
	management   name.Account
	maxTokens    int
	maxSessions  int

	mu                 sync.RWMutex
	secrets            map[string]openedSecret // unsealed secrets by access key id
	tokens             map[string]opened       // verified docker passwords by their text
	sessions           map[string]string       // access keys of verified session tokens by the text of the token
	subjects           map[subjectKey]*Subject
	documents          map[documentKey]*Compiled
	controlPolicyCache *controlPolicies
	customers          map[string]meta.Licensed // customers by the hash of their password
	customersOf        uint64                   // generation of the store that customers is of

	used  usage
	onces onceValues

	setting, signingIn *hasher // passwords of authenticated callers, and of those who sign in
	attempts           attempts
}

type openedSecret struct {
	sealed string // the sealed form that was opened
	secret secret.String
}

// Options are the optional settings of a Service. The zero value is an installation without an organization.
type Options struct {
	Organization string       // o-…, for aws:PrincipalOrgID; "" for none
	Management   name.Account // the account to which control policies do not apply; zero for none
	MaxTokens    int          // stored docker tokens of one principal; 0 for no limit
	MaxSessions  int          // stored sessions that one principal has asked for; 0 for no limit
}

// New returns a Service over a store. Run does its background work.
func New(m *meta.Store, k *Keyring, now func() time.Time, o Options) *Service {
	return &Service{
		meta: m, keys: k, now: now, organization: o.Organization, management: o.Management,
		maxTokens: o.MaxTokens, maxSessions: o.MaxSessions,
		secrets: map[string]openedSecret{}, tokens: map[string]opened{}, sessions: map[string]string{},
		subjects: map[subjectKey]*Subject{}, customers: map[string]meta.Licensed{},
		documents: map[documentKey]*Compiled{}, setting: newHasher(), signingIn: newHasher(),
	}
}

// Exists reports whether this installation has an account. It is false if the store cannot be read.
func (s *Service) Exists(ctx context.Context, account name.Account) bool {
	_, err := s.meta.Account(context.WithoutCancel(ctx), account)
	return err == nil
}

// Key is an access key with its secret. The secret is shown when the key is made, and to the operator.
type Key struct {
	meta.AccessKey
	Secret secret.String
}

// MaxKeys is the maximum number of access keys of a principal. Source: IAM quotas.
const MaxKeys = 2

// EnsureDefault makes the default account if there is none, and otherwise checks that the account and the master key
// are those of the first start. created reports whether this call made the account.
//
// Errors: fault.InvalidParameter (the default account has another id); an error without a code for another master key.
func (s *Service) EnsureDefault(ctx context.Context, id name.Account) (created bool, err error) {
	all, err := s.meta.Accounts(ctx)
	if err != nil {
		return false, err
	}
	for _, a := range all {
		if a.Default && a.ID != id {
			return false,
				fault.InvalidParameter.New("this data directory belongs to the default account %s, not %s: start with --account %s, then add the other with `ecrin account create %s`", a.ID, id, a.ID, id)
		}
		if a.Default {
			return false, s.checkMasterKey(ctx, all)
		}
	}
	_, err = s.createAccount(ctx, meta.Account{ID: id, Default: true})
	if errors.Is(err, fault.AccountAlreadyExists) { // by another process that starts now
		if all, err = s.meta.Accounts(ctx); err == nil {
			err = s.checkMasterKey(ctx, all)
		}
		return false, err
	}
	return err == nil, err
}

// CheckMasterKey returns an error without a code if the secrets of the database were sealed with another master key.
func (s *Service) CheckMasterKey(ctx context.Context) error {
	all, err := s.meta.Accounts(ctx)
	if err != nil {
		return err
	}
	return s.checkMasterKey(ctx, all)
}

// checkMasterKey opens one sealed secret. A server with another master key could not verify any signature.
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

// CreateAccount makes an account with one root key and returns the key. Errors: fault.AccountAlreadyExists.
func (s *Service) CreateAccount(ctx context.Context, id name.Account, alias string) (Key, error) {
	return s.createAccount(ctx, meta.Account{ID: id, Alias: alias})
}

func (s *Service) createAccount(ctx context.Context, a meta.Account) (Key, error) {
	a.CreatedAt = s.now()
	k := s.newKey("AKIA", a.ID, a.ID.String())
	return k, s.meta.CreateAccount(ctx, a, k.AccessKey)
}

func (s *Service) newKey(prefix string, account name.Account, principal string) Key {
	id := make([]byte, 10)
	key := make([]byte, 30)
	rand.Read(id)
	rand.Read(key)
	for key[0] >= 62<<2 { // the secret would begin with + or /, which spreadsheets take for a formula
		rand.Read(key[:1])
	}
	k := Key{
		AccessKey: meta.AccessKey{
			ID:        prefix + base32.StdEncoding.EncodeToString(id),
			Account:   account,
			Principal: principal,
			Active:    true,
			CreatedAt: s.now(),
		},
		Secret: secret.New(base64.StdEncoding.EncodeToString(key)),
	}
	k.SealedSecret = s.keys.sealSecret(k.ID, k.Secret)
	return k
}

// CreateKey makes another root key of an account. Errors: fault.AccountNotFound, fault.AccessKeyLimit.
func (s *Service) CreateKey(ctx context.Context, account name.Account) (Key, error) {
	k := s.newKey("AKIA", account, account.String())
	return k, s.meta.PutAccessKey(ctx, k.AccessKey, MaxKeys)
}

// CreateUserKey makes an access key for a user. Errors: fault.NoSuchEntity, fault.AccessKeyLimit.
func (s *Service) CreateUserKey(ctx context.Context, user meta.Entity) (Key, error) {
	k := s.newKey("AKIA", user.Account, user.ID)
	return k, s.meta.PutAccessKey(ctx, k.AccessKey, MaxKeys)
}

// Credentials returns the oldest active root key of an account with its secret, for the operator.
//
// Errors: fault.AccountNotFound, fault.AccessKeyNotFound.
func (s *Service) Credentials(ctx context.Context, account name.Account) (Key, error) {
	if _, err := s.meta.Account(ctx, account); err != nil {
		return Key{}, err
	}
	k, found, err := s.activeKey(ctx, account, account.String())
	if err == nil && !found {
		err = fault.AccessKeyNotFound.New("account %s has no active root key: make one with `ecrin account keys create %s`", account, account)
	}
	return k, err
}

// UserCredentials returns the oldest active key of a user with its secret, for the operator.
//
// Errors: fault.AccessKeyNotFound.
func (s *Service) UserCredentials(ctx context.Context, user meta.Entity) (Key, error) {
	k, found, err := s.activeKey(ctx, user.Account, user.ID)
	if err == nil && !found {
		err = fault.AccessKeyNotFound.New("the user %s of account %s has no active access key: make one with `aws iam create-access-key --user-name %s`, as root of the account (`ecrin env --account %s`)",
			user.Name, user.Account, user.Name, user.Account)
	}
	return k, err
}

// activeKey returns the oldest active key of a principal of an account with its secret, and whether there is one.
func (s *Service) activeKey(ctx context.Context, account name.Account, principal string) (k Key, found bool, err error) {
	all, err := s.meta.AccessKeys(ctx, account)
	if err != nil {
		return Key{}, false, err
	}
	for _, k := range all {
		if k.Active && k.Principal == principal {
			opened, err := s.secretOf(k)
			return Key{k, opened}, err == nil, err
		}
	}
	return Key{}, false, nil
}

func (s *Service) secretOf(k meta.AccessKey) (secret.String, error) {
	return s.openSecret(k.ID, k.SealedSecret)
}

func (s *Service) openSecret(id string, sealed []byte) (secret.String, error) {
	s.mu.RLock()
	have, ok := s.secrets[id]
	s.mu.RUnlock()
	if ok && have.sealed == string(sealed) {
		return have.secret, nil
	}
	opened, err := s.keys.openSecret(id, sealed)
	if err != nil {
		return secret.String{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.secrets) > 1024 {
		clear(s.secrets)
	}
	s.secrets[id] = openedSecret{string(sealed), opened}
	return opened, nil
}
