// Package web holds what all HTTP surfaces share: one event for each request, request ids, metrics and limits.
package web

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/usage"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// Names of response headers.
const (
	RequestIDHeader = "X-Amzn-Requestid"
	MessageHeader   = "X-Ecrin-Authorization-Message" // in a denial: the input of sts decode-authorization-message
)

// Event describes one request. Handlers fill it in; Server logs it once, when the request ends.
type Event struct {
	guard.Event
	Door      string      // the API of the request: oci, ecr, sts, iam, ecrin or ops
	Operation string      // name of the operation in the specification or the API
	Pull      *usage.Pull // what the pull log of a vendor has of the request; nil for none
	Cut       bool        // the answer ended before the length that its header announces; set when the request has ended

	conn *connection // nil without Connections
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
	ended   func(ev *Event, status int, sent int64)
	traced  func(r *http.Request, ev *Event, e Ending)

	occasional *occasionalLog

	idleTimeout time.Duration // maxIdle, or less in tests
	slowStart   time.Duration // maxSlowStart, or less in tests
	// writeTimeout is maxIdle, or less in tests, for which a client may take no bytes of an answer.
	writeTimeout time.Duration
}

// Options holds the parameters of NewServer.
type Options struct {
	Log     *slog.Logger
	Metrics *Metrics // used by this server only
	// Proxies are the addresses of trusted proxies; X-Forwarded-For and X-Forwarded-Proto are read only in their
	// requests.
	Proxies []netip.Prefix
	Now     func() time.Time
	// Ended, if not nil, is called when a request has ended, with the status and the bytes of the body of its answer. It must not wait.
	Ended func(ev *Event, status int, sent int64)
	// Traced, if not nil, is called like Ended, to make a span of the request. It must not wait.
	Traced func(r *http.Request, ev *Event, e Ending)
}

// Ending is what a server knows of a request that has ended besides its event.
type Ending struct {
	Status  int
	Sent    int64 // bytes of the body of the answer
	Start   time.Time
	Took    time.Duration
	Trusted bool // the connection comes from one of Options.Proxies
}

// NewServer returns a Server for the handler.
func NewServer(h Handler, o Options) *Server {
	return &Server{handler: h, log: o.Log, occasional: newOccasionalLog(o.Log), metrics: o.Metrics, proxies: o.Proxies,
		now: o.Now, ended: o.Ended, traced: o.Traced, idleTimeout: maxIdle, slowStart: maxSlowStart, writeTimeout: maxIdle}
}

// ServeHTTP serves one request. A panic of the handler becomes status 500 and an error of the event.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.now()
	ev := new(Event)
	ev.RequestID = NewRequestID()
	ev.conn = connectionOf(r)
	ev.From.SourceIP, ev.From.Secure = origin(r, s.proxies)
	ev.From.UserAgent, ev.From.Referer = r.UserAgent(), r.Referer()
	conn := ev.conn
	conn.begin()
	rec := newRecorder(w, s.writeTimeout)
	rec.conn = conn
	if r.ProtoMajor == 1 {
		rec.extend() // also for what package http writes itself, such as 100 Continue; the last answer's deadline may be over
	}
	s.metrics.inFlight.Inc()
	defer func() {
		s.metrics.inFlight.Dec()
		conn.end()
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				s.finish(r, rec, ev, start)
				panic(p)
			}
			ev.Err = errors.Join(ev.Err, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			if rec.status == 0 {
				http.Error(rec, "internal error, request "+ev.RequestID, http.StatusInternalServerError)
			}
		}
		s.finish(r, rec, ev, start)
	}()
	if r.ContentLength != 0 && r.Body != nil {
		body := &deadlineBody{ReadCloser: r.Body, control: http.NewResponseController(w), timeout: s.idleTimeout,
			begun: time.Now(), slowStart: s.slowStart, conn: conn}
		body.extend()
		r.Body = body
		// Package http must see its own body again: it answers at once if the rest is long, and reads a short rest before it answers.
		defer func() {
			r.Body = body.ReadCloser
			body.leave()
		}()
	}
	s.handler.Handle(rec, r, ev)
}

func (s *Server) finish(r *http.Request, rec *recorder, ev *Event, start time.Time) {
	took := s.now().Sub(start)
	status := rec.status
	if status == 0 {
		status = http.StatusOK
	}
	length, err := strconv.ParseInt(rec.Header().Get("Content-Length"), 10, 64)
	ev.Cut = err == nil && rec.sent < length && r.Method != http.MethodHead
	s.metrics.observe(ev, status, took, rec.sent)
	if s.ended != nil {
		s.ended(ev, status, rec.sent)
	}
	if s.traced != nil {
		_, trusted := proxied(r, s.proxies)
		s.traced(r, ev, Ending{Status: status, Sent: rec.sent, Start: start, Took: took, Trusted: trusted})
	}
	if ev.Err != nil && durable.IsOutOfFiles(ev.Err) {
		s.metrics.outOfFiles(s.occasional, ev.Operation, ev.Err)
	}
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
		// without the query, which may contain signatures
		slog.String("method", r.Method), slog.String("host", r.Host), slog.String("path", r.URL.Path),
		slog.Int("status", status), slog.Int64("sent", rec.sent), slog.Float64("took_ms",
			float64(took.Microseconds())/1000), slog.String("remote", remote(r, ev)))
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
	line := slog.NewRecord(s.now(), level, "request", 0) // without the program counter, which LogAttrs looks up and no line shows
	line.AddAttrs(attrs...)
	_ = s.log.Handler().Handle(ctx, line)
}

func remote(r *http.Request, ev *Event) string {
	if !ev.From.SourceIP.IsValid() {
		return r.RemoteAddr
	}
	return ev.From.SourceIP.String()
}

// NewRequestID returns a version 4 UUID. Request ids are not secret, so a generator that is not cryptographic suffices.
func NewRequestID() string {
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

// Gone reports whether err only means that the client disconnected.
func Gone(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}
