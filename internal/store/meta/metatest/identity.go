package metatest

import (
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The generation grows with each change of what decisions are made from, and stays for all else.
func testIdentityGeneration(w *World) {
	e := map[meta.EntityKind]meta.Entity{}
	for kind := meta.User; kind <= meta.OIDCProvider; kind++ {
		e[kind] = w.entity(kind, "x")
	}
	r := w.Repo("team/app")
	key := Key(Account, "AKIAX")
	key.Principal = e[meta.User].ID
	for _, c := range []struct {
		what  string
		grows bool
		do    func() error
	}{
		{"CreateAccount", true, func() error {
			return w.CreateAccount(w.Ctx, meta.Account{ID: other, CreatedAt: monday}, Key(other, "AKIAO"))
		}},
		{"SetAlias", true, func() error { return w.SetAlias(w.Ctx, other, "a") }},
		{"DeleteAlias", true, func() error { return w.DeleteAlias(w.Ctx, other, "a") }},
		{"DeleteAccount", true, func() error { return w.DeleteAccount(w.Ctx, other, false) }},
		{"CreateEntity", true, func() error { return w.CreateEntity(w.Ctx, plain(meta.User, "y"), nil, 9) }},
		{"CreateManagedPolicy", true, func() error { return w.CreateManagedPolicy(w.Ctx, plain(meta.ManagedPolicy, "y"), "{}", nil, 9) }},
		{"UpdateEntity", true, func() error { return w.bound(e[meta.User], awsPolicy) }},
		{"DeleteEntity", true, func() error { return w.DeleteEntity(w.Ctx, plain(meta.User, "y")) }},
		{"PutEntityTags", true, func() error { return w.PutEntityTags(w.Ctx, e[meta.User].ID, map[string]string{"k": "v"}, 9) }},
		{"RemoveEntityTags", true, func() error { return w.RemoveEntityTags(w.Ctx, e[meta.User].ID, []string{"k"}) }},
		{"PutInline", true, func() error { return w.PutInline(w.Ctx, e[meta.User].ID, meta.Inline{Name: "i"}, 9) }},
		{"DeleteInline", true, func() error { return w.DeleteInline(w.Ctx, e[meta.User].ID, "i") }},
		{"Attach", true, func() error { return w.Attach(w.Ctx, e[meta.User].ID, arn("x"), 9) }},
		{"Detach", true, func() error { return w.Detach(w.Ctx, e[meta.User].ID, arn("x")) }},
		{"AddMember", true, func() error { return w.AddMember(w.Ctx, e[meta.Group].ID, e[meta.User].ID, 9, 0) }},
		{"RemoveMember", true, func() error { return w.RemoveMember(w.Ctx, e[meta.Group].ID, e[meta.User].ID) }},
		{"CreatePolicyVersion", true, func() error {
			_, err := w.CreatePolicyVersion(w.Ctx, e[meta.ManagedPolicy].ID, "{}", false, 5)
			return err
		}},
		{"DeletePolicyVersion", true, func() error { return w.DeletePolicyVersion(w.Ctx, e[meta.ManagedPolicy].ID, 2) }},
		{"PutControlPolicy", true, func() error {
			return w.PutControlPolicy(w.Ctx, meta.ControlPolicy{Kind: meta.ServiceControl, Name: "c"})
		}},
		{"DeleteControlPolicy", true, func() error { return w.DeleteControlPolicy(w.Ctx, meta.ServiceControl, name.Account{}, "c") }},

		{"PutAccessKey", false, func() error { return w.PutAccessKey(w.Ctx, key, 2) }},
		{"SetAccessKeyActive", false, func() error { return w.SetAccessKeyActive(w.Ctx, key.ID, false) }},
		{"DeleteAccessKey", false, func() error { return w.DeleteAccessKey(w.Ctx, key.ID) }},
		{"PutToken", false, func() error { return w.PutToken(w.Ctx, meta.Token{ID: "t", Account: Account, Region: london}) }},
		{"RevokeTokens", false, func() error { _, err := w.RevokeTokens(w.Ctx, Account, ""); return err }},
		{"PutSession", false, func() error { return w.PutSession(w.Ctx, session("ASIAX", monday)) }},
		{"SetUsed", false, func() error { return w.SetUsed(w.Ctx, nil, map[string]meta.Use{e[meta.Role].ID: {At: monday}}) }},
		{"PutSetting", false, func() error { return w.PutSetting(w.Ctx, Registry, "S", "v") }},
		{"PutRegistryPolicy", false, func() error { return w.PutRegistryPolicy(w.Ctx, Registry, meta.BoundPolicy{Text: "{}"}) }},
		{"SetPolicy", false, func() error { return w.SetPolicy(w.Ctx, r, meta.BoundPolicy{Text: "{}"}) }},
		{"PutResourceTags", false, func() error { return w.PutResourceTags(w.Ctx, r, map[string]string{"k": "v"}) }},
	} {
		before := w.IdentityGeneration()
		if err := c.do(); err != nil {
			w.Fatalf("%s: %v", c.what, err)
		}
		if got := w.IdentityGeneration(); (got > before) != c.grows || got < before {
			w.Errorf("%s: the generation went from %d to %d, want it to grow: %t", c.what, before, got, c.grows)
		}
	}
}

// An account takes all with it that IAM, STS and ECR keep of it, and nothing of others.
func testDeleteAccountIdentity(w *World) {
	reg := name.Registry{Account: other, Region: london}
	for round := range 2 { // the same names and ids again
		for _, id := range []name.Account{Account, other} {
			if id == Account && round > 0 {
				continue
			}
			if id == other {
				account(w, other)
			}
			make := func(kind meta.EntityKind, n string) meta.Entity {
				e := plain(kind, n)
				e.ID, e.Account = fmt.Sprint(e.ID, id), id
				w.Must(w.CreateEntity(w.Ctx, e, map[string]string{"k": "v"}, 10))
				return e
			}
			p := plain(meta.ManagedPolicy, "p")
			p.ID, p.Account = fmt.Sprint(p.ID, id), id
			w.Must(w.CreateManagedPolicy(w.Ctx, p, policyText, nil, 10))
			_, err := w.CreatePolicyVersion(w.Ctx, p.ID, "{}", true, 5)
			w.Must(err)
			policy := "arn:aws:iam::" + id.String() + ":policy/p"
			u, g, role, profile := make(meta.User, "u"), make(meta.Group, "g"), make(meta.Role, "r"), make(meta.InstanceProfile, "i")
			make(meta.OIDCProvider, "o.example")
			for _, e := range []meta.Entity{u, g, role} {
				w.Must(w.Attach(w.Ctx, e.ID, policy, 10))
				w.Must(w.PutInline(w.Ctx, e.ID, meta.Inline{Name: "i", Text: "{}"}, 10))
			}
			w.Must(w.bound(u, policy))
			w.Must(w.AddMember(w.Ctx, g.ID, u.ID, 10, 0))
			w.Must(w.AddMember(w.Ctx, profile.ID, role.ID, 10, 1))
			k := Key(id, "AKIAUSER"+id.String())
			k.Principal = u.ID
			w.Must(w.PutAccessKey(w.Ctx, k, 2))
			v := session("ASIA"+id.String(), monday)
			v.Account = id
			w.Must(w.PutSession(w.Ctx, v))
			w.Must(w.PutRegistryPolicy(w.Ctx, name.Registry{Account: id, Region: london}, meta.BoundPolicy{Text: "{}"}))
			for _, kind := range []meta.ControlPolicyKind{meta.ServiceControl, meta.ResourceControl} {
				w.Must(w.PutControlPolicy(w.Ctx, meta.ControlPolicy{Kind: kind, Account: id, Name: "c", Text: "{}"}))
			}
			for what, read := range map[string]func() error{ // so that caches have them
				"key":     func() error { _, err := w.AccessKey(w.Ctx, k.ID); return err },
				"session": func() error { _, err := w.Session(w.Ctx, v.AccessKey); return err },
				"policy":  func() error { _, err := w.RegistryPolicy(w.Ctx, reg); return err },
			} {
				w.Want(read(), 0, "the %s of %s", what, id)
			}
		}
		w.Must(w.DeleteAccount(w.Ctx, other, false))
		counts, err := w.CountEntities(w.Ctx, other)
		w.Must(err)
		w.Equal(len(counts), 0, "kinds of entities in a deleted account")
		_, err = w.AccessKey(w.Ctx, "AKIAUSER"+other.String())
		w.Want(err, fault.AccessKeyNotFound, "the key of a user in a deleted account")
		_, err = w.Session(w.Ctx, "ASIA"+other.String())
		w.Want(err, fault.AccessKeyNotFound, "the session in a deleted account")
		policy, err := w.RegistryPolicy(w.Ctx, reg)
		w.Must(err)
		w.Equal(policy, meta.BoundPolicy{}, "the registry policy of a deleted account")
		controlPolicies, err := w.ControlPolicies(w.Ctx)
		w.Must(err)
		w.Equal(len(controlPolicies), 2, "control policies, of the account that is left")
	}
	counts, err := w.CountEntities(w.Ctx, Account)
	w.Must(err)
	w.Equal(len(counts), 6, "kinds of entities in the account beside")
	_, err = w.Session(w.Ctx, "ASIA"+Account.String())
	w.Want(err, 0, "the session of the account beside")
}
