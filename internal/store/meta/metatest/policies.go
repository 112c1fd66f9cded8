package metatest

import (
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func testInlinePolicies(w *World) {
	for _, kind := range []meta.EntityKind{meta.User, meta.Group, meta.Role} {
		e := w.entity(kind, "x")
		check := func(want ...meta.Inline) {
			w.Helper()
			got, err := w.Inlines(w.Ctx, e.ID)
			w.Must(err)
			w.Equal(got, want, "kind %d: Inlines", kind)
		}
		check()
		b, a := meta.Inline{Name: "b", Text: "{ \"x\":\n\t\"語\" }"}, meta.Inline{Name: "B", Text: "12"} // 9 and 2 characters that count
		w.Must(w.PutInline(w.Ctx, e.ID, b, 9))
		w.Want(w.PutInline(w.Ctx, e.ID, a, 10), fault.LimitExceeded, "11 characters of at most 10")
		check(b)
		w.Must(w.PutInline(w.Ctx, e.ID, a, 11))
		check(a, b)
		a.Text = "1 "
		w.Must(w.PutInline(w.Ctx, e.ID, a, 10)) // what it replaces does not count
		check(a, b)
		w.Want(w.DeleteInline(w.Ctx, e.ID, "c"), fault.NoSuchEntity, "a policy that is not there")
		w.Must(w.DeleteInline(w.Ctx, e.ID, "b"))
		w.Want(w.DeleteInline(w.Ctx, e.ID, "b"), fault.NoSuchEntity, "a deleted policy")
		check(a)
	}
	u := w.entity(meta.User, "race")
	won := race(w, 8, fault.LimitExceeded, func(i int) error {
		return w.PutInline(w.Ctx, u.ID, meta.Inline{Name: fmt.Sprint(i), Text: strings.Repeat("x", 100)}, 399)
	})
	w.Equal(won, 3, "policies of 100 characters, of at most 399 together")
}

func testAttachments(w *World) {
	for _, n := range []string{"b", "a", "c"} {
		w.entity(meta.ManagedPolicy, n)
	}
	for kind, quota := range map[meta.EntityKind]string{meta.User: "PoliciesPerUser", meta.Group: "PoliciesPerGroup", meta.Role: "PoliciesPerRole"} {
		e := w.entity(kind, "x")
		check := func(want ...string) {
			w.Helper()
			got, err := w.Attachments(w.Ctx, e.ID)
			w.Must(err)
			w.Equal(got, want, "kind %d: Attachments", kind)
		}
		check()
		w.Must(w.Attach(w.Ctx, e.ID, arn("b"), 2))
		w.Must(w.Attach(w.Ctx, e.ID, awsPolicy, 2))
		err := w.Attach(w.Ctx, e.ID, arn("a"), 2)
		w.Want(err, fault.LimitExceeded, "kind %d: a third of at most two", kind)
		w.Equal(fault.From(err).Public, "Cannot exceed quota for "+quota+": 2", "the text")
		w.Must(w.Attach(w.Ctx, e.ID, arn("b"), 2)) // twice is no error, also at the limit
		check(arn("b"), awsPolicy)
		w.Must(w.Detach(w.Ctx, e.ID, awsPolicy))
		w.Want(w.Detach(w.Ctx, e.ID, awsPolicy), fault.NoSuchEntity, "kind %d: detaching twice", kind)
		for _, bad := range []string{arn("none"), arn("B"), arn("x/b"), "arn:aws:iam::444455556666:policy/b"} {
			w.Want(w.Attach(w.Ctx, e.ID, bad, 9), fault.NoSuchEntity, "kind %d: the policy %s", kind, bad)
		}
		check(arn("b"))
	}
}

func testAttachedTo(w *World) {
	account(w, other)
	w.entity(meta.ManagedPolicy, "p")
	role, z, a, g := w.entity(meta.Role, "r"), w.entity(meta.User, "z"), w.entity(meta.User, "a"), w.entity(meta.Group, "g")
	theirs := plain(meta.User, "a")
	theirs.ID, theirs.Account, theirs.Boundary = "AIDATHEIRS", other, awsPolicy
	w.Must(w.CreateEntity(w.Ctx, theirs, nil, 10))
	w.Must(w.Attach(w.Ctx, theirs.ID, awsPolicy, 10))
	w.Want(w.Attach(w.Ctx, theirs.ID, arn("p"), 10), fault.NoSuchEntity, "a policy of another account")
	foreign := theirs
	foreign.ID, foreign.Name, foreign.Boundary = "AIDAFOREIGN", "foreign", arn("p")
	w.Want(w.CreateEntity(w.Ctx, foreign, nil, 10), fault.NoSuchEntity, "a boundary of another account")
	for _, e := range []meta.Entity{role, z, a, g} {
		w.Must(w.Attach(w.Ctx, e.ID, arn("p"), 10))
	}
	w.Must(w.Attach(w.Ctx, z.ID, awsPolicy, 10))
	for _, e := range []*meta.Entity{&z, &a, &role} {
		w.Must(w.bound(*e, arn("p")))
		e.Boundary = arn("p")
	}
	got, err := w.AttachedTo(w.Ctx, Account, arn("p"))
	w.Must(err)
	w.Equal(got, []meta.Attached{{Entity: a}, {Entity: z}, {Entity: g}, {Entity: role}, {Entity: a, Boundary: true}, {Entity: z, Boundary: true}, {Entity: role, Boundary: true}}, "AttachedTo")
	got, err = w.AttachedTo(w.Ctx, Account, awsPolicy)
	w.Must(err)
	w.Equal(got, []meta.Attached{{Entity: z}}, "AttachedTo of a policy of AWS, in one account")
	got, err = w.AttachedTo(w.Ctx, Account, "")
	w.Must(err)
	w.Equal(len(got), 0, "entities of no policy")
	attached, boundary, err := w.AttachmentCounts(w.Ctx, Account)
	w.Must(err)
	w.Equal(attached, map[string]int{arn("p"): 4, awsPolicy: 1}, "how often attached")
	w.Equal(boundary, map[string]int{arn("p"): 3}, "how often a boundary")
}

// Attaching at once: never more than allowed, and never a policy that is deleted meanwhile.
func testAttachRace(w *World) {
	u := w.entity(meta.User, "u")
	for i := range 8 {
		w.entity(meta.ManagedPolicy, fmt.Sprint("p", i))
	}
	w.Equal(race(w, 8, fault.LimitExceeded, func(i int) error { return w.Attach(w.Ctx, u.ID, arn(fmt.Sprint("p", i)), 5) }), 5, "attachments of at most five")
	for round := range 8 {
		n := fmt.Sprint("doomed", round)
		d := w.entity(meta.ManagedPolicy, n)
		g := w.entity(meta.Group, n)
		bounded := w.entity(meta.User, n)
		both(w, "deleting a policy, and attaching it", []fault.Code{fault.DeleteConflict, fault.NoSuchEntity},
			func() error { return w.DeleteEntity(w.Ctx, d) },
			func() error { return w.Attach(w.Ctx, g.ID, arn(n), 10) })
		limit := w.entity(meta.ManagedPolicy, n+"b")
		both(w, "deleting a policy, and making it a boundary", []fault.Code{fault.DeleteConflict, fault.NoSuchEntity},
			func() error { return w.DeleteEntity(w.Ctx, limit) },
			func() error { return w.bound(bounded, arn(n+"b")) })
	}
}

func testPolicyVersions(w *World) {
	p := plain(meta.ManagedPolicy, "p")
	p.Path, p.Description, p.Kind = "/x/", "a policy", meta.User // the kind is what the method says
	w.Must(w.CreateManagedPolicy(w.Ctx, p, policyText, map[string]string{"k": "v"}, 1))
	p.Kind, p.DefaultVersion, p.LastVersion = meta.ManagedPolicy, 1, 1
	got, err := w.Entity(w.Ctx, Account, meta.ManagedPolicy, "p")
	w.Must(err)
	w.Equal(got, p, "the policy")
	tags, err := w.EntityTags(w.Ctx, p.ID)
	w.Must(err)
	w.Equal(tags, map[string]string{"k": "v"}, "its tags")
	again := p
	again.ID, again.Name = "ANPA2", "P"
	w.Want(w.CreateManagedPolicy(w.Ctx, again, "{}", nil, 9), fault.EntityAlreadyExists, "the name in another case")
	again.Name = "q"
	w.Want(w.CreateManagedPolicy(w.Ctx, again, "{}", nil, 1), fault.LimitExceeded, "a second policy of at most one")
	left, err := w.PolicyVersions(w.Ctx, again.ID)
	w.Must(err)
	w.Equal(len(left), 0, "versions of a refused policy")

	check := func(what string, def int, numbers ...int) {
		w.Helper()
		all, err := w.PolicyVersions(w.Ctx, p.ID)
		w.Must(err)
		var have []int
		for _, v := range all {
			have = append(have, v.Number)
		}
		w.Equal(have, numbers, "%s: versions, newest first", what)
		e, err := w.EntityByID(w.Ctx, p.ID)
		w.Must(err)
		w.Equal(e.DefaultVersion, def, "%s: the default version", what)
	}
	first, err := w.PolicyVersions(w.Ctx, p.ID)
	w.Must(err)
	w.Equal(first, []meta.PolicyVersion{{Number: 1, Text: policyText, CreatedAt: monday}}, "the first version")
	v, err := w.CreatePolicyVersion(w.Ctx, p.ID, "two", false, 3)
	w.Must(err)
	w.Equal([]any{v.Number, v.Text}, []any{2, "two"}, "the second version")
	check("after two", 1, 2, 1)
	e, err := w.EntityByID(w.Ctx, p.ID)
	w.Must(err)
	if !e.UpdatedAt.Equal(v.CreatedAt) || !e.UpdatedAt.After(monday) || !e.CreatedAt.Equal(monday) {
		w.Errorf("the policy was made at %s and changed at %s, want %s and %s", e.CreatedAt, e.UpdatedAt, monday, v.CreatedAt)
	}
	_, err = w.CreatePolicyVersion(w.Ctx, p.ID, "three", true, 3)
	w.Must(err)
	check("after three", 3, 3, 2, 1)
	v, err = w.CreatePolicyVersion(w.Ctx, p.ID, "four", true, 3)
	w.Want(err, fault.LimitExceeded, "a fourth version of at most three")
	w.Equal(v, meta.PolicyVersion{}, "the refused version")
	w.Want(w.DeletePolicyVersion(w.Ctx, p.ID, 3), fault.DeleteConflict, "deleting the default version")
	w.Want(w.DeletePolicyVersion(w.Ctx, p.ID, 4), fault.NoSuchEntity, "deleting a version that never was")
	w.Must(w.DeletePolicyVersion(w.Ctx, p.ID, 2))
	w.Want(w.DeletePolicyVersion(w.Ctx, p.ID, 2), fault.NoSuchEntity, "deleting a version twice")
	w.Want(w.setDefault(p, 2), fault.NoSuchEntity, "a deleted version as the default")
	w.Must(w.setDefault(p, 1))
	check("with the first as default", 1, 3, 1)
	w.Must(w.DeletePolicyVersion(w.Ctx, p.ID, 3))
	v, err = w.CreatePolicyVersion(w.Ctx, p.ID, "four", false, 3)
	w.Must(err)
	w.Equal(v.Number, 4, "the number after that of a deleted version")
	check("at last", 1, 4, 1)
}

func (w *World) setDefault(p meta.Entity, number int) error {
	_, err := w.UpdateEntity(w.Ctx, p, func(e *meta.Entity) error { e.DefaultVersion = number; return nil })
	return err
}

// A policy always has its default version, and a number is given out once.
func testPolicyVersionRace(w *World) {
	p := w.entity(meta.ManagedPolicy, "p")
	for round := range 8 {
		v, err := w.CreatePolicyVersion(w.Ctx, p.ID, "{}", false, 5)
		w.Must(err)
		both(w, "deleting a version, and making it the default one", []fault.Code{fault.DeleteConflict, fault.NoSuchEntity},
			func() error { return w.DeletePolicyVersion(w.Ctx, p.ID, v.Number) },
			func() error { return w.setDefault(p, v.Number) })
		e, err := w.EntityByID(w.Ctx, p.ID)
		w.Must(err)
		all, err := w.PolicyVersions(w.Ctx, p.ID)
		w.Must(err)
		found := false
		for _, v := range all {
			found = found || v.Number == e.DefaultVersion
		}
		if !found {
			w.Fatalf("round %d: the default version is %d, of %+v", round, e.DefaultVersion, all)
		}
		if e.DefaultVersion == v.Number { // the older one makes room
			w.Must(w.DeletePolicyVersion(w.Ctx, p.ID, all[len(all)-1].Number))
		}
	}
	q := w.entity(meta.ManagedPolicy, "q")
	w.Equal(race(w, 8, fault.LimitExceeded, func(int) error {
		_, err := w.CreatePolicyVersion(w.Ctx, q.ID, "{}", false, 5)
		return err
	}), 4, "versions beside the first, of at most five")
	for round := range 4 {
		n := fmt.Sprint("doomed", round)
		d := w.entity(meta.ManagedPolicy, n)
		both(w, "deleting a policy, and adding a version", []fault.Code{fault.DeleteConflict, fault.NoSuchEntity},
			func() error { return w.DeleteEntity(w.Ctx, d) },
			func() error { _, err := w.CreatePolicyVersion(w.Ctx, d.ID, "{}", true, 5); return err })
	}
}
