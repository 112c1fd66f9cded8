package guard_test

import (
	"errors"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// A customer has what its entitlements allow, and what the policy of a resource grants to its ARN. What a policy grants to everyone, or to
// the account of the vendor, is not for customers: each has its own images.
func TestDecideCustomers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := "arn:aws:ecrin::" + home.String() + ":customer/shop/acme"
	a, err := f.meta.PutApplication(t.Context(), meta.Application{ID: "shop", Account: home, Slug: "shop", Sealed: []byte("x")}, nil)
	f.must(err)
	customer := func(id string, rules ...string) identity.Caller {
		_, err := f.meta.PutCustomer(t.Context(), meta.Customer{ID: id, Application: a.ID, Account: home, Name: id, Sealed: []byte("x"),
			LicenseHash: id, Details: "{}"})
		f.must(err)
		for _, rule := range rules {
			_, err := f.meta.PutEntitlement(t.Context(), meta.Entitlement{ID: "of-" + id, Application: a.ID, Customer: id, Rule: rule})
			f.must(err)
		}
		return identity.Caller{Kind: identity.Customer, Account: home, ARN: meta.CustomerARN(home, "shop", id), UserID: id}
	}
	acme, twin, entitled := customer("acme"), customer("acme2"), customer("entitled", `{"repositories":["no*"]}`)
	set := func(repo, text string) {
		f.repository(home, repo, "")
		r, err := f.meta.Repository(t.Context(), name.Registry{Account: home, Region: region}, repoNamed(repo))
		f.must(err)
		f.must(f.meta.SetPolicy(t.Context(), r, meta.BoundPolicy{Text: text}))
	}
	set("named", grant(arn, "ecr:BatchGetImage"))
	set("account", grant(identity.RootARN(home), "ecr:BatchGetImage"))
	f.repository(home, "all", grant("*", "ecr:BatchGetImage"))
	f.repository(home, "none", "")
	f.decide("named", acme, pull(home, "named"), "")
	f.decide("another customer is named", twin, pull(home, "named"), noIdentity)
	f.decide("the account of the vendor is named", acme, pull(home, "account"), noIdentity)
	f.decide("a policy for all principals", acme, pull(home, "all"), noIdentity)
	f.decide("no policy", acme, pull(home, "none"), noIdentity)
	f.decide("an entitlement", entitled, pull(home, "none"), "")
	f.decide("an entitlement, in another account", entitled, pull(other, "none"), noIdentity)
	push := pull(home, "named")
	push.Action = "ecr:PutImage"
	f.decide("another action", acme, push, "no identity-based policy allows the ecr:PutImage action")
	if _, err := policy.Parse(grant("arn:aws:ecrin::"+home.String()+":customer/shop", "ecr:BatchGetImage"), policy.Repository); err == nil {
		t.Error("a customer without an application is accepted as a principal")
	}
}

// Policies cannot allow an action on a resource that belongs to no account, and the record of the request has no owner.
func TestDecideUnowned(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, admin := f.user(home, "admin", allow("*", "*"))
	root := identity.Caller{Kind: identity.Root, Account: home, ARN: identity.RootARN(home), Principal: home.String()}
	for _, c := range []identity.Caller{admin, root} {
		rec := new(guard.Record)
		err := f.guard.Decide(t.Context(), c, guard.Origin{}, rec,
			guard.Ask{Action: "ecrin:ListAccessKeys", Owner: guard.Unowned, Region: region, Resource: "*"})
		if !errors.Is(err, fault.AccessDenied) {
			t.Errorf("%s on a resource of no account: got %v, want fault.AccessDenied", c.ARN, err)
		}
		if rec.Owner != guard.Unowned || rec.Caller != c {
			t.Errorf("the record has owner %v and caller %v, want none and %v", rec.Owner, rec.Caller, c)
		}
	}
	if err := f.guard.Decide(t.Context(), root, guard.Origin{}, new(guard.Record)); err == nil {
		t.Error("a request without an ask was allowed")
	}
}
