package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// CustomerTokenPrefix begins the tokens of customers.
const CustomerTokenPrefix = "ecrin_ct_"

// licenseIDLength is the number of characters of the id of a licence, which are letters and digits.
const licenseIDLength = 27

// IsCustomerPassword reports whether a password has the form of the id of a licence, or of a token of a customer. No docker token has it.
func IsCustomerPassword(password string) bool {
	rest, token := strings.CutPrefix(password, CustomerTokenPrefix)
	if token {
		return len(rest) >= licenseIDLength && len(rest) <= 64
	}
	return len(rest) == licenseIDLength && strings.Trim(rest, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// HashCustomerPassword returns the form in which passwords of customers are stored. They are random, so that a plain hash suffices.
func HashCustomerPassword(password string) string {
	h := sha256.Sum256([]byte(password))
	return hex.EncodeToString(h[:])
}

// CustomerCaller returns the caller of the id of a licence, or of a token of a customer. The licence must be neither archived nor expired:
// both are checked for each request, whatever was pulled before.
//
// Errors: fault.LicenseInvalid; an error without a code if the store fails.
func (s *Service) CustomerCaller(ctx context.Context, password string) (Caller, error) {
	if !IsCustomerPassword(password) {
		return refusedCustomer(meta.Licensed{}, RefusedToken, invalidLicense, "the password is no id of a licence, and no token of a customer")
	}
	return s.CustomerOfHash(ctx, HashCustomerPassword(password))
}

// SignInCustomer is CustomerCaller for a form of a page, whose failures are counted by the address of the client: what nobody can guess is
// not tried without end either.
//
// Errors: those of CustomerCaller, fault.Throttled (too many failures of the address in AttemptWindow).
func (s *Service) SignInCustomer(ctx context.Context, password string, from netip.Addr) (Caller, error) {
	limits := []attemptLimit{{"customer from " + AddressKey(from), maxFailuresAddress}}
	taken := s.now()
	if !s.attempts.take(taken, limits) {
		return Caller{}, tooManyAttempts()
	}
	c, err := s.CustomerCaller(ctx, password)
	if !errors.Is(err, fault.LicenseInvalid) { // who has signed in, or could not be looked up, has guessed nothing
		s.attempts.forgive(taken, limits)
	}
	return c, err
}

const invalidLicense = "the licence is not valid"

func refusedCustomer(l meta.Licensed, class RefusalClass, text, why string) (Caller, error) {
	r := &Refusal{Err: fault.LicenseInvalid.New("%s", text), Account: l.Account, Class: class, Cause: why,
		Cure: "Ask the vendor for a licence that is valid; the vendor sees why with `ecrin explain license`"}
	if l.ID != "" {
		r.Customer = callerOfCustomer(l)
	}
	return Caller{}, r
}

// CustomerOfHash is CustomerCaller for a password whose hash is known, as HashCustomerPassword returns it.
//
// Errors: those of CustomerCaller.
func (s *Service) CustomerOfHash(ctx context.Context, hash string) (Caller, error) {
	l, err := s.licensed(ctx, hash)
	switch {
	case errors.Is(err, fault.ObjectNotFound):
		return refusedCustomer(l, RefusedToken, invalidLicense, "no customer has this licence or token")
	case err != nil:
		return Caller{}, err
	case !l.ArchivedAt.IsZero():
		return refusedCustomer(l, RefusedRevoked, invalidLicense, "the customer "+l.Name+" is archived")
	case !l.ExpiresAt.IsZero() && !s.now().Before(l.ExpiresAt):
		end := l.ExpiresAt.UTC().Format("2006-01-02T15:04:05Z")
		return refusedCustomer(l, RefusedExpired, "the licence has expired on "+end, "the licence of the customer "+l.Name+" has expired on "+end)
	}
	return callerOfCustomer(l), nil
}

func callerOfCustomer(l meta.Licensed) Caller {
	return Caller{Kind: Customer, Account: l.Account, ARN: meta.CustomerARN(l.Account, l.Slug, l.ID), UserID: l.ID, Token: l.Token,
		Application: l.Application}
}

// licensed returns who has a hash, from the cache unless something of identities has changed. That no one has it is not kept: strangers
// could fill the cache.
func (s *Service) licensed(ctx context.Context, hash string) (meta.Licensed, error) {
	now := s.meta.IdentityGeneration()
	s.mu.RLock()
	have, ok := s.customers[hash]
	fresh := ok && s.customersOf == now
	s.mu.RUnlock()
	if fresh {
		return have, nil
	}
	l, err := s.meta.Licensed(ctx, hash)
	if err != nil {
		return meta.Licensed{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.customersOf != now || len(s.customers) >= maxSubjects {
		clear(s.customers)
		s.customersOf = now
	}
	s.customers[hash] = l
	return l, nil
}

// customer returns the subject of a customer: its policies are its entitlements.
//
// Errors: fault.ObjectNotFound (the customer was deleted).
func (s *Service) customer(ctx context.Context, c Caller) (*Subject, error) {
	key := subjectKey{principal: c.ARN}
	now := s.meta.IdentityGeneration()
	s.mu.RLock()
	have := s.subjects[key]
	s.mu.RUnlock()
	if have != nil && have.generation == now {
		return have, nil
	}
	_, named, err := name.ParseEntityARN(c.ARN)
	if err != nil {
		return nil, fmt.Errorf("identity: the ARN of a customer: %w", err)
	}
	slug, id, _ := strings.Cut(named.Name, "/")
	a, err := s.meta.Application(ctx, c.Account, slug)
	if err != nil {
		return nil, err
	}
	of, err := s.meta.Customer(ctx, a, id)
	if err != nil {
		return nil, err
	}
	c.Token = ""
	u := &Subject{Caller: c, Policy: policy.Caller{Kind: policy.Customer, Account: c.Account, ARN: c.ARN}, Application: a.ID, generation: now}
	u.Keys.Set("aws:principalarn", c.ARN)
	u.Keys.Set("aws:principaltype", "Customer")
	u.Keys.Set("aws:userid", c.UserID)
	u.Keys.Set("ecrin:application", slug)
	rights, err := s.meta.Entitlements(ctx, a.ID, of.ID)
	if err != nil {
		return nil, err
	}
	for _, e := range rights {
		g := entitlement.Granted{ID: e.ID, At: e.CreatedAt}
		if err := json.Unmarshal([]byte(e.Rule), &g.Rule); err != nil {
			return nil, fmt.Errorf("reading the entitlement %s: %w", e.ID, err)
		}
		d, err := g.Policy(of.ExpiresAt, func(pattern string) []string { return Reached(c.Account, pattern) })
		if err != nil {
			return nil, fmt.Errorf("reading the entitlement %s: %w", e.ID, err)
		}
		made := newCompiled(d, nil)
		u.Conditional, u.Images = u.Conditional || made.Conditional, u.Images || made.Images
		u.Releases = u.Releases || d.Mentions(entitlement.KeyChannel) || d.Mentions(entitlement.KeyReleased)
		u.Pushed = u.Pushed || d.Mentions(entitlement.KeyPushed) || d.Mentions(entitlement.KeyReleased)
		u.Identity = append(u.Identity, policy.Named{Name: "entitlement " + e.ID, ARN: a.ARN() + "/entitlement/" + e.ID, Policy: made.Policy})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.subjects) >= maxSubjects {
		clear(s.subjects)
	}
	s.subjects[key] = u
	return u, nil
}

// Reached returns the ARNs of the repositories that a pattern of an entitlement reaches: those of the vendor, in all regions.
func Reached(account name.Account, pattern string) []string {
	return []string{name.ARN{Partition: "aws", Service: "ecr", Region: "*", Account: account, Resource: "repository/" + pattern}.String()}
}
