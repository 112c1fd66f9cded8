package app

import (
	"context"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// ops answers what operators and their tools ask: health and metrics.
type ops struct {
	metrics http.Handler
	ready   func(context.Context) error
	reader  metricsReader // who may read the metrics
}

// metricsReader decides who may read the metrics.
type metricsReader struct {
	token secret.String // whoever sends it may; none by default
	own   bool          // there are addresses for the metrics, so the others do not serve them
	all   bool          // this is such an address
}

// Handle answers /healthz, /readyz and /metrics.
func (o ops) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	ev.Door, ev.Operation = "ops", strings.TrimPrefix(r.URL.Path, "/")
	switch r.URL.Path {
	case "/healthz":
		writeText(w, http.StatusOK, "ok")
	case "/readyz":
		if err := o.ready(r.Context()); err != nil {
			ev.Err = err
			writeText(w, http.StatusServiceUnavailable, "not ready: "+fault.From(err).Public)
			return
		}
		writeText(w, http.StatusOK, "ok")
	case "/metrics":
		if status, text := o.reader.refuses(r, ev); text != "" {
			writeText(w, status, text)
			return
		}
		o.metrics.ServeHTTP(w, r)
	default:
		ev.Operation = ""
		writeText(w, http.StatusNotFound, "this address serves /metrics, /healthz and /readyz")
	}
}

// refuses returns why a request may not read the metrics, and "" if it may.
func (m metricsReader) refuses(r *http.Request, ev *web.Event) (status int, text string) {
	bearer, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	forwarded := len(r.Header.Values("X-Forwarded-For")) > 0 || len(r.Header.Values("Forwarded")) > 0
	switch {
	case m.all:
		return 0, ""
	case m.token.Reveal() != "":
		if isBearer && subtle.ConstantTimeCompare([]byte(bearer), []byte(m.token.Reveal())) == 1 {
			return 0, ""
		}
		return http.StatusUnauthorized, "metrics need the header Authorization: Bearer TOKEN, with the token of the setting metrics_token"
	case m.own:
		return http.StatusForbidden, "metrics are served on the addresses of the setting metrics_listen"
	case ev.From.SourceIP.IsLoopback() && !forwarded:
		return 0, ""
	}
	return http.StatusForbidden, "metrics are served to this machine; the settings metrics_listen and metrics_token open them to others"
}
