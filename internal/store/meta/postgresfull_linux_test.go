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
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

func init() { helpers["full postgres"] = fullPostgresHelper }

// On a full disk of the PostgreSQL server writes fail with Unavailable, whether the server refuses them or ends. No
// acknowledged change is lost, and writes succeed again when there is space.
func TestFullDiskOfPostgreSQL(t *testing.T) {
	long(t)
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("the server needs a user of its own in the mount namespace, which root alone can give it")
	}
	dir, err := os.MkdirTemp("", "ecrin-fp") // not t.TempDir, which other users cannot access
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	onSmallDisk(t, "full postgres", dir)
}

func fullPostgresHelper(dir string) {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=200m"); err != nil {
		fmt.Fprintln(os.Stderr, "mounting:", err)
		os.Exit(noMount)
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		fatal(err)
	}
	if err := fillPostgres(context.Background(), dir); err != nil {
		fatal(err)
	}
	fmt.Println("ok")
}

func fillPostgres(ctx context.Context, dir string) error {
	server, err := pgtest.Open()
	if err != nil {
		return err
	}
	defer server.Close()
	url, err := server.CreateDatabase()
	if err != nil {
		return err
	}
	data, err := os.MkdirTemp("/var/tmp", "ecrin-full") // on another disk
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	s, err := meta.OpenPostgreSQL(ctx, meta.PostgreSQL{URL: secret.New(url), Dir: data, Now: time.Now, Timeout: time.Second})
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := crashRepository(ctx, s)
	if err != nil {
		return err
	}
	if _, err := s.AddBlob(ctx, r, blob.Info{Digest: metatest.Digest("config"), Size: 6}, ""); err != nil {
		return err
	}
	p := &pusher{s: s, r: r}
	ballast := filepath.Join(dir, "ballast")
	for round := range 2 {
		for range 20 {
			if err := p.push(ctx); err != nil {
				return fmt.Errorf("round %d, while there is space: %w", round, err)
			}
		}
		if err := takeSpace(dir, ballast); err != nil {
			return err
		}
		var full error
		for n := 0; full == nil; n++ { // until the remaining space is used
			if full = p.push(ctx); n > 100_000 {
				return errors.New("the disk does not fill up")
			}
		}
		if !errors.Is(full, fault.Unavailable) {
			return fmt.Errorf("round %d, the first push on the full disk: got %w, want Unavailable", round, full)
		}
		if err := os.Remove(ballast); err != nil {
			return err
		}
		for limit := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			err := p.push(ctx)
			if err == nil {
				break
			}
			if !errors.Is(err, fault.Unavailable) || time.Now().After(limit) {
				return fmt.Errorf("round %d, once there is space: %w\n%s", round, err, server.Log())
			}
		}
		for limit := time.Now().Add(time.Minute); s.Ping(ctx) != nil && time.Now().Before(limit); {
			time.Sleep(20 * time.Millisecond)
		}
		if err := p.check(ctx, fmt.Sprintf("round %d, once there is space", round)); err != nil {
			return err
		}
	}
	return nil
}
