package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// SignOn signs people in at an identity provider. It is an *oidc.SignOn.
type SignOn interface {
	Begin(ctx context.Context, redirect string, p oidc.Proof) (location string, err error)
	Finish(ctx context.Context, redirect, code string, p oidc.Proof) (oidc.SignedOn, error)
}

// SingleSignOn is what people sign in by besides keys and passwords. The zero value is none.
type SingleSignOn struct {
	Provider SignOn
	Issuer   string // of its tokens
	Role     string // the ARN of the role of the session
	Title    string // of the link to it, such as "Example"
}

// signOnRows are the rows of the single sign-on.
var signOnRows = []row{
	{method: "GET", path: "sso", serve: (*request).beginSignOn, open: true},
	{method: "GET", path: "sso/callback", serve: (*request).finishSignOn, open: true},
}

// The limits of sign-ins that wait for the provider.
const (
	maxSignOns        = 16 // at once
	maxSignOnsWaiting = 4  // of one address
	maxSignOnWait     = 3 * time.Second
	maxSignOnTime     = 10 * time.Minute // from the link to the return of the browser
	maxCode           = 4096             // characters
)

// signOnCookie is the name of the cookie with the state of a sign-in. Nothing of it is kept here: whoever begins thousands has their state.
func (x *request) signOnCookie() string {
	if x.ev.From.Secure {
		return "__Host-ecrin-sso"
	}
	return "ecrin-sso"
}

// sealSignOn returns the value of the cookie: a seed, of which all secrets of the sign-in are made, the page after it, and its end.
func (x *request) sealSignOn(seed, next string, until time.Time) string {
	text := seed + "." + strconv.FormatInt(until.Unix(), 10) + "." + base64.RawURLEncoding.EncodeToString([]byte(next))
	return text + "." + x.Identity.SignOnMAC("cookie "+text)
}

// openSignOn returns seed and page of a cookie that this server has made less than maxSignOnTime ago.
func openSignOn(mac func(string) string, value string, now time.Time) (seed, next string, ok bool) {
	i := strings.LastIndexByte(value, '.')
	if i < 0 || len(value) > maxFlash+256 || subtle.ConstantTimeCompare([]byte(mac("cookie "+value[:i])), []byte(value[i+1:])) != 1 {
		return "", "", false
	}
	parts := strings.Split(value[:i], ".")
	if len(parts) != 3 {
		return "", "", false
	}
	until, err := strconv.ParseInt(parts[1], 10, 64)
	path, wrong := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || wrong != nil || !now.Before(time.Unix(until, 0)) {
		return "", "", false
	}
	return parts[0], string(path), true
}

// proofOf returns the secrets of a sign-in. The browser has the seed alone, so that it cannot know one from another.
func (x *request) proofOf(seed string) oidc.Proof {
	mac := x.Identity.SignOnMAC
	return oidc.Proof{State: mac("state " + seed), Nonce: mac("nonce " + seed), Verifier: mac("verifier " + seed)}
}

// callback is the address to which the provider sends the browser back. It must be among those that the provider knows for this client.
func (x *request) callback() string {
	scheme := "http://"
	if x.ev.From.Secure {
		scheme = "https://"
	}
	return scheme + x.r.Host + Path + "/sso/callback"
}

// enterSignOn waits for a place to ask the provider, which may not answer: those of one address cannot take the places of all.
func (x *request) enterSignOn() (leave func(), err error) {
	return x.signOns.Enter(x.r.Context(), x.ev.From.SourceIP.String())
}

// beginSignOn sends the browser to the identity provider.
func (x *request) beginSignOn() error {
	f := signInForm{Next: x.r.URL.Query().Get("next"), By: "sso"}
	if x.SSO.Provider == nil {
		return errNoPage
	}
	if !x.secrets() {
		f.Wrong = "A sign-in is taken by TLS only: open the console by https."
		return x.showSignIn(http.StatusForbidden, f)
	}
	leave, err := x.enterSignOn()
	if err != nil {
		return err
	}
	defer leave()
	b := make([]byte, 32)
	rand.Read(b)
	seed := base64.RawURLEncoding.EncodeToString(b)
	to, err := x.SSO.Provider.Begin(x.r.Context(), x.callback(), x.proofOf(seed))
	if err != nil {
		return x.signOnFailed(identity.Caller{}, f, err)
	}
	next := ownPath(f.Next)
	if len(next) > 1024 {
		next = Path + "/"
	}
	c := &http.Cookie{Name: x.signOnCookie(), Value: x.sealSignOn(seed, next, x.Now().Add(maxSignOnTime)), Path: "/",
		MaxAge: int(maxSignOnTime.Seconds()), Secure: x.ev.From.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	http.SetCookie(x.w, c)
	return x.redirect(to)
}

// signOnFailed answers with the form to sign in, and records the sign-in.
func (x *request) signOnFailed(by identity.Caller, f signInForm, err error) error {
	x.ev.Err = err
	x.recordSignIn(by, f, err)
	status := http.StatusForbidden
	if errors.Is(err, fault.IDPCommunication) {
		status = http.StatusServiceUnavailable
	}
	f.Wrong = "The single sign-on did not work: " + publicText(err) + "."
	return x.showSignIn(status, f)
}

// finishSignOn begins a session of the role for the person whom the provider has sent back with a code. The state in the cookie and that in
// the address must be of the same sign-in, so that nobody signs a browser of others in, and the cookie is used once.
func (x *request) finishSignOn() error {
	if x.SSO.Provider == nil {
		return errNoPage
	}
	q := x.r.URL.Query()
	c, err := x.r.Cookie(x.signOnCookie())
	f := signInForm{By: "sso"}
	again := func(why string) error {
		return x.signOnFailed(identity.Caller{}, f, fault.InvalidIdentityToken.New("%s; begin it again", why))
	}
	if err != nil {
		return again("this browser has not begun a sign-in, or it took longer than ten minutes")
	}
	x.setCookie(x.signOnCookie(), "")
	seed, next, ok := openSignOn(x.Identity.SignOnMAC, c.Value, x.Now())
	if !ok {
		return again("this browser has not begun a sign-in, or it took longer than ten minutes")
	}
	f.Next = next
	proof := x.proofOf(seed)
	issuer, named := q.Get("iss"), q.Has("iss")
	switch code := q.Get("code"); {
	case subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(proof.State)) != 1:
		return again("the answer is of another sign-in")
	case named && issuer != x.SSO.Issuer: // source: RFC 9207, section 2.4
		return again("the answer is of another provider")
	case q.Has("error"):
		return again("the provider says " + shown(q.Get("error")))
	case code == "" || len(code) > maxCode:
		return again("the answer has no code")
	}
	leave, err := x.enterSignOn()
	if err != nil {
		return err
	}
	defer leave()
	by, err := x.signedOn(q.Get("code"), proof)
	if err != nil {
		return x.signOnFailed(by, f, err)
	}
	value, err := x.Identity.BeginConsole(x.r.Context(), by, x.ev.From.SourceIP, x.r.UserAgent())
	if err != nil {
		return x.signOnFailed(by, f, err)
	}
	x.recordSignIn(by, f, nil)
	x.setCookie(x.cookieName(), value.Reveal())
	return x.redirect(ownPath(next))
}

// signedOn returns a session of the role for the person of a code. The role decides as for any token: its trust policy, and the provider
// and its audiences of its account.
func (x *request) signedOn(code string, proof oidc.Proof) (by identity.Caller, err error) {
	ctx := x.r.Context()
	person, err := x.SSO.Provider.Finish(ctx, x.callback(), code, proof)
	if err != nil {
		return by, err
	}
	ev := guard.Event{RequestID: x.ev.RequestID, From: x.ev.From}
	out, err := x.Operations.Do(ctx, awsapi.Call{Service: "sts", Operation: "AssumeRoleWithWebIdentity",
		Request: guard.Request{Region: x.region, Host: x.host, From: x.ev.From}, Event: &ev, Hold: x.hold,
		Input: &ststypes.AssumeRoleWithWebIdentityRequest{RoleArn: x.SSO.Role, RoleSessionName: person.Session,
			WebIdentityToken: person.Token}})
	if err != nil {
		return by, err
	}
	k := out.(*ststypes.AssumeRoleWithWebIdentityResponse).Credentials
	return x.Identity.APIKeyCaller(ctx, k.AccessKeyId+":"+k.SecretAccessKey+":"+k.SessionToken, x.region)
}
