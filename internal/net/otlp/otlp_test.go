package otlp_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/otlp"
)

// collector is the transport of an exporter to a collector that answers each request by the next of its functions, and by the last one
// for ever.
type collector struct {
	mu      sync.Mutex
	answers []func(r *http.Request) (*http.Response, error)
	bodies  []string
}

func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.bodies = append(c.bodies, string(body))
	answer := c.answers[0]
	if len(c.answers) > 1 {
		c.answers = c.answers[1:]
	}
	c.mu.Unlock()
	return answer(r)
}

// say answers with a status and a body.
func say(status int, body string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

// hang answers when the request ends.
func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// spansIn returns how many spans a request has, and the id of the first one.
func spansIn(t *testing.T, body string) (n int, first string) {
	t.Helper()
	var r struct {
		ResourceSpans []struct {
			ScopeSpans []struct{ Spans []struct{ SpanID string } }
		}
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	spans := r.ResourceSpans[0].ScopeSpans[0].Spans
	return len(spans), spans[0].SpanID
}

func newExporter(c *collector) *otlp.Exporter {
	return otlp.New(otlp.Options{URL: "http://collector.test/v1/traces", Ratio: 1, Service: "ecrin", Dial: c,
		Log: slog.New(slog.DiscardHandler)})
}

// What the collector answers decides whether spans are sent again, counted as sent, or as dropped.
func TestAnswersOfTheCollector(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                    string
		answers                 []func(*http.Request) (*http.Response, error)
		requests, sent, dropped int
	}{
		{"accepted", []func(*http.Request) (*http.Response, error){say(200, `{}`)}, 1, 3, 0},
		{"accepted without a body", []func(*http.Request) (*http.Response, error){say(200, ``)}, 1, 3, 0},
		{"a part refused", []func(*http.Request) (*http.Response, error){say(200, `{"partialSuccess":{"rejectedSpans":"2"}}`)}, 1, 1, 2},
		{"a part refused, as a number", []func(*http.Request) (*http.Response, error){
			say(200, `{"partialSuccess":{"rejectedSpans":2}}`),
		}, 1, 1, 2},
		{"more refused than sent", []func(*http.Request) (*http.Response, error){say(200, `{"partialSuccess":{"rejectedSpans":"9"}}`)}, 1, 0, 3},
		{"not authorized", []func(*http.Request) (*http.Response, error){say(401, ``)}, 1, 0, 3},
		{"a redirect", []func(*http.Request) (*http.Response, error){say(302, ``)}, 1, 0, 3},
		{"busy, then accepted", []func(*http.Request) (*http.Response, error){say(503, ``), say(429, ``), say(200, `{}`)}, 3, 3, 0},
		{"busy for ever", []func(*http.Request) (*http.Response, error){say(503, ``)}, 5, 0, 3},
		{"hangs", []func(*http.Request) (*http.Response, error){hang}, 5, 0, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &collector{answers: test.answers}
				e := newExporter(c)
				go e.Run()
				for range 3 {
					e.Add(otlp.Span{Trace: otlp.NewTraceID(), Name: "a", Kind: otlp.Server})
				}
				time.Sleep(10 * time.Minute) // of the clock of the test
				e.Stop(t.Context())
				if len(c.bodies) != test.requests || e.Sent() != uint64(test.sent) || e.Dropped() != uint64(test.dropped) {
					t.Errorf("got %d requests, %d spans sent, %d dropped, want %d, %d, %d", len(c.bodies), e.Sent(), e.Dropped(),
						test.requests, test.sent, test.dropped)
				}
				_, id := spansIn(t, c.bodies[0])
				for _, body := range c.bodies {
					if _, again := spansIn(t, body); again != id {
						t.Errorf("got the span %s, then %s, want the same id in each attempt", id, again)
					}
				}
			})
		})
	}
}

// While the collector hangs, the queue fills and the rest is dropped; Add never waits. A stop with time left sends what is queued, one
// without drops it: each span is counted once.
func TestHangingCollector(t *testing.T) {
	t.Parallel()
	const added = 10_000
	for _, accepts := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := &collector{answers: []func(*http.Request) (*http.Response, error){hang}}
			e := newExporter(c)
			go e.Run()
			began := time.Now()
			for i := range added {
				if e.Add(otlp.Span{Trace: otlp.NewTraceID(), Name: "a"}); i == 600 {
					synctest.Wait() // the first batch is being sent
				}
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("adding took %s, want no waiting", took)
			}
			if got, want := e.Dropped(), uint64(added-2048-512); got != want {
				t.Errorf("got %d dropped spans, want %d: all but a batch and the queue", got, want)
			}
			if accepts {
				c.mu.Lock()
				c.answers = []func(*http.Request) (*http.Response, error){say(200, "{}")}
				c.mu.Unlock()
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			e.Stop(ctx)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("the stop took %s, want at most 3 s", took)
			}
			if got := e.Sent() + e.Dropped(); got != added {
				t.Errorf("got %d spans sent and %d dropped, want %d together", e.Sent(), e.Dropped(), added)
			}
			if accepts != (e.Sent() == 2048+512) {
				t.Errorf("collector accepts %t: got %d spans sent", accepts, e.Sent())
			}
			for _, body := range c.bodies {
				if n, _ := spansIn(t, body); n > 512 {
					t.Errorf("got a request with %d spans, want at most 512", n)
				}
			}
		})
	}
}

// A request of the specification's JSON encoding, with headers.
func TestRequest(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + r.Header.Get("X-Key") + " " + string(body)
	}))
	defer server.Close()
	e := otlp.New(otlp.Options{URL: server.URL + "/v1/traces", Ratio: 1,
		Headers: map[string]string{"x-key": "k", "Content-Type": "text/plain"}, Service: "ecrin",
		Of: []otlp.Attribute{{Key: "service.instance.id", Value: ""}}, Log: slog.New(slog.DiscardHandler)})
	go e.Run()
	p, _ := otlp.ParseParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	e.Add(otlp.Span{Trace: p.Trace, Parent: p.Span, Name: "oci get", Kind: otlp.Server,
		Start: time.Unix(1, 2), End: time.Unix(3, 4), Failed: true,
		Attributes: []otlp.Attribute{{Key: "s", Value: "x"}, {Key: "none", Value: ""}, {Key: "n", Value: int64(1 << 60)},
			{Key: "b", Value: false}}})
	e.Stop(t.Context())
	request := <-got
	_, id := spansIn(t, request[strings.Index(request, "{"):])
	want := `POST /v1/traces application/json k {"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"ecrin"}}]},` +
		`"scopeSpans":[{"scope":{"name":"ecrin"},"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"` + id +
		`","parentSpanId":"b7ad6b7169203331","name":"oci get","kind":2,"startTimeUnixNano":"1000000002","endTimeUnixNano":"3000000004",` +
		`"attributes":[{"key":"s","value":{"stringValue":"x"}},{"key":"n","value":{"intValue":"1152921504606846976"}},` +
		`{"key":"b","value":{"boolValue":false}}],"status":{"code":2}}]}]}]}`
	if request != want || len(id) != 16 {
		t.Errorf("got  %s\nwant %s", request, want)
	}
}

// The share of the traces that are kept is the ratio, and deciding allocates nothing.
func TestRatio(t *testing.T) {
	t.Parallel()
	for ratio, want := range map[float64][2]int{0: {0, 0}, 0.25: {2000, 3000}, 1: {10_000, 10_000}} {
		e := otlp.New(otlp.Options{URL: "http://collector.test", Ratio: ratio, Log: slog.New(slog.DiscardHandler)})
		n := 0
		for range 10_000 {
			if e.Kept(otlp.NewTraceID()) {
				n++
			}
		}
		if n < want[0] || n > want[1] {
			t.Errorf("ratio %v: got %d of 10000 traces, want %v", ratio, n, want)
		}
	}
}

func FuzzParseParent(f *testing.F) {
	const ids = "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
	for text, valid := range map[string]bool{
		"00" + ids + "01": true, "00" + ids + "00": true, "00" + ids + "ff": true, "01" + ids + "01": true, "01" + ids + "01-more": true,
		"": false, "00" + ids + "01-more": false, "01" + ids + "01more": false, "ff" + ids + "01": false, "00" + ids + "0": false,
		"00" + strings.ToUpper(ids) + "01": false, "00" + ids + "0x": false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false, "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
	} {
		if _, got := otlp.ParseParent(text); got != valid {
			f.Errorf("%q: got valid %t, want %t", text, got, valid)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := otlp.ParseParent(text)
		if !ok {
			return
		}
		if again, ok := otlp.ParseParent(p.String()); !ok || again != p {
			t.Errorf("%q: got %v, written and parsed %v", text, p, again)
		}
	})
}
