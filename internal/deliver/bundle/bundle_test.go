package bundle_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	rule "github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// side is a server with what reaches it as a registry.
type side struct {
	*apptest.Server
	host string
	reg  *upstream.Registry
}

func newSide(t *testing.T) *side {
	t.Helper()
	s := &side{Server: apptest.Start(t, apptest.Options{})}
	s.host = strings.TrimPrefix(s.URL, "http://")
	all := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	asks := upstream.New(upstream.Options{Guard: egress.New(egress.Options{Allow: all})})
	if !asks.PlainLocal(t.Context(), s.host) || asks.PlainLocal(t.Context(), "registry.invalid") {
		t.Fatalf("%s is not found to answer by http", s.host)
	}
	asks.Close()
	client := upstream.New(upstream.Options{Guard: egress.New(egress.Options{Allow: all, Plain: upstream.Local}),
		Limits: upstream.Limits{Pause: time.Millisecond}})
	t.Cleanup(client.Close)
	root := s.Root(t)
	var err error
	if s.reg, err = client.Registry(upstream.Endpoint{Host: s.host, Kind: upstream.ECR, AWS: &upstream.AWS{API: s.URL,
		Region: root.Region, Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "").Retrieve}}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *side) hosts(context.Context, string) (*upstream.Registry, error) { return s.reg, nil }

func (s *side) ref(t *testing.T, name string) rewrite.Reference {
	t.Helper()
	r, err := rewrite.ParseReference(s.host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// signer is a key with what trusts it.
type signer struct {
	key  rule.OwnKey
	keys *rule.Keys
}

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := rule.NewOwnKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	s := signer{key, &rule.Keys{}}
	if err := s.keys.Add(text); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s signer) sign(_ context.Context, k rule.Kind, digest string) (rule.Signature, error) {
	return s.key.Sign(k, digest)
}

func (s signer) maker(from *side) *bundle.Maker {
	return &bundle.Maker{Hosts: from.hosts, Sign: s.sign, Now: time.Now}
}

func (s signer) create(t *testing.T, from *side, r bundle.Request) (string, *bundle.Made) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "b.tar")
	made, err := s.maker(from).Create(t.Context(), out, r, false)
	if err != nil {
		t.Fatal(err)
	}
	return out, made
}

func (s *side) target() bundle.Target {
	return bundle.Target{To: s.reg, Repository: func(r rewrite.Reference) string { return r.Path }}
}

func (s signer) load(t *testing.T, to *side, paths ...string) (*bundle.Imported, error) {
	t.Helper()
	set, err := bundle.Open(paths, s.keys)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	return set.Import(t.Context(), to.target())
}

func (s signer) inventory(t *testing.T, at *side, came func(string) string) (*rule.Inventory, rule.Base) {
	t.Helper()
	taken, err := (&bundle.Taker{From: at.reg, Now: time.Now, Came: came}).Take(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := taken.Inventory.Seal(s.key)
	if err != nil {
		t.Fatal(err)
	}
	i, base, err := rule.OpenInventory(file, s.keys)
	if err != nil {
		t.Fatal(err)
	}
	return i, base
}

func (s *side) tags(t *testing.T, repo string) []string {
	t.Helper()
	var all []string
	err := s.reg.Tags(t.Context(), repo, "", func(tags []string) error {
		all = append(all, tags...)
		return nil
	})
	if err != nil && !errors.Is(err, upstream.NotFound) {
		t.Fatal(err)
	}
	return all
}

func (s *side) digest(t *testing.T, repo, ref string) string {
	t.Helper()
	m, err := s.reg.Head(t.Context(), repo, ref, nil)
	if err != nil && !errors.Is(err, upstream.NotFound) {
		t.Fatal(err)
	}
	return m.Digest.String()
}

// empty fails the test if something was written.
func (s *side) empty(t *testing.T, why string) {
	t.Helper()
	repos, err := s.reg.Repositories(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(repos) > 0 {
		t.Errorf("%s: the repositories %v were made", why, repos)
	}
}

// pushAll pushes two images with a common layer, and an index with signatures; it returns the digest of the index.
func pushAll(t *testing.T, from *side) (index string) {
	t.Helper()
	root := from.Root(t)
	api, web := root.CreateRepository(t, "shop/api"), root.CreateRepository(t, "shop/web")
	api.Push(t, "1.0", ocitest.NewImage(1, 200_000, 3000))
	web.Push(t, "1.0", ocitest.NewImage(1, 200_000, 3000, 400))
	m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType}
	for i := range 2 {
		im := ocitest.NewImage(uint64(50+i), 1_500_000)
		web.Push(t, "", im)
		m.Manifests = append(m.Manifests, im.Descriptor())
	}
	body := m.JSON()
	web.PutManifest(t, "multi", ocitest.IndexType, body).Want(t, http.StatusCreated)
	subject, config := ocitest.Describe(ocitest.IndexType, body), ocitest.Describe(ocitest.EmptyType, []byte("{}"))
	web.PutBlob(t, []byte("{}"))
	signature := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: "application/vnd.example.signature",
		Config: &config, Layers: []ocitest.Descriptor{config}, Subject: &subject}.JSON()
	web.PutManifest(t, ocitest.SHA256(signature), ocitest.ImageType, signature).Want(t, http.StatusCreated)
	old := ocitest.NewImage(200, 30)
	web.PushBlobs(t, old)
	web.PutManifest(t, strings.Replace(ocitest.SHA256(body), ":", "-", 1)+".sig", ocitest.ImageType, old.Manifest).Want(t, http.StatusCreated)
	return ocitest.SHA256(body)
}

func (s *side) all(t *testing.T) bundle.Request {
	return bundle.Request{Name: "shop",
		Images: []rewrite.Reference{s.ref(t, "shop/api:1.0"), s.ref(t, "shop/web:1.0"), s.ref(t, "shop/web:multi")},
		Files:  []rewrite.File{{Path: "a/web.yaml", Data: []byte("kind: x\n")}}}
}

// A bundle has every image with its platforms and referrers, shared layers once; it arrives whole, and a second import sends nothing. The
// dry run says the same before.
func TestBundle(t *testing.T) {
	t.Parallel()
	from, to, s := newSide(t), newSide(t), newSigner(t)
	index := pushAll(t, from)
	dry, err := s.maker(from).Plan(t.Context(), from.all(t))
	if err != nil {
		t.Fatal(err)
	}
	path, made := s.create(t, from, from.all(t))
	if dry.Blobs != made.Blobs || !slices.Equal(dry.Images, made.Images) || dry.Bytes < made.Bytes-8192 || dry.Bytes > made.Bytes+8192 {
		t.Errorf("the dry run has said %+v, and %+v was made", dry, made)
	}
	inside := int64(0)
	for _, i := range made.Images {
		inside += i.Inside
	}
	if made.Images[1].Inside > 5000 || made.Images[1].Bytes < 200_000 || made.Images[2].Referrers != 2 {
		t.Errorf("got %+v, want the layers of the second image in the first", made.Images)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != made.Bytes || made.Files[0].Size != made.Bytes {
		t.Errorf("the file has %v bytes, %v, want %d", info, err, made.Bytes)
	}
	set, err := bundle.Open([]string{path}, s.keys)
	if err != nil {
		t.Fatal(err)
	}
	if bytes, _ := set.Statement.Bytes(); bytes != inside {
		t.Errorf("the images add %d bytes, and the bundle has %d", inside, bytes)
	}
	folder := filepath.Join(t.TempDir(), "release")
	if err := set.Extract(folder); err != nil {
		t.Error(err)
	}
	set.Close()
	if got, err := os.ReadFile(filepath.Join(folder, "a", "web.yaml")); string(got) != "kind: x\n" {
		t.Errorf("the file of the release: got %q, %v", got, err)
	}
	first, err := s.load(t, to, path)
	if err != nil {
		t.Fatal(err)
	}
	if got := to.digest(t, "shop/web", "multi"); got != index {
		t.Errorf("the index has the digest %s, want %s", got, index)
	}
	for _, repo := range []string{"shop/api", "shop/web"} {
		if got, want := to.tags(t, repo), from.tags(t, repo); !slices.Equal(got, want) {
			t.Errorf("%s has the tags %v, want %v", repo, got, want)
		}
		if _, err := to.Root(t).Docker(t).Repo(repo).VerifyAll(t.Context()); err != nil {
			t.Error(err)
		}
	}
	d := slices.Sorted(func(yield func(string) bool) {
		m, err := to.reg.Head(t.Context(), "shop/web", "multi", nil)
		if err != nil {
			t.Fatal(err)
		}
		all, err := to.reg.Referrers(t.Context(), "shop/web", m.Digest, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			yield(one.ArtifactType)
		}
	})
	if len(d) != 1 || d[0] != "application/vnd.example.signature" {
		t.Errorf("the referrers are %v", d)
	}
	again, err := s.load(t, to, path)
	if err != nil || again.Sent != 0 || first.Sent == 0 {
		t.Errorf("the second import has sent %+v, %v; the first %d", again, err, first.Sent)
	}
}

// Nothing is written for a bundle that is not signed by a trusted key, is damaged at any place, or is not complete.
func TestNothingIsWrittenForABadBundle(t *testing.T) {
	t.Parallel()
	from, to, s, other := newSide(t), newSide(t), newSigner(t), newSigner(t)
	pushAll(t, from)
	whole, _ := s.create(t, from, from.all(t))
	r := from.all(t)
	r.PartSize = 1 << 20
	_, made := s.create(t, from, r)
	_, second := s.create(t, from, r)
	if len(made.Files) < 3 {
		t.Fatalf("got %d parts, want some", len(made.Files))
	}
	var parts []string
	for _, f := range made.Files {
		parts = append(parts, f.Path)
	}
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(what string, b []byte) string {
		path := filepath.Join(t.TempDir(), what+".tar")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flipped := func(at int) []byte {
		b := slices.Clone(good)
		b[at] ^= 1
		return b
	}
	revoked := newSigner(t)
	revoked.key = s.key
	*revoked.keys = *s.keys
	if err := revoked.keys.Revoke(s.key.ID()); err != nil {
		t.Fatal(err)
	}
	swapped := slices.Clone(parts)
	swapped[1] = second.Files[1].Path
	truncatedPart := slices.Clone(parts)
	b, err := os.ReadFile(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	truncatedPart[2] = changed("part", b[:len(b)-700])
	for what, one := range map[string]struct {
		paths []string
		by    signer
		want  string
	}{
		"unknown key":      {[]string{whole}, other, rule.ErrUnknownKey.Error()},
		"revoked key":      {[]string{whole}, revoked, rule.ErrRevoked.Error()},
		"unsigned":         {[]string{changed("u", unsigned(t, good))}, s, rule.ErrUnsigned.Error()},
		"part missing":     {parts[:2], s, "these are missing: 3"},
		"first missing":    {parts[1:], s, "missing"},
		"part twice":       {append(slices.Clone(parts), parts[1]), s, "twice"},
		"part of another":  {swapped, s, "is of the set"},
		"part truncated":   {truncatedPart, s, "truncated"},
		"truncated":        {[]string{changed("t", good[:len(good)-512])}, s, "truncated"},
		"longer":           {[]string{changed("l", append(slices.Clone(good), make([]byte, 512)...))}, s, "something was added"},
		"empty":            {[]string{changed("e", nil)}, s, "no tar archive"},
		"no bundle":        {[]string{changed("n", []byte("hello"))}, s, "no tar archive"},
		"layer changed":    {[]string{changed("c", flipped(len(good)-5000))}, s, "damaged"},
		"statement":        {[]string{changed("s", flipped(3*512+20))}, s, "signature is wrong"},
		"header":           {[]string{changed("h", flipped(2))}, s, "no "},
		"end is not zeros": {[]string{changed("z", flipped(len(good)-3))}, s, "after its last member"},
	} {
		_, err := one.by.load(t, to, one.paths...)
		if err == nil || !strings.Contains(err.Error(), one.want) {
			t.Errorf("%s: got %v, want an error with %q", what, err, one.want)
		}
		to.empty(t, what)
	}
	if _, err := s.load(t, to, parts...); err != nil {
		t.Errorf("the right parts: %v", err)
	}
}

// unsigned returns an archive whose signature is empty.
func unsigned(t *testing.T, good []byte) []byte {
	t.Helper()
	return replaced(t, good, rule.SignaturePath, func(m *member) { m.content = []byte{} })
}

// Each part can be verified alone, and is at most as large as was asked for; joined they are one image layout.
func TestPartsAlone(t *testing.T) {
	t.Parallel()
	from, s := newSide(t), newSigner(t)
	pushAll(t, from)
	r := from.all(t)
	r.PartSize = 1 << 20
	_, made := s.create(t, from, r)
	var paths []string
	for n, f := range made.Files {
		paths = append(paths, f.Path)
		if f.Size > r.PartSize {
			t.Errorf("%s has %d bytes, want at most %d", f.Path, f.Size, r.PartSize)
		}
		o, err := bundle.VerifyPart(t.Context(), f.Path, s.keys)
		if err != nil || o.Number != n+1 || o.Of != len(made.Files) {
			t.Errorf("%s: got %+v, %v", f.Path, o, err)
		}
		if err := damage(f.Path, f.Size/2); err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.VerifyPart(t.Context(), f.Path, s.keys); err == nil {
			t.Errorf("%s is damaged and verified", f.Path)
		}
		if err := damage(f.Path, f.Size/2); err != nil {
			t.Fatal(err)
		}
	}
	slices.Reverse(paths)
	set, err := bundle.Open(paths, s.keys)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	joined := filepath.Join(t.TempDir(), "joined.tar")
	if err := set.Join(t.Context(), joined); err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.VerifyPart(t.Context(), joined, s.keys); err != nil {
		t.Error(err)
	}
	if err := set.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// damage flips a bit of a file.
func damage(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := []byte{0}
	if _, err := f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	return err
}
