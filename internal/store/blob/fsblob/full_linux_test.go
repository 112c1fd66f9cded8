package fsblob_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func init() {
	helpers["tmpfs"], helpers["rlimit"], helpers["recovery"], helpers["id"] = tmpfsHelper, rlimitHelper, recoveryHelper, idHelper
}

// The disk is a small tmpfs that a child process mounts in its own mount namespace, so that the mount ends with
// the child. If the user is not root, the child gets a user namespace, if the system has them. TestTooLargeFile
// tests the same without any rights.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	cmd := helper(t, "tmpfs", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) ||
		cmd.ProcessState.ExitCode() == noMount {
		t.Skipf("no mount namespace on this system (%v): only TestTooLargeFile tests the behaviour", err)
	}
	if err != nil || string(out) != "ok\n" {
		t.Errorf("the child on a tmpfs of 4 MiB: %v\n%s", err, out)
	}
}

// noMount is the exit status of a child process that may not mount.
const noMount = 77

func tmpfsHelper() {
	dir := os.Getenv(helperDir)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		fmt.Fprintln(os.Stderr, "mounting:", err)
		os.Exit(noMount)
	}
	fillDisk(dir, 8<<20)
}

// The same test without rights: the process may write no file beyond 1 MiB.
func TestTooLargeFile(t *testing.T) {
	t.Parallel()
	out, err := helper(t, "rlimit", t.TempDir()).Output()
	if err != nil || string(out) != "ok\n" {
		t.Errorf("the child with a limit of 1 MiB for files: %v\n%s", err, out)
	}
}

func rlimitHelper() {
	signal.Ignore(syscall.SIGXFSZ)
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		fatal(err)
	}
	fillDisk(os.Getenv(helperDir), 2<<20)
}

// A failed write in the middle of a body fails the call, also if the disk has space again for what follows.
func TestFailedWriteIsNotForgotten(t *testing.T) {
	t.Parallel()
	out, err := helper(t, "recovery", t.TempDir()).Output()
	if err != nil || string(out) != "ok\n" {
		t.Errorf("the child whose limit for files is raised in the middle: %v\n%s", err, out)
	}
}

func recoveryHelper() {
	signal.Ignore(syscall.SIGXFSZ)
	setLimit := func(n uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: 64 << 20}); err != nil {
			fatal(err)
		}
	}
	s, err := openErr(os.Getenv(helperDir))
	if err != nil {
		fatal(err)
	}
	data := blobtest.Bytes(3, 4<<20)
	for range 20 {
		setLimit(64 << 10)
		rest, read := bytes.NewReader(data), 0
		body := readerFunc(func(b []byte) (int, error) {
			if read >= 32<<10+4*128<<10 { // all buffers of the call are in use, so that a write has failed when there is another one
				setLimit(64 << 20)
			}
			n, err := rest.Read(b)
			read += n
			return n, err
		})
		u, err := s.Begin(ctx, name.SHA256)
		if err != nil {
			fatal(err)
		}
		if got, err := s.Append(ctx, u, body, -1); !errors.Is(err, fault.Unavailable) {
			fatal(fmt.Errorf("got an upload of %d bytes and %v, want Unavailable", got.Size, err))
		}
		setLimit(64 << 20)
		if err := finish(s, u, data, blobtest.SHA256(data)); err != nil {
			fatal(fmt.Errorf("after the failure: %w", err))
		}
	}
	fmt.Println("ok")
}

// A directory that cannot be written keeps its id: the server starts on a full disk.
func TestIDOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want, err := fsblob.ID(dir)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := helper(t, "id", dir).Output(); err != nil || string(out) != want {
		t.Errorf("in a process that may write no file: got %q, %v, want %q", out, err, want)
	}
}

func idHelper() {
	signal.Ignore(syscall.SIGXFSZ)
	err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{})
	id, iderr := fsblob.ID(os.Getenv(helperDir))
	if err := errors.Join(err, iderr); err != nil {
		fatal(err)
	}
	fmt.Print(id)
}

// fillDisk sends more bytes than there is space for, by each call, to a new upload and to an upload with bytes.
// It checks that the calls return the error for a full disk, that no space stays in use, and that the upload
// can be continued.
func fillDisk(dir string, tooMuch int) {
	s, err := openErr(dir)
	if err != nil {
		fatal(err)
	}
	big, small := blobtest.Bytes(1, tooMuch), blobtest.Bytes(2, 700_000)
	for _, start := range []int{0, 300_000} {
		u, err := s.Begin(ctx, name.SHA256)
		if err != nil {
			fatal(err)
		}
		if start > 0 {
			if u, err = s.Append(ctx, u, bytes.NewReader(small[:start]), -1); err != nil {
				fatal(err)
			}
		}
		_, appendErr := s.Append(ctx, u, bytes.NewReader(big), -1)
		_, commitErr := s.Commit(ctx, u, bytes.NewReader(big), -1, blobtest.SHA256(append(small[:start:start], big...)))
		for _, err := range []error{appendErr, commitErr} {
			var e *fault.Error
			if !errors.As(err, &e) || e.Code != fault.Unavailable || !strings.Contains(e.Public, "disk is full") || strings.Contains(e.Public, dir) {
				fatal(fmt.Errorf("at %d: got %v, want Unavailable with a text about the disk and no path", start, err))
			}
		}
		if got := used(dir); got != int64(start) {
			fatal(fmt.Errorf("after the failures: got %d bytes in uploads, want %d", got, start))
		}
		if err := finish(s, u, small[start:], blobtest.SHA256(small)); err != nil {
			fatal(fmt.Errorf("after the failures, at %d: %w", start, err))
		}
	}
	fmt.Println("ok")
}

// finish commits the rest of the upload, which fits, and deletes the blob.
func finish(s blob.Store, u blob.Upload, rest []byte, d name.Digest) error {
	if _, err := s.Commit(ctx, u, bytes.NewReader(rest), -1, d); err != nil {
		return err
	}
	if _, err := s.Stat(ctx, d); err != nil {
		return err
	}
	return s.Delete(ctx, d)
}

// used returns the total size of the files of uploads, in bytes.
func used(dir string) (n int64) {
	files, _ := filepath.Glob(filepath.Join(dir, "uploads", "*"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}
