package meta_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Something is collected at the microsecond of its time and not before, even if its candidate is older: it was restored and
// deleted again, or pushed again.
func TestCollectionsAreExactToTheMicrosecond(t *testing.T) {
	t.Parallel()
	now := time.UnixMicro(1_800_000_000_000_000).UTC()
	for what, test := range map[string]struct {
		prepare func(fx *metatest.Fixture, r meta.Repository)
		collect func(fx *metatest.Fixture, before time.Time) (meta.Collected, bool, error)
		want    meta.Collected
	}{
		"a repository": {
			func(fx *metatest.Fixture, r meta.Repository) { fx.Must(fx.DeleteRepository(fx.Ctx, r, true)) },
			func(fx *metatest.Fixture, before time.Time) (meta.Collected, bool, error) {
				return fx.CollectRepositories(fx.Ctx, before)
			}, meta.Collected{Repositories: 1},
		},
		"an image": {
			func(fx *metatest.Fixture, r meta.Repository) {
				p := fx.Image(r, "config", "v1")
				_, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, "p")
				fx.Must(err)
			},
			func(fx *metatest.Fixture, before time.Time) (meta.Collected, bool, error) {
				return fx.CollectImage(fx.Ctx, before)
			}, meta.Collected{Images: 1, Manifests: 1},
		},
		"a condemned blob": {
			func(fx *metatest.Fixture, r meta.Repository) {
				fx.Blob(r, "unused")
				_, _, err := fx.CollectHoldings(fx.Ctx, now, time.Time{})
				fx.Must(err)
			},
			func(fx *metatest.Fixture, before time.Time) (meta.Collected, bool, error) {
				return fx.CollectHoldings(fx.Ctx, time.Time{}, before)
			}, meta.Collected{Holdings: 1},
		},
	} {
		for _, older := range []bool{false, true} {
			fx := metatest.NewFixture(t, openAt(t, t.TempDir(), func() time.Time { return now }))
			test.prepare(fx, fx.Repo("team/app"))
			if older {
				fx.Must(fx.Write(fx.Ctx, func(t *meta.Tx) error {
					_, err := t.Exec(`UPDATE candidates SET since = 0`)
					return err
				}))
			}
			if got, _, err := test.collect(fx, now.Add(-time.Microsecond)); err != nil || got != (meta.Collected{}) {
				t.Errorf("%s, a microsecond before (older %t): got %+v, %v, want nothing", what, older, got, err)
			}
			if got, more, err := test.collect(fx, now); err != nil || got != test.want || !more {
				t.Errorf("%s (older %t): got %+v, more %t, %v, want %+v", what, older, got, more, err, test.want)
			}
			if got, more, err := test.collect(fx, now); err != nil || got != (meta.Collected{}) || more {
				t.Errorf("%s, again (older %t): got %+v, more %t, %v, want nothing", what, older, got, more, err)
			}
		}
	}
}

// A policy that is attached, or that is a boundary, cannot be deleted, and neither can a repository with images without force.
func TestWhatIsUsedIsNotDeleted(t *testing.T) {
	t.Parallel()
	fx := metatest.NewFixture(t, openAt(t, t.TempDir(), time.Now))
	s := &sweeper{Fixture: fx, i: 1}
	s.r = fx.Repo("team/app")
	s.image("x", "v1")
	if err := s.DeleteRepository(s.Ctx, s.r, false); !errors.Is(err, fault.RepositoryNotEmpty) {
		t.Errorf("a repository with an image: got %v, want RepositoryNotEmpty", err)
	}
	s.Must(s.DeleteRepository(s.Ctx, s.r, true))
	empty := fx.Repo("team/empty")
	s.Must(s.DeleteRepository(s.Ctx, empty, false))
	p := s.policy()
	u := s.entity(meta.User, "AIDA")
	s.Must(s.Attach(s.Ctx, u.ID, p.ARN(), 10))
	if err := s.DeleteEntity(s.Ctx, p); !errors.Is(err, fault.DeleteConflict) {
		t.Errorf("an attached policy: got %v, want DeleteConflict", err)
	}
	s.Must(s.Detach(s.Ctx, u.ID, p.ARN()))
	u, err := s.UpdateEntity(s.Ctx, u, func(e *meta.Entity) error { e.Boundary = p.ARN(); return nil })
	s.Must(err)
	if err := s.DeleteEntity(s.Ctx, p); !errors.Is(err, fault.DeleteConflict) {
		t.Errorf("the policy of a boundary: got %v, want DeleteConflict", err)
	}
	_, err = s.UpdateEntity(s.Ctx, u, func(e *meta.Entity) error { e.Boundary = ""; return nil })
	s.Must(errors.Join(err, s.DeleteEntity(s.Ctx, p)))
	if _, err := s.EntityByID(s.Ctx, p.ID); !errors.Is(err, fault.NoSuchEntity) {
		t.Errorf("the deleted policy: got %v, want NoSuchEntity", err)
	}
}
