package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// ecrin verify finds a blob whose bytes have changed, one that is missing and one that was cut, moves what is damaged to the
// quarantine, and exits with 1 until the bytes were pushed again.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 300_000, 1000, 2000, 3000)
	repo.Push(t, "v1", im)
	verify := func(args ...string) (code int, out, errs string) {
		t.Helper()
		var o, e bytes.Buffer
		code = cli.Run(t.Context(), cli.Env{Args: append([]string{"verify", "--data", s.Dir}, args...), Out: &o, Err: &e, Lookup: nothing})
		return code, o.String(), e.String()
	}
	if code, out, errs := verify(); code != 0 || out != "" || !strings.Contains(errs, "no damage: 5 blobs and 1 manifest, ") {
		t.Fatalf("without damage: got %d, %q, %q, want 0 and 5 blobs and 1 manifest", code, out, errs)
	}
	path := func(content []byte) string {
		hex := strings.TrimPrefix(ocitest.SHA256(content), "sha256:")
		return filepath.Join(s.Dir, "blobs", "sha256", hex[:2], hex)
	}
	changed := bytes.Clone(im.Layers[0])
	changed[299_999] ^= 1
	for _, err := range []error{
		os.WriteFile(path(im.Layers[0]), changed, 0o600), os.Remove(path(im.Layers[1])), os.Truncate(path(im.Layers[2]), 1),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := verify()
	if code != 1 || strings.Count(out, "\n") != 3 || !strings.Contains(errs, "3 damaged or missing") {
		t.Errorf("with damage: got %d, %q, %q, want 1 and three lines", code, out, errs)
	}
	for i, want := range []string{"moved to the quarantine", "bytes are missing", "moved to the quarantine"} {
		line := ""
		for l := range strings.Lines(out) {
			if strings.Contains(l, ocitest.SHA256(im.Layers[i])) {
				line = l
			}
		}
		if !strings.Contains(line, want) {
			t.Errorf("layer %d: got the line %q, want %q in it", i, line, want)
		}
	}
	code, out, _ = verify("--json", "--rate", "1")
	var all struct {
		Damages []struct{ Digest, Reason string }
	}
	if err := json.Unmarshal([]byte(out), &all); code != 1 || err != nil || len(all.Damages) != 3 {
		t.Errorf("again, --json: got %d, %s, %v, want 1 and three that are missing", code, out, err)
	}
	repo.PushBlobs(t, im)
	if code, out, errs := verify(); code != 0 {
		t.Errorf("after a push: got %d, %q, %q, want 0", code, out, errs)
	}
	if n, err := repo.VerifyAll(t.Context()); n != 1 || err != nil {
		t.Errorf("after a push %d tags are whole: %v", n, err)
	}
}

// files returns the paths, sizes and times of all files below a directory.
func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			all = append(all, path)
			return err
		}
		info, err := d.Info()
		if err == nil {
			all = append(all, fmt.Sprint(path, info.Size(), info.ModTime(), info.Mode()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// ecrin verify DIR reads a backup without a server, changes nothing in it, and finds a changed blob, one that is missing, a
// changed manifest and a database that is not whole. A directory that is no backup is refused.
func TestVerifyOfABackup(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 300_000, 1000, 2000)
	repo.Push(t, "v1", im)
	backup := filepath.Join(t.TempDir(), "backup")
	must(t, "backup", backup, "--data", s.Dir)
	s.Stop(t)
	before := files(t, backup)
	if errs := must(t, "verify", backup); !strings.Contains(errs, "no damage: 4 blobs and 1 manifest, ") {
		t.Errorf("without damage: got %q, want 4 blobs and 1 manifest", errs)
	}
	if after := files(t, backup); !slices.Equal(before, after) {
		t.Errorf("the backup has changed:\n%q\nbefore:\n%q", after, before)
	}

	changed := bytes.Clone(im.Layers[0])
	changed[299_999] ^= 1
	database := filepath.Join(backup, "ecrin.db")
	text, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(text, []byte(`"schemaVersion"`))
	if at < 0 {
		t.Fatal("the database has no manifest")
	}
	text[at+1] = 'S'
	for _, err := range []error{
		os.Remove(blobOf(backup, ocitest.SHA256(im.Layers[0]))), // not in place: it may be a link to the installation's file
		os.WriteFile(blobOf(backup, ocitest.SHA256(im.Layers[0])), changed, 0o600),
		os.Remove(blobOf(backup, ocitest.SHA256(im.Layers[1]))),
		os.WriteFile(filepath.Join(filepath.Dir(blobOf(backup, ocitest.SHA256(im.Layers[0]))), ".copy-1"), nil, 0o600),
		os.WriteFile(database, text, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := run(t, "verify", backup, "--rate", "100")
	if code != 1 || strings.Count(out, "\n") != 3 || !strings.Contains(errs, "3 damaged or missing; 3 blobs and 1 manifest, ") {
		t.Errorf("with damage: got %d, %q, %q, want 1 and three lines", code, out, errs)
	}
	for _, want := range []string{
		"blob " + ocitest.SHA256(im.Layers[0]) + ": its 300000 bytes have the digest " + ocitest.SHA256(changed),
		"blob " + ocitest.SHA256(im.Layers[1]) + ": it is recorded, and its bytes are missing", "manifest " + im.Digest + ": its ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("with damage: got %q, want %q in it", out, want)
		}
	}
	var all struct {
		Damages []struct{ Kind, Digest string }
	}
	code, out, _ = run(t, "verify", backup, "--json")
	if err := json.Unmarshal([]byte(out), &all); code != 1 || err != nil || len(all.Damages) != 3 {
		t.Errorf("--json: got %d, %s, %v, want 1 and three damages", code, out, err)
	}

	repaired := blobOf(backup, ocitest.SHA256(im.Layers[0]))
	if err := errors.Join(os.Rename(database, database+".away"), os.WriteFile(repaired, im.Layers[0], 0o600)); err != nil {
		t.Fatal(err)
	}
	if errs := must(t, "verify", backup); !strings.Contains(errs, "has no ecrin.db, which is right only if the metadata is in PostgreSQL") {
		t.Errorf("without a database: got %q, want what that means", errs)
	}

	if err := errors.Join(os.Rename(database+".away", database), os.Truncate(database, 10_000)); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ dir, want string }{
		"a database that was cut": {backup, "reading the database " + database},
		"a data directory":        {s.Dir, "verify it with --data " + s.Dir},
		"another directory":       {t.TempDir(), "holds no whole backup"},
	} {
		if code, _, errs := run(t, "verify", c.dir); code != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: got %d, %q, want 1 and %q", what, code, errs, c.want)
		}
	}
}
