// Package web is the shape that all HTTP surfaces share: one event for each request, request ids, metrics, limits.
package web

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Headers of answers.
const (
	RequestIDHeader = "X-Amzn-Requestid"
	MessageHeader   = "X-Ecrin-Authorization-Message" // of a denial, for sts decode-authorization-message
)

// Event is what is known of one request; it is logged once, when the request ends. Handlers fill it in.
type Event struct {
	guard.Event
	Door      string // oci, ecr, sts, iam, ecrin, ops
	Operation string // the specification's or the API's name of what was asked
}

// Handler answers a request and fills in its event. It writes its own errors and leaves them in the event.
type Handler interface {
	Handle(w http.ResponseWriter, r *http.Request, ev *Event)
}

// Server turns a Handler into an http.Handler.
type Server struct {
	handler Handler
	log     *slog.Logger
	metrics *Metrics
	proxies []netip.Prefix
	now     func() time.Time

	patience time.Duration // how long a client may send nothing in the middle of a body
}

// Options are what NewServer needs beyond the handler.
type Options struct {
	Log     *slog.Logger
	Metrics *Metrics // shared with nobody
	// Proxies are the addresses whose X-Forwarded-For and X-Forwarded-Proto are believed.
	Proxies []netip.Prefix
	Now     func() time.Time
}

// NewServer makes the server.
func NewServer(h Handler, o Options) *Server {
	return &Server{handler: h, log: o.Log, metrics: o.Metrics, proxies: o.Proxies, now: o.Now, patience: patience}
}

// ServeHTTP runs one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.now()
	ev := new(Event)
	ev.RequestID = newRequestID()
	ev.From.SourceIP, ev.From.Secure = origin(r, s.proxies)
	ev.From.UserAgent, ev.From.Referer = r.UserAgent(), r.Referer()
	rec := &recorder{ResponseWriter: w}
	s.metrics.inFlight.Inc()
	defer func() {
		s.metrics.inFlight.Dec()
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			ev.Err = errors.Join(ev.Err, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			if rec.status == 0 {
				http.Error(rec, "internal error, request "+ev.RequestID, http.StatusInternalServerError)
			}
		}
		s.finish(r, rec, ev, s.now().Sub(start))
	}()
	if r.ContentLength != 0 && r.Body != nil {
		body := &patientBody{ReadCloser: r.Body, control: http.NewResponseController(w), now: s.now, patience: s.patience}
		body.move() // also for a handler that answers without reading: package http then waits for the rest
		r.Body = body
	}
	s.handler.Handle(rec, r, ev)
}

func (s *Server) finish(r *http.Request, rec *recorder, ev *Event, took time.Duration) {
	status := rec.status
	if status == 0 {
		status = http.StatusOK
	}
	s.metrics.observe(ev, status, took, rec.sent)
	level := slog.LevelInfo
	if status >= 500 {
		level = slog.LevelError
	}
	ctx := r.Context()
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("id", ev.RequestID), slog.String("door", ev.Door), slog.String("op", ev.Operation),
		slog.String("method", r.Method), slog.String("host", r.Host), slog.String("path", r.URL.Path), // never the query: it may carry signatures
		slog.Int("status", status), slog.Int64("sent", rec.sent), slog.Float64("took_ms", float64(took.Microseconds())/1000), slog.String("remote", remote(r, ev)))
	for _, more := range [...]struct{ key, value string }{
		{"caller", ev.Caller.ARN}, {"action", ev.Action}, {"resource", ev.Resource}, {"digest", ev.Digest}, {"agent", ev.From.UserAgent},
	} {
		if more.value != "" {
			attrs = append(attrs, slog.String(more.key, more.value))
		}
	}
	if ev.Err != nil {
		attrs = append(attrs, slog.String("error", ev.Err.Error()))
	}
	s.log.LogAttrs(ctx, level, "request", attrs...)
}

func remote(r *http.Request, ev *Event) string {
	if !ev.From.SourceIP.IsValid() {
		return r.RemoteAddr
	}
	return ev.From.SourceIP.String()
}

// newRequestID makes a version 4 UUID. Request ids are no secrets, so the fast generator does.
func newRequestID() string {
	var b [16]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		b[i], b[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var text [36]byte
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:], b[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// recorder notes status and bytes. It keeps ReadFrom, so that a file still goes out by sendfile.
type recorder struct {
	http.ResponseWriter
	status int
	sent   int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.sent += int64(n)
	return n, err
}

func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(r.ResponseWriter, src)
	r.sent += n
	return n, err
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// patience is how long a client may send nothing in the middle of a body.
const patience = 60 * time.Second

// patientBody moves the connection's read deadline along while bytes arrive: a transfer may take hours, a silent client
// may not.
type patientBody struct {
	io.ReadCloser
	control  *http.ResponseController
	now      func() time.Time
	moved    time.Time
	patience time.Duration
}

func (b *patientBody) move() {
	if now := b.now(); now.Sub(b.moved) > b.patience/8 {
		b.moved = now
		// Writers without deadlines (tests) are fine without.
		_ = b.control.SetReadDeadline(time.Now().Add(b.patience))
	}
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.move()
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { // the handler may now take its time
		_ = b.control.SetReadDeadline(time.Time{})
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = fault.RequestTimeout.New("no bytes came for %s", b.patience).Because(err)
	}
	return n, err
}

// ReadBody reads a whole body of at most maxBytes bytes. Errors: fault.RequestTooLarge, fault.RequestTimeout,
// fault.MalformedRequest (the client went away, or announced another length).
func ReadBody(r *http.Request, maxBytes int64) ([]byte, error) {
	tooLarge := fault.RequestTooLarge.New("the body of this request may have %d bytes", maxBytes)
	if r.ContentLength > maxBytes {
		return nil, tooLarge
	}
	size := r.ContentLength
	if size < 0 {
		size = 4096
	}
	buf := make([]byte, 0, size+1)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Body.Read(buf[len(buf):min(cap(buf), int(maxBytes)+1)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > maxBytes:
			return nil, tooLarge
		case err == io.EOF:
			return buf, nil
		case errors.Is(err, fault.RequestTimeout):
			return nil, err
		case err != nil:
			return nil, fault.MalformedRequest.New("the body of the request is not complete").Because(err)
		}
	}
}

// Gone tells whether a failure is only that the client went away.
func Gone(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}
