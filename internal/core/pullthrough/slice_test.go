package pullthrough_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"strings"
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
	events, err := s.Meta().Events(t.Context(), s.Registry(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	fetched, pushed := 0, 0
	for _, e := range events {
		fetched += strings.Count(string(e.Body), `"ECR Pull Through Cache Action"`)
		pushed += strings.Count(string(e.Body), `"PUSH"`)
	}
	if fetched != 1 || pushed != 0 {
		t.Errorf("got %d events of a fetch and %d of a push, want 1 and none: %+v", fetched, pushed, events)
	}
	for text, want := range map[string]int{"/manifests/": 1, "/blobs/": 3} {
		if got := f.count(text); got != want {
			t.Errorf("requests with %s to the other registry: got %d, want %d: %q", text, got, want, f.all())
		}
	}
}
