package console

import (
	"cmp"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// frameRows are the rows about the session itself.
var frameRows = []row{
	{method: "GET", path: "", serve: (*request).home},
	{method: "GET", path: "signin", serve: (*request).signInPage, open: true},
	{method: "POST", path: "signin", serve: (*request).signIn, open: true, fresh: true},
	{method: "POST", path: "signout", serve: (*request).signOut, open: true},
	{method: "GET", path: "password", serve: (*request).passwordPage},
	{method: "POST", path: "password", serve: (*request).changePassword},
	{method: "GET", path: "sessions", serve: (*request).sessionsPage},
	{method: "POST", path: "sessions", serve: (*request).endSession},
	{method: "GET", path: "switch-role", serve: (*request).switchRolePage},
	{method: "POST", path: "switch-role", serve: (*request).switchRole},
	{method: "POST", path: "theme", serve: (*request).setTheme},
	{method: "GET", path: "keys", serve: (*request).keysPage},
	{method: "POST", path: "keys", serve: (*request).setKeys},
}

// cookieName returns the name of the cookie of sessions. Browsers take one with the prefix by TLS only, and from no other host of the
// domain.
func (x *request) cookieName() string {
	if x.ev.From.Secure {
		return "__Host-ecrin"
	}
	return "ecrin-session"
}

// setCookie sets a cookie that ends with the browser; an empty value takes it away.
func (x *request) setCookie(cookie, value string) {
	c := &http.Cookie{Name: cookie, Value: value, Path: "/", Secure: x.ev.From.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(x.w, c)
}

// flash is what a page says about what was done before it.
type flash struct {
	Text string `json:"t"`
	Bad  bool   `json:"b,omitempty"`
	// Link leads to what undoes it, or to more; "" for none.
	Link, LinkText string
}

const (
	flashCookie = "ecrin-flash"
	themeCookie = "ecrin-theme"
	keysCookie  = "ecrin-keys" // "off" if single keys do nothing
	maxFlash    = 2048
)

// setFlash keeps a flash for the next page of this session.
func (x *request) setFlash(f flash) {
	if x.session.Hash != "" {
		x.putFlash(flashCookie, x.sessionMAC, f)
	}
}

func (x *request) sessionMAC(data string) string { return x.Identity.ConsoleMAC(x.session, data) }

// putFlash keeps a flash in a cookie, with a MAC of whose it is.
func (x *request) putFlash(cookie string, mac func(string) string, f flash) {
	text, err := json.Marshal(f)
	if err != nil {
		return
	}
	value := base64.RawURLEncoding.EncodeToString(text)
	if len(value) <= maxFlash {
		x.setCookie(cookie, mac("flash "+value)+"."+value)
	}
}

// takeFlash takes the flash of the page before; nil for none. One of others is dropped.
func (x *request) takeFlash(cookie string, mac func(string) string) *flash {
	c, err := x.r.Cookie(cookie)
	if err != nil || x.r.Method == http.MethodPost || len(c.Value) > maxFlash+128 {
		return nil
	}
	x.setCookie(cookie, "")
	sum, value, _ := strings.Cut(c.Value, ".")
	text, err := base64.RawURLEncoding.DecodeString(value)
	f := &flash{}
	if err != nil || subtle.ConstantTimeCompare([]byte(sum), []byte(mac("flash "+value))) != 1 || json.Unmarshal(text, f) != nil {
		return nil
	}
	return f
}

// ownPath returns a path of the console as it is, and that of its first page for anything else: no sign-in leads to another host.
func ownPath(text string) string {
	if !strings.HasPrefix(text, Path+"/") || strings.ContainsAny(text, "\\\r\n\t") || strings.Contains(text, "//") {
		return Path + "/"
	}
	return text
}

// toSignIn answers a request without a session: with the form to sign in, after which the page follows. What a page of this server has sent
// is kept in that form.
func (x *request) toSignIn(o *row) error {
	if x.r.Header.Get("HX-Request") != "" { // a part of a page: the whole page must go there
		x.w.Header().Set("HX-Redirect", Path+"/signin")
		x.w.WriteHeader(http.StatusUnauthorized)
		return nil
	}
	if o != nil && x.r.Method == http.MethodPost && x.sameOrigin() {
		return x.keepForm()
	}
	to := Path + "/signin"
	if next := x.r.URL.RequestURI(); x.r.Method == http.MethodGet && next != Path && next != Path+"/" && ownPath(next) == next {
		to += "?" + values("next", next)
	}
	return x.redirect(to)
}

// home leads to the repositories of the account, and before its first push to the page that tells how to push.
func (x *request) home() error {
	if p, err := x.progress(); err == nil && !p.Pushed {
		return x.redirect(Path + "/welcome")
	}
	return x.redirect(x.base() + "/repositories")
}

// signInForm is the form to sign in, with what was filled in before.
type signInForm struct {
	Host, Next        string
	AccessKey         string
	Account, User, By string
	Wrong             string
	PlainHTTP         bool
	Scheme, Region    string // for the commands of clients
	SSO, SSOTo        string // title and address of the single sign-on; "" without one
	Kept              *keptForm
}

// signInPage shows the form to sign in.
func (x *request) signInPage() error {
	return x.showSignIn(http.StatusOK, signInForm{Next: x.r.URL.Query().Get("next")})
}

func (x *request) showSignIn(status int, f signInForm) error {
	f.Host, f.Next = x.r.Host, ownPath(f.Next)
	f.PlainHTTP = !x.secrets()
	f.Region = x.region.String()
	if x.SSO.Provider != nil {
		f.SSO, f.SSOTo = cmp.Or(x.SSO.Title, "single sign-on"), Path+"/sso?"+values("next", f.Next)
	}
	f.Scheme = "http"
	if x.ev.From.Secure {
		f.Scheme = "https"
	}
	x.session = identity.ConsoleSession{} // the page is the same for all
	return x.render(status, "signin", &view{Title: "Sign in", Alone: true, Main: f})
}

// secrets reports whether secrets may be sent by this connection.
func (x *request) secrets() bool { return x.ev.From.Secure || x.ev.From.SourceIP.IsLoopback() }

// signIn begins a session by an access key, or by the name and the password of a user. One text answers all that is wrong.
func (x *request) signIn() error {
	f := signInForm{Next: x.form.Get("next"), AccessKey: strings.TrimSpace(x.form.Get("accessKeyId")),
		Account: strings.TrimSpace(x.form.Get("account")),
		User:    strings.TrimSpace(x.form.Get("userName")), By: x.form.Get("by"), Kept: x.keptSent()}
	if !x.secrets() {
		f.Wrong = "A secret is taken by TLS only: open the console by https."
		return x.showSignIn(http.StatusForbidden, f)
	}
	ctx := x.r.Context()
	var by identity.Caller
	var err error
	reset := false
	if f.By == "password" {
		account, wrong := name.ParseAccount(f.Account)
		if wrong != nil {
			f.Wrong = "An account has twelve digits."
			return x.showSignIn(http.StatusBadRequest, f)
		}
		var in identity.SignedIn
		in, err = x.Identity.SignIn(ctx, account, f.User, secret.New(x.form.Get("password")), x.ev.From.SourceIP)
		by, reset = in.Caller, in.ResetRequired
	} else {
		f.By = "key"
		key := f.AccessKey + ":" + strings.TrimSpace(x.form.Get("secretAccessKey"))
		if token := strings.TrimSpace(x.form.Get("sessionToken")); token != "" {
			key += ":" + token
		}
		by, err = x.Identity.APIKeyCaller(ctx, key, x.region)
	}
	var value secret.String
	if err == nil {
		value, err = x.Identity.BeginConsole(ctx, by, x.ev.From.SourceIP, x.r.UserAgent())
	}
	x.recordSignIn(by, f, err)
	status := http.StatusForbidden
	switch {
	case err == nil:
	case errors.Is(err, fault.Throttled):
		f.Wrong, status = fault.From(err).Public+".", http.StatusTooManyRequests
		x.retryAfter(identity.AttemptWindow)
	case f.By == "password" && errors.Is(err, fault.AccessDenied):
		f.Wrong = "The account, the user name or the password is wrong, or the user has no password."
	case fault.From(err).Code.Class() == fault.ClassUnauthenticated, errors.Is(err, fault.AccessDenied):
		f.Wrong = "The key or its secret is wrong, or the key is disabled."
	default:
		return err
	}
	if err != nil {
		return x.showSignIn(status, f)
	}
	x.setCookie(x.cookieName(), value.Reveal())
	if reset {
		return x.redirect(Path + "/password")
	}
	if f.Kept != nil {
		if x.session, err = x.Identity.Console(ctx, value.Reveal()); err != nil {
			return err
		}
		x.account = x.session.Caller.Account
		return x.showKept(http.StatusOK, f.Kept)
	}
	return x.redirect(ownPath(f.Next))
}

// recordSignIn writes the line of a sign-in to the audit trail. Source: AWS CloudTrail user guide, sign-in events.
func (x *request) recordSignIn(by identity.Caller, f signInForm, err error) {
	ev := guard.Event{RequestID: x.ev.RequestID, From: x.ev.From, Err: err}
	ev.Record = guard.Record{Source: "signin.amazonaws.com", Name: "ConsoleLogin", Region: x.region, Caller: by, Action: "signin:ConsoleLogin",
		Params: func() audit.Params { return audit.Params{} }}
	x.ev.Operation, x.ev.Caller = "ConsoleLogin", by
	if by.Account != (name.Account{}) {
		ev.Owner = guard.OwnedBy(by.Account)
	}
	x.Trail.End(x.r.Context(), &ev)
}

// signOut ends the session.
func (x *request) signOut() error {
	if x.session.Hash != "" {
		if err := x.Identity.EndConsole(x.r.Context(), x.session, x.session.ID); err != nil && !errors.Is(err, fault.ObjectNotFound) {
			return err
		}
	}
	x.setCookie(x.cookieName(), "")
	x.setCookie(flashCookie, "")
	return x.redirect(Path + "/signin")
}

// passwordView is the form that changes the password.
type passwordView struct {
	Wrong string
	ByKey bool // the session was begun by an access key
}

func (x *request) passwordPage() error { return x.showPassword(http.StatusOK, "") }

func (x *request) showPassword(status int, wrong string) error {
	return x.render(status, "password", &view{Title: "Change password", Main: passwordView{Wrong: wrong, ByKey: x.session.AccessKey != ""}})
}

// changePassword changes the password of the user. The session ends with the old one, so that the user signs in again.
func (x *request) changePassword() error {
	if x.form.Get("new") != x.form.Get("again") {
		return x.showPassword(http.StatusBadRequest, "The two new passwords differ.")
	}
	err := act(x, "iam", "ChangePassword", &iamtypes.ChangePasswordRequest{OldPassword: x.form.Get("old"), NewPassword: x.form.Get("new")})
	if err != nil {
		return x.showPassword(x.status(err), publicText(err))
	}
	return x.redirect(Path + "/signin")
}

// sessionRow is a session in the list.
type sessionRow struct {
	ID, Address, Agent, By string
	Created, Used, Ends    time.Time
	Here                   bool
}

// sessionsPage lists the sessions of the principal.
func (x *request) sessionsPage() error {
	all, err := x.Identity.Consoles(x.r.Context(), x.session)
	if err != nil {
		return err
	}
	var list []sessionRow
	for _, c := range all {
		by := "password"
		if c.AccessKey != "" {
			by = c.AccessKey
		}
		list = append(list, sessionRow{ID: c.ID, Address: c.Address, Agent: c.Agent, By: by, Created: c.CreatedAt, Used: c.UsedAt, Ends: c.EndsAt,
			Here: c.ID == x.session.ID})
	}
	return x.render(http.StatusOK, "sessions", &view{Title: "Sessions", Main: list})
}

// endSession ends a session of the principal, also this one.
func (x *request) endSession() error {
	id := x.form.Get("id")
	if err := x.Identity.EndConsole(x.r.Context(), x.session, id); err != nil {
		return err
	}
	if id == x.session.ID {
		return x.signOut()
	}
	return x.done(Path+"/sessions", "The session has ended.")
}

// switchView is the form that switches to a role.
type switchView struct {
	Role, Wrong string
	Now         string // the role of now; "" for none
}

func (x *request) switchRolePage() error {
	return x.showSwitch(http.StatusOK, switchView{Role: x.r.URL.Query().Get("role")})
}

func (x *request) showSwitch(status int, v switchView) error {
	if x.session.Switched != "" {
		v.Now = x.session.Caller.ARN
	}
	return x.render(status, "switchrole", &view{Title: "Switch role", Main: v})
}

// switchRole lets the session act by a role, whose session has an hour, or as before.
func (x *request) switchRole() error {
	ctx := x.r.Context()
	role := strings.TrimSpace(x.form.Get("role"))
	if role == "" {
		if err := x.Identity.SwitchConsole(ctx, x.session, ""); err != nil {
			return err
		}
		return x.redirect(Path + "/")
	}
	x.req.By = x.session.Base // roles are assumed by who signed in, not by the role before
	session := sessionName(x.session.Base.ARN)
	out, err := do[ststypes.AssumeRoleResponse](x, "sts", "AssumeRole", &ststypes.AssumeRoleRequest{RoleArn: role, RoleSessionName: session})
	if err != nil {
		return x.showSwitch(x.status(err), switchView{Role: role, Wrong: publicText(err)})
	}
	if err := x.Identity.SwitchConsole(ctx, x.session, out.Credentials.AccessKeyId); err != nil {
		return err
	}
	return x.redirect(Path + "/")
}

// sessionName returns the name of the session of a role for a principal: the last part of its ARN, of the characters that AWS allows.
func sessionName(arn string) string {
	var b strings.Builder
	for _, c := range arn[strings.LastIndexByte(arn, '/')+1:] {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("=,.@-_", c) {
			b.WriteRune(c)
		}
	}
	text := "console-" + b.String()
	return text[:min(64, len(text))]
}

// setTheme keeps the theme of the browser.
func (x *request) setTheme() error {
	value := x.form.Get("theme")
	if value != "light" && value != "dark" {
		value = ""
	}
	x.setCookie(themeCookie, value)
	return x.redirect(ownPath(x.form.Get("next")))
}

// theme returns the theme of the browser, "" for that of the system.
func (x *request) theme() string {
	if c, err := x.r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

// keysPage lists the keys of the pages, with the setting that turns them off. Source: WCAG 2.2, success criterion 2.1.4.
func (x *request) keysPage() error {
	return x.render(http.StatusOK, "keys", &view{Title: "Keys", Main: x.keys()})
}

// setKeys turns the keys of the pages on or off for the browser.
func (x *request) setKeys() error {
	if x.form.Get("keys") == "off" {
		x.setCookie(keysCookie, "off")
		return x.done(Path+"/keys", "Single keys do nothing now.")
	}
	x.setCookie(keysCookie, "")
	return x.done(Path+"/keys", "The keys work.")
}

// keys reports whether single keys do something in this browser.
func (x *request) keys() bool {
	c, err := x.r.Cookie(keysCookie)
	return err != nil || c.Value != "off"
}
