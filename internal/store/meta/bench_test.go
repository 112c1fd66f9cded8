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

// The time that the push of an image with 10,000 new layers takes in the writer, and that of one with eight.
func BenchmarkLayers(b *testing.B) {
	for _, layers := range []int{8, 10_000} {
		for what, open := range map[string]func(*testing.B) (*meta.Store, error){
			"sqlite": func(b *testing.B) (*meta.Store, error) { return meta.OpenSQLite(b.Context(), b.TempDir(), time.Now) },
			"postgres": func(b *testing.B) (*meta.Store, error) {
				return meta.OpenPostgreSQL(b.Context(), meta.PostgreSQL{URL: secret.New(pgtest.Start(b).NewDatabase(b)),
					Dir: b.TempDir(), Now: time.Now})
			},
		} {
			b.Run(fmt.Sprintf("%d in %s", layers, what), func(b *testing.B) {
				s, err := open(b)
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				r, err := crashRepository(b.Context(), s)
				if err != nil {
					b.Fatal(err)
				}
				contents := make([]string, layers)
				for i := range contents {
					contents[i] = fmt.Sprint("layer", i)
				}
				forget := func() error {
					return s.Write(b.Context(), func(t *meta.Tx) error {
						for _, c := range contents {
							if _, err := t.Exec(`INSERT INTO repository_blobs (repository, digest, size, added_at) VALUES ($1, $2, $3, 0)
								ON CONFLICT (repository, digest) DO UPDATE SET media_type = ''`,
								r.ID, metatest.Digest(c).String(), len(c)); err != nil {
								return err
							}
						}
						return nil
					})
				}
				var images []meta.Put
				for i := range b.N {
					images = append(images, metatest.Variant(i, contents...))
				}
				b.ResetTimer()
				for i := range b.N {
					b.StopTimer()
					if err := forget(); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					if err := s.PutImage(b.Context(), r, images[i]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// The time of the head and the body of a manifest by a random tag of 50,000, from the database, from the files of the caches and from
// memory.
func BenchmarkRandomTag(b *testing.B) {
	s, err := meta.OpenSQLite(b.Context(), b.TempDir(), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ctx := b.Context()
	r, err := crashRepository(ctx, s)
	if err != nil {
		b.Fatal(err)
	}
	const tags = 50_000
	if _, err := s.AddBlob(ctx, r, blob.Info{Digest: metatest.Digest("config"), Size: 6}, ""); err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < tags; i += 64 {
				if err := s.PutImage(ctx, r, metatest.As(metatest.Variant(i, "config"), fmt.Sprint("t", i))); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	read := func(b *testing.B, n int) {
		for i := 0; b.Loop(); i++ {
			h, err := s.Head(ctx, r.ID, metatest.Tag(fmt.Sprint("t", i*7919%n)))
			if err == nil {
				_, err = s.Body(ctx, h.Digest)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("database", func(b *testing.B) { read(b, tags) })
	if err := s.SpillTo(b.TempDir(), 1<<30); err != nil {
		b.Fatal(err)
	}
	for i := range tags {
		if _, err := s.Head(ctx, r.ID, metatest.Tag(fmt.Sprint("t", i))); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("files", func(b *testing.B) { read(b, tags) })
	b.Run("memory", func(b *testing.B) { read(b, 100) })
}

// The time of a PUT of a tag, which has an event, with SQLite, by one and by eight callers.
func BenchmarkTagMove(b *testing.B) {
	for _, callers := range []int{1, 8} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s, err := meta.OpenSQLite(b.Context(), b.TempDir(), time.Now)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			r, err := crashRepository(b.Context(), s)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.AddBlob(b.Context(), r, blob.Info{Digest: metatest.Digest("config"), Size: 6}, ""); err != nil {
				b.Fatal(err)
			}
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range callers {
				wg.Go(func() {
					for n.Add(1) <= int64(b.N) {
						p := metatest.Variant(int(n.Load()%2), "config")
						if err := s.PutImage(b.Context(), r, metatest.As(p, fmt.Sprint("t", i))); err != nil {
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
