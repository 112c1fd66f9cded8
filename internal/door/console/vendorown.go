package console

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// ownRows are the rows of the page of a customer. They need no session of a principal: a customer has a cookie of its own, which stands for
// its licence or one of its tokens, and reaches nothing but these rows.
var ownRows = []row{
	{method: "GET", path: "customer", serve: (*request).ownPage, open: true},
	{method: "POST", path: "customer", serve: (*request).onOwn, open: true, fresh: true},
	{method: "GET", path: "customer/licence", serve: (*request).ownLicence, open: true},
	{method: "GET", path: "customer/versions/{channel}/{sequence}", serve: (*request).ownDownload, open: true},
}

const (
	ownAddress     = Path + "/customer"
	ownFlashCookie = "ecrin-customer-flash"

	// maxOwnChanges is how many tokens a customer may change in a minute: each change makes the caches of all customers empty.
	maxOwnChanges = 10
)

// ownCookie returns the name of the cookie of customers.
func (x *request) ownCookie() string {
	if x.ev.From.Secure {
		return "__Host-ecrin-customer"
	}
	return "ecrin-customer"
}

// ownCaller returns the customer of the cookie, whose licence must be valid now, and counts the request: of a customer by its licence, as
// at other doors, of anyone else by the address.
//
// Errors: fault.ExpiredCredentials, fault.Throttled, and those of identity.Service.CustomerOfHash.
func (x *request) ownCaller() (identity.Caller, error) {
	by, err := x.ownCookieCaller()
	if err != nil {
		if full := x.strange(); full != nil {
			return identity.Caller{}, full
		}
		return identity.Caller{}, err
	}
	x.ev.Identify(by)
	x.Identity.CustomerUsed(by, x.ev.From.SourceIP.String())
	return by, x.Rates.Take(by.UserID)
}

func (x *request) ownCookieCaller() (identity.Caller, error) {
	c, err := x.r.Cookie(x.ownCookie())
	if err != nil {
		return identity.Caller{}, fault.ExpiredCredentials.New("sign in")
	}
	hash, err := x.Customers.OpenOwn(c.Value)
	if err != nil {
		return identity.Caller{}, err
	}
	by, err := x.Identity.CustomerOfHash(x.r.Context(), hash)
	if err == nil {
		x.own = hash
	}
	return by, err
}

// ownMAC returns a MAC of data for the cookie of a customer: proof that a form or a flash was sent to this browser.
func (x *request) ownMAC(data string) string {
	return x.Identity.SignOnMAC("customer " + x.own + " " + data)
}

// strange counts a request of an address that has not signed in. Errors: fault.Throttled.
func (x *request) strange() error { return x.strangers.Take(identity.AddressKey(x.ev.From.SourceIP)) }

// ownSlug returns the slug of the application of a customer.
func ownSlug(by identity.Caller) string {
	_, named, _ := strings.Cut(by.ARN, ":customer/")
	slug, _, _ := strings.Cut(named, "/")
	return slug
}

// ownEvent returns the line of a request of a customer for the audit trail.
func (x *request) ownEvent(operation string, by identity.Caller, params audit.Params) *guard.Event {
	ev := &guard.Event{RequestID: x.ev.RequestID, From: x.ev.From}
	ev.Record = guard.Record{Source: "ecrin.amazonaws.com", Name: operation, ReadOnly: true, Region: x.region, Caller: by,
		Action: "ecrin:" + operation, Resource: by.ARN, Params: func() audit.Params { return params }}
	if by.ARN != "" {
		ev.Owner = guard.OwnedBy(by.Account)
	}
	x.ev.Operation = operation
	return ev
}

// recordOwn writes the line of a request of a customer that changes nothing to the audit trail.
func (x *request) recordOwn(operation string, by identity.Caller, err error) {
	ev := x.ownEvent(operation, by, audit.Params{})
	ev.Err = err
	x.Trail.End(x.r.Context(), ev)
}

// ownView is the page of a customer, or the form to sign in.
type ownView struct {
	vendor.CustomerPage
	Signed    bool
	Host      string
	PlainHTTP bool
	Wrong     string // in the form to sign in
	Commands  []command
	CSRF      string
	ByToken   bool // the customer has signed in by a token, which changes none
	TokenName string
	Made      *madeToken
	Refused   *trouble // of a change of tokens
}

func (x *request) ownPlaces() vendor.Places {
	return x.Customers.PlacesAt(x.host.String(), x.ev.From.Secure)
}

// ownPage shows what a customer may pull and install, with the commands, or the form to sign in.
func (x *request) ownPage() error {
	by, err := x.ownCaller()
	if err != nil {
		return x.showOwnSignIn(http.StatusOK, err)
	}
	x.flash = x.takeFlash(ownFlashCookie, x.ownMAC)
	return x.showOwn(http.StatusOK, by, ownView{})
}

func (x *request) showOwn(status int, by identity.Caller, v ownView) error {
	own, err := x.Customers.CustomerPage(x.r.Context(), by, x.ownPlaces())
	x.recordOwn("GetOwnPage", by, err)
	if err != nil {
		return x.showOwnSignIn(http.StatusForbidden, err)
	}
	v.CustomerPage, v.Signed, v.Host, v.CSRF, v.ByToken = own, true, x.r.Host, x.ownMAC("form"), by.Token != ""
	p := vendorPlace{Slug: own.Slug, Channel: "CHANNEL", Host: own.Places.Registry, Image: own.Places.Registry + "/REPOSITORY:TAG",
		User: own.Slug, Secure: x.ev.From.Secure}
	for _, r := range own.Rights {
		if first := r.Repositories[0]; !strings.Contains(first, "*") && !elsewhere(first) {
			p.Image = own.Places.Registry + "/" + first + ":TAG"
			break
		}
	}
	for _, c := range own.Channels {
		p.Channel = c.Slug
	}
	v.Commands = vendorCommands(p)
	return x.render(status, "own", &view{Title: own.Application, Alone: true, Roomy: true, Main: v})
}

// showOwnSignIn shows the form to sign in. One text answers all that is wrong with a licence.
func (x *request) showOwnSignIn(status int, err error) error {
	v := ownView{Host: x.r.Host, PlainHTTP: !x.secrets()}
	switch f := fault.From(err); f.Code {
	case fault.ExpiredCredentials:
	case fault.LicenseInvalid, fault.AccessDenied:
		v.Wrong = "This licence or token is not valid, or has ended."
	default: // such as fault.Throttled, whose page is that of the error
		return err
	}
	return x.render(status, "own", &view{Title: "Sign in with a licence", Alone: true, Main: v})
}

// toOwnSignIn answers a request without a valid licence: with the form to sign in. Errors: err, if it is another one.
func (x *request) toOwnSignIn(err error) error {
	switch fault.From(err).Code {
	case fault.ExpiredCredentials, fault.LicenseInvalid, fault.AccessDenied:
		return x.redirect(ownAddress)
	}
	return err
}

// onOwn signs a customer in or out, or changes a token of it.
func (x *request) onOwn() error {
	switch x.form.Get("do") {
	case "signout":
		x.setCookie(x.ownCookie(), "")
		return x.redirect(ownAddress)
	case "make", "rotate", "revoke":
		return x.changeOwnToken()
	}
	return x.ownSignIn()
}

// changeOwnToken makes, rotates or revokes a token of the customer. A token that is made is on the page of this answer only.
func (x *request) changeOwnToken() error {
	by, err := x.ownCaller()
	if err != nil {
		return x.showOwnSignIn(http.StatusForbidden, err)
	}
	if subtle.ConstantTimeCompare([]byte(x.form.Get("csrf")), []byte(x.ownMAC("form"))) != 1 {
		return errForged
	}
	label, what := strings.TrimSpace(x.form.Get("token")), x.form.Get("do")
	token, err := x.ownToken(what, label, by)
	if err != nil {
		v := ownView{Refused: x.troubleOf(err)}
		v.Refused.Explain = "" // to principals only
		if what == "make" {
			v.TokenName = label
		}
		return x.showOwn(x.status(err), by, v)
	}
	if what != "revoke" {
		return x.showOwn(http.StatusOK, by, ownView{Made: &madeToken{label, token.Reveal()}})
	}
	x.putFlash(ownFlashCookie, x.ownMAC, flash{Text: "The token " + shown(label) + " was revoked: it is refused at the next request."})
	return x.redirect(ownAddress)
}

// ownToken does a change of a token, with its line in the audit trail.
func (x *request) ownToken(what, label string, by identity.Caller) (token secret.String, err error) {
	operation := map[string]string{"make": "CreateOwnToken", "rotate": "RotateOwnToken", "revoke": "RevokeOwnToken"}[what]
	var params audit.Params
	params.String("tokenName", label)
	ev := x.ownEvent(operation, by, params)
	ev.ReadOnly = false
	ctx := x.Trail.Begin(x.r.Context(), ev)
	switch err = x.ownChanges.Take(by.UserID); {
	case err != nil:
	case what == "make":
		token, err = x.Customers.MakeOwnToken(ctx, by, label)
	case what == "rotate":
		token, err = x.Customers.RotateOwnToken(ctx, by, label)
	default:
		err = x.Customers.RevokeOwnToken(ctx, by, label)
	}
	ev.Err = err
	x.Trail.End(ctx, ev)
	return token, err
}

// ownSignIn signs a customer in by the id of its licence or by a token.
func (x *request) ownSignIn() error {
	if !x.secrets() {
		return x.render(http.StatusForbidden, "own", &view{Title: "Sign in with a licence", Alone: true,
			Main: ownView{Host: x.r.Host, PlainHTTP: true, Wrong: "A licence is taken by TLS only: open this page by https."}})
	}
	password := strings.TrimSpace(x.form.Get("password"))
	if err := x.strange(); err != nil {
		return err
	}
	by, err := x.Identity.SignInCustomer(x.r.Context(), password, x.ev.From.SourceIP)
	if errors.Is(err, fault.Throttled) {
		x.retryAfter(identity.AttemptWindow)
		return err
	}
	if err == nil {
		x.recordOwn("SignInAsCustomer", by, nil)
		x.setCookie(x.ownCookie(), x.Customers.SealOwn(password).Reveal())
		return x.redirect(ownAddress)
	}
	return x.showOwnSignIn(http.StatusForbidden, err)
}

// ownLicence sends the licence of the customer as a file.
func (x *request) ownLicence() error {
	by, err := x.ownCaller()
	if err != nil {
		return x.toOwnSignIn(err)
	}
	text, err := x.Customers.OwnLicense(x.r.Context(), by, ownSlug(by), license.V1, x.ownPlaces())
	x.recordOwn("GetOwnLicense", by, err)
	if err != nil {
		return err
	}
	x.attach("application/yaml", ownSlug(by)+"-license.yaml", text)
	return nil
}

// ownDownload sends the files of a version as an archive. It is in memory until it is sent, so that it takes a place for large answers.
func (x *request) ownDownload() error {
	by, err := x.ownCaller()
	if err != nil {
		return x.toOwnSignIn(err)
	}
	sequence, err := strconv.ParseInt(x.at["sequence"], 10, 64)
	if err != nil || sequence < 1 {
		return errNoPage
	}
	ctx := x.r.Context()
	if x.leave, err = x.large.Enter(ctx, by.ARN); err != nil {
		return err
	}
	d, err := x.Customers.Download(ctx, by, ownSlug(by), x.at["channel"], sequence, x.ownPlaces())
	x.recordOwn("DownloadRelease", by, err)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := d.Archive(&b); err != nil {
		return err
	}
	x.attach("application/gzip", ownSlug(by)+"-"+strconv.FormatInt(sequence, 10)+".tar.gz", b.Bytes())
	return nil
}
