package ociapi

import (
	"net/http"
	"time"

	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
)

func (a *API) getBlob(q *request) error {
	digest, err := name.ParseDigest(q.target.reference)
	if err != nil {
		return err
	}
	q.ev.Digest = digest.String()
	return a.sendBlob(q.w, q.r, q.found, digest)
}

// sendBlob answers GET and HEAD of a blob, whole or in ranges. The file goes out by sendfile.
func (a *API) sendBlob(w http.ResponseWriter, r *http.Request, repo meta.Repository, d name.Digest) error {
	f, held, err := a.registry.OpenBlob(r.Context(), repo, d)
	if err != nil {
		return err
	}
	defer f.Close()
	h := w.Header()
	h["Content-Type"] = []string{contentType(held)}
	h["Docker-Content-Digest"] = []string{d.String()}
	h["Etag"] = []string{`"` + d.String() + `"`}
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

func contentType(h meta.Holding) string {
	if h.MediaType == "" {
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
	if err := a.registry.Meta().RemoveBlob(q.r.Context(), q.found, digest); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusAccepted)
	return nil
}
