package otlp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// maxQueue is how many spans wait for the collector. More are dropped and counted.
	maxQueue = 2048
	// maxBatch is how many spans one request has.
	maxBatch = 512
	// sendEvery is the time after which fewer spans are sent.
	sendEvery = 5 * time.Second
	// maxSend is the time that a request may take, with its answer.
	maxSend = 10 * time.Second
	// maxAttempts is how often a batch is sent that the collector could not take; then it is dropped.
	maxAttempts = 5
	// firstPause is the time before the second attempt; each further one waits twice as long, up to maxPause.
	firstPause = time.Second
	maxPause   = 30 * time.Second
	// maxAnswer is how many bytes of an answer are read.
	maxAnswer = 64 << 10
)

// Options are the parameters of New. URL and Log are required.
type Options struct {
	URL     string                               // of the collector, to which spans are posted, such as http://localhost:4318/v1/traces
	Headers map[string]string                    // sent with each request; their values are secret
	Ratio   float64                              // of the traces that are kept, 0 to 1
	Roots   *x509.CertPool                       // trusted certificate authorities; nil means the system's
	Service string                               // name of the program
	Of      []Attribute                          // of the process, besides the service's name
	Log     *slog.Logger                         // the first failure and the first success after it are logged
	Dial    http.RoundTripper                    // nil, or the transport of a test
	Pause   func(time.Duration) <-chan time.Time // nil means time.After
}

// Exporter sends spans to a collector. It is safe for concurrent use.
type Exporter struct {
	o        Options
	of       []attribute
	client   *http.Client
	queue    chan Span
	stopping chan struct{}
	last     context.Context // of the requests after stopping was closed
	ended    chan struct{}

	sent, dropped atomic.Uint64
	failing       bool // of the goroutine of Run
}

// New returns an Exporter that sends nothing before Run.
func New(o Options) *Exporter {
	if o.Pause == nil {
		o.Pause = time.After
	}
	if o.Dial == nil {
		// Without the proxies of the environment: no other connection of the server uses them.
		o.Dial = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			MaxIdleConns: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10}
	}
	return &Exporter{
		o: o, of: attributes(append([]Attribute{{"service.name", o.Service}}, o.Of...)),
		client: &http.Client{Transport: o.Dial, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		queue:  make(chan Span, maxQueue), stopping: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Kept reports whether the spans of a trace are to be added, which its id decides.
func (e *Exporter) Kept(id TraceID) bool { return kept(id, e.o.Ratio) }

// Add queues a span. It never waits: if the queue is full, the span is dropped and counted.
func (e *Exporter) Add(s Span) {
	s.id = newSpanID()
	select {
	case e.queue <- s:
	default:
		e.dropped.Add(1)
	}
}

// Sent returns how many spans the collector has taken.
func (e *Exporter) Sent() uint64 { return e.sent.Load() }

// Dropped returns how many spans were lost: the queue was full, or the collector did not take them.
func (e *Exporter) Dropped() uint64 { return e.dropped.Load() }

// Run sends spans until Stop. It must be called once.
func (e *Exporter) Run() {
	defer close(e.ended)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // a request that waits for the collector is ended, so that the rest can be tried within the time of Stop
		select {
		case <-e.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	batch := make([]Span, 0, maxBatch)
	for {
		due := false
		select {
		case s := <-e.queue:
			batch = append(batch, s)
			due = len(batch) == maxBatch
		case <-tick.C:
			due = len(batch) > 0
		case <-e.stopping:
			e.flush(batch)
			return
		}
		if due {
			if !e.send(ctx, batch) { // the server stops
				e.flush(batch)
				return
			}
			clear(batch)
			batch = batch[:0]
		}
	}
}

// Stop sends what is queued, each batch once, until ctx ends, and ends Run. What is not sent then is dropped and counted. Spans must not
// be added after Stop.
func (e *Exporter) Stop(ctx context.Context) {
	e.last = ctx
	close(e.stopping)
	<-e.ended
	e.client.CloseIdleConnections()
}

// flush sends the batch and what is queued, each once.
func (e *Exporter) flush(batch []Span) {
	for {
		for more := true; more && len(batch) < maxBatch; {
			select {
			case s := <-e.queue:
				batch = append(batch, s)
			default:
				more = false
			}
		}
		if len(batch) == 0 {
			return
		}
		_, err := e.post(e.last, batch)
		e.note(len(batch), err)
		if err != nil && e.last.Err() != nil {
			e.dropped.Add(uint64(len(e.queue)))
			return
		}
		batch = batch[:0]
	}
}

// send posts a batch until the collector takes or refuses it, at most maxAttempts times. It returns false, without a count, if the
// server stops before.
func (e *Exporter) send(ctx context.Context, batch []Span) bool {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		after, err := e.post(ctx, batch)
		if err != nil && ctx.Err() != nil {
			return false
		}
		var temporary temporaryError
		if err == nil || !errors.As(err, &temporary) || attempt == maxAttempts {
			e.note(len(batch), err)
			return true
		}
		e.warn(err)
		wait := min(max(pause/2+rand.N(pause), after), maxPause)
		select {
		case <-e.o.Pause(wait):
		case <-ctx.Done():
			return false
		}
		pause = min(2*pause, maxPause)
	}
}

// note counts a batch that was sent, or dropped because of err.
func (e *Exporter) note(n int, err error) {
	var partial partialError
	switch {
	case errors.As(err, &partial):
		e.dropped.Add(uint64(partial.rejected))
		e.sent.Add(uint64(n - partial.rejected))
	case err != nil:
		e.dropped.Add(uint64(n))
	default:
		e.sent.Add(uint64(n))
		if e.failing {
			e.failing = false
			e.o.Log.Info("the collector takes spans again", "dropped", e.Dropped())
		}
		return
	}
	e.warn(err)
}

// warn logs the first failure after a success.
func (e *Exporter) warn(err error) {
	if !e.failing {
		e.failing = true
		e.o.Log.Warn("the collector does not take spans: requests go on, and spans are dropped when the queue is full",
			"url", e.o.URL, "cause", err)
	}
}

// temporaryError is why a batch may be sent again.
type temporaryError struct{ error }

// partialError says that the collector has taken a part of a batch.
type partialError struct {
	rejected int
	text     string
}

func (p partialError) Error() string {
	return fmt.Sprintf("the collector refused %d spans: %.200q", p.rejected, p.text)
}

// post sends a batch once. After an error that is a temporaryError, the batch may be sent again, after the time that the collector asks
// for.
func (e *Exporter) post(ctx context.Context, batch []Span) (after time.Duration, err error) {
	body, err := encode(e.of, e.o.Service, batch)
	if err != nil {
		return 0, fmt.Errorf("encoding spans: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, maxSend)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.o.URL, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("sending spans: %w", err)
	}
	for name, value := range e.o.Headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", e.o.Service)
	resp, err := e.client.Do(r)
	if err != nil {
		return 0, temporaryError{fmt.Errorf("sending spans: %w", err)}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return time.Duration(min(max(seconds, 0), int(maxPause/time.Second))) * time.Second,
			temporaryError{fmt.Errorf("sending spans: status %d", resp.StatusCode)}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return 0, fmt.Errorf("sending spans: status %d: %.200q", resp.StatusCode, answer)
	}
	if err != nil {
		return 0, nil // the collector has them; a second request would send them twice
	}
	var said response
	if json.Unmarshal(answer, &said) == nil {
		if n := said.rejected(len(batch)); n > 0 {
			return 0, partialError{n, said.Partial.Message}
		}
	}
	return 0, nil
}
