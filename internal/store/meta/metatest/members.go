package metatest

import (
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func names(all []meta.Entity) (list []string) {
	for _, e := range all {
		list = append(list, e.Name)
	}
	return list
}

func testMembers(w *World) {
	for _, c := range []struct {
		container, member                meta.EntityKind
		tooManyOf, tooManyIn, noLongerIn string
		containerQuota, memberQuota      int
	}{
		{meta.Group, meta.User, "Cannot exceed quota for GroupsPerUser: 2", "", "The user is not in the group.", 2, 0},
		{meta.InstanceProfile, meta.Role, "Cannot exceed quota for InstanceProfilesPerRole: 2", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 2", "The role is not in the instance profile.", 2, 2},
	} {
		var in, of []meta.Entity
		for _, n := range []string{"c", "A", "b"} {
			in, of = append(in, w.entity(c.container, n)), append(of, w.entity(c.member, n))
		}
		add := func(i, j int) error { return w.AddMember(w.Ctx, in[i].ID, of[j].ID, c.containerQuota, c.memberQuota) }
		w.Must(add(0, 0))
		w.Must(add(1, 0))
		err := add(2, 0)
		w.Want(err, fault.LimitExceeded, "kind %d: in a third of at most two", c.container)
		w.Equal(fault.From(err).Public, c.tooManyOf, "the text")
		w.Must(add(0, 0)) // twice is no error, also at the limit
		w.Must(add(0, 1))
		err = add(0, 2)
		if c.memberQuota == 0 {
			w.Must(err)
		} else {
			w.Want(err, fault.LimitExceeded, "kind %d: a third member of at most two", c.container)
			w.Equal(fault.From(err).Public, c.tooManyIn, "the text")
			w.Must(w.AddMember(w.Ctx, in[0].ID, of[2].ID, 2, 3))
		}
		members, err := w.Members(w.Ctx, in[0].ID)
		w.Must(err)
		w.Equal(members, []meta.Entity{of[1], of[2], of[0]}, "kind %d: Members by name", c.container)
		containers, err := w.Containers(w.Ctx, of[0].ID)
		w.Must(err)
		w.Equal(containers, []meta.Entity{in[1], in[0]}, "kind %d: Containers by name", c.container)

		w.Must(w.RemoveMember(w.Ctx, in[0].ID, of[0].ID))
		err = w.RemoveMember(w.Ctx, in[0].ID, of[0].ID)
		w.Want(err, fault.NoSuchEntity, "kind %d: removing twice", c.container)
		w.Equal(fault.From(err).Public, c.noLongerIn, "the text")
		w.Must(add(2, 0))
		containers, err = w.Containers(w.Ctx, of[0].ID)
		w.Must(err)
		w.Equal(names(containers), []string{"A", "b"}, "kind %d: Containers after a change", c.container)
		members, err = w.Members(w.Ctx, of[0].ID)
		w.Must(err)
		w.Equal(len(members), 0, "members of a member")
	}
}

// A user that is deleted has no group and no key, and one that got either stays.
func testMemberRace(w *World) {
	g := w.entity(meta.Group, "g")
	for round := range 6 {
		n := fmt.Sprint("u", round)
		u := w.entity(meta.User, n)
		codes := []fault.Code{fault.DeleteConflict, fault.NoSuchEntity}
		remove := func() error { return w.DeleteEntity(w.Ctx, u) }
		both(w, "deleting a user, and putting it into a group", codes, remove,
			func() error { return w.AddMember(w.Ctx, g.ID, u.ID, 10, 0) })
		k := Key(Account, "AKIA"+n)
		n += "k"
		u = w.entity(meta.User, n)
		k.Principal = u.ID
		both(w, "deleting a user, and making a key for it", codes, remove, func() error { return w.PutAccessKey(w.Ctx, k, 2) })
		n += "g"
		d := w.entity(meta.Group, n)
		member := w.entity(meta.User, n+"u")
		both(w, "deleting a group, and putting a user into it", codes,
			func() error { return w.DeleteEntity(w.Ctx, d) },
			func() error { return w.AddMember(w.Ctx, d.ID, member.ID, 10, 0) })
	}
	members, err := w.Members(w.Ctx, g.ID)
	w.Must(err)
	for _, m := range members {
		_, err := w.EntityByID(w.Ctx, m.ID)
		w.Want(err, 0, "a member of the group")
	}
	role := w.entity(meta.Role, "r")
	for i := range 8 {
		w.entity(meta.InstanceProfile, fmt.Sprint("p", i))
	}
	won := race(w, 8, fault.LimitExceeded, func(i int) error {
		return w.AddMember(w.Ctx, prefixes[meta.InstanceProfile]+fmt.Sprint("P", i), role.ID, 5, 1)
	})
	w.Equal(won, 5, "instance profiles of a role, of at most five")
	w.entity(meta.InstanceProfile, "one")
	for i := range 8 {
		w.entity(meta.Role, fmt.Sprint("r", i))
	}
	won = race(w, 8, fault.LimitExceeded, func(i int) error {
		return w.AddMember(w.Ctx, "AIPAONE", prefixes[meta.Role]+fmt.Sprint("R", i), 5, 1)
	})
	w.Equal(won, 1, "roles in an instance profile, of at most one")
}
