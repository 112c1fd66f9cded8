package awsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Pages of every size return each (digest, tag) once and in order, for images with many tags, one tag and no tags.
func TestListImagesPages(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	var want []string
	add := func(seed string, tags ...string) string {
		d := digestOf(s.image("app", seed, tags...))
		slices.Sort(tags)
		for _, tag := range tags {
			want = append(want, d+" "+tag)
		}
		if len(tags) == 0 {
			want = append(want, d+" -")
		}
		return d
	}
	first := add("many", "t1", "t2", "t3", "t4", "t5", "t6", "t7")
	add("none")
	add("one", "single")
	add("more", "u3", "u1", "u2")
	for _, size := range []int{1, 2, 3, 6, 7, 8, 11, 12, 1000} {
		got := s.walk("ListImages", "imageIds", size, []any{"repositoryName", "app"})
		if diff := cmp.Diff(want, summarize(got, "imageDigest", "imageTag")); diff != "" {
			t.Fatalf("pages of %d (-want +got):\n%s", size, diff)
		}
	}
	filtered := func(operation, result, status string, size int) []string {
		return summarize(s.walk(operation, result, size,
			[]any{"repositoryName", "app", "filter", map[string]string{"tagStatus": status}}), "imageDigest", "imageTag")
	}
	tagged := func(w string) bool { return !strings.HasSuffix(w, " -") }
	for _, size := range []int{1, 5, 1000} {
		untagged := slices.DeleteFunc(slices.Clone(want), tagged)
		if diff := cmp.Diff(untagged, filtered("ListImages", "imageIds", "UNTAGGED", size)); diff != "" {
			t.Errorf("UNTAGGED by %d (-want +got):\n%s", size, diff)
		}
		rest := slices.DeleteFunc(slices.Clone(want), func(w string) bool { return !tagged(w) })
		if diff := cmp.Diff(rest, filtered("ListImages", "imageIds", "TAGGED", size)); diff != "" {
			t.Errorf("TAGGED by %d (-want +got):\n%s", size, diff)
		}
		for status, n := range map[string]int{"TAGGED": 3, "UNTAGGED": 1, "ANY": 4} {
			if got := filtered("DescribeImages", "imageDetails", status, size); len(got) != n {
				t.Errorf("DescribeImages %s by %d: %d images, want %d", status, size, len(got), n)
			}
		}
	}
	details := s.walk("DescribeImages", "imageDetails", 3, []any{"repositoryName", "app"})
	if got := summarize(details, "imageDigest", "imageTags"); got[0] != first+" [t1 t2 t3 t4 t5 t6 t7]" || !strings.HasSuffix(got[1], " -") {
		t.Errorf("DescribeImages: got %q", got)
	}
	for _, operation := range []string{"ListImages", "DescribeImages"} {
		for status, n := range map[string]int{"ACTIVE": 1, "ANY": 1, "ARCHIVED": 0, "ACTIVATING": 0} {
			out := s.must(operation, object("repositoryName", "app", "maxResults", 1, "filter", map[string]string{"imageStatus": status}))
			if got := len(append(anySlice(out["imageIds"]), anySlice(out["imageDetails"])...)); got != n {
				t.Errorf("%s with imageStatus %s: %d entries, want %d", operation, status, got, n)
			}
		}
	}
}

func anySlice(v any) []any {
	all, _ := v.([]any)
	return all
}

// A nextToken is valid only unchanged and only for its listing.
func TestNextTokenIsBound(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, repo := range []string{"app", "other"} {
		s.repository(repo)
		for i := range 3 {
			s.image(repo, fmt.Sprint(repo, i))
		}
	}
	token := s.must("ListImages", `{"repositoryName":"app","maxResults":1}`)["nextToken"].(string)
	refused := func(operation string, members ...any) {
		t.Helper()
		s.wantError(operation, object(members...), "InvalidParameterException", "'NextToken'")
	}
	refused("ListImages", "repositoryName", "other", "nextToken", token)
	refused("ListImages", "repositoryName", "app", "nextToken", token, "filter", map[string]string{"tagStatus": "UNTAGGED"})
	refused("DescribeImages", "repositoryName", "app", "nextToken", token)
	refused("DescribeRepositories", "nextToken", token)
	refused("ListImages", "repositoryName", "app", "nextToken", "!")
	refused("ListImages", "repositoryName", "app", "nextToken", "AAAA")
	for i := range token {
		other := byte('A')
		if token[i] == other {
			other = 'B'
		}
		if i == len(token)-1 && len(token)%4 != 0 {
			break // the last character has unused bits
		}
		refused("ListImages", "repositoryName", "app", "nextToken", token[:i]+string(other)+token[i+1:])
	}
	// A new repository with the name of a deleted one is another repository.
	s.must("DeleteRepository", `{"repositoryName":"app","force":true}`)
	s.repository("app")
	refused("ListImages", "repositoryName", "app", "nextToken", token)
}

func TestDescribeImages(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	a := s.image("app", "a", "one", "two")
	b := s.image("app", "b")
	idx := index(a, b)
	s.push("app", idx, "all")
	d := list(s.must("DescribeImages", object("repositoryName", "app", "imageIds", ids("", "one"))), "imageDetails")[0]
	want := map[string]any{
		"registryId": home, "repositoryName": "app", "imageDigest": digestOf(a), "imageTags": []any{"one", "two"},
		"imageSizeInBytes": float64(len(`{"seed":"a"}`)), "imagePushedAt": d["imagePushedAt"], "imageStatus": "ACTIVE",
		"imageManifestMediaType": ociManifest, "artifactMediaType": ociConfig,
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("DescribeImages (-want +got):\n%s", diff)
	}
	// Each image appears once, even if several ids name it. The size of an index is that of its largest image.
	got := summarize(list(s.must("DescribeImages", object("repositoryName", "app",
		"imageIds", ids("", "one", "", "two", digestOf(a), "", digestOf(a), "one", "", "all", digestOf(b), ""))),
		"imageDetails"), "imageDigest", "imageSizeInBytes")
	if diff := cmp.Diff([]string{digestOf(a) + " 12", digestOf(idx) + " 12", digestOf(b) + " 12"}, got); diff != "" {
		t.Errorf("DescribeImages by ids (-want +got):\n%s", diff)
	}
	none := digestOf("none")
	for _, c := range []struct{ digest, tag, shown string }{
		{"", "nothing", "{imageDigest:'null', imageTag:'nothing'}"},
		{none, "", "{imageDigest:'" + none + "', imageTag:'null'}"},
		{none, "one", "{imageDigest:'" + none + "', imageTag:'one'}"},
	} {
		s.wantError("DescribeImages", object("repositoryName", "app", "imageIds", ids("", "one", c.digest, c.tag)), "ImageNotFoundException",
			"The image with imageId "+c.shown+" does not exist within the repository with name 'app' in the registry with id '000000000000'")
	}
	s.wantError("DescribeImages", `{"repositoryName":"app","imageIds":[{}]}`, "InvalidParameterException",
		"both tag and digest cannot be null")
}

func TestBatchGetImage(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	a, b := s.image("app", "a", "one"), s.image("app", "b")
	none := digestOf("none")
	out := s.must("BatchGetImage", object("repositoryName", "app", "acceptedMediaTypes", []string{dockerSchema},
		"imageIds", ids("", "one", digestOf(b), "", "", "gone", none, "", "", "", "sha256:xyz", "", "", "bad/tag", digestOf(b), "one")))
	got := summarize(list(out, "images"), "imageId", "imageManifest", "imageManifestMediaType")
	want := []string{
		"map[imageDigest:" + digestOf(a) + " imageTag:one] " + a + " " + ociManifest,
		"map[imageDigest:" + digestOf(b) + "] " + b + " " + ociManifest,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	failures := summarize(list(out, "failures"), "imageId", "failureCode", "failureReason")
	want = []string{
		"map[imageTag:gone] ImageNotFound Requested image not found",
		"map[imageDigest:" + none + "] ImageNotFound Requested image not found",
		"map[] MissingDigestAndTag Invalid request parameters: both tag and digest cannot be null",
		"map[imageDigest:sha256:xyz] InvalidImageDigest Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
		"map[imageTag:bad/tag] InvalidImageTag Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'",
		"map[imageDigest:" + digestOf(b) +
			" imageTag:one] ImageTagDoesNotMatchDigest Requested image tag does not match the requested image digest",
	}
	if diff := cmp.Diff(want, failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}

func TestBatchDeleteImage(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	remove := func(pairs ...string) (removed, failures []string) {
		t.Helper()
		out := s.must("BatchDeleteImage", object("repositoryName", "app", "imageIds", ids(pairs...)))
		return summarize(list(out, "imageIds"), "imageDigest", "imageTag"), summarize(list(out, "failures"), "failureCode", "failureReason")
	}
	check := func(what string, removed, failures, wantRemoved, wantFailures []string) {
		t.Helper()
		if diff := cmp.Diff([][]string{wantRemoved, wantFailures}, [][]string{removed, failures}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	a := digestOf(s.image("app", "a", "one", "two", "three"))
	removed, failures := remove("", "one")
	check("a tag of three", removed, failures, []string{a + " one"}, []string{})
	removed, failures = remove(a, "")
	check("by digest", removed, failures, []string{a + " three", a + " two"}, []string{})
	removed, failures = remove(a, "", "", "one", "", "", "bad", "")
	check("unknown images", removed, failures, []string{}, []string{
		"ImageNotFound Requested image not found", "ImageNotFound Requested image not found",
		"MissingDigestAndTag Invalid request parameters: both tag and digest cannot be null",
		"InvalidImageDigest Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
	})
	b := digestOf(s.image("app", "b", "last"))
	removed, failures = remove("", "last")
	check("the last tag", removed, failures, []string{b + " last"}, []string{})
	if got := len(list(s.must("DescribeImages", `{"repositoryName":"app"}`), "imageDetails")); got != 0 {
		t.Errorf("got %d images, want none: an image is deleted with its last tag", got)
	}

	child := s.image("app", "child", "child")
	parent := index(child)
	s.push("app", parent, "parent")
	referenced := []string{"ImageReferencedByManifestList Requested image referenced by manifest list: [" + digestOf(parent) + "]"}
	removed, failures = remove(digestOf(child), "")
	check("a child by digest", removed, failures, []string{}, referenced)
	removed, failures = remove("", "child")
	check("a child by its last tag", removed, failures, []string{}, referenced)
	removed, failures = remove(digestOf(child), "child", digestOf(parent), "")
	check("child and index in one call", removed, failures, []string{digestOf(parent) + " parent", digestOf(child) + " child"}, []string{})

	c := digestOf(s.image("app", "c", "x", "y"))
	removed, failures = remove(c, "other", b, "x", c, "x")
	check("digest and tag", removed, failures, []string{c + " x"}, []string{
		"ImageNotFound Requested image not found", "ImageTagDoesNotMatchDigest Requested image tag does not match the requested image digest",
	})
}

func TestListImageReferrers(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	subject := s.image("app", "subject", "v1")
	s.layer("app", "{}")
	want := map[string]string{}
	for i := range 5 {
		kind := fmt.Sprintf("application/vnd.example.kind%d", i%2)
		m := manifest("{}", nil, "artifactType", kind, "subject", describe(ociManifest, subject), "annotations",
			map[string]string{"n": fmt.Sprint(i)})
		s.push("app", m)
		want[digestOf(m)] = fmt.Sprintf("%s %s %s %d map[n:%d] ACTIVE", digestOf(m), ociManifest, kind, len(m), i)
	}
	read := func(size int, members ...any) map[string]string {
		got := map[string]string{}
		in := append([]any{"repositoryName", "app", "subjectId", map[string]string{"imageDigest": digestOf(subject)}}, members...)
		for _, one := range s.walk("ListImageReferrers", "referrers", size, in) {
			got[one["digest"].(string)] = summarize([]map[string]any{one}, "digest", "mediaType", "artifactType", "size",
				"annotations", "artifactStatus")[0]
		}
		return got
	}
	for _, size := range []int{1, 2, 5, 50} {
		if diff := cmp.Diff(want, read(size)); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", size, diff)
		}
		filter := map[string]any{"artifactTypes": []string{"application/vnd.example.kind1", "none"}}
		if got := read(size, "filter", filter); len(got) != 2 {
			t.Errorf("pages of %d with a filter: %d referrers, want 2: %v", size, len(got), got)
		}
	}
	if got := read(50, "filter", map[string]any{"artifactStatus": "ARCHIVED"}); len(got) != 0 {
		t.Errorf("archived referrers: got %v, want none", got)
	}
	out := s.must("ListImageReferrers", object("repositoryName", "app", "subjectId", map[string]string{"imageDigest": digestOf("nobody")}))
	if got := list(out, "referrers"); len(got) != 0 {
		t.Errorf("referrers of an unknown subject: got %v, want none", got)
	}
}

// An image that one request names by its tag and by its digest is deleted once, and the other name is one of no image.
func TestDeletionOfOneImageByTwoNames(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	d := digestOf(s.image("app", "a", "v1"))
	out := s.must("BatchDeleteImage", object("repositoryName", "app", "imageIds", ids("", "v1", d, "")))
	if got := summarize(list(out, "imageIds"), "imageDigest", "imageTag"); len(got) != 1 || got[0] != d+" v1" {
		t.Errorf("the deleted images: got %q, want the tag", got)
	}
	if got := summarize(list(out, "failures"), "failureCode"); len(got) != 1 || got[0] != "ImageNotFound" {
		t.Errorf("the failures: got %q, want ImageNotFound", got)
	}
}

// The limits of the tags of a resource are inclusive, and count characters.
func TestLengthOfResourceTags(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	tag := func(key, value int) string {
		return object("resourceArn", appARN, "tags", []map[string]string{{"Key": strings.Repeat("é", key), "Value": strings.Repeat("é", value)}})
	}
	s.must("TagResource", tag(128, 256))
	s.wantError("TagResource", tag(129, 256), "InvalidTagParameterException", "")
	s.wantError("TagResource", tag(128, 257), "InvalidTagParameterException", "")
	s.wantError("TagResource", tag(0, 256), "InvalidTagParameterException", "")
	s.wantError("TagResource", object("resourceArn", appARN, "tags", []map[string]string{{"Key": "AWS:team", "Value": "x"}}),
		"InvalidTagParameterException", "reserved")
}
