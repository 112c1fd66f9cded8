package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// SignOnOptions name the provider at which people sign in, and the client that this server is there.
type SignOnOptions struct {
	Issuer       string        // https://HOST[/PATH], as in its tokens
	ClientID     string        // the audience of its tokens
	ClientSecret secret.String // "" for a public client, which has PKCE alone
}

// SignOn signs people in at an OpenID Connect provider, by the authorization code flow with PKCE. It keeps no state of a sign-in. It is
// safe for concurrent use.
//
// Source: OpenID Connect Core 1.0, section 3.1; RFC 7636 (PKCE); RFC 9207 (the parameter iss); RFC 9700 (best practice).
type SignOn struct {
	SignOnOptions
	client *http.Client
	now    func() time.Time

	turn  chan struct{} // one at a time asks for the document; who has it may use the fields below
	until time.Time     // when the document is asked for again
	doc   endpoints
	err   error
}

// endpoints are the members of the discovery document that the flow needs.
type endpoints struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
}

// How long a discovery document is kept, and how long its absence.
const (
	documentKept = 10 * time.Minute
	failureKept  = 10 * time.Second
)

// NewSignOn returns a SignOn that contacts the provider through guard. now returns the current time.
func NewSignOn(guard *egress.Guard, o SignOnOptions, now func() time.Time) *SignOn {
	c := guard.Client(egress.ClientOptions{Timeout: fetchTimeout, MaxBytes: maxDocument})
	// A redirect of the token endpoint would carry the code elsewhere.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &SignOn{SignOnOptions: o, client: c, now: now, turn: make(chan struct{}, 1)}
}

// Proof binds the steps of one sign-in to the browser that began it. Each part is another secret, of 43 to 128 characters of
// A-Z a-z 0-9 - . _ ~.
type Proof struct {
	State    string // comes back with the code
	Nonce    string // comes back in the token
	Verifier string // of PKCE: proves to the provider that who has the code began the sign-in
}

// Begin returns the address of the provider to which a browser is sent. redirect is the address to which the provider sends it back.
//
// Errors: fault.IDPCommunication (the provider cannot be reached, or its document is of no use).
func (s *SignOn) Begin(ctx context.Context, redirect string, p Proof) (string, error) {
	doc, err := s.document(ctx)
	if err != nil {
		return "", err
	}
	at, err := url.Parse(doc.Authorization)
	if err != nil {
		return "", unusable("the authorization endpoint").Because(err)
	}
	challenge := sha256.Sum256([]byte(p.Verifier))
	q := at.Query()
	for k, v := range map[string]string{"response_type": "code", "scope": "openid", "client_id": s.ClientID, "redirect_uri": redirect,
		"state": p.State, "nonce": p.Nonce, "code_challenge": base64.RawURLEncoding.EncodeToString(challenge[:]),
		"code_challenge_method": "S256"} {
		q.Set(k, v)
	}
	at.RawQuery = q.Encode()
	return at.String(), nil
}

// SignedOn is a person who has signed in at the provider, as its token says.
type SignedOn struct {
	Token   string // an ID token
	Session string // a name for a session of the person, 2 to 64 characters, from the subject of the token
}

// Finish exchanges the code that came back for the ID token of the person. It checks that the token is of this provider, for this client,
// and of the sign-in that the proof belongs to. It does not check its signature and time: AssumeRoleWithWebIdentity does.
//
// Errors: fault.IDPCommunication (the provider cannot be reached), fault.InvalidIdentityToken (it refuses the code; the token is that of
// another sign-in).
func (s *SignOn) Finish(ctx context.Context, redirect, code string, p Proof) (SignedOn, error) {
	doc, err := s.document(ctx)
	if err != nil {
		return SignedOn{}, err
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "client_id": {s.ClientID},
		"code_verifier": {p.Verifier}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, doc.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return SignedOn{}, unusable("the token endpoint").Because(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if text := s.ClientSecret.Reveal(); text != "" {
		r.SetBasicAuth(url.QueryEscape(s.ClientID), url.QueryEscape(text)) // source: RFC 6749, section 2.3.1
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return SignedOn{}, unreachable(egress.Cause(err))
	}
	defer func() { _ = answer.Body.Close() }() // the body was read
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return SignedOn{}, unreachable(err)
	}
	if answer.StatusCode != http.StatusOK {
		return SignedOn{}, fault.InvalidIdentityToken.New("the identity provider did not accept the code").Because(
			fmt.Errorf("the token endpoint answers %d", answer.StatusCode))
	}
	var got struct {
		IDToken string `json:"id_token"`
	}
	if json.Unmarshal(text, &got) != nil || got.IDToken == "" { // the error would quote the tokens
		return SignedOn{}, fault.InvalidIdentityToken.New("the identity provider answered without an ID token")
	}
	return s.check(got.IDToken, p.Nonce)
}

// check returns the person of a token that claims to be of this provider, for this client, and of the sign-in with the nonce.
func (s *SignOn) check(text, nonce string) (SignedOn, error) {
	t, err := parse(text)
	if err != nil {
		return SignedOn{}, fault.InvalidIdentityToken.New("the ID token is not a valid JWT").Because(err)
	}
	audience, _ := texts(t.claims["aud"])
	azp, _ := t.claims["azp"].(string)
	switch {
	case t.claims["iss"] != s.Issuer:
		return SignedOn{}, fault.InvalidIdentityToken.New("the ID token is of another provider")
	case !slices.Contains(audience, s.ClientID), (len(audience) > 1 || azp != "") && azp != s.ClientID:
		return SignedOn{}, fault.InvalidIdentityToken.New("the ID token is for another client")
	case nonce == "" || t.claims["nonce"] != nonce:
		return SignedOn{}, fault.InvalidIdentityToken.New("the ID token is of another sign-in")
	}
	subject, _ := t.claims["sub"].(string)
	return SignedOn{Token: text, Session: sessionName(subject)}, nil
}

// sessionName returns the characters of a subject that names of sessions have. Not its mail address, which people of some providers choose.
func sessionName(subject string) string {
	name := "sso-" + strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("=,.@-_", c) {
			return c
		}
		return '-'
	}, subject)
	return name[:min(64, len(name))]
}

// document returns the discovery document. One request at a time asks for it; what it got, also an error, serves those that wait, so that
// many who begin to sign in are no load on the provider.
func (s *SignOn) document(ctx context.Context) (endpoints, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return endpoints{}, unreachable(ctx.Err())
	}
	if s.now().Before(s.until) {
		return s.doc, s.err
	}
	// Who waits next needs the answer too, so that it does not end with the browser of this one.
	s.doc, s.err = s.fetch(context.WithoutCancel(ctx))
	if s.until = s.now().Add(documentKept); s.err != nil {
		s.until = s.now().Add(failureKept)
	}
	return s.doc, s.err
}

func (s *SignOn) fetch(ctx context.Context) (doc endpoints, err error) {
	text, err := get(ctx, s.client, strings.TrimSuffix(s.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return doc, unreachable(err)
	}
	switch {
	case json.Unmarshal(text, &doc) != nil:
		return doc, unusable("the document")
	case doc.Issuer != s.Issuer:
		return doc, unusable("the issuer of the document")
	}
	for what, address := range map[string]string{"the authorization endpoint": doc.Authorization, "the token endpoint": doc.Token} {
		if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return doc, unusable(what)
		}
	}
	return doc, nil
}

func unreachable(err error) error {
	return fault.IDPCommunication.New("the identity provider cannot be reached, or does not answer; try again later").Because(err)
}

func unusable(what string) *fault.Error {
	return fault.IDPCommunication.New("the identity provider cannot be used for sign-in").Because(errors.New(what + " is not valid"))
}
