package metatest

import (
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func testEntityTags(w *World) {
	for kind := meta.User; kind <= meta.OIDCProvider; kind++ {
		folded := kind == meta.User || kind == meta.Role
		e := w.entity(kind, "x")
		check := func(what string, want map[string]string) {
			w.Helper()
			got, err := w.EntityTags(w.Ctx, e.ID)
			w.Must(err)
			w.Equal(got, want, "kind %d: tags %s", kind, what)
		}
		check("at first", nil)
		w.Must(w.PutEntityTags(w.Ctx, e.ID, map[string]string{"Team": "a", "b": ""}, 3))
		w.Must(w.PutEntityTags(w.Ctx, e.ID, map[string]string{"TEAM": "c"}, 3))
		if folded {
			check("after a key in another case", map[string]string{"Team": "c", "b": ""})
			w.Must(w.PutEntityTags(w.Ctx, e.ID, map[string]string{"New": "1", "nEW": "2"}, 3))
			check("after a key in two cases", map[string]string{"Team": "c", "b": "", "New": "2"})
		} else {
			check("after a key in another case", map[string]string{"Team": "a", "TEAM": "c", "b": ""})
		}
		w.Want(w.PutEntityTags(w.Ctx, e.ID, map[string]string{"b": "lost", "d": ""}, 3), fault.LimitExceeded, "kind %d: a fourth of at most three", kind)
		w.Must(w.RemoveEntityTags(w.Ctx, e.ID, []string{"new", "none", "teaM", "TEAM"}))
		if folded {
			check("at last", map[string]string{"b": ""})
		} else {
			check("at last", map[string]string{"Team": "a", "b": ""})
		}
	}
}

func testEntityTagRace(w *World) {
	u := w.entity(meta.User, "u")
	w.Equal(race(w, 8, 0, func(i int) error {
		key := "team"
		return w.PutEntityTags(w.Ctx, u.ID, map[string]string{strings.ToUpper(key[:i%5]) + key[i%5:]: fmt.Sprint(i)}, 50)
	}), 8, "values for one key that were acknowledged")
	tags, err := w.EntityTags(w.Ctx, u.ID)
	w.Must(err)
	w.Equal(len(tags), 1, "spellings of one key: %v", tags)

	p := w.entity(meta.ManagedPolicy, "p")
	w.Equal(race(w, 8, fault.LimitExceeded, func(i int) error { return w.PutEntityTags(w.Ctx, p.ID, map[string]string{fmt.Sprint(i): ""}, 5) }), 5, "tags of at most five")
}
