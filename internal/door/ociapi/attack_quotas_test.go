package ociapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Row 33: a role that leaves uploads open, in however many sessions, is refused at its quota by both APIs, and a repository
// has a quota too. Another principal of the same account still pushes to the same repository, and the role continues the
// uploads that it has. A completed or cancelled upload makes room.
func TestOpenUploadsHaveQuotas(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.MaxUploadsPerPrincipal, c.MaxUploadsPerRepository = 3, 5 }})
	root := personOf(s, s.Root(t))
	s.Root(t).CreateRepository(t, "team/app")
	s.Root(t).CreateRepository(t, "team/other")
	root.role(t, "ci", may("ecr:*"))
	pusher, alice := root.user(t, "pusher", may("sts:AssumeRole")), root.user(t, "alice", may("ecr:*"))
	one, two := pusher.assume(t, "ci", "one", ""), pusher.assume(t, "ci", "two", "")
	first, second := one.docker(t).Repo("team/app"), two.docker(t).Repo("team/app")
	honest := alice.docker(t).Repo("team/app")

	refused := func(what string, repo ocitest.Repo, who person) {
		t.Helper()
		for range 2 {
			a := repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/"), nil)
			after := a.Header.Get("Retry-After")
			if a.Status != http.StatusTooManyRequests || after != "60" || !strings.Contains(string(a.Body), "TOOMANYREQUESTS") {
				t.Errorf("%s: got %d %s with Retry-After %q, want 429 TOOMANYREQUESTS with 60", what, a.Status, a.Body, after)
			}
			b := who.ecr(t, "InitiateLayerUpload", "repositoryName", repo.Name)
			if b.Status != http.StatusBadRequest || !strings.Contains(string(b.Body), "LimitExceededException") {
				t.Errorf("%s, InitiateLayerUpload: got %d %s, want 400 LimitExceededException", what, b.Status, b.Body)
			}
		}
	}
	open := []string{first.Begin(t), second.Begin(t)}
	if a := one.ecr(t, "InitiateLayerUpload", "repositoryName", "team/other"); a.Status != http.StatusOK {
		t.Fatalf("the third upload, by the other API: got %d %s", a.Status, a.Body)
	}
	refused("the fourth upload of a role, in its first session", first, one)
	refused("the fourth upload of a role, in its second session", second, two)
	honest.Push(t, "latest", ocitest.NewImage(1))

	first.Do(t, http.MethodPatch, open[0], []byte("x")).Want(t, http.StatusAccepted)
	second.Do(t, http.MethodDelete, open[1], nil).Want(t, http.StatusNoContent)
	open[1] = second.Begin(t)
	refused("an upload after the room of the cancelled one was taken", first, one)

	for range 3 {
		honest.Begin(t)
	}
	bob := root.user(t, "bob", may("ecr:*")).docker(t)
	refused("the sixth upload of a repository", bob.Repo("team/app"), root)
	bob.Repo("team/other").PutBlob(t, []byte("another repository"))
}

// A user that asks for more docker tokens or sessions than its quota is refused, and others are not.
func TestTokensAndSessionsHaveQuotas(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.MaxTokensPerPrincipal, c.MaxSessionsPerPrincipal = 3, 3 }})
	root := personOf(s, s.Root(t))
	root.role(t, "ci", may("ecr:*"))
	mallory, alice := root.user(t, "mallory", may("ecr:*", "sts:*")), root.user(t, "alice", may("ecr:*", "sts:*"))
	for range 3 {
		mallory.password(t)
		mallory.assume(t, "ci", "session", "")
	}
	for range 2 {
		a := mallory.ecr(t, "GetAuthorizationToken")
		if a.Status != http.StatusBadRequest || !strings.Contains(string(a.Body), "LimitExceededException") {
			t.Errorf("the fourth token: got %d %s, want 400 LimitExceededException", a.Status, a.Body)
		}
		a = mallory.query(t, "sts", "2011-06-15", "GetSessionToken")
		if a.Status != http.StatusConflict || !strings.Contains(string(a.Body), "<Code>LimitExceeded</Code>") {
			t.Errorf("the fourth session: got %d %s, want 409 LimitExceeded", a.Status, a.Body)
		}
	}
	alice.password(t)
	ci := alice.assume(t, "ci", "session", "") // of the same role, whose sessions are the quota of who asks for them
	ci.password(t)
}
