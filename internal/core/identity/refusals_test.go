package identity_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Each way in which credentials are not valid has its class, the key and the account where they are known, and a cure.
func TestRefusalsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	signature := func(id, secret, session string) func() error {
		return func() error {
			key := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: session}
			_, _, err := w.Authenticate(t.Context(), w.sign(t, key, "ecr"), sigv4.EmptyPayload)
			return err
		}
	}
	token := func(text string, region name.Region) func() error {
		return func() error { _, err := w.TokenCaller(t.Context(), text, region); return err }
	}
	of := func(u meta.Entity, k identity.Key) identity.Caller {
		return identity.Caller{Kind: identity.User, Account: home, Principal: u.ID, UserID: u.ID, AccessKey: k.ID}
	}
	ann, annKey := w.person(t, 1)
	off, offKey := w.person(t, 2)
	offToken := w.token(t, of(off, offKey))
	must(t, w.meta.SetAccessKeyActive(t.Context(), offKey.ID, false))
	left, leftKey := w.person(t, 3)
	leftToken := w.token(t, of(left, leftKey))
	must(t, w.meta.DeleteAccessKey(t.Context(), leftKey.ID))
	_, job := w.job(t, 1)
	lost, lostJob := w.job(t, 2)
	must(t, w.meta.DeleteEntity(t.Context(), lost))
	good, revoked, rootKey := w.token(t, of(ann, annKey)), w.token(t, w.root(t, other)), w.root(t, other).AccessKey
	_, err := w.meta.RevokeTokens(t.Context(), other, "")
	must(t, err)

	check := func(what string, do func() error, code fault.Code, class identity.RefusalClass, key string, account name.Account,
		cause, cure string) {
		t.Helper()
		err := do()
		wantCode(t, what, err, code)
		var r *identity.Refusal
		if !errors.As(err, &r) {
			t.Errorf("%s: got %v, want a Refusal", what, err)
			return
		}
		if r.Class != class || r.AccessKey != key || r.Account != account || !strings.Contains(r.Cause, cause) ||
			!strings.Contains(r.Cure, cure) {
			t.Errorf("%s: got %+v, want the class %q, the key %q of account %s, a cause with %q and a cure with %q", what, r, class, key,
				account, cause, cure)
		}
		if !strings.HasSuffix(err.Error(), r.Cause) || strings.Contains(fault.From(err).Public, r.Cause) {
			t.Errorf("%s: the error is %q, for the client %q: want the cause in the first one alone", what, err, fault.From(err).Public)
		}
	}
	none := name.Account{}
	check("another secret", signature(annKey.ID, "x", ""), fault.SignatureMismatch, identity.RefusedSignature, annKey.ID, home,
		"access key "+annKey.ID+": ", "secret access key")
	check("an unknown key", signature("AKIA0000000000000000", "x", ""), fault.UnknownAccessKey, identity.RefusedKey, "AKIA0000000000000000",
		none, "does not exist here", "active access key")
	check("an inactive key", signature(offKey.ID, offKey.Secret.Reveal(), ""), fault.UnknownAccessKey, identity.RefusedInactive, offKey.ID,
		home, "inactive", "active access key")
	check("a session without its token", signature(job.AccessKey, job.Secret.Reveal(), ""), fault.UnknownAccessKey, identity.RefusedKey,
		job.AccessKey, none, "the session token is missing", "active access key")
	check("the token of another session", signature(job.AccessKey, job.Secret.Reveal(), lostJob.Token.Reveal()), fault.UnknownAccessKey,
		identity.RefusedSession, job.AccessKey, none, "does not belong to it", "active access key")
	check("the token of another session, with a key that does not exist", signature("ASIA0000000000000000", "x", job.Token.Reveal()),
		fault.UnknownAccessKey, identity.RefusedSession, "ASIA0000000000000000", none, "does not belong to it", "active access key")
	check("the session of a deleted role", signature(lostJob.AccessKey, lostJob.Secret.Reveal(), lostJob.Token.Reveal()),
		fault.UnknownAccessKey, identity.RefusedDeleted, lostJob.AccessKey, home, "role of its session was deleted", "active access key")
	check("no token of this installation", token("x", east), fault.TokenInvalid, identity.RefusedToken, "", none,
		"not an authorization token of this installation", "get-login-password")
	check("a token in another region", token(good, west), fault.ExpiredCredentials, identity.RefusedRegion, annKey.ID, home,
		"issued for region us-east-1, used in eu-west-1", "--region REGION")
	check("a revoked token", token(revoked, east), fault.ExpiredCredentials, identity.RefusedRevoked, rootKey, other,
		"revoked", "get-login-password")
	check("the token of an inactive key", token(offToken, east), fault.ExpiredCredentials, identity.RefusedInactive, offKey.ID, home,
		"inactive", "active access key")
	check("the token of a deleted key", token(leftToken, east), fault.ExpiredCredentials, identity.RefusedDeleted, leftKey.ID, home,
		"was deleted", "active access key")
	if _, err := w.TokenCaller(t.Context(), good, name.Region{}); err != nil {
		t.Errorf("a token for any region: %v", err)
	}

	w.at = w.at.Add(time.Hour) // the session ends at this moment
	check("an expired session", signature(job.AccessKey, job.Secret.Reveal(), job.Token.Reveal()), fault.ExpiredCredentials,
		identity.RefusedExpired, job.AccessKey, home, "access key "+job.AccessKey+" expired at 2026-08-01T13:00:00Z", "temporary credentials")
	w.at = w.at.Add(11 * time.Hour)
	check("an expired token", token(good, east), fault.ExpiredCredentials, identity.RefusedExpired, annKey.ID, home, "past its 12 hours",
		"get-login-password")
	must(t, w.meta.DeleteAccount(t.Context(), other, false))
	w.at = w.at.Add(-time.Hour)
	check("the token of a deleted account", token(revoked, east), fault.ExpiredCredentials, identity.RefusedDeleted, rootKey, other,
		"its account is gone", "get-login-password")
	w.at = w.at.Add(40 * time.Hour)
	_, err = w.DeleteExpired(t.Context())
	must(t, err)
	check("a session that was deleted after its end", signature(job.AccessKey, job.Secret.Reveal(), job.Token.Reveal()),
		fault.UnknownAccessKey, identity.RefusedSession, job.AccessKey, none, "does not exist any more", "active access key")
}

// The end of a session ends its signatures and the addresses that it has signed, but not its docker tokens.
func TestEndOfASession(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	role, job := w.job(t, 1)
	by := identity.Caller{Kind: identity.RoleSession, Account: home, Principal: role.ID, AccessKey: job.AccessKey, SessionKey: job.AccessKey}
	password := w.token(t, by)
	key := aws.Credentials{AccessKeyID: job.AccessKey, SecretAccessKey: job.Secret.Reveal(), SessionToken: job.Token.Reveal()}
	start := w.at
	for after, valid := range map[time.Duration]bool{0: true, time.Hour - time.Second: true, time.Hour: false, 2 * time.Hour: false} {
		w.at = start.Add(after)
		r := w.sign(t, key, "ecr")
		if _, _, err := w.Authenticate(t.Context(), r, sigv4.EmptyPayload); (err == nil) != valid {
			t.Errorf("a signature after %s: got %v, want it valid %t", after, err, valid)
		}
		sig, err := sigv4.Parse(r)
		must(t, err)
		if c, err := w.Claimed(t.Context(), sig); (err == nil) != valid || (c.Principal == role.ID) != valid {
			t.Errorf("a signature that is not verified, after %s: got %+v, %v, want it valid %t", after, c, err, valid)
		}
		if c, err := w.KeyCaller(t.Context(), job.AccessKey); (err == nil) != valid || (c.Principal == role.ID) != valid {
			t.Errorf("an address after %s: got %+v, %v, want it valid %t", after, c, err, valid)
		} else if !valid {
			wantCode(t, "an address after the end", err, fault.ExpiredCredentials)
		}
		if c, err := w.TokenCaller(t.Context(), password, east); err != nil || c.Principal != role.ID || c.SessionKey != job.AccessKey {
			t.Errorf("a docker token after %s: got %+v, %v, want it valid", after, c, err)
		}
	}
}

// The use of a key is stored for the key, that of a role for the role, and that of other sessions and of the operator nowhere.
func TestLastUseBelongsToKeyOrRole(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	u, k := w.person(t, 1)
	role, job := w.job(t, 1)
	session, err := w.IssueSession(t.Context(), identity.Caller{},
		meta.Session{Account: home, Kind: meta.UserSession, Principal: u.ID}, time.Hour)
	must(t, err)
	start := w.at
	for i, key := range []aws.Credentials{
		{AccessKeyID: k.ID, SecretAccessKey: k.Secret.Reveal()},
		{AccessKeyID: job.AccessKey, SecretAccessKey: job.Secret.Reveal(), SessionToken: job.Token.Reveal()},
		{AccessKeyID: session.AccessKey, SecretAccessKey: session.Secret.Reveal(), SessionToken: session.Token.Reveal()},
	} {
		w.at = start.Add(time.Duration(i) * time.Minute)
		if _, _, err := w.Authenticate(t.Context(), w.sign(t, key, "ecr"), sigv4.EmptyPayload); err != nil {
			t.Fatal(err)
		}
		must(t, w.FlushUsed(t.Context()))
	}
	keys, err := w.meta.AccessKeysOf(t.Context(), home, u.ID)
	if want := (meta.Use{At: start, Region: "us-east-1", Service: "ecr"}); err != nil || len(keys) != 1 || !keys[0].Used.At.Equal(want.At) ||
		keys[0].Used.Region != want.Region || keys[0].Used.Service != want.Service {
		t.Errorf("the key of the user: got %+v, %v, want its use %+v alone", keys, err, want)
	}
	if e, err := w.meta.EntityByID(t.Context(), role.ID); err != nil || !e.LastUsedAt.Equal(start.Add(time.Minute)) {
		t.Errorf("the role: got its last use at %s, %v, want %s", e.LastUsedAt, err, start.Add(time.Minute))
	}
	if e, err := w.meta.EntityByID(t.Context(), u.ID); err != nil || !e.LastUsedAt.IsZero() {
		t.Errorf("the user: got its last use at %s, %v, want none", e.LastUsedAt, err)
	}
}

func endedContext(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// The use that could not be stored is stored later, unless a later one is stored already.
func TestLaterUseIsNotReplacedByAnEarlierOne(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	u, k := w.person(t, 1)
	key := aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret.Reveal()}
	must(t, w.signed(t, key, u.ARN())())
	earlier := w.at
	ended := endedContext(t)
	if err := w.FlushUsed(ended); err == nil {
		t.Fatal("a write with a context that has ended: got no error")
	}
	w.at = earlier.Add(time.Minute)
	must(t, w.signed(t, key, u.ARN())())
	if err := w.FlushUsed(ended); err == nil {
		t.Fatal("a write with a context that has ended: got no error")
	}
	must(t, w.FlushUsed(t.Context()))
	keys, err := w.meta.AccessKeysOf(t.Context(), home, u.ID)
	if err != nil || len(keys) != 1 || !keys[0].Used.At.Equal(w.at) {
		t.Errorf("got %+v, %v, want the later use at %s", keys, err, w.at)
	}
}

// cheapHash is the hash of no password, with parameters that cost little time.
const cheapHash = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// All failures of an address count, whoever the users are, and all of a user, wherever they come from.
func TestFailuresOfAnAddressAndOfAUserAreBounded(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for _, test := range []struct {
		what string
		max  int
		user func(i int) string
		from func(i int) netip.Addr
	}{
		{"an address", 50, func(i int) string { return "user" + string(rune('a'+i/5)) }, func(int) netip.Addr { return desk }},
		{"a user", 100, func(int) string { return "ann" },
			func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i / 5)}) }},
	} {
		for i := range test.max + 1 {
			user := test.user(i)
			if i%5 == 0 && (i == 0 || test.max == 50) {
				w.user(t, user, cheapHash)
			}
			_, err := w.SignIn(t.Context(), other, user, wrong, test.from(i))
			if want := map[bool]fault.Code{true: fault.AccessDenied, false: fault.Throttled}[i < test.max]; !errors.Is(err, want) {
				t.Fatalf("failure %d of %s: got %v, want %v", i+1, test.what, err, want)
			}
			if i == test.max && !strings.Contains(err.Error(), "wait for 15 minutes") {
				t.Errorf("failure %d of %s: got %q, want a text that says how long to wait", i+1, test.what, err)
			}
		}
	}
}

// The longest password has 128 characters of 4 bytes. No longer text is verified.
func TestLongestPassword(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for text, right := range map[string]bool{strings.Repeat("𝕏", 128): true, strings.Repeat("𝕏", 128) + "a": false} {
		hash, err := w.PasswordHash(t.Context(), w.root(t, other), secret.New(text))
		must(t, err)
		user := map[bool]string{true: "ann", false: "bob"}[right]
		w.user(t, user, hash)
		if _, err := w.SignIn(t.Context(), other, user, secret.New(text), desk); (err == nil) != right {
			t.Errorf("a password of %d bytes: got %v, want it right %t", len(text), err, right)
		}
	}
}

// A user who changes the password gives the old one, within a number of attempts of which right ones are not counted.
func TestCheckPassword(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	hash := cheaplyHashed()
	ann, bob := w.user(t, "ann", hash), w.user(t, "bob", "")
	for range 7 {
		if got, err := w.CheckPassword(t.Context(), ann, password); err != nil || got != hash {
			t.Fatalf("the right password: got %q, %v, want its hash %q", got, err, hash)
		}
	}
	_, err := w.CheckPassword(t.Context(), bob, password)
	wantCode(t, "a user without a password", err, fault.NoSuchEntity)
	for range 5 {
		_, err := w.CheckPassword(t.Context(), ann, wrong)
		wantCode(t, "a wrong password", err, fault.AccessDenied)
	}
	_, err = w.CheckPassword(t.Context(), ann, password)
	wantCode(t, "the right password after five wrong ones", err, fault.Throttled)
	if err != nil && !strings.Contains(err.Error(), "wrong 5 times: wait for 15 minutes") {
		t.Errorf("after five wrong ones: got %q, want a text that says how long to wait", err)
	}
	w.at = w.at.Add(15 * time.Minute)
	if _, err := w.CheckPassword(t.Context(), ann, password); err != nil {
		t.Errorf("a quarter of an hour later: %v", err)
	}
	broken := w.user(t, "eve", "plain")
	if _, err := w.CheckPassword(t.Context(), broken, password); err == nil || errors.Is(err, fault.AccessDenied) {
		t.Errorf("with a hash that cannot be read: got %v, want an error of the server", err)
	}
}

// A password that was not verified, because the caller has too many calls already, is not counted as a failure.
func TestPasswordsThatWereNotVerifiedAreNotFailures(t *testing.T) {
	t.Parallel()
	for what, verify := range map[string]func(w *fixture, ann meta.Entity, p secret.String) error{
		"SignIn": func(w *fixture, _ meta.Entity, p secret.String) error {
			_, err := w.SignIn(t.Context(), other, "ann", p, desk)
			return err
		},
		"CheckPassword": func(w *fixture, ann meta.Entity, p secret.String) error {
			_, err := w.CheckPassword(t.Context(), ann, p)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			ann := w.user(t, "ann", cheaplyHashed())
			hold := make(chan struct{})
			identity.AfterHash(w.Service, func() { <-hold })
			results := make(chan error)
			for range 7 {
				go func() { results <- verify(w, ann, wrong) }()
			}
			for range 3 { // four calls verify or wait
				if err := <-results; !errors.Is(err, fault.Throttled) || !strings.Contains(err.Error(), "at once") &&
					!strings.Contains(err.Error(), "15 minutes") {
					t.Errorf("beyond four calls: got %v, want Throttled", err)
				}
			}
			close(hold)
			for range 4 {
				wantCode(t, "a wrong password", <-results, fault.AccessDenied)
			}
			if err := verify(w, ann, password); err != nil {
				t.Errorf("the right password after four wrong ones: %v", err)
			}
		})
	}
}
