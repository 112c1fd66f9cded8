package clients_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A testImage is a two-platform image in the two forms that clients read from disk. On one machine its bytes
// are always the same: they are made from busybox and a seed.
type testImage struct {
	layout  string        // an OCI image layout whose only entry has the name "v1"
	index   digest.Digest // of the image index
	native  digest.Digest // of the manifest for this machine's platform
	config  digest.Digest // of that manifest's configuration
	layers  []ocispec.Descriptor
	archive string // the native image in the form of `docker save`, tagged loaded
	loaded  string // the name of the image in the archive
	says    string // the output of a container of the native image
}

// sharedImage is the image that most tests push: about 5 MB per platform.
var sharedImage = sync.OnceValues(func() (*testImage, error) {
	return buildImage(filepath.Join(workDir, "image"), 1, 3<<20)
})

func theImage(t *testing.T) *testImage {
	t.Helper()
	img, err := sharedImage()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// ownImage returns an image that shares no layer with images of other tests, for clients that cache layers.
func ownImage(t *testing.T, seed byte) *testImage {
	t.Helper()
	img, err := buildImage(t.TempDir(), seed, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// buildImage writes an image into dir: busybox, and dataBytes of seeded random data that cannot be compressed.
func buildImage(dir string, seed byte, dataBytes int) (*testImage, error) {
	img := &testImage{
		layout:  filepath.Join(dir, "oci"),
		archive: filepath.Join(dir, "docker.tar"),
		loaded:  fmt.Sprintf("ecrin-test:seed%d", seed),
		says:    fmt.Sprintf("image %d of ecrin's client tests", seed),
	}
	busybox, err := staticBusybox()
	if err != nil {
		return nil, err
	}
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	base, err := tarOf(file{"bin/busybox", busybox, 0o755}, file{"etc/says", []byte(img.says + "\n"), 0o644})
	if err != nil {
		return nil, err
	}
	var manifests []ocispec.Descriptor
	for i, arch := range []string{runtime.GOARCH, other} {
		data := make([]byte, dataBytes)
		_, _ = rand.NewChaCha8([32]byte{seed, byte(i)}).Read(data)
		random, err := tarOf(file{"data/" + arch, data, 0o600})
		if err != nil {
			return nil, err
		}
		p, err := writePlatform(img.layout, arch, base, random)
		if err != nil {
			return nil, err
		}
		manifests = append(manifests, p.manifest)
		if i == 0 {
			img.native, img.config, img.layers = p.manifest.Digest, p.config.Digest, p.layers
			if err := writeArchive(img.archive, img.loaded, p.configJSON, base, random); err != nil {
				return nil, err
			}
		}
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests}
	top, err := writeJSON(img.layout, ocispec.MediaTypeImageIndex, index)
	if err != nil {
		return nil, err
	}
	img.index = top.Digest
	top.Annotations = map[string]string{ocispec.AnnotationRefName: "v1"}
	return img, writeLayout(img.layout, top)
}

type platform struct {
	manifest, config ocispec.Descriptor
	configJSON       []byte
	layers           []ocispec.Descriptor
}

func writePlatform(layout, arch string, tars ...[]byte) (p platform, err error) {
	created := time.Unix(0, 0).UTC()
	config := ocispec.Image{
		Created:  &created,
		Platform: ocispec.Platform{OS: "linux", Architecture: arch},
		Config:   ocispec.ImageConfig{Cmd: []string{"/bin/busybox", "cat", "/etc/says"}},
		RootFS:   ocispec.RootFS{Type: "layers"},
	}
	for _, t := range tars {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(t))
		config.History = append(config.History, ocispec.History{Created: &created, CreatedBy: "ecrin's client tests"})
		var zipped bytes.Buffer
		zw, _ := gzip.NewWriterLevel(&zipped, gzip.BestSpeed)
		if _, err := zw.Write(t); err != nil {
			return p, err
		}
		if err := zw.Close(); err != nil {
			return p, err
		}
		layer, err := writeBlob(layout, ocispec.MediaTypeImageLayerGzip, zipped.Bytes())
		if err != nil {
			return p, err
		}
		p.layers = append(p.layers, layer)
	}
	if p.configJSON, err = json.Marshal(config); err != nil {
		return p, err
	}
	if p.config, err = writeBlob(layout, ocispec.MediaTypeImageConfig, p.configJSON); err != nil {
		return p, err
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: p.config, Layers: p.layers}
	if p.manifest, err = writeJSON(layout, ocispec.MediaTypeImageManifest, manifest); err != nil {
		return p, err
	}
	p.manifest.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
	return p, nil
}

// writeArchive writes an archive for `docker load`.
func writeArchive(path, tag string, config []byte, tars ...[]byte) error {
	name := digest.FromBytes(config).Encoded() + ".json"
	files := []file{{name, config, 0o644}}
	var layers []string
	for i, t := range tars {
		layers = append(layers, fmt.Sprintf("%d/layer.tar", i))
		files = append(files, file{layers[i], t, 0o644})
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": name, "RepoTags": []string{tag}, "Layers": layers}})
	if err != nil {
		return err
	}
	archive, err := tarOf(append(files, file{"manifest.json", manifest, 0o644})...)
	if err != nil {
		return err
	}
	return os.WriteFile(path, archive, 0o644)
}

// writeLayout completes a folder with blobs to an OCI image layout with one entry.
func writeLayout(layout string, entry ocispec.Descriptor) error {
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{entry}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(layout, "index.json"), index, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(layout, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

func writeJSON(layout, mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return writeBlob(layout, mediaType, b)
}

func writeBlob(layout, mediaType string, content []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	path := blobPath(layout, d.Digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return d, err
	}
	return d, os.WriteFile(path, content, 0o644)
}

func blobPath(layout string, d digest.Digest) string {
	return filepath.Join(layout, "blobs", d.Algorithm().String(), d.Encoded())
}

type file struct {
	name    string
	content []byte
	mode    int64
}

// tarOf returns an archive of regular files without times and owners.
func tarOf(files ...file) ([]byte, error) {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := tw.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := tw.Write(f.content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), tw.Close()
}

// staticBusybox reads the busybox on PATH, which must be static, since the image has no libraries.
func staticBusybox() ([]byte, error) {
	path, err := lookPath("busybox", os.Environ())
	if err != nil {
		return nil, err
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s is not static; install busybox-static (tools/clients/install)", path)
		}
	}
	return os.ReadFile(path)
}

// layoutDigest checks every blob of an OCI image layout, and returns the digest of its entry with the name
// "v1", or of its only entry.
func layoutDigest(t *testing.T, layout string) digest.Digest {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkBlobs(layout); err != nil {
		t.Fatal(err)
	}
	entries := fromJSON[ocispec.Index](t, string(raw)).Manifests
	for _, e := range entries {
		if len(entries) == 1 || e.Annotations[ocispec.AnnotationRefName] == "v1" {
			return e.Digest
		}
	}
	t.Fatalf("%s has no entry named v1: %s", layout, raw)
	return ""
}

// checkBlobs compares the content of each blob of a layout with its name.
func checkBlobs(layout string) error {
	return filepath.WalkDir(filepath.Join(layout, "blobs"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		want := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(path))), d.Name())
		verifier := want.Verifier()
		if _, err := io.Copy(verifier, f); err != nil {
			return err
		}
		if !verifier.Verified() {
			return fmt.Errorf("%s does not have the digest of its name", path)
		}
		return nil
	})
}

// TestImageIsRepeatable checks that the same seed gives the same image, and another seed another image.
func TestImageIsRepeatable(t *testing.T) {
	t.Parallel()
	one, err := buildImage(t.TempDir(), 7, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	two, err := buildImage(t.TempDir(), 7, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	if one.index != two.index || layoutDigest(t, two.layout) != one.index {
		t.Errorf("the same seed made %s and %s", one.index, two.index)
	}
	other, err := buildImage(t.TempDir(), 8, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	if other.index == one.index {
		t.Errorf("seeds 7 and 8 both made %s", one.index)
	}
}
