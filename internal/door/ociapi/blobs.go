package ociapi

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (a *API) getBlob(q *request) error {
	digest, err := name.ParseDigest(q.target.reference)
	if err != nil {
		return err
	}
	q.ev.Digest = digest.String()
	err = a.sendBlob(q.w, q.r, q.found, digest)
	if !errors.Is(err, fault.BlobNotFound) && !errors.Is(err, registry.ErrBytesLost) {
		return err
	}
	sent, aerr := a.arriving(q, digest)
	if sent || aerr != nil {
		return aerr
	}
	if q.r.Method == http.MethodGet && q.r.Header.Get("Range") != "" { // it has arrived meanwhile
		return a.sendBlob(q.w, q.r, q.found, digest)
	}
	return err
}

// sendBlob answers GET and HEAD of a blob, whole or in ranges. Package http sends the file by sendfile.
func (a *API) sendBlob(w http.ResponseWriter, r *http.Request, repo registry.Repository, d name.Digest) error {
	f, held, err := a.registry.OpenBlob(r.Context(), repo, d)
	if r.Method == http.MethodHead && errors.Is(err, registry.ErrBytesLost) {
		// Clients send HEAD to learn whether they must push a blob. A push replaces the lost bytes.
		return fault.BlobNotFound.New("blob %s is unknown to this repository", d).Because(err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h := w.Header()
	h["Content-Type"] = []string{contentType(held)}
	// The pusher of an image chooses the type of its layers. With these headers a browser neither renders a layer nor
	// detects another type; contentType leaves out the types that it would run.
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Content-Security-Policy"] = []string{"default-src 'none'; sandbox"}
	h["Docker-Content-Digest"] = []string{d.String()}
	h["Etag"] = []string{`"` + d.String() + `"`}
	asked := r.Header.Get("Range")
	if asked == "" {
		http.ServeContent(w, r, "", time.Time{}, f)
		if a.pull != nil && r.Method == http.MethodGet {
			a.pull.ServedStored(r.Context(), repo.Registry, repo.Name, held.Size)
		}
		return nil
	}
	r = r.Clone(r.Context())
	r.Header.Del("Range")
	if ranges := byteRanges(asked, held.Size); ranges != "" && r.Method == http.MethodGet { // other methods have no ranges
		r.Header.Set("Range", ranges)
	}
	part := &rangeWriter{ResponseWriter: w}
	http.ServeContent(part, r, "", time.Time{}, f)
	if part.refused {
		return fault.RangeInvalid.New("the blob has %d bytes, which do not include the range %q", held.Size, name.Clip(asked))
	}
	return nil
}

// rangeWriter discards the answer 416 with which package http refuses a range, so that the caller can answer with an
// error in the form of the OCI specification.
type rangeWriter struct {
	http.ResponseWriter
	refused bool
}

func (w *rangeWriter) WriteHeader(status int) {
	if w.refused = status == http.StatusRequestedRangeNotSatisfiable; !w.refused {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *rangeWriter) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom makes sendfile possible.
func (w *rangeWriter) ReadFrom(src io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, src) }

// contentType returns the declared media type of a blob, or application/octet-stream if it has none or one that a browser
// would run. A blob that an earlier version stored may have declared anything.
func contentType(h registry.Holding) string {
	if !manifest.Inert(h.MediaType) {
		return "application/octet-stream"
	}
	return h.MediaType
}

func (a *API) deleteBlob(q *request) error {
	digest, err := name.ParseDigest(q.target.reference)
	if err != nil {
		return err
	}
	q.ev.Digest = digest.String()
	if err := a.registry.DeleteBlob(q.r.Context(), q.found, digest); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusAccepted)
	return nil
}
