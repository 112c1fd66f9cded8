package registry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (c fixture) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// in returns the fixture with a new repository.
func (c fixture) in(t *testing.T, what string, i int) fixture {
	t.Helper()
	n, err := name.ParseRepo(fmt.Sprint(what, "/", i))
	c.must(t, err)
	c.repo, err = c.CreateRepository(t.Context(), meta.Repository{Registry: home, Name: n}, nil)
	c.must(t, err)
	return c
}

// upload begins an upload and appends text to it, and returns its state.
func (c fixture) upload(t *testing.T, s string) meta.Upload {
	t.Helper()
	u := c.begin(t)
	if s != "" {
		c.must(t, c.append(u, s))
	}
	now, err := c.Upload(t.Context(), alice, c.repo, u.ID)
	c.must(t, err)
	return now
}

func (c fixture) put(t *testing.T, s string) name.Digest {
	t.Helper()
	info, err := c.PutBlob(t.Context(), c.repo, text(s), digest(s))
	c.must(t, err)
	return info.Digest
}

// image stores the blob of an image and returns the push of it.
func (c fixture) image(t *testing.T, i int) registry.PutImage {
	t.Helper()
	config := fmt.Sprint("config", i)
	c.put(t, config)
	p := metatest.ImageOf(config)
	return registry.PutImage{Body: p.Body, MediaType: p.Manifest.MediaType, Tags: metatest.As(p, "v1").Tags}
}

var sweptOperations = map[string]func(t *testing.T, c fixture, i int) func(context.Context) error{
	"BeginUpload": func(_ *testing.T, c fixture, _ int) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := c.BeginUpload(ctx, alice, c.repo, name.SHA256)
			return err
		}
	},
	"Append": func(t *testing.T, c fixture, _ int) func(context.Context) error {
		u := c.upload(t, "some ")
		return func(ctx context.Context) error { _, err := c.Append(ctx, c.repo, u, text("bytes")); return err }
	},
	"UploadPart": func(t *testing.T, c fixture, _ int) func(context.Context) error {
		u := c.upload(t, "")
		return func(ctx context.Context) error {
			_, err := c.UploadPart(ctx, c.repo, u, 0, 4, []byte("bytes"))
			return err
		}
	},
	"Complete": func(t *testing.T, c fixture, i int) func(context.Context) error {
		u := c.upload(t, "some ")
		return func(ctx context.Context) error {
			last := fmt.Sprint("bytes", i)
			_, err := c.Complete(ctx, c.repo, u, text(last), digest("some "+last))
			return err
		}
	},
	"CompleteParts": func(t *testing.T, c fixture, i int) func(context.Context) error {
		u := c.upload(t, fmt.Sprint("part", i))
		return func(ctx context.Context) error {
			_, err := c.CompleteParts(ctx, c.repo, u, []name.Digest{digest("other"), digest(fmt.Sprint("part", i))})
			return err
		}
	},
	"PutBlob": func(_ *testing.T, c fixture, i int) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := c.PutBlob(ctx, c.repo, text(fmt.Sprint("blob", i)), digest(fmt.Sprint("blob", i)))
			return err
		}
	},
	"Cancel": func(t *testing.T, c fixture, _ int) func(context.Context) error {
		u := c.upload(t, "some bytes")
		return func(ctx context.Context) error { return c.Cancel(ctx, u) }
	},
	"Mount": func(t *testing.T, c fixture, i int) func(context.Context) error {
		from := c.in(t, "from", i)
		d := from.put(t, fmt.Sprint("mounted", i))
		return func(ctx context.Context) error { return c.Mount(ctx, from.repo, c.repo, d) }
	},
	"Put": func(t *testing.T, c fixture, i int) func(context.Context) error {
		in := c.image(t, i)
		return func(ctx context.Context) error { _, _, err := c.Put(ctx, alice, c.repo, in); return err }
	},
	"Delete": func(t *testing.T, c fixture, i int) func(context.Context) error {
		d, _, err := c.Put(t.Context(), alice, c.repo, c.image(t, i))
		c.must(t, err)
		return func(ctx context.Context) error {
			deletion, err := c.DeletionOf(ctx, c.repo, name.Reference{Digest: d}, registry.LastTagDeletesImage)
			if err == nil {
				_, err = c.Service.Delete(ctx, alice, c.repo, deletion)
			}
			return err
		}
	},
	"DeleteBlob": func(t *testing.T, c fixture, i int) func(context.Context) error {
		d := c.put(t, fmt.Sprint("free", i))
		return func(ctx context.Context) error { return c.DeleteBlob(ctx, c.repo, d) }
	},
	"sweep of uploads": func(t *testing.T, c fixture, _ int) func(context.Context) error {
		c.must(t, c.SweepUploads(t.Context())) // what an earlier sweep has left
		c.upload(t, "abandoned")
		*c.clock = c.clock.Add(8 * 24 * time.Hour)
		return c.SweepUploads
	},
	"flush of pulls": func(t *testing.T, c fixture, i int) func(context.Context) error {
		c.must(t, c.FlushPulls(t.Context()))
		d, _, err := c.Put(t.Context(), alice, c.repo, c.image(t, i))
		c.must(t, err)
		c.Pulled(c.repo.ID, d)
		return c.FlushPulls
	},
}

// candidates are the operations that, when they fail, leave the stored bytes as a candidate for a collection.
var candidates = map[string][]string{"Complete": {"candidates"}, "PutBlob": {"candidates"}, "CompleteParts": {"candidates"}}

// Whatever statement of an operation fails, the operation fails, and has stored all or nothing.
func TestNoOperationSucceedsWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for what, prepare := range sweptOperations {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := newFixture(t, nil, registry.Quirks{})
			faulttest.Sweep(t, faultmeta.In(c.dir), func(i int) faulttest.Call {
				one := c.in(t, "app", i)
				do := prepare(t, one, i)
				return faulttest.Call{Do: func() error { return do(context.Background()) }, State: faulttest.Changes(t, c.dir, candidates[what]...)}
			})
		})
	}
}

// Reads give the whole answer or an error.
func TestNoReadSucceedsWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	const blobs = "some bytes"
	for what, read := range map[string]func(c fixture, d name.Digest) error{
		"OpenBlob": func(c fixture, _ name.Digest) error {
			f, _, err := c.OpenBlob(context.Background(), c.repo, digest(blobs))
			if err == nil {
				err = f.Close()
			}
			return err
		},
		"Pull": func(c fixture, d name.Digest) error {
			h, err := c.Head(context.Background(), c.repo, name.Reference{Tag: metatest.Tag("v1").Tag})
			if err == nil && h.Digest != d {
				err = errors.New("another image")
			}
			if err == nil {
				_, err = c.Service.Pull(context.Background(), alice, c.repo, h)
			}
			return err
		},
		"Tags": func(c fixture, _ name.Digest) error {
			tags, more, err := c.Tags(context.Background(), c.repo, "", 10)
			if err == nil && (len(tags) != 2 || more) {
				err = fmt.Errorf("got %v", tags)
			}
			return err
		},
		"TagList": func(c fixture, _ name.Digest) error {
			list, err := c.TagList(context.Background(), c.repo)
			if err == nil && string(list) != `v1","v2` {
				err = fmt.Errorf("got %s", list)
			}
			return err
		},
		"MountSources": func(c fixture, _ name.Digest) error {
			_, held, err := c.MountSources(context.Background(), c.repo, digest(blobs))
			if err == nil && held == 0 {
				err = errors.New("none")
			}
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := newFixture(t, nil, registry.Quirks{})
			faulttest.Sweep(t, faultmeta.In(c.dir), func(i int) faulttest.Call {
				one := c.in(t, "app", i)
				one.put(t, blobs)
				in := one.image(t, i)
				in.Tags = append(in.Tags, metatest.Tag("v2").Tag)
				d, _, err := one.Put(t.Context(), alice, one.repo, in)
				one.must(t, err)
				return faulttest.Call{Do: func() error { return read(one, d) }}
			})
		})
	}
}

// A layer that the repository holds is refused as such, or the request fails: it is never answered as new.
func TestAHeldLayerIsNeverANewOne(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	faulttest.Closed(t, faultmeta.In(c.dir), func(i int) faulttest.Call {
		one := c.in(t, "app", i)
		d := one.put(t, fmt.Sprint("layer", i))
		u := one.upload(t, fmt.Sprint("layer", i))
		return faulttest.Call{Do: func() error {
			_, err := one.CompleteParts(context.Background(), one.repo, u, []name.Digest{d})
			return err
		}}
	})
}

// After a chunk failed, the upload goes on from the offset that it says, and the blob has the right bytes.
func TestUploadsGoOnAfterAFault(t *testing.T) {
	t.Parallel()
	const first, second, third = "some ", "bytes ", "more"
	c := newFixture(t, nil, registry.Quirks{})
	faults := faultmeta.In(c.dir)
	for f := range faultmeta.Faults {
		for n := 1; ; n++ {
			one := c.in(t, "app-"+f.String(), n)
			u := one.upload(t, first)
			faults.Arm(n, f)
			_, err := one.Append(t.Context(), one.repo, u, text(second))
			failed, ran := faults.Disarm()
			if (err == nil) != (len(failed) == 0) {
				t.Errorf("the statements %q failed (%s): got %v", failed, f, err)
			}
			now, err := one.Upload(t.Context(), alice, one.repo, u.ID)
			if err != nil {
				t.Fatalf("the upload after a fault: %v", err)
			}
			rest, whole := third, first+second+third
			if now.Blob.Size == int64(len(first)) {
				rest = second + third
			}
			if _, err := one.Complete(t.Context(), one.repo, now, text(rest), digest(whole)); err != nil {
				t.Errorf("the statements %q failed (%s): completing from offset %d: %v", failed, f, now.Blob.Size, err)
			} else if got := one.content(t, digest(whole)); got != whole {
				t.Errorf("the statements %q failed (%s): the blob is %q, want %q", failed, f, got, whole)
			}
			if len(failed) == 0 && ran < n {
				break
			}
		}
	}
}

// The time of a pull that could not be stored is stored by the next flush.
func TestPullTimesSurviveAFailedFlush(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	d, _, err := c.Put(t.Context(), alice, c.repo, c.image(t, 1))
	c.must(t, err)
	c.Pulled(c.repo.ID, d)
	faults := faultmeta.In(c.dir)
	faults.ArmText("pulled_at", 1, faultmeta.Before)
	if err := c.FlushPulls(t.Context()); !errors.Is(err, faultmeta.ErrInjected) {
		t.Fatalf("the flush: got %v, want the injected fault", err)
	}
	faults.Disarm()
	at := *c.clock
	*c.clock = c.clock.Add(time.Minute)
	c.must(t, c.FlushPulls(t.Context()))
	im, err := c.store.Image(t.Context(), c.repo.ID, d)
	if err != nil || !im.PulledAt.Equal(at) {
		t.Errorf("the image was pulled at %v (%v), want %v", im.PulledAt, err, at)
	}
}

// One upload that cannot be removed is an error of the sweep, and does not keep the next sweep from the others.
func TestAFailedSweepIsRepeated(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	var all []meta.Upload
	for range 3 {
		all = append(all, c.upload(t, "abandoned"))
	}
	*c.clock = c.clock.Add(8 * 24 * time.Hour)
	faults := faultmeta.In(c.dir)
	faults.ArmText("DELETE FROM uploads", 1, faultmeta.Before)
	if err := c.SweepUploads(t.Context()); !errors.Is(err, faultmeta.ErrInjected) {
		t.Errorf("a sweep with a failed deletion: got %v, want the injected fault", err)
	}
	faults.Disarm()
	c.must(t, c.SweepUploads(t.Context()))
	for i, u := range all {
		if _, err := c.Upload(t.Context(), alice, c.repo, u.ID); !errors.Is(err, fault.UploadNotFound) {
			t.Errorf("upload %d after the second sweep: got %v, want UploadNotFound", i, err)
		}
	}
}
