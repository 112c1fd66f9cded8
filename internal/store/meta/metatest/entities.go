package metatest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// prefixes are the prefixes of the unique ids of the kinds, which choose the name of a quota in error texts.
var prefixes = map[meta.EntityKind]string{
	meta.User: "AIDA", meta.Group: "AGPA", meta.Role: "AROA", meta.ManagedPolicy: "ANPA", meta.InstanceProfile: "AIPA",
	meta.OIDCProvider: "OIDC",
}

const policyText = `{"Version": "2012-10-17", "Statement": []}`

// plain returns an entity of the fixture's account that is not stored yet.
func plain(kind meta.EntityKind, entityName string) meta.Entity {
	return meta.Entity{ID: prefixes[kind] + strings.ToUpper(entityName), Account: Account, Kind: kind, Name: entityName,
		Path: "/", CreatedAt: monday, UpdatedAt: monday}
}

// entity creates an entity.
func (fx *Fixture) entity(kind meta.EntityKind, entityName string) meta.Entity {
	fx.Helper()
	e := plain(kind, entityName)
	if kind == meta.ManagedPolicy {
		fx.Must(fx.CreateManagedPolicy(fx.Ctx, e, policyText, nil, 10_000))
		e.DefaultVersion, e.LastVersion = 1, 1
		return e
	}
	fx.Must(fx.CreateEntity(fx.Ctx, e, nil, 10_000))
	return e
}

// arn returns the ARN of a managed policy with the path /.
func arn(policyName string) string {
	return "arn:aws:iam::" + Account.String() + ":policy/" + policyName
}

const awsPolicy = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"

func testEntities(fx *Fixture) {
	fx.entity(meta.ManagedPolicy, "limit")
	full := []meta.Entity{plain(meta.User, "Bob"), plain(meta.Group, "Bob"), plain(meta.Role, "Bob"),
		plain(meta.InstanceProfile, "Bob"), plain(meta.OIDCProvider, "a.example:8443/x")}
	full[0].Path, full[0].Boundary = "/team/a/", arn("limit")
	full[2].Boundary, full[2].Description, full[2].MaxSession, full[2].Service = awsPolicy, "a role", 90*time.Minute, "ecr.amazonaws.com"
	full[2].Trust = meta.BoundPolicy{Text: policyText, IDs: map[string]string{"arn:aws:iam::111122223333:user/Bob": "AIDABOB"}}
	full[4].ClientIDs, full[4].Thumbprints = []string{"sts.amazonaws.com", `with "quotes", and more`}, []string{"00ff"}
	tags := map[string]string{"Team": "a", "empty": ""}
	for _, e := range full {
		fx.Must(fx.CreateEntity(fx.Ctx, e, tags, 10))
		got, err := fx.Entity(fx.Ctx, Account, e.Kind, e.Name)
		fx.Must(err)
		fx.Equal(got, e, "Entity of kind %d", e.Kind)
		got, err = fx.EntityByID(fx.Ctx, e.ID)
		fx.Must(err)
		fx.Equal(got, e, "EntityByID of kind %d", e.Kind)
		kept, err := fx.EntityTags(fx.Ctx, e.ID)
		fx.Must(err)
		fx.Equal(kept, tags, "EntityTags of kind %d", e.Kind)

		again := e
		again.ID, again.Name = e.ID+"2", strings.ToUpper(e.Name)
		fx.Want(fx.CreateEntity(fx.Ctx, again, nil, 10), fault.EntityAlreadyExists, "%q in addition to %q", again.Name, e.Name)
		again.Name = "other"
		fx.Want(fx.CreateEntity(fx.Ctx, again, nil, 1), fault.LimitExceeded, "one more of kind %d", e.Kind)
		_, err = fx.Entity(fx.Ctx, Account, e.Kind, strings.ToUpper(e.Name))
		fx.Want(err, fault.NoSuchEntity, "a name in another case, kind %d", e.Kind)
		_, err = fx.Entity(fx.Ctx, other, e.Kind, e.Name)
		fx.Want(err, fault.NoSuchEntity, "a name in another account, kind %d", e.Kind)
	}
	_, err := fx.EntityByID(fx.Ctx, "AIDANONE")
	fx.Want(err, fault.NoSuchEntity, "an unknown id")
	counts, err := fx.CountEntities(fx.Ctx, Account)
	fx.Must(err)
	fx.Equal(counts, map[meta.EntityKind]int{meta.User: 1, meta.Group: 1, meta.Role: 1, meta.ManagedPolicy: 1,
		meta.InstanceProfile: 1, meta.OIDCProvider: 1}, "CountEntities")
	counts, err = fx.CountEntities(fx.Ctx, nowhere)
	fx.Must(err)
	fx.Equal(len(counts), 0, "kinds of an account without any")

	lost := plain(meta.User, "lost")
	lost.Account = nowhere
	fx.Want(fx.CreateEntity(fx.Ctx, lost, nil, 10), fault.AccountNotFound, "a user of an unknown account")
	fx.Want(fx.CreateManagedPolicy(fx.Ctx, lost, policyText, nil, 10), fault.AccountNotFound, "a policy of an unknown account")
	for _, bad := range []string{arn("none"), arn("LIMIT"), arn("path/limit"), "arn:aws:iam::444455556666:policy/limit",
		"arn:aws:iam::x:policy/limit", "limit"} {
		e := plain(meta.User, "bounded")
		e.Boundary = bad
		fx.Want(fx.CreateEntity(fx.Ctx, e, nil, 10), fault.NoSuchEntity, "a user with the boundary %s", bad)
	}
	// The same name in another account is another entity.
	account(fx, other)
	theirs := plain(meta.User, "Bob")
	theirs.ID, theirs.Account = "AIDATHEIRS", other
	fx.Must(fx.CreateEntity(fx.Ctx, theirs, nil, 1))
	got, err := fx.Entity(fx.Ctx, other, meta.User, "Bob")
	fx.Must(err)
	fx.Equal(got, theirs, "an entity with the same name in another account")
}

// The error texts about names are those of IAM: clients parse them.
func testEntityTexts(fx *Fixture) {
	for kind, want := range map[meta.EntityKind][3]string{
		meta.User: {"User with name x already exists.", "The user with name y cannot be found.",
			"Cannot exceed quota for UsersPerAccount: 1"},
		meta.Group: {"Group with name x already exists.", "The group with name y cannot be found.",
			"Cannot exceed quota for GroupsPerAccount: 1"},
		meta.Role: {"Role with name x already exists.", "The role with name y cannot be found.",
			"Cannot exceed quota for RolesPerAccount: 1"},
		meta.InstanceProfile: {"Instance Profile x already exists.", "Instance Profile y cannot be found.",
			"Cannot exceed quota for InstanceProfilesPerAccount: 1"},
		meta.ManagedPolicy: {"A policy called x already exists. Duplicate names are not allowed.",
			"The policy y was not found.", "Cannot exceed quota for PoliciesPerAccount: 1"},
		meta.OIDCProvider: {"Provider with url https://x already exists.", "The OpenIDConnect provider y was not found.",
			"Cannot exceed quota for OpenIdConnectProvidersPerAccount: 1"},
	} {
		fx.entity(kind, "x")
		twice := plain(kind, "x")
		twice.ID += "2"
		_, missing := fx.Entity(fx.Ctx, Account, kind, "y")
		for i, err := range []error{fx.CreateEntity(fx.Ctx, twice, nil, 10), missing, fx.CreateEntity(fx.Ctx, plain(kind, "y"), nil, 1)} {
			if got := fault.From(err).Public; got != want[i] {
				fx.Errorf("kind %d: got the text %q, want %q", kind, got, want[i])
			}
		}
	}
}

func testEntityPages(fx *Fixture) {
	for n, path := range map[string]string{"e": "/", "B": "/x/", "a": "/x/y/", "D": "/xy/", "c": "/ü/"} {
		e := plain(meta.User, n)
		e.Path = path
		fx.Must(fx.CreateEntity(fx.Ctx, e, nil, 10))
	}
	fx.entity(meta.Group, "Bb")
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"", "", 9, "BDace"}, {"/", "", 9, "BDace"}, {"", "", 2, "BD"}, {"", "D", 2, "ac"}, {"", "E", 9, "ace"}, {"", "e", 9,
			""}, {"/x", "", 9, "BDa"},
		{"/x/", "", 9, "Ba"}, {"/x/", "B", 9, "a"}, {"/x/", "", 1, "B"}, {"/X/", "", 9, ""}, {"/ü/", "", 9, "c"}, {"/_", "", 9, ""},
	} {
		all, err := fx.Entities(fx.Ctx, Account, meta.User, c.prefix, c.after, c.limit)
		fx.Must(err)
		got := ""
		for _, e := range all {
			got += e.Name
		}
		fx.Equal(got, c.want, "Entities(%q, after %q, at most %d)", c.prefix, c.after, c.limit)
	}
}

func testUpdateEntity(fx *Fixture) {
	fx.entity(meta.ManagedPolicy, "limit")
	bob, ann := fx.entity(meta.User, "bob"), fx.entity(meta.User, "ann")
	update := func(entityName string, change func(*meta.Entity)) (meta.Entity, error) {
		resolved, err := fx.Entity(fx.Ctx, Account, meta.User, entityName)
		if err != nil {
			return meta.Entity{}, err
		}
		return fx.UpdateEntity(fx.Ctx, resolved, func(e *meta.Entity) error { change(e); return nil })
	}
	before := bob
	bob.Name, bob.Path, bob.Boundary = "Robert", "/x/", arn("limit")
	bob.UpdatedAt = monday.Add(time.Second)
	got, err := update("bob", func(e *meta.Entity) {
		e.Name, e.Path, e.Boundary, e.UpdatedAt = bob.Name, bob.Path, bob.Boundary, bob.UpdatedAt
		e.ID, e.Account, e.Kind, e.CreatedAt, e.LastVersion = "AIDAOTHER", other, meta.Role, time.Time{}, 9 // these must not change
	})
	fx.Must(err)
	fx.Equal(got, bob, "UpdateEntity")
	got, err = fx.EntityByID(fx.Ctx, bob.ID)
	fx.Must(err)
	fx.Equal(got, bob, "after UpdateEntity")
	_, err = fx.Entity(fx.Ctx, Account, meta.User, "bob")
	fx.Want(err, fault.NoSuchEntity, "the previous name")
	got, err = fx.UpdateEntity(fx.Ctx, before, func(e *meta.Entity) error { e.Name = "lost"; return nil })
	fx.Want(err, fault.TargetChanged, "a change of bob as read before it got another name")
	fx.Equal(got, meta.Entity{}, "the entity of that change")

	for what, c := range map[string]struct {
		name   string
		change func(*meta.Entity)
		want   fault.Code
	}{
		"of an unknown entity":              {"bob", func(*meta.Entity) {}, fault.NoSuchEntity},
		"to the name of another":            {"Robert", func(e *meta.Entity) { e.Name = "ann" }, fault.EntityAlreadyExists},
		"to the name in another case":       {"Robert", func(e *meta.Entity) { e.Name = "ANN" }, fault.EntityAlreadyExists},
		"to a boundary that does not exist": {"Robert", func(e *meta.Entity) { e.Boundary = arn("none") }, fault.NoSuchEntity},
		"to a version that does not exist":  {"Robert", func(e *meta.Entity) { e.DefaultVersion = 7 }, fault.NoSuchEntity},
	} {
		got, err := update(c.name, c.change)
		fx.Want(err, c.want, "a change %s", what)
		fx.Equal(got, meta.Entity{}, "the entity of a refused change %s", what)
	}
	got, err = update("Robert", func(e *meta.Entity) { e.Name = "ROBERT" })
	fx.Must(err)
	fx.Equal(got.Name, "ROBERT", "its own name in another case")
	_, err = update("ROBERT", func(e *meta.Entity) { e.Boundary = awsPolicy })
	fx.Must(err)
	_, err = update("ROBERT", func(e *meta.Entity) { e.Boundary = "" })
	fx.Must(err)

	mine := fault.InvalidInput.New("no")
	_, err = fx.UpdateEntity(fx.Ctx, ann, func(e *meta.Entity) error { e.Path = "/lost/"; return mine })
	if !errors.Is(err, error(mine)) {
		fx.Errorf("an error of the change: got %v, want that error", err)
	}
	got, err = fx.EntityByID(fx.Ctx, ann.ID)
	fx.Must(err)
	fx.Equal(got, ann, "after an error of the change")
}

// An entity with keys, policies, members or versions cannot be deleted, and each reason has its own text.
func testDeleteEntity(fx *Fixture) {
	const detach, inline = "Cannot delete entity, must detach all policies first.", "Cannot delete entity, must delete policies first."
	const inUse = "Cannot delete a policy attached to entities."
	fx.entity(meta.ManagedPolicy, "p")
	hang := func(do func(meta.Entity) error, undo func(meta.Entity) error, text string) [3]any {
		return [3]any{do, undo, text}
	}
	attach := hang(func(e meta.Entity) error {
		return fx.Attach(fx.Ctx, e.ID, arn("p"), 9)
	}, func(e meta.Entity) error { return fx.Detach(fx.Ctx, e.ID, arn("p")) }, detach)
	put := hang(func(e meta.Entity) error {
		return fx.PutInline(fx.Ctx, e.ID, meta.Inline{Name: "i"}, 9)
	}, func(e meta.Entity) error { return fx.DeleteInline(fx.Ctx, e.ID, "i") }, inline)
	key := hang(func(e meta.Entity) error {
		k := Key(Account, "AKIAOFUSER")
		k.Principal = e.ID
		return fx.PutAccessKey(fx.Ctx, k, 2)
	}, func(meta.Entity) error { return fx.DeleteAccessKey(fx.Ctx, "AKIAOFUSER") }, "Cannot delete entity, must delete access keys first.")
	user, role := fx.entity(meta.User, "member"), fx.entity(meta.Role, "member")
	group, profile := fx.entity(meta.Group, "container"), fx.entity(meta.InstanceProfile, "container")
	member := func(container, member func(meta.Entity) string, text string) [3]any {
		return hang(func(e meta.Entity) error { return fx.AddMember(fx.Ctx, container(e), member(e), 9, 0) },
			func(e meta.Entity) error { return fx.RemoveMember(fx.Ctx, container(e), member(e)) }, text)
	}
	self := func(e meta.Entity) string { return e.ID }
	one := func(e meta.Entity) func(meta.Entity) string { return func(meta.Entity) string { return e.ID } }
	for kind, hanging := range map[meta.EntityKind][][3]any{
		meta.User:            {attach, put, key, member(one(group), self, "Cannot delete entity, must remove users from group first.")},
		meta.Group:           {attach, put, member(self, one(user), "Cannot delete entity, must remove users from group first.")},
		meta.Role:            {attach, put, member(one(profile), self, "Cannot delete entity, must remove roles from instance profile first.")},
		meta.InstanceProfile: {member(self, one(role), "Cannot delete entity, must remove roles from instance profile first.")},
		meta.ManagedPolicy: {
			hang(func(e meta.Entity) error {
				return fx.Attach(fx.Ctx, group.ID, arn(e.Name), 9)
			}, func(e meta.Entity) error { return fx.Detach(fx.Ctx, group.ID, arn(e.Name)) }, inUse),
			hang(func(e meta.Entity) error { return fx.bound(user, arn(e.Name)) }, func(meta.Entity) error { return fx.bound(user, "") }, inUse),
			hang(func(e meta.Entity) error { _, err := fx.CreatePolicyVersion(fx.Ctx, e.ID, "{}", false, 5); return err },
				func(e meta.Entity) error {
					return fx.DeletePolicyVersion(fx.Ctx, e.ID, 2)
				},
				"This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."),
		},
		meta.OIDCProvider: nil,
	} {
		e := fx.entity(kind, "doomed")
		fx.Must(fx.PutEntityTags(fx.Ctx, e.ID, map[string]string{"k": "v"}, 50)) // tags do not prevent the deletion
		for _, h := range hanging {
			fx.Must(h[0].(func(meta.Entity) error)(e))
			err := fx.DeleteEntity(fx.Ctx, e)
			fx.Want(err, fault.DeleteConflict, "kind %d: %s", kind, h[2])
			if got := fault.From(cmp.Or(err, errors.New("none"))).Public; got != h[2] {
				fx.Errorf("kind %d: got the text %q, want %q", kind, got, h[2])
			}
			fx.Must(h[1].(func(meta.Entity) error)(e))
		}
		otherCase, otherPath := e, e
		otherCase.Name, otherPath.Path = "DOOMED", "/x/"
		fx.Want(fx.DeleteEntity(fx.Ctx, otherCase), fault.TargetChanged, "kind %d: another case", kind)
		fx.Want(fx.DeleteEntity(fx.Ctx, otherPath), fault.TargetChanged, "kind %d: another path", kind)
		fx.Must(fx.DeleteEntity(fx.Ctx, e))
		fx.Want(fx.DeleteEntity(fx.Ctx, e), fault.NoSuchEntity, "kind %d: a second time", kind)
		_, err := fx.EntityByID(fx.Ctx, e.ID)
		fx.Want(err, fault.NoSuchEntity, "kind %d: the deleted one", kind)
		left, err := fx.EntityTags(fx.Ctx, e.ID)
		fx.Must(err)
		fx.Equal(len(left), 0, "kind %d: tags of the deleted one", kind)
	}
}

// bound sets the boundary of a user.
func (fx *Fixture) bound(user meta.Entity, boundary string) error {
	_, err := fx.UpdateEntity(fx.Ctx, user, func(e *meta.Entity) error { e.Boundary = boundary; return nil })
	return err
}

// Changes of an entity that was deleted are refused.
func testEntityDeleted(fx *Fixture) {
	fx.entity(meta.ManagedPolicy, "p")
	user, group, doomed := fx.entity(meta.User, "u"), fx.entity(meta.Group, "g"), fx.entity(meta.ManagedPolicy, "doomed")
	gone := fx.entity(meta.User, "gone")
	fx.Must(fx.DeleteEntity(fx.Ctx, gone))
	fx.Must(fx.DeleteEntity(fx.Ctx, doomed))
	successor := gone
	successor.ID = "AIDASUCCESSOR"
	fx.Must(fx.CreateEntity(fx.Ctx, successor, nil, 10))
	_, update := fx.UpdateEntity(fx.Ctx, gone, func(e *meta.Entity) error { e.Path = "/lost/"; return nil })
	k := Key(Account, "AKIAOFNOBODY")
	k.Principal = gone.ID
	for what, err := range map[string]error{
		"UpdateEntity":                 update,
		"DeleteEntity":                 fx.DeleteEntity(fx.Ctx, gone),
		"PutEntityTags":                fx.PutEntityTags(fx.Ctx, gone.ID, map[string]string{"k": "v"}, 50),
		"RemoveEntityTags":             fx.RemoveEntityTags(fx.Ctx, gone.ID, []string{"k"}),
		"PutInline":                    fx.PutInline(fx.Ctx, gone.ID, meta.Inline{Name: "i"}, 9),
		"DeleteInline":                 fx.DeleteInline(fx.Ctx, gone.ID, "i"),
		"Attach":                       fx.Attach(fx.Ctx, gone.ID, arn("p"), 9),
		"Attach of a deleted policy":   fx.Attach(fx.Ctx, user.ID, arn("doomed"), 9),
		"Detach":                       fx.Detach(fx.Ctx, gone.ID, arn("p")),
		"AddMember":                    fx.AddMember(fx.Ctx, group.ID, gone.ID, 9, 0),
		"AddMember to a deleted group": fx.AddMember(fx.Ctx, gone.ID, user.ID, 9, 0),
		"RemoveMember":                 fx.RemoveMember(fx.Ctx, group.ID, gone.ID),
		"PutAccessKey":                 fx.PutAccessKey(fx.Ctx, k, 2),
		"a deleted boundary":           fx.bound(user, arn("doomed")),
		"CreatePolicyVersion": func() error {
			_, err := fx.CreatePolicyVersion(fx.Ctx, doomed.ID, "{}", false, 5)
			return err
		}(),
		"DeletePolicyVersion": fx.DeletePolicyVersion(fx.Ctx, doomed.ID, 1),
	} {
		fx.Want(err, fault.NoSuchEntity, "%s", what)
	}
	fx.Must(fx.SetUsed(fx.Ctx, map[string]meta.Use{"AKIANONE": {At: monday}}, map[string]meta.Use{gone.ID: {At: monday}}))
}

// Names that differ only in case are the same name, also in concurrent calls.
func testEntityNameRace(fx *Fixture) {
	spellings := []string{"name", "Name", "nAme", "naMe", "namE", "NAme", "NAMe", "NAME"}
	for kind := meta.User; kind <= meta.OIDCProvider; kind++ {
		won := race(fx, len(spellings), fault.EntityAlreadyExists, func(i int) error {
			e := plain(kind, spellings[i])
			e.ID = fmt.Sprint(prefixes[kind], i)
			if kind == meta.ManagedPolicy {
				return fx.CreateManagedPolicy(fx.Ctx, e, policyText, nil, 10)
			}
			return fx.CreateEntity(fx.Ctx, e, map[string]string{"by": e.ID}, 10)
		})
		fx.Equal(won, 1, "kind %d: acknowledged creations of one name", kind)
		all, err := fx.Entities(fx.Ctx, Account, kind, "", "", 100)
		fx.Must(err)
		if len(all) != 1 || !slices.Contains(spellings, all[0].Name) {
			fx.Errorf("kind %d: got %+v, want one of %q", kind, all, spellings)
		}
	}
	won := race(fx, 8, fault.LimitExceeded, func(i int) error { return fx.CreateEntity(fx.Ctx, plain(meta.User, fmt.Sprint("u", i)), nil, 5) })
	fx.Equal(won, 4, "additional users, of at most 5")
	all, err := fx.Entities(fx.Ctx, Account, meta.User, "", "u", 100)
	fx.Must(err)
	won = race(fx, len(all), fault.EntityAlreadyExists, func(i int) error {
		_, err := fx.UpdateEntity(fx.Ctx, all[i], func(e *meta.Entity) error { e.Name = "same"; return nil })
		return err
	})
	fx.Equal(won, 1, "users that were renamed to one name")
}
