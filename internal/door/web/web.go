// Package web holds what all HTTP surfaces share: one event for each request, request ids, metrics and limits.
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

// Names of response headers.
const (
	RequestIDHeader = "X-Amzn-Requestid"
	MessageHeader   = "X-Ecrin-Authorization-Message" // in a denial: the input of sts decode-authorization-message
)

// Event describes one request. Handlers fill it in; Server logs it once, when the request ends.
type Event struct {
	guard.Event
	Door      string // the API of the request: oci, ecr, sts, iam, ecrin or ops
	Operation string // name of the operation in the specification or the API
}

// Handler answers requests.
type Handler interface {
	// Handle answers a request and fills in its event. On failure it writes the error response and sets ev.Err.
	Handle(w http.ResponseWriter, r *http.Request, ev *Event)
}

// Server turns a Handler into an http.Handler.
type Server struct {
	handler Handler
	log     *slog.Logger
	metrics *Metrics
	proxies []netip.Prefix
	now     func() time.Time

	idleTimeout time.Duration // maxIdle, or less in tests
}

// Options holds the parameters of NewServer.
type Options struct {
	Log     *slog.Logger
	Metrics *Metrics // used by this server only
	// Proxies are the addresses of trusted proxies; X-Forwarded-For and X-Forwarded-Proto are read only in their
	// requests.
	Proxies []netip.Prefix
	Now     func() time.Time
}

// NewServer returns a Server for the handler.
func NewServer(h Handler, o Options) *Server {
	return &Server{handler: h, log: o.Log, metrics: o.Metrics, proxies: o.Proxies, now: o.Now, idleTimeout: maxIdle}
}

// ServeHTTP serves one request. A panic of the handler becomes status 500 and an error of the event.
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
		body := &deadlineBody{ReadCloser: r.Body, control: http.NewResponseController(w), now: s.now, timeout: s.idleTimeout}
		body.extend() // also needed if the handler does not read the body: package http then reads the rest
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
		slog.String("method", r.Method), slog.String("host", r.Host), slog.String("path", r.URL.Path), // without the query, which may contain signatures
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

// newRequestID returns a version 4 UUID. Request ids are not secret, so a generator that is not cryptographic suffices.
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

// recorder records the status and the number of bytes of an answer. It implements io.ReaderFrom, so that package http
// can still send files by sendfile.
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

// maxIdle is the time for which a client may send no bytes of a body.
const maxIdle = 60 * time.Second

// deadlineBody extends the read deadline of the connection while bytes arrive: a transfer may take hours, but it fails
// if no byte arrives for timeout.
type deadlineBody struct {
	io.ReadCloser
	control  *http.ResponseController
	now      func() time.Time
	extended time.Time // of the last extension
	timeout  time.Duration
}

func (b *deadlineBody) extend() {
	// Not on every read: setting a deadline costs a lock and a timer.
	if now := b.now(); now.Sub(b.extended) > b.timeout/8 {
		b.extended = now
		// The writers of some tests have no deadlines; they work without.
		_ = b.control.SetReadDeadline(time.Now().Add(b.timeout))
	}
}

func (b *deadlineBody) Read(p []byte) (int, error) {
	b.extend()
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { // the time that the handler now needs is not limited by the client
		_ = b.control.SetReadDeadline(time.Time{})
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = fault.RequestTimeout.New("no bytes arrived for %s", b.timeout).Because(err)
	}
	return n, err
}

// ReadBody reads the whole body of a request, which may have up to maxBytes bytes.
//
// Errors: fault.RequestTooLarge, fault.RequestTimeout, fault.MalformedRequest (the client disconnected, or the body is
// shorter than declared).
func ReadBody(r *http.Request, maxBytes int64) ([]byte, error) {
	tooLarge := fault.RequestTooLarge.New("the body of this request may have up to %d bytes", maxBytes)
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

// Gone reports whether err only means that the client disconnected.
func Gone(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}
