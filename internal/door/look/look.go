// Package look is how pages of ecrin look: the style sheet and scripts, the parts that templates have in common, how texts, sizes and times
// are written, and the headers that keep a page from loading or running what is not its own. The console of a registry and that of an
// installation are made of it.
package look

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed templates/*.html
var parts embed.FS

//go:embed assets
var assets embed.FS

// AssetFolder is the folder of what pages load, below the folder of the pages. The next part of the path is a hash of the content of all,
// so that browsers keep a file for as long as it is the same.
const AssetFolder = "a/"

// assetTypes are the files of AssetFolder with their media types.
var assetTypes = map[string]string{
	"console.css": "text/css; charset=utf-8",
	"console.js":  "text/javascript; charset=utf-8",
	"htmx.min.js": "text/javascript; charset=utf-8",
}

// AssetHash returns the hash of all that pages load.
var AssetHash = sync.OnceValue(func() string {
	h := sha256.New()
	for _, file := range []string{"console.css", "console.js", "htmx.min.js"} {
		b, err := assets.ReadFile("assets/" + file)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(h, "%s %d\n", file, len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
})

// ErrNoAsset is the error of Asset for a path or a method that has no file.
var ErrNoAsset = errors.New("there is no such file")

// Asset sends a file that pages load. path is what comes after AssetFolder.
//
// Errors: ErrNoAsset.
func Asset(w http.ResponseWriter, r *http.Request, path string) error {
	hash, file, _ := strings.Cut(path, "/")
	media := assetTypes[file]
	if media == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return ErrNoAsset
	}
	b, err := packed(file, takesGzip(r))
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Vary", "Accept-Encoding")
	if hash == AssetHash() {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if b.packed {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(b.bytes)))
	_, _ = w.Write(b.bytes) // a client that is gone needs no answer
	return nil
}

func takesGzip(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}

// contentPolicy allows what pages have: their own styles, scripts and forms, and nothing of others.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'"

// Head sets the headers of every answer: nothing of others is loaded, no other page frames or reads it, and no cache keeps it.
func Head(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// OwnForm reports whether a POST may have been sent by a page of this server: browsers say where a form comes from. The token of a form
// holds where they do not.
func OwnForm(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "null" {
		u, err := url.Parse(origin)
		return err == nil && strings.EqualFold(u.Host, r.Host)
	}
	return true
}

// functions are what templates call besides the methods of their values.
var functions = template.FuncMap{
	"shown": Shown, "told": Told, "visible": Visible, "quoted": Quoted, "size": Size, "count": Count, "many": Many,
	"span": Span, "d12": Digest12,
	"utc":    func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") },
	"date":   func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") },
	"day":    func(t time.Time) string { return t.UTC().Format("2 Jan 2006") },
	"clock":  func(t time.Time) string { return t.UTC().Format("15:04") },
	"join":   strings.Join,
	"path":   PathOf,
	"values": Values,
	"list":   func(all ...any) []any { return all },
	"dict":   dict,
	"long":   func(s string) bool { return len(s) > 24 },
	"lower":  strings.ToLower,
	"word":   Lower,
	"int64":  func(n int) int64 { return int64(n) },
	"host":   func(s string) string { h, _, _ := strings.Cut(s, "/"); return h },
}

// dict returns pairs as a map, for templates that need several values.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict takes pairs")
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("a key of dict is a text")
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

// Pages are the templates of a set of pages. It is safe for concurrent use.
type Pages struct {
	own   fs.FS
	more  template.FuncMap
	ready sync.Map // of *template.Template by name
}

// NewPages returns the pages of a file system, which has templates/frame.html and templates/NAME.html for each page. more are functions
// that they call besides the common ones.
func NewPages(own fs.FS, more template.FuncMap) *Pages { return &Pages{own: own, more: more} }

// page returns the template of a page. It is parsed at its first use, so that a server whose console nobody opens has none in memory.
func (p *Pages) page(file string) (*template.Template, error) {
	if t, ok := p.ready.Load(file); ok {
		return t.(*template.Template), nil
	}
	t, err := template.New("frame.html").Funcs(functions).Funcs(p.more).ParseFS(parts, "templates/*.html")
	if err == nil {
		t, err = t.ParseFS(p.own, "templates/frame.html", "templates/"+file+".html")
	}
	if err != nil {
		return nil, err
	}
	got, _ := p.ready.LoadOrStore(file, t)
	return got.(*template.Template), nil
}

// Render makes a page of a value, whole or not at all. A request of htmx with the query part=NAME gets only that part, which pages replace
// in place.
func (p *Pages) Render(r *http.Request, file string, v any) ([]byte, error) {
	t, err := p.page(file)
	if err != nil {
		return nil, err
	}
	start := "frame.html"
	if part := r.URL.Query().Get("part"); part != "" && t.Lookup("part-"+part) != nil && r.Header.Get("HX-Request") != "" {
		start = "part-" + part
	}
	var b bytes.Buffer
	err = t.ExecuteTemplate(&b, start, v)
	return b.Bytes(), err
}

// Send sends a page, compressed where the client takes that.
func Send(w http.ResponseWriter, r *http.Request, status int, page []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	if takesGzip(r) {
		page = squeeze(page)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Vary", "Accept-Encoding")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(status)
	_, _ = w.Write(page) // a client that is gone needs no answer
}
