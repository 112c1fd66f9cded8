package bundle_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// airgapOf returns a valid statement of one image.
func airgapOf() *bundle.Airgap {
	d := bundle.Digest([]byte("m"))
	return &bundle.Airgap{Format: bundle.AirgapFormat, App: bundle.Blob{Digest: bundle.Digest(nil), Size: 10},
		Images: []bundle.Image{{Name: "a.example.com/shop/api:1.0", Ref: bundle.Ref{Digest: d, MediaType: "application/x"}}},
		Spec: bundle.AirgapSpec{VersionLabel: "1.0", UpdateCursor: "3", ChannelID: "c", AppSlug: "shop", Format: "docker",
			SavedImages: []string{"a.example.com/shop/api:1.0"}, UncompressedSize: 20,
			RequiredReleases: []bundle.AirgapRelease{{VersionLabel: "0.9", UpdateCursor: "2"}}}}
}

// Each statement that differs from a valid one in one thing is refused.
func TestAirgapStatementsThatAreNotValid(t *testing.T) {
	t.Parallel()
	if err := airgapOf().Check(); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*bundle.Airgap)
		want   string
	}{
		"another format":                {func(a *bundle.Airgap) { a.Format = "v2" }, "its format"},
		"no application":                {func(a *bundle.Airgap) { a.Spec.AppSlug = "" }, "no application"},
		"no channel":                    {func(a *bundle.Airgap) { a.Spec.ChannelID = "" }, "no application, or no channel"},
		"no sequence":                   {func(a *bundle.Airgap) { a.Spec.UpdateCursor = "x" }, "updateCursor"},
		"a sequence below 1":            {func(a *bundle.Airgap) { a.Spec.UpdateCursor = "0" }, "updateCursor"},
		"long notes":                    {func(a *bundle.Airgap) { a.Spec.ReleaseNotes = strings.Repeat("x", 300<<10) }, "release notes"},
		"images in another format":      {func(a *bundle.Airgap) { a.Spec.Format = "docker-archive" }, `"docker-archive", and this`},
		"a required later release":      {func(a *bundle.Airgap) { a.Spec.RequiredReleases[0].UpdateCursor = "3" }, "does not come before"},
		"a large archive":               {func(a *bundle.Airgap) { a.App.Size = bundle.MaxApp + 1 }, "app.tar.gz"},
		"a small size":                  {func(a *bundle.Airgap) { a.Spec.UncompressedSize = 9 }, "uncompressed size"},
		"no digest":                     {func(a *bundle.Airgap) { a.App.Digest = "sha256:0" }, "digest"},
		"an image twice":                {func(a *bundle.Airgap) { a.Images = append(a.Images, a.Images[0]) }, "twice"},
		"an image that is not saved":    {func(a *bundle.Airgap) { a.Spec.SavedImages = nil }, "1 images are inside, and 0"},
		"a saved one that is not there": {func(a *bundle.Airgap) { a.Spec.SavedImages = append(a.Spec.SavedImages, "b") }, "not inside"},
		"an image without tag":          {func(a *bundle.Airgap) { a.Images[0].Name = "a.example.com/shop/api" }, "is not HOST"},
		"no media type":                 {func(a *bundle.Airgap) { a.Images[0].MediaType = "" }, "no media type"},
		"a tag that is a path": {func(a *bundle.Airgap) {
			a.Images[0].Tags = []bundle.Ref{{Digest: a.Images[0].Digest, MediaType: "x", Tag: "../x"}}
		}, "tag"},
		"two images of one name": {func(a *bundle.Airgap) {
			a.Images = append(a.Images, bundle.Image{Name: "b.example.com/other/api:1.0",
				Ref: bundle.Ref{Digest: bundle.Digest(nil), MediaType: "x"}})
			a.Spec.SavedImages = append(a.Spec.SavedImages, "b.example.com/other/api:1.0")
		}, "would both be api:1.0"},
	} {
		a := airgapOf()
		c.change(a)
		if err := a.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
		if _, err := a.Encode(); err == nil {
			t.Errorf("%s is signed", what)
		}
	}
}

// The members of blobs are those of the storage, and no other name is taken for one.
func TestStorageBlobs(t *testing.T) {
	t.Parallel()
	d, err := name.ParseDigest(bundle.Digest([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	path := bundle.StorageBlob(d)
	if got, ok := bundle.ParseStorageBlob(path); !ok || got != d {
		t.Errorf("%s is the blob %s, %v", path, got, ok)
	}
	for _, other := range []string{"", path + "/", "/" + path, strings.Replace(path, "/data", "/../data", 1), strings.TrimSuffix(path, "data"),
		strings.Replace(path, "blobs/sha256/", "blobs/sha256/./", 1), strings.Replace(path, "sha256/2d", "sha256/00", 1),
		strings.TrimPrefix(path, bundle.StorageFolder), strings.ToUpper(path)} {
		if got, ok := bundle.ParseStorageBlob(other); ok {
			t.Errorf("%q is the blob %s", other, got)
		}
	}
}

func FuzzOpenAirgap(f *testing.F) {
	key, err := bundle.NewOwnKey()
	if err != nil {
		f.Fatal(err)
	}
	public, err := key.Public()
	var keys bundle.Keys
	if err == nil {
		err = keys.Add(public)
	}
	if err != nil {
		f.Fatal(err)
	}
	a := airgapOf()
	statement, err := a.Encode()
	if err != nil {
		f.Fatal(err)
	}
	signature, err := key.Sign(bundle.OfAirgap, bundle.Digest(statement))
	if err != nil {
		f.Fatal(err)
	}
	file, err := a.File(statement, signature)
	if err != nil {
		f.Fatal(err)
	}
	// A signature of another kind of document does not count.
	if other, err := key.Sign(bundle.OfStatement, bundle.Digest(statement)); err == nil {
		changed, err := a.File(statement, other)
		if err != nil {
			f.Fatal(err)
		}
		if _, _, err := bundle.OpenAirgap(changed, &keys); !errors.Is(err, bundle.ErrSignature) {
			f.Errorf("signed as another kind of document: %v", err)
		}
	}
	f.Add(file)
	f.Add([]byte("kind: Airgap\napiVersion: kots.io/v1beta1\nspec: {signature: e30=}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _, err := bundle.OpenAirgap(b, &keys)
		if err != nil {
			return
		}
		again, err := got.Encode()
		if err != nil || !bytes.Equal(again, statement) {
			t.Errorf("another statement is accepted: %s, %v", again, err)
		}
	})
}
