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

func testMembers(fx *Fixture) {
	for _, c := range []struct {
		container, member                meta.EntityKind
		tooManyOf, tooManyIn, noLongerIn string
		containerQuota, memberQuota      int
	}{
		{meta.Group, meta.User, "Cannot exceed quota for GroupsPerUser: 2", "", "The user is not in the group.", 2, 0},
		{meta.InstanceProfile, meta.Role, "Cannot exceed quota for InstanceProfilesPerRole: 2",
			"Cannot exceed quota for InstanceSessionsPerInstanceProfile: 2", "The role is not in the instance profile.", 2, 2},
	} {
		var in, of []meta.Entity
		for _, n := range []string{"c", "A", "b"} {
			in, of = append(in, fx.entity(c.container, n)), append(of, fx.entity(c.member, n))
		}
		add := func(i, j int) error { return fx.AddMember(fx.Ctx, in[i].ID, of[j].ID, c.containerQuota, c.memberQuota) }
		fx.Must(add(0, 0))
		fx.Must(add(1, 0))
		err := add(2, 0)
		fx.Want(err, fault.LimitExceeded, "kind %d: in a third of at most two", c.container)
		fx.Equal(fault.From(err).Public, c.tooManyOf, "the text")
		fx.Must(add(0, 0)) // adding twice is not an error, also at the limit
		fx.Must(add(0, 1))
		err = add(0, 2)
		if c.memberQuota == 0 {
			fx.Must(err)
		} else {
			fx.Want(err, fault.LimitExceeded, "kind %d: a third member of at most two", c.container)
			fx.Equal(fault.From(err).Public, c.tooManyIn, "the text")
			fx.Must(fx.AddMember(fx.Ctx, in[0].ID, of[2].ID, 2, 3))
		}
		members, err := fx.Members(fx.Ctx, in[0].ID)
		fx.Must(err)
		fx.Equal(members, []meta.Entity{of[1], of[2], of[0]}, "kind %d: Members by name", c.container)
		containers, err := fx.Containers(fx.Ctx, of[0].ID)
		fx.Must(err)
		fx.Equal(containers, []meta.Entity{in[1], in[0]}, "kind %d: Containers by name", c.container)

		fx.Must(fx.RemoveMember(fx.Ctx, in[0].ID, of[0].ID))
		err = fx.RemoveMember(fx.Ctx, in[0].ID, of[0].ID)
		fx.Want(err, fault.NoSuchEntity, "kind %d: removing twice", c.container)
		fx.Equal(fault.From(err).Public, c.noLongerIn, "the text")
		fx.Must(add(2, 0))
		containers, err = fx.Containers(fx.Ctx, of[0].ID)
		fx.Must(err)
		fx.Equal(names(containers), []string{"A", "b"}, "kind %d: Containers after a change", c.container)
		members, err = fx.Members(fx.Ctx, of[0].ID)
		fx.Must(err)
		fx.Equal(len(members), 0, "members of a member")
	}
}

// A user that is deleted has no group and no key, and a user that got one of them is not deleted.
func testMemberRace(fx *Fixture) {
	g := fx.entity(meta.Group, "g")
	for round := range 6 {
		n := fmt.Sprint("u", round)
		u := fx.entity(meta.User, n)
		codes := []fault.Code{fault.DeleteConflict, fault.NoSuchEntity}
		remove := func() error { return fx.DeleteEntity(fx.Ctx, u) }
		both(fx, "deleting a user, and putting it into a group", codes, remove,
			func() error { return fx.AddMember(fx.Ctx, g.ID, u.ID, 10, 0) })
		k := Key(Account, "AKIA"+n)
		n += "k"
		u = fx.entity(meta.User, n)
		k.Principal = u.ID
		both(fx, "deleting a user, and making a key for it", codes, remove, func() error { return fx.PutAccessKey(fx.Ctx, k, 2) })
		n += "g"
		d := fx.entity(meta.Group, n)
		member := fx.entity(meta.User, n+"u")
		both(fx, "deleting a group, and putting a user into it", codes,
			func() error { return fx.DeleteEntity(fx.Ctx, d) },
			func() error { return fx.AddMember(fx.Ctx, d.ID, member.ID, 10, 0) })
	}
	members, err := fx.Members(fx.Ctx, g.ID)
	fx.Must(err)
	for _, m := range members {
		_, err := fx.EntityByID(fx.Ctx, m.ID)
		fx.Want(err, 0, "a member of the group")
	}
	role := fx.entity(meta.Role, "r")
	for i := range 8 {
		fx.entity(meta.InstanceProfile, fmt.Sprint("p", i))
	}
	won := race(fx, 8, fault.LimitExceeded, func(i int) error {
		return fx.AddMember(fx.Ctx, prefixes[meta.InstanceProfile]+fmt.Sprint("P", i), role.ID, 5, 1)
	})
	fx.Equal(won, 5, "instance profiles of a role, of at most five")
	fx.entity(meta.InstanceProfile, "one")
	for i := range 8 {
		fx.entity(meta.Role, fmt.Sprint("r", i))
	}
	won = race(fx, 8, fault.LimitExceeded, func(i int) error {
		return fx.AddMember(fx.Ctx, "AIPAONE", prefixes[meta.Role]+fmt.Sprint("R", i), 5, 1)
	})
	fx.Equal(won, 1, "roles in an instance profile, of at most one")
}
