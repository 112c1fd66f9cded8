package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
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
