package console

import (
	"embed"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/door/look"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

//go:embed templates/*.html
var templates embed.FS

// asset sends a file that pages load.
//
// Errors: errNoPage.
func (x *request) asset(path string) error {
	x.ev.Operation = "asset"
	err := look.Asset(x.w, x.r, path)
	if errors.Is(err, look.ErrNoAsset) {
		return errNoPage
	}
	return err
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
	Count    int64  // beside the text; -1 for none
	Badge    string // what waits for somebody, such as 1 failing; "" for nothing
	Here     bool
}

// The templates call these.

func (v *view) Account() string   { return v.x.account.String() }
func (v *view) Region() string    { return v.x.region.String() }
func (v *view) Base() string      { return v.x.base() }
func (v *view) IAM() string       { return v.x.iam() }
func (v *view) CSRF() string      { return v.x.csrf() }
func (v *view) Theme() string     { return v.x.theme() }
func (v *view) Keys() bool        { return v.x.keys() }
func (v *view) Flash() *flash     { return v.x.flash }
func (v *view) Version() string   { return v.x.Version }
func (v *view) Path() string      { return Path }
func (v *view) Here() string      { return v.x.r.URL.RequestURI() }
func (v *view) Assets() string    { return Path + "/" + look.AssetFolder + look.AssetHash() }
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

// pages are the templates of all pages.
var pages = look.NewPages(templates, template.FuncMap{"right": rightNamed})

// rightNamed returns the right to an operation of IAM: "Delete", "user", "Policy" name iam:DeleteUserPolicy.
func rightNamed(all map[string]right, verb, word, what string) right {
	return all["iam:"+verb+strings.ToUpper(word[:1])+word[1:]+what]
}

// render sends a page, or the part of it that the query names.
func (x *request) render(status int, file string, v *view) error {
	v.x = x
	page, err := pages.Render(x.r, file, v)
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		x.notePlace()
	}
	look.Send(x.w, x.r, status, page)
	return nil
}

// waiting returns what waits for somebody in the registry of the page, as far as the person may see it. A page stands without it.
func (x *request) waiting() ecrintypes.CountWaitingResponse {
	const action = "ecrin:CountWaiting"
	operation := x.ev.Operation
	arn := name.ARN{Partition: name.DefaultPartition, Service: "ecrin", Region: x.region.String(), Account: x.account,
		Resource: "access-request/*"}
	if may, err := x.mayOne(action, arn.String()); err != nil || !may.OK {
		return ecrintypes.CountWaitingResponse{}
	}
	out, err := do[ecrintypes.CountWaitingResponse](x, "ecrin", "CountWaiting",
		&ecrintypes.CountWaitingRequest{RegistryId: x.account.String()})
	if x.ev.Operation = operation; err != nil {
		return ecrintypes.CountWaitingResponse{}
	}
	return *out
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
	return web.StatusOf(err)
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
	of, ok := errors.AsType[*operationError](err)
	if ok {
		t.Request = of.request
	}
	switch {
	case errors.Is(err, errNoPage):
		t.What = "There is no such page"
	case errors.Is(err, errChanged):
		t.What = "This has changed since you opened it"
	case errors.Is(err, errForged):
		t.What = "The form was not accepted"
	case f.Code.Class() == fault.ClassThrottled:
		t.What = "There were too many requests"
	case errors.Is(err, fault.AccessDenied):
		t.What, t.Denied = "You may not see or do this", true
		if !ok || of.operation != "ExplainRequest" { // whose denial leads to the same page
			t.Explain = Path + "/denied/" + t.Request
		}
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

// retryAfter says in the answer when the client may come again.
func (x *request) retryAfter(d time.Duration) {
	x.w.Header().Set("Retry-After", strconv.Itoa(int(d/time.Second)))
}

// fail answers a request with an error, as a page.
func (x *request) fail(err error) {
	status := x.status(err)
	v := &view{Title: "Error", Alone: x.session.Hash == "", Main: x.troubleOf(err)}
	if errors.Is(err, fault.ExpiredCredentials) || status == 0 {
		status = http.StatusUnauthorized
	}
	if (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) && x.w.Header().Get("Retry-After") == "" {
		x.retryAfter(time.Second)
	}
	if x.render(status, "error", v) != nil {
		x.w.WriteHeader(http.StatusInternalServerError)
	}
}
