package pack_test

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/tools/pack"
)

// Attack 29: names that leave the directory, directly or through links, and entries that are not files. All are
// refused, and no file is created outside of the layout.
func TestAttack29ArchiveNames(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	secret := "outside"
	tests := map[string]entry{
		"parent":                       {name: "../evil", body: "x"},
		"parent in the middle":         {name: "a/../../evil", body: "x"},
		"parent that stays inside":     {name: "a/../evil", body: "x"},
		"absolute":                     {name: "/evil", body: "x"},
		"backslashes":                  {name: `..\evil`, body: "x"},
		"blob outside":                 {name: "blobs/sha256/../../../evil", body: "x"},
		"very long name":               {name: strings.Repeat("a/", 600) + "b", body: "x"},
		"link outside":                 {name: "dddd/layer.tar", link: "../../outside", kind: tar.TypeSymlink},
		"absolute link":                {name: "dddd/layer.tar", link: "/etc/hostname", kind: tar.TypeSymlink},
		"hard link outside":            {name: "dddd/layer.tar", link: "../outside", kind: tar.TypeLink},
		"absolute hard link":           {name: "dddd/layer.tar", link: "/etc/hostname", kind: tar.TypeLink},
		"link in place of a file":      {name: "aaaa/layer.tar", link: "bbbb/layer.tar", kind: tar.TypeLink},
		"file in place of a link":      {name: "link", body: "x"},
		"second link of the same name": {name: "link", link: "bbbb/layer.tar", kind: tar.TypeSymlink},
		"second file of the same name": {name: "manifest.json", body: "[]"},
		"named pipe":                   {name: "pipe", kind: tar.TypeFifo},
		"device":                       {name: "disk", kind: tar.TypeBlock},
	}
	for what, e := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			if err := os.WriteFile(filepath.Join(parent, "outside"), []byte(secret), 0o600); err != nil {
				t.Fatal(err)
			}
			before := append(s.docker(t), entry{name: "link", link: "aaaa/layer.tar", kind: tar.TypeSymlink})
			archive := writeFile(t, tarball(t, append(before, e)...))
			if _, err := pack.Open(t.Context(), archive, filepath.Join(parent, "layout"), pack.Options{}); !errors.Is(err, fault.InvalidParameter) {
				t.Errorf("%+v: %v, want %v", e, err, fault.InvalidParameter)
			}
			onlyInside(t, parent)
		})
	}
}

// onlyInside fails if the parent of a layout has other files than the layout and the file "outside".
func onlyInside(t testing.TB, parent string) {
	t.Helper()
	for _, f := range listFiles(t, parent) {
		if f != "outside" && !strings.HasPrefix(f, "layout/blobs/") && f != "layout/index.json" && f != "layout/oci-layout" {
			t.Errorf("Open made the file %q", f)
		}
	}
}

// Attack 29: names in the documents of an archive.
func TestAttack29DockerManifestNames(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	for _, evil := range []string{"../../../etc/hostname", "/etc/hostname", "a/../../b", "", "loop", `..\..\x`} {
		for _, image := range []object{
			{"Config": evil, "Layers": []string{"aaaa/layer.tar", "bbbb/layer.tar"}},
			{"Config": "cccc.json", "Layers": []string{evil, "bbbb/layer.tar"}},
		} {
			entries := append(with(s.docker(t), entry{name: "manifest.json", body: mustJSON(t, []object{image})}),
				entry{name: "loop", link: "pool", kind: tar.TypeSymlink}, entry{name: "pool", link: "loop", kind: tar.TypeSymlink})
			if _, err := pack.Open(t.Context(), writeFile(t, tarball(t, entries...)), t.TempDir(), pack.Options{}); !errors.Is(err,
				fault.InvalidParameter) {
				t.Errorf("%v: %v, want %v", image, err, fault.InvalidParameter)
			}
		}
	}
}

// Attack 29: a digest in an index that is a path, and blobs in a layout directory that are links or pipes.
func TestAttack29Layout(t *testing.T) {
	t.Parallel()
	s := newSample(t)
	for _, digest := range []string{"sha256:../../../../etc/hostname", "sha256:" + strings.Repeat("A", 64),
		"../x:" + hexOf("x"), "md5:" + hexOf("")[:32]} {
		d := descriptor(ociManifest, s.manifest)
		d["digest"] = digest
		dir := writeDir(t, with(s.oci(t), entry{name: "index.json", body: mustJSON(t, object{"schemaVersion": 2, "manifests": []object{d}})}))
		_, err := pack.Open(t.Context(), dir, t.TempDir(), pack.Options{})
		if !errors.Is(err, fault.DigestInvalid) && !errors.Is(err, fault.ManifestInvalid) {
			t.Errorf("digest %q: %v, want %v or %v", digest, err, fault.DigestInvalid, fault.ManifestInvalid)
		}
	}

	outside := writeFile(t, []byte(s.upper)) // the correct bytes, so that the check of the digest succeeds
	for what, spoil := range map[string]func(dir, blob string) error{
		"link outside": func(_, blob string) error { return os.Symlink(outside, blob) },
		"link inside":  func(_, blob string) error { return os.Symlink(hexOf(s.lower), blob) },
		"directory":    func(_, blob string) error { return os.Mkdir(blob, 0o755) },
		"linked blobs": func(dir, _ string) error {
			moved := filepath.Join(filepath.Dir(outside), "blobs")
			return errors.Join(os.Rename(filepath.Join(dir, "blobs"), moved), os.Symlink(moved, filepath.Join(dir, "blobs")))
		},
	} {
		dir := writeDir(t, s.oci(t))
		blob := filepath.Join(dir, "blobs", "sha256", hexOf(s.upper))
		if err := errors.Join(os.Remove(blob), spoil(dir, blob)); err != nil {
			t.Fatal(err)
		}
		if _, err := pack.Open(t.Context(), dir, t.TempDir(), pack.Options{}); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("%s: %v, want %v", what, err, fault.InvalidParameter)
		}
	}
}

// A sparse entry of a kilobyte may claim a terabyte of zeros.
func TestAttack29SparseEntry(t *testing.T) {
	t.Parallel()
	body := tarball(t, append(newSample(t).docker(t), entry{name: "holes", body: "x"})...)
	at := strings.Index(string(body), "holes\x00") // change the header of the last entry to old GNU sparse, with a correct checksum
	h := body[at : at+512]
	h[156] = tar.TypeGNUSparse
	copy(h[257:], "ustar  \x00")
	copy(h[148:], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], []byte{'0', byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7),
		byte('0' + sum&7), 0, ' '})
	if _, err := pack.Open(t.Context(), writeFile(t, body), t.TempDir(), pack.Options{}); !errors.Is(err, fault.InvalidParameter) {
		t.Errorf("got %v, want %v", err, fault.InvalidParameter)
	}
}

// FuzzOpen opens any bytes as an archive.
func FuzzOpen(f *testing.F) {
	s := newSample(f)
	f.Add(tarball(f, s.docker(f)...))
	f.Add(tarball(f, s.oci(f)...))
	f.Add(gzipped(f, tarball(f, append(s.oci(f), s.docker(f)...)...)))
	f.Add(tarball(f, append(s.docker(f), entry{name: "x", link: "aaaa/layer.tar", kind: tar.TypeLink}, entry{name: "../y"})...))
	f.Add([]byte{})
	f.Fuzz(openAny)
}

// FuzzDocuments opens complete archives with any documents.
func FuzzDocuments(f *testing.F) {
	s := newSample(f)
	docker, oci := s.docker(f), s.oci(f)
	f.Add(docker[len(docker)-1].body, s.config, oci[len(oci)-1].body, true)
	f.Add(docker[len(docker)-1].body, s.config, oci[len(oci)-1].body, false)
	f.Add(`[{"Config":"../x","Layers":null}]`, `{"rootfs":{"diff_ids":["sha256:x"]}}`, `{"schemaVersion":2,"manifests":[]}`, false)
	f.Fuzz(func(t *testing.T, manifest, config, index string, isOCI bool) {
		entries := with(with(s.docker(t), entry{name: "manifest.json", body: manifest}), entry{name: "cccc.json", body: config})
		if isOCI {
			entries = append(entries, with(s.oci(t), entry{name: "index.json", body: index})...)
		}
		openAny(t, tarball(t, entries...))
	})
}

// openAny checks what must hold for every archive: no panic, no file outside of the layout, a code in every
// error, and an accepted image is complete.
func openAny(t *testing.T, archive []byte) {
	parent := t.TempDir()
	image, err := pack.Open(t.Context(), writeFile(t, archive), filepath.Join(parent, "layout"), pack.Options{MaxBytes: 1 << 20})
	onlyInside(t, parent)
	if err != nil {
		if fault.From(err).Code == fault.Internal {
			t.Errorf("the error for an invalid archive has no code: %v", err)
		}
		return
	}
	if blobs, err := pack.Verify(t.Context(), image.Dir, image.Root); err != nil || len(blobs) != len(image.Blobs) {
		t.Errorf("accepted, but Verify returns %v and %d blobs, want %d", err, len(blobs), len(image.Blobs))
	}
}
