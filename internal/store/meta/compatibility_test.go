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

// Of a kind of cluster the last success and the last failure are kept, for a limited number of kinds, until the files are replaced.
func TestReleasesHaveResultsOnClusters(t *testing.T) {
	t.Parallel()
	s := open(t)
	fx := metatest.NewFixture(t, s)
	a, _ := fx.Application("shop")
	r, err := s.PutRelease(t.Context(), meta.Release{Application: a.ID, Files: []byte("x")})
	fx.Must(err)
	at := time.UnixMicro(1_700_000_000_000_000).UTC()
	put := func(c meta.Compatibility) error {
		c.Application, c.Sequence, c.Version = a.ID, r.Sequence, "1"
		_, err := s.PutCompatibility(t.Context(), c)
		return err
	}
	fx.Must(put(meta.Compatibility{Distribution: "kind", SuccessAt: at, SuccessNotes: "good", ReportedBy: "a"}))
	fx.Must(put(meta.Compatibility{Distribution: "kind", FailureAt: at.Add(time.Hour), FailureNotes: "bad", ReportedBy: "b"}))
	for i := range meta.MaxCompatibility - 1 {
		fx.Must(put(meta.Compatibility{Distribution: fmt.Sprint("x", i), SuccessAt: at}))
	}
	if err := put(meta.Compatibility{Distribution: "one too many", SuccessAt: at}); !errors.Is(err, fault.LimitExceeded) {
		t.Errorf("one too many: got %v, want LimitExceeded", err)
	}
	fx.Must(put(meta.Compatibility{Distribution: "x0", SuccessAt: at.Add(time.Minute)}))
	all, err := s.Compatibility(t.Context(), a.ID, 1, 9)
	fx.Must(err)
	if got := all[r.Sequence]; len(got) != meta.MaxCompatibility || got[0].Distribution != "kind" || !got[0].SuccessAt.Equal(at) ||
		got[0].SuccessNotes != "good" || !got[0].FailureAt.Equal(at.Add(time.Hour)) || got[0].FailureNotes != "bad" || got[0].ReportedBy != "b" {
		t.Errorf("got %d results, the first %+v", len(got), got[0])
	}
	if _, err := s.PutCompatibility(t.Context(), meta.Compatibility{Application: a.ID, Sequence: 2}); !errors.Is(err, fault.ObjectNotFound) {
		t.Errorf("a release that does not exist: got %v, want ObjectNotFound", err)
	}
	_, err = s.PutRelease(t.Context(), meta.Release{Application: a.ID, Sequence: r.Sequence, Files: []byte("y")})
	fx.Must(err)
	if all, err := s.Compatibility(t.Context(), a.ID, 1, 9); err != nil || len(all) != 0 {
		t.Errorf("after other files: got %v %v, want nothing", all, err)
	}
}
