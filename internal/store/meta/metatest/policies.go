package metatest

import (
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func testInlinePolicies(fx *Fixture) {
	for _, kind := range []meta.EntityKind{meta.User, meta.Group, meta.Role} {
		e := fx.entity(kind, "x")
		check := func(want ...meta.Inline) {
			fx.Helper()
			got, err := fx.Inlines(fx.Ctx, e.ID)
			fx.Must(err)
			fx.Equal(got, want, "kind %d: Inlines", kind)
		}
		check()
		b, a := meta.Inline{Name: "b", Text: "{ \"x\":\n\t\"語\" }"}, meta.Inline{Name: "B", Text: "12"} // 9 and 2 characters without white space
		fx.Must(fx.PutInline(fx.Ctx, e.ID, b, 9))
		fx.Want(fx.PutInline(fx.Ctx, e.ID, a, 10), fault.LimitExceeded, "11 characters of at most 10")
		check(b)
		fx.Must(fx.PutInline(fx.Ctx, e.ID, a, 11))
		check(a, b)
		a.Text = "1 "
		fx.Must(fx.PutInline(fx.Ctx, e.ID, a, 10)) // the replaced text does not count
		check(a, b)
		fx.Want(fx.DeleteInline(fx.Ctx, e.ID, "c"), fault.NoSuchEntity, "an unknown policy")
		fx.Must(fx.DeleteInline(fx.Ctx, e.ID, "b"))
		fx.Want(fx.DeleteInline(fx.Ctx, e.ID, "b"), fault.NoSuchEntity, "a deleted policy")
		check(a)
	}
	u := fx.entity(meta.User, "race")
	won := race(fx, 8, fault.LimitExceeded, func(i int) error {
		return fx.PutInline(fx.Ctx, u.ID, meta.Inline{Name: fmt.Sprint(i), Text: strings.Repeat("x", 100)}, 399)
	})
	fx.Equal(won, 3, "policies of 100 characters, of at most 399 together")
}

func testAttachments(fx *Fixture) {
	for _, n := range []string{"b", "a", "c"} {
		fx.entity(meta.ManagedPolicy, n)
	}
	for kind, quota := range map[meta.EntityKind]string{meta.User: "PoliciesPerUser", meta.Group: "PoliciesPerGroup",
		meta.Role: "PoliciesPerRole"} {
		e := fx.entity(kind, "x")
		check := func(want ...string) {
			fx.Helper()
			got, err := fx.Attachments(fx.Ctx, e.ID)
			fx.Must(err)
			fx.Equal(got, want, "kind %d: Attachments", kind)
		}
		check()
		fx.Must(fx.Attach(fx.Ctx, e.ID, arn("b"), 2))
		fx.Must(fx.Attach(fx.Ctx, e.ID, awsPolicy, 2))
		err := fx.Attach(fx.Ctx, e.ID, arn("a"), 2)
		fx.Want(err, fault.LimitExceeded, "kind %d: a third of at most two", kind)
		fx.Equal(fault.From(err).Public, "Cannot exceed quota for "+quota+": 2", "the text")
		fx.Must(fx.Attach(fx.Ctx, e.ID, arn("b"), 2)) // attaching twice is not an error, also at the limit
		check(arn("b"), awsPolicy)
		fx.Must(fx.Detach(fx.Ctx, e.ID, awsPolicy))
		fx.Want(fx.Detach(fx.Ctx, e.ID, awsPolicy), fault.NoSuchEntity, "kind %d: detaching twice", kind)
		for _, bad := range []string{arn("none"), arn("B"), arn("x/b"), "arn:aws:iam::444455556666:policy/b"} {
			fx.Want(fx.Attach(fx.Ctx, e.ID, bad, 9), fault.NoSuchEntity, "kind %d: the policy %s", kind, bad)
		}
		check(arn("b"))
	}
}

func testAttachedTo(fx *Fixture) {
	account(fx, other)
	fx.entity(meta.ManagedPolicy, "p")
	role, z, a, g := fx.entity(meta.Role, "r"), fx.entity(meta.User, "z"), fx.entity(meta.User, "a"), fx.entity(meta.Group, "g")
	theirs := plain(meta.User, "a")
	theirs.ID, theirs.Account, theirs.Boundary = "AIDATHEIRS", other, awsPolicy
	fx.Must(fx.CreateEntity(fx.Ctx, theirs, nil, 10))
	fx.Must(fx.Attach(fx.Ctx, theirs.ID, awsPolicy, 10))
	fx.Want(fx.Attach(fx.Ctx, theirs.ID, arn("p"), 10), fault.NoSuchEntity, "a policy of another account")
	foreign := theirs
	foreign.ID, foreign.Name, foreign.Boundary = "AIDAFOREIGN", "foreign", arn("p")
	fx.Want(fx.CreateEntity(fx.Ctx, foreign, nil, 10), fault.NoSuchEntity, "a boundary of another account")
	for _, e := range []meta.Entity{role, z, a, g} {
		fx.Must(fx.Attach(fx.Ctx, e.ID, arn("p"), 10))
	}
	fx.Must(fx.Attach(fx.Ctx, z.ID, awsPolicy, 10))
	for _, e := range []*meta.Entity{&z, &a, &role} {
		fx.Must(fx.bound(*e, arn("p")))
		e.Boundary = arn("p")
	}
	got, err := fx.AttachedTo(fx.Ctx, Account, arn("p"))
	fx.Must(err)
	fx.Equal(got, []meta.Attached{{Entity: a}, {Entity: z}, {Entity: g}, {Entity: role}, {Entity: a, Boundary: true},
		{Entity: z, Boundary: true}, {Entity: role, Boundary: true}}, "AttachedTo")
	got, err = fx.AttachedTo(fx.Ctx, Account, awsPolicy)
	fx.Must(err)
	fx.Equal(got, []meta.Attached{{Entity: z}}, "AttachedTo of a policy of AWS, in one account")
	got, err = fx.AttachedTo(fx.Ctx, Account, "")
	fx.Must(err)
	fx.Equal(len(got), 0, "entities of an unknown policy")
	attached, boundary, err := fx.AttachmentCounts(fx.Ctx, Account)
	fx.Must(err)
	fx.Equal(attached, map[string]int{arn("p"): 4, awsPolicy: 1}, "numbers of attachments")
	fx.Equal(boundary, map[string]int{arn("p"): 3}, "numbers of boundaries")
}

// Concurrent attachments never exceed the limit, and never attach a deleted policy.
func testAttachRace(fx *Fixture) {
	u := fx.entity(meta.User, "u")
	for i := range 8 {
		fx.entity(meta.ManagedPolicy, fmt.Sprint("p", i))
	}
	fx.Equal(race(fx, 8, fault.LimitExceeded, func(i int) error {
		return fx.Attach(fx.Ctx, u.ID, arn(fmt.Sprint("p", i)), 5)
	}), 5, "attachments of at most five")
	for round := range 8 {
		n := fmt.Sprint("doomed", round)
		d := fx.entity(meta.ManagedPolicy, n)
		g := fx.entity(meta.Group, n)
		bounded := fx.entity(meta.User, n)
		both(fx, "deleting a policy, and attaching it", []fault.Code{fault.DeleteConflict, fault.NoSuchEntity},
			func() error { return fx.DeleteEntity(fx.Ctx, d) },
			func() error { return fx.Attach(fx.Ctx, g.ID, arn(n), 10) })
		limit := fx.entity(meta.ManagedPolicy, n+"b")
		both(fx, "deleting a policy, and making it a boundary", []fault.Code{fault.DeleteConflict, fault.NoSuchEntity},
			func() error { return fx.DeleteEntity(fx.Ctx, limit) },
			func() error { return fx.bound(bounded, arn(n+"b")) })
	}
}

func testPolicyVersions(fx *Fixture) {
	p := plain(meta.ManagedPolicy, "p")
	p.Path, p.Description, p.Kind = "/x/", "a policy", meta.User // CreateManagedPolicy sets the kind
	fx.Must(fx.CreateManagedPolicy(fx.Ctx, p, policyText, map[string]string{"k": "v"}, 1))
	p.Kind, p.DefaultVersion, p.LastVersion = meta.ManagedPolicy, 1, 1
	got, err := fx.Entity(fx.Ctx, Account, meta.ManagedPolicy, "p")
	fx.Must(err)
	fx.Equal(got, p, "the policy")
	tags, err := fx.EntityTags(fx.Ctx, p.ID)
	fx.Must(err)
	fx.Equal(tags, map[string]string{"k": "v"}, "its tags")
	again := p
	again.ID, again.Name = "ANPA2", "P"
	fx.Want(fx.CreateManagedPolicy(fx.Ctx, again, "{}", nil, 9), fault.EntityAlreadyExists, "the name in another case")
	again.Name = "q"
	fx.Want(fx.CreateManagedPolicy(fx.Ctx, again, "{}", nil, 1), fault.LimitExceeded, "a second policy of at most one")
	left, err := fx.PolicyVersions(fx.Ctx, again.ID)
	fx.Must(err)
	fx.Equal(len(left), 0, "versions of a refused policy")

	check := func(what string, def int, numbers ...int) {
		fx.Helper()
		all, err := fx.PolicyVersions(fx.Ctx, p.ID)
		fx.Must(err)
		var have []int
		for _, v := range all {
			have = append(have, v.Number)
		}
		fx.Equal(have, numbers, "%s: versions, newest first", what)
		e, err := fx.EntityByID(fx.Ctx, p.ID)
		fx.Must(err)
		fx.Equal(e.DefaultVersion, def, "%s: the default version", what)
	}
	first, err := fx.PolicyVersions(fx.Ctx, p.ID)
	fx.Must(err)
	fx.Equal(first, []meta.PolicyVersion{{Number: 1, Text: policyText, CreatedAt: monday}}, "the first version")
	v, err := fx.CreatePolicyVersion(fx.Ctx, p.ID, "two", false, 3)
	fx.Must(err)
	fx.Equal([]any{v.Number, v.Text}, []any{2, "two"}, "the second version")
	check("after two", 1, 2, 1)
	e, err := fx.EntityByID(fx.Ctx, p.ID)
	fx.Must(err)
	if !e.UpdatedAt.Equal(v.CreatedAt) || !e.UpdatedAt.After(monday) || !e.CreatedAt.Equal(monday) {
		fx.Errorf("the policy was made at %s and changed at %s, want %s and %s", e.CreatedAt, e.UpdatedAt, monday, v.CreatedAt)
	}
	_, err = fx.CreatePolicyVersion(fx.Ctx, p.ID, "three", true, 3)
	fx.Must(err)
	check("after three", 3, 3, 2, 1)
	v, err = fx.CreatePolicyVersion(fx.Ctx, p.ID, "four", true, 3)
	fx.Want(err, fault.LimitExceeded, "a fourth version of at most three")
	fx.Equal(v, meta.PolicyVersion{}, "the refused version")
	fx.Want(fx.DeletePolicyVersion(fx.Ctx, p.ID, 3), fault.DeleteConflict, "deleting the default version")
	fx.Want(fx.DeletePolicyVersion(fx.Ctx, p.ID, 4), fault.NoSuchEntity, "deleting an unknown version")
	fx.Must(fx.DeletePolicyVersion(fx.Ctx, p.ID, 2))
	fx.Want(fx.DeletePolicyVersion(fx.Ctx, p.ID, 2), fault.NoSuchEntity, "deleting a version twice")
	fx.Want(fx.setDefault(p, 2), fault.NoSuchEntity, "a deleted version as the default")
	fx.Must(fx.setDefault(p, 1))
	check("with the first as default", 1, 3, 1)
	fx.Must(fx.DeletePolicyVersion(fx.Ctx, p.ID, 3))
	v, err = fx.CreatePolicyVersion(fx.Ctx, p.ID, "four", false, 3)
	fx.Must(err)
	fx.Equal(v.Number, 4, "the number after that of a deleted version")
	check("at last", 1, 4, 1)
}

func (fx *Fixture) setDefault(p meta.Entity, number int) error {
	_, err := fx.UpdateEntity(fx.Ctx, p, func(e *meta.Entity) error { e.DefaultVersion = number; return nil })
	return err
}

// A policy always has its default version, and a version number is used once.
func testPolicyVersionRace(fx *Fixture) {
	p := fx.entity(meta.ManagedPolicy, "p")
	for round := range 8 {
		v, err := fx.CreatePolicyVersion(fx.Ctx, p.ID, "{}", false, 5)
		fx.Must(err)
		both(fx, "deleting a version, and making it the default one", []fault.Code{fault.DeleteConflict, fault.NoSuchEntity},
			func() error { return fx.DeletePolicyVersion(fx.Ctx, p.ID, v.Number) },
			func() error { return fx.setDefault(p, v.Number) })
		e, err := fx.EntityByID(fx.Ctx, p.ID)
		fx.Must(err)
		all, err := fx.PolicyVersions(fx.Ctx, p.ID)
		fx.Must(err)
		found := false
		for _, v := range all {
			found = found || v.Number == e.DefaultVersion
		}
		if !found {
			fx.Fatalf("round %d: the default version is %d, of %+v", round, e.DefaultVersion, all)
		}
		if e.DefaultVersion == v.Number { // delete the older one
			fx.Must(fx.DeletePolicyVersion(fx.Ctx, p.ID, all[len(all)-1].Number))
		}
	}
	q := fx.entity(meta.ManagedPolicy, "q")
	fx.Equal(race(fx, 8, fault.LimitExceeded, func(int) error {
		_, err := fx.CreatePolicyVersion(fx.Ctx, q.ID, "{}", false, 5)
		return err
	}), 4, "additional versions, of at most five")
	for round := range 4 {
		n := fmt.Sprint("doomed", round)
		d := fx.entity(meta.ManagedPolicy, n)
		both(fx, "deleting a policy, and adding a version", []fault.Code{fault.DeleteConflict, fault.NoSuchEntity},
			func() error { return fx.DeleteEntity(fx.Ctx, d) },
			func() error { _, err := fx.CreatePolicyVersion(fx.Ctx, d.ID, "{}", true, 5); return err })
	}
}
