package ociapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// anonymousToken is the Bearer token of clients without credentials. It is not a secret: it gives the rights of a request
// without credentials.
const anonymousToken = "anonymous"

// tokenSeconds is the time after which a client requests the next Bearer token. It is short because the expiry of a docker
// token does not depend on it: the registry checks the docker token in every request.
const tokenSeconds = 300

// credentials are those of a request's Authorization header.
type credentials struct {
	none     bool   // there are none
	valid    bool   // they have a form in which password is a docker token
	bearer   bool   // the scheme is Bearer
	password string // docker token
}

// credentialsOf returns the credentials of a request: a docker token as the password of the user AWS, a password of a customer with any
// user name or as a Bearer token, or, if bearer is true, another Bearer token.
func credentialsOf(r *http.Request, bearer bool) credentials {
	user, password, ok := r.BasicAuth()
	switch {
	case len(r.Header.Values("Authorization")) == 0,
		ok && user == "" && password == "": // what skopeo, podman and buildah send without credentials
		return credentials{none: true}
	case ok && (user == "AWS" || identity.IsCustomerPassword(password)):
		return credentials{valid: true, password: password}
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if ok || !strings.EqualFold(scheme, "Bearer") || !bearer && !identity.IsCustomerPassword(token) {
		return credentials{}
	}
	return credentials{valid: true, bearer: true, password: token}
}

// caller returns the caller of a request, by the docker token in its credentials. If requests without credentials are
// admitted, their caller is anonymous on all routes except /v2/, whose challenge clients need to send credentials; the
// Bearer token of anonymous clients is then accepted on all routes.
//
// Errors: fault.MissingCredentials, and those of identity.Service.TokenCaller.
func (a *API) caller(q *request, region name.Region) (identity.Caller, error) {
	c := credentialsOf(q.r, a.anonymous)
	q.bearer = c.bearer
	if a.anonymous && (c.none && q.target.route != routeBase || c.bearer && c.password == anonymousToken) {
		return identity.Caller{Kind: identity.Anonymous, UserID: "anonymous"}, nil
	}
	missing := fault.MissingCredentials.New(notAuthorized)
	if c.none {
		return identity.Caller{}, missing
	}
	if !c.valid {
		return identity.Caller{}, &identity.Refusal{
			Err: missing, Class: identity.RefusedCredentials,
			Cause: "the credentials are not an authorization token as the password of the user AWS",
			Cure:  "Log in with this user name: docker login --username AWS",
		}
	}
	caller, err := a.callerOf(q, c.password, region)
	if c.bearer && errors.Is(err, fault.TokenInvalid) { // RFC 6750, section 3.1
		return identity.Caller{}, missing.Because(err)
	}
	return caller, err
}

// token answers with a Bearer token: the docker token of the credentials, or that of anonymous clients.
//
// Source: distribution's token authentication specification, token response fields.
func (a *API) token(q *request) error {
	text := anonymousToken
	if q.caller.Kind != identity.Anonymous {
		text = credentialsOf(q.r, true).password
	}
	body, err := json.Marshal(struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}{text, text, tokenSeconds})
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	q.w.Header().Set("Cache-Control", "no-store")
	_, err = q.w.Write(body)
	return clientGone(err)
}

// bearerChallenge returns the challenge of a registry that admits anonymous clients: the address of the token endpoint,
// and the scope of the request. Its scheme is Bearer alone, because the docker engine fails without credentials if a
// challenge also offers Basic. Basic credentials are accepted nevertheless.
//
// Source: distribution's token authentication specification, how to authenticate.
func (q *request) bearerChallenge() string {
	scheme, host := "http://", plainHost(q.r.Host)
	if q.ev.From.Secure {
		scheme = "https://"
	}
	text := `Bearer realm="` + scheme + host + `/v2/token",service="` + host + `"`
	if q.repo != (name.Repo{}) {
		actions := "pull"
		if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
			actions = "pull,push"
		}
		text += `,scope="repository:` + plainHost(q.target.name) + ":" + actions + `"`
	}
	return text
}

// challenged replaces the denial of a request without credentials by a challenge, because the request may be allowed
// with credentials. A client with an anonymous Bearer token has no credentials, so its denial stays.
func (q *request) challenged(err error) error {
	if q.caller.Kind == identity.Anonymous && !q.bearer && errors.Is(err, fault.AccessDenied) {
		return fault.MissingCredentials.New(notAuthorized).Because(err)
	}
	return err
}
