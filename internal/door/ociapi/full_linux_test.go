package ociapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// smallDisk is the environment variable with the directory on which the child process mounts the small disk.
const smallDisk = "ECRIN_TEST_SMALL_DISK"

// noMount is the output of a child process that may not mount.
const noMount = "mounting is not permitted"

// On a full disk, first for a blob and then for the database, all acknowledged data stays and can be read, and each
// refused write returns an error and stores nothing. When there is space again, writes succeed without a restart. The
// disk is a small tmpfs that a child process mounts in its own mount namespace.
func TestFullDisk(t *testing.T) { // not parallel: between fork and exec a child shares the locks of this process
	onSmallDisk(t, "TestFullDiskChild")
}

// A server whose disk is full starts: it serves what is stored, refuses what cannot be written, says so in its log, and goes
// on by itself when there is room again.
func TestStartOnFullDisk(t *testing.T) { // not parallel, as above
	onSmallDisk(t, "TestStartOnFullDiskChild")
}

// onSmallDisk runs a test of this package in a child that has a mount namespace of its own.
func onSmallDisk(t *testing.T, child string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+child+"$", "-test.v")
	cmd.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) ||
		bytes.Contains(out, []byte(noMount)) {
		t.Skipf("a small disk cannot be mounted here: %v %s", err, out)
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+child)) {
		t.Errorf("the child on a small disk: %v\n%s", err, out)
	}
}

// mountSmallDisk mounts the small disk. It returns "" in the parent, which has none.
func mountSmallDisk(t *testing.T) (dir string) {
	t.Helper()
	if dir = os.Getenv(smallDisk); dir == "" {
		return ""
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Skip(noMount, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestStartOnFullDiskChild(t *testing.T) {
	dir := mountSmallDisk(t)
	if dir == "" {
		return
	}
	s := apptest.Start(t, apptest.Options{Dir: filepath.Join(dir, "data")})
	repo := s.Root(t).CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 100_000)
	repo.Push(t, "v1", im)
	s.Stop(t)
	filler := filepath.Join(dir, "filler")
	fillUp(t, filler)
	s.Restart(t)
	if got, err := repo.VerifyAll(t.Context()); err != nil || got != 1 {
		t.Errorf("%d tags are whole, want 1: %v", got, err)
	}
	repo.PutManifest(t, "v2", ocitest.ImageType, im.Manifest).WantError(t, http.StatusServiceUnavailable, "UNAVAILABLE")
	if log := s.Log.String(); !strings.Contains(log, "the disk is full") || !strings.Contains(log, "serve.json") {
		t.Errorf("the log does not say that the disk is full: %s", log)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	repo.PutManifest(t, "v2", ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
	eventually(t, "the command line to find the server", func() bool {
		_, err := os.Stat(filepath.Join(s.Dir, "serve.json"))
		return err == nil
	})
}

func TestFullDiskChild(t *testing.T) {
	dir := mountSmallDisk(t)
	if dir == "" {
		return
	}
	s := apptest.Start(t, apptest.Options{Dir: filepath.Join(dir, "data")})
	repo := s.Root(t).CreateRepository(t, "team/app")
	repo.Push(t, "before", ocitest.NewImage(1, 100_000))
	whole := func(want int) {
		t.Helper()
		if got, err := repo.VerifyAll(t.Context()); err != nil || got != want {
			t.Fatalf("%d tags can be pulled, want %d: %v", got, want, err)
		}
	}
	full := func(a *ocitest.Answer) {
		t.Helper()
		a.WantError(t, http.StatusServiceUnavailable, "UNAVAILABLE").WantHeader(t, "Retry-After", "1")
		if text := string(a.Body); !strings.Contains(text, "disk") || !strings.Contains(text, "full") || strings.Contains(text, dir) {
			t.Errorf("%s: got %s, want a text that says that the disk is full, without a path", a.Asked, text)
		}
	}

	// There is no space for the blob. The space that it used is free again immediately.
	location := repo.Begin(t)
	repo.Do(t, http.MethodPatch, location, ocitest.Bytes(2, 1000)).Want(t, http.StatusAccepted)
	large := ocitest.Bytes(3, 14<<20)
	full(repo.Do(t, http.MethodPatch, location, large))
	full(repo.Do(t, http.MethodPut, location+"?digest="+ocitest.SHA256(large), large))
	full(repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/?digest="+ocitest.SHA256(large)), large))
	repo.Do(t, http.MethodGet, location, nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", "0-999")
	repo.Do(t, http.MethodPut, location+"?digest="+ocitest.SHA256(ocitest.Bytes(2, 1000)), nil).Want(t, http.StatusCreated)
	repo.Push(t, "after", ocitest.NewImage(4, 100_000))
	whole(2)

	// There is no space for the database. Its files may still have unused pages, so pushes continue until one is
	// refused.
	im := ocitest.NewImage(5, 10)
	repo.PushBlobs(t, im)
	filler := filepath.Join(dir, "filler")
	fillUp(t, filler)
	tags, refused := 2, ""
	for i := 0; refused == "" && i < 5000; i++ {
		tag := fmt.Sprintf("full-%d", i)
		if a := repo.PutManifest(t, tag, ocitest.ImageType, im.Manifest); a.Status == http.StatusCreated {
			tags++
		} else {
			full(a)
			refused = tag
		}
	}
	if refused == "" {
		t.Fatal("no push was refused, although the disk is full")
	}
	for range 3 {
		whole(tags)
		repo.Manifest(t, refused).WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
		full(repo.PutManifest(t, refused, ocitest.ImageType, im.Manifest))
	}
	repo.Do(t, http.MethodGet, "/healthz", nil).Want(t, http.StatusOK)

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	repo.PutManifest(t, refused, ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
	repo.Push(t, "again", ocitest.NewImage(6, 100_000))
	whole(tags + 2)
	s.Restart(t)
	whole(tags + 2)
}

// fillUp writes a file until the disk is full.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
