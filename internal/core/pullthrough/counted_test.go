package pullthrough_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// What a rule did is counted: what was fetched from another registry, what was here already, what was served although that registry
// failed, and that it refused for its limit. Another rule that did nothing has no count.
func TestRulesAreCounted(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	im := ocitest.NewImage(1, 5000)
	owner.CreateRepository(t, "app").Push(t, "v1", im)
	publish(t, owner, "app")
	f := before(t, source)
	var c clock
	s := near(t, c.now, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	rule(t, root, "idle", f)
	layer := ocitest.SHA256(im.Layers[0])
	repo := root.Docker(t).Repo("cache/app")
	for range 3 { // a manifest and a layer, and twice from here
		repo.Manifest(t, "v1").Want(t, 200)
		repo.Blob(t, layer).Want(t, 200)
	}
	proxy := f.handle
	f.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	c.add(25 * time.Hour)
	aged := later(t, s, root, &c).Repo("cache/app")
	aged.Manifest(t, "v1").Want(t, 200) // stale
	c.add(time.Hour)
	f.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			proxy(w, r)
			return
		}
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	aged.Manifest(t, "v2").Want(t, 429)
	aged.Manifest(t, "v2").Want(t, 429) // remembered, and not asked again
	limited := c.now()
	c.add(-26 * time.Hour) // the operator signs by the time of this machine
	s.Restart(t)
	var out ecrintypes.ListPullThroughUsageResponse
	s.Operator(t, "ListPullThroughUsage", ecrintypes.ListPullThroughUsageRequest{}, &out)
	if len(out.Rules) != 1 {
		t.Fatalf("got %+v, want one rule", out.Rules)
	}
	got := out.Rules[0]
	if got.LimitReachedAt == nil || got.LimitReachedAt.Sub(limited).Abs() > time.Minute {
		t.Errorf("got %v as the time of the limit", got.LimitReachedAt)
	}
	got.LimitReachedAt = nil
	held := int64(len(im.Manifest) + len(im.Layers[0]))
	want := ecrintypes.PullThroughUsage{EcrRepositoryPrefix: "cache", Hits: 4, Misses: 2, StaleHits: 1, SavedBytes: 2 * held,
		FetchedBytes: held,
		LimitReached: 1}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
