package otlp

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// The messages of trace.proto in the JSON encoding: ids in hexadecimal, 64-bit numbers as texts, enumerations as numbers. Source: OTLP
// specification, JSON Protobuf Encoding.
type (
	request struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource   resource     `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	resource struct {
		Attributes []attribute `json:"attributes"`
	}
	scopeSpans struct {
		Scope scope  `json:"scope"`
		Spans []span `json:"spans"`
	}
	scope struct {
		Name string `json:"name"`
	}
	span struct {
		TraceID    string      `json:"traceId"`
		SpanID     string      `json:"spanId"`
		Parent     string      `json:"parentSpanId,omitempty"`
		Name       string      `json:"name"`
		Kind       Kind        `json:"kind"`
		Start      string      `json:"startTimeUnixNano"`
		End        string      `json:"endTimeUnixNano"`
		Attributes []attribute `json:"attributes,omitempty"`
		Status     *status     `json:"status,omitempty"`
	}
	status struct {
		Code int `json:"code"`
	}
	attribute struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	value struct {
		String *string `json:"stringValue,omitempty"`
		Bool   *bool   `json:"boolValue,omitempty"`
		Int    *string `json:"intValue,omitempty"`
	}
	response struct {
		Partial struct {
			Rejected json.RawMessage `json:"rejectedSpans"` // a text, or a number of some collectors
			Message  string          `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
)

// statusError is STATUS_CODE_ERROR of trace.proto.
const statusError = 2

// rejected returns how many of n spans an answer says were refused: 0 if it says nothing that can be read.
func (r response) rejected(n int) int {
	text := string(r.Partial.Rejected)
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	refused, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return min(max(refused, 0), n)
}

// encode returns the body of a request with spans.
func encode(of []attribute, name string, spans []Span) ([]byte, error) {
	all := make([]span, len(spans))
	for i, s := range spans {
		all[i] = span{TraceID: hex.EncodeToString(s.Trace[:]), SpanID: hex.EncodeToString(s.id[:]), Name: s.Name, Kind: s.Kind,
			Start: nanoseconds(s.Start), End: nanoseconds(s.End), Attributes: attributes(s.Attributes)}
		if s.Parent != (SpanID{}) {
			all[i].Parent = hex.EncodeToString(s.Parent[:])
		}
		if s.Failed {
			all[i].Status = &status{statusError}
		}
	}
	return json.Marshal(request{[]resourceSpans{{resource{of}, []scopeSpans{{scope{name}, all}}}}})
}

func nanoseconds(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func attributes(all []Attribute) []attribute {
	out := make([]attribute, 0, len(all))
	for _, a := range all {
		var v value
		switch x := a.Value.(type) {
		case string:
			if x == "" {
				continue
			}
			v.String = &x
		case int64:
			text := strconv.FormatInt(x, 10)
			v.Int = &text
		case bool:
			v.Bool = &x
		default:
			continue
		}
		out = append(out, attribute{a.Key, v})
	}
	return out
}
