package metatest

import (
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func testEntityTags(fx *Fixture) {
	for kind := meta.User; kind <= meta.OIDCProvider; kind++ {
		folded := kind == meta.User || kind == meta.Role
		e := fx.entity(kind, "x")
		check := func(what string, want map[string]string) {
			fx.Helper()
			got, err := fx.EntityTags(fx.Ctx, e.ID)
			fx.Must(err)
			fx.Equal(got, want, "kind %d: tags %s", kind, what)
		}
		check("at first", nil)
		fx.Must(fx.PutEntityTags(fx.Ctx, e.ID, map[string]string{"Team": "a", "b": ""}, 3))
		fx.Must(fx.PutEntityTags(fx.Ctx, e.ID, map[string]string{"TEAM": "c"}, 3))
		if folded {
			check("after a key in another case", map[string]string{"Team": "c", "b": ""})
			fx.Must(fx.PutEntityTags(fx.Ctx, e.ID, map[string]string{"New": "1", "nEW": "2"}, 3))
			check("after a key in two cases", map[string]string{"Team": "c", "b": "", "New": "2"})
		} else {
			check("after a key in another case", map[string]string{"Team": "a", "TEAM": "c", "b": ""})
		}
		fx.Want(fx.PutEntityTags(fx.Ctx, e.ID, map[string]string{"b": "lost", "d": ""}, 3), fault.LimitExceeded,
			"kind %d: a fourth of at most three", kind)
		fx.Must(fx.RemoveEntityTags(fx.Ctx, e.ID, []string{"new", "none", "teaM", "TEAM"}))
		if folded {
			check("at last", map[string]string{"b": ""})
		} else {
			check("at last", map[string]string{"Team": "a", "b": ""})
		}
	}
}

func testEntityTagRace(fx *Fixture) {
	u := fx.entity(meta.User, "u")
	fx.Equal(race(fx, 8, 0, func(i int) error {
		key := "team"
		return fx.PutEntityTags(fx.Ctx, u.ID, map[string]string{strings.ToUpper(key[:i%5]) + key[i%5:]: fmt.Sprint(i)}, 50)
	}), 8, "acknowledged values of one key")
	tags, err := fx.EntityTags(fx.Ctx, u.ID)
	fx.Must(err)
	fx.Equal(len(tags), 1, "spellings of one key: %v", tags)

	p := fx.entity(meta.ManagedPolicy, "p")
	fx.Equal(race(fx, 8, fault.LimitExceeded, func(i int) error {
		return fx.PutEntityTags(fx.Ctx, p.ID, map[string]string{fmt.Sprint(i): ""}, 5)
	}), 5, "tags of at most five")
}
