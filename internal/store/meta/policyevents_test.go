package meta_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

// Deletion protection and pull through cache rules make events when they change, as policies do.
func TestProtectionAndRulesMakeEvents(t *testing.T) {
	t.Parallel()
	s := open(t)
	fx := metatest.NewFixture(t, s)
	r := fx.Repo("team/app")
	rule, err := s.CreateCacheRule(t.Context(), meta.CacheRule{Registry: metatest.Registry, Prefix: "hub", Host: "registry.example"})
	fx.Must(err)
	_, err = s.UpdateCacheRule(t.Context(), rule)
	fx.Must(err)
	fx.Must(s.SetProtection(t.Context(), r, meta.ProtectsItself))
	fx.Must(s.SetProtection(t.Context(), r, meta.Unprotected))
	fx.Must(s.DeleteCacheRule(t.Context(), metatest.Registry, "hub"))
	events, err := s.Events(t.Context(), metatest.Registry, 0, 100)
	fx.Must(err)
	var got []string
	for _, e := range events {
		for _, kind := range []string{"DELETION_PROTECTION", "PULL_THROUGH_CACHE"} {
			for _, action := range []string{"SET", "DELETE"} {
				if strings.Contains(e.Body, `"policy-type":"`+kind+`"`) && strings.Contains(e.Body, `"action-type":"`+action+`"`) {
					got = append(got, action+" "+kind)
				}
			}
		}
	}
	want := []string{"SET PULL_THROUGH_CACHE", "SET PULL_THROUGH_CACHE", "SET DELETION_PROTECTION", "DELETE DELETION_PROTECTION",
		"DELETE PULL_THROUGH_CACHE"}
	if !slices.Equal(got, want) {
		t.Errorf("got the events %q, want %q", got, want)
	}
}
