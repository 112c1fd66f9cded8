package meta_test

import (
	"cmp"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
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

// Pages of sorted repositories have each of those that are wanted once, in its order, though a page keeps fewer than it reads; and more
// than the most are refused.
func TestSearchSortsRepositoriesInMemory(t *testing.T) {
	s := open(t)
	fx := metatest.NewFixture(t, s)
	const n = 2100 // three steps
	fx.Must(s.Write(t.Context(), func(tx *meta.Tx) error {
		for i := range n {
			if _, err := tx.Exec(`INSERT INTO repositories (id, account, region, name, created_at, mutability, encryption)
				VALUES ($1, $2, $3, $4, 0, 'MUTABLE', 'AES256')`, 1_000_000+i,
				metatest.Registry.Account.String(), metatest.Registry.Region.String(), fmt.Sprintf("many/%04d", i)); err != nil {
				return err
			}
			if _, err := tx.Exec(`INSERT INTO repository_totals (repository, account, region, images, bytes, pushed_at, pulled_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7)`, 1_000_000+i, metatest.Registry.Account.String(), metatest.Registry.Region.String(),
				i%10, i*7919%n, i*13%n, 0); err != nil {
				return err
			}
		}
		return nil
	}))
	fx.Repo("zoo")
	q := meta.RepositorySearch{Registry: metatest.Registry, Prefix: "many/", From: "many.~", Limit: 100, Most: n,
		Wanted: func(n string) bool { return n != "many/0007" }}
	for _, key := range []meta.SearchKey{meta.BySize, meta.ByImages, meta.ByPush, meta.ByPull} {
		for _, ascending := range []bool{false, true} {
			q.Order = meta.SearchOrder{Key: key, Ascending: ascending}
			q.After = q.Order.Start()
			seen := map[string]bool{}
			for {
				page, err := s.SearchRepositories(t.Context(), q)
				fx.Must(err)
				if len(page) == 0 {
					break
				}
				for _, r := range page {
					at := r.Place(q.Order)
					if d := cmp.Or(cmp.Compare(at.Value, q.After.Value), cmp.Compare(at.Repository, q.After.Repository)); d > 0 != ascending {
						t.Fatalf("%v: %+v follows %+v", q.Order, at, q.After)
					}
					seen[r.Name], q.After = true, at
				}
			}
			if len(seen) != n-1 || seen["many/0007"] || seen["zoo"] {
				t.Errorf("%v: got %d repositories, want %d", q.Order, len(seen), n-1)
			}
		}
	}
	q.Most = n - 1
	if _, err := s.SearchRepositories(t.Context(), q); !errors.Is(err, fault.LimitExceeded) {
		t.Errorf("%d repositories of at most %d: got %v, want %v", n, q.Most, err, fault.LimitExceeded)
	}
}
