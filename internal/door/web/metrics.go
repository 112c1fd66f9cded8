package web

import (
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
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ecrin_requests_total", Help: "Requests answered, by door, operation and status."}, []string{"door", "operation", "status"}),
		sent:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ecrin_sent_bytes_total", Help: "Bytes of response bodies, by door and operation."}, []string{"door", "operation"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ecrin_request_seconds", Help: "Time from the request's header to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120}}, []string{"door", "operation"}),
	}
	m.registry.MustRegister(m.inFlight, m.requests, m.sent, m.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Count adds a counter without labels; read returns its value. Count must be called before the first request.
func (m *Metrics) Count(name, help string, read func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(read()) }))
}

// Handler serves the metrics in the text format of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

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
