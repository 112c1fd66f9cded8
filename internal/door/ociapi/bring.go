package ociapi

import (
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/core/pullthrough"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// through returns the request for a pull through a rule of the registry.
func (q *request) through() pullthrough.Request {
	return pullthrough.Request{By: q.caller, From: q.ev.From, Registry: q.reg, Name: q.repo, Found: q.found, Upstream: q.up}
}

// bring makes the image of the request present by a rule of its registry, if one applies. If something was stored, the request is
// resolved again.
//
// Errors: those of pullthrough.Service.Image; fault.TargetChanged.
func (a *API) bring(q *request) error {
	ref, err := name.ParseReference(q.target.reference)
	if a.pull == nil || q.brought || err != nil {
		return nil
	}
	changed, err := a.pull.Image(q.r.Context(), q.through(), ref, q.head)
	if err == nil && changed {
		q.brought = true
		err = fault.TargetChanged.New("the image was fetched from another registry")
	}
	return err
}

// arriving sends a blob that the repository does not hold and a rule of its registry brings, while it arrives. sent is false if there is
// none; then nothing was sent. A range is sent when the whole blob has arrived.
func (a *API) arriving(q *request, d name.Digest) (sent bool, err error) {
	if a.pull == nil {
		return false, nil
	}
	l, err := a.pull.Layer(q.r.Context(), q.through(), d)
	if err != nil || l == nil {
		return false, err
	}
	h := q.w.Header()
	describe := func() {
		h["Content-Type"] = []string{"application/octet-stream"}
		h["X-Content-Type-Options"] = []string{"nosniff"}
		h["Content-Security-Policy"] = []string{"default-src 'none'; sandbox"}
		h["Docker-Content-Digest"] = []string{d.String()}
		h["Etag"] = []string{`"` + d.String() + `"`}
		h["Content-Length"] = []string{strconv.FormatInt(l.Size, 10)}
	}
	if q.r.Method == http.MethodHead {
		describe()
		q.w.WriteHeader(http.StatusOK)
		return true, nil
	}
	if q.up != nil && q.up.Uncached {
		return a.passing(q, l, describe)
	}
	r, err := l.Open(q.r.Context())
	if err != nil {
		return false, err
	}
	defer r.Close()
	if q.r.Header.Get("Range") != "" {
		_, err := io.Copy(io.Discard, r)
		return false, err
	}
	describe()
	q.w.WriteHeader(http.StatusOK)
	buffer := arrivingBuffers.Get().(*[]byte)
	defer arrivingBuffers.Put(buffer)
	if _, err := io.CopyBuffer(struct{ io.Writer }{q.w}, struct{ io.Reader }{r}, *buffer); err != nil {
		q.ev.Err = err
		panic(http.ErrAbortHandler) // the client must not take what it has for the layer
	}
	return true, nil
}

// passing sends a layer of another registry without storing it. A range is not sent alone: the client gets the whole layer, whose digest it
// can verify.
func (a *API) passing(q *request, l *pullthrough.Layer, describe func()) (sent bool, err error) {
	leave, err := a.passes.enter(q.caller.LimitKey())
	if err != nil {
		return false, err
	}
	defer leave()
	r, done, err := l.Pass(q.r.Context())
	if err != nil {
		return false, err
	}
	defer done()
	describe()
	q.w.WriteHeader(http.StatusOK)
	if _, err := io.Copy(q.w, r); err != nil {
		q.ev.Err = err
		panic(http.ErrAbortHandler) // the client must not take what it has for the layer
	}
	return true, nil
}

// arrivingBuffers have what is sent of a blob that arrives: a buffer for each client that reads one. ReadFrom of the response would take
// two, and larger ones.
var arrivingBuffers = sync.Pool{New: func() any { b := make([]byte, 8<<10); return &b }}
