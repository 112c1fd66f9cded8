package fsblob_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func init() { helpers["behind"] = behindHelper }

// A Commit that fails behind its rename, because the folder cannot be synced, leaves the published blob whole: its bytes are
// not cut to the length of the last Append, since another process may already serve them. A child process has so few file
// descriptors that the folder cannot be opened.
func TestAFailureBehindTheRenameLeavesTheBlobWhole(t *testing.T) {
	t.Parallel()
	cmd := helper(t, "behind", t.TempDir())
	cmd.Stderr = nil
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		out = append(out, exit.Stderr...)
	}
	if err != nil || string(out) != "ok\n" {
		t.Errorf("the child with few file descriptors: %v\n%s", err, out)
	}
}

func behindHelper() {
	for first, last := range map[string]string{"": "the only bytes", "the first bytes": " and the last"} {
		if err := behind(os.Getenv(helperDir), first, last); err != nil {
			fatal(err)
		}
	}
	fmt.Println("ok")
}

func behind(dir, first, last string) error {
	ctx := context.Background()
	s, err := openErr(dir)
	if err != nil {
		return err
	}
	whole := first + last
	want := blobtest.SHA256([]byte(whole))
	path := filepath.Join(dir, "sha256", want.Hex()[:2], want.Hex())
	// The folder of the blob exists afterwards, and the store has synced its name.
	u, err := s.Begin(ctx, name.SHA256)
	if err == nil {
		_, err = s.Commit(ctx, u, strings.NewReader(whole), -1, want)
	}
	if err == nil {
		err = s.Delete(ctx, want)
	}
	if err == nil {
		u, err = s.Begin(ctx, name.SHA256)
	}
	if err == nil && first != "" {
		u, err = s.Append(ctx, u, strings.NewReader(first), -1)
	}
	if err == nil {
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64})
	}
	if err != nil {
		return err
	}
	var taken []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		taken = append(taken, f)
	}
	_ = taken[0].Close() // for the file of the upload
	_, committed := s.Commit(ctx, u, strings.NewReader(last), -1, want)
	for _, f := range taken[1:] {
		_ = f.Close()
	}
	if committed == nil {
		return errors.New("the commit succeeded without syncing the folder")
	}
	got, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the commit failed before its rename (%w), so that this test tests nothing: %w", committed, err)
	}
	if string(got) != whole {
		return fmt.Errorf("after %w, the published blob has the bytes %q, want %q", committed, got, whole)
	}
	return nil
}
