package bundle_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rule "github.com/ecrin-dev/ecrin/internal/rule/bundle"
)

// member is a member of an archive that a test changes.
type member struct {
	tar.Header
	content []byte
}

func members(t *testing.T, archive []byte) (all []member) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, member{*h, b})
	}
}

func written(t *testing.T, all []member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range all {
		h := m.Header
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(m.content))
		}
		h.Format = tar.FormatUnknown
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// replaced returns an archive with one member changed.
func replaced(t *testing.T, archive []byte, path string, change func(*member)) []byte {
	t.Helper()
	all := members(t, archive)
	for i := range all {
		if all[i].Name == path {
			change(&all[i])
		}
	}
	return written(t, all)
}

// No archive with another member than the listed ones is accepted: what leaves the folder, links, devices, doubles, what is not listed, and
// sizes that lie.
func TestStrangeMembers(t *testing.T) {
	t.Parallel()
	from, to, s := newSide(t), newSide(t), newSigner(t)
	pushAll(t, from)
	path, _ := s.create(t, from, from.all(t))
	good := read(t, path)
	if !bytes.Equal(written(t, members(t, good)), good) {
		t.Fatal("an archive that is only read and written has other bytes")
	}
	strange := func(name string, kind byte, target string) member {
		return member{Header: tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o644, ModTime: time.Unix(0, 0)}}
	}
	blob := ""
	for _, m := range members(t, good) {
		if strings.HasPrefix(m.Name, "blobs/") {
			blob = m.Name
		}
	}
	for what, change := range map[string]func([]member) []member{
		"a name above":     func(m []member) []member { return append(m, strange("../../etc/passwd", tar.TypeReg, "")) },
		"an absolute name": func(m []member) []member { return append(m, strange("/etc/passwd", tar.TypeReg, "")) },
		"a link":           func(m []member) []member { return append(m, strange("x", tar.TypeSymlink, "/etc/passwd")) },
		"a hard link":      func(m []member) []member { return append(m, strange("x", tar.TypeLink, blob)) },
		"a device":         func(m []member) []member { return append(m, strange("x", tar.TypeBlock, "")) },
		"a folder":         func(m []member) []member { return append(m, strange("x/", tar.TypeDir, "")) },
		"a double":         func(m []member) []member { return append(m, m[len(m)-1]) },
		"another order":    func(m []member) []member { m[len(m)-1], m[len(m)-2] = m[len(m)-2], m[len(m)-1]; return m },
		"one less":         func(m []member) []member { return m[:len(m)-1] },
		"a blob as a link": func(m []member) []member { m[5] = strange(m[5].Name, tar.TypeSymlink, "/etc/passwd"); return m },
		"a name with dots": func(m []member) []member { m[5].Name = "./" + m[5].Name; return m },
		"a setuid file":    func(m []member) []member { m[5].Mode = 0o4755; return m },
		"a longer blob":    func(m []member) []member { m[5].content = append(m[5].content, 'x'); return m },
		"another index": func(m []member) []member {
			m[3].content = bytes.Replace(m[3].content, []byte("1.0"), []byte("1.1"), 1)
			return m
		},
		"another layout":    func(m []member) []member { m[0].content = []byte(`{"imageLayoutVersion":"1.0.1"}`); return m },
		"a large signature": func(m []member) []member { m[2].content = make([]byte, rule.MaxSignature+1); return m },
	} {
		file := filepathOf(t, written(t, change(members(t, good))))
		if _, err := s.load(t, to, file); err == nil {
			t.Errorf("%s is accepted", what)
		}
		to.empty(t, what)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func filepathOf(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "changed.tar")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
