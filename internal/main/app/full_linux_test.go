package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"golang.org/x/sys/unix"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// smallDisk is the environment variable with the directory of a child process on which it mounts small disks.
const smallDisk = "ECRIN_TEST_SMALL_DISK"

// noMount is the output of a child process that may not mount.
const noMount = "mounting is not permitted"

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

// mount mounts a small disk on a directory, until the test ends.
func mount(t *testing.T, dir, size string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip(noMount, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fillUp writes a file until the disk has only the given number of bytes left.
func fillUp(t *testing.T, path string, left int64) {
	t.Helper()
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &disk); err != nil {
		t.Fatal(err)
	}
	err := os.WriteFile(path, make([]byte, max(0, int64(disk.Bavail)*disk.Bsize-left)), 0o600)
	if err != nil && !durable.IsFull(err) { // a server writes to the disk too
		t.Fatal(err)
	}
}

// process is a server that is stopped as SIGTERM stops it, and whose error at the end is returned.
type process struct {
	running app.Running
	log     *apptest.Buffer
	ecr     *ecr.Client
	key     *ecrintypes.AccessKey // of the default account
	stop    func() error
}

// begin starts a server. With key nil it gets the key of the default account from the server.
func begin(t *testing.T, dir string, key *ecrintypes.AccessKey) *process {
	t.Helper()
	c := config.Default()
	c.Data, c.Listen, c.StopTimeout = dir, []string{"127.0.0.1:0"}, 10*time.Second
	checked, err := c.Check()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{log: &apptest.Buffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	a, err := app.New(ctx, checked, slog.New(slog.NewJSONHandler(p.log, nil)), time.Now)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ready, ended := make(chan app.Running, 1), make(chan error, 1)
	go func() { ended <- a.Run(ctx, func(r app.Running) { ready <- r }) }()
	p.running = <-ready
	stopped := false
	p.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() { _ = p.stop() })
	if p.key = key; key == nil {
		operator, err := client.Open(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		var out ecrintypes.GetAccountCredentialsResponse
		if err := operator.Call(t.Context(), "GetAccountCredentials", &ecrintypes.GetAccountCredentialsRequest{}, &out); err != nil {
			t.Fatal(err)
		}
		p.key = &out.AccessKey
	}
	p.ecr = ecr.New(ecr.Options{Region: p.running.Region, BaseEndpoint: &p.running.URL, RetryMaxAttempts: 1, HTTPClient: &http.Client{},
		Credentials: credentials.NewStaticCredentialsProvider(p.key.AccessKeyId, p.key.SecretAccessKey, "")})
	return p
}

// Background work that fails makes the server not ready, with the reason, and is counted and logged; when it succeeds again, the
// server is ready again. Pulls and changes that have space go on meanwhile.
func TestFailingBackgroundWorkIsReported(t *testing.T) { // not parallel: as below
	slowtest.Only(t, "it waits ten seconds for background work, beside no other test")
	onSmallDisk(t, "TestFailingBackgroundWorkChild")
}

func TestFailingBackgroundWorkChild(t *testing.T) {
	dir := os.Getenv(smallDisk)
	if dir == "" {
		return
	}
	mount(t, dir, "24m")
	data := filepath.Join(dir, "data")
	files := filepath.Join(data, "audit")
	if err := os.MkdirAll(files, 0o700); err != nil {
		t.Fatal(err)
	}
	mount(t, files, "2m")
	p := begin(t, data, nil)
	create := func(n int) error {
		t.Helper()
		for range n {
			name := fmt.Sprintf("n%d", time.Now().UnixNano())
			if _, err := p.ecr.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
				return err
			}
		}
		return nil
	}
	// wait waits until /readyz has a status and a text.
	wait := func(status int, text string) {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			got, body := fetch(t, p.running.URL+"/readyz")
			if got == status && strings.Contains(body, text) && !strings.Contains(body, dir) {
				return
			}
			if time.Since(begun) > time.Minute {
				t.Fatalf("/readyz is %d %s, want %d with %q and without a path", got, body, status, text)
			}
		}
	}
	wait(200, "ok")
	for _, test := range []struct{ what, disk, work, text string }{
		{"the files of the audit trail", files, "audit_lines", "moving audit lines from the database to the files fails since "},
		{"the database", dir, "checkpoint", "moving the log of the database into its file fails since "},
	} {
		if err := create(150); err != nil {
			t.Fatal(err)
		}
		wait(200, "ok")
		ballast := filepath.Join(test.disk, "ballast")
		fillUp(t, ballast, 0)
		for create(1) == nil && test.work == "checkpoint" { // until the database has no space either
		}
		wait(503, test.text)
		wait(503, "the disk")
		if status, _ := fetch(t, p.running.URL+"/healthz"); status != 200 {
			t.Errorf("%s: /healthz is %d, want 200", test.what, status)
		}
		_, metrics := fetch(t, p.running.URL+"/metrics")
		if !regexp.MustCompile(`ecrin_background_failures_total\{work="` + test.work + `"\} [1-9]`).MatchString(metrics) {
			t.Errorf("%s: the metrics count no failure of %s", test.what, test.work)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		wait(200, "ok")
		if err := create(1); err != nil {
			t.Errorf("%s: with space again: %v", test.what, err)
		}
		if log := p.log.String(); strings.Count(log, `"work":"`+test.work+`"`) < 2 {
			t.Errorf("%s: the log does not have the failure and the end of it: %s", test.what, log)
		}
	}
	if err := p.stop(); err != nil {
		t.Errorf("the stop: %v", err)
	}
}

// The lines of changes are in the database until the files have them: a server that stops while the disk of the files is full
// drops none, and when there is space again, each is in the files exactly once.
func TestStopOnAFullDiskDropsNoLineOfAChange(t *testing.T) { // not parallel: between fork and exec a child shares the locks of this process
	onSmallDisk(t, "TestStopOnAFullDiskChild")
}

func TestStopOnAFullDiskChild(t *testing.T) {
	dir := os.Getenv(smallDisk)
	if dir == "" {
		return
	}
	for _, test := range []struct {
		what   string
		folder string // that is on the full disk, in the data directory
		size   string
		left   int64 // bytes on the disk when it is full
		files  bool  // the files have a disk of their own, with space
	}{
		{"no space for the files", "audit", "2m", 0, false},
		{"some space for the files", "audit", "2m", 64 << 10, false},
		{"no space for files and database", "", "16m", 0, false},
		{"some space for both", "", "16m", 400 << 10, false},
		{"no space to delete what is in the files", "", "16m", 400 << 10, true},
	} {
		t.Run(test.what, func(t *testing.T) {
			data := filepath.Join(dir, strings.ReplaceAll(test.what, " ", "-"))
			disk := filepath.Join(data, test.folder)
			if err := os.MkdirAll(disk, 0o700); err != nil {
				t.Fatal(err)
			}
			mount(t, disk, test.size)
			if test.folder == "" {
				data = filepath.Join(disk, "data")
			}
			if test.files {
				if err := os.MkdirAll(filepath.Join(data, "audit"), 0o700); err != nil {
					t.Fatal(err)
				}
				mount(t, filepath.Join(data, "audit"), "8m")
			}
			p := begin(t, data, nil)
			acknowledged, refused := map[string]bool{}, map[string]bool{}
			create := func(n int) {
				t.Helper()
				for i := range n {
					name := fmt.Sprintf("n%d-%d", len(acknowledged)+len(refused), i)
					if _, err := p.ecr.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
						refused[name] = true
					} else {
						acknowledged[name] = true
					}
					for range 3 { // lines that no database has, which may be lost
						_, _ = p.ecr.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: aws.String(name + "-absent")})
					}
				}
			}
			create(100)
			if len(refused) > 0 {
				t.Fatalf("with space: %d changes were refused", len(refused))
			}
			ballast := filepath.Join(disk, "ballast")
			fillUp(t, ballast, test.left)
			create(200)
			err := p.stop()
			t.Logf("%d changes, %d refused; the stop: %v", len(acknowledged), len(refused), err)
			if test.folder != "" && len(refused) > 0 {
				t.Errorf("%d changes were refused, although the database has space", len(refused))
			}
			p = begin(t, data, p.key) // still without space
			create(10)
			_ = p.stop()
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			p = begin(t, data, p.key)
			create(10)
			if err := p.stop(); err != nil {
				t.Errorf("the stop with space: %v", err)
			}
			lines := map[string]int{}
			files, err := filepath.Glob(filepath.Join(data, "audit", "*.ndjson"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(string(text)) {
					if strings.Contains(line, `"eventName":"CreateRepository"`) && !strings.Contains(line, `"errorCode"`) {
						_, rest, _ := strings.Cut(line, `"repositoryName":"`)
						name, _, _ := strings.Cut(rest, `"`)
						lines[name]++
					}
				}
			}
			for name := range acknowledged {
				if lines[name] != 1 {
					t.Errorf("the change %s has %d lines, want 1", name, lines[name])
				}
			}
			for name := range refused {
				if lines[name] != 0 {
					t.Errorf("%s was refused and has %d lines of a success", name, lines[name])
				}
			}
		})
	}
}
