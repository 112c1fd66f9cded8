package cli_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// ecrin gc keeps what can be restored, says before what it would free, frees it, and deletes no bytes while they are copied.
func TestGC(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	kept, gone := root.CreateRepository(t, "team/kept"), root.CreateRepository(t, "team/gone")
	shared, own := ocitest.NewImage(1, 300_000), ocitest.NewImage(2, 100_000, 50_000)
	kept.Push(t, "v1", shared)
	gone.Push(t, "v1", shared)
	gone.Push(t, "v2", own)
	deleted := "team/gone"
	if _, err := root.ECR().DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: &deleted, Force: true}); err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) (out, errs string) {
		t.Helper()
		var o, e bytes.Buffer
		code := cli.Run(t.Context(), cli.Env{Args: append(args, "--data", s.Dir), Out: &o, Err: &e, Lookup: nothing})
		if code != want {
			t.Errorf("ecrin %q: got %d, %q, %q, want %d", args, code, o.String(), e.String(), want)
		}
		return o.String(), e.String()
	}
	wants := func(text, want string) {
		t.Helper()
		if !strings.Contains(text, want) {
			t.Errorf("got %q, want %q in it", text, want)
		}
	}
	_, errs := run(0, "gc")
	wants(errs, "removed 0 repositories, 0 images and 0 blobs with 0 bytes")
	_, errs = run(0, "gc", "--dry-run")
	wants(errs, "would remove 0 repositories, 0 images and 0 blobs")
	wants(errs, "the last 168h0m0s is kept")
	_, errs = run(0, "gc", "--grace", "0s", "--dry-run")
	wants(errs, "would remove 1 repository, 2 images and 3 blobs with 1")

	release, err := app.PinBlobs(t.Context(), s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	_, errs = run(0, "gc", "--grace", "0s")
	wants(errs, "a backup is running")
	release()
	out, _ := run(0, "gc", "--grace", "0s", "--json")
	wants(out, `"blobs": 3`)
	_, errs = run(0, "gc", "--grace", "0s", "--full", "--dry-run")
	wants(errs, "would remove 0 repositories, 0 images and 0 blobs")
	out, _ = run(0, "repository", "deleted")
	if strings.Contains(out, "team/gone") {
		t.Errorf("deleted repositories after the collection: got %q", out)
	}
	run(0, "verify")
	if got := kept.Blob(t, ocitest.SHA256(shared.Layers[0])); got.Status != 200 || !bytes.Equal(got.Body, shared.Layers[0]) {
		t.Errorf("the shared layer after the collection: got %d with %d bytes", got.Status, len(got.Body))
	}
	run(2, "gc", "--grace", "-1s")
	run(2, "gc", "--grace", "soon")
	run(0, "backup", filepath.Join(t.TempDir(), "backup")) // it takes the pin itself
}
