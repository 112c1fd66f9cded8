package meta_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

func init() { helpers["checkpoint"] = checkpointHelper }

// On a disk that has space for the log of the database, but not for its file, commits succeed and SQLite is silent; Checkpoint
// returns the error, until there is space.
func TestCheckpointReportsAFullDisk(t *testing.T) {
	t.Parallel()
	onSmallDisk(t, "checkpoint", t.TempDir())
}

func checkpointHelper(dir string) {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		fmt.Fprintln(os.Stderr, "mounting:", err)
		os.Exit(noMount)
	}
	if err := checkpointOnFullDisk(context.Background(), dir); err != nil {
		fatal(err)
	}
	fmt.Println("ok")
}

func checkpointOnFullDisk(ctx context.Context, dir string) error {
	s, err := meta.OpenSQLite(ctx, dir, time.Now)
	if err != nil {
		return err
	}
	r, err := crashRepository(ctx, s)
	if err != nil {
		return err
	}
	if _, err := s.AddBlob(ctx, r, blob.Info{Digest: metatest.Digest("config"), Size: 6}, ""); err != nil {
		return err
	}
	p := &pusher{s: s, r: r}
	for range 120 { // the log becomes long
		if err := p.push(ctx); err != nil {
			return fmt.Errorf("while there is space: %w", err)
		}
	}
	for range 2 {
		if err := s.Checkpoint(ctx); err != nil {
			return fmt.Errorf("with space: %w", err)
		}
	}
	ballast := filepath.Join(dir, "ballast")
	if err := takeAll(ballast); err != nil {
		return err
	}
	failed := error(nil)
	for n := 0; failed == nil; n++ {
		if err := p.push(ctx); err != nil {
			return fmt.Errorf("the log has no space for %d pushes, so that the test proves nothing: %w", n, err)
		}
		failed = s.Checkpoint(ctx)
	}
	if err := full(dir, failed); err != nil {
		return err
	}
	if err := p.push(ctx); err != nil {
		return fmt.Errorf("a push after the failed checkpoint: %w", err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if err := s.Checkpoint(ctx); err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	if err := p.check(ctx, "at the end"); err != nil {
		return err
	}
	return s.Close()
}

// takeAll fills the disk.
func takeAll(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}
