package meta_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// Trim gives back the pages that reads have cached, and reads go on. Not parallel: the memory is that of the whole process.
func TestTrimGivesPagesBack(t *testing.T) {
	slowtest.Only(t, "it stores 3,000 images, beside no other test")
	s := open(t)
	fx := metatest.NewFixture(t, s)
	r := fx.Repo("team/app")
	fx.Blob(r, "one")
	const n = 3000
	var g errgroup.Group
	g.SetLimit(64)
	for i := range n {
		p := metatest.Variant(i, "one")
		g.Go(func() error { return s.PutImage(t.Context(), r, p) })
	}
	fx.Must(g.Wait())
	read := func() {
		var g errgroup.Group
		for range 4 {
			g.Go(func() error {
				for i := range n {
					d := metatest.Variant(i, "one").Digest
					if _, err := s.Head(t.Context(), r.ID, name.Reference{Digest: d}); err != nil {
						return err
					}
					if _, err := s.Image(t.Context(), r.ID, d); err != nil {
						return err
					}
				}
				return nil
			})
		}
		fx.Must(g.Wait())
	}
	read()
	before := anonymous(t)
	s.Trim()
	after := anonymous(t)
	t.Logf("%d KB before, %d KB after", before, after)
	if before-after < 8<<10 {
		t.Errorf("the process had %d KB of memory before and %d KB after, want at least 8 MB less", before, after)
	}
	read()
}

// anonymous returns the memory of the process that is not from files, in KB, without what the heap does not use.
func anonymous(t *testing.T) (kb int) {
	t.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}
