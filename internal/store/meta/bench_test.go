package meta_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// The cost of moving a tag in PostgreSQL with eight concurrent writers, and of Refresh with 1 and 32 callers.
func BenchmarkPostgreSQL(b *testing.B) {
	s, err := meta.OpenPostgreSQL(b.Context(), meta.PostgreSQL{URL: secret.New(pgtest.Start(b).NewDatabase(b)),
		Dir: b.TempDir(), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ctx := b.Context()
	r, err := crashRepository(ctx, s)
	if err != nil {
		b.Fatal(err)
	}
	var images []meta.Put
	for i := range 2 {
		p := metatest.Variant(i, "config")
		if _, err := s.AddBlob(ctx, r, blob.Info{Digest: metatest.Digest("config"), Size: 6}, ""); err != nil {
			b.Fatal(err)
		}
		if err := s.PutImage(ctx, r, p); err != nil {
			b.Fatal(err)
		}
		images = append(images, p)
	}
	for _, c := range []struct {
		what    string
		callers int
		call    func(caller, n int) error
	}{
		{"PutImage", 8, func(caller, n int) error {
			return s.PutImage(ctx, r, metatest.As(images[n%2], fmt.Sprint("t", caller)))
		}},
		{"PutImage", 1, func(caller, n int) error {
			return s.PutImage(ctx, r, metatest.As(images[n%2], fmt.Sprint("t", caller)))
		}},
		{"Refresh", 1, func(int, int) error { return s.Refresh(ctx) }},
		{"Refresh", 32, func(int, int) error { return s.Refresh(ctx) }},
	} {
		b.Run(fmt.Sprintf("%s by %d", c.what, c.callers), func(b *testing.B) {
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for i := range c.callers {
				wg.Go(func() {
					for n := 0; left.Add(-1) >= 0; n++ {
						if err := c.call(i, n); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
