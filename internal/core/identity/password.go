package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// The parameters of Argon2id for new hashes: 19 MiB of memory, 2 passes, 1 lane. Source: RFC 9106, section 4; OWASP password storage
// cheat sheet, the second of its equal choices.
const (
	hashMemory = 19 << 10 // KiB
	hashPasses = 2
	hashLanes  = 1
	hashSalt   = 16 // bytes
	hashBytes  = 32
)

// maxHashMemory and maxHashPasses limit the parameters of stored hashes, so that a changed row cannot take all memory.
const (
	maxHashMemory = 64 << 10 // KiB
	maxHashPasses = 10
)

// maxPassword limits the characters of a password. Source: IAM service model, passwordType.
const maxPassword = 128

// hasher limits the hashing of passwords: each needs hashMemory for some 30 ms of a core.
type hasher struct {
	places chan struct{}
	mu     sync.Mutex
	held   map[string]int // calls of each holder, which hash or wait
	after  func()         // for tests: called after each hash, in its place
}

const (
	maxHashing  = 2 // at once, of each hasher
	maxHashHeld = 4 // calls of one holder at once
	maxHashWait = 10 * time.Second
)

func newHasher() *hasher {
	return &hasher{places: make(chan struct{}, maxHashing), held: map[string]int{}}
}

// do runs work in a place. holder is who asks: a principal, or the address of a stranger.
//
// Errors: fault.Throttled (the holder has too many calls, or no place became free), those of the context.
func (h *hasher) do(ctx context.Context, holder string, work func()) error {
	h.mu.Lock()
	if h.held[holder] >= maxHashHeld {
		h.mu.Unlock()
		return fault.Throttled.New("Rate exceeded: %d passwords are checked at once", maxHashHeld)
	}
	h.held[holder]++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.held[holder]--; h.held[holder] == 0 {
			delete(h.held, holder)
		}
	}()
	wait := time.NewTimer(maxHashWait)
	defer wait.Stop()
	select {
	case h.places <- struct{}{}:
	case <-wait.C:
		return fault.Throttled.New("Rate exceeded: many passwords are checked at present")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-h.places }()
	work()
	if h.after != nil {
		h.after()
	}
	return nil
}

// PasswordHash returns the hash of a password, in the form $argon2id$v=19$m=…,t=…,p=…$SALT$HASH. by is the caller whose request sets
// the password: it has been authenticated before.
//
// Errors: fault.Throttled, those of the context.
func (s *Service) PasswordHash(ctx context.Context, by Caller, password secret.String) (string, error) {
	var hash string
	err := s.setting.do(ctx, by.LimitKey(), func() { hash = newHash(password) })
	return hash, err
}

func newHash(password secret.String) string {
	salt := make([]byte, hashSalt)
	rand.Read(salt) // never returns an error
	sum := argon2.IDKey([]byte(password.Reveal()), salt, hashPasses, hashMemory, hashLanes, hashBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashLanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

// parsedHash is a hash with its parameters.
type parsedHash struct {
	memory, passes uint32
	lanes          uint8
	salt, sum      []byte
}

// parseHash parses a hash. Errors: other forms, and parameters above the limits.
func parseHash(text string) (parsedHash, error) {
	var h parsedHash
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errors.New("the stored hash of a password has another form")
	}
	_, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.lanes)
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.sum, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err := errors.Join(err, err1, err2); err != nil {
		return h, fmt.Errorf("reading the stored hash of a password: %w", err)
	}
	if h.memory < 8 || h.memory > maxHashMemory || h.passes < 1 || h.passes > maxHashPasses || h.lanes != 1 ||
		len(h.sum) < 16 || len(h.sum) > 64 {
		return h, errors.New("the parameters of the stored hash of a password are out of range")
	}
	return h, nil
}

// equal reports whether a password has the hash.
func (h parsedHash) equal(password secret.String) bool {
	sum := argon2.IDKey([]byte(password.Reveal()), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

// old reports whether new hashes have other parameters.
func (h parsedHash) old() bool {
	return h.memory != hashMemory || h.passes != hashPasses || h.lanes != hashLanes || len(h.sum) != hashBytes
}

// nobody is verified in place of the hash of a user that does not exist or has no password, so that it takes as long.
var nobody = parsedHash{
	memory: hashMemory, passes: hashPasses, lanes: hashLanes, salt: make([]byte, hashSalt), sum: make([]byte, hashBytes),
}

// The failures of sign-ins that are counted in AttemptWindow: of a user from one address, of all users from one address, and
// of a user from everywhere. The last one is the most that can be guessed; an attacker with many addresses can use it to keep
// a user from signing in for the rest of the time, which leaves the access keys of the user alone.
const (
	maxFailuresHere    = 5
	maxFailuresAddress = 50
	maxFailuresUser    = 100
)

// wrongPassword is the error for every cause that a stranger must not learn.
func wrongPassword() *fault.Error {
	return fault.AccessDenied.New("The account, the user name or the password is not correct")
}

func tooManyAttempts() error {
	return fault.Throttled.New("Too many attempts to sign in: wait for %d minutes", int(AttemptWindow/time.Minute))
}

// SignedIn is a user whose password was verified.
type SignedIn struct {
	Caller        Caller
	ResetRequired bool // the user must set another password first
}

// SignIn verifies the password of a user of an account, for a client at an address, and records the sign-in. A user that does not
// exist takes as long as one that does.
//
// Errors: fault.AccessDenied (with one text for the account, the user, a missing login profile and the password), fault.Throttled (too
// many failures or too many sign-ins at once).
func (s *Service) SignIn(ctx context.Context, account name.Account, userName string, password secret.String,
	from netip.Addr) (SignedIn, error) {
	address, user := AddressKey(from), account.String()+"/"+strings.ToLower(userName)
	limits := []attemptLimit{
		{"here " + user + " " + address, maxFailuresHere}, {"from " + address, maxFailuresAddress}, {"user " + user, maxFailuresUser},
	}
	taken := s.now()
	if !s.attempts.take(taken, limits) {
		return SignedIn{}, tooManyAttempts()
	}
	e, profile, err := s.passwordOf(ctx, account, userName)
	if err != nil {
		return SignedIn{}, err
	}
	hash := nobody
	if profile.Hash != "" {
		if hash, err = parseHash(profile.Hash); err != nil {
			return SignedIn{}, err
		}
	}
	if len(password.Reveal()) > 4*maxPassword { // no character has more bytes
		password = secret.New("")
	}
	right, rehashed := false, profile.Hash
	if err := s.signingIn.do(ctx, address, func() {
		right = hash.equal(password) && profile.Hash != ""
		if right && hash.old() {
			rehashed = newHash(password)
		}
	}); err != nil {
		s.attempts.forgive(taken, limits)
		return SignedIn{}, err
	}
	if !right {
		return SignedIn{}, wrongPassword()
	}
	err = s.meta.PasswordUsed(ctx, e.ID, profile.Hash, rehashed, s.now())
	if errors.Is(err, fault.NoSuchEntity) { // changed or deleted while it was verified
		return SignedIn{}, wrongPassword().Because(err)
	}
	if err != nil {
		return SignedIn{}, err
	}
	s.attempts.forgive(taken, limits)
	c, err := s.callerOf(ctx, e.ID, "")
	if gone(err) {
		return SignedIn{}, wrongPassword().Because(err)
	}
	return SignedIn{c, profile.ResetRequired}, err
}

// passwordOf returns a user and its login profile, both zero if one of the two does not exist.
func (s *Service) passwordOf(ctx context.Context, account name.Account, userName string) (e meta.Entity, p meta.LoginProfile, err error) {
	e, err = s.meta.Entity(ctx, account, meta.User, userName)
	if err == nil || gone(err) { // the same queries, whether there is a user or not
		p, err = s.meta.LoginProfile(ctx, e.ID)
	}
	if gone(err) {
		return meta.Entity{}, meta.LoginProfile{}, nil
	}
	return e, p, err
}

// CheckPassword verifies the password of the user who changes it, and returns its hash.
//
// Errors: fault.NoSuchEntity (no login profile), fault.AccessDenied (the password), fault.Throttled (too many failures, or too many
// calls at once).
func (s *Service) CheckPassword(ctx context.Context, user meta.Entity, password secret.String) (hash string, err error) {
	p, err := s.meta.LoginProfile(ctx, user.ID)
	if err != nil {
		return "", err
	}
	limits := []attemptLimit{{"change " + user.ID, maxFailuresHere}}
	taken := s.now()
	if !s.attempts.take(taken, limits) {
		return "", fault.Throttled.New("Rate exceeded: the old password was wrong %d times: wait for %d minutes", maxFailuresHere,
			int(AttemptWindow/time.Minute))
	}
	parsed, err := parseHash(p.Hash)
	if err != nil {
		return "", err
	}
	right := false
	err = s.setting.do(ctx, user.ID, func() { right = parsed.equal(password) })
	if err != nil || right {
		s.attempts.forgive(taken, limits)
	}
	if err == nil && !right {
		err = fault.AccessDenied.New("The old password is not correct")
	}
	return p.Hash, err
}

// AddressKey returns the address of a client as its requests are counted: an IPv6 client can choose all addresses of its network.
func AddressKey(a netip.Addr) string {
	if a = a.Unmap(); a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
