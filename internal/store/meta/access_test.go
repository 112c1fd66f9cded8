package meta_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// asking returns a request of a principal for a repository.
func asking(r meta.Repository, account name.Account, principal string) meta.AccessRequest {
	return meta.AccessRequest{Registry: r.Registry, Name: r.Name, Repository: r.ID, Permission: "PULL", Account: account, Principal: principal,
		PrincipalARN: "arn:aws:iam::" + account.String() + ":user/" + principal, Reason: "because"}
}

func grantOf(r meta.AccessRequest, until time.Time) meta.AccessGrant {
	return meta.AccessGrant{Request: r.ID, Policy: meta.BoundPolicy{Text: "{}", IDs: map[string]string{"a": r.Principal}}, EndsAt: until}
}

// openAccess are the open requests of a registry.
func openAccess(t *testing.T, s *meta.Store) (all []meta.AccessRequest) {
	t.Helper()
	all, err := s.AccessRequestsIn(t.Context(), metatest.Registry, meta.AccessOpen, 1<<62, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Thousands of strangers take the places for strangers, and no others: not those of the owner's own principals, and one account not
// those of all. What is stored stays stored. Asking again, by anyone at any time, adds no row.
func TestAccessPlaces(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	fx := metatest.NewFixture(t, openAt(t, t.TempDir(), func() time.Time { return now }))
	r := fx.Repo("team/app")
	account := func(n int) name.Account {
		a, err := name.ParseAccount(fmt.Sprintf("%012d", 500_000_000_000+n))
		fx.Must(err)
		return a
	}
	ask := func(a name.Account, principal string) (meta.AccessRequest, bool, error) {
		return fx.RequestAccess(fx.Ctx, asking(r, a, principal))
	}
	first, _, err := ask(account(0), "first")
	fx.Must(err)
	stored := 1
	for n := 1; n < 30; n++ { // one account
		_, _, err := ask(account(0), fmt.Sprint("same", n))
		if stored < meta.MaxAccessShare {
			fx.Must(err)
			stored++
			continue
		}
		fx.Want(err, fault.LimitExceeded, "request %d of one account", n)
	}
	for n := 1; n < 3000; n++ { // an account each
		if _, _, err := ask(account(n), fmt.Sprint("p", n)); err == nil {
			stored++
		} else {
			fx.Want(err, fault.LimitExceeded, "request %d of an account each", n)
		}
	}
	fx.Equal(stored, meta.MaxAccessOfOwner, "requests of strangers")
	fx.Equal(len(openAccess(t, fx.Store)), meta.MaxAccessOfOwner, "open requests")
	own, merged, err := ask(metatest.Account, "own")
	if err != nil || merged {
		t.Errorf("a principal of the owner: got merged %v, %v, want a place", merged, err)
	}
	for n := int64(2); n < 5; n++ {
		again, merged, err := ask(account(0), "first")
		if err != nil || !merged || again.ID != first.ID || again.Asked != n {
			t.Errorf("asked again: got %+v, %v, %v, want the first request, asked %d times", again, merged, err, n)
		}
	}
	for n := range meta.MaxAccessOfPrincipal + 5 { // names that one principal makes up
		made := asking(r, metatest.Account, "own")
		made.Name, made.Repository = mustRepo(t, fmt.Sprint("made/up", n)), 0
		_, _, err := fx.RequestAccess(fx.Ctx, made)
		if n < meta.MaxAccessOfPrincipal-1 {
			fx.Must(err)
		} else {
			fx.Want(err, fault.LimitExceeded, "request %d of one principal", n)
		}
	}
	// A withdrawn request keeps its place for a day, and so does a refused one: asking and withdrawing makes no rows and no events.
	fx.Must(discardErr(fx.CloseAccess(fx.Ctx, own.ID, meta.AccessWithdrawn, "")))
	other := asking(r, metatest.Account, "own")
	other.Permission = "PUSH"
	_, _, err = fx.RequestAccess(fx.Ctx, other)
	fx.Want(err, fault.LimitExceeded, "another request after a withdrawal")
	now = now.Add(meta.AccessClosedFor)
	fx.Must(discardErr2(fx.RequestAccess(fx.Ctx, other)))
	// Open requests expire, without a job.
	now = now.Add(meta.AccessOpenFor)
	fx.Equal(len(openAccess(t, fx.Store)), 0, "open requests after %s", meta.AccessOpenFor)
	_, _, err = ask(account(2999), "late")
	fx.Must(err)
}

func discardErr2[T any](_ T, _ bool, err error) error { return err }

// An open request expires and a grant ends by the time alone. The job stores and tells it once, and deletes closed requests later.
func TestAccessPasses(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	fx := metatest.NewFixture(t, openAt(t, t.TempDir(), func() time.Time { return now }))
	r := fx.Repo("team/app")
	root := metatest.Account.String()
	asked, _, err := fx.RequestAccess(fx.Ctx, asking(r, metatest.Account, root))
	fx.Must(err)
	granted, err := fx.GrantAccess(fx.Ctx, r, grantOf(asked, now.Add(time.Hour)), "yes")
	fx.Must(err)
	fx.Equal(granted.State, meta.AccessGranted, "state")
	grants, err := fx.AccessGrants(fx.Ctx, r.ID)
	fx.Must(err)
	fx.Equal(len(grants), 1, "grants")
	second := asking(r, metatest.Account, root)
	second.Permission = "PUSH"
	open, _, err := fx.RequestAccess(fx.Ctx, second)
	fx.Must(err)
	_, err = fx.GrantAccess(fx.Ctx, r, grantOf(asked, now.Add(time.Hour)), "")
	fx.Want(err, fault.InvalidInput, "granted twice")
	now = now.Add(time.Hour)
	_, err = fx.RevokeAccess(fx.Ctx, asked.ID, "")
	fx.Want(err, fault.InvalidInput, "revoked after the end")
	for range 2 {
		more, err := fx.TidyAccess(fx.Ctx, 10)
		fx.Must(err)
		fx.Equal(more, false, "more")
	}
	ended, err := fx.AccessRequest(fx.Ctx, asked.ID)
	fx.Must(err)
	fx.Equal(ended.State, meta.AccessEnded, "state after the end")
	grants, err = fx.AccessGrants(fx.Ctx, r.ID)
	fx.Must(err)
	fx.Equal(len(grants), 0, "grants after the end")
	now = now.Add(meta.AccessOpenFor)
	fx.Must(discardErr(fx.TidyAccess(fx.Ctx, 10)))
	expired, err := fx.AccessRequest(fx.Ctx, open.ID)
	fx.Must(err)
	fx.Equal(expired.State, meta.AccessExpired, "state of a request that nobody decided")
	now = now.Add(meta.AccessKeptFor)
	for more := true; more; {
		more, err = fx.TidyAccess(fx.Ctx, 1)
		fx.Must(err)
	}
	_, err = fx.AccessRequest(fx.Ctx, open.ID)
	fx.Want(err, fault.ObjectNotFound, "a request that was closed long ago")
}

// A later account with the number of a deleted one inherits neither requests nor grants, of its own or to it.
func TestAccessEndsWithItsAccount(t *testing.T) {
	t.Parallel()
	fx := metatest.NewFixture(t, openAt(t, t.TempDir(), time.Now))
	other := name.MustAccount("444455556666")
	fx.Must(fx.CreateAccount(fx.Ctx, meta.Account{ID: other, CreatedAt: time.Now()}, metatest.Key(other, "AKIAEXAMPLEEXAMPLE02")))
	r := fx.Repo("team/app")
	asked, _, err := fx.RequestAccess(fx.Ctx, asking(r, other, other.String()))
	fx.Must(err)
	fx.Must(discardErr(fx.GrantAccess(fx.Ctx, r, grantOf(asked, time.Now().Add(time.Hour)), "")))
	grants, err := fx.AccessGrants(fx.Ctx, r.ID)
	fx.Must(err)
	fx.Equal(len(grants), 1, "grants")
	fx.Must(fx.DeleteAccount(fx.Ctx, other, false))
	grants, err = fx.AccessGrants(fx.Ctx, r.ID)
	fx.Must(err)
	fx.Equal(len(grants), 0, "grants after the account of the principal was deleted")
}

// Two processes merge a request that both get at the same time, and one of two decisions counts. The other process decides by the grant
// as soon as it is answered.
func TestAccessOfTwoProcesses(t *testing.T) {
	long(t)
	t.Parallel()
	url := pgtest.Start(t).NewDatabase(t)
	fx, b := metatest.NewFixture(t, openURL(t, url, time.Now)), openURL(t, url, time.Now)
	r := fx.Repo("team/app")
	root := metatest.Account.String()
	both := func(do func(s *meta.Store) error) (won int) {
		var wg sync.WaitGroup
		results := make(chan error, 8)
		for i := range cap(results) {
			s := []*meta.Store{fx.Store, b}[i%2]
			wg.Go(func() { results <- do(s) })
		}
		wg.Wait()
		close(results)
		for err := range results {
			if err == nil {
				won++
			} else if !errors.Is(err, fault.InvalidInput) {
				t.Error(err)
			}
		}
		return won
	}
	fx.Equal(both(func(s *meta.Store) error {
		return discardErr2(s.RequestAccess(t.Context(), asking(r, metatest.Account, root)))
	}), 8,
		"requests that were answered")
	all := openAccess(t, b)
	if len(all) != 1 || all[0].Asked != 8 {
		t.Fatalf("got %+v, want one request, asked 8 times", all)
	}
	fx.Must(b.Refresh(t.Context()))
	if grants, err := b.AccessGrants(t.Context(), r.ID); err != nil || len(grants) != 0 { // and cached
		t.Fatalf("before the grant: got %v, %v", grants, err)
	}
	fx.Equal(both(func(s *meta.Store) error {
		return discardErr(s.GrantAccess(t.Context(), r, grantOf(all[0], time.Now().Add(time.Hour)), ""))
	}), 1, "approvals that count")
	fx.Must(b.Refresh(t.Context()))
	if grants, err := b.AccessGrants(t.Context(), r.ID); err != nil || len(grants) != 1 {
		t.Errorf("after the grant: got %v, %v, want it", grants, err)
	}
	fx.Equal(both(func(s *meta.Store) error { return discardErr(s.RevokeAccess(t.Context(), all[0].ID, "")) }), 1, "revocations that count")
	fx.Must(b.Refresh(t.Context()))
	if grants, err := b.AccessGrants(t.Context(), r.ID); err != nil || len(grants) != 0 {
		t.Errorf("after the revocation: got %v, %v, want none", grants, err)
	}
}

// askedBy stores a request of a new user for the repository of the call.
func (s *sweeper) askedBy() meta.AccessRequest {
	e := s.entity(meta.User, "AIDA")
	r, _, err := s.RequestAccess(s.Ctx, asking(s.r, metatest.Account, e.ID))
	s.Must(err)
	return r
}

func init() {
	maps.Copy(moreSweptChanges, map[string]func(s *sweeper) func(context.Context) error{
		"RequestAccess": func(s *sweeper) func(context.Context) error {
			in := asking(s.r, metatest.Account, fmt.Sprint("AIDA", s.i))
			return func(ctx context.Context) error { return discardErr2(s.RequestAccess(ctx, in)) }
		},
		"RequestAccess, merged": func(s *sweeper) func(context.Context) error {
			in := s.askedBy()
			return func(ctx context.Context) error { return discardErr2(s.RequestAccess(ctx, in)) }
		},
		"GrantAccess": func(s *sweeper) func(context.Context) error {
			g := grantOf(s.askedBy(), time.Now().Add(time.Hour))
			return func(ctx context.Context) error { return discardErr(s.GrantAccess(ctx, s.r, g, "")) }
		},
		"CloseAccess": func(s *sweeper) func(context.Context) error {
			id := s.askedBy().ID
			return func(ctx context.Context) error { return discardErr(s.CloseAccess(ctx, id, meta.AccessRefused, "no")) }
		},
		"RevokeAccess": func(s *sweeper) func(context.Context) error {
			r := s.askedBy()
			s.Must(discardErr(s.GrantAccess(s.Ctx, s.r, grantOf(r, time.Now().Add(time.Hour)), "")))
			return func(ctx context.Context) error { return discardErr(s.RevokeAccess(ctx, r.ID, "")) }
		},
	})
	maps.Copy(sweptReads, map[string]func(s *sweeper) func(context.Context) (int, error){
		"AccessGrants": func(s *sweeper) func(context.Context) (int, error) {
			s.Must(discardErr(s.GrantAccess(s.Ctx, s.r, grantOf(s.askedBy(), time.Now().Add(time.Hour)), "")))
			return func(ctx context.Context) (int, error) {
				all, err := s.AccessGrants(ctx, s.r.ID)
				return len(all), err
			}
		},
		"AccessRequests": func(s *sweeper) func(context.Context) (int, error) {
			s.askedBy()
			return func(ctx context.Context) (int, error) {
				all, err := s.AccessRequests(ctx, s.r.Registry, 1<<62, 10)
				return min(len(all), 1), err
			}
		},
	})
}
