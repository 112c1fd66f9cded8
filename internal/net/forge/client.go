package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
)

// Client reads services. It is safe for concurrent use.
type Client struct {
	http  *http.Client
	pause time.Duration // before the second attempt
}

// The limits of one request.
const (
	maxAnswer     = 4 << 20 // bytes
	maxTime       = 20 * time.Second
	maxAttempts   = 4
	maxRetryAfter = 10 * time.Second
)

// NewClient returns a Client whose connections pass a guard.
func NewClient(guard *egress.Guard) *Client {
	c := *guard.Client(egress.ClientOptions{Timeout: maxTime, MaxBytes: maxAnswer})
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a header has the token
	return &Client{http: &c, pause: 250 * time.Millisecond}
}

// Error is why a service does not give what it is asked for.
type Error struct {
	Public string // with the name of the service; nothing in it is a text of the service
	Err    error  // for the log; may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Public
	}
	return e.Public + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// ErrNotFound is the error of what a service does not have, or does not show to the owner of the token.
var ErrNotFound = errors.New("the service answers 404")

func (s Site) failed(format string, args ...any) *Error {
	return &Error{Public: s.Title() + " " + fmt.Sprintf(format, args...)}
}

// get decodes the answer to a request for a path of the API. What may pass (429, 5xx, no connection) is repeated, four attempts in all.
//
// Errors: ErrNotFound, *Error, that of ctx.
func (c *Client) get(ctx context.Context, s Site, path string, into any) error {
	pause := c.pause
	for attempt := 1; ; attempt++ {
		body, again, wait, err := c.once(ctx, s, path)
		if err == nil {
			if s.Provider == Gerrit { // which writes this before JSON, so that no page can read it as a script
				body = bytes.TrimPrefix(body, []byte(")]}'"))
			}
			if json.Unmarshal(body, into) != nil {
				return s.failed("answers with something else than its API documents")
			}
			return nil
		}
		if !again || attempt == maxAttempts || wait > maxRetryAfter {
			return err
		}
		if wait == 0 {
			wait = pause
		}
		pause *= 2
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// once makes one request. again reports whether a failure may pass, wait for how long the service wants no further request; 0 for unknown.
func (c *Client) once(ctx context.Context, s Site, path string) (body []byte, again bool, wait time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.API()+path, nil)
	if err != nil {
		return nil, false, 0, &Error{Public: "the URL of " + s.Title() + " is not valid"}
	}
	s.Authorize(r.Header)
	r.Header.Set("User-Agent", "ecrin")
	r.Header.Set("Accept", s.accept())
	resp, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, false, 0, ctx.Err()
		}
		if _, refused := errors.AsType[*egress.RefusedError](err); refused {
			return nil, false, 0, &Error{"this server does not connect to the host of " + s.Title() +
				": its operator can allow it by egress_allow", egress.Cause(err)}
		}
		return nil, true, 0, &Error{s.Title() + " cannot be reached at " + r.URL.Host, egress.Cause(err)}
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	limited := resp.StatusCode == http.StatusTooManyRequests ||
		resp.StatusCode == http.StatusForbidden && resp.Header.Get("X-Ratelimit-Remaining") == "0"
	switch {
	case limited:
		return nil, true, retryAfter(resp.Header), s.failed("limits the rate of requests (%d): report the image again later", resp.StatusCode)
	case resp.StatusCode >= 500:
		return nil, true, 0, s.failed("fails with the status %d", resp.StatusCode)
	case resp.StatusCode == http.StatusNotFound:
		return nil, false, 0, ErrNotFound
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, false, 0, s.failed("does not accept the credentials (401): check %s", s.From)
	case resp.StatusCode == http.StatusForbidden:
		return nil, false, 0, s.failed("does not let the credentials of %s read this (403)", s.From)
	case resp.StatusCode != http.StatusOK:
		return nil, false, 0, s.failed("answers with the status %d", resp.StatusCode)
	}
	if body, err = io.ReadAll(resp.Body); err != nil {
		return nil, true, 0, &Error{"the answer of " + s.Title() + " cannot be read, or is longer than the limit", egress.Cause(err)}
	}
	return body, false, 0, nil
}

// retryAfter returns how long a service is not to be asked; 0 if it does not say.
func retryAfter(h http.Header) time.Duration {
	if n, err := strconv.Atoi(h.Get("Retry-After")); err == nil && n > 0 && n < 1e6 {
		return time.Duration(n) * time.Second
	}
	return 0
}
