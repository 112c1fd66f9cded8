package meta_test

import (
	"encoding/json"
	"fmt"
	"regexp"
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

// The ids of events are UUIDs of RFC 9562, random ones or derived from random ones, and all different: those of one change too.
func TestIDsOfEvents(t *testing.T) {
	t.Parallel()
	s := open(t)
	fx := metatest.NewFixture(t, s)
	for i := range 20 {
		fx.Must(s.DeleteRepository(t.Context(), fx.Repo(fmt.Sprint("team/app-", i)), true))
		fx.Image(fx.Repo(fmt.Sprint("team/image-", i)), "content", "v1", "v2", "v3") // several events
	}
	events, err := s.Events(t.Context(), metatest.Registry, 0, 1000)
	fx.Must(err)
	form, seen := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[48][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`), map[string]bool{}
	for _, e := range events {
		var body struct{ ID string }
		fx.Must(json.Unmarshal([]byte(e.Body), &body))
		if !form.MatchString(body.ID) || seen[body.ID] {
			t.Errorf("the event %s has the id %q, want a UUID that no other event has", e.Body, body.ID)
		}
		seen[body.ID] = true
	}
	if len(seen) < 80 {
		t.Errorf("got %d events, want at least 80", len(seen))
	}
}
