// Package updateapi serves what the installers of customers ask for: whether there are new versions of an application, the files of a
// version, and the licence as it is now. The credentials are those of a licence.
package updateapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The paths that are served.
const (
	releasePath = "/release/"
	licensePath = "/license/"
	pending     = "pending"
)

// Headers of requests and answers.
const (
	versionHeader = "X-Replicated-License-Version"
	prefix        = "X-Replicated-"
	namesHeader   = "X-Ecrin-Registry-Names" // of registries with a port, HOST:PORT=NAME joined by commas
)

// Serves reports whether a path is one of this package.
func Serves(path string) bool {
	return strings.HasPrefix(path, releasePath) || strings.HasPrefix(path, licensePath)
}

// The places for downloads: a release is in memory while it is sent.
const (
	maxDownloads        = 2
	maxDownloadsWaiting = 8 // of one customer
	maxDownloadWait     = 30 * time.Second
)

// Licences knows whose licence a password is. It is an *identity.Service.
type Licences interface {
	CustomerCaller(ctx context.Context, password string) (identity.Caller, error)
	CustomerUsed(c identity.Caller, address string)
}

// Trail writes the audit trail.
type Trail interface {
	// End writes the line of a request that has ended.
	End(ctx context.Context, ev *guard.Event)
}

// API serves requests. It is safe for concurrent use.
type API struct {
	updates  *vendor.Service
	licences Licences
	trail    Trail
	hosts    *endpoint.Map
	places   *web.Places
	now      func() time.Time
	rates    *web.Rates
}

// Options holds the parameters of New. All but Rates are required.
type Options struct {
	Vendor   *vendor.Service
	Identity Licences
	Trail    Trail
	Hosts    *endpoint.Map
	Now      func() time.Time
	Rates    *web.Rates // of customers, with their requests at other doors; nil for no limit
}

// New returns an API.
func New(o Options) *API {
	return &API{updates: o.Vendor, licences: o.Identity, trail: o.Trail, hosts: o.Hosts, now: o.Now, rates: o.Rates,
		places: web.NewPlaces(maxDownloads, maxDownloadsWaiting, maxDownloadWait)}
}

// request is one request.
type request struct {
	w       http.ResponseWriter
	r       *http.Request
	by      identity.Caller
	slug    string
	channel string // in the path; "" for none
	at      vendor.Places
	from    string // address of the client
}

// Handle serves one request.
func (a *API) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	finished := false
	defer func() {
		if !finished && ev.Err == nil {
			ev.Err = errors.New("panic")
		}
		a.trail.End(r.Context(), &ev.Event)
	}()
	ev.Door = "update"
	if err := a.serve(w, r, ev); err != nil {
		a.Refuse(w, r, ev, err)
	}
	finished = true
}

// serve authenticates the caller and answers.
func (a *API) serve(w http.ResponseWriter, r *http.Request, ev *web.Event) error {
	host, err := a.hosts.Parse(r.Host)
	if err != nil {
		return err
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return fault.MethodNotAllowed.New("the method %s is not served here", name.Clip(r.Method))
	}
	_, password, ok := r.BasicAuth()
	if !ok {
		return fault.MissingCredentials.New("send the id of the licence as user and password")
	}
	q := request{w: w, r: r, at: a.updates.PlacesAt(host.String(), ev.From.Secure), from: ev.From.SourceIP.String()}
	if q.by, err = a.licences.CustomerCaller(r.Context(), password); err != nil {
		return err
	}
	ev.Identify(q.by)
	a.licences.CustomerUsed(q.by, q.from)
	if err := a.rates.Take(q.by.UserID); err != nil {
		return err
	}
	operation, serve := "GetOwnLicense", a.license
	rest, ok := strings.CutPrefix(r.URL.Path, licensePath)
	if !ok {
		rest, operation, serve = strings.TrimPrefix(r.URL.Path, releasePath), "DownloadRelease", a.download
	}
	q.slug, q.channel, _ = strings.Cut(rest, "/")
	if operation == "DownloadRelease" && q.channel == pending {
		operation, q.channel, serve = "CheckForUpdates", "", a.check
	}
	if q.slug == "" && operation != "CheckForUpdates" || strings.Contains(q.channel, "/") || operation == "GetOwnLicense" && q.channel != "" {
		return fault.UnknownOperation.New("no such path")
	}
	a.describe(ev, q, operation)
	if err := a.atHost(q); err != nil {
		return err
	}
	return serve(q)
}

// atHost checks that a customer is one of the application that has the host of the request, if one has.
//
// Errors: fault.AccessDenied.
func (a *API) atHost(q request) error {
	of, ok, err := a.updates.HostOf(q.r.Context(), q.r.Host)
	if err != nil || !ok || of.Application == q.by.Application {
		return err
	}
	return fault.AccessDenied.New("the licence is not one of the application of the host %s", of.Host)
}

// describe sets the record of the event.
func (a *API) describe(ev *web.Event, q request, operation string) {
	ev.Operation = operation
	owned := name.ARN{Partition: "aws", Service: "ecrin", Account: q.by.Account, Resource: "application/" + name.Clip(q.slug)}
	query := q.r.URL.Query()
	ev.Record = guard.Record{Source: "ecrin.amazonaws.com", Name: operation, ReadOnly: true, Caller: q.by, Region: a.hosts.Default().Region,
		Action: "ecrin:" + operation, Resource: owned.String(), Owner: guard.OwnedBy(q.by.Account), Params: func() (p audit.Params) {
			p.String("applicationSlug", q.slug)
			p.String("channel", q.channel+query.Get("selectedChannelId"))
			p.String("channelSequence", query.Get("channelSequence"))
			return p
		}}
}

// sequence returns a number of the query; 0 if it is not there.
//
// Errors: fault.InvalidParameter.
func (q request) sequence(key string) (int64, error) {
	text := q.r.URL.Query().Get(key)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fault.InvalidParameter.New("%s must be a number from 0, got %q", key, name.Clip(text))
	}
	return n, nil
}

// offer is a version as clients read it.
type offer struct {
	ChannelSequence int64     `json:"channelSequence"`
	ReleaseSequence int64     `json:"releaseSequence"`
	VersionLabel    string    `json:"versionLabel"`
	IsRequired      bool      `json:"isRequired"`
	CreatedAt       time.Time `json:"createdAt"`
	ReleaseNotes    string    `json:"releaseNotes"`
}

// check answers whether there are updates.
func (a *API) check(q request) error {
	query := q.r.URL.Query()
	at, err := q.sequence("channelSequence")
	if err != nil {
		return err
	}
	all, err := a.updates.Offers(q.r.Context(), q.by, q.slug, vendor.Check{Channel: query.Get("selectedChannelId"), Sequence: at,
		Newest: strings.EqualFold(query.Get("sortOrder"), "desc")})
	if err != nil {
		return err
	}
	header := q.r.Header
	// An installation that could not be stored gets its answer all the same. Its next check stores it.
	_ = a.updates.Seen(q.r.Context(), q.by, q.slug, vendor.Sighting{Instance: header.Get(prefix + "InstanceID"),
		Cluster: header.Get(prefix + "ClusterID"), Channel: query.Get("selectedChannelId"), Sequence: at,
		Kubernetes: header.Get(prefix + "K8sVersion"), Status: header.Get(prefix + "AppStatus"), Address: q.from})
	offers := make([]offer, 0, len(all))
	for _, p := range all {
		offers = append(offers, offer{p.Sequence, p.Release, p.Label, p.Required, p.PromotedAt.UTC(), p.Notes})
	}
	body, err := json.Marshal(map[string]any{"channelReleases": offers})
	if err != nil {
		return err
	}
	h := q.w.Header()
	h.Set(prefix+"UpdateCheckAt", a.now().UTC().Format(time.RFC3339))
	q.write("application/json", body)
	return nil
}

func (q request) write(mediaType string, body []byte) {
	h := q.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	q.w.WriteHeader(http.StatusOK)
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write(body) // a client that is gone needs no answer
	}
}

// download answers with the files of a version.
func (a *API) download(q request) error {
	at, err := q.sequence("channelSequence")
	if err != nil {
		return err
	}
	leave, err := a.places.Enter(q.r.Context(), q.by.ARN)
	if err != nil {
		return err
	}
	defer leave()
	channel := q.channel
	if channel == "" {
		channel = q.r.URL.Query().Get("selectedChannelId")
	}
	d, err := a.updates.Download(q.r.Context(), q.by, q.slug, channel, at, q.at)
	if err != nil {
		return err
	}
	h := q.w.Header()
	for key, value := range map[string]string{
		"ChannelSequence": strconv.FormatInt(d.Sequence, 10), "ChannelID": d.Channel.ID, "ChannelName": d.Channel.Name, "VersionLabel": d.Label,
		"IsRequired": strconv.FormatBool(d.Required), "ReleasedAt": d.PromotedAt.UTC().Format(time.RFC3339),
		"ReplicatedAppDomain": hostOf(d.Places.Endpoint), "ReplicatedRegistryDomain": d.Places.Registry, "ReplicatedProxyDomain": d.Places.Proxy,
		"ReplicatedChartNames": strings.Join(d.Charts, ","),
	} {
		h.Set(prefix+key, value)
	}
	var names []string
	for _, host := range slices.Sorted(maps.Keys(d.Names)) {
		names = append(names, host+"="+d.Names[host])
	}
	if len(names) > 0 {
		h.Set(namesHeader, strings.Join(names, ","))
	}
	h.Set("Content-Type", "application/gzip")
	h.Set("Cache-Control", "no-store")
	q.w.WriteHeader(http.StatusOK)
	if q.r.Method == http.MethodHead {
		return nil
	}
	if err := d.Archive(q.w); err != nil {
		// What was sent has no end, so that the client does not take it for the whole: the connection is cut.
		panic(http.ErrAbortHandler)
	}
	return nil
}

func hostOf(url string) string {
	_, host, _ := strings.Cut(url, "://")
	return host
}

// license answers with the licence as it is now.
func (a *API) license(q request) error {
	if _, err := q.sequence("licenseSequence"); err != nil {
		return err
	}
	v := license.V1
	if asked := q.r.Header.Get(versionHeader); asked != "" {
		var ok bool
		if v, ok = license.ParseVersion(asked); !ok {
			return fault.InvalidParameter.New("%s must be v1beta1 or v1beta2, got %q", versionHeader, name.Clip(asked))
		}
	}
	text, err := a.updates.OwnLicense(q.r.Context(), q.by, q.slug, v, q.at)
	if err != nil {
		return err
	}
	q.write("application/yaml", text)
	return nil
}

// statusOf returns the status of an error.
func statusOf(err error) int {
	switch e := web.FaultOf(err); {
	case e.Code == fault.MissingCredentials, e.Code == fault.LicenseInvalid:
		return http.StatusUnauthorized
	case e.Code == fault.AccessDenied:
		return http.StatusForbidden
	case e.Code == fault.ObjectNotFound, e.Code == fault.UnknownOperation:
		return http.StatusNotFound
	case e.Code == fault.MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case e.Code == fault.Throttled:
		return http.StatusTooManyRequests
	case e.Code == fault.Unavailable, e.Code == fault.RequestTimeout:
		return http.StatusServiceUnavailable
	case e.Code == fault.Internal:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// Refuse answers a request with an error, as a line of text: installers show it to people.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, ev *web.Event, err error) {
	if web.Gone(r.Context(), err) && fault.From(err).Code == fault.Internal {
		err = fault.RequestTimeout.New("the client disconnected").Because(err)
	}
	ev.Door, ev.Err = "update", err
	status, text := statusOf(err), web.FaultOf(err).Public
	if status == http.StatusInternalServerError {
		text = "internal error, request " + ev.RequestID
	}
	h := w.Header()
	h.Set(web.RequestIDHeader, ev.RequestID)
	h.Set("Cache-Control", "no-store")
	if status == http.StatusUnauthorized {
		h.Set("Www-Authenticate", `Basic realm="ecrin"`)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	http.Error(w, text, status)
}
