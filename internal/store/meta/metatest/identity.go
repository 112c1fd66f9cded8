package metatest

import (
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The generation grows with each change of data that decisions depend on, and with no other change.
func testIdentityGeneration(fx *Fixture) {
	e := map[meta.EntityKind]meta.Entity{}
	for kind := meta.User; kind <= meta.OIDCProvider; kind++ {
		e[kind] = fx.entity(kind, "x")
	}
	r := fx.Repo("team/app")
	key := Key(Account, "AKIAX")
	key.Principal = e[meta.User].ID
	for _, c := range []struct {
		what  string
		grows bool
		do    func() error
	}{
		{"CreateAccount", true, func() error {
			return fx.CreateAccount(fx.Ctx, meta.Account{ID: other, CreatedAt: monday}, Key(other, "AKIAO"))
		}},
		{"SetAlias", true, func() error { return fx.SetAlias(fx.Ctx, other, "a") }},
		{"DeleteAlias", true, func() error { return fx.DeleteAlias(fx.Ctx, other, "a") }},
		{"DeleteAccount", true, func() error { return fx.DeleteAccount(fx.Ctx, other, false) }},
		{"CreateEntity", true, func() error { return fx.CreateEntity(fx.Ctx, plain(meta.User, "y"), nil, 9) }},
		{"CreateManagedPolicy", true, func() error { return fx.CreateManagedPolicy(fx.Ctx, plain(meta.ManagedPolicy, "y"), "{}", nil, 9) }},
		{"UpdateEntity", true, func() error { return fx.bound(e[meta.User], awsPolicy) }},
		{"DeleteEntity", true, func() error { return fx.DeleteEntity(fx.Ctx, plain(meta.User, "y")) }},
		{"PutEntityTags", true, func() error { return fx.PutEntityTags(fx.Ctx, e[meta.User].ID, map[string]string{"k": "v"}, 9) }},
		{"RemoveEntityTags", true, func() error { return fx.RemoveEntityTags(fx.Ctx, e[meta.User].ID, []string{"k"}) }},
		{"PutInline", true, func() error { return fx.PutInline(fx.Ctx, e[meta.User].ID, meta.Inline{Name: "i"}, 9) }},
		{"DeleteInline", true, func() error { return fx.DeleteInline(fx.Ctx, e[meta.User].ID, "i") }},
		{"Attach", true, func() error { return fx.Attach(fx.Ctx, e[meta.User].ID, arn("x"), 9) }},
		{"Detach", true, func() error { return fx.Detach(fx.Ctx, e[meta.User].ID, arn("x")) }},
		{"AddMember", true, func() error { return fx.AddMember(fx.Ctx, e[meta.Group].ID, e[meta.User].ID, 9, 0) }},
		{"RemoveMember", true, func() error { return fx.RemoveMember(fx.Ctx, e[meta.Group].ID, e[meta.User].ID) }},
		{"CreatePolicyVersion", true, func() error {
			_, err := fx.CreatePolicyVersion(fx.Ctx, e[meta.ManagedPolicy].ID, "{}", false, 5)
			return err
		}},
		{"DeletePolicyVersion", true, func() error { return fx.DeletePolicyVersion(fx.Ctx, e[meta.ManagedPolicy].ID, 2) }},
		{"PutControlPolicy", true, func() error {
			return fx.PutControlPolicy(fx.Ctx, meta.ControlPolicy{Kind: meta.ServiceControl, Name: "c"})
		}},
		{"DeleteControlPolicy", true, func() error { return fx.DeleteControlPolicy(fx.Ctx, meta.ServiceControl, name.Account{}, "c") }},

		{"PutAccessKey", false, func() error { return fx.PutAccessKey(fx.Ctx, key, 2) }},
		{"SetAccessKeyActive", false, func() error { return fx.SetAccessKeyActive(fx.Ctx, key.ID, false) }},
		{"DeleteAccessKey", false, func() error { return fx.DeleteAccessKey(fx.Ctx, key.ID) }},
		{"PutToken", false, func() error {
			return fx.PutToken(fx.Ctx, meta.Token{ID: "t", Account: Account, Region: london}, meta.Quota{})
		}},
		{"RevokeTokens", false, func() error { _, err := fx.RevokeTokens(fx.Ctx, Account, ""); return err }},
		{"PutSession", false, func() error { return fx.PutSession(fx.Ctx, session("ASIAX", monday), meta.Quota{}) }},
		{"CreateLoginProfile", false, func() error {
			return fx.CreateLoginProfile(fx.Ctx, meta.LoginProfile{User: e[meta.User].ID, Hash: "h"})
		}},
		{"PasswordUsed", false, func() error { return fx.PasswordUsed(fx.Ctx, e[meta.User].ID, "h", "h", monday) }},
		{"UpdateLoginProfile", false, func() error { return fx.UpdateLoginProfile(fx.Ctx, e[meta.User].ID, "", "h2", nil) }},
		{"DeleteLoginProfile", false, func() error { return fx.DeleteLoginProfile(fx.Ctx, e[meta.User].ID) }},
		{"SetUsed", false, func() error { return fx.SetUsed(fx.Ctx, nil, map[string]meta.Use{e[meta.Role].ID: {At: monday}}) }},
		{"PutSetting", false, func() error { return fx.PutSetting(fx.Ctx, Registry, "S", "v") }},
		{"PutRegistryPolicy", false, func() error { return fx.PutRegistryPolicy(fx.Ctx, Registry, meta.BoundPolicy{Text: "{}"}) }},
		{"SetPolicy", false, func() error { return fx.SetPolicy(fx.Ctx, r, meta.BoundPolicy{Text: "{}"}) }},
		{"PutResourceTags", false, func() error { return fx.PutResourceTags(fx.Ctx, r, map[string]string{"k": "v"}) }},
	} {
		before := fx.IdentityGeneration()
		if err := c.do(); err != nil {
			fx.Fatalf("%s: %v", c.what, err)
		}
		if got := fx.IdentityGeneration(); (got > before) != c.grows || got < before {
			fx.Errorf("%s: the generation went from %d to %d, want growth: %t", c.what, before, got, c.grows)
		}
	}
}

// Deleting an account deletes all its data of IAM, STS and ECR, and no data of other accounts.
func testDeleteAccountIdentity(fx *Fixture) {
	reg := name.Registry{Account: other, Region: london}
	for round := range 2 { // the same names and ids again
		for _, id := range []name.Account{Account, other} {
			if id == Account && round > 0 {
				continue
			}
			if id == other {
				account(fx, other)
			}
			make := func(kind meta.EntityKind, n string) meta.Entity {
				e := plain(kind, n)
				e.ID, e.Account = fmt.Sprint(e.ID, id), id
				fx.Must(fx.CreateEntity(fx.Ctx, e, map[string]string{"k": "v"}, 10))
				return e
			}
			p := plain(meta.ManagedPolicy, "p")
			p.ID, p.Account = fmt.Sprint(p.ID, id), id
			fx.Must(fx.CreateManagedPolicy(fx.Ctx, p, policyText, nil, 10))
			_, err := fx.CreatePolicyVersion(fx.Ctx, p.ID, "{}", true, 5)
			fx.Must(err)
			policy := "arn:aws:iam::" + id.String() + ":policy/p"
			u, g, role, profile := make(meta.User, "u"), make(meta.Group, "g"), make(meta.Role, "r"), make(meta.InstanceProfile, "i")
			make(meta.OIDCProvider, "o.example")
			for _, e := range []meta.Entity{u, g, role} {
				fx.Must(fx.Attach(fx.Ctx, e.ID, policy, 10))
				fx.Must(fx.PutInline(fx.Ctx, e.ID, meta.Inline{Name: "i", Text: "{}"}, 10))
			}
			fx.Must(fx.bound(u, policy))
			fx.Must(fx.AddMember(fx.Ctx, g.ID, u.ID, 10, 0))
			fx.Must(fx.AddMember(fx.Ctx, profile.ID, role.ID, 10, 1))
			k := Key(id, "AKIAUSER"+id.String())
			k.Principal = u.ID
			fx.Must(fx.PutAccessKey(fx.Ctx, k, 2))
			v := session("ASIA"+id.String(), monday)
			v.Account = id
			fx.Must(fx.PutSession(fx.Ctx, v, meta.Quota{}))
			fx.Must(fx.PutRegistryPolicy(fx.Ctx, name.Registry{Account: id, Region: london}, meta.BoundPolicy{Text: "{}"}))
			for _, kind := range []meta.ControlPolicyKind{meta.ServiceControl, meta.ResourceControl} {
				fx.Must(fx.PutControlPolicy(fx.Ctx, meta.ControlPolicy{Kind: kind, Account: id, Name: "c", Text: "{}"}))
			}
			for what, read := range map[string]func() error{ // so that they are cached
				"key":     func() error { _, err := fx.AccessKey(fx.Ctx, k.ID); return err },
				"session": func() error { _, err := fx.Session(fx.Ctx, v.AccessKey); return err },
				"policy":  func() error { _, err := fx.RegistryPolicy(fx.Ctx, reg); return err },
			} {
				fx.Want(read(), 0, "the %s of %s", what, id)
			}
		}
		fx.Must(fx.DeleteAccount(fx.Ctx, other, false))
		counts, err := fx.CountEntities(fx.Ctx, other)
		fx.Must(err)
		fx.Equal(len(counts), 0, "kinds of entities in a deleted account")
		_, err = fx.AccessKey(fx.Ctx, "AKIAUSER"+other.String())
		fx.Want(err, fault.AccessKeyNotFound, "the key of a user in a deleted account")
		_, err = fx.Session(fx.Ctx, "ASIA"+other.String())
		fx.Want(err, fault.AccessKeyNotFound, "the session in a deleted account")
		policy, err := fx.RegistryPolicy(fx.Ctx, reg)
		fx.Must(err)
		fx.Equal(policy, meta.BoundPolicy{}, "the registry policy of a deleted account")
		controlPolicies, err := fx.ControlPolicies(fx.Ctx)
		fx.Must(err)
		fx.Equal(len(controlPolicies), 2, "control policies, of the other account")
	}
	counts, err := fx.CountEntities(fx.Ctx, Account)
	fx.Must(err)
	fx.Equal(len(counts), 6, "kinds of entities in the other account")
	_, err = fx.Session(fx.Ctx, "ASIA"+Account.String())
	fx.Want(err, 0, "the session of the other account")
}
