package pullthrough_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The rule is made by the aws command, a pull of a tag brings the image, and a second pull does not ask the other registry.
func TestPullThroughARuleOfTheAWSCommand(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	im := ocitest.NewImage(1, 1000, 3<<20)
	owner.CreateRepository(t, "team/app").Push(t, "v1", im)
	publish(t, owner, "team/app")
	f := before(t, source)
	s := near(t, nil, nil, f)
	root := s.Root(t)
	if path, err := exec.LookPath("aws"); err != nil {
		t.Logf("without the aws command: %v", err)
		rule(t, root, "cache", f)
	} else {
		cmd := exec.CommandContext(t.Context(), path, "ecr", "create-pull-through-cache-rule", "--ecr-repository-prefix", "cache",
			"--upstream-registry-url", f.Host, "--endpoint-url", s.URL, "--region", root.Region)
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_ACCESS_KEY_ID=" + root.KeyID, "AWS_SECRET_ACCESS_KEY=" + root.Secret}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("the aws command failed: %v\n%s", err, out)
			rule(t, root, "cache", f)
		} else {
			t.Logf("%s", out)
		}
	}
	repo := root.Docker(t).Repo("cache/team/app")
	for i := range 2 {
		if got := repo.Manifest(t, "v1").Want(t, http.StatusOK); !bytes.Equal(got.Body, im.Manifest) {
			t.Errorf("pull %d: got the manifest %s, want %s", i, got.Body, im.Manifest)
		}
		for j, b := range append([][]byte{im.Config}, im.Layers...) {
			if got := repo.Blob(t, ocitest.SHA256(b)).Want(t, http.StatusOK); !bytes.Equal(got.Body, b) {
				t.Errorf("pull %d, blob %d: got %d other bytes, want %d", i, j, len(got.Body), len(b))
			}
		}
	}
	for text, want := range map[string]int{"/manifests/": 1, "/blobs/": 3} {
		if got := f.count(text); got != want {
			t.Errorf("requests with %s to the other registry: got %d, want %d: %q", text, got, want, f.all())
		}
	}
}
