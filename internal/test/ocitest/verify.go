package ocitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Verify pulls the content of a reference, including children and blobs, and compares all bytes with their
// digests.
func (r Repo) Verify(ctx context.Context, reference string) error {
	a, err := r.Try(ctx, http.MethodGet, r.Path("/manifests/"+reference), nil)
	if err != nil {
		return err
	}
	d := a.Header.Get("Docker-Content-Digest")
	if a.Status != http.StatusOK || d != SHA256(a.Body) {
		return fmt.Errorf("%s: got %d, digest %s of %d bytes %.200s", a.Asked, a.Status, d, len(a.Body), a.Body)
	}
	var m Manifest
	if err := json.Unmarshal(a.Body, &m); err != nil {
		return fmt.Errorf("%s: %w", a.Asked, err)
	}
	for _, child := range m.Manifests {
		if err := r.Verify(ctx, child.Digest); err != nil {
			return fmt.Errorf("child of %s: %w", reference, err)
		}
	}
	blobs := m.Layers
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
	}
	for _, b := range blobs {
		a, err := r.Try(ctx, http.MethodGet, r.Path("/blobs/"+b.Digest), nil)
		if err != nil {
			return err
		}
		if a.Status != http.StatusOK || SHA256(a.Body) != b.Digest {
			return fmt.Errorf("blob of %s: %s: got %d and %d bytes with digest %s", reference, a.Asked, a.Status, len(a.Body), SHA256(a.Body))
		}
	}
	return nil
}

// VerifyAll verifies every tag and returns the number of tags.
func (r Repo) VerifyAll(ctx context.Context) (tags int, err error) {
	a, err := r.Try(ctx, http.MethodGet, r.Path("/tags/list"), nil)
	if err != nil {
		return 0, err
	}
	var list struct{ Tags []string }
	if err := json.Unmarshal(a.Body, &list); err != nil || a.Status != http.StatusOK {
		return 0, fmt.Errorf("%s: got %d %.200s: %w", a.Asked, a.Status, a.Body, err)
	}
	var errs []error
	for _, tag := range list.Tags {
		errs = append(errs, r.Verify(ctx, tag))
	}
	return len(list.Tags), errors.Join(errs...)
}

// TryPush uploads a whole image under a reference. It does not use a testing.TB, so that goroutines can call
// it.
func (r Repo) TryPush(ctx context.Context, reference string, im Image) (*Answer, error) {
	for _, b := range append([][]byte{im.Config}, im.Layers...) {
		a, err := r.Try(ctx, http.MethodPost, r.Path("/blobs/uploads/?digest="+SHA256(b)), bytes.NewReader(b))
		if err != nil || a.Status != http.StatusCreated {
			return a, err
		}
	}
	return r.Try(ctx, http.MethodPut, r.Path("/manifests/"+reference), bytes.NewReader(im.Manifest), "Content-Type", ImageType)
}
