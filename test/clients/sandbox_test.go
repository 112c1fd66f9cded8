package clients_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	account      = "000000000000" // the account of the first start
	otherAccount = "111111111111"
	region       = "us-east-1" // the region of the first start
	otherRegion  = "eu-west-1"
)

// workDir is where this run keeps everything; set by furnish.
var workDir string

// furnish makes the fresh namespaces usable: the loopback interface, private run-time folders, a hosts file with the
// ECR names, and an environment without anything of the person who runs the tests.
func furnish(work string) error {
	workDir = work
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bringing up the loopback interface: %w", err)
	}
	if err := privateFolders(work); err != nil {
		return err
	}
	// In place of whatever was there: /etc is private by now.
	if err := os.WriteFile("/etc/hosts", []byte(hostsFile()), 0o644); err != nil {
		return err
	}
	path := filepath.Join(work, "bin") + ":" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin"
	gocover := os.Getenv("GOCOVERDIR")
	os.Clearenv()
	tmp, home := filepath.Join(work, "tmp"), filepath.Join(work, "home")
	for _, dir := range []string{tmp, home} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	for k, v := range map[string]string{
		"PATH": path, "HOME": home, "TMPDIR": tmp, "LANG": "C.UTF-8", insideEnv: work,
		"AWS_EC2_METADATA_DISABLED": "true", "GOCOVERDIR": gocover,
	} {
		if v != "" {
			os.Setenv(k, v)
		}
	}
	return nil
}

// privateFolders gives this namespace its own view of the folders of the machine that daemons and clients write to,
// whatever they are told: sockets, locks, keys and caches. Those with content are seen through an overlay.
func privateFolders(work string) error {
	for _, dir := range []string{"/run", "/dev/shm"} {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mounting a private %s: %w", dir, err)
		}
	}
	// On memory, because the work folder may itself lie on an overlay, which cannot be the upper side of another.
	above := filepath.Join(work, "above")
	if err := os.Mkdir(above, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", above, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mounting a tmpfs: %w", err)
	}
	for i, dir := range []string{"/etc", "/opt", "/var/cache", "/var/lib"} {
		upper, scratch := fmt.Sprintf("%s/%d", above, i), fmt.Sprintf("%s/%d.work", above, i)
		if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(scratch, 0o755)); err != nil {
			return err
		}
		options := "lowerdir=" + dir + ",upperdir=" + upper + ",workdir=" + scratch
		if err := syscall.Mount("overlay", dir, "overlay", 0, options); err != nil {
			return fmt.Errorf("mounting a private view of %s: %w", dir, err)
		}
	}
	return nil
}

// hostsFile sends every name that a client derives from the accounts and regions of these tests to 127.0.0.1.
func hostsFile() string {
	names := []string{"localhost", "sts.amazonaws.com", "iam.amazonaws.com"}
	for _, r := range []string{region, otherRegion} {
		names = append(names, "api.ecr."+r+".amazonaws.com", "ecr."+r+".amazonaws.com", "sts."+r+".amazonaws.com")
		for _, a := range []string{account, otherAccount} {
			names = append(names, a+".dkr.ecr."+r+".amazonaws.com")
		}
	}
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "127.0.0.1 %s\n", n)
	}
	return b.String()
}

// loopbackUp sets the flag that `ip link set lo up` sets; a new network namespace starts with it down.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOOPBACK)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// cgroupParent is the name below which every container of this run has its control groups.
func cgroupParent() string { return filepath.Base(workDir) }

// removeTraces removes the work folder and the control groups below its name, which container runtimes leave behind:
// the only things that namespaces do not undo. Processes of an interrupted run may still be ending, so it tries for 5 s.
func removeTraces(work string) error {
	var err error
	for range 50 {
		if err = errors.Join(os.RemoveAll(work), removeCgroups(filepath.Base(work))); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("removing what the tests made: %w", err)
}

// removeCgroups removes the empty control groups at and below every group named parent.
func removeCgroups(parent string) error {
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a group that vanished while we walk
		}
		if d.IsDir() && slices.Contains(strings.Split(path, "/"), parent) {
			found = append(found, path)
		}
		return nil
	})
	var failed error
	for _, dir := range slices.Backward(found) { // children before parents
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
