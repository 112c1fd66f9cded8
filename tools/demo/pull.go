package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/tools/pack"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content/oci"
)

// pull copies the image with the moved tag into a new layout.
func (v *visitor) pull(ctx context.Context, dir string) (time.Duration, error) {
	v.out.step("Pull it into a new layout", "skopeo copy --all --src-tls-verify=false docker://%s:%s oci:%s:%s", v.uri,
		movedTag, dir, movedTag)
	root, err := v.docker.Resolve(ctx, movedTag)
	if err != nil {
		return 0, err
	}
	if want := v.image.Root; root.Digest != want.Digest || root.Size != want.Size || root.MediaType != want.MediaType {
		return 0, differs("the manifest with the tag "+movedTag, want, root)
	}
	layout, err := oci.New(dir)
	if err != nil {
		return 0, err
	}
	duration, err := copyImage(ctx, v.out, "pulled", v.image, v.docker, layout)
	if err != nil {
		return 0, err
	}
	return duration, layout.Tag(ctx, root, movedTag)
}

// compare reads all content of both layouts from the disk, and returns the number of compared digests.
func (v *visitor) compare(ctx context.Context, pulled string) (int, error) {
	v.out.step("Compare every digest", "diff -r %s/blobs %s/blobs", v.image.Dir, pulled)
	sent, err := pack.Verify(ctx, v.image.Dir, v.image.Root)
	if err != nil {
		return 0, fmt.Errorf("reading the layout that was pushed: %w", err)
	}
	got, err := pack.Verify(ctx, pulled, v.image.Root)
	if err != nil {
		return 0, fmt.Errorf("reading the layout that was pulled: %w", err)
	}
	if err := sameBlobs(sent, got); err != nil {
		return 0, err
	}
	v.out.note("%d digests, all equal", len(sent))
	return len(sent), nil
}

// sameBlobs compares digests and sizes, in any order.
func sameBlobs(sent, got []ocispec.Descriptor) error {
	sizes := map[digest.Digest]int64{}
	for _, d := range got {
		sizes[d.Digest] = d.Size
	}
	for _, d := range sent {
		if size, ok := sizes[d.Digest]; !ok || size != d.Size {
			return differs("pulled blob "+d.Digest.String(), fmt.Sprintf("of %d bytes", d.Size), fmt.Sprintf("of %d bytes (there: %t)", size, ok))
		}
	}
	if len(got) != len(sent) {
		return differs("the number of pulled blobs", len(sent), len(got))
	}
	return nil
}
