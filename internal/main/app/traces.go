package app

import (
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/net/otlp"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// trace makes the exporter of spans if the configuration has a collector. The operator has chosen its address, so that the rules of
// egress do not apply to it.
func (a *App) trace(roots *x509.CertPool) {
	if a.config.Traces.URL == "" {
		return
	}
	a.traces = otlp.New(otlp.Options{URL: a.config.Traces.Endpoint(), Headers: a.config.TraceHeaders, Ratio: a.config.Traces.Ratio,
		Roots: roots, Service: "ecrin", Of: []otlp.Attribute{{Key: "service.instance.id", Value: a.meta.Node()}}, Log: a.log})
}

// countSpans adds the metrics of spans.
func (a *App) countSpans(m *web.Metrics) {
	if a.traces == nil {
		return
	}
	m.Count("ecrin_spans_sent_total", "Spans that the collector of traces has taken.", a.traces.Sent)
	m.Count("ecrin_spans_dropped_total", "Spans that were lost: the queue was full, or the collector did not take them.", a.traces.Dropped)
}

// traced returns what makes a span of a request, nil without a collector.
func (a *App) traced() func(*http.Request, *web.Event, web.Ending) {
	if a.traces == nil {
		return nil
	}
	return a.traceRequest
}

// traceRequest makes the span of a request, except for those of probes and metrics. Its trace is that of the header traceparent of a
// trusted proxy, otherwise a new one whose id is the id of the request: a client must not choose ids by which others search. What it
// sent is an attribute, by which the owner of its trace finds the span.
func (a *App) traceRequest(r *http.Request, ev *web.Event, e web.Ending) {
	if ev.Door == "ops" {
		return
	}
	var parent otlp.Parent
	var named bool
	if sent := r.Header["Traceparent"]; len(sent) == 1 {
		parent, named = otlp.ParseParent(sent[0])
	}
	s := otlp.Span{Trace: traceOf(ev.RequestID)}
	claimed := ""
	switch {
	case named && e.Trusted && !parent.Sampled:
		return
	case named && e.Trusted:
		s.Trace, s.Parent = parent.Trace, parent.Span
	case !a.traces.Kept(s.Trace):
		return
	case named:
		claimed = parent.String()
	}
	s.Name, s.Kind, s.Start, s.End = ev.Door+" "+ev.Operation, otlp.Server, e.Start, e.Start.Add(e.Took)
	s.Failed = e.Status >= 500
	code := ""
	if ev.Err != nil {
		code = fault.From(ev.Err).Code.String()
	}
	_, repository, _ := strings.Cut(ev.Resource, ":repository/")
	s.Attributes = []otlp.Attribute{
		{Key: "ecrin.door", Value: ev.Door}, {Key: "ecrin.operation", Value: ev.Operation},
		{Key: "ecrin.account", Value: ev.Owner.Account().String()},
		{Key: "ecrin.region", Value: ev.Region.String()}, {Key: "ecrin.repository", Value: repository},
		{Key: "aws.request_id", Value: ev.RequestID}, {Key: "error.type", Value: code},
		{Key: "http.request.method", Value: method(r.Method)}, {Key: "http.response.status_code", Value: int64(e.Status)},
		{Key: "http.response.body.size", Value: e.Sent}, {Key: "ecrin.client.traceparent", Value: claimed},
	}
	a.traces.Add(s)
}

// method returns the method of a request, _OTHER if it is none of those that the server knows: clients can invent any number of them.
// Source: OpenTelemetry semantic conventions, http.request.method.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "_OTHER"
}

// traceOf returns the id of the trace of a request: its own id without hyphens.
func traceOf(requestID string) (id otlp.TraceID) {
	var digits [32]byte
	n := 0
	for i := 0; i < len(requestID) && n < len(digits); i++ {
		if requestID[i] != '-' {
			digits[n] = requestID[i]
			n++
		}
	}
	if _, err := hex.Decode(id[:], digits[:n]); err != nil || n != len(digits) {
		return otlp.NewTraceID()
	}
	return id
}

// attempted returns what makes a span of an attempt of a job, nil without a collector.
func (a *App) attempted() func(jobs.Attempt) {
	if a.traces == nil {
		return nil
	}
	return func(j jobs.Attempt) {
		s := otlp.Span{Trace: otlp.NewTraceID(), Name: "job " + j.Kind, Kind: otlp.Internal, Start: j.Start, End: j.Start.Add(j.Took),
			Failed: j.Err != nil && !j.Stopped}
		if !a.traces.Kept(s.Trace) {
			return
		}
		code := ""
		if s.Failed {
			code = fault.From(j.Err).Code.String()
		}
		s.Attributes = []otlp.Attribute{
			{Key: "ecrin.job.kind", Value: j.Kind}, {Key: "ecrin.job.id", Value: j.ID}, {Key: "ecrin.job.attempt", Value: int64(j.Number)},
			{Key: "ecrin.job.stopped", Value: j.Stopped}, {Key: "ecrin.account", Value: j.Account}, {Key: "error.type", Value: code},
		}
		a.traces.Add(s)
	}
}
