package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ecrin-dev/ecrin/tools/pack"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
)

// transfer copies one image and shows the progress: one line that is updated on a terminal, otherwise one line
// for each blob.
type transfer struct {
	out   *screen
	verb  string // "pushed", "pulled"
	image *pack.Image
	began time.Time
	moved atomic.Int64 // bytes

	mu      sync.Mutex
	started map[digest.Digest]time.Time
	done    int // blobs
}

// copyImage copies the image from one store to another and returns the duration.
func copyImage(ctx context.Context, out *screen, verb string, image *pack.Image, from content.ReadOnlyStorage,
	to content.Storage) (time.Duration, error) {
	t := &transfer{out: out, verb: verb, image: image, began: time.Now(), started: map[digest.Digest]time.Time{}}
	within := map[digest.Digest]bool{}
	for _, d := range image.Blobs {
		within[d.Digest] = true
	}
	options := oras.CopyGraphOptions{
		PreCopy:       t.begin,
		PostCopy:      func(_ context.Context, d ocispec.Descriptor) error { t.finish(d, ""); return nil },
		OnCopySkipped: func(_ context.Context, d ocispec.Descriptor) error { t.finish(d, " (existed)"); return nil },
		// A manifest may refer to a subject that is not part of the image.
		FindSuccessors: func(ctx context.Context, f content.Fetcher, d ocispec.Descriptor) (parts []ocispec.Descriptor, err error) {
			all, err := content.Successors(ctx, f, d)
			for _, part := range all {
				if within[part.Digest] {
					parts = append(parts, part)
				}
			}
			return parts, err
		},
	}
	stop := out.animate(t.draw)
	err := oras.CopyGraph(ctx, counted{from, &t.moved}, to, image.Root, options)
	stop()
	if err != nil {
		return 0, err
	}
	all := time.Since(t.began)
	out.note("%s %d blobs, %s in %s (%s)", verb, t.done, size(t.moved.Load()), took(all), rate(t.moved.Load(), all))
	return all, nil
}

func (t *transfer) begin(_ context.Context, d ocispec.Descriptor) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started[d.Digest] = time.Now()
	return nil
}

func (t *transfer) finish(d ocispec.Descriptor, remark string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	if t.out.terminal {
		return
	}
	if began, ok := t.started[d.Digest]; ok {
		remark += fmt.Sprintf(" in %s", took(time.Since(began)))
	}
	t.out.note("%s %.19s %s%s", t.verb, d.Digest, size(d.Size), remark)
}

func (t *transfer) draw() {
	t.mu.Lock()
	done := t.done
	t.mu.Unlock()
	moved, total := t.moved.Load(), t.image.Size()
	t.out.progress("%s %d of %d blobs, %s of %s, %s", t.verb, done, len(t.image.Blobs), size(moved), size(total),
		rate(moved, time.Since(t.began)))
}

// counted counts the bytes that are read from a store.
type counted struct {
	content.ReadOnlyStorage
	n *atomic.Int64
}

func (c counted) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	r, err := c.ReadOnlyStorage.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	return countedReader{r, c.n}, nil
}

type countedReader struct {
	io.ReadCloser
	n *atomic.Int64
}

func (r countedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n.Add(int64(n))
	return n, err
}
