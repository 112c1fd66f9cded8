package metatest

import (
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// testReplace: of writers at the same time that have all seen the same, one replaces it, and the others are refused in the transaction.
func testReplace(fx *Fixture) {
	changed := fault.PreconditionFailed.New("changed")
	is := func(now, seen string) error {
		if now != seen {
			return changed
		}
		return nil
	}
	const writers = 8
	u, role, r := fx.entity(meta.User, "u"), fx.entity(meta.Role, "r"), fx.Repo("app")
	there := func(prefix string) []meta.ReplicationRule {
		return []meta.ReplicationRule{{Destinations: []name.Registry{{Account: Account, Region: london}}, Prefixes: []string{prefix}}}
	}
	rounds := map[string]struct {
		code    fault.Code
		replace func(seen, text string) error
		now     func() string
	}{
		"ReplaceInline": {fault.PreconditionFailed, func(seen, text string) error {
			return fx.ReplaceInline(fx.Ctx, u.ID, meta.Inline{Name: "p", Text: text}, 2048, func(now string) error { return is(now, seen) })
		}, func() string {
			all, err := fx.Inlines(fx.Ctx, u.ID)
			fx.Must(err)
			return all[0].Text
		}},
		"ReplaceReplicationRules": {fault.PreconditionFailed, func(seen, text string) error {
			return fx.ReplaceReplicationRules(fx.Ctx, Registry, there(text), func(now []meta.ReplicationRule) error {
				if len(now) == 0 {
					return is("", seen)
				}
				return is(now[0].Prefixes[0], seen)
			})
		}, func() string {
			all, err := fx.ReplicationRules(fx.Ctx, Registry)
			fx.Must(err)
			return all[0].Prefixes[0]
		}},
		"ReplaceRegistryPolicy": {fault.TargetChanged, func(seen, text string) error {
			return fx.ReplaceRegistryPolicy(fx.Ctx, Registry, meta.BoundPolicy{Text: seen}, meta.BoundPolicy{Text: text})
		}, func() string {
			p, err := fx.RegistryPolicy(fx.Ctx, Registry)
			fx.Must(err)
			return p.Text
		}},
		"ChangeLifecycle": {fault.PreconditionFailed, func(seen, text string) error {
			_, err := fx.ChangeLifecycle(fx.Ctx, r, func(l *meta.Lifecycle) error {
				err := is(l.Policy, seen)
				l.Policy = text
				return err
			})
			return err
		}, func() string {
			l, err := fx.Lifecycle(fx.Ctx, r.ID)
			fx.Must(err)
			return l.Policy
		}},
		"UpdateEntity": {fault.PreconditionFailed, func(seen, text string) error {
			_, err := fx.UpdateEntity(fx.Ctx, role, func(e *meta.Entity) error {
				err := is(e.Trust.Text, seen)
				e.Trust.Text = text
				return err
			})
			return err
		}, func() string {
			e, err := fx.EntityByID(fx.Ctx, role.ID)
			fx.Must(err)
			return e.Trust.Text
		}},
	}
	for what, c := range rounds {
		for before := ""; len(before) < 3; before = c.now() {
			won := race(fx, writers, c.code, func(i int) error { return c.replace(before, before+string(rune('a'+i))) })
			fx.Equal(won, 1, "%s: writers that replaced %q", what, before)
			if now := c.now(); len(now) != len(before)+1 {
				fx.Fatalf("%s: after writers that have seen %q there is %q", what, before, now)
			}
		}
	}
	for round := range 3 {
		label := fmt.Sprint("c", round)
		won := race(fx, writers, fault.ObjectAlreadyExists, func(int) error {
			_, err := fx.PutObject(fx.Ctx, newObject(meta.KindCluster, label))
			return err
		})
		fx.Equal(won, 1, "writers that made the cluster %s", label)
		o, err := fx.Object(fx.Ctx, Account, meta.KindCluster, label)
		fx.Must(err)
		won = race(fx, writers, fault.TargetChanged, func(int) error {
			_, err := fx.PutObject(fx.Ctx, o)
			return err
		})
		fx.Equal(won, 1, "writers that replaced the cluster %s", label)
	}
}
