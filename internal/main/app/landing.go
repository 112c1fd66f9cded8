package app

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/door/web"
)

// landing is the page for a browser that opens the address of the registry. It tells what this is and how to log in, and nothing that
// a caller without credentials may not know.
type landing struct {
	region  string   // of the default registry
	domains []string // under which each account has a name
}

//go:embed landing.css
var landingCSS string

//go:embed landing.html
var landingHTML string

var (
	landingPage = template.Must(template.New("landing").Parse(landingHTML))
	// The page has no script, and no style but its own.
	landingPolicy = func() string {
		sum := sha256.Sum256([]byte(landingCSS))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	}()
)

// wants reports whether a request is that of a browser for the page. Requests of the AWS APIs to this path have a query, a body or
// credentials, and do not accept HTML.
func (landing) wants(r *http.Request) bool {
	return r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.URL.RawQuery == "" &&
		r.Header.Get("Authorization") == "" && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// Handle sends the page.
func (l landing) Handle(w http.ResponseWriter, r *http.Request, ev *web.Event) {
	ev.Door, ev.Operation = "ops", "landing"
	scheme := "http"
	if ev.From.Secure {
		scheme = "https"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", landingPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	ev.Err = landingPage.Execute(w, struct {
		CSS          template.CSS
		Host, Scheme string
		Region       string
		Domains      []string
	}{template.CSS(landingCSS), r.Host, scheme, l.region, l.domains})
}
