package installed

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/door/look"
)

// session is that of a browser. It is in memory only.
type session struct {
	csrf          string
	created, used time.Time
	flash         *flash // for the next page
}

// flash is what a page says about what was done before it.
type flash struct {
	Text           string
	Bad            bool
	Link, LinkText string // that leads to more; "" for none
}

const (
	sessionCookie = "ecrin-installed"
	themeCookie   = "ecrin-theme"
)

// request is a request while it is served.
type request struct {
	*Server
	w       http.ResponseWriter
	r       *http.Request
	begun   time.Time
	session *session          // nil without one
	cookie  [sha256.Size]byte // hash of its cookie
	at      map[string]string // the parts of the path that a row names
	form    url.Values        // of a POST
	known   *install.History  // for the frame; nil until it was read
}

// setCookie sets a cookie that ends with the browser; an empty value takes it away. It is sent to paths with the key only, and with no
// request that begins at another site.
func (x *request) setCookie(name, value string) {
	c := &http.Cookie{Name: name, Value: value, Path: x.base() + "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(x.w, c)
}

// begin finds the session of the cookie.
func (x *request) begin() {
	c, err := x.r.Cookie(sessionCookie)
	if err != nil {
		return
	}
	hash := sha256.Sum256([]byte(c.Value))
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.Now()
	for k, s := range x.sessions {
		if now.Sub(s.used) > sessionIdle || now.Sub(s.created) > sessionLife {
			delete(x.sessions, k)
		}
	}
	if s := x.sessions[hash]; s != nil {
		s.used = now
		x.session, x.cookie = s, hash
	}
}

// openView is the page that begins a session.
type openView struct{ Secret, Folder string }

// openPage shows the form that exchanges the secret of the address. Reading it uses nothing up, so that a browser that loads an address
// before a person opens it does no harm.
func (x *request) openPage() error {
	secret := x.r.URL.Query().Get("secret")
	if x.session != nil && secret == "" {
		return x.redirect("/")
	}
	x.session = nil // the page is the same for all
	if !x.valid(secret) {
		return errSecret
	}
	return x.render(http.StatusOK, "open", &view{Title: "Open", Alone: true, Main: openView{secret, x.Dir}})
}

// valid reports whether a secret is the one that begins a session now.
func (x *request) valid(secret string) bool {
	hash := sha256.Sum256([]byte(secret))
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.secret != [sha256.Size]byte{} && subtle.ConstantTimeCompare(hash[:], x.secret[:]) == 1
}

// openSession exchanges the secret for a session. Of two at once, one gets it.
func (x *request) openSession() error {
	hash := sha256.Sum256([]byte(x.form.Get("secret")))
	x.mu.Lock()
	if x.secret == ([sha256.Size]byte{}) || subtle.ConstantTimeCompare(hash[:], x.secret[:]) != 1 {
		x.mu.Unlock()
		x.session = nil
		return errSecret
	}
	x.secret = [sha256.Size]byte{}
	if len(x.sessions) >= maxSessions { // the one that was not used for longest makes room
		var oldest [sha256.Size]byte
		for k, s := range x.sessions {
			if o := x.sessions[oldest]; o == nil || s.used.Before(o.used) {
				oldest = k
			}
		}
		delete(x.sessions, oldest)
	}
	value := random(32)
	now := x.Now()
	x.sessions[sha256.Sum256([]byte(value))] = &session{csrf: random(32), created: now, used: now}
	x.mu.Unlock()
	x.setCookie(sessionCookie, value)
	x.Opened(x.next())
	return x.redirect("/")
}

// signOut ends the session.
func (x *request) signOut() error {
	x.mu.Lock()
	delete(x.sessions, x.cookie)
	x.mu.Unlock()
	x.session = nil
	x.setCookie(sessionCookie, "")
	return x.render(http.StatusOK, "error", &view{Title: "Signed out", Alone: true, Main: &problem{what: "Signed out",
		text: "the session has ended; the last address that ecrin update console has printed begins another one"}})
}

// readForm reads the form of a POST, which a page of this session must have sent. Where no session is needed, the secret in the form stands
// for that.
//
// Errors: errForged, errForm.
func (x *request) readForm(open bool) error {
	if !look.OwnForm(x.r) {
		return errForged
	}
	if kind, _, _ := strings.Cut(x.r.Header.Get("Content-Type"), ";"); kind != "application/x-www-form-urlencoded" {
		return errForm
	}
	x.r.Body = http.MaxBytesReader(x.w, x.r.Body, maxForm)
	if x.r.ParseForm() != nil {
		return errForm
	}
	x.form = x.r.PostForm
	if !open && subtle.ConstantTimeCompare([]byte(x.form.Get("csrf")), []byte(x.session.csrf)) != 1 {
		return errForged
	}
	return nil
}

// redirect answers with another page of the installation.
func (x *request) redirect(to string) error {
	x.w.Header().Set("Location", x.base()+to)
	x.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// say keeps a flash for the next page of this session.
func (x *request) say(f flash) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.session != nil {
		x.session.flash = &f
	}
}

// takeFlash returns the flash of the page before, once.
func (x *request) takeFlash() *flash {
	if x.session == nil || x.r.Method == http.MethodPost || x.r.Header.Get("HX-Request") != "" {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.session.flash
	x.session.flash = nil
	return f
}

// setTheme keeps the theme of the browser.
func (x *request) setTheme() error {
	value := x.form.Get("theme")
	if value != "light" && value != "dark" {
		value = ""
	}
	x.setCookie(themeCookie, value)
	to := x.form.Get("next")
	if rest, ok := strings.CutPrefix(to, x.base()+"/"); ok && !strings.ContainsAny(rest, "\\\r\n\t") && !strings.Contains(to, "//") {
		return x.redirect("/" + rest)
	}
	return x.redirect("/")
}

// theme returns the theme of the browser, "" for that of the system.
func (x *request) theme() string {
	if c, err := x.r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

// view is what the frame of a page shows.
type view struct {
	Title   string
	Alone   bool   // without the frame: who has no session has no places to go to
	Section string // of the side
	Crumbs  []link
	Main    any

	x *request
}

// link is a text that leads to another page.
type link struct {
	Text, To string
	Note     string // beside the text
	Here     bool
}

// The templates call these.

func (v *view) CSRF() string    { return v.x.session.csrf }
func (v *view) Theme() string   { return v.x.theme() }
func (v *view) Flash() *flash   { return v.x.takeFlash() }
func (v *view) Version() string { return v.x.Version }
func (v *view) Base() string    { return v.x.base() }
func (v *view) Here() string    { return v.x.r.URL.RequestURI() }
func (v *view) Assets() string  { return v.x.base() + "/" + look.AssetFolder + look.AssetHash() }
func (v *view) Folder() string  { return v.x.Dir }
func (v *view) Took() int64     { return v.x.Now().Sub(v.x.begun).Milliseconds() }

// Application returns the slug of the application; "" if it could not be read.
func (v *view) Application() string {
	if v.x.known == nil {
		return ""
	}
	return v.x.known.License().AppSlug
}

// Ago returns how long ago a moment is, such as "4 min ago".
func (v *view) Ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := v.x.Now().Sub(t)
	if d < 0 {
		return "in " + look.Span(d)
	}
	return look.Span(d) + " ago"
}

// Sides are the links of the side.
func (v *view) Sides() []link {
	base := v.x.base()
	all := []link{{Text: "Version history", To: base + "/"}, {Text: "Config", To: base + "/config"},
		{Text: "Licence", To: base + "/licence"}, {Text: "Registry", To: base + "/registry"}}
	if h := v.x.known; h != nil {
		versions, current := h.Versions()
		if n := len(versions); n > 0 {
			newest := versions[n-1]
			all = append(all[:1], append([]link{{Text: "View files", To: base + "/versions/" + number(newest.Sequence) + "/files"},
				{Text: "Diff", To: base + "/diff"}}, all[1:]...)...)
			waiting := int64(0)
			for _, one := range versions[max(current+1, 0):] {
				if one.DeployedAt == nil && one.Status != install.Failed {
					waiting++
				}
			}
			if waiting > 0 {
				all[0].Note = look.Count(waiting) + " new"
			}
		}
	}
	for i := range all {
		all[i].Here = all[i].Text == v.Section
	}
	return all
}

// render sends a page, or the part of it that the query names.
func (x *request) render(status int, file string, v *view) error {
	v.x = x
	page, err := pages.Render(x.r, file, v)
	if err != nil {
		return err
	}
	look.Send(x.w, x.r, status, page)
	return nil
}
