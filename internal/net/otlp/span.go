// Package otlp sends spans to a collector of OpenTelemetry by OTLP/HTTP with the JSON encoding. Spans wait in a bounded queue: who adds
// one never waits for the collector.
//
// Source: OpenTelemetry protocol specification 1.x, OTLP/HTTP; opentelemetry-proto, trace/v1/trace.proto.
package otlp

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"time"
)

// TraceID identifies a trace. The zero value is invalid.
type TraceID [16]byte

// SpanID identifies a span in its trace. The zero value is invalid.
type SpanID [8]byte

// Kind is the role of a span.
type Kind int

// The kinds of spans that the server makes, with their numbers in trace.proto.
const (
	Internal Kind = 1
	Server   Kind = 2
)

// Span is something that the server did, from its start to its end.
type Span struct {
	Trace  TraceID
	Parent SpanID // zero for none
	Name   string
	Kind   Kind
	Start  time.Time
	End    time.Time
	// Attributes have values of type string, int64 or bool. Those with the value "" are left out.
	Attributes []Attribute
	Failed     bool // the status of the span is an error

	id SpanID // chosen by Add: a batch that is sent again has the same ids
}

// Attribute is a named value of a span.
type Attribute struct {
	Key   string
	Value any
}

// Parent is the position in a trace that a W3C traceparent header has.
type Parent struct {
	Trace   TraceID
	Span    SpanID
	Sampled bool
}

// ParseParent parses a value of the header traceparent, and reports whether it is valid. Source: W3C Trace Context, section 3.2.
func ParseParent(text string) (Parent, bool) {
	var p Parent
	var version, flags [1]byte
	if len(text) < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-' || len(text) > 55 && (text[55] != '-' || text[:2] == "00") {
		return Parent{}, false
	}
	for _, part := range []struct {
		text string
		to   []byte
	}{{text[:2], version[:]}, {text[3:35], p.Trace[:]}, {text[36:52], p.Span[:]}, {text[53:55], flags[:]}} {
		for _, c := range []byte(part.text) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return Parent{}, false
			}
		}
		if _, err := hex.Decode(part.to, []byte(part.text)); err != nil {
			return Parent{}, false
		}
	}
	if version[0] == 0xff || p.Trace == (TraceID{}) || p.Span == (SpanID{}) {
		return Parent{}, false
	}
	p.Sampled = flags[0]&1 != 0
	return p, true
}

// String returns the header of version 00 for p.
func (p Parent) String() string {
	flags := "00"
	if p.Sampled {
		flags = "01"
	}
	return "00-" + hex.EncodeToString(p.Trace[:]) + "-" + hex.EncodeToString(p.Span[:]) + "-" + flags
}

// NewTraceID returns a random id. Ids of traces are not secret, so a generator that is not cryptographic suffices.
func NewTraceID() (id TraceID) {
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()|1)
	return id
}

func newSpanID() (id SpanID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}

// kept reports whether a ratio, 0 to 1, of all traces includes the one with the id. It depends on the id alone, whose last 7 bytes are
// random. Source: W3C Trace Context level 2, random-trace-id.
func kept(id TraceID, ratio float64) bool {
	const all = 1 << 56
	return float64(binary.BigEndian.Uint64(id[8:])&(all-1)) < math.Round(ratio*all)
}
