package identity_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
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

// signed authenticates a request that is signed with a key, and checks the caller.
func (w *fixture) signed(t *testing.T, key aws.Credentials, want string) func() error {
	r := w.sign(t, key, "ecr")
	return func() error {
		c, _, err := w.Authenticate(context.Background(), r, sigv4.EmptyPayload)
		if err == nil && c.ARN != want {
			err = fmt.Errorf("the caller is %s, want %s", c.ARN, want)
		}
		return err
	}
}

// docker identifies the caller of a docker password.
func (w *fixture) docker(password, want string) func() error {
	return func() error {
		c, err := w.TokenCaller(context.Background(), password, east)
		if err == nil && c.ARN != want {
			err = fmt.Errorf("the caller is %s, want %s", c.ARN, want)
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
			return w.docker(w.token(t, c), u.ARN())
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
			return w.docker(password, u.ARN())
		},
		"token of an inactive key": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			password := w.token(t, user(u, k))
			must(t, w.meta.SetAccessKeyActive(t.Context(), k.ID, false))
			return w.docker(password, u.ARN())
		},
		"token of a deleted key": func(t *testing.T, w *fixture, i int) func() error {
			u, k := w.person(t, i)
			password := w.token(t, user(u, k))
			must(t, w.meta.DeleteAccessKey(t.Context(), k.ID))
			return w.docker(password, u.ARN())
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
