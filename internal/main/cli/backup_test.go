package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// run runs a command line in this process.
func run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = cli.Run(t.Context(), cli.Env{Args: args, Out: &o, Err: &e, Lookup: nothing})
	return code, o.String(), e.String()
}

// must is run for a command that has to succeed.
func must(t *testing.T, args ...string) (errs string) {
	t.Helper()
	code, _, errs := run(t, args...)
	if code != 0 {
		t.Fatalf("ecrin %v: got %d, %s, want 0", args, code, errs)
	}
	return errs
}

func blobOf(dir, digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(dir, "blobs", "sha256", hex[:2], hex)
}

// A backup that is made while clients push holds a whole installation: what was pushed before it, and nothing half. The next
// one to the same directory takes only what is new.
func TestBackupWhileServing(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	first := ocitest.NewImage(1, 100_000)
	repo.Push(t, "before", first)
	nobody := ocitest.Client{Base: s.URL, HTTP: s.HTTP, Password: "garbage"}
	nobody.Do(t, http.MethodGet, "/v2/", nil).Want(t, http.StatusBadRequest) // has a line among those of strangers
	s.Operator(t, "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{}, &ecrintypes.ListAuditEventsResponse{})
	backup := filepath.Join(t.TempDir(), "backup")

	var pushing sync.WaitGroup
	stop := make(chan struct{})
	pushing.Go(func() {
		for i := range 1000 {
			select {
			case <-stop:
				return
			default:
				repo.Push(t, fmt.Sprintf("while-%d", i), ocitest.NewImage(uint64(100+i), 20_000))
			}
		}
	})
	must(t, "backup", backup, "--data", s.Dir)
	close(stop)
	pushing.Wait()
	there, err1 := os.Stat(blobOf(backup, ocitest.SHA256(first.Layers[0])))
	here, err2 := os.Stat(blobOf(s.Dir, ocitest.SHA256(first.Layers[0])))
	if err := errors.Join(err1, err2); err != nil || !os.SameFile(there, here) {
		t.Errorf("the blob in the backup is no link to that of the installation: %v", err)
	}
	if _, err := os.Stat(filepath.Join(backup, "master.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the backup holds the master key: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "snapshot.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the copy of the database is left in the data directory: %v", err)
	}
	restored(t, s.Dir, backup, 1)
	for _, folder := range []string{"audit", "audit/strangers"} {
		if lines, err := filepath.Glob(filepath.Join(backup, folder, "*.ndjson")); len(lines) == 0 || err != nil {
			t.Errorf("the backup has no lines in %s: %v", folder, err)
		}
	}

	repo.Push(t, "after", ocitest.NewImage(2, 30_000))
	if errs := must(t, "backup", backup, "--data", s.Dir); strings.Contains(errs, " 0 there before") {
		t.Errorf("the second backup took everything again: %s", errs)
	}
	restored(t, s.Dir, backup, 2)
}

// restored restores a backup, starts a server on it, and checks that it is whole and has at least so many tags.
func restored(t *testing.T, from, backup string, atLeast int) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	must(t, "restore", backup, "--data", dir)
	key, err := os.ReadFile(filepath.Join(from, "master.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "master.key"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := apptest.Start(t, apptest.Options{Dir: dir})
	got, err := s.Root(t).Docker(t).Repo("team/app").VerifyAll(t.Context())
	if err != nil || got < atLeast {
		t.Errorf("of the restored installation %d tags are whole, want at least %d: %v", got, atLeast, err)
	}
	must(t, "verify", "--data", dir, "--rate", "0")
	s.Stop(t)
}

// A damaged blob of a backup is not restored, and one of the installation does not replace a whole one in the backup.
func TestDamageIsNotBackedUpNorRestored(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 50_000, 60_000)
	repo.Push(t, "v1", im)
	backup := filepath.Join(t.TempDir(), "backup")
	must(t, "backup", backup, "--data", s.Dir)

	cut := ocitest.SHA256(im.Layers[0])
	if err := errors.Join(os.Remove(blobOf(s.Dir, cut)), os.WriteFile(blobOf(s.Dir, cut), im.Layers[0][:10], 0o600)); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run(t, "backup", backup, "--data", s.Dir); code != 1 || !strings.Contains(errs, "ecrin verify") {
		t.Errorf("backup of a damaged installation: got %d, %s, want 1 and what to do", code, errs)
	}
	if got, err := os.ReadFile(blobOf(backup, cut)); err != nil || !bytes.Equal(got, im.Layers[0]) {
		t.Errorf("the damaged blob has replaced the whole one of the backup: %d bytes, %v", len(got), err)
	}

	bad := ocitest.SHA256(im.Layers[1])
	changed := bytes.Clone(im.Layers[1])
	changed[0] ^= 1
	if err := errors.Join(os.Remove(blobOf(backup, bad)), os.WriteFile(blobOf(backup, bad), changed, 0o600)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	code, out, errs := run(t, "restore", backup, "--data", dir)
	if code != 1 || strings.TrimSpace(out) != "blob: "+bad || !strings.Contains(errs, "1 blob of the backup could not be restored") {
		t.Errorf("restore of a damaged backup: got %d, %q, %s, want 1 and the blob", code, out, errs)
	}
	if _, err := os.Stat(blobOf(dir, bad)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the damaged blob was restored: %v", err)
	}
	if code, _, errs := run(t, "restore", backup, "--data", dir); code != 1 || !strings.Contains(errs, "restore to a new one") {
		t.Errorf("restore over data: got %d, %s, want 1", code, errs)
	}
	if code, _, errs := run(t, "restore", t.TempDir(), "--data", filepath.Join(t.TempDir(), "data")); code != 1 ||
		!strings.Contains(errs, "no whole backup") {
		t.Errorf("restore of no backup: got %d, %s, want 1", code, errs)
	}
	other := apptest.Start(t, apptest.Options{})
	if code, _, errs := run(t, "backup", backup, "--data", other.Dir); code != 1 || !strings.Contains(errs, "choose another directory") {
		t.Errorf("backup over that of another installation: got %d, %s, want 1", code, errs)
	}
}
