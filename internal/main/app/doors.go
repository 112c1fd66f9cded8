package app

import (
	"context"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/door/console"
	"github.com/ecrin-dev/ecrin/internal/door/ociapi"
	"github.com/ecrin-dev/ecrin/internal/door/rancherapi"
	"github.com/ecrin-dev/ecrin/internal/door/reportapi"
	"github.com/ecrin-dev/ecrin/internal/door/updateapi"
	"github.com/ecrin-dev/ecrin/internal/door/vendorapi"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
)

// doors routes each request by its path. Its Handle is the complete list of what is served.
type doors struct {
	oci     *ociapi.API
	aws     *awsapi.API
	reports *reportapi.API
	rancher *rancherapi.API // nil without the setting rancher_api
	vendors *vendorapi.API
	updates *updateapi.API
	console *console.API
	ops     ops
	refresh func(context.Context) error // invalidates cache entries that other processes have changed
	prove   http.HandlerFunc            // see ProofPath
	marker  string                      // of requests of this installation, see egress.LoopHeader
}

// Handle serves a request by the API of its path. Every path that is not listed is one of a signed AWS API.
func (d *doors) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	if r.Header.Get(egress.LoopHeader) == d.marker {
		ev.Door, ev.Operation = "ops", "loop"
		w.Header().Set(egress.LoopHeader, d.marker)
		writeText(w, http.StatusLoopDetected, "This request comes from this installation itself, which does not use itself as another registry. "+
			"If the name is one of AWS that the hosts file of the server points here, set egress_dns to a name server.")
		return
	}
	switch path := r.URL.Path; {
	case path == "/v2" || strings.HasPrefix(path, "/v2/"):
		d.serve(d.oci, d.oci.Handle, w, r, ev)
	case strings.HasPrefix(path, ociapi.LinkPath):
		d.serve(d.oci, d.oci.HandleLink, w, r, ev)
	case path == "/healthz" || path == "/readyz" || path == "/metrics":
		d.ops.Handle(w, r, ev)
	case reportapi.Serves(path):
		d.serve(d.reports, d.reports.Handle, w, r, ev)
	case d.rancher != nil && rancherapi.Serves(path):
		d.serve(d.rancher, d.rancher.Handle, w, r, ev)
	case vendorapi.Serves(path):
		d.serve(d.vendors, d.vendors.Handle, w, r, ev)
	case updateapi.Serves(path):
		d.serve(d.updates, d.updates.Handle, w, r, ev)
	case console.Serves(path):
		d.serve(d.console, d.console.Handle, w, r, ev)
	case wantsPage(r):
		ev.Door, ev.Operation = "console", "page"
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, console.Path+"/", http.StatusFound)
	case path == ProofPath:
		ev.Door, ev.Operation = "ops", "proof"
		d.prove(w, r)
	default:
		d.serve(d.aws, d.aws.Handle, w, r, ev)
	}
}

// door is an API that can refuse a request in its own error format.
type door interface {
	Refuse(w http.ResponseWriter, r *http.Request, ev *web.Event, err error)
}

// serve refreshes the caches, so that they have all changes that were committed before the request began, and serves
// the request. If the refresh fails, it refuses the request.
func (d *doors) serve(door door, handle func(http.ResponseWriter, *http.Request, *web.Event), w http.ResponseWriter,
	r *http.Request, ev *web.Event) {
	if err := d.refresh(r.Context()); err != nil {
		door.Refuse(w, r, ev, err)
		return
	}
	handle(w, r, ev)
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

// wantsPage reports whether a request to the root is that of a browser, which is sent to the console. Requests of the AWS APIs to this path
// have a query, a body or credentials, and do not accept HTML.
func wantsPage(r *http.Request) bool {
	return r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.URL.RawQuery == "" &&
		r.Header.Get("Authorization") == "" && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// version returns the version of the program, "" for one that was built from sources without a version.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return ""
}
