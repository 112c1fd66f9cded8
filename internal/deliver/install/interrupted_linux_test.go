package install_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/test/kubestand"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// helperVariable has the role of a child process, and what the role needs.
const helperVariable = "ECRIN_INSTALL_HELPER"

func TestMain(m *testing.M) {
	role, rest, _ := strings.Cut(os.Getenv(helperVariable), "\n")
	var err error
	switch role {
	case "":
		os.Exit(m.Run())
	case "deploy":
		dir, sequence, _ := strings.Cut(rest, "\n")
		n, _ := strconv.ParseInt(sequence, 10, 64)
		err = deployIn(dir, n)
	case "full":
		err = fullDisk(rest)
	case "limited":
		err = limited(rest)
	}
	if errors.Is(err, errNoMount) {
		os.Exit(noMount)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func helperOptions() install.Options {
	return install.Options{Now: time.Now, Poll: time.Millisecond, Asker: private{}}
}

// deployIn deploys a version of the installation in a folder; with -1 that which ecrin update deploy takes.
func deployIn(dir string, sequence int64) error {
	i, err := install.Open(dir, helperOptions())
	if err != nil {
		return err
	}
	defer i.Close()
	if sequence == -1 {
		next, err := i.Next()
		if err != nil {
			return err
		}
		sequence = next.Sequence
	}
	return i.Deploy(context.Background(), sequence, wait)
}

// twoVersions makes an installation with two versions, of which the first is deployed: each has a ConfigMap that the other has not.
func twoVersions(t *testing.T) *fixture {
	t.Helper()
	fx := newFixture(t)
	object := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {x: " + strings.Repeat("y", 60_000) + "}\n"
	}
	fx.release("1.0", fx.host+"/shop/api:1.0", false, "a.yaml", object("first"))
	i := fx.create()
	fx.deploy(i, 0)
	fx.release("2.0", fx.host+"/shop/api:1.0", false, "b.yaml", object("second"))
	if found, err := i.Check(t.Context()); err != nil || len(found) != 1 {
		t.Fatalf("the second version: got %+v, %v", found, err)
	}
	i.Close()
	return fx
}

// stateOf returns the history of an installation, and the ConfigMaps of the cluster.
func stateOf(dir string) (string, error) {
	i, err := install.Open(dir, helperOptions())
	if err != nil {
		return "", err
	}
	defer i.Close()
	var all []string
	versions, current := i.Versions()
	for _, v := range versions {
		all = append(all, fmt.Sprintf("%d %s", v.Sequence, v.Status))
	}
	return fmt.Sprintf("%s; current %d", strings.Join(all, ", "), current), nil
}

func (fx *fixture) maps() string {
	var all []string
	for _, o := range fx.cluster.Objects("shop", "ConfigMap") {
		for _, name := range []string{"first", "second"} {
			if strings.Contains(string(o), `"name":"`+name+`"`) {
				all = append(all, name)
			}
		}
	}
	return strings.Join(all, " ")
}

// Kill -9 at each request of a deployment to the cluster, before and after it was carried out: the next deployment goes on to its end, with
// the objects of the version and no others.
func TestDeploymentIsKilledAtEachRequest(t *testing.T) {
	t.Parallel()
	fx := twoVersions(t)
	var mu sync.Mutex
	var victim *exec.Cmd
	requests, at, after := 0, 0, false
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests++
		hit := victim != nil && requests == at
		late, process := after, victim
		mu.Unlock()
		if hit && !late {
			_ = process.Process.Kill()
			return
		}
		fx.cluster.ServeHTTP(w, r)
		if hit {
			_ = process.Process.Kill()
		}
	}))
	t.Cleanup(front.Close)
	if err := os.WriteFile(fx.kube, []byte(kubestand.Kubeconfig(front.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	kills := 0
	for round, step := 1, slowtest.Rounds(3, 1); ; round += step {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperVariable+"=deploy\n"+fx.dir+"\n1")
		mu.Lock()
		victim, requests, at, after = cmd, 0, (round+1)/2, round%2 == 0
		mu.Unlock()
		out, err := cmd.CombinedOutput()
		mu.Lock()
		victim = nil
		mu.Unlock()
		if err == nil {
			break
		}
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
		kills++
		if err := deployIn(fx.dir, -1); err != nil {
			t.Fatalf("after the kill at the request %d: %v", at, err)
		}
		state, err := stateOf(fx.dir)
		if want := "0 deployed, 1 deployed; current 1"; err != nil || state != want || fx.maps() != "second" {
			t.Fatalf("after the kill at the request %d: got %q with %q, %v, want %q with the second", at, state, fx.maps(), err, want)
		}
		if err := deployIn(fx.dir, 0); err != nil || fx.maps() != "first" {
			t.Fatalf("going back: got %q, %v, want the first", fx.maps(), err)
		}
	}
	if kills < 8/slowtest.Rounds(3, 1) {
		t.Errorf("the deployment was killed %d times before its end, want more", kills)
	}
	t.Logf("killed %d times", kills)
}

// noMount is the exit status of a child that may not mount.
const noMount = 77

var errNoMount = errors.New("no file system can be mounted")

// A disk that is full at any point of a deployment: the error says so, what is stored stays readable, the version does not count as one
// that the cluster has refused, and with room the same command goes on to its end. The disk is a small tmpfs in a mount namespace of a
// child, of which others have taken all but some pages.
func TestDeploymentOnAFullDisk(t *testing.T) {
	t.Parallel()
	fx := twoVersions(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"=full\n"+fx.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == noMount {
		t.Skipf("no mount namespace can be made (%v): the behaviour on a full disk was not tested", err)
	}
	if err != nil || !strings.HasSuffix(string(out), "ok\n") {
		t.Errorf("the child on a small tmpfs: %v\n%s", err, out)
	}
	if fx.maps() != "first" {
		t.Errorf("the cluster has %q, want what the first version has", fx.maps())
	}
}

// fullDisk deploys on a disk with more and more free pages, until a deployment has enough of them.
func fullDisk(from string) error {
	dir, err := os.MkdirTemp("", "full")
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		return fmt.Errorf("%w: %w", errNoMount, err)
	}
	app, filler := filepath.Join(dir, "app"), filepath.Join(dir, "filler")
	if err := os.CopyFS(app, os.DirFS(from)); err != nil {
		return err
	}
	refused := 0
	for pages := 0; ; pages++ {
		if err := fill(dir, filler, pages); err != nil {
			return err
		}
		failed := deployIn(app, 1)
		if err := os.Remove(filler); err != nil {
			return err
		}
		state, err := stateOf(app)
		if err != nil {
			return fmt.Errorf("with %d pages, what is stored: %w", pages, err)
		}
		var by *install.FailedError
		switch {
		case failed == nil:
			if state != "0 deployed, 1 deployed; current 1" {
				return fmt.Errorf("with %d pages: %s, want both deployed", pages, state)
			}
			if refused < 3 {
				return fmt.Errorf("the disk was full %d times before a deployment ended, want more", refused)
			}
			fmt.Printf("full at %d points\n", refused)
			return deployIn(app, 0)
		case !errors.Is(failed, syscall.ENOSPC) || !strings.Contains(failed.Error(), "ecrin update deploy"):
			return fmt.Errorf("with %d pages: got %w, want that no space is left, and what to do", pages, failed)
		case errors.As(failed, &by) || strings.Contains(state, "failed"):
			return fmt.Errorf("with %d pages: %s after %w, want that the version can be resumed", pages, state, failed)
		}
		refused++
		if err := deployIn(app, 1); err != nil {
			return fmt.Errorf("with room again after %d pages (%s): %w", pages, state, err)
		}
		if state, err := stateOf(app); err != nil || state != "0 deployed, 1 deployed; current 1" {
			return fmt.Errorf("with room again after %d pages: %s, %w, want both deployed", pages, state, err)
		}
		if err := deployIn(app, 0); err != nil {
			return err
		}
	}
}

// A file of the version that cannot be written for a reason of this machine does not make the version one that has failed, although the
// state can be stored: the same command goes on.
func TestDeploymentWithALimitOfFiles(t *testing.T) {
	t.Parallel()
	fx := twoVersions(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"=limited\n"+fx.dir)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "ok\n") {
		t.Fatalf("the child with a limit: %v\n%s", err, out)
	}
	if fx.maps() != "second" {
		t.Errorf("the cluster has %q, want what the second version has", fx.maps())
	}
}

// limited deploys with a limit of the size of files that what is rendered exceeds, and then without it.
func limited(dir string) error {
	signal.Ignore(unix.SIGXFSZ)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 40_000, Max: before.Max}); err != nil {
		return err
	}
	failed := deployIn(dir, 1)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	if !errors.Is(failed, unix.EFBIG) || !strings.Contains(failed.Error(), "ecrin update deploy resumes") {
		return fmt.Errorf("got %w, want that a file is too large, and what to do", failed)
	}
	if state, err := stateOf(dir); err != nil || state != "0 deployed, 1 deploying; current 1" {
		return fmt.Errorf("got %s, %w, want a deployment that can go on", state, err)
	}
	return deployIn(dir, -1)
}

// fill takes all of a disk but some pages.
func fill(dir, filler string, pages int) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return err
	}
	f, err := os.Create(filler)
	if err != nil {
		return err
	}
	for range max(0, int(s.Bavail)-pages) {
		if _, err := f.Write(make([]byte, s.Bsize)); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}
