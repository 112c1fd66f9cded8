package meta_test

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// The time of a push to one of 20 repositories with 10,000 images: of a new image with a new config and tag, and of a tag that moves
// between images which are there.
func BenchmarkPush(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			url := ""
			s, err := meta.OpenSQLite(b.Context(), b.TempDir(), time.Now)
			if database == "postgres" {
				url = pgtest.Start(b).NewDatabase(b)
				s, err = meta.OpenPostgreSQL(b.Context(), meta.PostgreSQL{URL: secret.New(url), Dir: b.TempDir(), Now: time.Now})
			}
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			if err := s.CreateAccount(b.Context(), meta.Account{ID: metatest.Account}, metatest.Key(metatest.Account, "AKIA")); err != nil {
				b.Fatal(err)
			}
			repositories := make([]meta.Repository, 20)
			for i := range repositories {
				n, err := name.ParseRepo(fmt.Sprint("team/", i))
				if err != nil {
					b.Fatal(err)
				}
				if repositories[i], err = s.CreateRepository(b.Context(), meta.Repository{Registry: metatest.Registry,
					Name: n, Mutability: meta.Mutability{Mode: meta.Mutable}}, nil); err != nil {
					b.Fatal(err)
				}
			}
			const images = 10_000
			image := func(i int) meta.Put { return metatest.Variant(i, fmt.Sprint("config", i)) }
			store := func(i int) error {
				r, p := repositories[i%len(repositories)], image(i)
				for _, d := range p.Manifest.Blobs() {
					if _, err := s.AddBlob(b.Context(), r, blob.Info{Digest: d.Digest, Size: d.Size}, ""); err != nil {
						return err
					}
				}
				return s.PutImage(b.Context(), r, metatest.As(p, fmt.Sprint("t", i)))
			}
			move := func(i int) error { // each time to an image of the same repository
				from := i % images
				r, p := repositories[from%len(repositories)], image((from+i/images*len(repositories)+len(repositories))%images)
				return s.PutImage(b.Context(), r, metatest.As(p, fmt.Sprint("t", from)))
			}
			each(b, 64, images, 0, store)
			stored, moved := images, 0
			run := func(b *testing.B, callers int, count *int, do func(int) error) {
				cpu, bytes := written(b, url)
				each(b, callers, b.N, *count, do)
				*count += b.N
				cpu2, bytes2 := written(b, url)
				b.ReportMetric(float64((cpu2-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
				b.ReportMetric(float64(bytes2-bytes)/float64(b.N), "log-B/op")
			}
			for _, callers := range []int{1, 8} {
				b.Run(fmt.Sprintf("image by %d", callers), func(b *testing.B) { run(b, callers, &stored, store) })
				b.Run(fmt.Sprintf("tag by %d", callers), func(b *testing.B) { run(b, callers, &moved, move) })
			}
		})
	}
}

// written returns the user and system time of the process and the bytes that it has written, of PostgreSQL the bytes of its log.
func written(b *testing.B, url string) (cpu time.Duration, bytes int64) {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	cpu = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	if url != "" {
		db, err := sql.Open("pgx", url)
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRowContext(b.Context(), `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::BIGINT`).Scan(&bytes); err != nil {
			b.Fatal(err)
		}
		return cpu, bytes
	}
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(text[strings.Index(string(text), "wchar:"):]), "wchar: %d", &bytes); err != nil {
		b.Fatal(err)
	}
	return cpu, bytes
}

// each calls do with the n numbers from first, in as many goroutines as there are callers.
func each(b *testing.B, callers, n, first int, do func(int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(first + i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
