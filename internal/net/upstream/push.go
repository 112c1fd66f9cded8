package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	maxStarts   = 3       // uploads that are begun for one blob
	maxFailures = 3       // of a chunk in turn
	maxChunk    = 1 << 30 // bytes, if the registry asks for large chunks
)

// Source opens the content of a blob from an offset on. It may be called several times.
type Source func(ctx context.Context, offset int64) (io.ReadCloser, error)

var errNotMounted = errors.New("the registry began an upload")

// Mount makes a blob of another repository of the registry one of repo. It returns false if the registry does not do so,
// after which Upload can be used.
//
// Errors: an [Error], or that of ctx.
func (r *Registry) Mount(ctx context.Context, repo, from string, d name.Digest, size int64) (bool, error) {
	if _, err := r.repo(from); err != nil {
		return false, err
	}
	to, err := r.repo(repo)
	if err != nil {
		return false, err
	}
	err = to.Mount(ctx, descriptor("", d, size), from, func() (io.ReadCloser, error) { return nil, errNotMounted })
	if errors.Is(err, errNotMounted) {
		return false, nil
	}
	err = r.library(ctx, err)
	return err == nil, err
}

// Upload sends a blob, in one request if it has at most Limits.Chunk bytes, else in chunks. After a failure that may
// pass it continues after the last byte that the registry has received, or begins again.
//
// Errors: an [Error], that of ctx or that of source.
func (r *Registry) Upload(ctx context.Context, repo string, d name.Digest, size int64, source Source) error {
	to, err := r.repo(repo)
	if err != nil {
		return err
	}
	if size < 0 || d == (name.Digest{}) {
		return invalid("the digest or size of the blob is not valid")
	}
	for n := 1; ; n++ {
		s := &watched{}
		if size == 0 { // net/http would send any other empty body with an unknown length
			err = to.Blobs().Push(ctx, descriptor("", d, 0), http.NoBody)
		} else if size <= r.c.limits.Chunk {
			if err = s.open(ctx, source, 0, size); err == nil {
				// oras-go gets no Closer, so that the body is closed here, after the transport has ended reading
				err = to.Blobs().Push(ctx, descriptor("", d, size), s)
				s.close()
			}
		} else {
			err = r.chunks(ctx, repo, d, size, source, s)
		}
		if err == nil {
			return nil
		}
		if own := s.failed(); own != nil {
			return fmt.Errorf("reading the blob to upload: %w", own)
		}
		err = r.library(ctx, err)
		restart := errors.Is(err, Unauthorized) && n == 1 // a token that ended in the meantime is renewed by the next request
		if n >= maxStarts || !restart && !r.again(ctx, 1, err) {
			return err
		}
	}
}

// chunks sends a blob by one upload.
func (r *Registry) chunks(ctx context.Context, repo string, d name.Digest, size int64, source Source, s *watched) error {
	ctx = auth.AppendRepositoryScope(ctx, registry.Reference{Registry: r.host, Repository: repo}, auth.ActionPull, auth.ActionPush)
	post, err := r.request(ctx, http.MethodPost, repo, "blobs", "uploads/", auth.ActionPull, auth.ActionPush)
	if err != nil {
		return err
	}
	location, resp, err := r.step(post, http.StatusAccepted)
	if err != nil {
		return err
	}
	chunk := r.c.limits.Chunk
	if least, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil {
		chunk = max(chunk, min(least, maxChunk))
	}
	for offset, failures := int64(0), 0; offset < size; {
		n := min(chunk, size-offset)
		next, err := r.patch(ctx, location, offset, n, source, s)
		if err == nil {
			// The Range of ECR's answers is stale after the first chunk, so that it is not read.
			location, offset, failures = next, offset+n, 0
			continue
		}
		e, ok := errors.AsType[*Error](err)
		renewed := failures == 0 && errors.Is(err, Unauthorized) // the token has ended, and the next request has another
		if s.failed() != nil || !ok || !renewed && !passes(err) && e.Status != http.StatusRequestedRangeNotSatisfiable {
			return err
		}
		if failures++; failures > maxFailures && !passes(err) {
			return r.fail(Unavailable, "the upload cannot be continued")
		}
		if failures > maxFailures || passes(err) && !r.again(ctx, 1, err) {
			return err
		}
		received, at, asked := r.received(ctx, location)
		if asked != nil || received < offset || received > offset+n {
			return r.fail(Unavailable, "the upload cannot be continued")
		}
		location, offset = at, received
	}
	query := location.Query()
	query.Set("digest", d.String())
	location.RawQuery = query.Encode()
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, location.String(), nil)
	if err != nil {
		return r.fail(Lied, "the upload has no valid Location")
	}
	put.Header.Set("Content-Type", "application/octet-stream")
	_, _, err = r.step(put, http.StatusCreated)
	return err
}

// step makes a request of an upload whose answer must have one of the statuses, and returns the Location of the answer.
// It is nil for 201 to a PUT, which ends the upload.
func (r *Registry) step(req *http.Request, statuses ...int) (*url.URL, *http.Response, error) {
	resp, err := r.send(req)
	if err != nil {
		return nil, nil, err
	}
	_ = resp.Body.Close() // its content has no meaning
	for _, s := range statuses {
		if resp.StatusCode == s {
			if req.Method == http.MethodPut {
				return nil, resp, nil
			}
			to, err := r.location(resp)
			return to, resp, err
		}
	}
	return nil, nil, r.fail(Lied, "the answer to a step of the upload has the status %d", resp.StatusCode)
}

// patch sends n bytes from an offset on. ECR answers 201, other registries 202.
func (r *Registry) patch(ctx context.Context, to *url.URL, offset, n int64, source Source, s *watched) (*url.URL, error) {
	if err := s.open(ctx, source, offset, n); err != nil {
		return nil, err
	}
	defer s.close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, to.String(), s)
	if err != nil {
		return nil, r.fail(Lied, "the upload has no valid Location")
	}
	req.ContentLength = n
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", offset, offset+n-1))
	next, _, err := r.step(req, http.StatusAccepted, http.StatusCreated)
	return next, err
}

// received asks how many bytes an upload has.
func (r *Registry) received(ctx context.Context, location *url.URL) (int64, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return 0, nil, r.fail(Lied, "the upload has no valid Location")
	}
	next, resp, err := r.step(req, http.StatusNoContent)
	if err != nil {
		return 0, nil, err
	}
	first, last, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Range"), "bytes="), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if err != nil || first != "0" {
		return 0, nil, r.fail(Lied, "the state of the upload has no valid Range")
	}
	return n + 1, next, nil
}

// PutManifest stores a manifest under a tag, or under its digest if tag is empty. If the manifest has a subject and the
// registry has no API for referrers, the list of the subject's referrers is updated too.
//
// Errors: an [Error], or that of ctx. Rejected has the code TAG_INVALID for an immutable tag of ECR.
func (r *Registry) PutManifest(ctx context.Context, repo, tag, mediaType string, body []byte) (name.Digest, error) {
	to, err := r.repo(repo)
	if err != nil {
		return name.Digest{}, err
	}
	if tag != "" && !tagPattern.MatchString(tag) || len(body) > manifest.MaxBytes || manifest.KindOf(mediaType) == 0 {
		return name.Digest{}, invalid("the tag, the media type or the size of the manifest is not valid")
	}
	d := digestOf(name.SHA256, body)
	desc := descriptor(mediaType, d, int64(len(body)))
	if tag == "" {
		err = to.Manifests().Push(ctx, desc, bytes.NewReader(body))
	} else {
		err = to.Manifests().PushReference(ctx, desc, bytes.NewReader(body), tag)
	}
	if err = r.library(ctx, err); err != nil {
		return name.Digest{}, err
	}
	return d, nil
}

// DeleteManifest deletes a manifest with all its tags.
//
// Errors: an [Error], or that of ctx.
func (r *Registry) DeleteManifest(ctx context.Context, repo string, d name.Digest) error {
	req, err := r.request(ctx, http.MethodDelete, repo, "manifests", d.String(), auth.ActionDelete)
	if err != nil {
		return err
	}
	resp, err := r.send(req)
	if err != nil {
		return r.library(ctx, err)
	}
	return resp.Body.Close()
}

// location returns the URL of an upload, which must be at the registry.
func (r *Registry) location(resp *http.Response) (*url.URL, error) {
	text := resp.Header.Get("Location")
	to, err := resp.Request.URL.Parse(text)
	if err != nil || text == "" || len(text) > maxLocation || to.User != nil {
		return nil, r.fail(Lied, "the upload has no valid Location")
	}
	if to.Scheme != r.http || canonical(to) != r.host {
		return nil, r.fail(Refused, "the Location of the upload is on another host, which gets no credentials")
	}
	return to, nil
}
