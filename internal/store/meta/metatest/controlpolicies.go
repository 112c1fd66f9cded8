package metatest

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func testRegistryPolicies(w *World) {
	account(w, other)
	elsewhere := name.Registry{Account: Account, Region: london}
	theirs := name.Registry{Account: other, Region: Registry.Region}
	p := meta.BoundPolicy{Text: policyText, IDs: map[string]string{"arn:aws:iam::444455556666:user/x": "AIDAX"}}
	check := func(r name.Registry, want meta.BoundPolicy) {
		w.Helper()
		for range 2 { // from the database and from the cache
			got, err := w.RegistryPolicy(w.Ctx, r)
			w.Must(err)
			w.Equal(got, want, "RegistryPolicy of %v", r)
		}
	}
	check(Registry, meta.BoundPolicy{})
	w.Must(w.PutRegistryPolicy(w.Ctx, Registry, p))
	check(Registry, p)
	check(elsewhere, meta.BoundPolicy{})
	check(theirs, meta.BoundPolicy{})
	w.Must(w.PutRegistryPolicy(w.Ctx, theirs, meta.BoundPolicy{Text: "theirs"}))
	p = meta.BoundPolicy{Text: "another"} // names nobody any more
	w.Must(w.PutRegistryPolicy(w.Ctx, Registry, p))
	check(Registry, p)
	check(theirs, meta.BoundPolicy{Text: "theirs"})
	for range 2 { // removing what is not there is no error
		w.Must(w.PutRegistryPolicy(w.Ctx, Registry, meta.BoundPolicy{}))
		check(Registry, meta.BoundPolicy{})
	}
	w.Want(w.PutRegistryPolicy(w.Ctx, name.Registry{Account: nowhere, Region: london}, p), fault.AccountNotFound, "of an account that is not there")
}

func testControlPolicies(w *World) {
	account(w, other)
	all := []meta.ControlPolicy{ // as they are listed
		{Kind: meta.ResourceControl, Name: "a", Text: "r", UpdatedAt: monday},
		{Kind: meta.ServiceControl, Name: "B", Text: "1", UpdatedAt: monday},
		{Kind: meta.ServiceControl, Name: "a", Text: "2", UpdatedAt: monday},
		{Kind: meta.ServiceControl, Account: Account, Name: "a", Text: "", UpdatedAt: monday},
		{Kind: meta.ServiceControl, Account: other, Name: "a", Text: "4", UpdatedAt: monday},
	}
	check := func(what string) {
		w.Helper()
		got, err := w.ControlPolicies(w.Ctx)
		w.Must(err)
		w.Equal(got, all, "ControlPolicies %s", what)
	}
	for i := range all {
		w.Must(w.PutControlPolicy(w.Ctx, all[len(all)-1-i]))
	}
	check("by kind, account and name")
	all[2].Text, all[2].UpdatedAt = "another", monday.Add(time.Second)
	w.Must(w.PutControlPolicy(w.Ctx, all[2]))
	check("after a change")
	w.Want(w.PutControlPolicy(w.Ctx, meta.ControlPolicy{Kind: meta.ServiceControl, Account: nowhere, Name: "x"}), fault.AccountNotFound, "of an account that is not there")
	w.Must(w.DeleteControlPolicy(w.Ctx, meta.ServiceControl, name.Account{}, "a"))
	w.Want(w.DeleteControlPolicy(w.Ctx, meta.ServiceControl, name.Account{}, "a"), fault.ControlPolicyNotFound, "deleting twice")
	w.Want(w.DeleteControlPolicy(w.Ctx, meta.ResourceControl, Account, "a"), fault.ControlPolicyNotFound, "one of another kind")
	all = append(all[:2], all[3:]...)
	check("after a deletion")
	w.Must(w.DeleteAccount(w.Ctx, other, false))
	all = all[:3]
	check("after the deletion of an account")
}
