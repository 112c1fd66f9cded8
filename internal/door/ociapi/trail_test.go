package ociapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// counts is a trail that counts its calls.
type counts struct{ begun, ended int }

func (c *counts) Begin(ctx context.Context, _ *guard.Event) context.Context {
	c.begun++
	return ctx
}

func (c *counts) End(context.Context, *guard.Event) { c.ended++ }

// Begin is called before a request that may change something is served, so that the transaction of the change can
// insert its line. End is called once for each request, whether it is answered, refused or panics.
func TestTrail(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method string
		want   counts
	}{
		{http.MethodGet, counts{0, 1}}, {http.MethodHead, counts{0, 1}}, {http.MethodPut, counts{1, 1}}, {http.MethodPost, counts{1, 1}},
		{http.MethodPatch, counts{1, 1}}, {http.MethodDelete, counts{1, 1}},
	} {
		for what, parse := range map[string]func(*request) (*operation, error){
			"refused": func(*request) (*operation, error) { return nil, fault.UnknownOperation.New("no such path") },
			"answered": func(*request) (*operation, error) {
				return &operation{serve: func(*API, *request) error { return nil }}, nil
			},
			"panics": func(*request) (*operation, error) { panic("broken") },
		} {
			got, ev := counts{}, new(web.Event)
			func() {
				defer func() { _ = recover() }()
				a := &API{trail: &got, guard: guard.New(nil, nil, nil, guard.Options{})}
				a.handle(httptest.NewRecorder(), httptest.NewRequest(test.method, "/v2/", nil), ev, parse)
			}()
			if got != test.want {
				t.Errorf("%s, %s: got begun and ended %v, want %v", test.method, what, got, test.want)
			}
			if failed := ev.Err != nil; failed != (what != "answered") {
				t.Errorf("%s, %s: the event has the error %v", test.method, what, ev.Err)
			}
		}
	}
}

// A request that the server cannot begin to serve, since it does not have the current metadata, is one of this door in the log and in the
// metrics too, and its answer has the form and the headers of this door.
func TestRefusedBeforeItIsServed(t *testing.T) {
	t.Parallel()
	a, ev, w := &API{}, new(web.Event), httptest.NewRecorder()
	ev.RequestID = "id"
	a.Refuse(w, httptest.NewRequest(http.MethodGet, "/v2/", nil), ev, fault.Unavailable.New("the metadata cannot be read"))
	var body struct {
		Errors []struct{ Code, Message string }
	}
	err := json.Unmarshal(w.Body.Bytes(), &body)
	if ev.Door != "oci" || !errors.Is(ev.Err, fault.Unavailable) {
		t.Errorf("the event: got the door %q and the error %v, want oci and Unavailable", ev.Door, ev.Err)
	}
	if w.Code != http.StatusServiceUnavailable || err != nil || len(body.Errors) != 1 || w.Header().Get("Retry-After") == "" ||
		w.Header().Get("Docker-Distribution-Api-Version") != "registry/2.0" || w.Header().Get(web.RequestIDHeader) != "id" {
		t.Errorf("got %d %v %s, want 503 with one error in docker's form", w.Code, w.Header(), w.Body)
	}
}
