package pack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// entry is an entry of a tar archive. Without a kind, it is a regular file.
type entry struct {
	name string
	body string
	link string
	kind byte
	pax  map[string]string
}

func tarball(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Size: int64(len(e.body)), Mode: 0o644, Linkname: e.link, Typeflag: e.kind, PAXRecords: e.pax}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("writing header %+v: %v", e, err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatalf("writing body of %q: %v", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func hexOf(body string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(body))) }

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type object = map[string]any

func descriptor(mediaType, body string) object {
	return object{"mediaType": mediaType, "digest": "sha256:" + hexOf(body), "size": len(body)}
}

// descriptorText returns a descriptor with its members in the order of the specification.
func descriptorText(mediaType, body string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%s","size":%d}`, mediaType, hexOf(body), len(body))
}

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar"
	layoutMark  = `{"imageLayoutVersion":"1.0.0"}`
)

// sample is an image with two plain layers.
type sample struct{ lower, upper, config, manifest string }

func newSample(t testing.TB) sample {
	t.Helper()
	s := sample{lower: string(tarball(t, entry{name: "etc/motd", body: "hello"})),
		upper: string(tarball(t, entry{name: "srv/page", body: "page"}))}
	s.config = mustJSON(t, object{"architecture": "arm64", "os": "linux", "rootfs": object{
		"type": "layers", "diff_ids": []string{"sha256:" + hexOf(s.lower), "sha256:" + hexOf(s.upper)},
	}})
	s.manifest = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s,%s]}`, ociManifest,
		descriptorText(ociConfig, s.config), descriptorText(ociLayer, s.lower), descriptorText(ociLayer, s.upper))
	return s
}

// docker returns the image as a docker archive with a folder for each layer.
func (s sample) docker(t testing.TB) []entry {
	t.Helper()
	return []entry{
		{name: "aaaa/", kind: tar.TypeDir},
		{name: "aaaa/VERSION", body: "1.0"},
		{name: "aaaa/layer.tar", body: s.lower},
		{name: "bbbb/layer.tar", body: s.upper},
		{name: "cccc.json", body: s.config},
		{name: "manifest.json",
			body: mustJSON(t, []object{{"Config": "cccc.json", "RepoTags": []string{"shop/web:1.2"},
				"Layers": []string{"aaaa/layer.tar", "bbbb/layer.tar"}}})},
	}
}

// oci returns the image as the files of an OCI layout, the index last.
func (s sample) oci(t testing.TB) []entry {
	t.Helper()
	files := []entry{{name: "oci-layout", body: layoutMark}, {name: "blobs/", kind: tar.TypeDir}}
	for _, body := range []string{s.lower, s.upper, s.config, s.manifest} {
		files = append(files, blob(body))
	}
	root := descriptor(ociManifest, s.manifest)
	root["annotations"] = object{"org.opencontainers.image.ref.name": "1.2", "io.containerd.image.name": "docker.io/shop/web:1.2"}
	return append(files, entry{name: "index.json", body: mustJSON(t, object{"schemaVersion": 2, "manifests": []object{root}})})
}

func blob(body string) entry { return entry{name: "blobs/sha256/" + hexOf(body), body: body} }

// without removes the entry of that name.
func without(entries []entry, name string) (rest []entry) {
	for _, e := range entries {
		if e.name != name {
			rest = append(rest, e)
		}
	}
	return rest
}

// with replaces the entry of the same name, or adds it.
func with(entries []entry, e entry) []entry { return append(without(entries, e.name), e) }

func writeFile(t testing.TB, body []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeDir writes regular files into a directory.
func writeDir(t testing.TB, entries []entry) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range entries {
		if e.kind == tar.TypeDir {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(e.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(e.body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// program returns the header of a 64-bit ELF file without content, the only part that Build reads.
func program(machine uint16, segments ...uint32) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	put := binary.LittleEndian
	put.PutUint16(b[16:], 2) // executable
	put.PutUint16(b[18:], machine)
	put.PutUint32(b[20:], 1)
	put.PutUint64(b[32:], 64) // program headers follow
	put.PutUint16(b[52:], 64)
	put.PutUint16(b[54:], 56)
	put.PutUint16(b[56:], uint16(len(segments)))
	put.PutUint16(b[58:], 64)
	for _, kind := range segments {
		segment := make([]byte, 56)
		put.PutUint32(segment, kind)
		b = append(b, segment...)
	}
	return b
}

// listFiles returns the relative paths of all files below dir.
func listFiles(t testing.TB, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
