package metatest

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func testRegistryPolicies(fx *Fixture) {
	account(fx, other)
	elsewhere := name.Registry{Account: Account, Region: london}
	theirs := name.Registry{Account: other, Region: Registry.Region}
	p := meta.BoundPolicy{Text: policyText, IDs: map[string]string{"arn:aws:iam::444455556666:user/x": "AIDAX"}}
	check := func(r name.Registry, want meta.BoundPolicy) {
		fx.Helper()
		for range 2 { // from the database and from the cache
			got, err := fx.RegistryPolicy(fx.Ctx, r)
			fx.Must(err)
			fx.Equal(got, want, "RegistryPolicy of %v", r)
		}
	}
	check(Registry, meta.BoundPolicy{})
	fx.Must(fx.PutRegistryPolicy(fx.Ctx, Registry, p))
	check(Registry, p)
	check(elsewhere, meta.BoundPolicy{})
	check(theirs, meta.BoundPolicy{})
	fx.Must(fx.PutRegistryPolicy(fx.Ctx, theirs, meta.BoundPolicy{Text: "theirs"}))
	p = meta.BoundPolicy{Text: "another"} // names no principal any more
	fx.Must(fx.PutRegistryPolicy(fx.Ctx, Registry, p))
	check(Registry, p)
	check(theirs, meta.BoundPolicy{Text: "theirs"})
	for range 2 { // removing an absent policy is not an error
		fx.Must(fx.PutRegistryPolicy(fx.Ctx, Registry, meta.BoundPolicy{}))
		check(Registry, meta.BoundPolicy{})
	}
	fx.Want(fx.PutRegistryPolicy(fx.Ctx, name.Registry{Account: nowhere, Region: london}, p), fault.AccountNotFound, "of an unknown account")
}

func testControlPolicies(fx *Fixture) {
	account(fx, other)
	all := []meta.ControlPolicy{ // in the order of ControlPolicies
		{Kind: meta.ResourceControl, Name: "a", Text: "r", UpdatedAt: monday},
		{Kind: meta.ServiceControl, Name: "B", Text: "1", UpdatedAt: monday},
		{Kind: meta.ServiceControl, Name: "a", Text: "2", UpdatedAt: monday},
		{Kind: meta.ServiceControl, Account: Account, Name: "a", Text: "", UpdatedAt: monday},
		{Kind: meta.ServiceControl, Account: other, Name: "a", Text: "4", UpdatedAt: monday},
	}
	check := func(what string) {
		fx.Helper()
		got, err := fx.ControlPolicies(fx.Ctx)
		fx.Must(err)
		fx.Equal(got, all, "ControlPolicies %s", what)
	}
	for i := range all {
		fx.Must(fx.PutControlPolicy(fx.Ctx, all[len(all)-1-i]))
	}
	check("by kind, account and name")
	all[2].Text, all[2].UpdatedAt = "another", monday.Add(time.Second)
	fx.Must(fx.PutControlPolicy(fx.Ctx, all[2]))
	check("after a change")
	fx.Want(fx.PutControlPolicy(fx.Ctx, meta.ControlPolicy{Kind: meta.ServiceControl, Account: nowhere, Name: "x"}),
		fault.AccountNotFound, "of an unknown account")
	fx.Must(fx.DeleteControlPolicy(fx.Ctx, meta.ServiceControl, name.Account{}, "a"))
	fx.Want(fx.DeleteControlPolicy(fx.Ctx, meta.ServiceControl, name.Account{}, "a"), fault.ControlPolicyNotFound, "deleting twice")
	fx.Want(fx.DeleteControlPolicy(fx.Ctx, meta.ResourceControl, Account, "a"), fault.ControlPolicyNotFound, "a policy of another kind")
	all = append(all[:2], all[3:]...)
	check("after a deletion")
	fx.Must(fx.DeleteAccount(fx.Ctx, other, false))
	all = all[:3]
	check("after the deletion of an account")
}
