package upstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// authorizer makes the Authorization headers for one registry. It is safe for concurrent use.
type authorizer interface {
	// header returns the header that is known before a request with the scopes, joined by blanks; "" if none is known.
	header(ctx context.Context, scopes string) (string, error)

	// renew returns another header after an answer 401 or 403 to a request with the header used; "" if there is none.
	renew(ctx context.Context, scopes, used string, f *failure) (string, error)

	// accepted notes that the registry has answered a request with the header used.
	accepted(used string)
}

const (
	maxTokens     = 1000      // kept for a registry
	maxToken      = 16 << 10  // bytes of a token
	maxTokenBody  = 128 << 10 // bytes of the answer of a token service
	maxRealm      = 2 << 10   // bytes
	maxScope      = 2 << 10   // bytes
	defaultLife   = time.Minute
	maxLife       = time.Hour
	tokenDeadline = 30 * time.Second // for all attempts to get a token
)

// knownTokenHosts are the hosts that issue the tokens of a registry and differ from it.
// Source: the documentation of the vendors.
var knownTokenHosts = map[string][]string{
	"index.docker.io":      {"auth.docker.io"},
	"registry-1.docker.io": {"auth.docker.io"},
	"registry.gitlab.com":  {"gitlab.com"},
}

// challenged answers the challenges of an OCI registry.
// Source: RFC 9110, 11.6; Docker registry, token authentication specification.
type challenged struct {
	c          *Client
	host       string
	username   string
	password   secret.String
	tokenHosts []string // beside host

	fetches singleflight.Group
	mu      sync.Mutex
	basic   bool             // the registry has asked for Basic credentials
	tokens  map[string]token // by scopes
}

type token struct {
	header secret.String // Bearer and the token
	until  time.Time
}

func (a *challenged) anonymous() bool { return a.username == "" && a.password.Reveal() == "" }

func (a *challenged) basicHeader() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.username+":"+a.password.Reveal()))
}

func (a *challenged) header(_ context.Context, scopes string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.basic && !a.anonymous() {
		return a.basicHeader(), nil
	}
	if t, ok := a.tokens[scopes]; ok && a.c.now().Before(t.until) {
		return t.header.Reveal(), nil
	}
	return "", nil
}

func (a *challenged) accepted(string) {}

func (a *challenged) renew(ctx context.Context, scopes, used string, f *failure) (string, error) {
	if f.Status != http.StatusUnauthorized {
		return "", nil
	}
	var basic bool
	for _, c := range parseChallenges(f.header.Values("Www-Authenticate")) {
		switch {
		case strings.EqualFold(c.scheme, "bearer"):
			return a.bearer(ctx, scopes, used, c.params)
		case strings.EqualFold(c.scheme, "basic"):
			basic = true
		}
	}
	if !basic {
		f.Public = "the registry refuses the request without a usable challenge"
		return "", nil
	}
	if a.anonymous() {
		f.Public = "the registry requires credentials, and none are set for it"
		return "", nil
	}
	if header := a.basicHeader(); header != used {
		a.mu.Lock()
		a.basic = true
		a.mu.Unlock()
		return header, nil
	}
	f.Public = "the registry does not accept the credentials"
	return "", nil
}

// bearer returns a token, fetched once for all concurrent requests with the same scopes.
func (a *challenged) bearer(ctx context.Context, scopes, used string, params map[string]string) (string, error) {
	realm, err := a.realm(params["realm"])
	if err != nil {
		return "", err
	}
	if t, ok := a.other(scopes, used); ok {
		return t.header.Reveal(), nil
	}
	wanted := strings.Fields(scopes)
	if s := params["scope"]; s != "" && len(s) <= maxScope {
		wanted = append(wanted, strings.Fields(s)...)
	}
	query := realm.Query()
	if s := params["service"]; s != "" && len(s) <= maxScope {
		query.Set("service", s)
	}
	for _, s := range auth.CleanScopes(wanted) {
		query.Add("scope", s)
	}
	realm.RawQuery = query.Encode()
	// The fetch belongs to all that wait for it, so that it does not end with the first of them.
	shared := a.fetches.DoChan(scopes, func() (any, error) {
		ctx, cancel := context.WithTimeoutCause(a.c.life, tokenDeadline, errStalled)
		defer cancel()
		if t, ok := a.other(scopes, used); ok { // another fetch has ended since the look above
			return t, nil
		}
		t, err := a.fetch(ctx, realm)
		if err == nil {
			a.keep(scopes, t)
		}
		return t, err
	})
	select {
	case got := <-shared:
		if got.Err != nil {
			return "", got.Err
		}
		return got.Val.(token).header.Reveal(), nil
	case <-ctx.Done():
		return "", network(ctx, a.host, ctx.Err())
	}
}

// other returns the token that was fetched for the scopes since the header used, which it forgets; false if there is none.
func (a *challenged) other(scopes, used string) (token, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.basic = false
	t, ok := a.tokens[scopes]
	if ok && t.header.Reveal() != used && a.c.now().Before(t.until) {
		return t, true
	}
	delete(a.tokens, scopes)
	return token{}, false
}

// realm checks the URL of a token service: only the registry itself and the hosts that are set for it get its
// credentials. Others are refused for anonymous tokens too.
func (a *challenged) realm(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxRealm || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, &Error{Reason: Lied, Host: a.host, Public: "the challenge names no valid token service"}
	}
	if u.Scheme != a.c.guard.Scheme(canonical(u)) {
		return nil, &Error{Reason: Refused, Host: a.host, Public: "the challenge names a token service without https"}
	}
	host := canonical(u)
	if host == a.host {
		return u, nil
	}
	for _, h := range a.tokenHosts {
		if host == h {
			return u, nil
		}
	}
	where := "another host"
	if clean, err := parseHost(u.Host); err == nil {
		where = "the host " + clean
	}
	return nil, &Error{Reason: Refused, Host: a.host, Public: "the challenge names a token service on " + where +
		", which gets no credentials of this registry; if it is right, add it to the token hosts of the registry"}
}

func (a *challenged) keep(scopes string, t token) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tokens == nil {
		a.tokens = map[string]token{}
	}
	if len(a.tokens) >= maxTokens {
		now := a.c.now()
		for s, old := range a.tokens {
			if !now.Before(old.until) {
				delete(a.tokens, s)
			}
		}
		for s := range a.tokens {
			if len(a.tokens) < maxTokens {
				break
			}
			delete(a.tokens, s)
		}
	}
	a.tokens[scopes] = t
}

// fetch gets a token, with further attempts after failures that may pass. It follows no redirect.
func (a *challenged) fetch(ctx context.Context, realm *url.URL) (token, error) {
	r := &Registry{c: a.c, host: a.host, http: a.c.guard.Scheme(a.host)}
	for n := 1; ; n++ {
		t, err := a.ask(ctx, r, realm)
		if err == nil || !r.again(ctx, n, err) {
			return t, err
		}
	}
}

func (a *challenged) ask(ctx context.Context, r *Registry, realm *url.URL) (token, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return token{}, r.fail(Lied, "the challenge names no valid token service")
	}
	req.Header.Set("User-Agent", a.c.agent)
	req.Header.Set("Accept", "application/json")
	if !a.anonymous() {
		req.Header.Set("Authorization", a.basicHeader())
	}
	resp, err := a.c.roundTrip(req, a.host)
	if err != nil {
		return token{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return token{}, tokenRefused(r.failure(resp, true))
	}
	defer func() { _ = resp.Body.Close() }() // its text was read
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenBody))
	if err != nil {
		return token{}, err
	}
	var answer struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return token{}, r.fail(Unavailable, "the answer of the token service is not JSON")
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	if !headerSafe(answer.Token) {
		return token{}, r.fail(Lied, "the token service gives no usable token")
	}
	life := defaultLife // the specification's
	if answer.ExpiresIn >= 1 {
		life = time.Duration(min(answer.ExpiresIn, maxLife.Seconds())) * time.Second
	}
	// A tenth of the life is for requests under way. A wrong clock only means that the registry asks again.
	return token{secret.New("Bearer " + answer.Token), a.c.now().Add(life - min(life/10, 30*time.Second))}, nil
}

// tokenRefused returns the error of a token service that refuses, which is one of credentials.
func tokenRefused(err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return err
	}
	switch f.Reason {
	case Unavailable, RateLimited:
		f.Public = "the token service: " + f.Public
	case Unauthorized, Denied:
		f.Public = "the token service does not accept the credentials"
	default:
		f.Reason, f.Public = Unauthorized, "the token service gives no token: "+f.Public
	}
	return f.base
}

// headerSafe reports whether a token can be the value of a header.
func headerSafe(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
