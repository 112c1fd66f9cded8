package app

import (
	"context"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/door/ociapi"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// doors sends each request to its door. It is the whole list of what is served.
type doors struct {
	oci     *ociapi.API
	aws     *awsapi.API
	metrics http.Handler
	refresh func(context.Context) error // lets the caches see what other processes have changed
	ready   func(context.Context) error
}

// Handle picks the door by path; everything that is not the registry's is a signed API call.
func (d *doors) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	switch path := r.URL.Path; {
	case path == "/v2" || strings.HasPrefix(path, "/v2/"):
		d.serve(d.oci, d.oci.Handle, w, r, ev)
	case strings.HasPrefix(path, ociapi.LinkPath):
		d.serve(d.oci, d.oci.HandleLink, w, r, ev)
	case path == "/healthz":
		ev.Door, ev.Operation = "ops", "healthz"
		say(w, http.StatusOK, "ok")
	case path == "/readyz":
		ev.Door, ev.Operation = "ops", "readyz"
		if err := d.ready(r.Context()); err != nil {
			ev.Err = err
			say(w, http.StatusServiceUnavailable, "not ready: "+fault.From(err).Public)
			return
		}
		say(w, http.StatusOK, "ok")
	case path == "/metrics":
		ev.Door, ev.Operation = "ops", "metrics"
		d.metrics.ServeHTTP(w, r)
	default:
		d.serve(d.aws, d.aws.Handle, w, r, ev)
	}
}

// door is what refuses a request in the form that its clients read.
type door interface {
	Refuse(w http.ResponseWriter, r *http.Request, ev *web.Event, err error)
}

// serve hands a request to its door once the caches are as new as the request. Where they cannot be, it is refused.
func (d *doors) serve(door door, handle func(http.ResponseWriter, *http.Request, *web.Event), w http.ResponseWriter, r *http.Request, ev *web.Event) {
	if err := d.refresh(r.Context()); err != nil {
		door.Refuse(w, r, ev, err)
		return
	}
	handle(w, r, ev)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
