package registry_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const week = 7 * 24 * time.Hour

// manifestOf returns the manifest of an image of two blobs with these contents.
func manifestOf(config, layer string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%d}]}`,
		digest(config), len(config), digest(layer), len(layer))
}

func tagged(text string) name.Tag {
	t, err := name.ParseTag(text)
	if err != nil {
		panic(err)
	}
	return t
}

// blob pushes a blob as a client does.
func (c fixture) blob(content string) error {
	_, err := c.PutBlob(context.Background(), c.repo, text(content), digest(content))
	return err
}

// layered pushes the blobs of an image, and the image with the tag.
func (c fixture) layered(t *testing.T, config, layer, tag string) name.Digest {
	t.Helper()
	if err := errors.Join(c.blob(config), c.blob(layer)); err != nil {
		t.Fatal(err)
	}
	return c.manifest(t, config, layer, tag)
}

func (c fixture) manifest(t *testing.T, config, layer, tag string) name.Digest {
	t.Helper()
	d, _, err := c.Put(t.Context(), alice, c.repo, registry.PutImage{Body: manifestOf(config, layer), Tags: []name.Tag{tagged(tag)}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (c fixture) remove(t *testing.T, tag string) {
	t.Helper()
	d, err := c.DeletionOf(t.Context(), c.repo, name.Reference{Tag: tagged(tag)}, registry.LastTagDeletesImage)
	if err == nil {
		_, err = c.Delete(t.Context(), alice, c.repo, d)
	}
	if err != nil {
		t.Fatalf("deleting %s: %v", tag, err)
	}
}

// collect runs a whole collection.
func (c fixture) collect(t *testing.T, o registry.CollectOptions) (all registry.Collection) {
	t.Helper()
	o.Now = true // the tests of what is held back call Collect
	for calls := 0; all.Next.Stage != registry.CollectDone; calls++ {
		one, err := c.Collect(t.Context(), all.Next, o)
		if err != nil {
			t.Fatalf("collecting: %v", err)
		}
		all.Repositories, all.Images, all.Blobs = all.Repositories+one.Repositories, all.Images+one.Images, all.Blobs+one.Blobs
		all.Bytes, all.Next, all.Pinned, all.Failed = all.Bytes+one.Bytes, one.Next, all.Pinned || one.Pinned, all.Failed+one.Failed
		if calls > 1000 {
			t.Fatalf("the collection does not end: %+v", all)
		}
	}
	all.Next = registry.CollectPlace{}
	return all
}

func (c fixture) wantCollected(t *testing.T, o registry.CollectOptions, want registry.Collection) {
	t.Helper()
	if got := c.collect(t, o); got != want {
		t.Errorf("a collection with %+v: got %+v, want %+v", o, got, want)
	}
}

// stored returns how many blobs the store has.
func (c fixture) stored(t *testing.T) (n int) {
	t.Helper()
	for _, err := range c.blobs.List(t.Context(), name.Digest{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// What nothing refers to is kept for the grace period, then for a push window, and then its bytes go. A dry run says so before.
func TestCollectFreesBytes(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.StopCollectSoon() // each call does one step
	old := c.layered(t, "config 1", "old", "v1")
	c.layered(t, "config 2", "new", "v2")
	if err := c.blob("unused"); err != nil {
		t.Fatal(err)
	}
	c.remove(t, "v1")
	after := registry.CollectOptions{Grace: week}
	dry := registry.CollectOptions{Grace: week, Dry: true}
	c.wantCollected(t, after, registry.Collection{})
	c.wantCollected(t, dry, registry.Collection{})
	c.wantCollected(t, registry.CollectOptions{Dry: true}, registry.Collection{Images: 1, Blobs: 3, Bytes: 17})
	*c.clock = c.clock.Add(week)
	freed := registry.Collection{Images: 1, Blobs: 3, Bytes: 17} // config 1, old, unused
	c.wantCollected(t, dry, freed)
	c.wantCollected(t, after, registry.Collection{Images: 1})
	for _, content := range []string{"old", "unused"} {
		if _, err := c.Blob(t.Context(), c.repo, digest(content)); !errors.Is(err, fault.BlobNotFound) {
			t.Errorf("the condemned blob %q: got %v, want BlobNotFound", content, err)
		}
	}
	if got := c.stored(t); got != 5 {
		t.Errorf("within the push window: %d blobs are stored, want 5", got)
	}
	*c.clock = c.clock.Add(24 * time.Hour)
	c.wantCollected(t, after, registry.Collection{Blobs: 3, Bytes: 17})
	c.wantCollected(t, after, registry.Collection{})
	if got := c.stored(t); got != 2 || c.CollectedBytes() != 17 {
		t.Errorf("%d blobs are stored and %d bytes were collected, want 2 and 17", got, c.CollectedBytes())
	}
	if got := c.content(t, digest("new")); got != "new" {
		t.Errorf("the blob of the other image: got %q", got)
	}
	if _, err := c.Head(t.Context(), c.repo, name.Reference{Digest: old}); !errors.Is(err, fault.ImageNotFound) {
		t.Errorf("the collected image: got %v, want ImageNotFound", err)
	}
	c.layered(t, "config 1", "old", "v1") // everything can be pushed again
	if got := c.content(t, digest("old")); got != "old" {
		t.Errorf("after another push: got %q", got)
	}
}

// A client that found a blob before it was condemned pushes its image within the push window.
func TestCollectKeepsBlobsOfARunningPush(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	if err := errors.Join(c.blob("config"), c.blob("layer")); err != nil {
		t.Fatal(err)
	}
	*c.clock = c.clock.Add(week)
	c.collect(t, registry.CollectOptions{Grace: week})
	*c.clock = c.clock.Add(24*time.Hour - time.Microsecond)
	c.collect(t, registry.CollectOptions{Grace: week})
	c.manifest(t, "config", "layer", "v1")
	*c.clock = c.clock.Add(2 * week)
	c.collect(t, registry.CollectOptions{Grace: week})
	if got := c.content(t, digest("layer")); got != "layer" {
		t.Errorf("the layer of the pushed image: got %q", got)
	}
}

// Collections without any grace beside pushes, deletions and pulls of the same image: whatever a push acknowledged is there.
func TestPushDuringCollection(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	stop := make(chan struct{})
	var collections, pushes, refused atomic.Int64
	var collector, clients sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			c.collect(t, registry.CollectOptions{})
			collections.Add(1)
		}
	})
	for i := range 4 {
		clients.Go(func() {
			config, tag := fmt.Sprint("config ", i), fmt.Sprint("v", i)
			for range 60 {
				if err := errors.Join(c.blob(config), c.blob("shared layer")); err != nil {
					t.Errorf("pushing blobs: %v", err)
					return
				}
				_, _, err := c.Put(t.Context(), alice, c.repo, registry.PutImage{Body: manifestOf(config, "shared layer"),
					Tags: []name.Tag{tagged(tag)}})
				if errors.Is(err, fault.LayersNotFound) { // collected between the two pushes: there is no grace
					refused.Add(1)
					continue
				}
				if err != nil {
					t.Errorf("pushing the image: %v", err)
					return
				}
				pushes.Add(1)
				for _, content := range []string{config, "shared layer"} {
					if got := c.content(t, digest(content)); got != content {
						t.Errorf("after an acknowledged push: got %q, want %q", got, content)
					}
				}
				c.remove(t, tag)
			}
		})
	}
	clients.Wait()
	close(stop)
	collector.Wait()
	t.Logf("%d pushes, %d refused, %d collections", pushes.Load(), refused.Load(), collections.Load())
	if pushes.Load() == 0 || collections.Load() < 2 {
		t.Errorf("got %d pushes and %d collections, want some of both", pushes.Load(), collections.Load())
	}
	c.collect(t, registry.CollectOptions{})
	c.collect(t, registry.CollectOptions{})
	if got := c.stored(t); got != 0 {
		t.Errorf("at the end %d blobs are stored, want none", got)
	}
}

// While a push has stored the bytes of a blob that nothing holds, and has not recorded them, a collection leaves them.
func TestCollectLeavesWhatIsBeingPushed(t *testing.T) {
	t.Parallel()
	var entered, goOn chan struct{}
	slow := &slowCommit{enter: func() {
		if entered != nil {
			close(entered)
			<-goOn
			entered = nil
		}
	}}
	c := newFixture(t, func(b blob.Store) blob.Store { slow.Store = b; return slow }, registry.Quirks{})
	if err := c.blob("layer"); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteBlob(t.Context(), c.repo, digest("layer")); err != nil { // its bytes are a candidate
		t.Fatal(err)
	}
	entered, goOn = make(chan struct{}), make(chan struct{})
	pushed := make(chan error, 1)
	begun := entered
	go func() { pushed <- c.blob("layer") }()
	<-begun
	c.wantCollected(t, registry.CollectOptions{}, registry.Collection{})
	close(goOn)
	if err := <-pushed; err != nil {
		t.Fatal(err)
	}
	if got := c.content(t, digest("layer")); got != "layer" {
		t.Errorf("the blob: got %q", got)
	}
}

// slowCommit calls enter after each Commit.
type slowCommit struct {
	blob.Store
	enter func()
}

func (s *slowCommit) Commit(ctx context.Context, u blob.Upload, last io.Reader, limit int64, want name.Digest) (blob.Info, error) {
	info, err := s.Store.Commit(ctx, u, last, limit, want)
	s.enter()
	return info, err
}

// A blob that a crash left without a record is found by a full collection alone.
func TestFullCollectionFindsUnrecordedBlobs(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.layered(t, "config", "layer", "v1")
	for i := range 3 {
		content := fmt.Sprint("unrecorded ", i)
		u, err := c.blobs.Begin(t.Context(), name.SHA256)
		if err == nil {
			_, err = c.blobs.Commit(t.Context(), u, text(content).Body, -1, digest(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	freed := registry.Collection{Blobs: 3, Bytes: 36}
	c.wantCollected(t, registry.CollectOptions{Grace: week, Full: true}, registry.Collection{}) // perhaps a newer database names them
	*c.clock = time.Now().Add(week + time.Hour)
	c.wantCollected(t, registry.CollectOptions{Grace: week}, registry.Collection{})
	c.wantCollected(t, registry.CollectOptions{Grace: week, Full: true, Dry: true}, freed)
	c.wantCollected(t, registry.CollectOptions{Grace: week, Full: true}, freed)
	if got := c.stored(t); got != 2 {
		t.Errorf("%d blobs are stored, want 2", got)
	}
}

// While the blobs are being copied, none is deleted; the next collection deletes them.
func TestCollectDuringBackup(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	if err := c.blob("layer"); err != nil {
		t.Fatal(err)
	}
	release, err := fsblob.Pin(t.Context(), filepath.Join(c.dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	c.wantCollected(t, registry.CollectOptions{}, registry.Collection{Pinned: true})
	if got := c.stored(t); got != 1 {
		t.Errorf("during the copy: %d blobs are stored, want 1", got)
	}
	release()
	c.wantCollected(t, registry.CollectOptions{}, registry.Collection{Blobs: 1, Bytes: 5})
}

// A second push of a blob that no image uses gives it its grace period again.
func TestSecondPushHasGrace(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	for range 3 {
		if err := c.blob("layer"); err != nil {
			t.Fatal(err)
		}
		*c.clock = c.clock.Add(week - time.Second)
		c.collect(t, registry.CollectOptions{Grace: week})
	}
	if got := c.content(t, digest("layer")); got != "layer" {
		t.Errorf("a blob that was pushed again each week: got %q", got)
	}
}

// After a day without a collection, such as a stop or the restoration of a backup, nothing that can be restored is removed for a day.
func TestRestorableAfterALongStop(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.layered(t, "config", "layer", "v1")
	c.remove(t, "v1")
	hourly := func() registry.Collection {
		t.Helper()
		var all registry.Collection
		for all.Next.Stage != registry.CollectDone {
			one, err := c.Collect(t.Context(), all.Next, registry.CollectOptions{Grace: week, Full: true})
			if err != nil {
				t.Fatal(err)
			}
			all.Images, all.Blobs, all.Next, all.HeldUntil = all.Images+one.Images, all.Blobs+one.Blobs, one.Next, one.HeldUntil
		}
		return all
	}
	hourly()
	*c.clock = c.clock.Add(2 * week)
	started := *c.clock
	for *c.clock = started; c.clock.Before(started.Add(24 * time.Hour)); *c.clock = c.clock.Add(time.Hour) {
		if got := hourly(); got.Images > 0 || got.Blobs > 0 || !got.HeldUntil.Equal(started.Add(24*time.Hour)) {
			t.Fatalf("%s after the start: got %+v, want all held back for a day", c.clock.Sub(started), got)
		}
	}
	if got := hourly(); got.Images != 1 || !got.HeldUntil.IsZero() {
		t.Errorf("a day after the start: got %+v, want one image removed", got)
	}
	// A clock that was years ahead for a moment holds nothing back for years.
	c.layered(t, "config 2", "layer 2", "v2")
	c.remove(t, "v2")
	*c.clock = c.clock.Add(10 * 365 * 24 * time.Hour)
	hourly()
	*c.clock = started.Add(30 * time.Hour)
	if got := hourly(); !got.HeldUntil.IsZero() {
		t.Errorf("after the clock was set back: got %+v, want nothing held back", got)
	}
}

// A collection comes to an end while others create and delete, and so frees the bytes of all.
func TestCollectionEndsWhileOthersDelete(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.StopCollectSoon()
	var place registry.CollectPlace
	for calls := 0; place.Stage != registry.CollectDone; calls++ {
		if calls > 100 {
			t.Fatalf("the collection does not end: %+v", place)
		}
		for i := range 3 {
			*c.clock = c.clock.Add(time.Millisecond)
			c.layered(t, fmt.Sprint("config ", calls, i), "layer", "v")
			c.remove(t, "v")
		}
		one, err := c.Collect(t.Context(), place, registry.CollectOptions{Now: true})
		if err != nil {
			t.Fatal(err)
		}
		place = one.Next
	}
}

// A layer of a non-distributable type with a URL that was pushed is kept as long as its image.
func TestPushedExternalLayerStays(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	if err := errors.Join(c.blob("config"), c.blob("base")); err != nil {
		t.Fatal(err)
	}
	body := strings.NewReplacer("LAYER", digest("base").String(), "CONFIG", digest("config").String()).Replace(
		`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"CONFIG","size":6},"layers":[{"mediaType":` +
			`"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"LAYER","size":4,"urls":["https://example.com/base"]}]}`)
	if _, _, err := c.Put(t.Context(), alice, c.repo, registry.PutImage{Body: []byte(body), MediaType: manifest.OCIManifest,
		Tags: []name.Tag{tagged("v1")}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		*c.clock = c.clock.Add(week)
		c.collect(t, registry.CollectOptions{Grace: week})
	}
	if got := c.content(t, digest("base")); got != "base" {
		t.Errorf("the pushed layer: got %q", got)
	}
}

// What a program without collections has stored lacks references to such layers, and candidates. The first collection adds both before
// it removes anything.
func TestFirstCollectionCompletesReferences(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	if err := errors.Join(c.blob("config"), c.blob("base"), c.blob("unused")); err != nil {
		t.Fatal(err)
	}
	body := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":6},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"%s","size":4,"urls":["https://example.com/b"]}]}`,
		digest("config"), digest("base"))
	if _, _, err := c.Put(t.Context(), alice, c.repo, registry.PutImage{Body: body, MediaType: manifest.OCIManifest,
		Tags: []name.Tag{tagged("v1")}}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(c.dir, "ecrin.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		`DELETE FROM image_references WHERE target = '` + digest("base").String() + `'`, `DELETE FROM candidates`,
	} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		c.collect(t, registry.CollectOptions{Grace: week})
		*c.clock = c.clock.Add(week)
	}
	if got := c.content(t, digest("base")); got != "base" {
		t.Errorf("the layer: got %q", got)
	}
	if _, err := c.Blob(t.Context(), c.repo, digest("unused")); !errors.Is(err, fault.BlobNotFound) {
		t.Errorf("the unused blob: got %v, want it collected", err)
	}
}
