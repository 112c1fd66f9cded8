package awsapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// link returns a signed link to a layer.
func (s *server) link(repo, digest string) string {
	s.t.Helper()
	out := s.must("GetDownloadUrlForLayer", object("repositoryName", repo, "layerDigest", digest))
	if out["layerDigest"] != digest {
		s.t.Errorf("layerDigest is %v, want %s", out["layerDigest"], digest)
	}
	return out["downloadUrl"].(string)
}

// get sends a GET without credentials.
func (s *server) get(address string, header ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.do(r)
}

func TestGetDownloadUrlForLayer(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	config := `{"seed":"a"}`
	d := s.layer("app", config)
	s.wantError("GetDownloadUrlForLayer", object("repositoryName", "app", "layerDigest", d), "LayerInaccessibleException", d)
	s.wantError("GetDownloadUrlForLayer", object("repositoryName", "app", "layerDigest", digestOf("none")),
		"LayersNotFoundException", digestOf("none"))
	s.push("app", manifest(config, nil), "latest")
	address := s.link("app", d)
	if !strings.HasPrefix(address, s.url+"/") {
		t.Errorf("the link is %s, want a URL that begins with %s", address, s.url)
	}
	if a := s.get(address); a.Status != 200 || a.Body != config {
		t.Errorf("GET %s: got %s, want 200 %s", address, a, config)
	}
	if a := s.get(address, "Range", "bytes=2-5"); a.Status != 206 || a.Body != config[2:6] || a.Header.Get("Content-Range") != "bytes 2-5/12" {
		t.Errorf("GET of bytes 2 to 5: got %s, Content-Range %q", a, a.Header.Get("Content-Range"))
	}
}

// A signed link is valid for one layer of one repository, for 15 minutes, and while the access key that requested it is
// active.
func TestAttack32DirectAddress(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, repo := range []string{"app", "other"} {
		s.repository(repo)
		s.image(repo, "a", "latest")
	}
	s.image("app", "b", "b")
	d := digestOf(`{"seed":"a"}`)
	address := s.link("app", d)
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, address string) {
		t.Helper()
		if a := s.get(address); a.Status != 401 && a.Status != 403 && a.Status != 404 || strings.Contains(a.Body, "seed") {
			t.Errorf("%s: GET %s\ngot %s, want a refusal", what, address, a)
		}
	}
	refused("another layer", strings.ReplaceAll(address, d, digestOf(`{"seed":"b"}`)))
	refused("another repository", strings.Replace(address, "/app/", "/other/", 1))
	refused("another account", strings.Replace(address, home, "111122223333", 1))
	refused("without its query", s.url+parsed.Path)
	for key, values := range parsed.Query() {
		for _, other := range []string{"", "0", values[0] + "0", strings.ToUpper(values[0]) + " "} {
			q := parsed.Query()
			q.Set(key, other)
			changed := *parsed
			changed.RawQuery = q.Encode()
			refused("changed "+key, changed.String())
		}
	}
	refused("a dotted path", strings.Replace(address, "/app/", "/x/../app/", 1))
	if a := s.get(address); a.Status != 200 {
		t.Fatalf("the unchanged link: got %s, want 200", a)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := s.do(r); a.Status != 405 {
		t.Errorf("PUT to the link: got %s, want 405", a)
	}

	s.advance(14 * time.Minute)
	if a := s.get(address); a.Status != 200 {
		t.Errorf("after 14 minutes: got %s, want 200", a)
	}
	s.advance(2 * time.Minute)
	refused("after 16 minutes", address)
	s.advance(-16 * time.Minute)

	s.must("DeleteRepository", `{"repositoryName":"app","force":true}`)
	refused("after the repository was deleted", address)
	s.repository("app")
	refused("after a repository with the same name was created", address)

	address = s.link("other", d)
	status := func(to ecrintypes.AccessKeyStatus) {
		s.operator("UpdateAccessKey", &ecrintypes.UpdateAccessKeyRequest{AccessKeyId: s.key.AccessKeyID, Status: to},
			&ecrintypes.UpdateAccessKeyResponse{})
	}
	status(ecrintypes.AccessKeyStatusINACTIVE)
	refused("with its key disabled", address)
	status(ecrintypes.AccessKeyStatusACTIVE)
	if a := s.get(address); a.Status != 200 {
		t.Errorf("with its key enabled again: got %s, want 200", a)
	}
	s.operator("DeleteAccessKey", &ecrintypes.DeleteAccessKeyRequest{AccessKeyId: s.key.AccessKeyID}, &ecrintypes.DeleteAccessKeyResponse{})
	refused("with its key deleted", address)
}
