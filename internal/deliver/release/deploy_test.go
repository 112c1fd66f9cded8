package release_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/deliver/release"
	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// stopping is a folder whose process ends at one of its writes: before it, or behind it.
type stopping struct {
	*release.Folder
	left   int // writes until then
	behind bool
}

var errStopped = errors.New("the process was killed")

func (s *stopping) step(write func() error) error {
	if s.left--; s.left == 0 {
		if s.behind {
			return errors.Join(write(), errStopped)
		}
		return errStopped
	}
	return write()
}

func (s *stopping) Save(ctx context.Context, e release.Environment) error {
	return s.step(func() error { return s.Folder.Save(ctx, e) })
}

func (s *stopping) Apply(ctx context.Context, all []apptemplate.Stage, remove []kube.ObjectKey) (found []kube.Health, err error) {
	err = s.step(func() (err error) {
		found, err = s.Folder.Apply(ctx, all, remove)
		return err
	})
	return found, err
}

func deployment(t *testing.T, target release.Target, images string) *release.Deploy {
	t.Helper()
	dir := t.TempDir()
	text := "app: shop\nenvironment_templates: [{name: ephemeral}]\nservices:\n"
	for image := range strings.FieldsSeq(images) {
		label, _, _ := strings.Cut(image, ":")
		text += "- {name: " + label + ", image: 'r.example.com/" + image + "', ports: [{target_port: 80}]}\n"
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, ".release"), 0o777),
		os.WriteFile(filepath.Join(dir, ".release", "application_template.yaml"), []byte(text), 0o666)); err != nil {
		t.Fatal(err)
	}
	a, err := release.ReadApplication(dir)
	if err != nil || a.Failed() {
		t.Fatal(err, a.Findings)
	}
	check := &release.Check{Other: func(_ context.Context, r rewrite.Reference, _ string) (release.Facts, *release.Problem) {
		if r.Tag == "gone" {
			return release.Facts{}, &release.Problem{Code: release.ImageNotFound, Text: "it is gone"}
		}
		return release.Facts{Digest: ocitest.SHA256([]byte(r.String()))}, nil
	}}
	return &release.Deploy{App: a, Environment: "preview", Namespace: "preview", Check: check, Target: target, Now: time.Now}
}

// A deployment that is killed at any write is finished by the next one, whether it makes the environment or makes it anew, and what was
// there before is whole until it is replaced.
func TestInterruptedDeployments(t *testing.T) {
	t.Parallel()
	for _, behind := range []bool{false, true} {
		for at := 1; at <= 3; at++ {
			dir := t.TempDir()
			f, err := release.OpenFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			first := deployment(t, f, "web:1 old:1")
			if _, err := first.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			second := deployment(t, &stopping{f, at, behind}, "web:2 new:1")
			second.Recreate = true
			if _, err := second.Run(t.Context()); !errors.Is(err, errStopped) {
				t.Fatalf("killed at write %d: got %v", at, err)
			}
			if text, err := os.ReadFile(filepath.Join(dir, release.ManifestsFile)); err != nil || strings.Count(string(text),
				"kind: Deployment") != 2 {
				t.Errorf("killed at write %d, behind it %t: the manifests are not whole: %s", at, behind, text)
			}
			// What was begun is gone on with, although --recreate is not given again; what was not begun is not.
			again := deployment(t, f, "web:2 new:1")
			r, err := again.Run(t.Context())
			if err != nil || r.Environment.State != release.Deployed {
				t.Fatalf("repeated: got %v, %v", r, err)
			}
			text, err := os.ReadFile(filepath.Join(dir, release.ManifestsFile))
			begun := at > 1 || behind
			if err != nil || strings.Contains(string(text), "web:2@sha256:") != begun || strings.Contains(string(text), "web:1@sha256:") == begun {
				t.Errorf("killed at write %d, behind it %t, and repeated: got %s", at, behind, text)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// What is no more in the template is removed, also when the deployment that was to remove it was killed.
func TestRemovedServices(t *testing.T) {
	t.Parallel()
	f, err := release.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := deployment(t, f, "web:1 old:1").Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	killed := deployment(t, &stopping{f, 2, false}, "web:1")
	killed.Recreate = true
	if _, err := killed.Run(t.Context()); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	seen := &removing{Folder: f}
	if _, err := deployment(t, seen, "web:1").Run(t.Context()); err != nil || len(seen.removed) != 2 || seen.removed[0].Name != "old" {
		t.Errorf("removed %v, %v, want the Deployment and the Service old", seen.removed, err)
	}
}

// removing notes what is removed.
type removing struct {
	*release.Folder
	removed []kube.ObjectKey
}

func (r *removing) Apply(ctx context.Context, all []apptemplate.Stage, remove []kube.ObjectKey) ([]kube.Health, error) {
	r.removed = append(r.removed, remove...)
	return r.Folder.Apply(ctx, all, remove)
}

// A refused deployment writes nothing, and two at the same time do not work with one folder.
func TestRefusedAndAtTheSameTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := release.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := release.OpenFolder(dir); !errors.Is(err, release.ErrAnother) {
		t.Errorf("the folder of another deployment: got %v", err)
	}
	r, err := deployment(t, f, "web:1 db:gone").Run(t.Context())
	if err != nil || !r.Refused {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != ".lock" {
		t.Errorf("a refused deployment wrote %v, %v", entries, err)
	}
	f, err = release.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(filepath.Join(dir, "environment.json"), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	d := deployment(t, f, "web:1")
	if _, err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--recreate") {
		t.Errorf("a broken state: got %v", err)
	}
	d.Recreate = true
	if _, err := d.Run(t.Context()); err != nil {
		t.Errorf("recreated: got %v", err)
	}
}
