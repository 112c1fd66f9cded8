package metatest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// empty makes a database with the whole schema and no data.
var empty = sync.OnceValues(func() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "ecrin-empty-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := meta.OpenSQLite(context.Background(), dir, time.Now)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil { // moves the log into the file
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "ecrin.db"))
})

// Prepare puts an empty database into a data directory, if that exists and has none, so that a test which opens it does not wait for
// the migrations: they are a third of the time of a small test. The database is made once in each test program.
func Prepare(t testing.TB, dir string) {
	t.Helper()
	data, err := empty()
	if err != nil {
		t.Fatalf("making an empty database: %v", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "ecrin.db"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) || errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		_, err = f.Write(data)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
