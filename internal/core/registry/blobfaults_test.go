package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/faultblob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// blobFaults lets calls of a blob store fail.
type blobFaults struct {
	mu    sync.Mutex
	only  faultblob.Op // "" for every operation
	until int          // calls until one fails; 0 for none
	fault faultblob.Fault
	hit   faultblob.Op // the operation that has failed; "" for none
}

func (b *blobFaults) next(op faultblob.Op) faultblob.Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until == 0 || b.only != "" && op != b.only {
		return faultblob.None
	}
	if b.until--; b.until > 0 {
		return faultblob.None
	}
	b.hit = op
	return b.fault
}

// arm lets the n-th call of an operation from now fail; only "" counts all operations, n 0 lets none fail.
func (b *blobFaults) arm(only faultblob.Op, n int, f faultblob.Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.only, b.until, b.fault, b.hit = only, n, f, ""
}

func (b *blobFaults) disarm() faultblob.Op {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = 0
	return b.hit
}

func newBlobFaults(t *testing.T) (fixture, *blobFaults) {
	t.Helper()
	faults := &blobFaults{}
	return newFixture(t, func(b blob.Store) blob.Store { return faultblob.New(b, faults.next) }, registry.Quirks{}), faults
}

// Whatever call of the blob store fails, the operation fails. If the call had no effect, the operation succeeds when it is
// tried again: nothing stays locked.
func TestNoOperationSucceedsWhenTheBlobStoreFails(t *testing.T) {
	t.Parallel()
	for what, prepare := range sweptOperations {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, faults := newBlobFaults(t)
			i := 0
			for _, f := range []faultblob.Fault{faultblob.Before, faultblob.After} {
				for n := 1; ; n++ {
					i++
					do := prepare(t, c.in(t, "app", i), i)
					faults.arm("", n, f)
					err := do(context.Background())
					hit := faults.disarm()
					if hit == "" {
						c.must(t, err)
						break
					}
					if what == "Put" && hit == faultblob.Open && err == nil {
						continue // the labels of the config are read later
					}
					if !errors.Is(err, faultblob.ErrInjected) {
						t.Errorf("%s failed (call %d, fault %d): got %v, want the injected fault", hit, n, f, err)
					}
					if f == faultblob.Before {
						if err := do(context.Background()); err != nil {
							t.Errorf("again after %s failed: %v", hit, err)
						}
					}
				}
			}
		})
	}
}

func TestNoReadSucceedsWhenTheBlobStoreFails(t *testing.T) {
	t.Parallel()
	for what, read := range map[string]func(c fixture) error{
		"OpenBlob": func(c fixture) error {
			f, _, err := c.OpenBlob(context.Background(), c.repo, digest("bytes"))
			if err == nil {
				err = f.Close()
			}
			return err
		},
		"SoundBlob": func(c fixture) error {
			_, err := c.SoundBlob(context.Background(), c.repo, digest("bytes"))
			return err
		},
		"Verify": func(c fixture) error { // two calls of Open, one of List, one of Stat
			_, err := c.Verify(context.Background(), registry.VerifyPlace{}, 0)
			return err
		},
		"Collect": func(c fixture) error { // List; what else fails is counted
			_, err := c.Collect(context.Background(), registry.CollectPlace{Stage: registry.CollectUnrecorded}, registry.CollectOptions{Full: true})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, faults := newBlobFaults(t)
			c.put(t, "bytes")
			c.put(t, "other bytes")
			c.must(t, c.blobs.Delete(t.Context(), c.put(t, "lost")))
			for n := 1; ; n++ {
				faults.arm("", n, faultblob.Before)
				err := read(c)
				hit := faults.disarm()
				if hit == "" {
					c.must(t, err)
					if n == 1 {
						t.Error("the blob store is not called")
					}
					break
				}
				if !errors.Is(err, faultblob.ErrInjected) {
					t.Errorf("%s failed (call %d): got %v, want the injected fault", hit, n, err)
				}
			}
		})
	}
}

// A damaged blob that cannot be moved away is not served, and the reader of the damage learns that it was not moved.
func TestDamageThatCannotBeMovedIsAnError(t *testing.T) {
	t.Parallel()
	c, faults := newBlobFaults(t)
	d := c.put(t, "bytes")
	c.must(t, writeFile(c.file(t, d), "byte"))
	faults.arm(faultblob.Quarantine, 1, faultblob.Before)
	if _, _, err := c.OpenBlob(t.Context(), c.repo, d); !errors.Is(err, registry.ErrBytesLost) || !errors.Is(err, faultblob.ErrInjected) {
		t.Errorf("opening: got %v, want ErrBytesLost and the injected fault", err)
	}
	faults.arm(faultblob.Quarantine, 1, faultblob.Before)
	out, err := c.Verify(t.Context(), registry.VerifyPlace{}, 0)
	if !errors.Is(err, faultblob.ErrInjected) || len(out.Damages) != 1 || out.Damages[0].Quarantined {
		t.Errorf("verifying: got %+v, %v, want one damage that is not quarantined and the injected fault", out.Damages, err)
	}
	if got := c.DamagedBlobs(); got != 0 {
		t.Errorf("got %d blobs moved away, want none", got)
	}
}

// A blob whose bytes cannot be looked at or deleted does not keep a collection from the others, is counted, and goes with
// the next collection.
func TestCollectionGoesOnAfterABlobThatCannotBeDeleted(t *testing.T) {
	t.Parallel()
	for _, op := range []faultblob.Op{faultblob.Stat, faultblob.Delete} {
		c, faults := newBlobFaults(t)
		for i := range 3 {
			c.put(t, fmt.Sprint("unused", i))
		}
		faults.arm(op, 2, faultblob.Before)
		c.wantCollected(t, registry.CollectOptions{}, registry.Collection{Blobs: 2, Bytes: 14, Failed: 1})
		faults.disarm()
		if got := c.stored(t); got != 1 {
			t.Errorf("%s failed: %d blobs are stored, want 1", op, got)
		}
		c.wantCollected(t, registry.CollectOptions{}, registry.Collection{Blobs: 1, Bytes: 7})
		if got := c.CollectedBytes(); got != 21 {
			t.Errorf("%s failed: got %d bytes collected, want 21", op, got)
		}
	}
	c, faults := newBlobFaults(t)
	c.must(t, c.DeleteBlob(t.Context(), c.repo, c.put(t, "unused")))
	faults.arm(faultblob.Stat, 1, faultblob.Before)
	c.wantCollected(t, registry.CollectOptions{Dry: true}, registry.Collection{Failed: 1})
}

// A candidate without bytes, or with something that is no file, is settled and counts as nothing.
func TestCollectionOfABlobWithoutBytes(t *testing.T) {
	t.Parallel()
	for _, o := range []registry.CollectOptions{{Dry: true}, {}, {}} {
		c := newFixture(t, nil, registry.Quirks{})
		d := c.put(t, "unused")
		c.must(t, c.DeleteBlob(t.Context(), c.repo, d))
		c.must(t, c.blobs.Delete(t.Context(), d))
		c.wantCollected(t, o, registry.Collection{})
		left, err := c.store.BlobCandidates(t.Context(), "", 10)
		if want := map[bool]int{true: 1, false: 0}[o.Dry]; err != nil || len(left) != want {
			t.Errorf("%+v: got the candidates %v, %v, want %d", o, left, err, want)
		}
	}
}

// What has begun as a push and failed leaves no bytes of an upload, even if the client has disconnected.
func TestAFailedPushLeavesNoUpload(t *testing.T) {
	t.Parallel()
	c, faults := newBlobFaults(t)
	ctx, cancel := context.WithCancel(t.Context())
	for what, push := range map[string]func() error{
		"another digest": func() error {
			_, err := c.PutBlob(t.Context(), c.repo, text("bytes"), digest("other"))
			return err
		},
		"a short body": func() error {
			chunk := registry.Chunk{Body: strings.NewReader("byte"), At: registry.AnyOffset, Length: 5}
			_, err := c.PutBlob(t.Context(), c.repo, chunk, digest("bytes"))
			return err
		},
		"a client that disconnects": func() error {
			body := io.MultiReader(strings.NewReader("by"), &disconnecting{cancel})
			_, err := c.PutBlob(ctx, c.repo, registry.Chunk{Body: body, At: registry.AnyOffset, Length: 5}, digest("bytes"))
			return err
		},
		"a broken store": func() error {
			faults.arm(faultblob.Commit, 1, faultblob.Before)
			defer faults.disarm()
			_, err := c.PutBlob(t.Context(), c.repo, text("bytes"), digest("bytes"))
			return err
		},
	} {
		if err := push(); err == nil {
			t.Errorf("%s: got no error", what)
		}
		for id, err := range c.blobs.Stale(t.Context(), time.Now().Add(time.Hour)) {
			t.Errorf("%s: the bytes of the upload %s are left (%v)", what, id, err)
		}
	}
	cancel()
}

// disconnecting is the rest of a body whose client goes away.
type disconnecting struct{ cancel func() }

func (d *disconnecting) Read([]byte) (int, error) {
	d.cancel()
	return 0, io.ErrUnexpectedEOF
}

// A body that ends early, in whatever way, is reported with its sizes.
func TestShortBodiesAreReportedWithTheirSize(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	for what, body := range map[string]io.Reader{
		"end": strings.NewReader("byte"), "unexpected end": io.MultiReader(strings.NewReader("byte"), &disconnecting{func() {}}),
	} {
		_, err := c.PutBlob(t.Context(), c.repo, registry.Chunk{Body: body, At: registry.AnyOffset, Length: 6}, digest("bytes!"))
		if !errors.Is(err, fault.SizeInvalid) || !strings.Contains(err.Error(), "the body ended after 4 of 6 bytes") {
			t.Errorf("%s: got %v, want SizeInvalid after 4 of 6 bytes", what, err)
		}
	}
}

// vanishing is a blob store in which a blob vanishes as it is opened or listed.
type vanishing struct {
	blob.Store
	before func(d name.Digest) // called before the blob is opened
	broken bool                // the reader cannot be read
	rigid  bool                // the reader cannot be placed
	kept   bool                // the blob has been stored again when it is quarantined
}

func (v *vanishing) Open(ctx context.Context, d name.Digest) (io.ReadSeekCloser, blob.Info, error) {
	if v.before != nil {
		v.before(d)
	}
	f, info, err := v.Store.Open(ctx, d)
	if err == nil && v.broken {
		f.Close()
		return unreadable{bytes.NewReader(nil)}, info, nil
	}
	if err == nil && v.rigid {
		return rigid{f}, info, nil
	}
	return f, info, err
}

func (v *vanishing) Quarantine(ctx context.Context, was blob.Info) (bool, error) {
	if v.kept {
		return false, nil
	}
	return v.Store.Quarantine(ctx, was)
}

type unreadable struct{ *bytes.Reader }

func (unreadable) Read([]byte) (int, error) { return 0, errBroken }
func (unreadable) Close() error             { return nil }

type rigid struct{ io.ReadSeekCloser }

func (rigid) Seek(int64, int) (int64, error) { return 0, errBroken }

func newVanishing(t *testing.T) (fixture, *vanishing) {
	t.Helper()
	v := &vanishing{}
	return newFixture(t, func(b blob.Store) blob.Store { v.Store = b; return v }, registry.Quirks{}), v
}

// A blob that is collected between the look at its record and the opening of its bytes is unknown, and not damaged.
func TestABlobThatIsCollectedMeanwhileIsNotDamaged(t *testing.T) {
	t.Parallel()
	c, v := newVanishing(t)
	d := c.put(t, "bytes")
	v.before = func(d name.Digest) {
		v.before = nil
		c.must(t, errors.Join(c.DeleteBlob(t.Context(), c.repo, d), v.Delete(t.Context(), d)))
	}
	if _, _, err := c.OpenBlob(t.Context(), c.repo, d); !errors.Is(err, fault.BlobNotFound) || errors.Is(err, registry.ErrBytesLost) {
		t.Errorf("opening: got %v, want BlobNotFound", err)
	}
	c.put(t, "bytes")
	v.before = func(d name.Digest) {
		v.before = nil
		c.must(t, errors.Join(c.DeleteBlob(t.Context(), c.repo, d), v.Delete(t.Context(), d)))
	}
	if out, err := c.Verify(t.Context(), registry.VerifyPlace{}, 0); err != nil || len(out.Damages) != 0 {
		t.Errorf("verifying: got %+v, %v, want no damage", out.Damages, err)
	}
}

// Bytes that cannot be read are damage. A blob that was stored again since its damaged bytes were read is none.
func TestUnreadableBytesAreDamage(t *testing.T) {
	t.Parallel()
	c, v := newVanishing(t)
	d := c.put(t, "bytes")
	v.broken = true
	out, err := c.Verify(t.Context(), registry.VerifyPlace{}, 0)
	if err != nil || len(out.Damages) != 1 || out.Damages[0].Digest != d.String() || !out.Damages[0].Quarantined ||
		out.Damages[0].Reason != "its bytes cannot be read: broken" || out.Blobs != 1 {
		t.Errorf("unreadable: got %+v, %v, want the damage of %s", out, err, d)
	}
	v.broken, v.kept = false, true
	c.put(t, "bytes")
	c.must(t, writeFile(c.file(t, d), "other"))
	if out, err := c.Verify(t.Context(), registry.VerifyPlace{}, 0); err != nil || len(out.Damages) != 0 || c.DamagedBlobs() != 1 {
		t.Errorf("stored again: got %+v, %v, want no damage", out.Damages, err)
	}
}

// A call that cannot go on at its place fails: what is read from another place would be damage.
func TestAVerificationThatCannotGoOnFails(t *testing.T) {
	t.Parallel()
	c, v := newVanishing(t)
	c.put(t, strings.Repeat("0123456789", 100_000))
	c.StopVerifySoon()
	first, err := c.Verify(t.Context(), registry.VerifyPlace{}, 0)
	if err != nil || first.Next.Offset == 0 {
		t.Fatalf("the first call: got %+v, %v, want a place within the blob", first, err)
	}
	v.rigid = true
	if out, err := c.Verify(t.Context(), first.Next, 0); !errors.Is(err, errBroken) || len(out.Damages) != 0 {
		t.Errorf("the second call: got %+v, %v, want the error and no damage", out, err)
	}
}

// A call whose time has ended verifies no further blob, not even an empty one.
func TestAVerificationEndsBetweenEmptyBlobs(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	for _, d := range []name.Digest{digest(""), sha512Of("")} {
		if _, err := c.PutBlob(t.Context(), c.repo, text(""), d); err != nil {
			t.Fatal(err)
		}
	}
	c.StopVerifySoon()
	out, err := c.Verify(t.Context(), registry.VerifyPlace{}, 0)
	if err != nil || out.Blobs != 1 || out.Next.Stage != registry.VerifyBlobs || out.Next.After != digest("").String() {
		t.Errorf("the first call: got %+v, %v, want one blob", out, err)
	}
	if out, err = c.Verify(t.Context(), out.Next, 0); err != nil || out.Blobs != 1 || out.Next.Stage != registry.VerifyManifests {
		t.Errorf("the second call: got %+v, %v, want the other blob and the end of the blobs", out, err)
	}
}

// counting is a blob store that counts the readers that are open, and calls deleting before each Delete.
type counting struct {
	blob.Store
	open     atomic.Int32
	deleting func()
}

func (o *counting) Open(ctx context.Context, d name.Digest) (io.ReadSeekCloser, blob.Info, error) {
	f, info, err := o.Store.Open(ctx, d)
	if err == nil {
		o.open.Add(1)
		f = &counted{f, o}
	}
	return f, info, err
}

func (o *counting) Delete(ctx context.Context, d name.Digest) error {
	if o.deleting != nil {
		o.deleting()
	}
	return o.Store.Delete(ctx, d)
}

type counted struct {
	io.ReadSeekCloser
	of *counting
}

func (c *counted) Close() error {
	c.of.open.Add(-1)
	return c.ReadSeekCloser.Close()
}

// A verification closes each blob that it has read, and the opening of a damaged one that one.
func TestNoBlobStaysOpen(t *testing.T) {
	t.Parallel()
	var o counting
	c := newFixture(t, func(b blob.Store) blob.Store { o.Store = b; return &o }, registry.Quirks{})
	d := c.put(t, "bytes")
	c.put(t, "others")
	if _, err := c.Verify(t.Context(), registry.VerifyPlace{}, 0); err != nil {
		t.Error(err)
	}
	if got := o.open.Load(); got != 0 {
		t.Errorf("after a verification: %d blobs are open", got)
	}
	c.must(t, writeFile(c.file(t, d), "byte"))
	if _, _, err := c.OpenBlob(t.Context(), c.repo, d); !errors.Is(err, registry.ErrBytesLost) {
		t.Errorf("opening a short one: got %v, want ErrBytesLost", err)
	}
	if got := o.open.Load(); got != 0 {
		t.Errorf("after the opening of a short one: %d blobs are open", got)
	}
}

// A collection waits for another one, as long as its caller does.
func TestCollectionsWaitForEachOther(t *testing.T) {
	t.Parallel()
	var o counting
	c := newFixture(t, func(b blob.Store) blob.Store { o.Store = b; return &o }, registry.Quirks{})
	c.must(t, c.DeleteBlob(t.Context(), c.repo, c.put(t, "unused")))
	calls := 0
	o.deleting = func() {
		calls++
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := c.Collect(ctx, registry.CollectPlace{}, registry.CollectOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second collection: got %v, want DeadlineExceeded", err)
		}
	}
	c.wantCollected(t, registry.CollectOptions{}, registry.Collection{Blobs: 1, Bytes: 6})
	if calls != 1 {
		t.Errorf("%d blobs were deleted, want 1", calls)
	}
}
