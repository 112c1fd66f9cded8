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

// prefixes begin the unique ids of the kinds, by which texts of quotas tell them apart.
var prefixes = map[meta.EntityKind]string{
	meta.User: "AIDA", meta.Group: "AGPA", meta.Role: "AROA", meta.ManagedPolicy: "ANPA", meta.InstanceProfile: "AIPA", meta.OIDCProvider: "OIDC",
}

const policyText = `{"Version": "2012-10-17", "Statement": []}`

// plain is an entity of the World's account as it would be made.
func plain(kind meta.EntityKind, entityName string) meta.Entity {
	return meta.Entity{ID: prefixes[kind] + strings.ToUpper(entityName), Account: Account, Kind: kind, Name: entityName, Path: "/", CreatedAt: monday, UpdatedAt: monday}
}

// entity makes one.
func (w *World) entity(kind meta.EntityKind, entityName string) meta.Entity {
	w.Helper()
	e := plain(kind, entityName)
	if kind == meta.ManagedPolicy {
		w.Must(w.CreateManagedPolicy(w.Ctx, e, policyText, nil, 10_000))
		e.DefaultVersion, e.LastVersion = 1, 1
		return e
	}
	w.Must(w.CreateEntity(w.Ctx, e, nil, 10_000))
	return e
}

// arn is the ARN of a managed policy at the path /.
func arn(policyName string) string {
	return "arn:aws:iam::" + Account.String() + ":policy/" + policyName
}

const awsPolicy = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"

func testEntities(w *World) {
	w.entity(meta.ManagedPolicy, "limit")
	full := []meta.Entity{plain(meta.User, "Bob"), plain(meta.Group, "Bob"), plain(meta.Role, "Bob"), plain(meta.InstanceProfile, "Bob"), plain(meta.OIDCProvider, "a.example:8443/x")}
	full[0].Path, full[0].Boundary = "/team/a/", arn("limit")
	full[2].Boundary, full[2].Description, full[2].MaxSession, full[2].Service = awsPolicy, "a role", 90*time.Minute, "ecr.amazonaws.com"
	full[2].Trust = meta.BoundPolicy{Text: policyText, IDs: map[string]string{"arn:aws:iam::111122223333:user/Bob": "AIDABOB"}}
	full[4].ClientIDs, full[4].Thumbprints = []string{"sts.amazonaws.com", `with "quotes", and more`}, []string{"00ff"}
	tags := map[string]string{"Team": "a", "empty": ""}
	for _, e := range full {
		w.Must(w.CreateEntity(w.Ctx, e, tags, 10))
		got, err := w.Entity(w.Ctx, Account, e.Kind, e.Name)
		w.Must(err)
		w.Equal(got, e, "Entity of kind %d", e.Kind)
		got, err = w.EntityByID(w.Ctx, e.ID)
		w.Must(err)
		w.Equal(got, e, "EntityByID of kind %d", e.Kind)
		kept, err := w.EntityTags(w.Ctx, e.ID)
		w.Must(err)
		w.Equal(kept, tags, "EntityTags of kind %d", e.Kind)

		again := e
		again.ID, again.Name = e.ID+"2", strings.ToUpper(e.Name)
		w.Want(w.CreateEntity(w.Ctx, again, nil, 10), fault.EntityAlreadyExists, "%q beside %q", again.Name, e.Name)
		again.Name = "other"
		w.Want(w.CreateEntity(w.Ctx, again, nil, 1), fault.LimitExceeded, "one more of kind %d", e.Kind)
		_, err = w.Entity(w.Ctx, Account, e.Kind, strings.ToUpper(e.Name))
		w.Want(err, fault.NoSuchEntity, "a name in another case, kind %d", e.Kind)
		_, err = w.Entity(w.Ctx, other, e.Kind, e.Name)
		w.Want(err, fault.NoSuchEntity, "a name in another account, kind %d", e.Kind)
	}
	_, err := w.EntityByID(w.Ctx, "AIDANONE")
	w.Want(err, fault.NoSuchEntity, "an id that is not there")
	counts, err := w.CountEntities(w.Ctx, Account)
	w.Must(err)
	w.Equal(counts, map[meta.EntityKind]int{meta.User: 1, meta.Group: 1, meta.Role: 1, meta.ManagedPolicy: 1, meta.InstanceProfile: 1, meta.OIDCProvider: 1}, "CountEntities")
	counts, err = w.CountEntities(w.Ctx, nowhere)
	w.Must(err)
	w.Equal(len(counts), 0, "kinds of an account without any")

	lost := plain(meta.User, "lost")
	lost.Account = nowhere
	w.Want(w.CreateEntity(w.Ctx, lost, nil, 10), fault.AccountNotFound, "a user of an account that is not there")
	w.Want(w.CreateManagedPolicy(w.Ctx, lost, policyText, nil, 10), fault.AccountNotFound, "a policy of an account that is not there")
	for _, bad := range []string{arn("none"), arn("LIMIT"), arn("path/limit"), "arn:aws:iam::444455556666:policy/limit", "arn:aws:iam::x:policy/limit", "limit"} {
		e := plain(meta.User, "bounded")
		e.Boundary = bad
		w.Want(w.CreateEntity(w.Ctx, e, nil, 10), fault.NoSuchEntity, "a user with the boundary %s", bad)
	}
	// The same name in another account is another one.
	account(w, other)
	theirs := plain(meta.User, "Bob")
	theirs.ID, theirs.Account = "AIDATHEIRS", other
	w.Must(w.CreateEntity(w.Ctx, theirs, nil, 1))
	got, err := w.Entity(w.Ctx, other, meta.User, "Bob")
	w.Must(err)
	w.Equal(got, theirs, "a namesake in another account")
}

// What IAM says of names is what its clients look for.
func testEntityTexts(w *World) {
	for kind, want := range map[meta.EntityKind][3]string{
		meta.User:            {"User with name x already exists.", "The user with name y cannot be found.", "Cannot exceed quota for UsersPerAccount: 1"},
		meta.Group:           {"Group with name x already exists.", "The group with name y cannot be found.", "Cannot exceed quota for GroupsPerAccount: 1"},
		meta.Role:            {"Role with name x already exists.", "The role with name y cannot be found.", "Cannot exceed quota for RolesPerAccount: 1"},
		meta.InstanceProfile: {"Instance Profile x already exists.", "Instance Profile y cannot be found.", "Cannot exceed quota for InstanceProfilesPerAccount: 1"},
		meta.ManagedPolicy:   {"A policy called x already exists. Duplicate names are not allowed.", "The policy y was not found.", "Cannot exceed quota for PoliciesPerAccount: 1"},
		meta.OIDCProvider:    {"Provider with url https://x already exists.", "The OpenIDConnect provider y was not found.", "Cannot exceed quota for OpenIdConnectProvidersPerAccount: 1"},
	} {
		w.entity(kind, "x")
		twice := plain(kind, "x")
		twice.ID += "2"
		_, missing := w.Entity(w.Ctx, Account, kind, "y")
		for i, err := range []error{w.CreateEntity(w.Ctx, twice, nil, 10), missing, w.CreateEntity(w.Ctx, plain(kind, "y"), nil, 1)} {
			if got := fault.From(err).Public; got != want[i] {
				w.Errorf("kind %d: got the text %q, want %q", kind, got, want[i])
			}
		}
	}
}

func testEntityPages(w *World) {
	for n, path := range map[string]string{"e": "/", "B": "/x/", "a": "/x/y/", "D": "/xy/", "c": "/ü/"} {
		e := plain(meta.User, n)
		e.Path = path
		w.Must(w.CreateEntity(w.Ctx, e, nil, 10))
	}
	w.entity(meta.Group, "Bb")
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"", "", 9, "BDace"}, {"/", "", 9, "BDace"}, {"", "", 2, "BD"}, {"", "D", 2, "ac"}, {"", "E", 9, "ace"}, {"", "e", 9, ""}, {"/x", "", 9, "BDa"},
		{"/x/", "", 9, "Ba"}, {"/x/", "B", 9, "a"}, {"/x/", "", 1, "B"}, {"/X/", "", 9, ""}, {"/ü/", "", 9, "c"}, {"/_", "", 9, ""},
	} {
		all, err := w.Entities(w.Ctx, Account, meta.User, c.prefix, c.after, c.limit)
		w.Must(err)
		got := ""
		for _, e := range all {
			got += e.Name
		}
		w.Equal(got, c.want, "Entities(%q, after %q, at most %d)", c.prefix, c.after, c.limit)
	}
}

func testUpdateEntity(w *World) {
	w.entity(meta.ManagedPolicy, "limit")
	bob, ann := w.entity(meta.User, "bob"), w.entity(meta.User, "ann")
	update := func(entityName string, change func(*meta.Entity)) (meta.Entity, error) {
		resolved, err := w.Entity(w.Ctx, Account, meta.User, entityName)
		if err != nil {
			return meta.Entity{}, err
		}
		return w.UpdateEntity(w.Ctx, resolved, func(e *meta.Entity) error { change(e); return nil })
	}
	before := bob
	bob.Name, bob.Path, bob.Boundary = "Robert", "/x/", arn("limit")
	bob.UpdatedAt = monday.Add(time.Second)
	got, err := update("bob", func(e *meta.Entity) {
		e.Name, e.Path, e.Boundary, e.UpdatedAt = bob.Name, bob.Path, bob.Boundary, bob.UpdatedAt
		e.ID, e.Account, e.Kind, e.CreatedAt, e.LastVersion = "AIDAOTHER", other, meta.Role, time.Time{}, 9 // which stay
	})
	w.Must(err)
	w.Equal(got, bob, "UpdateEntity")
	got, err = w.EntityByID(w.Ctx, bob.ID)
	w.Must(err)
	w.Equal(got, bob, "after UpdateEntity")
	_, err = w.Entity(w.Ctx, Account, meta.User, "bob")
	w.Want(err, fault.NoSuchEntity, "the name before")
	got, err = w.UpdateEntity(w.Ctx, before, func(e *meta.Entity) error { e.Name = "lost"; return nil })
	w.Want(err, fault.TargetChanged, "a change of bob as it was before it got another name")
	w.Equal(got, meta.Entity{}, "the entity of that change")

	for what, c := range map[string]struct {
		name   string
		change func(*meta.Entity)
		want   fault.Code
	}{
		"of nobody":                       {"bob", func(*meta.Entity) {}, fault.NoSuchEntity},
		"to the name of another":          {"Robert", func(e *meta.Entity) { e.Name = "ann" }, fault.EntityAlreadyExists},
		"to the name in another case":     {"Robert", func(e *meta.Entity) { e.Name = "ANN" }, fault.EntityAlreadyExists},
		"to a boundary that is not there": {"Robert", func(e *meta.Entity) { e.Boundary = arn("none") }, fault.NoSuchEntity},
		"to a version that is not there":  {"Robert", func(e *meta.Entity) { e.DefaultVersion = 7 }, fault.NoSuchEntity},
	} {
		got, err := update(c.name, c.change)
		w.Want(err, c.want, "a change %s", what)
		w.Equal(got, meta.Entity{}, "the entity of a refused change %s", what)
	}
	got, err = update("Robert", func(e *meta.Entity) { e.Name = "ROBERT" })
	w.Must(err)
	w.Equal(got.Name, "ROBERT", "its own name in another case")
	_, err = update("ROBERT", func(e *meta.Entity) { e.Boundary = awsPolicy })
	w.Must(err)
	_, err = update("ROBERT", func(e *meta.Entity) { e.Boundary = "" })
	w.Must(err)

	mine := fault.InvalidInput.New("no")
	_, err = w.UpdateEntity(w.Ctx, ann, func(e *meta.Entity) error { e.Path = "/lost/"; return mine })
	if !errors.Is(err, error(mine)) {
		w.Errorf("an error of the change: got %v, want it", err)
	}
	got, err = w.EntityByID(w.Ctx, ann.ID)
	w.Must(err)
	w.Equal(got, ann, "after an error of the change")
}

// Each thing that hangs on an entity keeps it from being deleted, with a text of its own.
func testDeleteEntity(w *World) {
	const detach, inline = "Cannot delete entity, must detach all policies first.", "Cannot delete entity, must delete policies first."
	const inUse = "Cannot delete a policy attached to entities."
	w.entity(meta.ManagedPolicy, "p")
	hang := func(do func(meta.Entity) error, undo func(meta.Entity) error, text string) [3]any {
		return [3]any{do, undo, text}
	}
	attach := hang(func(e meta.Entity) error { return w.Attach(w.Ctx, e.ID, arn("p"), 9) }, func(e meta.Entity) error { return w.Detach(w.Ctx, e.ID, arn("p")) }, detach)
	put := hang(func(e meta.Entity) error { return w.PutInline(w.Ctx, e.ID, meta.Inline{Name: "i"}, 9) }, func(e meta.Entity) error { return w.DeleteInline(w.Ctx, e.ID, "i") }, inline)
	key := hang(func(e meta.Entity) error {
		k := Key(Account, "AKIAOFUSER")
		k.Principal = e.ID
		return w.PutAccessKey(w.Ctx, k, 2)
	}, func(meta.Entity) error { return w.DeleteAccessKey(w.Ctx, "AKIAOFUSER") }, "Cannot delete entity, must delete access keys first.")
	user, role := w.entity(meta.User, "member"), w.entity(meta.Role, "member")
	group, profile := w.entity(meta.Group, "container"), w.entity(meta.InstanceProfile, "container")
	member := func(container, member func(meta.Entity) string, text string) [3]any {
		return hang(func(e meta.Entity) error { return w.AddMember(w.Ctx, container(e), member(e), 9, 0) },
			func(e meta.Entity) error { return w.RemoveMember(w.Ctx, container(e), member(e)) }, text)
	}
	self := func(e meta.Entity) string { return e.ID }
	one := func(e meta.Entity) func(meta.Entity) string { return func(meta.Entity) string { return e.ID } }
	for kind, hanging := range map[meta.EntityKind][][3]any{
		meta.User:            {attach, put, key, member(one(group), self, "Cannot delete entity, must remove users from group first.")},
		meta.Group:           {attach, put, member(self, one(user), "Cannot delete entity, must remove users from group first.")},
		meta.Role:            {attach, put, member(one(profile), self, "Cannot delete entity, must remove roles from instance profile first.")},
		meta.InstanceProfile: {member(self, one(role), "Cannot delete entity, must remove roles from instance profile first.")},
		meta.ManagedPolicy: {
			hang(func(e meta.Entity) error { return w.Attach(w.Ctx, group.ID, arn(e.Name), 9) }, func(e meta.Entity) error { return w.Detach(w.Ctx, group.ID, arn(e.Name)) }, inUse),
			hang(func(e meta.Entity) error { return w.bound(user, arn(e.Name)) }, func(meta.Entity) error { return w.bound(user, "") }, inUse),
			hang(func(e meta.Entity) error { _, err := w.CreatePolicyVersion(w.Ctx, e.ID, "{}", false, 5); return err },
				func(e meta.Entity) error { return w.DeletePolicyVersion(w.Ctx, e.ID, 2) }, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."),
		},
		meta.OIDCProvider: nil,
	} {
		e := w.entity(kind, "doomed")
		w.Must(w.PutEntityTags(w.Ctx, e.ID, map[string]string{"k": "v"}, 50)) // these are no hindrance
		for _, h := range hanging {
			w.Must(h[0].(func(meta.Entity) error)(e))
			err := w.DeleteEntity(w.Ctx, e)
			w.Want(err, fault.DeleteConflict, "kind %d: %s", kind, h[2])
			if got := fault.From(cmp.Or(err, errors.New("none"))).Public; got != h[2] {
				w.Errorf("kind %d: got the text %q, want %q", kind, got, h[2])
			}
			w.Must(h[1].(func(meta.Entity) error)(e))
		}
		otherCase, otherPath := e, e
		otherCase.Name, otherPath.Path = "DOOMED", "/x/"
		w.Want(w.DeleteEntity(w.Ctx, otherCase), fault.TargetChanged, "kind %d: another case", kind)
		w.Want(w.DeleteEntity(w.Ctx, otherPath), fault.TargetChanged, "kind %d: another path", kind)
		w.Must(w.DeleteEntity(w.Ctx, e))
		w.Want(w.DeleteEntity(w.Ctx, e), fault.NoSuchEntity, "kind %d: a second time", kind)
		_, err := w.EntityByID(w.Ctx, e.ID)
		w.Want(err, fault.NoSuchEntity, "kind %d: the deleted one", kind)
		left, err := w.EntityTags(w.Ctx, e.ID)
		w.Must(err)
		w.Equal(len(left), 0, "kind %d: tags of the deleted one", kind)
	}
}

// bound sets a user's boundary.
func (w *World) bound(user meta.Entity, boundary string) error {
	_, err := w.UpdateEntity(w.Ctx, user, func(e *meta.Entity) error { e.Boundary = boundary; return nil })
	return err
}

// What hangs on an entity is refused when the entity is gone.
func testEntityGone(w *World) {
	w.entity(meta.ManagedPolicy, "p")
	user, group, doomed := w.entity(meta.User, "u"), w.entity(meta.Group, "g"), w.entity(meta.ManagedPolicy, "doomed")
	gone := w.entity(meta.User, "gone")
	w.Must(w.DeleteEntity(w.Ctx, gone))
	w.Must(w.DeleteEntity(w.Ctx, doomed))
	namesake := gone
	namesake.ID = "AIDANAMESAKE"
	w.Must(w.CreateEntity(w.Ctx, namesake, nil, 10))
	_, update := w.UpdateEntity(w.Ctx, gone, func(e *meta.Entity) error { e.Path = "/lost/"; return nil })
	k := Key(Account, "AKIAOFNOBODY")
	k.Principal = gone.ID
	for what, err := range map[string]error{
		"UpdateEntity":           update,
		"DeleteEntity":           w.DeleteEntity(w.Ctx, gone),
		"PutEntityTags":          w.PutEntityTags(w.Ctx, gone.ID, map[string]string{"k": "v"}, 50),
		"RemoveEntityTags":       w.RemoveEntityTags(w.Ctx, gone.ID, []string{"k"}),
		"PutInline":              w.PutInline(w.Ctx, gone.ID, meta.Inline{Name: "i"}, 9),
		"DeleteInline":           w.DeleteInline(w.Ctx, gone.ID, "i"),
		"Attach":                 w.Attach(w.Ctx, gone.ID, arn("p"), 9),
		"Attach of one gone":     w.Attach(w.Ctx, user.ID, arn("doomed"), 9),
		"Detach":                 w.Detach(w.Ctx, gone.ID, arn("p")),
		"AddMember":              w.AddMember(w.Ctx, group.ID, gone.ID, 9, 0),
		"AddMember to one gone":  w.AddMember(w.Ctx, gone.ID, user.ID, 9, 0),
		"RemoveMember":           w.RemoveMember(w.Ctx, group.ID, gone.ID),
		"PutAccessKey":           w.PutAccessKey(w.Ctx, k, 2),
		"a boundary that's gone": w.bound(user, arn("doomed")),
		"CreatePolicyVersion": func() error {
			_, err := w.CreatePolicyVersion(w.Ctx, doomed.ID, "{}", false, 5)
			return err
		}(),
		"DeletePolicyVersion": w.DeletePolicyVersion(w.Ctx, doomed.ID, 1),
	} {
		w.Want(err, fault.NoSuchEntity, "%s", what)
	}
	w.Must(w.SetUsed(w.Ctx, map[string]meta.Use{"AKIANONE": {At: monday}}, map[string]meta.Use{gone.ID: {At: monday}}))
}

// Names that differ by case alone are one name, also for those that come at once.
func testEntityNameRace(w *World) {
	spellings := []string{"name", "Name", "nAme", "naMe", "namE", "NAme", "NAMe", "NAME"}
	for kind := meta.User; kind <= meta.OIDCProvider; kind++ {
		won := race(w, len(spellings), fault.EntityAlreadyExists, func(i int) error {
			e := plain(kind, spellings[i])
			e.ID = fmt.Sprint(prefixes[kind], i)
			if kind == meta.ManagedPolicy {
				return w.CreateManagedPolicy(w.Ctx, e, policyText, nil, 10)
			}
			return w.CreateEntity(w.Ctx, e, map[string]string{"by": e.ID}, 10)
		})
		w.Equal(won, 1, "kind %d: creations of one name that were acknowledged", kind)
		all, err := w.Entities(w.Ctx, Account, kind, "", "", 100)
		w.Must(err)
		if len(all) != 1 || !slices.Contains(spellings, all[0].Name) {
			w.Errorf("kind %d: got %+v, want one of %q", kind, all, spellings)
		}
	}
	won := race(w, 8, fault.LimitExceeded, func(i int) error { return w.CreateEntity(w.Ctx, plain(meta.User, fmt.Sprint("u", i)), nil, 5) })
	w.Equal(won, 4, "users beside one, of at most 5")
	all, err := w.Entities(w.Ctx, Account, meta.User, "", "u", 100)
	w.Must(err)
	won = race(w, len(all), fault.EntityAlreadyExists, func(i int) error {
		_, err := w.UpdateEntity(w.Ctx, all[i], func(e *meta.Entity) error { e.Name = "same"; return nil })
		return err
	})
	w.Equal(won, 1, "users that got one name")
}
