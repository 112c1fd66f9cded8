package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// The limits of a form that is kept for another session. Whoever has no session can send one.
const (
	maxKept       = 64 << 10 // bytes
	maxKeptFields = 200
)

// The names by which a form that is kept is part of the form to sign in.
const (
	keptTo     = "kept"
	keptPrefix = "kept."
)

// keptForm is a form that was sent without a session that has made it: the session had ended meanwhile, or is another one. Its fields go
// back to the browser, so that nothing is lost; the server keeps none of them.
type keptForm struct {
	To      string // the address to which it was sent
	Fields  []keptField
	TooLong bool // the browser must go back to it
}

// keptField is a field of a form. Values of secrets are not sent back: they are typed again.
type keptField struct {
	Name, Value string
	Secret      bool
}

// secretFields are the names of fields with secrets, in all forms.
var secretFields = []string{"password", "secret", "secretAccessKey", "sessionToken", "privateKey", "old", "new", "again"}

// errStale is the error of a form of an earlier session, which a page of this server has sent.
var errStale = fault.AccessDenied.New("the form is of an earlier session")

// rowOf is find, which a row cannot name: it looks through all rows.
var rowOf func(method, path string) (*row, map[string]string, bool)

func init() { rowOf = find }

// sameOrigin reports whether the browser says that a page of this server has sent the request.
func (x *request) sameOrigin() bool {
	if site := x.r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	u, err := url.Parse(x.r.Header.Get("Origin"))
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, x.r.Host)
}

// newKept returns a form that was sent to an address.
func newKept(to string, form url.Values) *keptForm {
	k := &keptForm{To: to}
	bytes := 0
	names := make([]string, 0, len(form))
	for n := range form {
		if n != "csrf" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		for _, value := range form[n] {
			bytes += len(n) + len(value)
			f := keptField{Name: n, Value: value, Secret: slices.Contains(secretFields, n)}
			if f.Secret {
				f.Value = ""
			}
			k.Fields = append(k.Fields, f)
		}
	}
	if k.TooLong = bytes > maxKept || len(k.Fields) > maxKeptFields; k.TooLong {
		k.Fields = nil
	}
	return k
}

// keptSent returns the form that is part of the form to sign in; nil for none, and for one that is for no page of the console.
func (x *request) keptSent() *keptForm {
	to := x.form.Get(keptTo)
	path, _, _ := strings.Cut(to, "?")
	o, _, _ := rowOf(http.MethodPost, strings.TrimPrefix(path, Path+"/"))
	if to == "" || ownPath(to) != to || o == nil || o.open || !x.sameOrigin() {
		return nil
	}
	form := url.Values{}
	for name, values := range x.form {
		if field, ok := strings.CutPrefix(name, keptPrefix); ok {
			form[field] = values
		}
	}
	return newKept(to, form)
}

// keepForm answers a form that was sent without a session: with the form to sign in, which has its fields.
func (x *request) keepForm() error {
	if err := x.readFields(); err != nil {
		return err
	}
	return x.showSignIn(http.StatusUnauthorized, signInForm{Kept: newKept(x.r.URL.RequestURI(), x.form)})
}

// showKept shows a form that was kept, to be sent by this session.
func (x *request) showKept(status int, k *keptForm) error {
	return x.render(status, "kept", &view{Title: "Send it again?", Main: k})
}
