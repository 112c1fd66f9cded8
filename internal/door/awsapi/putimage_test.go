package awsapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPutImage(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.layer("app", "{}")
	m := manifest("{}", nil)
	put := func(more ...any) string {
		return object(append([]any{"repositoryName", "app", "imageManifest", m}, more...)...)
	}
	out := s.must("PutImage", put("imageTag", "one", "imageDigest", digestOf(m)))
	want := map[string]any{"image": map[string]any{
		"registryId": home, "repositoryName": "app", "imageId": map[string]any{"imageDigest": digestOf(m), "imageTag": "one"},
		"imageManifest": m, "imageManifestMediaType": ociManifest,
	}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("PutImage (-want +got):\n%s", diff)
	}
	s.wantError("PutImage", put("imageTag", "one"), "ImageAlreadyExistsException",
		"Image with digest '"+digestOf(m)+"' and tag 'one' already exists in the repository with name 'app' in registry with id '000000000000'")
	s.wantError("PutImage", put(), "ImageAlreadyExistsException", digestOf(m))
	s.wantError("PutImage", put("imageTag", "two", "imageDigest", digestOf("x")), "ImageDigestDoesNotMatchException", digestOf(m))
	s.wantError("PutImage", put("imageTag", "two", "imageManifestMediaType", ociIndex), "InvalidParameterException", "")

	pushed := func() any {
		return list(s.must("DescribeImages", object("repositoryName", "app", "imageIds", ids(digestOf(m), ""))),
			"imageDetails")[0]["imagePushedAt"]
	}
	before := pushed()
	s.advance(time.Minute)
	s.must("PutImage", put("imageTag", "two"))
	if got := pushed(); got != before {
		t.Errorf("imagePushedAt after one more tag is %v, want %v as before", got, before)
	}

	// A tag of another image moves; the old image may lose its last tag.
	s.must("BatchDeleteImage", object("repositoryName", "app", "imageIds", ids("", "two")))
	next := s.image("app", "next", "one")
	details := summarize(list(s.must("DescribeImages", `{"repositoryName":"app"}`), "imageDetails"), "imageDigest", "imageTags")
	if diff := cmp.Diff([]string{digestOf(m) + " -", digestOf(next) + " [one]"}, details); diff != "" {
		t.Errorf("after the tag moved (-want +got):\n%s", diff)
	}

	s.wantError("PutImage", object("repositoryName", "app", "imageManifest",
		manifest("{}", []string{"no layer", "nor this"})), "LayersNotFoundException", digestOf("nor this"))
	s.wantError("PutImage", object("repositoryName", "app", "imageManifest", index(m, `{"no":"image"}`)),
		"ReferencedImagesNotFoundException", digestOf(`{"no":"image"}`))
	for what, bad := range map[string]string{
		"no JSON": "hello", "an array": "[]", "empty": "{}",
		"image and index": manifest("{}", nil, "manifests", []any{}),
	} {
		if a := s.call("PutImage", object("repositoryName", "app", "imageManifest", bad)); a.Type != "InvalidParameterException" {
			t.Errorf("PutImage of %s: got %s, want InvalidParameterException", what, a)
		}
	}
	if got := s.must("ListImages", `{"repositoryName":"app"}`)["imageIds"].([]any); len(got) != 2 {
		t.Errorf("after refused pushes: got %d entries, want 2", len(got))
	}
}

// A manifest without mediaType needs that of the request, and is stored unchanged.
func TestPutImageMediaType(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.layer("app", "{}")
	plain := fmt.Sprintf("{\n \"schemaVersion\": 2, \"config\": {\"mediaType\":%q,\"digest\":%q,\"size\":2}, \"layers\": [ ] }\n", ociConfig, digestOf("{}"))
	s.wantError("PutImage", object("repositoryName", "app", "imageManifest", plain), "InvalidParameterException", "")
	s.must("PutImage", object("repositoryName", "app", "imageManifest", plain, "imageManifestMediaType", ociManifest, "imageTag", "a"))
	got := list(s.must("BatchGetImage", object("repositoryName", "app", "imageIds", ids(digestOf(plain), ""))), "images")
	if diff := cmp.Diff([]string{plain + " " + ociManifest}, summarize(got, "imageManifest", "imageManifestMediaType")); diff != "" {
		t.Errorf("the stored manifest (-want +got):\n%s", diff)
	}
}

// pushTag moves a tag by the OCI distribution API.
func (s *server) pushTag(repo, m, tag string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut, s.url+"/v2/"+repo+"/manifests/"+tag, strings.NewReader(m))
	if err != nil {
		s.t.Fatal(err)
	}
	data := list(s.must("GetAuthorizationToken", `{}`), "authorizationData")[0]
	r.Header.Set("Authorization", "Basic "+data["authorizationToken"].(string))
	r.Header.Set("Content-Type", ociManifest)
	return s.do(r)
}

func TestTagMutability(t *testing.T) {
	t.Parallel()
	filters := func(all ...string) []map[string]string {
		var out []map[string]string
		for _, f := range all {
			out = append(out, map[string]string{"filterType": "WILDCARD", "filter": f})
		}
		return out
	}
	s := serve(t, nil)
	for _, c := range []struct {
		mode         string
		filters      []map[string]string
		moves, stays []string
	}{
		{"MUTABLE", nil, []string{"v1", "latest"}, nil},
		{"IMMUTABLE", nil, nil, []string{"v1", "latest"}},
		{"IMMUTABLE_WITH_EXCLUSION", filters("latest", "dev-*", "*-rc*"), []string{"latest", "dev-", "dev-1", "v1-rc2"},
			[]string{"latest2", "mydev-1", "v1", "Latest"}},
		{"MUTABLE_WITH_EXCLUSION", filters("v*.*", "prod"), []string{"v1", "latest", "production"}, []string{"v1.0", "v.", "prod"}},
	} {
		repo := strings.ToLower(c.mode)
		in := []any{"repositoryName", repo, "imageTagMutability", c.mode}
		if c.filters != nil {
			in = append(in, "imageTagMutabilityExclusionFilters", c.filters)
		}
		s.repository(repo)
		old, next := s.image(repo, "old", append(c.moves, c.stays...)...), s.image(repo, "next")
		out := s.must("PutImageTagMutability", object(in...))
		if got := summarize([]map[string]any{out}, "imageTagMutability")[0]; got != c.mode ||
			len(anySlice(out["imageTagMutabilityExclusionFilters"])) != len(c.filters) {
			t.Errorf("PutImageTagMutability %s: got %v", c.mode, out)
		}
		names := func(tag string) string {
			return list(s.must("DescribeImages", object("repositoryName", repo, "imageIds", ids("", tag))),
				"imageDetails")[0]["imageDigest"].(string)
		}
		for _, tag := range c.stays {
			text := fmt.Sprintf("The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.", tag, repo)
			s.wantError("PutImage", object("repositoryName", repo, "imageManifest", next, "imageTag", tag), "ImageTagAlreadyExistsException", text)
			if a := s.pushTag(repo, next, tag); a.Status != 400 || !strings.Contains(a.Body, text) {
				t.Errorf("%s: docker push to %s: got %s, want 400 with %q", c.mode, tag, a, text)
			}
			// A push of the same image is an error in the ECR API and succeeds with docker.
			s.wantError("PutImage", object("repositoryName", repo, "imageManifest", old, "imageTag", tag), "ImageAlreadyExistsException", tag)
			if a := s.pushTag(repo, old, tag); a.Status != 201 {
				t.Errorf("%s: docker push of the same image to %s: got %s, want 201", c.mode, tag, a)
			}
			if got := names(tag); got != digestOf(old) {
				t.Errorf("%s: tag %s names %s, want %s as before", c.mode, tag, got, digestOf(old))
			}
		}
		for i, tag := range c.moves {
			if i%2 == 0 {
				s.must("PutImage", object("repositoryName", repo, "imageManifest", next, "imageTag", tag))
			} else if a := s.pushTag(repo, next, tag); a.Status != 201 {
				t.Errorf("%s: docker push to %s: got %s, want 201", c.mode, tag, a)
			}
			if got := names(tag); got != digestOf(next) {
				t.Errorf("%s: tag %s names %s, want %s", c.mode, tag, got, digestOf(next))
			}
		}
		// New tags can always be set, also a tag with the name of a deleted immutable tag.
		s.must("PutImage", object("repositoryName", repo, "imageManifest", next, "imageTag", "new"))
		for _, tag := range c.stays {
			s.must("BatchDeleteImage", object("repositoryName", repo, "imageIds", ids("", tag)))
			s.must("PutImage", object("repositoryName", repo, "imageManifest", next, "imageTag", tag))
		}
	}
}

func TestAuthorizationTokenForm(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	token := func(body, host, agent string) []map[string]any {
		t.Helper()
		a := s.send(raw{key: s.key, target: ecrTarget + "GetAuthorizationToken", body: body, host: host,
			before: func(r *http.Request) { r.Header.Set("User-Agent", agent) }})
		var out map[string]any
		if err := json.Unmarshal([]byte(a.Body), &out); err != nil || a.Status != http.StatusOK {
			t.Fatalf("GetAuthorizationToken %s: got %s, want 200", body, a)
		}
		return list(out, "authorizationData")
	}
	data := token(`{"registryIds":["111122223333","000000000000"]}`, "api.ecr.us-east-1.amazonaws.com", "aws-cli/2")
	want := []string{"https://111122223333.dkr.ecr.us-east-1.amazonaws.com", "https://000000000000.dkr.ecr.us-east-1.amazonaws.com"}
	if diff := cmp.Diff(want, summarize(data, "proxyEndpoint")); diff != "" {
		t.Errorf("proxyEndpoint in the order of registryIds (-want +got):\n%s", diff)
	}
	text, err := base64.StdEncoding.DecodeString(data[0]["authorizationToken"].(string))
	user, password, _ := strings.Cut(string(text), ":")
	if err != nil || user != "AWS" || len(password) < 100 || strings.ContainsAny(password, ": \t\n") {
		t.Errorf("the token is %q (%v), want AWS, a colon and a password without colons or blanks", text, err)
	}
	if got, want := data[0]["expiresAt"].(float64), float64(time.Now().Add(12*time.Hour).Unix()); got < want-60 || got > want+60 {
		t.Errorf("expiresAt is %v, want 12 hours from now, %v", got, want)
	}
	// By the address of the server, the login is at the host of repositoryUri, except for the credential helper of AWS.
	for agent, want := range map[string]string{"aws-cli/2": s.url, "aws-sdk-js/3.1": s.url, "aws-sdk-go-v2/1.41.2": want[1]} {
		if one := token(`{}`, "", agent); len(one) != 1 || one[0]["proxyEndpoint"] != want {
			t.Errorf("without registryIds, by %s: got %v, want one for %s", agent, one, want)
		}
	}
	created := s.must("CreateRepository", object("repositoryName", "app"))["repository"].(map[string]any)
	if uri := created["repositoryUri"].(string); "http://"+strings.TrimSuffix(uri, "/app") != s.url {
		t.Errorf("repositoryUri is %s, want the host of %s", uri, s.url)
	}
	s.wantError("GetAuthorizationToken", `{"registryIds":[]}`, "InvalidParameterException", "registryIds")
	s.wantError("GetAuthorizationToken", `{"registryIds":["12"]}`, "InvalidParameterException", "registryIds")
}

// A manifest that contradicts what is stored, or the limits, is refused in the form that ECR has for all manifests.
func TestPutImageRefusesInTheFormOfECR(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.layer("app", "{}")
	config := func(size int) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`,
			ociManifest, ociConfig, digestOf("{}"), size)
	}
	s.wantError("PutImage", object("repositoryName", "app", "imageManifest", config(3), "imageTag", "a"), "InvalidParameterException",
		"Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'blob "+digestOf("{}")+" has 2 bytes, not 3'")
	inner := config(2)
	s.must("PutImage", object("repositoryName", "app", "imageManifest", inner, "imageTag", "a"))
	mediaType := ociManifest
	for depth := 1; depth <= 9; depth++ {
		outer := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
			ociIndex, mediaType, digestOf(inner), len(inner))
		in := object("repositoryName", "app", "imageManifest", outer)
		if depth > 8 {
			s.wantError("PutImage", in, "InvalidParameterException",
				"Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'indexes may nest 8 deep, this one is 9 deep'")
			break
		}
		s.must("PutImage", in)
		inner, mediaType = outer, ociIndex
	}
}
