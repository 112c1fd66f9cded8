package meta_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// padded returns an image like p with an annotation of n bytes.
func padded(t *testing.T, p meta.Put, n int) meta.Put {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(p.Body, &doc); err != nil {
		t.Fatal(err)
	}
	doc["annotations"] = map[string]string{"padding": strings.Repeat("x", n)}
	body, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Parse(body, "")
	if err != nil {
		t.Fatal(err)
	}
	return meta.Put{Manifest: m, Body: body, Digest: metatest.Digest(string(body)), Principal: metatest.Principal}
}

// Reading a tag also caches the head of its digest: reads by tag and by digest return the same, before and after a
// deletion, for manifests that are cached and for those that are too large.
func TestHeadByTagAndByDigestAgree(t *testing.T) {
	t.Parallel()
	s := open(t)
	fx := metatest.NewFixture(t, s)
	r := fx.Repo("team/app")
	base := fx.Image(r, "one")
	for _, padding := range []int{0, 7000, 8192, 20_000} {
		p := padded(t, base, padding)
		fx.Push(r, metatest.As(p, "v1"))
		for _, ref := range []name.Reference{metatest.Tag("v1"), metatest.ByDigest(p.Digest)} {
			h, err := s.Head(t.Context(), r.ID, ref)
			if err != nil || h.Digest != p.Digest || h.Size != int64(len(p.Body)) || h.MediaType != p.Manifest.MediaType {
				t.Errorf("padding %d: Head(%s): got %+v, %v, want digest %s of %d bytes", padding, ref, h, err, p.Digest, len(p.Body))
			}
			body, err := s.Body(t.Context(), p.Digest)
			if err != nil || !bytes.Equal(body, p.Body) {
				t.Errorf("padding %d: Body: got %d bytes, %v, want the %d that were pushed", padding, len(body), err, len(p.Body))
			}
		}
		if _, err := s.DeleteImage(t.Context(), r, p.Digest, meta.AnyTags, "test"); err != nil {
			t.Fatal(err)
		}
		for _, ref := range []name.Reference{metatest.Tag("v1"), metatest.ByDigest(p.Digest)} {
			_, err := s.Head(t.Context(), r.ID, ref)
			fx.Want(err, fault.ImageNotFound, "padding %d: Head(%s) after deletion", padding, ref)
		}
	}
}
