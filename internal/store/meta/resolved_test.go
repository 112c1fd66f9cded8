package meta_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// A decision about an entity is for its name and its path: if either is another one at the time of the change, nothing changes.
func TestChangesAreOfTheResolvedEntity(t *testing.T) {
	t.Parallel()
	fx := metatest.NewFixture(t, openAt(t, t.TempDir(), time.Now))
	for i, test := range []struct {
		what   string
		change func(e *meta.Entity)
		want   bool // the change is made
	}{
		{"nothing", func(*meta.Entity) {}, true},
		{"its description", func(e *meta.Entity) { e.Description = "another" }, true},
		{"its name", func(e *meta.Entity) { e.Name = "another" }, false},
		{"its path", func(e *meta.Entity) { e.Path = "/another/" }, false},
	} {
		s := &sweeper{Fixture: fx, i: i}
		e := s.entity(meta.Role, "AROA")
		_, err := s.UpdateEntity(s.Ctx, e, func(e *meta.Entity) error { test.change(e); return nil })
		s.Must(err)
		for what, change := range map[string]func() error{
			"UpdateEntity": func() error {
				_, err := s.UpdateEntity(s.Ctx, e, func(e *meta.Entity) error { e.Boundary = ""; return nil })
				return err
			},
			"DeleteEntity": func() error { return s.DeleteEntity(s.Ctx, e) },
		} {
			if what == "DeleteEntity" && test.want {
				continue // below
			}
			if err := change(); (err == nil) != test.want || err != nil && !errors.Is(err, fault.TargetChanged) {
				t.Errorf("%s after a change of %s: got %v, want it made %t", what, test.what, err, test.want)
			}
		}
		if test.want {
			s.Must(s.DeleteEntity(s.Ctx, e))
		}
		if _, err := s.EntityByID(s.Ctx, e.ID); (err == nil) == test.want {
			t.Errorf("after a change of %s: the entity: got %v", test.what, err)
		}
	}
}

// The history of tags is that of one tag or of all, latest first, a page at a time.
func TestTagHistoryHasPages(t *testing.T) {
	t.Parallel()
	fx := metatest.NewFixture(t, openAt(t, t.TempDir(), time.Now))
	r := fx.Repo("team/app")
	for i := range 3 {
		fx.Image(r, fmt.Sprint("config", i), "v1", fmt.Sprint("only", i))
	}
	read := func(tag string, before int64, limit int) (ids []int64) {
		t.Helper()
		all, err := fx.TagHistory(fx.Ctx, r.ID, tag, before, limit)
		fx.Must(err)
		for i, m := range all {
			if tag != "" && m.Tag != tag || i > 0 && m.ID >= all[i-1].ID || before > 0 && m.ID >= before {
				t.Errorf("of %q before %d: got %+v at %d", tag, before, m, i)
			}
			ids = append(ids, m.ID)
		}
		return ids
	}
	for tag, want := range map[string]int{"": 6, "v1": 3, "only1": 1, "none": 0} {
		whole := read(tag, 0, 10)
		var paged []int64
		for before := int64(0); ; {
			page := read(tag, before, 2)
			if paged = append(paged, page...); len(page) < 2 {
				break
			}
			before = page[1]
		}
		if len(whole) != want || fmt.Sprint(paged) != fmt.Sprint(whole) {
			t.Errorf("of %q: got %v, in pages %v, want %d moves", tag, whole, paged, want)
		}
	}
}
