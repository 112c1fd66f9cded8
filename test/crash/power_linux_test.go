package crash_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// disk is a file system on a block device of its own, whose power can be cut.
type disk struct {
	image, dir string
}

// ownMounts is set for a child process that has mounts of its own.
const ownMounts = "ECRIN_CRASH_OWN_MOUNTS"

// alone reports whether this process has mounts of its own. Otherwise it runs the test in a child that has: another process
// that made a copy of the mounts meanwhile would keep the stopped file system alive.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownMounts) != "" {
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("only root can mount a disk whose power can be cut")
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=30m")
	child.Env = append(os.Environ(), ownMounts+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := child.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skipf("no mount namespace on this system: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	}
	return false
}

// newDisk makes and mounts a disk. It skips the test where that is not possible.
func newDisk(t *testing.T) *disk {
	t.Helper()
	for _, tool := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("a disk whose power can be cut needs %s: %v", tool, err)
		}
	}
	d := &disk{filepath.Join(t.TempDir(), "disk"), t.TempDir()}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 1<<30); err != nil { // sparse
		t.Fatal(err)
	}
	if run(t, "mkfs.ext4", "-q", "-F", d.image); t.Failed() {
		t.FailNow()
	}
	if out, err := d.mount(); err != nil {
		t.Skipf("mounting a disk of a file is not possible on this system: %v %s", err, out)
	}
	t.Cleanup(func() { run(t, "umount", d.dir) })
	return d
}

// mount mounts the disk so that the kernel writes as late as it may: what is not synced is lost with the power.
func (d *disk) mount() ([]byte, error) {
	return exec.Command("mount", "-t", "ext4", "-o", "loop,noauto_da_alloc,commit=300", d.image, d.dir).CombinedOutput()
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %q: %v %s", name, args, err, out)
	}
}

// Source: the kernel's include/uapi/linux/fs.h and ext4.h.
const (
	ioctlShutdown = 0x8004587d // FS_IOC_SHUTDOWN
	withoutFlush  = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH: neither data nor the journal is written
)

// cut stops the file system at once, so that everything that was not synced is lost, and mounts the disk again. It may be called
// by any goroutine.
func (d *disk) cut(t *testing.T) {
	t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		t.Error(err)
		return
	}
	flags := uint32(withoutFlush)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioctlShutdown, uintptr(unsafe.Pointer(&flags)))
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if errno != 0 {
		t.Errorf("stopping the file system: %v", errno)
	}
	run(t, "umount", d.dir)
	if out, err := d.mount(); err != nil {
		t.Errorf("mounting the disk after the power cut: %v %s", err, out)
	}
}

// TestPowerCutLosesWhatIsNotSynced: the disk of these tests does what they need.
func TestPowerCutLosesWhatIsNotSynced(t *testing.T) {
	if !alone(t) {
		return
	}
	d := newDisk(t)
	write := func(name string, sync bool) {
		t.Helper()
		f, err := os.Create(filepath.Join(d.dir, name))
		if err == nil {
			_, err = f.WriteString("content")
		}
		if err == nil && sync {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	write("synced", true)
	write("not-synced", false)
	d.cut(t)
	for name, want := range map[string]string{"synced": "content", "not-synced": ""} {
		got, err := os.ReadFile(filepath.Join(d.dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) || string(got) != want {
			t.Errorf("%s after the power cut: got %q, %v, want %q", name, got, err, want)
		}
	}
}

// TestPowerCutDuringPush is TestKillDuringPush with a disk that loses what is not synced.
func TestPowerCutDuringPush(t *testing.T) {
	if !alone(t) {
		return
	}
	d := newDisk(t)
	killDuringPush(t, filepath.Join(d.dir, "data"), "", false, func(p *process) {
		p.kill()
		d.cut(t)
	})
}

// TestPowerCutKeepsTheTrail: lines that wait in the database and lines that have been moved to the files survive.
func TestPowerCutKeepsTheTrail(t *testing.T) {
	if !alone(t) {
		return
	}
	for name, moved := range map[string]bool{"lines in the database": false, "lines in the files": true} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			killKeepsTheTrail(t, filepath.Join(d.dir, "data"), "", moved, func(p *process) {
				p.kill()
				d.cut(t)
			})
		})
	}
}
