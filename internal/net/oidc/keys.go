package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	maxAge     = 10 * time.Minute // maximum time for which a key is used after its issuer has withdrawn it
	minPause   = 5 * time.Second  // between two requests to an issuer
	maxSources = 1000             // maximum number of issuers whose keys are cached
	maxKeys    = 100              // maximum number of keys of each kind; source: IAM user guide, creating an OIDC provider
	minRSA     = 2048             // bits; go-jose refuses more than 4096
)

// key is a public key of an issuer.
type key struct {
	public any    // *rsa.PublicKey or *ecdsa.PublicKey
	alg    string // the only algorithm of the key; empty means any that its kind allows
}

// fits returns an error if the key may not be used with alg.
func (k key) fits(alg jose.SignatureAlgorithm) error {
	if k.alg != "" && k.alg != string(alg) {
		return fmt.Errorf("the key is for %s, the token has %s", k.alg, alg)
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(string(alg), "RS") {
			return nil
		}
	case *ecdsa.PublicKey:
		curve := map[jose.SignatureAlgorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(),
			jose.ES512: elliptic.P521()}[alg]
		if curve != nil && public.Curve == curve {
			return nil
		}
	}
	return fmt.Errorf("the key is not of the kind for %s", alg)
}

// parseKeys reads a set of keys (RFC 7517) into a map by key id. Keys of other kinds and for other uses are
// skipped, and so are all keys whose id occurs twice, since it does not identify a key.
func parseKeys(text []byte) (map[string]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("the set of keys is not JSON")
	}
	keys, seen := map[string]key{}, map[string]bool{}
	rsas, ecs := 0, 0
	for _, raw := range set.Keys {
		var named struct {
			Kid string   `json:"kid"`
			Ops []string `json:"key_ops"`
		}
		if json.Unmarshal(raw, &named) != nil || named.Kid == "" {
			continue
		}
		if seen[named.Kid] {
			delete(keys, named.Kid)
			continue
		}
		seen[named.Kid] = true
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || k.KeyID != named.Kid || k.Use != "" && k.Use != "sig" || named.Ops != nil &&
			!slices.Contains(named.Ops, "verify") {
			continue
		}
		switch public := k.Key.(type) {
		case *rsa.PublicKey:
			if rsas++; public.N.BitLen() < minRSA {
				continue
			}
		case *ecdsa.PublicKey:
			ecs++
		default:
			continue
		}
		keys[named.Kid] = key{public: k.Key, alg: k.Algorithm}
	}
	if rsas > maxKeys || ecs > maxKeys {
		return nil, fmt.Errorf("the set has more than %d keys of one kind", maxKeys)
	}
	return keys, nil
}

// KeyIDs returns the ids of the keys of a JWK set that can verify tokens, in order.
//
// Errors: the text is not JSON, or has more than 100 keys of one kind.
func KeyIDs(text []byte) ([]string, error) {
	keys, err := parseKeys(text)
	return slices.Sorted(maps.Keys(keys)), err
}

// uploaded returns a key of a set that was uploaded. Errors: fault.InvalidIdentityToken.
func uploaded(text, kid string) (key, error) {
	keys, err := parseKeys([]byte(text))
	if err != nil {
		return key{}, noKey().Because(err)
	}
	k, ok := keys[kid]
	if !ok {
		return key{}, fault.InvalidIdentityToken.New("the keys that were uploaded for the issuer have none with the id %.100q", kid)
	}
	return k, nil
}

// cache holds the keys of issuers for a short time.
type cache struct {
	guard *egress.Guard
	now   func() time.Time

	mu      sync.Mutex
	sources map[string]*source
}

// source is one issuer with one list of thumbprints: accounts with different thumbprints do not share keys.
type source struct {
	gate chan struct{} // held during a request to the issuer

	mu      sync.Mutex
	keys    map[string]key
	fetched time.Time // time of the request that returned keys; zero if there are no keys
	asked   time.Time // time of the last request
	err     error     // of the last request
}

func newCache(guard *egress.Guard, now func() time.Time) *cache {
	return &cache{guard: guard, now: now, sources: map[string]*source{}}
}

func noKey() *fault.Error {
	return fault.InvalidIdentityToken.New("Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements")
}

// find returns the issuer's key with the id kid. It requests the keys from the issuer if the id is unknown or
// the keys are too old.
func (c *cache) find(ctx context.Context, issuer string, thumbprints []string, kid string) (key, error) {
	s := c.source(issuer, thumbprints)
	if k, err, known := s.look(kid, c.now()); known {
		return k, err
	}
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
	case <-ctx.Done():
		return key{}, ctx.Err()
	}
	now := c.now()
	if k, err, known := s.look(kid, now); known { // another call has requested the keys meanwhile
		return k, err
	}
	// Not with the caller's context: if it ended, its failed request would block requests of the next seconds.
	// The client has its own time limit.
	keys, err := fetch(context.WithoutCancel(ctx), c.guard, issuer, thumbprints, c.now)
	s.set(keys, err, now)
	k, err, _ := s.look(kid, now)
	return k, err
}

// look returns the result from the cache; false if the issuer must be requested.
func (s *source) look(kid string, now time.Time) (key, error, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if within(s.fetched, now, maxAge) {
		if k, ok := s.keys[kid]; ok {
			return k, nil, true
		}
	}
	if !within(s.asked, now, minPause) {
		return key{}, nil, false
	}
	if s.err != nil {
		return key{}, s.err, true
	}
	return key{}, noKey().Because(fmt.Errorf("the issuer has no usable key %.100q", kid)), true
}

// within reports whether since is less than d before now. A time in the future, after a clock was set back, is
// not within.
func within(since, now time.Time, d time.Duration) bool {
	return !since.IsZero() && !now.Before(since) && now.Sub(since) < d
}

// set stores the result of a request. A new set replaces all keys; after a failure, the old keys remain until
// their maximum age.
func (s *source) set(keys map[string]key, err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.err = now, err
	if err == nil {
		s.keys, s.fetched = keys, now
	}
}

func (c *cache) source(issuer string, thumbprints []string) *source {
	sorted := slices.Sorted(slices.Values(thumbprints))
	id := issuer + "\n" + strings.ToLower(strings.Join(sorted, "\n"))
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sources[id]
	if !ok {
		if len(c.sources) >= maxSources {
			c.evict()
		}
		s = &source{gate: make(chan struct{}, 1)}
		c.sources[id] = s
	}
	return s
}

// evict removes the issuer whose last request is the oldest. c.mu must be held.
func (c *cache) evict() {
	var oldest string
	var at time.Time
	for id, s := range c.sources {
		s.mu.Lock()
		asked := s.asked
		s.mu.Unlock()
		if oldest == "" || asked.Before(at) {
			oldest, at = id, asked
		}
	}
	delete(c.sources, oldest)
}
