package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// ground is a Service whose workers stop at their steps, for one world after another.
type ground struct {
	*registry.Service
	store  *meta.Store
	blobs  blob.Store // without steps
	dir    string
	clock  time.Time
	worlds int
	broken bool // a test has failed, and left what others would find
}

// newGround opens the stores of a ground, with a database of its own of PostgreSQL or SQLite.
func newGround(t testing.TB, postgres bool) *ground {
	t.Helper()
	g := &ground{dir: memoryDir(t), clock: time.Now()}
	now := func() time.Time { return g.clock }
	var err error
	if postgres {
		g.store, err = meta.OpenPostgreSQL(t.Context(), meta.PostgreSQL{URL: secret.New(pgtest.Start(t).NewDatabase(t)), Dir: g.dir, Now: now})
	} else {
		metatest.Prepare(t, g.dir)
		g.store, err = meta.OpenSQLite(t.Context(), g.dir, now)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if g.blobs, err = fsblob.Open(filepath.Join(g.dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	keys, err := identity.LoadKeyring(g.dir, "", true)
	if err == nil {
		_, err = identity.New(g.store, keys, now, identity.Options{}).EnsureDefault(t.Context(), home.Account)
	}
	if err != nil {
		t.Fatal(err)
	}
	g.Service = registry.New(g.store, stepBlobs{g.blobs}, registry.Options{Now: now, Log: slog.New(slog.DiscardHandler)})
	g.StopCollectSoon() // each call does one step, so that no real time determines what a call does
	observe(g.store, g.Service)
	// The first collection prepares the database.
	if _, err := g.Collect(t.Context(), registry.CollectPlace{}, registry.CollectOptions{}); err != nil {
		t.Fatal(err)
	}
	return g
}

// memoryDir returns a directory in memory where there is one: these tests flush often, and nothing is lost in them.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ecrin-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// picture is an image: its configuration and its layers, or the images of an index.
type picture struct {
	blobs    []string
	children []picture
}

func (p picture) manifest() []byte {
	descriptor := func(mediaType string, d name.Digest, size int) string {
		return fmt.Sprintf(`{"mediaType":"%s","digest":"%s","size":%d}`, mediaType, d, size)
	}
	var all []string
	if p.children != nil {
		for _, c := range p.children {
			all = append(all, descriptor(manifest.OCIManifest, c.digest(), len(c.manifest())))
		}
		return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}`, manifest.OCIIndex, strings.Join(all, ","))
	}
	for _, layer := range p.blobs[1:] {
		all = append(all, descriptor("application/vnd.oci.image.layer.v1.tar", digest(layer), len(layer)))
	}
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}`, manifest.OCIManifest,
		descriptor("application/vnd.oci.image.config.v1+json", digest(p.blobs[0]), len(p.blobs[0])), strings.Join(all, ","))
}

func (p picture) digest() name.Digest { return registry.DigestOf(name.SHA256, p.manifest()) }

// world is what a test of overlapping calls begins with, and what was acknowledged since. Its repositories and contents are its own.
//
//   - app has the live image "live", the deleted image "old", the blob "idle", which no image uses, the condemned blob "dead", and an
//     upload that was abandoned. The blob "bare" was deleted: its bytes are left.
//   - source has the live image "src", and the deleted image "past".
//   - gone is a deleted repository with the live image "lost".
//
// All of that was deleted or left two grace periods ago.
type world struct {
	*ground
	t                 testing.TB
	n                 int
	exact             bool // with the grace period, in which no push is refused; otherwise a collection has none
	app, source, gone meta.Repository
	upload            meta.Upload
	known             map[imageKey]*knownImage
	refused           int
	deletesBlobs      bool // a client has asked to delete blobs that images may name soon
}

type imageKey struct {
	repository int64
	digest     name.Digest
}

// knownImage is an image that somebody has pushed.
type knownImage struct {
	picture
	repository meta.Repository
	required   []string // contents that must be readable
	live       bool     // it was acknowledged, and nobody has asked to delete it since
	deleting   int      // requests to delete it that have not ended
	deletions  int      // all requests to delete it
	cached     bool     // its blobs may be elsewhere
}

func (w *world) text(what string) string { return fmt.Sprintf("%s of world %d", what, w.n) }

// picture returns an image of a world by its name.
func (w *world) picture(name string) (p picture) {
	for _, l := range map[string][]string{
		"live": {"live config", "base"}, "old": {"old config", "base", "old layer"}, "src": {"src config", "base", "src layer"},
		"past": {"past config", "past layer"}, "lost": {"lost config", "lost layer"},
		"new":     {"new config", "old layer", "idle", "dead", "bare", "lost layer"},
		"mounted": {"mounted config", "src layer", "past layer"}, "cached": {"cached config", "idle", "dead", "bare"},
	}[name] {
		p.blobs = append(p.blobs, w.text(l))
	}
	if name == "index" {
		p.children = []picture{w.picture("live"), w.picture("old")}
	}
	return p
}

// newWorld makes a world.
func (g *ground) newWorld(t testing.TB, exact bool) *world {
	t.Helper()
	g.worlds++
	w := &world{ground: g, t: t, n: g.worlds, exact: exact, known: map[imageKey]*knownImage{}}
	ctx := context.Background()
	begun := time.Now()
	g.clock = begun.Add(-2 * week)
	var errs []error
	for what, r := range map[string]*meta.Repository{"app": &w.app, "source": &w.source, "gone": &w.gone} {
		repo, err := name.ParseRepo(fmt.Sprintf("w%d/%s", w.n, what))
		if err == nil {
			*r, err = g.CreateRepository(ctx, meta.Repository{Registry: home, Name: repo}, nil)
		}
		errs = append(errs, err)
	}
	errs = append(errs, w.push(ctx, w.app, "live"), w.push(ctx, w.app, "old"), w.push(ctx, w.source, "src"), w.push(ctx, w.source, "past"),
		w.push(ctx, w.gone, "lost"), w.put(ctx, w.app, w.text("dead")), w.remove(ctx, w.app, "old"), w.remove(ctx, w.source, "past"),
		w.removeRepository(ctx, w.gone))
	u, err := g.BeginUpload(ctx, alice, w.app, name.SHA256)
	if err == nil {
		w.upload, err = g.Append(ctx, w.app, u, registry.Chunk{Body: strings.NewReader("abandoned"), At: 0, Length: 9})
	}
	seen := func(what string) error { // its holding is in the cache
		_, err := g.Blob(ctx, w.app, digest(w.text(what)))
		return err
	}
	errs = append(errs, seen("dead"))
	_, _, err2 := g.store.CollectHoldings(ctx, g.clock, time.Time{}) // condemns "dead"
	errs = append(errs, err, err2, w.put(ctx, w.app, w.text("idle")), w.put(ctx, w.app, w.text("bare")), seen("idle"), seen("bare"),
		g.DeleteBlob(ctx, w.app, digest(w.text("bare"))))
	g.clock = begun
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("making a world: %v", err)
	}
	return w
}

// collection is a collection from its beginning to its end. If full, it compares all files.
func (w *world) collection(ctx context.Context, full bool) error {
	o := registry.CollectOptions{Now: true, Full: full}
	if w.exact {
		o.Grace = week
	}
	for place := (registry.CollectPlace{}); place.Stage != registry.CollectDone; {
		one, err := w.Collect(ctx, place, o)
		if err == nil && one.Failed > 0 {
			err = fmt.Errorf("%d blobs could not be deleted", one.Failed)
		}
		if err != nil {
			return fmt.Errorf("collecting: %w", err)
		}
		place = one.Next
	}
	return nil
}

func (w *world) image(r meta.Repository, p picture) *knownImage {
	k := imageKey{r.ID, p.digest()}
	if w.known[k] == nil {
		w.known[k] = &knownImage{picture: p, repository: r}
	}
	return w.known[k]
}

// storing is to be called before an image is stored, and the returned function when that was acknowledged: it notes the image and pulls it.
func (w *world) storing(r meta.Repository, p picture) (acknowledged func() error) {
	im := w.image(r, p)
	before := im.deletions - im.deleting
	return func() error {
		im.cached = false
		if im.deletions > before {
			return nil // the deletion may have come after the push
		}
		for _, c := range p.children {
			w.image(r, c).live = true // or the index would have been refused
		}
		im.live, im.required = true, p.blobs
		return w.readable(im)
	}
}

// readable pulls an image, as another client would now.
func (w *world) readable(im *knownImage) error {
	ctx := context.Background()
	h, err := w.Head(ctx, im.repository, name.Reference{Digest: im.digest()})
	if err != nil {
		return fmt.Errorf("reading image %s of %s: %w", im.digest(), im.repository.Name, err)
	}
	if body, err := w.Pull(ctx, alice, im.repository, h); err != nil || !bytes.Equal(body, im.manifest()) {
		return fmt.Errorf("reading the manifest %s of %s: got %d bytes, %w", im.digest(), im.repository.Name, len(body), err)
	}
	for _, content := range im.required {
		if err := w.contains(im.repository, content); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) contains(r meta.Repository, content string) error {
	f, _, err := w.OpenBlob(context.Background(), r, digest(content))
	if err != nil {
		return fmt.Errorf("opening %q in %s: %w", content, r.Name, err)
	}
	got, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err == nil && string(got) != content {
		err = fmt.Errorf("got %q", got)
	}
	if err != nil {
		return fmt.Errorf("reading %q in %s: %w", content, r.Name, err)
	}
	return nil
}

// check reads everything that was acknowledged.
func (w *world) check() {
	w.t.Helper()
	for _, im := range w.known {
		if !im.live {
			continue
		}
		if err := w.readable(im); err != nil {
			w.t.Errorf("acknowledged, and then: %v", err)
		}
	}
}

// settle collects as often as everything needs that can be collected, without a comparison of all files, and compares the files with what
// the repositories have.
func (w *world) settle() {
	w.t.Helper()
	ctx := context.Background()
	for range 3 {
		if err := w.collection(ctx, false); err != nil {
			w.t.Errorf("a quiet collection: %v", err)
		}
		w.clock = w.clock.Add(week + time.Second)
	}
	w.check()
	may, must := map[string]bool{}, map[string]bool{}
	for _, im := range w.known {
		if _, err := w.Head(ctx, im.repository, name.Reference{Digest: im.digest()}); err != nil {
			continue // check has read those that must be there
		}
		if _, err := w.Repository(ctx, im.repository.Registry, im.repository.Name); err != nil {
			continue
		}
		for _, content := range im.blobs {
			may[digest(content).String()] = true
			must[digest(content).String()] = must[digest(content).String()] || !im.cached
		}
		for _, content := range im.required {
			must[digest(content).String()] = true
		}
	}
	files := map[string]bool{}
	for info, err := range w.blobs.List(ctx, name.Digest{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		files[info.Digest.String()] = true
	}
	rows, err := w.store.RecordedBlobs(ctx, "", "z", 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	recorded := map[string]bool{}
	for _, d := range rows {
		recorded[d] = true
	}
	for d := range files {
		if !may[d] {
			w.t.Errorf("after a quiet collection the file of %s is left, to which nothing refers", w.named(d))
		}
	}
	for d, needed := range must {
		if needed && !files[d] {
			w.t.Errorf("after a quiet collection the file of %s is missing", w.named(d))
		}
	}
	if !maps.Equal(files, recorded) {
		w.t.Errorf("after a quiet collection the files are %q and the records %q", slices.Sorted(maps.Keys(files)), rows)
	}
}

// named returns the content of a digest, if an image of the world has it.
func (w *world) named(d string) string {
	for _, im := range w.known {
		for _, content := range im.blobs {
			if digest(content).String() == d {
				return fmt.Sprintf("%q", content)
			}
		}
	}
	return d
}

// end deletes everything and checks that nothing is left.
func (w *world) end() {
	w.t.Helper()
	w.settle()
	ctx := context.Background()
	for _, r := range []meta.Repository{w.app, w.source, w.gone} {
		if err := w.removeRepository(ctx, r); err != nil && !errors.Is(err, fault.RepositoryNotFound) {
			w.t.Errorf("deleting %s: %v", r.Name, err)
		}
	}
	w.settle()
	entries, err := os.ReadDir(filepath.Join(w.dir, "blobs", "uploads"))
	if err != nil || len(entries) > 0 {
		w.t.Errorf("at the end: got %d files of uploads, %v, want none", len(entries), err)
	}
	if n, err := w.CountUploads(ctx); err != nil || n > 0 {
		w.t.Errorf("at the end: got %d uploads, %v, want none", n, err)
	}
	if rows, err := w.store.Manifests(ctx, "", 10); err != nil || len(rows) > 0 {
		w.t.Errorf("at the end: got %d manifests, %v, want none", len(rows), err)
	}
	_, images, err1 := w.store.CollectImage(ctx, w.clock)
	_, repositories, err2 := w.store.CollectRepositories(ctx, w.clock)
	_, holdings, err3 := w.store.CollectHoldings(ctx, w.clock, w.clock)
	bytes, err4 := w.store.BlobCandidates(ctx, "", 10)
	if err := errors.Join(err1, err2, err3, err4); err != nil || images || repositories || holdings || len(bytes) > 0 {
		w.t.Errorf("at the end: got candidates that are images %t, repositories %t, blobs of repositories %t, blobs %v, %v, want none",
			images, repositories, holdings, bytes, err)
	}
}
