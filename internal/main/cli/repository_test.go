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
