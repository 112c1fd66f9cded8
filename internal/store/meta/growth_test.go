package meta_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// fill stores n images directly in the tables: each has its own config and shares one layer with all others; nine of
// ten have a tag, and all except those whose number ends in 1 have the first image as their subject.
func fill(t *testing.T, fx *metatest.Fixture, n int) meta.Repository {
	t.Helper()
	r := fx.Repo("team/large")
	err := fx.Write(t.Context(), func(tx *meta.Tx) error {
		if fx.PostgreSQL() {
			for _, text := range printfs {
				if _, err := tx.Exec(text); err != nil {
					return err
				}
			}
		}
		const numbers = `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $2) `
		for _, text := range []string{
			`INSERT INTO manifests (digest, body) ` + numbers +
				`SELECT 'sha256:' || printf('%064x', i), printf('{"n": %d, "this": %d}', i, CAST($1 AS BIGINT)) FROM n`,
			`INSERT INTO images (repository, digest, media_type, artifact_type, subject, annotations, manifest_size, size, depth, tagged, pushed_at)
				` + numbers +
				`SELECT CAST($1 AS BIGINT), 'sha256:' || printf('%064x', i), 'm', 'a', CASE WHEN i % 10 = 1 THEN '' ELSE 'sha256:' || printf('%064x', i / 100) END, '', 10, 1, 0, CASE WHEN i % 10 > 0 THEN 1 ELSE 0 END, i + 1 FROM n`,
			`INSERT INTO tags (repository, tag, digest, moved_at) ` + numbers +
				`SELECT CAST($1 AS BIGINT), printf('t%06d', i), 'sha256:' || printf('%064x', i), i FROM n WHERE i % 10 > 0`,
			`INSERT INTO tag_history (id, repository, tag, from_digest, to_digest, moved_at, principal)
				` + numbers +
				`SELECT i + 1, CAST($1 AS BIGINT), printf('t%06d', i), '', 'sha256:' || printf('%064x', i), i, 'p' FROM n WHERE i % 10 > 0`,
			`INSERT INTO repository_blobs (repository, digest, size, added_at) ` + numbers +
				`SELECT CAST($1 AS BIGINT), 'sha256:' || printf('c%063x', i), 1, i FROM n`,
			`INSERT INTO repository_blobs (repository, digest, size, added_at) SELECT CAST($1 AS BIGINT), 'sha256:' || printf('d%063x', 0), 1, CAST($2 AS BIGINT)`,
			`INSERT INTO image_references (repository, digest, target, kind) ` + numbers +
				`SELECT CAST($1 AS BIGINT), 'sha256:' || printf('%064x', i), 'sha256:' || printf('c%063x', i), 1 FROM n`,
			`INSERT INTO image_references (repository, digest, target, kind) ` + numbers +
				`SELECT CAST($1 AS BIGINT), 'sha256:' || printf('%064x', i), 'sha256:' || printf('d%063x', 0), 1 FROM n`,
		} {
			if _, err := tx.Exec(text, r.ID, n); err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
		}
		return nil
	})
	fx.Must(err)
	return r
}

// printfs make PostgreSQL understand what fill asks of SQLite.
var printfs = []string{
	`CREATE OR REPLACE FUNCTION printf(form text, i int) RETURNS text LANGUAGE sql AS $$
		SELECT CASE form WHEN 't%06d' THEN 't' || lpad(i::text, 6, '0') WHEN '%064x' THEN lpad(to_hex(i), 64, '0')
			ELSE substr(form, 1, 1) || lpad(to_hex(i), 63, '0') END $$`,
	`CREATE OR REPLACE FUNCTION printf(form text, i int, this bigint) RETURNS bytea LANGUAGE sql AS $$
		SELECT convert_to(format(replace(form, '%d', '%s'), i, this), 'UTF8') $$`,
}

func numbered(form string, i int) name.Digest {
	d, err := name.ParseDigest("sha256:" + fmt.Sprintf(form, i))
	if err != nil {
		panic(err)
	}
	return d
}

// onlyNotFound reports whether err is nil or says that the image does not exist: an earlier call has deleted it, or
// it never had a tag.
func onlyNotFound(err error) bool {
	if both, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(both.Unwrap(), func(err error) bool { return !onlyNotFound(err) })
	}
	return errors.Is(err, fault.ImageNotFound)
}

// No call takes longer in a repository of 100,000 images than in one of 1,000. Each call is measured with empty
// caches, alternately in both; the medians are compared.
func TestCostDoesNotGrow(t *testing.T) {
	costDoesNotGrow(t, open)
}

func TestCostDoesNotGrowInPostgreSQL(t *testing.T) {
	long(t)
	costDoesNotGrow(t, openPostgres)
}

func costDoesNotGrow(t *testing.T, open func(*testing.T) *meta.Store) {
	t.Helper()
	if !slowtest.Nightly() {
		t.Skip("it compares times, so that it needs an idle machine: make nightly runs it; TestPlans checks the plans")
	}
	sizes := [2]int{1000, 100_000}
	var fixtures [2]*metatest.Fixture
	var repos [2]meta.Repository
	for i, n := range sizes {
		fixtures[i] = metatest.NewFixture(t, open(t))
		repos[i] = fill(t, fixtures[i], n)
	}
	type call func(s *meta.Store, r meta.Repository, i int) error
	position := func(i int) meta.Position {
		return meta.Position{PushedAt: int64(i + 1), Digest: numbered("%064x", i).String()}
	}
	calls := map[string]call{
		"Head by tag": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.Head(t.Context(), r.ID, metatest.Tag(fmt.Sprintf("t%06d", i|1)))
			return err
		},
		"Head by digest": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.Head(t.Context(), r.ID, metatest.ByDigest(numbered("%064x", i)))
			return err
		},
		"Holding": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.Holding(t.Context(), r.ID, numbered("c%063x", i))
			return err
		},
		"Holding of a shared layer": func(s *meta.Store, r meta.Repository, _ int) error {
			_, err := s.Holding(t.Context(), r.ID, numbered("d%063x", 0))
			return err
		},
		"Images": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.Images(t.Context(), r.ID, meta.Any, position(i/2), 50)
			return err
		},
		"Images, untagged": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.Images(t.Context(), r.ID, meta.Untagged, position(i/2), 50)
			return err
		},
		"ImageIDs": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.ImageIDs(t.Context(), r.ID, meta.Tagged, position(i/2), 100)
			return err
		},
		"Tags": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.Tags(t.Context(), r.ID, fmt.Sprintf("t%06d", i/2), 100)
			return err
		},
		"Referrers": func(s *meta.Store, r meta.Repository, i int) error {
			_, _, err := s.Referrers(t.Context(), r.ID, numbered("%064x", i/200), nil, "", 20)
			return err
		},
		"TagHistory": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.TagHistory(t.Context(), r.ID, "", int64(i+1), 50)
			return err
		},
		"TagHistory of a tag": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.TagHistory(t.Context(), r.ID, fmt.Sprintf("t%06d", i), 0, 50)
			return err
		},
		"TagsLeadingTo": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.TagsLeadingTo(t.Context(), r.ID, numbered("%064x", i))
			return err
		},
		"DeletedImages": func(s *meta.Store, r meta.Repository, _ int) error {
			_, err := s.DeletedImages(t.Context(), r.ID, 50)
			return err
		},
		"Holders": func(s *meta.Store, r meta.Repository, i int) error {
			_, err := s.Holders(t.Context(), metatest.Registry, numbered("c%063x", i), 10)
			return err
		},
		"DeleteTag and DeleteImage": func(s *meta.Store, r meta.Repository, i int) error {
			_, err1 := s.DeleteTag(t.Context(), r, metatest.Tag(fmt.Sprintf("t%06d", i)).Tag, name.Digest{}, false, "p")
			_, err2 := s.DeleteImage(t.Context(), r, numbered("%064x", i), meta.AnyTags, "p")
			return errors.Join(err1, err2)
		},
	}
	for what, f := range calls {
		var took [2][]time.Duration
		for range 101 {
			for which, fx := range fixtures {
				s := fx.Fresh()
				if what == "DeleteTag and DeleteImage" {
					s = fx.Store // only one store may make identifiers
				}
				i := rand.IntN(sizes[which])
				start := time.Now()
				if err := f(s, repos[which], i); err != nil && !onlyNotFound(err) {
					t.Fatalf("%s: %v", what, err)
				}
				took[which] = append(took[which], time.Since(start))
			}
		}
		slices.Sort(took[0])
		slices.Sort(took[1])
		small, large := took[0][50], took[1][50]
		t.Logf("%-26s %8s in 1,000 %8s in 100,000", what, small.Round(time.Microsecond), large.Round(time.Microsecond))
		if large > 3*small+200*time.Microsecond {
			t.Errorf("%s: %s in a repository of 1,000 images, %s in one of 100,000", what, small, large)
		}
	}
}
