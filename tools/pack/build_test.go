package pack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/tools/pack"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
)

func twoBinaries(t *testing.T) []pack.Binary {
	t.Helper()
	return []pack.Binary{
		{Arch: "amd64", Path: writeFile(t, program(uint16(elf.EM_X86_64), uint32(elf.PT_LOAD)))},
		{Arch: "arm64", Path: writeFile(t, program(uint16(elf.EM_AARCH64), uint32(elf.PT_LOAD)))},
	}
}

var spec = pack.Spec{
	File: "ecrin", Cmd: []string{"serve"}, Name: "1.0",
	Labels: map[string]string{ocispec.AnnotationTitle: "ecrin", ocispec.AnnotationVersion: "1.0"},
}

func TestBuild(t *testing.T) {
	t.Parallel()
	binaries := twoBinaries(t)
	image, err := pack.Build(t.Context(), t.TempDir(), spec, binaries)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(image.Blobs), 1+2*3; got != want {
		t.Errorf("%d blobs, want %d", got, want)
	}
	var index ocispec.Index
	readBlob(t, image.Dir, image.Root, &index)
	for i, arch := range []string{"amd64", "arm64"} {
		if got := index.Manifests[i].Platform; got == nil || got.OS != "linux" || got.Architecture != arch {
			t.Fatalf("platform %d is %+v, want linux/%s", i, got, arch)
		}
		var m ocispec.Manifest
		readBlob(t, image.Dir, index.Manifests[i], &m)
		var config ocispec.Image
		readBlob(t, image.Dir, m.Config, &config)
		if config.Architecture != arch || !slices.Equal(config.Config.Entrypoint, []string{"/ecrin"}) ||
			config.Config.Labels[ocispec.AnnotationTitle] != "ecrin" {
			t.Errorf("configuration of %s is %+v", arch, config)
		}
		checkLayer(t, image.Dir, m.Layers[0], config.RootFS.DiffIDs[0].Encoded(), binaries[i].Path)
	}
}

func readBlob(t *testing.T, dir string, d ocispec.Descriptor, into any) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(dir, "blobs", "sha256", d.Digest.Encoded()))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("reading %s: %v", body, err)
	}
}

// checkLayer compares the layer with the program and with its diff_id.
func checkLayer(t *testing.T, dir string, layer ocispec.Descriptor, diffID, path string) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "blobs", "sha256", layer.Digest.Encoded()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	if got := hexOf(string(body)); got != diffID {
		t.Errorf("the plain layer is %s, the configuration has %s", got, diffID)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The layer must be exactly the archive with a fixed header, so that it contains no data of the machine.
	expected := tar.Header{Name: "ecrin", Mode: 0o755, Size: int64(len(want)), ModTime: time.Unix(0, 0),
		Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
	if !bytes.Equal(body, oneFile(t, &expected, want)) {
		t.Errorf("the layer of %s is not the one file /ecrin, mode 0755, owner 0, time 0", path)
	}
}

func oneFile(t *testing.T, h *tar.Header, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(h)
	if err == nil {
		_, err = w.Write(body)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The digests depend on the programs and the spec only, not on names, times or the order of goroutines.
func TestBuildRepeatable(t *testing.T) {
	t.Parallel()
	first, err := pack.Build(t.Context(), t.TempDir(), spec, twoBinaries(t))
	if err != nil {
		t.Fatal(err)
	}
	later := twoBinaries(t)
	for _, b := range later {
		if err := os.Chtimes(b.Path, time.Now(), time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	second, err := pack.Build(t.Context(), t.TempDir(), spec, later)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(first.Blobs, second.Blobs, content.Equal) {
		t.Errorf("two builds differ:\n%v\n%v", first.Blobs, second.Blobs)
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	amd64 := uint16(elf.EM_X86_64)
	for what, b := range map[string]pack.Binary{
		"program of another architecture": {Arch: "arm64", Path: writeFile(t, program(amd64))},
		"dynamic program":                 {Arch: "amd64", Path: writeFile(t, program(amd64, uint32(elf.PT_INTERP)))},
		"text":                            {Arch: "amd64", Path: writeFile(t, []byte("#!/bin/sh\n"))},
		"architecture that is not known":  {Arch: "sparc", Path: writeFile(t, program(amd64))},
	} {
		if _, err := pack.Build(t.Context(), t.TempDir(), spec, []pack.Binary{b}); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("%s: %v, want %v", what, err, fault.InvalidParameter)
		}
	}
	if _, err := pack.Build(t.Context(), t.TempDir(), spec, []pack.Binary{{Arch: "amd64", Path: "none"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v, want %v", err, os.ErrNotExist)
	}
}

// Verify finds a changed, a truncated and a missing blob.
func TestVerify(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		spoil func(path string) error
		want  fault.Code
	}{
		"changed":   {func(p string) error { return flipByte(p) }, fault.DigestInvalid},
		"shortened": {func(p string) error { return os.Truncate(p, 10) }, fault.DigestInvalid},
		"missing":   {os.Remove, fault.BlobNotFound},
	} {
		image, err := pack.Build(t.Context(), t.TempDir(), spec, twoBinaries(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range image.Blobs {
			path := filepath.Join(image.Dir, "blobs", "sha256", d.Digest.Encoded())
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := test.spoil(path); err != nil {
				t.Fatal(err)
			}
			if _, err := pack.Verify(t.Context(), image.Dir, image.Root); !errors.Is(err, test.want) {
				t.Errorf("%s %s: %v, want %v", what, d.MediaType, err, test.want)
			}
			if err := os.WriteFile(path, whole, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func flipByte(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(path, b, 0o644)
}
