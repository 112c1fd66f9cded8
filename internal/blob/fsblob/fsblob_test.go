package fsblob_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/blob"
	"github.com/ecrin-dev/ecrin/internal/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/blob/fsblob"
)

func open(t testing.TB, dir string) *fsblob.Store {
	t.Helper()
	s, err := fsblob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
	blobtest.RunReopened(t, func(t *testing.T) (before, after blob.Store) {
		dir := t.TempDir()
		return open(t, dir), open(t, dir)
	})
}

