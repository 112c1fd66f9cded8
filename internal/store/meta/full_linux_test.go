package meta_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func init() { helpers["full"] = fullHelper }

// noMount is the exit status of a child that may not mount.
const noMount = 77

// On a full disk writes are refused with a text that says so, reads continue, nothing is stored in part, and writes
// succeed again when there is space. The disk is a small tmpfs that a child mounts in its own mount namespace, so
// that it disappears with the child. Without root the child gets a user namespace, if the system permits that.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	onSmallDisk(t, "full", t.TempDir())
}

// onSmallDisk runs a helper in its own mount namespace, where it mounts a tmpfs on the directory.
func onSmallDisk(t *testing.T, role, dir string) {
	t.Helper()
	cmd := helper(t, role, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) ||
		cmd.ProcessState.ExitCode() == noMount {
		t.Skipf("no mount namespace can be made (%v): the behaviour on a full disk was not tested", err)
	}
	if err != nil || string(out) != "ok\n" {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = append(out, exit.Stderr...)
		}
		t.Errorf("the child on a small tmpfs: %v\n%s", err, out)
	}
}

func fullHelper(dir string) {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		fmt.Fprintln(os.Stderr, "mounting:", err)
		os.Exit(noMount)
	}
	if err := fillDisk(context.Background(), dir); err != nil {
		fatal(err)
	}
	fmt.Println("ok")
}

// pusher pushes images, each with its own tag, and remembers which pushes were acknowledged.
type pusher struct {
	s     *meta.Store
	r     meta.Repository
	mu    sync.Mutex
	n     int
	acked []string
}

func (p *pusher) push(ctx context.Context) error {
	p.mu.Lock()
	p.n++
	n := p.n
	p.mu.Unlock()
	tag := fmt.Sprintf("t%06d", n)
	if err := p.s.PutImage(ctx, p.r, metatest.As(metatest.Variant(n, "config"), tag)); err != nil {
		return err
	}
	p.mu.Lock()
	p.acked = append(p.acked, tag)
	p.mu.Unlock()
	return nil
}

// check compares the tags that the database and the caches return with the acknowledged ones.
func (p *pusher) check(ctx context.Context, when string) error {
	slices.Sort(p.acked)
	for what, s := range map[string]*meta.Store{"kept": p.s, "read": p.s.Fresh()} {
		tags, err := s.Tags(ctx, p.r.ID, "", -1)
		if err != nil {
			return fmt.Errorf("%s: listing tags (%s): %w", when, what, err)
		}
		if !slices.Equal(tags, p.acked) {
			return fmt.Errorf("%s: got %d tags (%s), want the %d acknowledged ones", when, len(tags), what, len(p.acked))
		}
		for _, tag := range tags {
			h, err := s.Head(ctx, p.r.ID, metatest.Tag(tag))
			if err == nil {
				_, err = s.Body(ctx, h.Digest)
			}
			if err != nil {
				return fmt.Errorf("%s: reading %s (%s): %w", when, tag, what, err)
			}
		}
	}
	if err := sound(ctx, p.s); err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	return nil
}

// full checks that err is the error that a client gets on a full disk.
func full(dir string, err error) error {
	var e *fault.Error
	if !errors.As(err, &e) || e.Code != fault.Unavailable || !strings.Contains(e.Public, "full") || strings.Contains(e.Public, dir) {
		return fmt.Errorf("got %w, want Unavailable with a text about the disk and no path", err)
	}
	return nil
}

func fillDisk(ctx context.Context, dir string) error {
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
	for range 50 {
		if err := p.push(ctx); err != nil {
			return fmt.Errorf("while there is space: %w", err)
		}
	}
	ballast := filepath.Join(dir, "ballast")
	for round := range 3 {
		if err := takeSpace(dir, ballast); err != nil {
			return err
		}
		for failed := 0; failed < 20; failed++ { // until the remaining space is used: some pushes need more pages than others
			if err = p.push(ctx); err == nil {
				failed = -1
			}
		}
		if err := full(dir, err); err != nil {
			return fmt.Errorf("round %d, the first push on the full disk: %w", round, err)
		}
		if err := allFull(ctx, p, dir); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if err := s.Ping(ctx); err != nil {
			return fmt.Errorf("round %d: Ping on a full disk, on which pulls go on: %w", round, err)
		}
		if err := p.check(ctx, fmt.Sprintf("round %d, on a full disk", round)); err != nil {
			return err
		}
		if err := os.Remove(ballast); err != nil {
			return err
		}
		for range 20 {
			if err := p.push(ctx); err != nil {
				return fmt.Errorf("round %d, once there is space: %w", round, err)
			}
		}
		if err := p.check(ctx, fmt.Sprintf("round %d, once there is space", round)); err != nil {
			return err
		}
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	if p.s, err = meta.OpenSQLite(ctx, dir, time.Now); err != nil {
		return fmt.Errorf("opening again: %w", err)
	}
	return p.check(ctx, "after opening again")
}

// allFull makes 64 concurrent writes on the full disk: each gets its own error, and soon.
func allFull(ctx context.Context, p *pusher, dir string) error {
	errs := make([]error, 64)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range errs {
		wg.Go(func() {
			switch i % 4 {
			case 0, 1:
				errs[i] = full(dir, p.push(ctx))
			case 2:
				_, err := p.s.CreateRepository(ctx, meta.Repository{Registry: metatest.Registry, Name: name.MustRepo("team/new"),
					Policy: meta.BoundPolicy{Text: strings.Repeat("x", 100_000)}}, nil)
				errs[i] = full(dir, err)
			case 3: // a refusal needs no space
				if err := p.s.DeleteRepository(ctx, p.r, false); !errors.Is(err, fault.RepositoryNotEmpty) {
					errs[i] = fmt.Errorf("a refused write: got %w, want RepositoryNotEmpty", err)
				}
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 5*time.Second {
		errs = append(errs, fmt.Errorf("64 writes on a full disk took %s", took))
	}
	return errors.Join(errs...)
}

// takeSpace fills the disk except for a small rest.
func takeSpace(dir, ballast string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	left := int64(fs.Bavail)*int64(fs.Bsize) - 100<<10
	return os.WriteFile(ballast, make([]byte, max(0, left)), 0o600)
}
