package registry_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

func writeFile(path, content string) error { return os.WriteFile(path, []byte(content), 0o600) }

// sql runs statements on the database of the fixture.
func (c fixture) sql(t *testing.T, texts ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(c.dir, "ecrin.db")+"?_pragma=busy_timeout(5000)")
	c.must(t, err)
	defer db.Close()
	for _, text := range texts {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// untilEnd runs a whole collection and returns the first error.
func (c fixture) untilEnd(o registry.CollectOptions) error {
	for next := (registry.CollectPlace{}); next.Stage != registry.CollectDone; {
		one, err := c.Collect(context.Background(), next, o)
		if err != nil {
			return err
		}
		next = one.Next
	}
	return nil
}

// Whatever statement fails, a collection does not say that it has ended, removes nothing that is used, and the next one
// removes what it has left. The statements of the preparation are among them.
func TestNoCollectionEndsWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for _, o := range []registry.CollectOptions{{Now: true, Full: true}, {Now: true, Full: true, Dry: true}} {
		t.Run(fmt.Sprintf("dry %t", o.Dry), func(t *testing.T) {
			t.Parallel()
			c := newFixture(t, nil, registry.Quirks{})
			*c.clock = time.Now().Add(time.Hour) // the store dates blobs by the clock of the system
			c.layered(t, "kept config", "kept", "kept")
			faults, i, step := faultmeta.In(c.dir), 0, slowtest.Rounds(10, 1)
			for f := range faultmeta.Faults {
				for n := 1 + (slowtest.Pick(t, step)+int(f))%step; ; n += step {
					i++
					one := c.in(t, "app", i)
					one.layered(t, fmt.Sprint("config ", i), fmt.Sprint("layer ", i), "v1")
					one.remove(t, "v1")
					deleted := c.in(t, "deleted", i)
					deleted.put(t, fmt.Sprint("of a deleted repository ", i))
					c.must(t, c.store.DeleteRepository(t.Context(), deleted.repo, true))
					c.upload(t, "abandoned")
					c.sql(t, `UPDATE collection SET prepared_at = 0`)
					*c.clock = c.clock.Add(8 * 24 * time.Hour)
					faults.Arm(n, f)
					err := c.untilEnd(o)
					failed, ran := faults.Disarm()
					if (err == nil) != (len(failed) == 0) {
						t.Errorf("the statements %q failed (%s): got %v", failed, f, err)
					}
					c.collect(t, registry.CollectOptions{Full: true})
					if got := c.stored(t); got != 2 {
						t.Errorf("the statements %q failed (%s): %d blobs are stored at last, want 2", failed, f, got)
					}
					if got := c.content(t, digest("kept")); got != "kept" {
						t.Fatalf("the statements %q failed (%s): the blob of an image: got %q", failed, f, got)
					}
					if len(failed) == 0 && ran < n {
						break
					}
				}
			}
			if i < slowtest.Rounds(6, 20) {
				t.Errorf("%d collections, want more: their statements do not fail", i)
			}
		})
	}
}

// Whatever statement fails, a verification fails.
func TestNoVerificationEndsWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.layered(t, "config", "layer", "v1")
	lost := c.put(t, "lost")
	c.must(t, c.blobs.Delete(t.Context(), lost))
	faults := faultmeta.In(c.dir)
	for f := range faultmeta.Faults {
		for n := 1; ; n++ {
			faults.Arm(n, f)
			var all registry.Verified
			var err error
			for err == nil && all.Next.Stage != registry.VerifyDone {
				var part registry.Verified
				part, err = c.Verify(context.Background(), all.Next, 0)
				all.Damages, all.Next = append(all.Damages, part.Damages...), part.Next
			}
			failed, ran := faults.Disarm()
			if (err == nil) != (len(failed) == 0) {
				t.Errorf("the statements %q failed (%s): got %v", failed, f, err)
			}
			if err == nil && (len(all.Damages) != 1 || all.Damages[0].Digest != lost.String()) {
				t.Errorf("got %+v, want the lost blob", all.Damages)
			}
			if len(failed) == 0 && ran < n {
				break
			}
		}
	}
}

// Bytes that were stored and could not be recorded are found by the next collection.
func TestBytesThatCouldNotBeRecordedAreCollected(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	faults := faultmeta.In(c.dir)
	faults.ArmAll("INTO repository_blobs", faultmeta.Before)
	if _, err := c.PutBlob(t.Context(), c.repo, text("bytes"), digest("bytes")); !errors.Is(err, faultmeta.ErrInjected) {
		t.Errorf("the push: got %v, want the injected fault", err)
	}
	faults.Disarm()
	if got := c.stored(t); got != 1 {
		t.Fatalf("%d blobs are stored, want the one without a record", got)
	}
	c.wantCollected(t, registry.CollectOptions{}, registry.Collection{Blobs: 1, Bytes: 5})
}

// Bytes for which not even a candidate could be stored, as while the database cannot be reached, are found by the next collection of the
// process. Until then a stop is not a clean one.
func TestBytesThatCouldNotBeNotedAreCollected(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	faults := faultmeta.In(c.dir)
	faults.ArmAll("INSERT INTO", faultmeta.Before)
	if _, err := c.PutBlob(t.Context(), c.repo, text("bytes"), digest("bytes")); !errors.Is(err, faultmeta.ErrInjected) {
		t.Errorf("the push: got %v, want the injected fault", err)
	}
	if err := c.untilEnd(registry.CollectOptions{Now: true}); !errors.Is(err, faultmeta.ErrInjected) {
		t.Errorf("a collection meanwhile: got %v, want the injected fault", err)
	}
	faults.Disarm()
	if !c.Unrecorded() {
		t.Error("before the collection: got Unrecorded false, want true")
	}
	c.wantCollected(t, registry.CollectOptions{}, registry.Collection{Blobs: 1, Bytes: 5})
	if c.Unrecorded() {
		t.Error("after the collection: got Unrecorded true, want false")
	}
}

// Manifests whose stored bytes do not have their digest are reported, each once, and the others are counted. A call reads more
// than one page of them.
func TestDamagedManifestsAreReported(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	const good = 40
	var d name.Digest
	for i := range good {
		d = c.layered(t, fmt.Sprint("config ", i), "layer", "v1")
	}
	c.sql(t, `UPDATE manifests SET body = 'no manifest' WHERE digest = '`+d.String()+`'`,
		`INSERT INTO manifests (digest, body) VALUES ('no digest', '{}')`)
	out, err := c.Verify(t.Context(), registry.VerifyPlace{Stage: registry.VerifyManifests}, 0)
	if err != nil || out.Next.Stage != registry.VerifyDone || out.Manifests != good+1 {
		t.Errorf("got %d manifests, then stage %d, %v, want %d and the end in one call", out.Manifests, out.Next.Stage, err, good+1)
	}
	want := map[string]string{d.String(): "its 11 bytes have the digest " + digest("no manifest").String(),
		"no digest": "its digest cannot be read"}
	for _, one := range out.Damages {
		if want[one.Digest] != one.Reason || !one.Manifest || one.Quarantined {
			t.Errorf("got the damage %+v, want %q", one, want[one.Digest])
		}
		delete(want, one.Digest)
	}
	if len(want) != 0 {
		t.Errorf("without a report: %v", want)
	}
}

// While a collection has a blob, a push of it waits, as long as its client does, and then stores it.
func TestAPushWaitsForTheCollectionOfItsBlob(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	d := digest("bytes")
	if !c.Seize(d) || c.Seize(d) {
		t.Fatal("a digest is taken by none or by two")
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.PutBlob(short, c.repo, text("bytes"), d); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a push by a client that waits 50 ms: got %v, want DeadlineExceeded", err)
	}
	c.put(t, "others") // other blobs do not wait
	pushed := make(chan error, 1)
	go func() { pushed <- c.blob("bytes") }()
	c.Free(d)
	if err := <-pushed; err != nil {
		t.Errorf("after the collection: %v", err)
	}
	if got := c.content(t, d); got != "bytes" {
		t.Errorf("got %q", got)
	}
	if !c.Seize(d) {
		t.Error("a push that has ended still has its digest")
	}
}

// Pull times that could not be written wait for the next attempt up to a limit, and never replace later ones.
func TestKeptPullTimesAreLimitedAndOlder(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	key := meta.PullKey{Repository: 1, Digest: digest("a")}
	at := *c.clock
	*c.clock = at.Add(time.Second)
	c.Pulled(key.Repository, key.Digest)
	c.KeepPulls(map[meta.PullKey]time.Time{key: at, {Repository: 2}: at})
	if got := c.Pulls(); len(got) != 2 || !got[key].Equal(at.Add(time.Second)) || !got[meta.PullKey{Repository: 2}].Equal(at) {
		t.Errorf("got %v, want the later time of the one and the time of the other", got)
	}
	many := map[meta.PullKey]time.Time{}
	for i := range registry.MaxKeptPulls + 1 {
		many[meta.PullKey{Repository: int64(i + 10)}] = at
	}
	c.KeepPulls(many)
	if got := len(c.Pulls()); got != registry.MaxKeptPulls {
		t.Errorf("got %d waiting times, want %d", got, registry.MaxKeptPulls)
	}
}

// A layer has at most MaxLayer bytes in all its chunks.
func TestLayerLimit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ size, length, want int64 }{
		{0, registry.UnknownCount, registry.MaxLayer}, {0, 5, 5}, {0, registry.MaxLayer + 1, registry.MaxLayer},
		{registry.MaxLayer - 4, 5, 4}, {registry.MaxLayer - 4, registry.UnknownCount, 4}, {registry.MaxLayer, 1, 0},
	} {
		u := registry.Upload{}
		u.Blob.Size = test.size
		if got := registry.LayerLimit(u, registry.Chunk{Length: test.length}); got != test.want {
			t.Errorf("a chunk of %d bytes after %d: got a limit of %d, want %d", test.length, test.size, got, test.want)
		}
	}
}

// With the quirk, a blob is readable when an image of the repository refers to it.
func TestLayersThatNeedAnImage(t *testing.T) {
	t.Parallel()
	for _, quirk := range []bool{false, true} {
		c := newFixture(t, nil, registry.Quirks{LayerNeedsImage: quirk})
		c.layered(t, "config", "layer", "v1")
		c.put(t, "alone")
		to := c.in(t, "to", 0).repo
		for content, found := range map[string]bool{"layer": true, "alone": !quirk} {
			_, one := c.Blob(t.Context(), c.repo, digest(content))
			f, _, two := c.OpenBlob(t.Context(), c.repo, digest(content))
			if two == nil {
				f.Close()
			}
			for what, err := range map[string]error{"Blob": one, "OpenBlob": two, "Mount": c.Mount(t.Context(), c.repo, to, digest(content))} {
				if (err == nil) != found || err != nil && !errors.Is(err, fault.BlobNotFound) {
					t.Errorf("quirk %t, %s of %s: got %v, want it found %t", quirk, what, content, err, found)
				}
			}
		}
	}
}

// The deletion of a tag deletes the image with its last tag for the ECR API, and for the other API only with the quirk. The
// deletion of an image has its tags.
func TestDeletionsAreResolved(t *testing.T) {
	t.Parallel()
	for _, quirk := range []bool{false, true} {
		for _, last := range []registry.LastTag{registry.LastTagDeletesImage, registry.LastTagKeepsImage} {
			c := newFixture(t, nil, registry.Quirks{TagDeletesImage: quirk})
			d := c.layered(t, "config", "layer", "v1")
			whole, err := c.DeletionOf(t.Context(), c.repo, name.Reference{Digest: d}, last)
			if err != nil || whole.Digest != d || fmt.Sprint(whole.Tags) != "[v1]" || whole.Tag != (name.Tag{}) {
				t.Errorf("of the image: got %+v, %v, want its tag", whole, err)
			}
			one, err := c.DeletionOf(t.Context(), c.repo, name.Reference{Tag: tagged("v1")}, last)
			if err != nil || one.Digest != d || one.Tag != tagged("v1") || len(one.Tags) != 0 {
				t.Errorf("of the tag: got %+v, %v", one, err)
			}
			if removed, err := c.Delete(t.Context(), alice, c.repo, one); err != nil || len(removed) != 1 || removed[0].Tag != "v1" {
				t.Errorf("deleting the tag: got %+v, %v", removed, err)
			}
			_, err = c.Head(t.Context(), c.repo, name.Reference{Digest: d})
			if kept := last == registry.LastTagKeepsImage && !quirk; (err == nil) != kept {
				t.Errorf("quirk %t, last tag %d: the image: got %v, want it kept %t", quirk, last, err, kept)
			}
			for _, ref := range []name.Reference{{Tag: tagged("v1")}, {Digest: digest("none")}} {
				if _, err := c.DeletionOf(t.Context(), c.repo, ref, last); !errors.Is(err, fault.ImageNotFound) {
					t.Errorf("of %v: got %v, want ImageNotFound", ref, err)
				}
			}
		}
	}
}

// Limits of 0 are none, also for principals of other accounts.
func TestNoUploadLimits(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	for range 3 {
		if _, err := c.BeginUpload(t.Context(), guest("AROA", "s"), c.repo, name.SHA256); err != nil {
			t.Errorf("an upload of a guest without limits: %v", err)
		}
	}
}

// A mount into a repository that was deleted meanwhile is refused, and so is a collection from a digest that is none.
func TestWhatIsGoneIsRefused(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.put(t, "bytes")
	gone := c.in(t, "gone", 0).repo
	c.must(t, c.store.DeleteRepository(t.Context(), gone, true))
	for _, d := range []name.Digest{digest("bytes"), digest("none")} {
		if _, _, err := c.MountSources(t.Context(), gone, d); !errors.Is(err, fault.RepositoryNotFound) {
			t.Errorf("the sources of %s: got %v, want RepositoryNotFound", d, err)
		}
	}
	place := registry.CollectPlace{Stage: registry.CollectUnrecorded, After: "sha256:x"}
	if _, err := c.Collect(t.Context(), place, registry.CollectOptions{Full: true}); err == nil {
		t.Error("collecting after no digest: got no error")
	}
	if _, err := c.BeginUpload(t.Context(), alice, gone, name.SHA256); !errors.Is(err, fault.RepositoryNotFound) {
		t.Errorf("an upload to it: got %v, want RepositoryNotFound", err)
	}
	_, err := c.Upload(t.Context(), alice, c.repo, strings.Repeat("x", 5000))
	if !errors.Is(err, fault.UploadNotFound) || len(err.Error()) > 1000 {
		t.Errorf("a long id: got %.1000s, want UploadNotFound", err)
	}
}
