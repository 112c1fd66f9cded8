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
	foreignName  = "s3.amazonaws.com" // a name of AWS that no server has
)

// workDir is the folder for all files of this run; furnish sets it.
var workDir string

// furnish sets up the new namespaces: the loopback interface, private run-time folders, a hosts file with the
// ECR names, and an environment without variables of the user who runs the tests.
func furnish(work string) error {
	workDir = work
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bringing up the loopback interface: %w", err)
	}
	if err := privateFolders(work); err != nil {
		return err
	}
	// Replaces the machine's file, since /etc is private now.
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

// privateFolders gives this namespace private versions of the folders that daemons and clients write to
// regardless of their options: sockets, locks, keys and caches. Folders with content are mounted as an overlay.
func privateFolders(work string) error {
	for _, dir := range []string{"/run", "/dev/shm"} {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mounting a private %s: %w", dir, err)
		}
	}
	// In memory, because the work folder may be on an overlay itself, which cannot be the upper layer of another
	// overlay.
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

// hostsFile returns a hosts file that maps every name that clients derive from the accounts and regions of
// these tests to 127.0.0.1, and foreignName.
func hostsFile() string {
	names := []string{"localhost", "sts.amazonaws.com", "iam.amazonaws.com", foreignName}
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

// loopbackUp brings the loopback interface up, as `ip link set lo up` does; it is down in a new network
// namespace.
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

// cgroupParent returns the name of the parent of all control groups of this run's containers.
func cgroupParent() string { return filepath.Base(workDir) }

// removeTraces removes the work folder and the control groups of container runtimes, the only things that
// remain after the namespaces. Since processes of an interrupted run may still be ending, it tries for 5 s.
func removeTraces(work string) error {
	var err error
	for range 50 {
		if err = errors.Join(os.RemoveAll(work), removeCgroups(filepath.Base(work))); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("removing the files of the tests: %w", err)
}

// removeCgroups removes the empty control groups at and below every group with the name parent.
func removeCgroups(parent string) error {
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // the group was removed during the walk
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
