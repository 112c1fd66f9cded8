package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// provider is a service of git or issues, with the credentials for it.
type provider struct {
	s      *Service
	title  string // for messages, such as GitHub
	base   string // URL, without a slash at its end
	header http.Header
	token  string // name of the variable that has the credentials, for messages
}

// errNotThere is the error of what a provider does not have.
var errNotThere = errors.New("the provider answers 404")

const (
	maxAttempts   = 4
	maxRetryAfter = 10 * time.Second
)

// baseOf checks the URL of a provider. Errors: fault.InvalidParameter.
func baseOf(key, text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", badVariables(fmt.Errorf("%s must be a URL https://HOST", key))
	}
	return strings.TrimRight(text, "/"), nil
}

// get decodes the answer of a request, and returns its header. What may pass (429, 5xx, no connection) is repeated, four attempts in all.
//
// Errors: errNotThere, fault.IntegrationFailed, that of ctx.
func (p provider) get(ctx context.Context, path string, into any) (http.Header, error) {
	pause := p.s.pause
	for attempt := 1; ; attempt++ {
		h, again, wait, err := p.once(ctx, path, into)
		if err == nil || !again || attempt == maxAttempts || wait > maxRetryAfter {
			return h, err
		}
		if wait == 0 {
			wait = pause
		}
		pause *= 2
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (p provider) failed(format string, args ...any) error {
	return fault.IntegrationFailed.New(p.title+" "+format, args...)
}

func (p provider) once(ctx context.Context, path string, into any) (_ http.Header, again bool, wait time.Duration, _ error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, nil)
	if err != nil {
		return nil, false, 0, badVariables(errors.New("the URL of " + p.title + " is not valid"))
	}
	r.Header = p.header.Clone()
	r.Header.Set("User-Agent", "ecrin")
	resp, err := p.s.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, false, 0, ctx.Err()
		}
		if _, refused := errors.AsType[*egress.RefusedError](err); refused {
			return nil, false, 0, fault.IntegrationFailed.New(
				"this server does not connect to the host of %s: its operator can allow it by egress_allow",
				p.title).Because(egress.Cause(err))
		}
		return nil, true, 0, fault.IntegrationFailed.New("%s cannot be reached at %s", p.title, r.URL.Host).Because(egress.Cause(err))
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	limited := resp.StatusCode == http.StatusTooManyRequests ||
		resp.StatusCode == http.StatusForbidden && resp.Header.Get("X-Ratelimit-Remaining") == "0"
	switch {
	case limited:
		wait := retryAfter(resp.Header)
		return nil, true, wait, p.failed("limits the rate of requests (%d): report the image again later", resp.StatusCode)
	case resp.StatusCode >= 500:
		return nil, true, 0, p.failed("fails with the status %d", resp.StatusCode)
	case resp.StatusCode == http.StatusNotFound:
		return nil, false, 0, errNotThere
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, false, 0, p.failed("does not accept the credentials (401): check %s", p.token)
	case resp.StatusCode == http.StatusForbidden:
		return nil, false, 0, p.failed("does not let the credentials of %s read this (403)", p.token)
	case resp.StatusCode != http.StatusOK:
		return nil, false, 0, p.failed("answers with the status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, true, 0, fault.IntegrationFailed.New("the answer of %s cannot be read, or is longer than the limit",
			p.title).Because(egress.Cause(err))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, false, 0, p.failed("answers with something else than its API documents")
	}
	return resp.Header, false, 0, nil
}

// retryAfter returns how long a provider is not to be asked; 0 if it does not say.
func retryAfter(h http.Header) time.Duration {
	if n, err := strconv.Atoi(h.Get("Retry-After")); err == nil && n > 0 && n < 1e6 {
		return time.Duration(n) * time.Second
	}
	return 0
}
