package console

import (
	"bytes"
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
)

// ownRows are the rows of the page of a customer. They need no session of a principal: a customer has a cookie of its own, which stands for
// its licence or one of its tokens, and reaches nothing but these rows.
var ownRows = []row{
	{method: "GET", path: "customer", serve: (*request).ownPage, open: true},
	{method: "POST", path: "customer", serve: (*request).ownSignIn, open: true},
	{method: "GET", path: "customer/licence", serve: (*request).ownLicence, open: true},
	{method: "GET", path: "customer/versions/{channel}/{sequence}", serve: (*request).ownDownload, open: true},
}

const ownAddress = Path + "/customer"

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
	return x.Identity.CustomerOfHash(x.r.Context(), hash)
}

// strange counts a request of an address that has not signed in. Errors: fault.Throttled.
func (x *request) strange() error { return x.strangers.Take(identity.AddressKey(x.ev.From.SourceIP)) }

// ownSlug returns the slug of the application of a customer.
func ownSlug(by identity.Caller) string {
	_, named, _ := strings.Cut(by.ARN, ":customer/")
	slug, _, _ := strings.Cut(named, "/")
	return slug
}

// recordOwn writes the line of a request of a customer to the audit trail.
func (x *request) recordOwn(operation string, by identity.Caller, err error) {
	ev := guard.Event{RequestID: x.ev.RequestID, From: x.ev.From, Err: err}
	ev.Record = guard.Record{Source: "ecrin.amazonaws.com", Name: operation, ReadOnly: true, Region: x.region, Caller: by,
		Action: "ecrin:" + operation, Resource: by.ARN, Params: func() audit.Params { return audit.Params{} }}
	if by.ARN != "" {
		ev.Owner = guard.OwnedBy(by.Account)
	}
	x.ev.Operation = operation
	x.Trail.End(x.r.Context(), &ev)
}

// ownView is the page of a customer, or the form to sign in.
type ownView struct {
	vendor.CustomerPage
	Signed    bool
	Host      string
	PlainHTTP bool
	Wrong     string
	Commands  []command
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
	own, err := x.Customers.CustomerPage(x.r.Context(), by, x.ownPlaces())
	x.recordOwn("GetOwnPage", by, err)
	if err != nil {
		return x.showOwnSignIn(http.StatusForbidden, err)
	}
	v := ownView{CustomerPage: own, Signed: true, Host: x.r.Host}
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
	return x.render(http.StatusOK, "own", &view{Title: own.Application, Alone: true, Roomy: true, Main: v})
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

// ownSignIn signs a customer in by the id of its licence or by a token, or out.
func (x *request) ownSignIn() error {
	if x.form.Get("do") == "signout" {
		x.setCookie(x.ownCookie(), "")
		return x.redirect(ownAddress)
	}
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
