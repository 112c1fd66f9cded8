package pullthrough_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The referrers of a fetched image are fetched when they are listed, and again after six hours.
func TestReferrersAreFetched(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	im := ocitest.NewImage(1, 1000)
	there := owner.CreateRepository(t, "app")
	there.Push(t, "v1", im)
	publish(t, owner, "app")
	f := before(t, source)
	proxy := f.handle
	var c clock
	s := near(t, c.now, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	empty := []byte("{}")
	there.PutBlob(t, empty)
	sign := func(kind string) {
		t.Helper()
		subject, config := ocitest.Describe(ocitest.ImageType, im.Manifest), ocitest.Describe(ocitest.EmptyType, empty)
		body := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: kind, Config: &config,
			Layers: []ocitest.Descriptor{config}, Subject: &subject}.JSON()
		there.PutManifest(t, ocitest.SHA256(body), ocitest.ImageType, body).Want(t, http.StatusCreated)
	}
	repo := "cache/app"
	list := func() (int, error) {
		out, err := root.ECR().ListImageReferrers(t.Context(), &ecr.ListImageReferrersInput{RepositoryName: &repo,
			SubjectId: &types.SubjectIdentifier{ImageDigest: &im.Digest}})
		if err != nil {
			return 0, err
		}
		return len(out.Referrers), nil
	}
	want := func(what string, n int) {
		t.Helper()
		if got, err := list(); err != nil || got != n {
			t.Errorf("%s: got %d referrers, %v, want %d", what, got, err, n)
		}
	}
	docker := root.Docker(t)
	docker.Repo(repo).Manifest(t, "v1").Want(t, http.StatusOK)
	f.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	_, err := list()
	wantCode(t, "referrers that are refused", err, "UnableToListUpstreamImageReferrersException")
	f.serve(proxy)
	c.add(time.Minute)
	sign("application/one")
	want("first", 1)
	asked := len(f.all())
	sign("application/two")
	want("at once again", 1)
	if got := len(f.all()); got != asked {
		t.Errorf("at once again: got %d requests, want none", got-asked)
	}
	if got := docker.Do(t, "GET", docker.Repo(repo).Path("/referrers/"+im.Digest), nil).Want(t, http.StatusOK); len(got.Body) < 100 {
		t.Errorf("the OCI API: got %s", got.Body)
	}
	count := func() int {
		t.Helper()
		var out struct{ Referrers []any }
		body := `{"repositoryName":"cache/app","subjectId":{"imageDigest":"` + im.Digest + `"}}`
		if err := json.Unmarshal(call(t, s, root, &c, "ListImageReferrers", body), &out); err != nil {
			t.Fatal(err)
		}
		return len(out.Referrers)
	}
	c.add(7 * time.Hour)
	f.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	if got := count(); got != 1 {
		t.Errorf("while the other registry refuses: got %d referrers, want the one that is stored", got)
	}
	f.serve(proxy)
	c.add(time.Minute)
	if got := count(); got != 2 {
		t.Errorf("after six hours: got %d referrers, want 2", got)
	}
}
