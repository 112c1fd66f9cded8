package web

import (
	"bytes"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics holds the collectors of one server. Labels never contain repository names or principals.
type Metrics struct {
	registry *prometheus.Registry
	inFlight prometheus.Gauge
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	sent     *prometheus.CounterVec

	connections      prometheus.Gauge
	refused, evicted prometheus.Counter
	filesShort       prometheus.Counter

	textMu sync.Mutex
	text   []byte // as it was made at textAt
	textAt time.Time

	mu    sync.RWMutex
	ready map[metricKey]*series // the collectors with their labels applied, to save the lookup by label
}

type metricKey struct {
	door, operation string
	status          int
}

type series struct {
	requests, sent prometheus.Counter
	seconds        prometheus.Observer
}

// NewMetrics returns collectors in a registry of their own, so that one process can run several servers.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		ready:    map[metricKey]*series{},
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "ecrin_requests_in_flight", Help: "Requests that are being answered."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ecrin_requests_total",
			Help: "Requests answered, by door, operation and status."}, []string{"door", "operation", "status"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ecrin_sent_bytes_total",
			Help: "Bytes of response bodies, by door and operation."}, []string{"door", "operation"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ecrin_request_seconds",
			Help:    "Time from the request's header to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120}}, []string{"door", "operation"}),
	}
	m.connections = prometheus.NewGauge(prometheus.GaugeOpts{Name: "ecrin_connections", Help: "Connections that are open."})
	m.refused = prometheus.NewCounter(prometheus.CounterOpts{Name: "ecrin_connections_refused_total",
		Help: "New connections closed because there were too many."})
	m.evicted = prometheus.NewCounter(prometheus.CounterOpts{Name: "ecrin_connections_evicted_total",
		Help: "Idle connections closed because there were too many."})
	m.filesShort = prometheus.NewCounter(prometheus.CounterOpts{Name: "ecrin_file_descriptors_exhausted_total",
		Help: "Times that no file descriptor was free."})
	m.registry.MustRegister(m.filesShort, m.inFlight, m.requests, m.sent, m.seconds, m.connections, m.refused, m.evicted,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Count adds a counter without labels; read returns its value. Count must be called before the first request.
func (m *Metrics) Count(name, help string, read func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 {
		return float64(read())
	}))
}

// CountOf adds a counter with one label, of which it has the given value; read returns the counter's value. CountOf must be called
// before the first request.
func (m *Metrics) CountOf(name, help, label, value string, read func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help,
		ConstLabels: prometheus.Labels{label: value}}, func() float64 { return float64(read()) }))
}

// SumOf is CountOf for a sum that is no whole number, such as seconds.
func (m *Metrics) SumOf(name, help, label, value string, read func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help,
		ConstLabels: prometheus.Labels{label: value}}, read))
}

// Measure adds a gauge. It must be called before the first request.
func (m *Metrics) Measure(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// MeasureOf adds a gauge with one label, as CountOf adds a counter.
func (m *Metrics) MeasureOf(name, help, label, value string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help,
		ConstLabels: prometheus.Labels{label: value}}, read))
}

// maxMetricsAge is the time for which the text of the metrics is sent again. All requests in this time share its bytes.
const maxMetricsAge = time.Second

// ServeHTTP answers with the metrics in the text format of Prometheus, as they were at most maxMetricsAge ago, and ends the connection:
// thousands that ask again and again, and never read, would each have their answers made until a buffer is full.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Connection", "close")
	_, _ = w.Write(m.current()) // a client that has gone cannot be told
}

func (m *Metrics) current() []byte {
	m.textMu.Lock()
	defer m.textMu.Unlock()
	if now := time.Now(); m.text == nil || now.Sub(m.textAt) > maxMetricsAge {
		made := &textWriter{header: http.Header{}}
		promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(made, &http.Request{Method: http.MethodGet})
		m.text, m.textAt = made.Bytes(), now
	}
	return m.text
}

// textWriter is the ResponseWriter that keeps a text.
type textWriter struct {
	bytes.Buffer
	header http.Header
}

func (t *textWriter) Header() http.Header { return t.header }
func (t *textWriter) WriteHeader(int)     {}

func (m *Metrics) observe(ev *Event, status int, took time.Duration, sent int64) {
	key := metricKey{ev.Door, ev.Operation, status}
	m.mu.RLock()
	s := m.ready[key]
	m.mu.RUnlock()
	if s == nil {
		s = &series{
			requests: m.requests.WithLabelValues(ev.Door, ev.Operation, strconv.Itoa(status)),
			sent:     m.sent.WithLabelValues(ev.Door, ev.Operation),
			seconds:  m.seconds.WithLabelValues(ev.Door, ev.Operation),
		}
		m.mu.Lock()
		m.ready[key] = s
		m.mu.Unlock()
	}
	s.requests.Inc()
	s.sent.Add(float64(sent))
	s.seconds.Observe(took.Seconds())
}
