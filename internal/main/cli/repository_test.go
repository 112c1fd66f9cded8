package cli_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A repository that was deleted with its images, and made again, is listed, and comes back under another name with everything
// that was in it; under its own once that is free.
func TestDeletedRepositoryIsListedAndRestored(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	remove := func(name string) {
		t.Helper()
		if _, err := root.ECR().DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: &name, Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	old := root.CreateRepository(t, "team/app")
	old.Push(t, "v1", ocitest.NewImage(1, 1000))
	old.Push(t, "v2", ocitest.NewImage(2, 1000))
	must(t, "repository", "deleted", "--data", s.Dir)
	remove("team/app")
	root.CreateRepository(t, "team/app").Push(t, "new", ocitest.NewImage(3, 1000))

	code, out, errs := run(t, "repository", "deleted", "--data", s.Dir, "--json")
	var list struct {
		Repositories []struct {
			RepositoryId, RepositoryName string
		}
	}
	if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || len(list.Repositories) != 1 ||
		list.Repositories[0].RepositoryName != "team/app" {
		t.Fatalf("repository deleted: got %d, %s, %s, %v, want team/app", code, out, errs, err)
	}
	id := list.Repositories[0].RepositoryId
	for _, as := range [][]string{nil, {"--as", "team/app"}} {
		code, _, errs := run(t, append([]string{"repository", "restore", id, "--data", s.Dir}, as...)...)
		if code != 1 || !strings.Contains(errs, "'team/app' already exists") ||
			!strings.Contains(errs, "ecrin repository restore "+id+" --as NAME") {
			t.Errorf("restore under a name that is taken %q: got %d, %s, want 1 and the command with another name", as, code, errs)
		}
	}
	must(t, "repository", "restore", id, "--as", "team/old", "--data", s.Dir)
	back := root.Docker(t).Repo("team/old")
	if n, err := back.VerifyAll(t.Context()); n != 2 || err != nil {
		t.Errorf("the restored repository has %d whole tags, %v, want 2", n, err)
	}
	back.Push(t, "v3", ocitest.NewImage(4, 1000))
	root.Docker(t).Repo("team/app").Manifest(t, "new").Want(t, http.StatusOK)
	root.Docker(t).Repo("team/app").Manifest(t, "v1").WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
	if code, _, errs := run(t, "repository", "restore", id, "--as", "team/again", "--data", s.Dir); code != 1 ||
		!strings.Contains(errs, "no deleted repository") {
		t.Errorf("restore of a living repository: got %d, %s, want 1", code, errs)
	}

	remove("team/old")
	must(t, "repository", "restore", id, "--data", s.Dir)
	if got, err := root.ECR().DescribeRepositories(t.Context(),
		&ecr.DescribeRepositoriesInput{RepositoryNames: []string{"team/old"}}); err != nil ||
		aws.ToString(got.Repositories[0].RepositoryName) != "team/old" {
		t.Errorf("after a restore without --as: %v", err)
	}
	if code, out, _ := run(t, "repository", "deleted", "--account", "111122223333", "--data", s.Dir); code != 0 || out != "" {
		t.Errorf("the deleted repositories of another account: got %d, %q, want none", code, out)
	}
}

// The command line protects a repository, shows the protection and ends it; it removes a tag and leaves the image.
func TestProtectAndUntag(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "v1", ocitest.NewImage(1, 1000))
	ecrin := func(wantCode int, want string, args ...string) {
		t.Helper()
		code, out, errs := run(t, append(args, "--data", s.Dir)...)
		if code != wantCode || !strings.Contains(out+errs, want) {
			t.Errorf("ecrin %q: got %d, %s%s, want %d and %q", args, code, out, errs, wantCode, want)
		}
	}
	ecrin(0, "team/app: can be deleted", "repository", "protection", "team/app")
	ecrin(0, "cannot be deleted, nor can its images", "repository", "protect", "team/app", "--images")
	ecrin(1, "deletion protection", "image", "untag", "team/app:v1")
	ecrin(0, "its images can", "repository", "protect", "team/app")
	ecrin(0, "removed the tag v1 from team/app@sha256:", "image", "untag", "team/app:v1")
	repo.Manifest(t, "v1").WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
	repo.Manifest(t, ocitest.NewImage(1, 1000).Digest).Want(t, http.StatusOK)
	in := &ecr.DeleteRepositoryInput{RepositoryName: aws.String("team/app"), Force: true}
	_, err := root.ECR().DeleteRepository(t.Context(), in)
	if err == nil || !strings.Contains(err.Error(), "ecrin repository unprotect team/app") {
		t.Errorf("deletion of a protected repository: got %v, want a refusal with the command", err)
	}
	ecrin(0, "team/app: can be deleted", "repository", "unprotect", "000000000000/us-east-1/team/app")
	if _, err := root.ECR().DeleteRepository(t.Context(), in); err != nil {
		t.Errorf("deletion of an unprotected repository: %v", err)
	}
	ecrin(2, "want REPOSITORY", "repository", "protect", "team/app:v1")
	ecrin(2, "want REPOSITORY:TAG", "image", "untag", "team/app")
	ecrin(1, "does not exist", "repository", "protect", "none")
}
