package bundle_test

import (
	"errors"
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

// blobFile returns the file that has a blob of a server.
func (s *side) blobFile(t *testing.T, digest string) string {
	t.Helper()
	path := filepath.Join(s.Dir, "blobs", "sha256", digest[7:9], strings.TrimPrefix(digest, "sha256:"))
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(s.Dir, "blobs", "sha256", digest[7:9], digest[7:])
		if _, err := os.Stat(path); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// Row P22: an inventory at the receiver, a bundle against it that has only what is absent, bases that are missing or damaged, a part that
// is lost, and a tag that has moved without changing its name.
func TestP22DeltaAgainstAnInventory(t *testing.T) {
	t.Parallel()
	from, to, s := newSide(t), newSide(t), newSigner(t)
	root := from.Root(t)
	api := root.CreateRepository(t, "shop/api")
	base := ocitest.NewImage(1, 400_000, 300_000)
	api.Push(t, "1.0", base)
	r := bundle.Request{Name: "shop", Images: []rewrite.Reference{from.ref(t, "shop/api:1.0")}}
	first, made := s.create(t, from, r)
	if _, err := s.load(t, to, first); err != nil {
		t.Fatal(err)
	}
	receipts := bundle.Receipts{Dir: t.TempDir()}
	if err := receipts.Add(made.Statement); err != nil {
		t.Fatal(err)
	}
	came, err := receipts.Came()
	if err != nil {
		t.Fatal(err)
	}
	have, at := s.inventory(t, to, came)

	// The tag moves to an image with one other layer; the name stays.
	next := ocitest.NewImage(1, 400_000, 300_000, 5_000)
	if next.Digest == base.Digest {
		t.Fatal("the two images are one")
	}
	api.Push(t, "1.0", next)
	r.Have, r.Bases = []*rule.Inventory{have}, []rule.Base{at}
	delta, second := s.create(t, from, r)
	if second.Bytes > 30_000 || second.Needed != 3 || second.NeededIn < 700_000 {
		t.Errorf("got %+v, want a bundle without the two layers and the configuration that the receiver has", second)
	}
	set, err := bundle.Open([]string{delta}, s.keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range set.Statement.Blobs {
		if slices.ContainsFunc(have.Blobs, func(h rule.Held) bool { return h.Digest == b.Digest }) {
			t.Errorf("the blob %s is inside, and the receiver has it", b.Digest)
		}
	}
	set.Close()

	// A base is damaged on the disk: refused, nothing is changed.
	layer := made.Statement.Blobs[len(made.Statement.Blobs)-1].Digest
	file := to.blobFile(t, layer)
	right := read(t, file)
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := damage(file, 1000); err != nil {
		t.Fatal(err)
	}
	refused := func(why string, missing, damaged int) {
		t.Helper()
		before := to.digest(t, "shop/api", "1.0")
		_, err := s.load(t, to, delta)
		bad, ok := errors.AsType[*bundle.BasesError](err)
		if !ok || len(bad.Missing) != missing || len(bad.Damaged) != damaged {
			t.Fatalf("%s: got %v, want %d missing and %d damaged", why, err, missing, damaged)
		}
		for _, want := range []string{layer, made.Set, "nothing was changed"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not name %s: %v", why, want, err)
			}
		}
		if after := to.digest(t, "shop/api", "1.0"); after != before {
			t.Errorf("%s: the tag was moved", why)
		}
		for _, b := range second.Statement.Blobs {
			if d := to.digest(t, "shop/api", b.Digest); b.MediaType != "" && d != "" && b.Digest != base.Digest {
				t.Errorf("%s: the manifest %s was pushed", why, b.Digest)
			}
		}
	}
	refused("damaged", 0, 1)
	if err := os.WriteFile(file, right, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}

	// A receiver that never got the first bundle.
	third := newSide(t)
	_, err = s.load(t, third, delta)
	if bad, ok := errors.AsType[*bundle.BasesError](err); !ok || len(bad.Missing) != 3 {
		t.Errorf("got %v, want three missing bases", err)
	}
	third.empty(t, "missing bases")

	// With the right bases the moved tag arrives.
	if _, err := s.load(t, to, delta); err != nil {
		t.Fatal(err)
	}
	if got := to.digest(t, "shop/api", "1.0"); got != next.Digest {
		t.Errorf("the tag names %s, want %s", got, next.Digest)
	}
	if _, err := to.Root(t).Docker(t).Repo("shop/api").VerifyAll(t.Context()); err != nil {
		t.Error(err)
	}

	// A lost archive spoils nothing: the next one is made against what is there, not against what was sent.
	api.Push(t, "1.0", ocitest.NewImage(1, 400_000, 300_000, 5_000, 6_000))
	have, at = s.inventory(t, to, came)
	r.Have, r.Bases = []*rule.Inventory{have}, []rule.Base{at}
	s.create(t, from, r) // never arrives
	last := ocitest.NewImage(1, 400_000, 300_000, 5_000, 6_000, 1_500_000)
	api.Push(t, "1.0", last)
	r.PartSize = rule.MinPart
	_, parts := s.create(t, from, r)
	var paths []string
	for _, f := range parts.Files {
		paths = append(paths, f.Path)
	}
	if len(paths) < 2 {
		t.Fatalf("got the parts %v, want two", paths)
	}
	if _, err := s.load(t, to, paths[1:]...); err == nil || !strings.Contains(err.Error(), "part 1") {
		t.Errorf("a part is lost: got %v", err)
	}
	if got := to.digest(t, "shop/api", "1.0"); got != next.Digest {
		t.Errorf("a part is lost, and the tag names %s", got)
	}
	if _, err := s.load(t, to, paths...); err != nil {
		t.Fatal(err)
	}
	if got := to.digest(t, "shop/api", "1.0"); got != last.Digest {
		t.Errorf("the tag names %s, want %s", got, last.Digest)
	}
}

// With the inventories of several receivers, only what all have is left out; the bundle is of use to each.
func TestSeveralReceivers(t *testing.T) {
	t.Parallel()
	from, a, b, s := newSide(t), newSide(t), newSide(t), newSigner(t)
	repo := from.Root(t).CreateRepository(t, "shop/api")
	repo.Push(t, "1.0", ocitest.NewImage(1, 100_000))
	repo.Push(t, "1.1", ocitest.NewImage(1, 100_000, 200_000))
	repo.Push(t, "1.2", ocitest.NewImage(1, 100_000, 200_000, 300_000))
	one := func(tag string) bundle.Request {
		return bundle.Request{Name: "shop", Images: []rewrite.Reference{from.ref(t, "shop/api:"+tag)}}
	}
	for to, tag := range map[*side]string{a: "1.0", b: "1.1"} {
		path, _ := s.create(t, from, one(tag))
		if _, err := s.load(t, to, path); err != nil {
			t.Fatal(err)
		}
	}
	r := one("1.2")
	for _, to := range []*side{a, b} {
		i, base := s.inventory(t, to, nil)
		r.Have, r.Bases = append(r.Have, i), append(r.Bases, base)
	}
	path, made := s.create(t, from, r)
	if made.Needed != 2 || made.NeededIn > 101_000 {
		t.Errorf("got %+v, want the first layer and the configuration alone left out", made)
	}
	for _, to := range []*side{a, b} {
		if _, err := s.load(t, to, path); err != nil {
			t.Error(err)
		}
		if _, err := to.Root(t).Docker(t).Repo("shop/api").VerifyAll(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A base that another repository of the receiver has is used from there.
func TestBaseInAnotherRepository(t *testing.T) {
	t.Parallel()
	from, to, s := newSide(t), newSide(t), newSigner(t)
	from.Root(t).CreateRepository(t, "shop/api").Push(t, "1.0", ocitest.NewImage(1, 100_000))
	to.Root(t).CreateRepository(t, "other").Push(t, "x", ocitest.NewImage(1, 100_000))
	r := bundle.Request{Name: "shop", Images: []rewrite.Reference{from.ref(t, "shop/api:1.0")}}
	i, base := s.inventory(t, to, nil)
	r.Have, r.Bases = []*rule.Inventory{i}, []rule.Base{base}
	path, made := s.create(t, from, r)
	if made.Needed != 2 {
		t.Errorf("got %+v, want all blobs left out", made)
	}
	out, err := s.load(t, to, path)
	if err != nil || out.Sent != 0 {
		t.Fatalf("got %+v, %v", out, err)
	}
	if _, err := to.Root(t).Docker(t).Repo("shop/api").VerifyAll(t.Context()); err != nil {
		t.Error(err)
	}
}

// An image that is named with tag and digest arrives with both, by the digest even if the tag has moved, and counts once.
func TestTagAndDigest(t *testing.T) {
	t.Parallel()
	from, to, s := newSide(t), newSide(t), newSigner(t)
	pushed := pushAll(t, from)
	api := from.Root(t).CreateRepository(t, "shop/pinned")
	old, next := ocitest.NewImage(5, 40_000), ocitest.NewImage(6, 50_000)
	api.Push(t, "1.0", old)
	api.Push(t, "1.0", next)
	r := bundle.Request{Name: "shop", Images: []rewrite.Reference{from.ref(t, "shop/pinned:1.0@"+old.Digest),
		from.ref(t, "shop/web:multi@"+pushed)}}
	path, made := s.create(t, from, r)
	var names []string
	for _, i := range made.Images {
		names = append(names, strings.TrimPrefix(i.Name, from.host+"/shop/"))
	}
	if want := []string{"pinned@" + old.Digest, "pinned:1.0", "web@" + pushed, "web:multi"}; !slices.Equal(names, want) {
		t.Errorf("got the images %v, want %v", names, want)
	}
	if made.Images[0].Inside < 40_000 || made.Images[1].Inside != 0 {
		t.Errorf("got %+v, want each layer once", made.Images)
	}
	if _, err := s.load(t, to, path); err != nil {
		t.Fatal(err)
	}
	if got := to.digest(t, "shop/pinned", "1.0"); got != old.Digest {
		t.Errorf("the tag names %s, want %s", got, old.Digest)
	}
	if got := to.digest(t, "shop/web", "multi"); got != pushed {
		t.Errorf("the tag of the index names %s, want %s", got, pushed)
	}

	// Where the tag is asked for too, what it names now keeps its name.
	r.Images = []rewrite.Reference{from.ref(t, "shop/pinned:1.0@"+old.Digest), from.ref(t, "shop/pinned:1.0")}
	path, _ = s.create(t, from, r)
	if _, err := s.load(t, to, path); err != nil {
		t.Fatal(err)
	}
	if got := to.digest(t, "shop/pinned", "1.0"); got != next.Digest {
		t.Errorf("the tag names %s, want %s", got, next.Digest)
	}
}

// An inventory has images without a tag, so that the next bundle leaves them out.
func TestInventoryOfUntaggedImages(t *testing.T) {
	t.Parallel()
	from, to, s := newSide(t), newSide(t), newSigner(t)
	im := ocitest.NewImage(5, 40_000)
	from.Root(t).CreateRepository(t, "shop/old").Push(t, "1.0", im)
	r := bundle.Request{Name: "shop", Images: []rewrite.Reference{from.ref(t, "shop/old@"+im.Digest)}}
	path, _ := s.create(t, from, r)
	if _, err := s.load(t, to, path); err != nil {
		t.Fatal(err)
	}
	taken, err := (&bundle.Taker{From: to.reg, Now: time.Now}).Take(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if taken.Images != 1 || len(taken.Inventory.Blobs) != 2 {
		t.Errorf("got %d images and %d blobs, want 1 and 2", taken.Images, len(taken.Inventory.Blobs))
	}
	pushAll(t, from)
	if taken, err = (&bundle.Taker{From: from.reg, Now: time.Now}).Take(t.Context(), []string{"shop/web"}); err != nil || taken.Images != 3 {
		t.Errorf("got %+v, %v, want three tags: the platforms and the signature of the index are no images of their own", taken, err)
	}
}

// What is extracted of a damaged bundle is removed, and a folder that is there stays.
func TestExtract(t *testing.T) {
	t.Parallel()
	from, s := newSide(t), newSigner(t)
	pushAll(t, from)
	path, _ := s.create(t, from, from.all(t))
	folder := filepath.Join(t.TempDir(), "out")
	extract := func() error {
		set, err := bundle.Open([]string{path}, s.keys)
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		return set.Extract(folder)
	}
	if err := extract(); err != nil || string(read(t, filepath.Join(folder, "a", "web.yaml"))) != "kind: x\n" {
		t.Fatalf("got %v", err)
	}
	if err := extract(); err == nil || !strings.Contains(err.Error(), "is there already: name a folder") {
		t.Errorf("a folder that is there: got %v", err)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(read(t, path)), "kind: x\n")
	if err := damage(path, int64(at)); err != nil {
		t.Fatal(err)
	}
	if err := extract(); err == nil || !strings.Contains(err.Error(), "a/web.yaml is damaged") {
		t.Errorf("a damaged file: got %v", err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("the folder of a damaged bundle stays: %v", err)
	}
}
