package clients_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

// lines returns the lines of an output, sorted.
func lines(out string) []string {
	l := strings.Fields(out)
	slices.Sort(l)
	return l
}

func wantLines(t *testing.T, what, out string, want ...string) {
	t.Helper()
	if got := lines(out); !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// crane uses plain HTTP for localhost without an option.
func crane(s *session) {
	t := s.t
	img := theImage(t)
	const repo = "clients/crane"
	ref := s.repo(repo)

	s.cmd("crane", "auth", "login", s.host(), "--username", "AWS", "--password-stdin").stdin(s.password()).ok()
	out := s.cmd("crane", "push", img.layout, ref+":v1").ok()
	if want := ref + "@" + img.index.String(); out != want {
		t.Errorf("crane push printed %q, want %q", out, want)
	}
	s.s.wantManifest(t, repo, "v1", img.index)
	if got := s.cmd("crane", "digest", ref+":v1").ok(); got != img.index.String() {
		t.Errorf("crane digest: got %s, want %s", got, img.index)
	}
	s.cmd("crane", "pull", "--format", "oci", ref+":v1", s.path("back")).ok()
	if got := layoutDigest(t, s.path("back")); got != img.index {
		t.Errorf("crane pull: got %s, want %s", got, img.index)
	}
	s.cmd("crane", "validate", "--remote", ref+":v1").ok()

	s.cmd("crane", "tag", ref+":v1", "v2").ok()
	wantLines(t, "crane ls", s.cmd("crane", "ls", ref).ok(), "v1", "v2")

	// A copy to another repository requests a mount: with ECR's account setting enabled, no layer is sent.
	copied := s.repo("clients/crane-copy")
	setting := &ecr.PutAccountSettingInput{Name: aws.String("BLOB_MOUNTING"), Value: aws.String("ENABLED")}
	if _, err := s.s.sdk(t, account, region).PutAccountSetting(t.Context(), setting); err != nil {
		t.Fatal(err)
	}
	out = s.cmd("crane", "copy", ref+":v1", copied+":v1").all()
	if strings.Contains(out, "pushed blob") || !strings.Contains(out, "mounted blob: "+img.layers[1].Digest.String()) {
		t.Errorf("crane copy to another repository: got %q, want every layer mounted and none pushed", out)
	}
	s.s.wantManifest(t, "clients/crane-copy", "v1", img.index)
	s.cmd("crane", "validate", "--remote", copied+":v1").ok()
	if got := s.cmd("crane", "catalog", s.host()).ok(); !slices.Contains(lines(got), "clients/crane-copy") {
		t.Errorf("crane catalog: got %q, want clients/crane-copy in it", got)
	}

	// Another registry of the same server: that of another account in another region, with a token of its own.
	const other = "clients/crane-other"
	s.s.createIn(t, otherAccount, otherRegion, other)
	elsewhere := s.s.otherRef(other)
	s.cmd("crane", "copy", ref+":v1", elsewhere+":v1").fails()
	s.cmd("crane", "auth", "login", s.s.host(otherAccount, otherRegion), "--username", "AWS", "--password-stdin").
		stdin(s.s.password(t, otherAccount, otherRegion)).ok()
	s.cmd("crane", "push", img.layout, elsewhere+":v1").ok()
	if got := s.cmd("crane", "digest", elsewhere+":v1").ok(); got != img.index.String() {
		t.Errorf("crane digest %s: got %s, want %s", elsewhere, got, img.index)
	}
	s.cmd("crane", "auth", "login", s.host(), "--username", "AWS", "--password-stdin").stdin(s.password()).ok()

	s.cmd("crane", "delete", ref+":v2").ok()
	s.s.wantGone(t, repo, "v2")
	s.cmd("crane", "delete", ref+"@"+img.index.String()).ok()
	s.s.wantGone(t, repo, img.index.String())
}

// regctl uploads in chunks of 256 KiB, unlike all other clients of these tests.
func regctl(s *session) {
	t := s.t
	img := theImage(t)
	const repo = "clients/regctl"
	ref := s.repo(repo)
	layout := "ocidir://" + img.layout + ":v1"

	if s.s.plain {
		s.cmd("regctl", "registry", "set", "--skip-check", "--tls", "disabled", s.host()).ok()
	}
	s.cmd("regctl", "registry", "set", "--skip-check", "--blob-chunk", "262144", "--blob-max", "262144", s.host()).ok()
	s.cmd("regctl", "registry", "login", s.host(), "--user", "AWS", "--pass-stdin").stdin(s.password()).ok()

	s.cmd("regctl", "image", "copy", layout, ref+":v1").ok()
	s.s.wantManifest(t, repo, "v1", img.index)
	if got := s.cmd("regctl", "image", "digest", ref+":v1").ok(); got != img.index.String() {
		t.Errorf("regctl image digest: got %s, want %s", got, img.index)
	}
	s.cmd("regctl", "image", "copy", ref+":v1", "ocidir://"+s.path("back")+":v1").ok()
	if got := layoutDigest(t, s.path("back")); got != img.index {
		t.Errorf("regctl image copy back: got %s, want %s", got, img.index)
	}
	s.cmd("regctl", "image", "copy", ref+":v1", ref+":v2").ok()
	wantLines(t, "regctl tag ls", s.cmd("regctl", "tag", "ls", ref).ok(), "v1", "v2")

	// A referrer, listed by its subject.
	s.cmd("regctl", "artifact", "put", "--artifact-type", "application/vnd.example.note.v1",
		"--file-media-type", "text/plain", "--subject", ref+":v1").stdin("a note").ok()
	list := s.cmd("regctl", "artifact", "list", "--format", "{{range .Descriptors}}{{.ArtifactType}}{{end}}", ref+":v1").ok()
	if list != "application/vnd.example.note.v1" {
		t.Errorf("regctl artifact list: got %q, want one note", list)
	}
	got := s.cmd("regctl", "artifact", "get", "--subject", ref+":v1", "--filter-artifact-type", "application/vnd.example.note.v1").ok()
	if got != "a note" {
		t.Errorf("regctl artifact get: got %q, want the note", got)
	}

	s.cmd("regctl", "tag", "delete", ref+":v2").ok()
	s.s.wantGone(t, repo, "v2")
	s.s.wantManifest(t, repo, "v1", img.index) // only the tag was deleted
	s.cmd("regctl", "manifest", "delete", ref+"@"+img.index.String()).ok()
	s.s.wantGone(t, repo, "v1")
}
