package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

const (
	helperDir = "AUDIT_TEST_DIR" // set for a child process of the tests: its directory
	noMount   = 77               // the exit status of a child that may not mount
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=32m,nr_inodes=500"); err != nil {
			fmt.Fprintln(os.Stderr, "mounting:", err)
			os.Exit(noMount)
		}
		if err := errors.Join(fillDisk(context.Background(), dir), noSpaceForTheFolder(context.Background(), dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("ok")
		return
	}
	os.Exit(m.Run())
}

// On a full disk no call of Append blocks: lines wait in memory up to the limit, further lines are lost, and
// the trail records their number. The disk is a small tmpfs in a mount namespace of a child process.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperDir+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) ||
		cmd.ProcessState.ExitCode() == noMount {
		t.Skipf("no mount namespace on this system (%v): the behaviour on a full disk was not tested", err)
	}
	if err != nil || string(out) != "ok\n" {
		t.Errorf("the child on a tmpfs of 32 MiB: %v\n%s", err, out)
	}
}

// noSpaceForTheFolder opens logs on a full disk on which the folder of strangers is missing, as with the data of an earlier
// version. Their lines wait until there is space.
func noSpaceForTheFolder(ctx context.Context, dir string) error {
	trail, ballast := filepath.Join(dir, "earlier"), filepath.Join(dir, "ballast")
	if err := errors.Join(os.Mkdir(trail, 0o700), os.Mkdir(ballast, 0o700)); err != nil {
		return err
	}
	for i := 0; ; i++ { // no further name fits
		err := os.WriteFile(filepath.Join(ballast, fmt.Sprint(i)), nil, 0o600)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil || i > 10_000 {
			return fmt.Errorf("taking the names of the disk: %d, %w", i, err)
		}
	}
	l, err := audit.OpenLogs(trail, audit.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("opening the logs on a full disk: %w", err)
	}
	l.Append(true, numbered(1, 1))
	if err := l.Strangers.Flush(ctx); err == nil {
		return errors.New("a line was written on a full disk")
	}
	if err := os.RemoveAll(ballast); err != nil {
		return err
	}
	page, err := l.Search(ctx, audit.Query{}, "", 10)
	if err != nil || len(page.Events) != 1 {
		return fmt.Errorf("with space: got %d events, %w, want 1", len(page.Events), err)
	}
	return errors.Join(l.Close(), os.RemoveAll(trail))
}

func fillDisk(ctx context.Context, dir string) error {
	trail, ballast := filepath.Join(dir, "audit"), filepath.Join(dir, "ballast")
	opts := audit.Options{MaxBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)}
	l, err := audit.OpenLog(trail, opts)
	if err != nil {
		return err
	}
	d := &database{}
	p := audit.NewPump(l, d)
	n, durable := 0, 0
	appendSome := func(some int) {
		for range some {
			l.Append(numbered(n, 0))
			n++
		}
	}
	change := func() error {
		r := numbered(durable, -24*3600) // it waited for a long time
		r.RequestID = fmt.Sprintf("durable-%d", durable)
		durable++
		d.add(r.AppendJSON(nil))
		return p.Flush(ctx)
	}
	for round := range 3 {
		appendSome(100)
		if err := errors.Join(change(), change(), l.Flush(ctx)); err != nil {
			return fmt.Errorf("round %d, while there is space: %w", round, err)
		}
		if err := takeSpace(dir, ballast); err != nil {
			return err
		}
		start := time.Now()
		appendSome(45_000) // more than may wait in memory
		if took := time.Since(start); took > 20*time.Second {
			return fmt.Errorf("round %d: 45,000 lines on a full disk took %s", round, took)
		}
		if err := l.Flush(ctx); err == nil || strings.Contains(err.Error(), "lost") {
			return fmt.Errorf("round %d: Flush on a full disk: got %w, want the error of a full disk", round, err)
		}
		for range 3 {
			if err := change(); err == nil {
				return fmt.Errorf("round %d: a durable line on a full disk: got no error", round)
			}
		}
		if page, err := l.Search(ctx, audit.Query{RequestID: "request-0"}, "", 10); err != nil || len(page.Events) != 1 {
			return fmt.Errorf("round %d: a search on a full disk: %d events, %w", round, len(page.Events), err)
		}
		if err := os.Remove(ballast); err != nil {
			return err
		}
		if round == 1 { // as after a restart of the server
			if err := l.Close(); err != nil {
				return fmt.Errorf("closing, once there is space: %w", err)
			}
			if l, err = audit.OpenLog(trail, opts); err != nil {
				return err
			}
			p = audit.NewPump(l, d)
		}
		if err := p.Flush(ctx); err != nil {
			return fmt.Errorf("round %d, once there is space: %w", round, err)
		}
		if err := makeSpace(ctx, l, trail, n, durable); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		n, durable = 0, 0
		if err := l.Close(); err != nil {
			return err
		}
		if err := os.RemoveAll(trail); err != nil {
			return err
		}
		if l, err = audit.OpenLog(trail, opts); err != nil {
			return err
		}
		p = audit.NewPump(l, d)
	}
	return closeFull(ctx, l, dir, ballast)
}

// makeSpace frees the disk, and checks that the lines in the trail and the lines that it reports as lost are
// together all lines that were appended.
func makeSpace(ctx context.Context, l *audit.Log, trail string, n, durable int) error {
	have, changes, lost, notes := map[string]int{}, 0, 0, 0
	last := -1
	for cursor := ""; ; {
		page, err := l.Search(ctx, audit.Query{OldestFirst: true}, cursor, 1000)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			id := e.Record.RequestID
			have[id]++
			var number int
			switch {
			case e.Record.Name == "AuditLinesLost":
				var note struct{ Lines int }
				if err := json.Unmarshal([]byte(e.Record.Service.JSON()), &note); err != nil {
					return err
				}
				lost += note.Lines
				notes++
			case strings.HasPrefix(id, "durable-"):
				changes++
			default:
				if _, err := fmt.Sscanf(id, "request-%d", &number); err != nil {
					return err
				}
				if number < last {
					return fmt.Errorf("line %d comes after %d", number, last)
				}
				last = number
			}
			if have[id] > 1 && e.Record.Name != "AuditLinesLost" {
				return fmt.Errorf("%s is there %d times", id, have[id])
			}
		}
		if cursor = page.Next; len(page.Events) == 0 {
			break
		}
	}
	lines := len(have) - changes - 1
	if changes != durable || lost == 0 || lines+lost != n || notes != 1 {
		return fmt.Errorf("got %d lines of changes and %d others, and %d notes of %d lost ones; want %d changes, and %d others with the lost ones, one note", changes, lines, notes, lost, durable, n)
	}
	late, err := l.Search(ctx, audit.Query{Until: noon.Add(-time.Hour)}, "", 1000)
	if err != nil || len(late.Events) != durable {
		return fmt.Errorf("by time: got %d lines of changes, %w, want %d", len(late.Events), err, durable)
	}
	empty := 0
	entries, err := os.ReadDir(trail)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Size() == 0 {
			empty++
		}
	}
	if empty > 0 {
		return fmt.Errorf("%d files of the trail are empty", empty)
	}
	return err
}

// closeFull closes and opens the trail on a full disk. Close reports that the waiting lines are lost; a torn
// line is left in place, and the earlier lines can be read.
func closeFull(ctx context.Context, l *audit.Log, dir, ballast string) error {
	trail := filepath.Join(dir, "audit")
	l.Append(numbered(1, 0))
	if err := errors.Join(l.Flush(ctx), takeSpace(dir, ballast)); err != nil {
		return err
	}
	for range 1000 {
		l.Append(numbered(2, 0))
	}
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "lost") {
		return fmt.Errorf("closing on a full disk: got %w, want that lines are lost", err)
	}
	files, err := filepath.Glob(filepath.Join(trail, "*.ndjson"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("got files %q, %w, want one", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	have := bytes.Count(text, []byte("\n"))                           // the writer may have written some of them
	torn := append(text, strings.Repeat("x", 4096-len(text)%4096)...) // up to the end of a page, so that a newline needs another page
	if err := os.WriteFile(files[0], torn, 0o600); err != nil {
		return fmt.Errorf("tearing a line: %w", err)
	}
	if err := fillUp(filepath.Join(dir, "rest")); err != nil {
		return err
	}
	opts := audit.Options{Logger: slog.New(slog.DiscardHandler)}
	if l, err = audit.OpenLog(trail, opts); err != nil {
		return fmt.Errorf("opening on a full disk: %w", err)
	}
	l.Append(numbered(3, 0))
	if page, err := l.Search(ctx, audit.Query{}, "", 1000); err != nil || len(page.Events) != have {
		return fmt.Errorf("opened on a full disk: got %d events, %w, want %d", len(page.Events), err, have)
	}
	if err := errors.Join(os.Remove(ballast), l.Flush(ctx)); err != nil {
		return err
	}
	page, err := l.Search(ctx, audit.Query{}, "", 1000)
	if err != nil || len(page.Events) != have+1 || page.Events[0].Record.RequestID != "request-3" {
		return fmt.Errorf("with space again: got %d events, %w, want %d", len(page.Events), err, have+1)
	}
	return l.Close()
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

// fillUp fills the rest of the disk.
func fillUp(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return nil
}
