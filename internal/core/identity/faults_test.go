package identity_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/crypto/argon2"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// person creates a user with a key that no request has used.
func (w *fixture) person(t *testing.T, i int) (meta.Entity, identity.Key) {
	t.Helper()
	u := meta.Entity{ID: fmt.Sprintf("AIDA%017d", i), Account: home, Kind: meta.User, Name: fmt.Sprint("user", i), Path: "/",
		CreatedAt: w.now()}
	if err := w.meta.CreateEntity(t.Context(), u, nil, 1000); err != nil {
		t.Fatal(err)
	}
	k, err := w.CreateUserKey(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return u, k
}

// member creates a user in a group and a role, each with policies of their own.
func (w *fixture) member(t *testing.T, i int) (user, role meta.Entity) {
	t.Helper()
	ours := w.ours(t, i+100_000)
	user = w.entity(t, meta.Entity{ID: fmt.Sprintf("AIDA%017d", i), Kind: meta.User, Name: fmt.Sprint("user", i), Boundary: ours.ARN()}, nil)
	role = w.entity(t, meta.Entity{ID: fmt.Sprintf("AROA%017d", i), Kind: meta.Role, Name: fmt.Sprint("role", i)}, map[string]string{"a": "b"})
	group := w.entity(t, meta.Entity{ID: fmt.Sprintf("AGPA%017d", i), Kind: meta.Group, Name: fmt.Sprint("group", i)}, nil)
	must(t, w.meta.AddMember(t.Context(), group.ID, user.ID, 10, 1000))
	for _, e := range []meta.Entity{user, role, group} {
		must(t, w.meta.PutInline(t.Context(), e.ID, meta.Inline{Name: "own", Text: allow(fmt.Sprint("ecr:List", i))}, 10_000))
		must(t, w.meta.Attach(t.Context(), e.ID, ours.ARN(), 10))
	}
	return user, role
}

// ours creates a managed policy.
func (w *fixture) ours(t *testing.T, i int) meta.Entity {
	t.Helper()
	return w.entity(t, meta.Entity{ID: fmt.Sprintf("ANPA%017d", i), Kind: meta.ManagedPolicy, Name: fmt.Sprint("ours", i),
		Description: allow(fmt.Sprint("ecr:Put", i))}, nil)
}

// control adds a control policy of each kind.
func (w *fixture) control(t *testing.T, i int) {
	t.Helper()
	must(t, w.meta.PutControlPolicy(t.Context(), meta.ControlPolicy{Name: "s", Kind: meta.ServiceControl,
		Text: allow(fmt.Sprint("ecr:A", i))}))
	must(t, w.meta.PutControlPolicy(t.Context(), meta.ControlPolicy{Name: "r", Kind: meta.ResourceControl, Text: fmt.Sprintf(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:A%d","Resource":"*"}]}`, i)}))
}

// account creates an account.
func (w *fixture) account(t *testing.T, i int) name.Account {
	t.Helper()
	a, err := name.ParseAccount(fmt.Sprintf("3%011d", i))
	must(t, err)
	_, err = w.CreateAccount(t.Context(), a, "")
	must(t, err)
	return a
}

// cheaplyHashed returns a hash of password with parameters that cost little time.
func cheaplyHashed() string {
	b64 := base64.RawStdEncoding.EncodeToString
	sum := argon2.IDKey([]byte(password.Reveal()), []byte("a salt"), 1, 8, 1, 32)
	return "$argon2id$v=19$m=8,t=1,p=1$" + b64([]byte("a salt")) + "$" + b64(sum)
}

func (w *fixture) job(t *testing.T, i int) (meta.Entity, identity.Credentials) {
	t.Helper()
	r := meta.Entity{ID: fmt.Sprintf("AROA%017d", i), Account: home, Kind: meta.Role, Name: fmt.Sprint("role", i), Path: "/",
		CreatedAt: w.now()}
	if err := w.meta.CreateEntity(t.Context(), r, nil, 1000); err != nil {
		t.Fatal(err)
	}
	c, err := w.IssueSession(t.Context(), identity.Caller{}, meta.Session{Account: home, Kind: meta.RoleSession, Principal: r.ID,
		Name: "s"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

// signed authenticates a request that is signed with a key. Another caller than want, or none, fails the test.
func (w *fixture) signed(t *testing.T, key aws.Credentials, want string) func() error {
	r := w.sign(t, key, "ecr")
	return func() error {
		c, _, err := w.Authenticate(context.Background(), r, sigv4.EmptyPayload)
		if err == nil && c.ARN != want {
			t.Errorf("a signature: got the caller %+v without an error, want %s", c, want)
		}
		return err
	}
}

// docker identifies the caller of a docker password, as signed does.
func (w *fixture) docker(t *testing.T, password, want string) func() error {
	return func() error {
		c, err := w.TokenCaller(context.Background(), password, east)
		if err == nil && c.ARN != want {
			t.Errorf("a token: got the caller %+v without an error, want %s", c, want)
		}
		return err
	}
}

func credentials(id string, secret string) aws.Credentials {
	return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}
}

// Valid credentials identify nobody while a statement fails, and their caller afterwards.
func TestCallersAreNotIdentifiedWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for what, prepare := range map[string]func(t *testing.T, w *fixture, i int) func() error{
		"signature of a user": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			return w.signed(t, credentials(k.ID, k.Secret.Reveal()), u.ARN())
		},
		"signature of a session": func(t *testing.T, w *fixture, i int) func() error {
			r, c := w.job(t, i)
			key := credentials(c.AccessKey, c.Secret.Reveal())
			key.SessionToken = c.Token.Reveal()
			return w.signed(t, key, "arn:aws:sts::"+home.String()+":assumed-role/"+r.Name+"/s")
		},
		"token of a user": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			c := identity.Caller{Kind: identity.User, Account: home, Principal: u.ID, UserID: u.ID, AccessKey: k.ID}
			return w.docker(t, w.token(t, c), u.ARN())
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			faulttest.Sweep(t, faultmeta.In(w.dir), func(i int) faulttest.Call {
				identify := prepare(t, w, i)
				return faulttest.Call{Do: func() error {
					err := identify()
					if r := (*identity.Refusal)(nil); errors.As(err, &r) { // the client would take its good key for a bad one
						t.Errorf("a statement failed: got a refusal of the credentials, %v (%s), want the failure", err, r.Cause)
					}
					return err
				}}
			})
		})
	}
}

// Credentials that are not valid any more identify nobody, whatever statement fails.
func TestInvalidCredentialsStayInvalidWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	user := func(u meta.Entity, k identity.Key) identity.Caller {
		return identity.Caller{Kind: identity.User, Account: home, Principal: u.ID, UserID: u.ID, AccessKey: k.ID}
	}
	for what, prepare := range map[string]func(t *testing.T, w *fixture, i int) func() error{
		"another secret": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			return w.signed(t, credentials(k.ID, "not "+k.Secret.Reveal()), u.ARN())
		},
		"inactive key": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			must(t, w.meta.SetAccessKeyActive(t.Context(), k.ID, false))
			return w.signed(t, credentials(k.ID, k.Secret.Reveal()), u.ARN())
		},
		"deleted key": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			must(t, w.meta.DeleteAccessKey(t.Context(), k.ID))
			return w.signed(t, credentials(k.ID, k.Secret.Reveal()), u.ARN())
		},
		"session of a deleted role": func(t *testing.T, w *fixture, i int) func() error {
			r, c := w.job(t, i)
			must(t, w.meta.DeleteEntity(t.Context(), r))
			key := credentials(c.AccessKey, c.Secret.Reveal())
			key.SessionToken = c.Token.Reveal()
			return w.signed(t, key, "")
		},
		"revoked token": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			password := w.token(t, user(u, k))
			_, err := w.meta.RevokeTokens(t.Context(), home, "")
			must(t, err)
			return w.docker(t, password, u.ARN())
		},
		"token of an inactive key": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			password := w.token(t, user(u, k))
			must(t, w.meta.SetAccessKeyActive(t.Context(), k.ID, false))
			return w.docker(t, password, u.ARN())
		},
		"token of a deleted key": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			password := w.token(t, user(u, k))
			must(t, w.meta.DeleteAccessKey(t.Context(), k.ID))
			return w.docker(t, password, u.ARN())
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			faulttest.Closed(t, faultmeta.In(w.dir), func(i int) faulttest.Call { return faulttest.Call{Do: prepare(t, w, i)} })
		})
	}
}

// Credentials are issued whole or not at all.
func TestIssuingFailsWithTheStore(t *testing.T) {
	t.Parallel()
	for what, prepare := range map[string]func(t *testing.T, w *fixture, i int) func() error{
		"CreateAccount": func(t *testing.T, w *fixture, i int) func() error {
			a, err := name.ParseAccount(fmt.Sprintf("2%011d", i))
			if err != nil {
				t.Fatal(err)
			}
			return func() error { _, err := w.CreateAccount(context.Background(), a, fmt.Sprint("alias-", i)); return err }
		},
		"CreateUserKey": func(t *testing.T, w *fixture, i int) func() error {
			u, _ := w.person(t, i)
			return func() error { _, err := w.CreateUserKey(context.Background(), u); return err }
		},
		"IssueToken": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			c := identity.Caller{Kind: identity.User, Account: home, Principal: u.ID, UserID: u.ID, AccessKey: k.ID}
			return func() error { _, _, err := w.IssueToken(context.Background(), c, east); return err }
		},
		"IssueSession": func(t *testing.T, w *fixture, i int) func() error {
			r, _ := w.job(t, i)
			v := meta.Session{Account: home, Kind: meta.RoleSession, Principal: r.ID, Name: "t"}
			return func() error {
				_, err := w.IssueSession(context.Background(), identity.Caller{}, v, time.Hour)
				return err
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			faulttest.Sweep(t, faultmeta.In(w.dir), func(i int) faulttest.Call {
				do := prepare(t, w, i)
				return faulttest.Call{Do: do, State: faulttest.Changes(t, w.dir)}
			})
		})
	}
}

// The last use of a key is stored by the next flush if one fails.
func TestLastUseSurvivesAFailedFlush(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	u, k := w.person(t, 1)
	if err := w.signed(t, credentials(k.ID, k.Secret.Reveal()), u.ARN())(); err != nil {
		t.Fatal(err)
	}
	faults := faultmeta.In(w.dir)
	faults.ArmText("last_used", 1, faultmeta.Before)
	err := w.FlushUsed(t.Context())
	if failed, _ := faults.Disarm(); !errors.Is(err, faultmeta.ErrInjected) || len(failed) != 1 {
		t.Fatalf("the flush: got %v, failed %q, want the injected fault", err, failed)
	}
	if err := w.FlushUsed(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := w.meta.AccessKeysOf(t.Context(), home, u.ID)
	if err != nil || len(all) != 1 {
		t.Fatalf("got keys %v, %v, want one", all, err)
	}
	if got := all[0]; !got.Used.At.Equal(w.at) {
		t.Errorf("the key was last used at %v, want %v", got.Used.At, w.at)
	}
}

// Whatever is read of users, policies and accounts is read whole, or the call fails.
func TestReadingFailsWithTheStore(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	boundTo := func(u meta.Entity) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + u.ARN() + `"},"Action":"ecr:*"}]}`
	}
	for what, prepare := range map[string]func(t *testing.T, w *fixture, i int) func() error{
		"Subject": func(t *testing.T, w *fixture, i int) func() error {
			u, role := w.member(t, i)
			in := w.session(t, meta.Session{Kind: meta.RoleSession, Principal: role.ID, Name: "s", PolicyARNs: []string{w.ours(t, i).ARN()},
				Policies: []string{allow(fmt.Sprint("ecr:Get", i))}})
			w.control(t, i)
			return func() error {
				_, err1 := w.Subject(ctx, identity.Caller{Principal: u.ID})
				_, err2 := w.Subject(ctx, in)
				return errors.Join(err1, err2)
			}
		},
		"OfEntity": func(t *testing.T, w *fixture, i int) func() error {
			u, _ := w.member(t, i)
			return func() error { _, err := w.OfEntity(ctx, u, ""); return err }
		},
		"Named": func(t *testing.T, w *fixture, i int) func() error {
			u, role := w.member(t, i)
			return func() error {
				_, err1 := w.Named(ctx, u.ARN())
				_, err2 := w.Named(ctx, "arn:aws:sts::000000000000:assumed-role/"+role.Name+"/s")
				return errors.Join(err1, err2)
			}
		},
		"ResourceControl": func(t *testing.T, w *fixture, i int) func() error {
			w.control(t, i)
			return func() error { _, err := w.ResourceControl(ctx, home); return err }
		},
		"ManagedText": func(t *testing.T, w *fixture, i int) func() error {
			ours := w.ours(t, i)
			return func() error { _, err := w.ManagedText(ctx, ours.ARN()); return err }
		},
		"Bind": func(t *testing.T, w *fixture, i int) func() error {
			u, _ := w.person(t, i)
			d, err := policy.Parse(boundTo(u), policy.Repository)
			must(t, err)
			return func() error {
				ids, missing, err := w.Bind(ctx, d)
				if err == nil && (missing != nil || ids[u.ARN()] != u.ID) {
					t.Errorf("Bind: got %v, missing %v, want the id of the user", ids, missing)
				}
				return err
			}
		},
		"Show": func(t *testing.T, w *fixture, i int) func() error {
			u, _ := w.person(t, i)
			p := meta.BoundPolicy{Text: boundTo(u), IDs: map[string]string{u.ARN(): u.ID}}
			return func() error {
				text, err := w.Show(ctx, p, policy.Repository)
				if err == nil && text != p.Text {
					t.Errorf("Show: got %s, want the ARN of the user", text)
				}
				return err
			}
		},
		"Credentials": func(t *testing.T, w *fixture, i int) func() error {
			a := w.account(t, i)
			return func() error {
				k, err := w.Credentials(ctx, a)
				if (err == nil) != (k.ID != "") || errors.Is(err, fault.AccessKeyNotFound) || errors.Is(err, fault.AccountNotFound) {
					t.Errorf("Credentials: got %q, %v, want the key or the failure", k.ID, err)
				}
				return err
			}
		},
		"UserCredentials": func(t *testing.T, w *fixture, i int) func() error {
			u, _ := w.person(t, i)
			return func() error {
				k, err := w.UserCredentials(ctx, u)
				if (err == nil) != (k.ID != "") || errors.Is(err, fault.AccessKeyNotFound) {
					t.Errorf("UserCredentials: got %q, %v, want the key or the failure", k.ID, err)
				}
				return err
			}
		},
		"Session": func(t *testing.T, w *fixture, i int) func() error {
			_, job := w.job(t, i)
			return func() error { _, err := w.Session(ctx, identity.Caller{SessionKey: job.AccessKey}); return err }
		},
		"KeyCaller": func(t *testing.T, w *fixture, i int) func() error {
			_, k := w.person(t, i)
			_, job := w.job(t, i)
			return func() error {
				_, err1 := w.KeyCaller(ctx, k.ID)
				_, err2 := w.KeyCaller(ctx, job.AccessKey)
				if err := errors.Join(err1, err2); err != nil && errors.Is(err, fault.ExpiredCredentials) {
					t.Errorf("KeyCaller: got %v, want the failure", err)
				}
				return errors.Join(err1, err2)
			}
		},
		"CheckPassword": func(t *testing.T, w *fixture, i int) func() error {
			u := w.user(t, fmt.Sprint("ann", i), cheaplyHashed())
			return func() error { _, err := w.CheckPassword(ctx, u, password); return err }
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t)
			faulttest.Sweep(t, faultmeta.In(w.dir), func(i int) faulttest.Call {
				return faulttest.Call{Do: prepare(t, w, i)}
			})
		})
	}
}

// A sign-in with the right password fails while a statement fails, and not as one with a wrong password.
func TestSignInFailsWithTheStore(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	faults := faultmeta.In(w.dir)
	for n := 1; ; n++ { // not faulttest.Sweep: each call costs a hash
		user := fmt.Sprint("ann", n)
		w.user(t, user, cheaplyHashed())
		faults.Arm(n, faultmeta.Before)
		_, err := w.SignIn(t.Context(), other, user, password, netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}))
		failed, ran := faults.Disarm()
		if len(failed) == 0 {
			if err != nil || ran >= n || n < 4 {
				t.Errorf("without a fault among %d statements: got %v, want no error and at least three statements", ran, err)
			}
			return
		}
		if err == nil || errors.Is(err, fault.AccessDenied) {
			t.Errorf("the statement %q failed: got %v, want the failure", failed, err)
		}
	}
}

// An account that cannot be read does not exist for the caller, and one that exists does.
func TestAccountsExist(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for a, want := range map[name.Account]bool{home: true, other: true, name.MustAccount("222222222222"): false} {
		if got := w.Exists(endedContext(t), a); got != want {
			t.Errorf("%s: got %t, want %t, also for a client that has gone", a, got, want)
		}
	}
	faults := faultmeta.In(w.dir)
	a := w.account(t, 1)
	faults.ArmAll("accounts", faultmeta.Before)
	got := w.Exists(t.Context(), a)
	if failed, _ := faults.Disarm(); got || len(failed) == 0 {
		t.Errorf("without a store: got %t with the failed statements %q, want false", got, failed)
	}
}
