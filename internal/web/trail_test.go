package web_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/web"
)

// trail notes what it hears.
type trail struct{ begun, ended int }

func (l *trail) Begin(ctx context.Context, _ *web.Event) context.Context {
	l.begun++
	return ctx
}

func (l *trail) End(context.Context, *web.Event) { l.ended++ }

// A request that may change something takes its line along, also the GET of an API; one that decided nothing has no line.
func TestTrail(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, path string
		decides      string
		want         trail
	}{
		{http.MethodGet, "/v2/app/manifests/1", "BatchGetImage", trail{0, 1}},
		{http.MethodHead, "/v2/app/manifests/1", "BatchGetImage", trail{0, 1}},
		{http.MethodPut, "/v2/app/manifests/1", "PutImage", trail{1, 1}},
		{http.MethodGet, "/", "CreateUser", trail{1, 1}},
		{http.MethodPost, "/", "CreateUser", trail{1, 1}},
		{http.MethodGet, "/v2/", "", trail{0, 0}},
		{http.MethodPost, "/", "", trail{1, 0}},
	} {
		var got trail
		h := handler(func(_ http.ResponseWriter, _ *http.Request, ev *web.Event) { ev.Decided.Name = test.decides })
		s := web.NewServer(h, web.Options{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(), Trail: &got, Now: time.Now})
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(test.method, test.path, nil))
		if got != test.want {
			t.Errorf("%s %s that decides %q: got begun and ended %v, want %v", test.method, test.path, test.decides, got, test.want)
		}
	}
}
