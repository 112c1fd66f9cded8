package ociapi_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A push to a repository that does not exist is refused with the text of ECR alone as the message, and with the command that creates
// the repository beside it; a pull is refused with the text alone.
func TestPushToAMissingRepositorySaysHowToCreateIt(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).Docker(t).Repo("charts/hello")
	const text = "The repository with name 'charts/hello' does not exist in the registry with id '000000000000'"
	const create = "aws ecr create-repository --repository-name charts/hello --region us-east-1"
	for what, a := range map[string]*ocitest.Answer{
		"upload":   repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/"), nil),
		"manifest": repo.PutManifest(t, "v1", ocitest.IndexType, []byte(`{"schemaVersion":2,"manifests":[]}`)),
		"pull":     repo.Manifest(t, "v1"),
	} {
		var got struct {
			Errors []struct {
				Code, Message string
				Detail        map[string]string
			}
		}
		if err := json.Unmarshal(a.Body, &got); err != nil || len(got.Errors) != 1 || got.Errors[0].Code != "NAME_UNKNOWN" ||
			got.Errors[0].Message != text {
			t.Errorf("%s: got %s, want NAME_UNKNOWN and %q", what, a.Body, text)
			continue
		}
		want := create
		if what == "pull" {
			want = ""
		}
		if cure := got.Errors[0].Detail["create"]; cure != want {
			t.Errorf("%s: the detail is %v, want %q", what, got.Errors[0].Detail, want)
		}
	}
}
