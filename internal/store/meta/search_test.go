package meta_test

import (
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// Sorted pages of 100,000 images have all of them once, in their order, and a page of 100 and a step of 500 read no more than they return.
func TestSearchOfManyImages(t *testing.T) {
	slowtest.Only(t, "it stores 100,000 images twice")
	stores := map[string]*meta.Store{"SQLite": open(t), "PostgreSQL": openPostgres(t)}
	for database, s := range stores {
		const n = 100_000
		fx := metatest.NewFixture(t, s)
		r := fill(t, fx, n)
		for i := range 20 {
			fx.Must(s.Write(t.Context(), func(tx *meta.Tx) error {
				_, err := tx.Exec(`UPDATE images SET registry = $1, size = pushed_at * 7919 % 100003,
					pulled_at = CASE WHEN pushed_at % 2 = 0 THEN 0 ELSE pushed_at END
					WHERE repository = $2 AND deleted_at = 0 AND pushed_at > $3 AND pushed_at <= $4`,
					r.Registry.String(), r.ID, i*n/20, (i+1)*n/20)
				return err
			}))
		}
		for _, o := range []meta.SearchOrder{{Key: meta.BySize}, {Key: meta.BySize, Ascending: true}, {Key: meta.ByPush}, {Key: meta.ByPull},
			{Key: meta.ByPull, Ascending: true}} {
			at, seen, worst, begin := o.Start(), 0, time.Duration(0), time.Now()
			for {
				step := time.Now()
				page, err := s.SearchImages(t.Context(), metatest.Registry, o, at, 500)
				fx.Must(err)
				if len(page) == 0 {
					break
				}
				worst = max(worst, time.Since(step))
				for _, im := range page {
					if before := im.Place.Value < at.Value; im.Place.Value != at.Value && before == o.Ascending {
						t.Fatalf("%s, %v: %+v follows %+v", database, o, im.Place, at)
					}
					at = im.Place
				}
				seen += len(page)
			}
			if seen != n {
				t.Errorf("%s, %v: got %d images, want %d", database, o, seen, n)
			}
			t.Logf("%s, %v: a step of 500 takes %v on average and %v at most", database, o, time.Since(begin)/(n/500), worst)
		}
	}
}
