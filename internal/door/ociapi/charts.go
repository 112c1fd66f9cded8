package ociapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/usage"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Charts has the Helm charts that customers get from the releases of their channels. It is a *vendor.Service.
type Charts interface {
	FindChart(ctx context.Context, by identity.Caller, path string) (vendor.ChartSource, error)
	Chart(ctx context.Context, c vendor.ChartSource, reference string, at vendor.Places) (*vendor.Artifact, error)
	ChartBlob(ctx context.Context, c vendor.ChartSource, digest string, at vendor.Places) ([]byte, error)
	PlacesAt(host string, secure bool) vendor.Places
}

// The places for charts: a release is in memory while one is made.
const (
	maxChartsAtOnce  = 2
	maxChartsWaiting = 16 // of one customer
	maxChartWait     = 30 * time.Second
)

// chartPlaces returns the places for charts.
func chartPlaces() *web.Places { return web.NewPlaces(maxChartsAtOnce, maxChartsWaiting, maxChartWait) }

// chartOperation returns the operation of a customer that reads a chart of one of its channels; nil if the request is not about one. Being
// on the channel is what allows it: the same files are in the release that the customer installs.
//
// Errors: those of Charts.FindChart, but that there is no chart.
func (a *API) chartOperation(q *request) (*operation, error) {
	if a.charts == nil || q.caller.Kind != identity.Customer || q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		return nil, nil
	}
	serve, name := (*API).getChart, "GetChart"
	switch q.target.route {
	case routeManifest:
	case routeBlob:
		serve = (*API).getChartBlob
	case routeTags:
		serve, name = (*API).listChartTags, "ListChartVersions"
	default:
		return nil, nil
	}
	found, err := a.charts.FindChart(q.r.Context(), q.caller, q.target.name)
	if errors.Is(err, fault.ObjectNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	q.chart, q.kind = found, usage.PullChart
	q.ev.Record = guard.Record{Source: "ecrin.amazonaws.com", Name: name, ReadOnly: true, Docker: true, Caller: q.caller,
		Region: q.reg.Region, Action: "ecrin:" + name, Resource: found.ARN(), Owner: guard.OwnedBy(q.caller.Account),
		Params: func() (p audit.Params) {
			p.String("chart", q.target.name)
			p.String("reference", q.target.reference)
			return p
		}}
	return &operation{method: q.r.Method, route: q.target.route, name: "chart", serve: func(a *API, q *request) error {
		leave, err := a.chartPlaces.Enter(q.r.Context(), q.caller.ARN)
		if err != nil {
			return err
		}
		defer leave()
		return serve(a, q)
	}}, nil
}

// chartHosts returns the hosts for the pull secret in a chart.
func (a *API) chartHosts(q *request) vendor.Places {
	return a.charts.PlacesAt(q.host.String(), q.ev.From.Secure)
}

func (a *API) getChart(q *request) error {
	one, err := a.charts.Chart(q.r.Context(), q.chart, q.target.reference, a.chartHosts(q))
	if err != nil {
		return err
	}
	q.ev.Digest = one.Digest
	return q.sendChart(vendor.ManifestType, one.Digest, one.Manifest)
}

func (a *API) getChartBlob(q *request) error {
	body, err := a.charts.ChartBlob(q.r.Context(), q.chart, q.target.reference, a.chartHosts(q))
	if err != nil {
		return err
	}
	q.ev.Digest = q.target.reference
	return q.sendChart("application/octet-stream", q.target.reference, body)
}

func (a *API) listChartTags(q *request) error {
	body, err := json.Marshal(map[string]any{"name": q.target.name, "tags": q.chart.Tags()})
	if err != nil {
		return err
	}
	return q.sendChart("application/json; charset=utf-8", "", body)
}

// sendChart sends a part of a chart, which is made for this customer and not kept by caches between.
func (q *request) sendChart(mediaType, digest string, body []byte) error {
	h := q.w.Header()
	if digest != "" {
		h["Docker-Content-Digest"] = []string{digest}
		h["Etag"] = []string{`"` + digest + `"`}
	}
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "private, no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	q.w.WriteHeader(http.StatusOK)
	if q.r.Method == http.MethodHead {
		return nil
	}
	_, err := q.w.Write(body)
	return clientGone(err)
}
