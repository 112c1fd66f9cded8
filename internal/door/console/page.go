package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

//go:embed templates/*.html
var templates embed.FS

//go:embed assets
var assets embed.FS

// assetFolder is the folder of what pages load. The next part of the path is a hash of the content of all, so that browsers keep a file for
// as long as it is the same.
const assetFolder = "a/"

// assetTypes are the files of assetFolder with their media types.
var assetTypes = map[string]string{
	"console.css": "text/css; charset=utf-8",
	"console.js":  "text/javascript; charset=utf-8",
	"htmx.min.js": "text/javascript; charset=utf-8",
}

var assetHash = sync.OnceValue(func() string {
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

// asset sends a file that pages load.
//
// Errors: errNoPage.
func (x *request) asset(path string) error {
	x.ev.Operation = "asset"
	hash, file, _ := strings.Cut(path, "/")
	media := assetTypes[file]
	if media == "" || x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return errNoPage
	}
	b, err := packed(file, strings.Contains(x.r.Header.Get("Accept-Encoding"), "gzip"))
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Content-Type", media)
	h.Set("Vary", "Accept-Encoding")
	if hash == assetHash() {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if b.packed {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(b.bytes)))
	_, _ = x.w.Write(b.bytes) // a client that is gone needs no answer
	return nil
}

// view is what the frame of a page shows.
type view struct {
	Title   string
	Alone   bool   // without the frame: who has not signed in has no places to go to
	Roomy   bool   // with Alone: as wide as other pages
	Section string // of the side, such as repositories
	Crumbs  []link
	Main    any

	x *request
}

// link is a text that leads to another page.
type link struct {
	Text, To string
	Count    int64 // beside the text; -1 for none
	Here     bool
}

// The templates call these.

func (v *view) Account() string   { return v.x.account.String() }
func (v *view) Region() string    { return v.x.region.String() }
func (v *view) Base() string      { return v.x.base() }
func (v *view) IAM() string       { return v.x.iam() }
func (v *view) CSRF() string      { return v.x.csrf() }
func (v *view) Theme() string     { return v.x.theme() }
func (v *view) Flash() *flash     { return v.x.flash }
func (v *view) Version() string   { return v.x.Version }
func (v *view) Path() string      { return Path }
func (v *view) Here() string      { return v.x.r.URL.RequestURI() }
func (v *view) Assets() string    { return Path + "/" + assetFolder + assetHash() }
func (v *view) RequestID() string { return v.x.ev.RequestID }
func (v *view) Host() string      { return v.x.r.Host }
func (v *view) Find() string      { return v.x.r.URL.Query().Get("find") }
func (v *view) SignedIn() bool    { return v.x.session.Hash != "" }
func (v *view) Switched() bool    { return v.x.session.Switched != "" }
func (v *view) ARN() string       { return v.x.session.Caller.ARN }
func (v *view) Who() string {
	return principalIn(v.x.session.Caller.Account.String(), v.x.session.Caller.ARN)
}
func (v *view) OwnAccount() string { return v.x.session.Caller.Account.String() }
func (v *view) Until() time.Time   { return v.x.session.EndsAt }
func (v *view) Now() time.Time     { return v.x.begun }
func (v *view) Took() string {
	return strconv.FormatInt(v.x.Now().Sub(v.x.begun).Milliseconds(), 10) + " ms"
}

// Ago returns how long ago a moment is, such as "4 min ago".
func (v *view) Ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := v.x.Now().Sub(t)
	if d < 0 {
		return "in " + span(d)
	}
	return span(d) + " ago"
}

// Age returns the time since a moment, such as "4 min".
func (v *view) Age(t time.Time) string { return span(v.x.begun.Sub(t)) }

// Principal returns how a principal is shown on pages of this account.
func (v *view) Principal(arn string) string { return shown(principalIn(v.x.account.String(), arn)) }

// Sides are the groups of the side.
func (v *view) Sides() []side { return sides(v) }

// side is a group of links of the side.
type side struct {
	Title string
	Links []link
}

// helpers are the functions that templates have besides the methods of view.
var helpers = template.FuncMap{
	"shown": shown, "size": size, "count": count, "many": many, "span": span, "d12": digest12,
	"utc":    func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") },
	"date":   func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") },
	"day":    func(t time.Time) string { return t.UTC().Format("2 Jan 2006") },
	"clock":  func(t time.Time) string { return t.UTC().Format("15:04") },
	"join":   strings.Join,
	"path":   pathOf,
	"values": values,
	"list":   func(all ...any) []any { return all },
	"dict":   dict,
	"long":   func(s string) bool { return len(s) > 24 },
	"lower":  strings.ToLower,
	"word":   lower,
	"int64":  func(n int) int64 { return int64(n) },
	"right":  rightNamed,
	"host":   func(s string) string { h, _, _ := strings.Cut(s, "/"); return h },
}

// rightNamed returns the right to an operation of IAM: "Delete", "user", "Policy" name iam:DeleteUserPolicy.
func rightNamed(all map[string]right, verb, word, what string) right {
	return all["iam:"+verb+strings.ToUpper(word[:1])+word[1:]+what]
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

var pages sync.Map // of *template.Template by name

// page returns the template of a page. It is parsed at its first use, so that a server whose console nobody opens has none in memory.
func page(file string) (*template.Template, error) {
	if t, ok := pages.Load(file); ok {
		return t.(*template.Template), nil
	}
	t, err := template.New("frame.html").Funcs(helpers).ParseFS(templates, "templates/frame.html", "templates/parts*.html",
		"templates/fields.html", "templates/"+file+".html")
	if err != nil {
		return nil, err
	}
	got, _ := pages.LoadOrStore(file, t)
	return got.(*template.Template), nil
}

// render sends a page, whole or not at all. With the query part=NAME only that part of it, which pages replace in place.
func (x *request) render(status int, file string, v *view) error {
	v.x = x
	t, err := page(file)
	if err != nil {
		return err
	}
	start := "frame.html"
	if part := x.r.URL.Query().Get("part"); part != "" && t.Lookup("part-"+part) != nil && x.r.Header.Get("HX-Request") != "" {
		start = "part-" + part
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, start, v); err != nil {
		return err
	}
	if status == http.StatusOK {
		x.notePlace()
	}
	h := x.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	out, packed := b.Bytes(), false
	if strings.Contains(x.r.Header.Get("Accept-Encoding"), "gzip") {
		out, packed = squeeze(out), true
	}
	if packed {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Vary", "Accept-Encoding")
	h.Set("Content-Length", strconv.Itoa(len(out)))
	x.w.WriteHeader(status)
	_, _ = x.w.Write(out) // a client that is gone needs no answer
	return nil
}

// statuses are the statuses of classes of errors.
var statuses = map[fault.Class]int{
	fault.ClassInternal:        http.StatusInternalServerError,
	fault.ClassUnavailable:     http.StatusServiceUnavailable,
	fault.ClassThrottled:       http.StatusTooManyRequests,
	fault.ClassTooLarge:        http.StatusRequestEntityTooLarge,
	fault.ClassTimeout:         http.StatusRequestTimeout,
	fault.ClassUnauthenticated: http.StatusUnauthorized,
	fault.ClassDenied:          http.StatusForbidden,
	fault.ClassUnsupported:     http.StatusNotFound,
	fault.ClassNotFound:        http.StatusNotFound,
	fault.ClassConflict:        http.StatusConflict,
	fault.ClassQuota:           http.StatusBadRequest,
	fault.ClassInvalid:         http.StatusBadRequest,
}

func (x *request) status(err error) int {
	switch {
	case errors.Is(err, errNoPage):
		return http.StatusNotFound
	case errors.Is(err, errChanged):
		return http.StatusConflict
	case errors.Is(err, errNoMethod):
		return http.StatusMethodNotAllowed
	}
	var v *awswire.Violation
	if errors.As(err, &v) {
		return http.StatusBadRequest
	}
	return statuses[web.FaultOf(err).Code.Class()]
}

// publicText returns what an error says to a client.
func publicText(err error) string {
	var v *awswire.Violation
	if errors.As(err, &v) {
		return v.Error()
	}
	f := web.FaultOf(err)
	if f.Code == fault.Internal {
		return "The server could not do this. Its log has the reason."
	}
	return f.Public
}

// trouble is what went wrong, as a page shows it.
type trouble struct {
	What    string // a sentence
	Text    string // the original text of the API
	Code    string
	Request string
	Denied  bool
	Action  string // that was denied; "" if another error
	Explain string // the page that explains a denial; "" for none
	Nothing bool   // nothing was changed
}

// troubleOf returns what an error is on a page; nil for nil.
func (x *request) troubleOf(err error) *trouble {
	if err == nil {
		return nil
	}
	f := web.FaultOf(err)
	t := &trouble{Text: publicText(err), Code: f.Code.String(), Request: x.ev.RequestID, Nothing: x.r.Method == http.MethodPost}
	switch {
	case errors.Is(err, errNoPage):
		t.What = "There is no such page"
	case errors.Is(err, errChanged):
		t.What = "This has changed since you opened it"
	case errors.Is(err, errForged):
		t.What = "The form was not accepted"
	case errors.Is(err, fault.AccessDenied):
		t.What, t.Denied = "You may not see or do this", true
		t.Explain = Path + "/denied/" + x.ev.RequestID
	case f.Code.Class() == fault.ClassNotFound:
		t.What = "This does not exist"
	case f.Code == fault.Internal || f.Code.Class() == fault.ClassUnavailable:
		t.What = "The server could not answer"
	default:
		t.What = "This was not accepted"
	}
	return t
}

// part returns an error that denies a part of a page, which is shown in its place; any other error stays.
func (x *request) part(err error) (*trouble, error) {
	if err == nil || x.status(err) != http.StatusForbidden {
		return nil, err
	}
	return x.troubleOf(err), nil
}

// fail answers a request with an error, as a page.
func (x *request) fail(err error) {
	status := x.status(err)
	v := &view{Title: "Error", Alone: x.session.Hash == "", Main: x.troubleOf(err)}
	if errors.Is(err, fault.ExpiredCredentials) || status == 0 {
		status = http.StatusUnauthorized
	}
	if x.render(status, "error", v) != nil {
		x.w.WriteHeader(http.StatusInternalServerError)
	}
}
