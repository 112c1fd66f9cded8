package clients_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

// TestRestartKeepsImages pushes, stops the server gracefully, starts it again on the same folder, and pulls
// with the login from before, since a docker token stays valid after a restart.
func TestRestartKeepsImages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := startServerIn(dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const repo = "life/kept"
	first.createRepo(t, repo)
	img := theImage(t)
	password := first.password(t, account, region)
	copyLayout(t, img, orasRepo(t, first, first.ref(repo), password), "v1")
	first.stop()

	second, err := startServerIn(dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.stop)
	if got := loginStatus(t, second, password); got != 200 {
		t.Errorf("login with the token from before the restart: got status %d, want 200", got)
	}
	s := newSession(t, second)
	s.storeLogin(password)
	s.cmd("crane", "validate", "--remote", second.ref(repo)+":v1").ok()
	second.wantManifest(t, repo, "v1", img.index)
}

// TestCreateOnPush is E7 with creation on push enabled, by the setting: the push creates the repository. The rows of creation templates are
// in package ociapi.
func TestCreateOnPush(t *testing.T) {
	t.Parallel()
	server, err := startServerIn(t.TempDir(), "127.0.0.1:0", "--create-on-push")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	const repo = "life/made/by-push"
	s := newSession(t, server)
	s.storeLogin(s.password())
	img := theImage(t)
	s.cmd("crane", "push", img.layout, server.ref(repo)+":v1").ok()
	server.wantManifest(t, repo, "v1", img.index)
	out, err := server.sdk(t, account, region).DescribeRepositories(t.Context(),
		&ecr.DescribeRepositoriesInput{RepositoryNames: []string{repo}})
	if err != nil || len(out.Repositories) != 1 {
		t.Errorf("DescribeRepositories after the push: got %+v, error %v, want the repository", out, err)
	}
	// A pull creates no repository.
	s.cmd("crane", "digest", server.ref("life/never")+":v1").fails()
	if _, err := server.sdk(t, account, region).DescribeRepositories(t.Context(),
		&ecr.DescribeRepositoriesInput{RepositoryNames: []string{"life/never"}}); err == nil {
		t.Error("a pull created the repository life/never")
	}
}
