package pack_test

import (
	"archive/tar"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/tools/pack"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
)

// open opens an image into a new directory, and checks what must hold for every layout.
func open(t *testing.T, path string, options pack.Options) *pack.Image {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	image, err := pack.Open(t.Context(), path, dir, options)
	if err != nil {
		t.Fatalf("Open(%+v): %v", options, err)
	}
	blobs, err := pack.Verify(t.Context(), dir, image.Root)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	if !slices.EqualFunc(blobs, image.Blobs, content.Equal) {
		t.Errorf("Open lists %v, Verify %v", image.Blobs, blobs)
	}
	if files := listFiles(t, dir); len(files) != len(blobs)+2 {
		t.Errorf("the layout has %d files, want %d blobs and 2 more: %v", len(files), len(blobs), files)
	}
	return image
}

func digests(image *pack.Image) (all []string) {
	for _, d := range image.Blobs {
		all = append(all, d.Digest.Encoded())
	}
	slices.Sort(all)
	return all
}

func hexes(bodies ...string) (all []string) {
	for _, b := range bodies {
		all = append(all, hexOf(b))
	}
	slices.Sort(all)
	return all
}

// Every form of the same image gives the same digests: the configuration and layers of a docker archive are
// copied unchanged, and its manifest is equal to that of the OCI form.
func TestOpenForms(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	both := append(s.oci(t), entry{name: "manifest.json", body: mustJSON(t, []object{{
		"Config": "blobs/sha256/" + hexOf(s.config), "RepoTags": []string{"shop/web:1.2"},
		"Layers": []string{"blobs/sha256/" + hexOf(s.lower), "blobs/sha256/" + hexOf(s.upper)},
	}})})
	linked := append(without(s.docker(t), "bbbb/layer.tar"),
		entry{name: "dddd/layer.tar", body: s.upper}, entry{name: "bbbb/layer.tar", link: "../dddd/layer.tar", kind: tar.TypeSymlink})
	hardLinked := append(without(s.docker(t), "bbbb/layer.tar"),
		entry{name: "dddd/layer.tar", body: s.upper}, entry{name: "bbbb/layer.tar", link: "dddd/layer.tar", kind: tar.TypeLink})
	dotted := s.oci(t)
	for i := range dotted {
		dotted[i].name = "./" + dotted[i].name
	}
	for what, path := range map[string]string{
		"OCI directory":                      writeDir(t, s.oci(t)),
		"OCI tar":                            writeFile(t, tarball(t, s.oci(t)...)),
		"OCI tar, names with ./":             writeFile(t, tarball(t, dotted...)),
		"OCI tar, gzipped":                   writeFile(t, gzipped(t, tarball(t, s.oci(t)...))),
		"docker archive":                     writeFile(t, tarball(t, s.docker(t)...)),
		"docker archive, gzipped":            writeFile(t, gzipped(t, tarball(t, s.docker(t)...))),
		"docker archive, layers linked":      writeFile(t, tarball(t, linked...)),
		"docker archive, layers hard linked": writeFile(t, tarball(t, hardLinked...)),
		"docker archive, entries twice":      writeFile(t, tarball(t, append(linked, linked...)...)),
		"docker archive that is OCI too":     writeFile(t, tarball(t, both...)),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			image := open(t, path, pack.Options{})
			if got, want := image.Root.Digest.Encoded(), hexOf(s.manifest); got != want {
				t.Errorf("root is %s, want %s", got, want)
			}
			if got, want := digests(image), hexes(s.manifest, s.config, s.lower, s.upper); !slices.Equal(got, want) {
				t.Errorf("blobs are %v, want %v", got, want)
			}
			form := map[bool]string{true: "docker-archive", false: "oci-archive"}[strings.HasPrefix(what, "docker")]
			if what == "OCI directory" {
				form = "oci"
			} else if strings.HasSuffix(what, "is OCI too") {
				form = "oci-archive"
			}
			if image.Form != form {
				t.Errorf("form is %q, want %q", image.Form, form)
			}
			if !strings.HasSuffix(image.Name, "shop/web:1.2") {
				t.Errorf("name is %q, want …shop/web:1.2", image.Name)
			}
			store, err := oci.New(image.Dir)
			if err != nil {
				t.Fatalf("another library cannot read the layout: %v", err)
			}
			if d, err := store.Resolve(t.Context(), image.Name); err != nil || d.Digest != image.Root.Digest {
				t.Errorf("another library resolves %q to %v, %v; want %v", image.Name, d.Digest, err, image.Root.Digest)
			}
		})
	}
}

func TestOpenGzippedLayer(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	zipped := string(gzipped(t, []byte(s.upper)))
	image := open(t, writeFile(t, tarball(t, with(s.docker(t), entry{name: "bbbb/layer.tar", body: zipped})...)), pack.Options{})
	last := image.Blobs[len(image.Blobs)-1]
	if got, want := last.Digest.Encoded(), hexOf(zipped); got != want || last.MediaType != ociLayer+"+gzip" {
		t.Errorf("the upper layer is %s of type %s, want the bytes of the archive, %s, and type %s+gzip", got, last.MediaType, want, ociLayer)
	}
}

// A docker archive of an image of which only one platform was pulled: its index refers to content that is not
// in the archive.
func TestOpenDockerArchiveWithGaps(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	index := mustJSON(t, object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{
		descriptor(ociManifest, s.manifest), descriptor(ociManifest, "not in the archive"),
	}})
	entries := with(append(s.oci(t), s.docker(t)...), blob(index))
	entries = with(entries, entry{name: "index.json",
		body: mustJSON(t, object{"schemaVersion": 2, "manifests": []object{descriptor(ociIndex, index)}})})
	image := open(t, writeFile(t, tarball(t, entries...)), pack.Options{})
	if got, want := image.Root.Digest.Encoded(), hexOf(s.manifest); got != want {
		t.Errorf("root is %s, want the one image that is whole, %s", got, want)
	}
}

func TestOpenSeveralImages(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	other := strings.Replace(s.config, "arm64", "amd64", 1)
	archive := func(tags ...string) string {
		entries := append(s.docker(t), entry{name: "eeee.json", body: other})
		layers := []string{"aaaa/layer.tar", "bbbb/layer.tar"}
		return writeFile(t, tarball(t, with(entries, entry{name: "manifest.json", body: mustJSON(t, []object{
			{"Config": "cccc.json", "RepoTags": tags, "Layers": layers},
			{"Config": "eeee.json", "RepoTags": []string{"shop/db:7"}, "Layers": layers},
		})})...))
	}
	path := archive("shop/web:1.2", "shop/web:stable")
	all := open(t, path, pack.Options{})
	if all.Root.MediaType != ociIndex || len(all.Blobs) != 1+2+2+2 {
		t.Errorf("without a name: %s with %d blobs, want %s with 7 (index, 2 manifests, 2 configurations, 2 shared layers)",
			all.Root.MediaType, len(all.Blobs), ociIndex)
	}
	for wanted, config := range map[string]string{"shop/web:1.2": s.config, "web:stable": s.config, "stable": s.config,
		"7": other, "shop/db:7": other} {
		image := open(t, path, pack.Options{Name: wanted})
		if got, want := image.Blobs[1].Digest.Encoded(), hexOf(config); got != want {
			t.Errorf("name %q gives configuration %s, want %s", wanted, got, want)
		}
	}
	if _, err := pack.Open(t.Context(), path, t.TempDir(), pack.Options{Name: "nginx"}); !errors.Is(err, fault.ImageNotFound) {
		t.Errorf("unknown name: %v, want %v", err, fault.ImageNotFound)
	}
	if _, err := pack.Open(t.Context(), archive("other:7"), t.TempDir(), pack.Options{Name: "7"}); !errors.Is(err, fault.InvalidParameter) {
		t.Errorf("a name of two images: %v, want %v", err, fault.InvalidParameter)
	}
}

func TestOpenLimit(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	zeros := strings.Repeat("\x00", 1<<20)
	bomb := with(s.docker(t), entry{name: "bbbb/layer.tar", body: string(gzipped(t, []byte(zeros)))})
	bomb = with(bomb, entry{name: "cccc.json", body: strings.Replace(s.config, hexOf(s.upper), hexOf(zeros), 1)})
	for what, archive := range map[string][]byte{
		"more bytes than allowed":      tarball(t, append(s.docker(t), entry{name: "zeros", body: zeros})...),
		"the same, gzipped":            gzipped(t, tarball(t, append(s.docker(t), entry{name: "zeros", body: zeros})...)),
		"a layer that unpacks to more": tarball(t, bomb...),
	} {
		if _, err := pack.Open(t.Context(), writeFile(t, archive), t.TempDir(),
			pack.Options{MaxBytes: 100_000}); !errors.Is(err, fault.RequestTooLarge) {
			t.Errorf("%s: %v, want %v", what, err, fault.RequestTooLarge)
		}
	}
	open(t, writeFile(t, tarball(t, bomb...)), pack.Options{})
}

func TestOpenCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pack.Open(ctx, writeFile(t, tarball(t, newSample(t).docker(t)...)), t.TempDir(),
		pack.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestOpenRefusesUsedDirectory(t *testing.T) {
	t.Parallel()
	dir := writeDir(t, []entry{{name: "index.json", body: "mine"}})
	_, err := pack.Open(t.Context(), writeFile(t, tarball(t, newSample(t).docker(t)...)), dir, pack.Options{})
	if !errors.Is(err, fault.InvalidParameter) {
		t.Errorf("got %v, want %v", err, fault.InvalidParameter)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "index.json")); string(b) != "mine" {
		t.Errorf("the existing file now has %q", b)
	}
}

// Invalid content is found in every part of an image.
func TestOpenBroken(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	reindex := func(d object) []entry {
		return with(s.oci(t), entry{name: "index.json", body: mustJSON(t, object{"schemaVersion": 2, "manifests": []object{d}})})
	}
	wrongSize := descriptor(ociManifest, s.manifest)
	wrongSize["size"] = 7
	deep := s.oci(t)
	root := descriptor(ociManifest, s.manifest)
	for range 12 {
		body := mustJSON(t, object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{root}})
		deep, root = append(deep, blob(body)), descriptor(ociIndex, body)
	}
	deep = with(deep, entry{name: "index.json", body: mustJSON(t, object{"schemaVersion": 2, "manifests": []object{root}})})
	fewer := strings.Replace(s.config, `,"sha256:`+hexOf(s.upper)+`"`, "", 1)
	tests := map[string]struct {
		entries []entry
		want    fault.Code
	}{
		"nothing of an image":       {[]entry{{name: "readme", body: "hi"}}, fault.BlobNotFound},
		"layout of another version": {with(s.oci(t), entry{name: "oci-layout", body: `{"imageLayoutVersion":"9"}`}), fault.InvalidParameter},
		"no index":                  {without(s.oci(t), "index.json"), fault.BlobNotFound},
		"empty index": {with(s.oci(t), entry{name: "index.json", body: `{"schemaVersion":2,"manifests":[]}`}),
			fault.ImageNotFound},
		"index with both kinds": {with(s.oci(t),
			entry{name: "index.json", body: `{"schemaVersion":2,"manifests":[],"layers":[]}`}), fault.ManifestInvalid},
		"missing layer":                 {without(s.oci(t), blob(s.upper).name), fault.BlobNotFound},
		"changed layer":                 {with(s.oci(t), entry{name: blob(s.upper).name, body: "changed"}), fault.DigestInvalid},
		"descriptor of another size":    {reindex(wrongSize), fault.SizeInvalid},
		"root of unknown type":          {reindex(descriptor("text/plain", s.manifest)), fault.ManifestUnsupported},
		"root that is no manifest":      {reindex(descriptor(ociManifest, s.lower)), fault.ManifestInvalid},
		"indexes too deep":              {deep, fault.LimitExceeded},
		"docker: layer missing":         {without(s.docker(t), "bbbb/layer.tar"), fault.InvalidParameter},
		"docker: layer changed":         {with(s.docker(t), entry{name: "bbbb/layer.tar", body: "changed"}), fault.DigestInvalid},
		"docker: fewer diff_ids":        {with(s.docker(t), entry{name: "cccc.json", body: fewer}), fault.InvalidParameter},
		"docker: no image":              {with(s.docker(t), entry{name: "manifest.json", body: "[]"}), fault.InvalidParameter},
		"docker: manifest.json is text": {with(s.docker(t), entry{name: "manifest.json", body: "hello"}), fault.InvalidParameter},
		"docker: zstd layer":            {with(s.docker(t), entry{name: "bbbb/layer.tar", body: "\x28\xb5\x2f\xfd...."}), fault.InvalidParameter},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if _, err := pack.Open(t.Context(), writeFile(t, tarball(t, test.entries...)), t.TempDir(), pack.Options{}); !errors.Is(err, test.want) {
				t.Errorf("as a tar: %v, want %v", err, test.want)
			}
			if strings.HasPrefix(what, "docker:") {
				return
			}
			if _, err := pack.Open(t.Context(), writeDir(t, test.entries), t.TempDir(), pack.Options{}); !errors.Is(err, test.want) {
				t.Errorf("as a directory: %v, want %v", err, test.want)
			}
		})
	}
}

func TestOpenNoArchive(t *testing.T) {
	t.Parallel()
	whole := tarball(t, newSample(t).docker(t)...)
	zipped := gzipped(t, whole)
	for what, body := range map[string][]byte{
		"empty file":  {},
		"text":        []byte(strings.Repeat("no tar ", 200)),
		"cut tar":     whole[:1700],
		"cut gzip":    zipped[:len(zipped)/2],
		"broken gzip": append([]byte{0x1f, 0x8b, 8, 0}, strings.Repeat("x", 700)...),
		"zstd":        []byte("\x28\xb5\x2f\xfd and more"),
	} {
		if _, err := pack.Open(t.Context(), writeFile(t, body), t.TempDir(), pack.Options{}); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("%s: %v, want %v", what, err, fault.InvalidParameter)
		}
	}
	if _, err := pack.Open(t.Context(), filepath.Join(t.TempDir(), "none"), t.TempDir(), pack.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v, want %v", err, os.ErrNotExist)
	}
}
