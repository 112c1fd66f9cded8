package awsapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// largest stores an image whose manifest has almost 4 MiB, under n tags, and gives its manifest.
func (s *server) largest(repo string, n int) string {
	s.t.Helper()
	config := `{}`
	s.layer(repo, config)
	m := manifest(config, nil, "annotations", map[string]string{"note": strings.Repeat("n", 3_900_000)})
	s.push(repo, m, "0")
	var tags []string
	for i := 1; i < n; i++ {
		tags = append(tags, fmt.Sprint(i))
	}
	s.push(repo, m, tags...)
	return m
}

// An id that is given more than once has one entry in the answer; a tag and the digest that it leads to are two ids.
func TestBatchGetImageAnswersEachIDOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	m := s.image("app", "a", "one")
	var all []map[string]string
	for range 30 {
		all = append(all, ids(digestOf(m), "", "", "one", digestOf("absent"), "")...)
	}
	out := s.must("BatchGetImage", object("repositoryName", "app", "imageIds", all))
	if images, failures := list(out, "images"), list(out, "failures"); len(images) != 2 || len(failures) != 1 {
		t.Errorf("30 times three ids: got %d images and %d failures, want 2 and 1", len(images), len(failures))
	}
	if got := list(s.must("DescribeImages", object("repositoryName", "app", "imageIds", all[:2])), "imageDetails"); len(got) != 1 {
		t.Errorf("DescribeImages: got %d entries, want 1", len(got))
	}
}

// An answer has at most 8 MiB of manifests. The images that do not fit are failures, and can be requested again; smaller ones behind
// them are answered.
func TestBatchGetImageAnswerHasALimit(t *testing.T) {
	slowtest.Only(t, "it pushes 20 of the largest manifests")
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	m := s.largest("app", 20)
	s.image("app", "small", "small")
	var all []map[string]string
	for i := range 20 {
		all = append(all, ids("", fmt.Sprint(i))...)
	}
	all = append(all, ids("", "small")...)
	out := s.must("BatchGetImage", object("repositoryName", "app", "imageIds", all))
	var got []string
	for _, im := range list(out, "images") {
		id := im["imageId"].(map[string]any)
		got = append(got, fmt.Sprint(id["imageTag"]))
		if im["imageManifest"] != m && id["imageTag"] != "small" {
			t.Errorf("tag %v: got another manifest than was pushed", id["imageTag"])
		}
	}
	if want := "[0 1 small]"; fmt.Sprint(got) != want {
		t.Errorf("images of the answer: got %v, want %s", got, want)
	}
	failures := list(out, "failures")
	for _, f := range failures {
		if f["failureCode"] != "ImageInaccessible" || !strings.Contains(f["failureReason"].(string), "request this image again") {
			t.Errorf("a failure: got %v, want ImageInaccessible and what to do", f)
		}
	}
	if len(failures) != 18 {
		t.Errorf("got %d failures, want 18", len(failures))
	}
}
