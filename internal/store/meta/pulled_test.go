package meta_test

import (
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

// More pull times than one transaction records are all recorded, and an older time does not replace a later one.
func TestManyPullsAreRecorded(t *testing.T) {
	t.Parallel()
	s := open(t)
	fx := metatest.NewFixture(t, s)
	r := fx.Repo("team/app")
	fx.Blob(r, "one")
	const n = 1100
	at := time.UnixMicro(1_700_000_000_000_000).UTC()
	pulls, older := map[meta.PullKey]time.Time{}, map[meta.PullKey]time.Time{}
	var g errgroup.Group
	g.SetLimit(64)
	for i := range n {
		p := metatest.Variant(i, "one")
		k := meta.PullKey{Repository: r.ID, Digest: p.Digest}
		pulls[k], older[k] = at.Add(time.Duration(i)*time.Second), at.Add(-time.Hour)
		g.Go(func() error { return s.PutImage(t.Context(), r, p) })
	}
	fx.Must(g.Wait())
	fx.Must(s.SetPulled(t.Context(), pulls))
	fx.Must(s.SetPulled(t.Context(), older))
	images, err := s.Images(t.Context(), r.ID, meta.Any, meta.Position{}, n+1)
	fx.Must(err)
	if len(images) != n {
		t.Fatalf("got %d images, want %d", len(images), n)
	}
	for _, im := range images {
		if want := pulls[meta.PullKey{Repository: r.ID, Digest: im.Digest}]; !im.PulledAt.Equal(want) {
			t.Errorf("image %s: pulled at %s, want %s", im.Digest, im.PulledAt, want)
		}
	}
}
