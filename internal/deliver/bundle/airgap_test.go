package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
	rule "github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

func (s *side) airgap(t *testing.T) bundle.AirgapRequest {
	all := s.all(t)
	return bundle.AirgapRequest{Images: all.Images, Files: all.Files, ReleasedAt: time.Unix(1_700_000_000, 0),
		Spec: rule.AirgapSpec{VersionLabel: "1.0", UpdateCursor: "3", ChannelID: "c1", ChannelName: "stable", AppSlug: "shop",
			RequiredReleases: []rule.AirgapRelease{{VersionLabel: "0.9", UpdateCursor: "2"}}}}
}

func (s signer) airgap(t *testing.T, from *side) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "shop.airgap")
	made, err := s.maker(from).CreateAirgap(t.Context(), out, from.airgap(t))
	if err != nil {
		t.Fatal(err)
	}
	if made.Path != out || len(made.Images) != 3 || made.Blobs == 0 {
		t.Fatalf("made %+v", made)
	}
	return out
}

// unpack opens and unpacks an airgap bundle.
func (s signer) unpack(t *testing.T, path string) (*bundle.Unpacked, error) {
	t.Helper()
	a, err := bundle.OpenAirgap(path, s.keys)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	folder := filepath.Join(t.TempDir(), "unpacked")
	u, err := a.Unpack(t.Context(), folder, nil)
	if _, stat := os.Stat(folder); err != nil && !errors.Is(stat, os.ErrNotExist) {
		t.Errorf("the folder stays after %v", err)
	}
	return u, err
}

func gunzip(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// An airgap bundle has the three parts in their order, the storage of a registry with names of one part, and arrives whole with signatures;
// a second push sends nothing, and further names are pushed too.
func TestAirgapBundle(t *testing.T) {
	t.Parallel()
	from, to, s := newSide(t), newSide(t), newSigner(t)
	index := pushAll(t, from)
	path := s.airgap(t, from)
	names, total := []string{}, int64(0)
	for _, m := range members(t, gunzip(t, read(t, path))) {
		names = append(names, m.Name)
		if m.Name != rule.AirgapPath {
			total += m.Size
		}
	}
	if names[0] != "airgap.yaml" || names[1] != "app.tar.gz" || slices.ContainsFunc(names[2:], func(n string) bool {
		return !strings.HasPrefix(n, "images/docker/registry/v2/")
	}) {
		t.Errorf("the members are %v", names)
	}
	hex := strings.TrimPrefix(index, "sha256:")
	for _, want := range []string{"blobs/sha256/" + hex[:2] + "/" + hex + "/data",
		"repositories/web/_manifests/revisions/sha256/" + hex + "/link",
		"repositories/web/_manifests/tags/multi/current/link", "repositories/web/_manifests/tags/multi/index/sha256/" + hex + "/link",
		"repositories/api/_manifests/tags/1.0/current/link"} {
		if !slices.Contains(names, "images/docker/registry/v2/"+want) {
			t.Errorf("there is no %s in %v", want, names)
		}
	}
	u, err := s.unpack(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Statement.Spec; got.UncompressedSize != total || got.Format != "docker" || len(got.SavedImages) != 3 ||
		got.SavedImages[0] != from.host+"/shop/api:1.0" || got.RequiredReleases[0].VersionLabel != "0.9" {
		t.Errorf("the spec is %+v, want %d bytes", got, total)
	}
	files := members(t, gunzip(t, u.App))
	if len(files) != 1 || files[0].Name != "a/web.yaml" || string(files[0].content) != "kind: x\n" {
		t.Errorf("the files of the release are %+v", files)
	}
	also := bundle.Also{Image: from.host + "/shop/web:multi", Repository: "web", Tag: "multi"}
	first, err := u.Push(t.Context(), to.target(), also)
	if err != nil || first.Sent == 0 || len(first.Images) != 4 {
		t.Fatalf("pushed %+v, %v", first, err)
	}
	again, err := u.Push(t.Context(), to.target(), also)
	if err != nil || again.Sent != 0 || again.Images[2].Before != index {
		t.Errorf("the second push: %+v, %v", again, err)
	}
	for _, repo := range []string{"shop/api", "shop/web"} {
		if got, want := to.tags(t, repo), from.tags(t, repo); !slices.Equal(got, want) {
			t.Errorf("%s has the tags %v, want %v", repo, got, want)
		}
		if _, err := to.Root(t).Docker(t).Repo(repo).VerifyAll(t.Context()); err != nil {
			t.Error(err)
		}
	}
	m, err := to.reg.Head(t.Context(), "web", "multi", nil)
	if err != nil || m.Digest.String() != index {
		t.Fatalf("the further name is %s, %v", m.Digest, err)
	}
	if all, err := to.reg.Referrers(t.Context(), "web", m.Digest, ""); err != nil || len(all) != 1 {
		t.Errorf("the referrers are %v, %v", all, err)
	}
	if err := u.Remove(); err != nil {
		t.Error(err)
	}
}

// The bytes that compressed archives have after decompression are bounded by what was signed, before they are read.
func bomb(size int64) io.Reader {
	r, w := io.Pipe()
	go func() {
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			w.CloseWithError(err)
			return
		}
		a := tar.NewWriter(z)
		err = a.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: rule.AirgapPath, Size: size})
		zeros := make([]byte, 1<<20)
		for n := int64(0); n < size && err == nil; n += int64(len(zeros)) {
			_, err = a.Write(zeros)
		}
		w.CloseWithError(errors.Join(err, z.Close()))
	}()
	return r
}

// No airgap bundle is accepted that is not signed by a trusted key, or has anything else than was signed: other members, links, names that
// lead out of the folder, decompression bombs, a part of another bundle. Nothing of it is left on the disk.
func TestBadAirgapBundles(t *testing.T) {
	t.Parallel()
	from, s := newSide(t), newSigner(t)
	pushAll(t, from)
	path := s.airgap(t, from)
	good := read(t, path)
	plain := gunzip(t, good)
	if _, err := s.unpack(t, filepathOf(t, gzipped(t, written(t, members(t, plain))))); err != nil {
		t.Fatalf("a bundle that is only read and written: %v", err)
	}
	other := from.airgap(t)
	other.Images, other.Spec.VersionLabel = other.Images[:1], "2.0"
	other.Files = []rewrite.File{{Path: "b.yaml", Data: []byte("kind: y\n")}}
	second := filepath.Join(t.TempDir(), "other.airgap")
	if _, err := s.maker(from).CreateAirgap(t.Context(), second, other); err != nil {
		t.Fatal(err)
	}
	theirs := members(t, gunzip(t, read(t, second)))

	strange := func(name string, kind byte, target string) member {
		return member{Header: tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o644, ModTime: time.Unix(0, 0)}}
	}
	first := func(all []member, part string) int {
		return slices.IndexFunc(all, func(m member) bool { return strings.Contains(m.Name, part) })
	}
	edit := func(old, text string) func([]member) []member {
		return func(m []member) []member {
			if !bytes.Contains(m[0].content, []byte(old)) {
				t.Fatalf("airgap.yaml has no %q:\n%s", old, m[0].content)
			}
			m[0].content = bytes.Replace(m[0].content, []byte(old), []byte(text), 1)
			return m
		}
	}
	for what, c := range map[string]struct {
		change func([]member) []member
		want   string
	}{
		"a name above": {func(m []member) []member { return append(m, strange("../../etc/x", tar.TypeReg, "")) }, "no member of an airgap"},
		"a name above in the storage": {func(m []member) []member {
			return append(m, strange(rule.StorageFolder+"blobs/sha256/../../../x/data", tar.TypeReg, ""))
		}, "no member of an airgap"},
		"an absolute name": {func(m []member) []member { return append(m, strange("/etc/x", tar.TypeReg, "")) }, "no member of an airgap"},
		"a link":           {func(m []member) []member { return append(m, strange("images/x", tar.TypeSymlink, "/etc/passwd")) }, "is no file"},
		"a hard link":      {func(m []member) []member { return append(m, strange("images/x", tar.TypeLink, m[2].Name)) }, "is no file"},
		"a device":         {func(m []member) []member { return append(m, strange("images/x", tar.TypeBlock, "")) }, "is no file"},
		"a folder":         {func(m []member) []member { return append(m, strange("images/", tar.TypeDir, "")) }, "is no file"},
		"a blob as a link": {func(m []member) []member { m[3] = strange(m[3].Name, tar.TypeSymlink, "/etc/passwd"); return m }, "is no file"},
		"a blob twice":     {func(m []member) []member { return slices.Insert(m, 3, m[2]) }, "twice"},
		"more than was signed": {func(m []member) []member {
			return append(m, member{strange("x", tar.TypeReg, "").Header, make([]byte, 1<<20)})
		}, "more than the"},
		"a blob less":            {func(m []member) []member { return slices.Delete(m, 3, 4) }, ""},
		"another byte in a blob": {func(m []member) []member { m[3].content[10] ^= 1; return m }, "is damaged"},
		"a link less": {func(m []member) []member {
			n := first(m, "/_layers/")
			return slices.Delete(m, n, n+1)
		}, "its repositories are not those"},
		"a tag on another image": {func(m []member) []member {
			a, b := first(m, "web/_manifests/tags/1.0/current"), first(m, "web/_manifests/tags/multi/current")
			m[a].content = m[b].content
			return m
		}, "its repositories are not those"},
		"a link that is no digest": {func(m []member) []member { m[first(m, "/_layers/")].content = []byte("x"); return m }, "a digest is"},
		"a large link":             {func(m []member) []member { m[first(m, "/_layers/")].content = make([]byte, 300); return m }, ""},
		"the files of another":     {func(m []member) []member { m[1] = theirs[1]; return m }, "app.tar.gz"},
		"no files":                 {func(m []member) []member { return slices.Delete(m, 1, 2) }, "app.tar.gz"},
		"the statement of another": {func(m []member) []member { m[0] = theirs[0]; return m }, "app.tar.gz"},
		"nothing after it":         {func(m []member) []member { return m[:1] }, "truncated"},
		"another begin":            {func(m []member) []member { return m[1:] }, "does not begin with airgap.yaml"},
		"a large airgap.yaml": {func(m []member) []member { m[0].content = make([]byte, rule.MaxAirgap+1); return m },
			"more than"},
		"another label":  {edit("versionLabel: \"1.0\"", "versionLabel: \"9.0\""), "changed after it was signed: its versionLabel"},
		"another size":   {edit("airgapUncompressedSize: ", "airgapUncompressedSize: 1"), "its airgapUncompressedSize"},
		"another image":  {edit("/shop/api:1.0", "/shop/api:2.0"), "its savedImages"},
		"another kind":   {edit("kind: Airgap", "kind: License"), "not Airgap"},
		"another cursor": {edit("updateCursor: \"3\"", "updateCursor: \"4\""), "its updateCursor"},
		"no signature":   {edit("signature: ", "unsigned: "), "not signed"},
		"a wrong one":    {edit("signature: ", "signature: AAAA"), "not signed"},
		"expanding anchors": {func(m []member) []member {
			m[0].content = []byte("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
				"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\nkind: *f\n")
			return m
		}, "airgap.yaml"},
	} {
		changed := c.change(members(t, plain))
		if u, err := s.unpack(t, filepathOf(t, gzipped(t, written(t, changed)))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", what, u, err, c.want)
		}
	}
	for what, b := range map[string][]byte{"no archive": []byte("hello"), "nothing": {}, "no compression": plain,
		"truncated": good[:len(good)*2/3], "truncated at the end": good[:len(good)-3], "more after it": append(slices.Clone(good), "more"...),
		"another archive after it": append(slices.Clone(good), gzipped(t, make([]byte, 3<<20))...)} {
		if _, err := s.unpack(t, filepathOf(t, b)); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	if _, err := newSigner(t).unpack(t, path); !errors.Is(err, rule.ErrUnknownKey) {
		t.Errorf("signed by another key: %v", err)
	}
	revoked := *s.keys
	if err := revoked.Revoke(s.key.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := (signer{s.key, &revoked}).unpack(t, path); !errors.Is(err, rule.ErrRevoked) {
		t.Errorf("signed by a revoked key: %v", err)
	}

	// 100 GB of zeros are in 100 MB: they are refused by their size before they are read.
	begin := filepathOf(t, head(t, bomb(100<<30), 64<<10))
	if _, err := s.unpack(t, begin); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a bomb: %v", err)
	}
}

func head(t *testing.T, r io.Reader, n int64) []byte {
	t.Helper()
	b, err := io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Images that the storage would name alike are refused when the bundle is made, if they differ.
func TestAirgapNamesThatCollide(t *testing.T) {
	t.Parallel()
	from, s := newSide(t), newSigner(t)
	pushAll(t, from)
	from.Root(t).CreateRepository(t, "other/web").Push(t, "1.0", ocitest.NewImage(9, 500))
	r := from.airgap(t)
	r.Images = append(r.Images, from.ref(t, "other/web:1.0"))
	out := filepath.Join(t.TempDir(), "a.airgap")
	if _, err := s.maker(from).CreateAirgap(t.Context(), out, r); err == nil || !strings.Contains(err.Error(), "would both be web:1.0") {
		t.Errorf("two images of one name: %v", err)
	}
	if left, _ := filepath.Glob(out + "*"); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
	// By its digest, the other has a place of its own.
	r.Images[3] = from.ref(t, "other/web@"+ocitest.NewImage(9, 500).Digest)
	if _, err := s.maker(from).CreateAirgap(t.Context(), out, r); err != nil {
		t.Error(err)
	}
	if _, err := s.maker(from).CreateAirgap(t.Context(), out, r); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a second bundle in one file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.maker(from).CreateAirgap(ctx, out+"2", r); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzUnpackAirgap(f *testing.F) {
	f.Add([]byte("x"))
	key, err := rule.NewOwnKey()
	if err != nil {
		f.Fatal(err)
	}
	s := signer{key, &rule.Keys{}}
	public, err := key.Public()
	if err == nil {
		err = s.keys.Add(public)
	}
	var app bytes.Buffer
	z := gzip.NewWriter(&app)
	if err = errors.Join(err, tar.NewWriter(z).Close(), z.Close()); err != nil {
		f.Fatal(err)
	}
	st := rule.Airgap{Format: rule.AirgapFormat, App: rule.Blob{Digest: rule.Digest(app.Bytes()), Size: int64(app.Len())},
		Spec: rule.AirgapSpec{UpdateCursor: "1", ChannelID: "c", AppSlug: "shop", Format: "docker", UncompressedSize: int64(app.Len()) + 500}}
	statement, err := st.Encode()
	if err != nil {
		f.Fatal(err)
	}
	signature, err := key.Sign(rule.OfAirgap, rule.Digest(statement))
	if err != nil {
		f.Fatal(err)
	}
	about, err := st.File(statement, signature)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, m := range []member{{tar.Header{Name: rule.AirgapPath}, about}, {tar.Header{Name: rule.AppPath}, app.Bytes()}} {
			m.Typeflag, m.Size = tar.TypeReg, int64(len(m.content))
			if err := w.WriteHeader(&m.Header); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(m.content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		// All that follows is of an attacker: nothing of it can be right, for the statement has bytes that no image has.
		if _, err := s.unpack(t, filepathOf(t, gzipped(t, append(b.Bytes(), rest...)))); err == nil {
			t.Error("a bundle with anything behind its files is accepted")
		}
	})
}
