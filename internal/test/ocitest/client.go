// Package ocitest is a client of the OCI distribution protocol for tests: it sends single requests without
// changing them, follows no redirects, repeats nothing, and returns the whole response.
package ocitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Client sends requests to one server as one user. It is a value: copy it to change a field. It is safe for
// concurrent use.
type Client struct {
	Base     string // scheme, host and port, such as http://127.0.0.1:5100
	Host     string // Host header, if different from Base's
	Prefix   string // prefix of repository names, such as "111122223333/eu-west-1/"
	Password string // of user AWS; "" means no credentials
	HTTP     *http.Client
}

// NewHTTP returns an HTTP client without proxy and redirects, whose connections are closed at the end of the
// test.
func NewHTTP(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, ExpectContinueTimeout: time.Minute}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// Answer is a response with its whole body.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Asked  string // the request line, for failure texts
}

// Try sends one request. path is a path with a query, or a whole URL such as a Location. header has names and
// values in turn; the name "Content-Length" sets the announced length, the name "Host" the host.
func (c Client) Try(ctx context.Context, method, path string, body io.Reader, header ...string) (*Answer, error) {
	address := path
	if strings.HasPrefix(path, "/") {
		address = c.Base + path
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	r.Host = c.Host
	if c.Password != "" {
		r.SetBasicAuth("AWS", c.Password)
	}
	for i := 0; i+1 < len(header); i += 2 {
		switch header[i] {
		case "Content-Length":
			if _, err := fmt.Sscan(header[i+1], &r.ContentLength); err != nil {
				return nil, err
			}
		case "Host":
			r.Host = header[i+1]
		default:
			r.Header.Add(header[i], header[i+1])
		}
	}
	resp, err := c.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return &Answer{resp.StatusCode, resp.Header, got, method + " " + path}, err
}

// Do is Try with a body in memory (nil for none); it fails the test if there is no response.
func (c Client) Do(t testing.TB, method, path string, body []byte, header ...string) *Answer {
	t.Helper()
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	a, err := c.Try(context.WithoutCancel(t.Context()), method, path, r, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// Want fails the test unless the response has one of the statuses.
func (a *Answer) Want(t testing.TB, statuses ...int) *Answer {
	t.Helper()
	for _, s := range statuses {
		if a.Status == s {
			return a
		}
	}
	t.Fatalf("%s: got %d %.300s, want %d", a.Asked, a.Status, a.Body, statuses)
	return nil
}

// WantError fails the test unless the response is an error envelope with the status and code (for HEAD, without
// a body).
func (a *Answer) WantError(t testing.TB, status int, code string) *Answer {
	t.Helper()
	a.Want(t, status)
	if strings.HasPrefix(a.Asked, http.MethodHead) {
		if len(a.Body) > 0 {
			t.Errorf("%s: an answer to HEAD has the body %q", a.Asked, a.Body)
		}
		return a
	}
	if got := a.Header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("%s: got content type %q of an error, want application/json; charset=utf-8", a.Asked, got)
	}
	got, err := a.Errors()
	if err != nil || len(got) == 0 || got[0].Code != code || got[0].Message == "" {
		t.Fatalf("%s: got %.300s (%v), want one error with code %s and a message", a.Asked, a.Body, err, code)
	}
	return a
}

// Error is one entry of an error envelope.
type Error struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Detail  json.RawMessage `json:"detail"`
}

// Errors decodes the error envelope.
func (a *Answer) Errors() ([]Error, error) {
	var e struct{ Errors []Error }
	d := json.NewDecoder(bytes.NewReader(a.Body))
	d.DisallowUnknownFields()
	err := d.Decode(&e)
	return e.Errors, err
}

// WantHeader fails the test unless the header has the value.
func (a *Answer) WantHeader(t testing.TB, key, want string) *Answer {
	t.Helper()
	if got := a.Header.Get(key); got != want {
		t.Errorf("%s: got %s: %q, want %q", a.Asked, key, got, want)
	}
	return a
}

// JSON decodes the body.
func (a *Answer) JSON(t testing.TB, into any) *Answer {
	t.Helper()
	if err := json.Unmarshal(a.Body, into); err != nil {
		t.Fatalf("%s: %v in %.300s", a.Asked, err, a.Body)
	}
	return a
}

// Location returns the response's Location with additional parameters, given as names and values in turn.
func (a *Answer) Location(t testing.TB, more ...string) string {
	t.Helper()
	u, err := url.Parse(a.Header.Get("Location"))
	if err != nil || u.Path == "" {
		t.Fatalf("%s: unusable Location %q: %v", a.Asked, a.Header.Get("Location"), err)
	}
	q := u.Query()
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Next returns the URL in the Link header with rel="next", or "" if there is none.
func (a *Answer) Next(t testing.TB) string {
	t.Helper()
	link := a.Header.Get("Link")
	if link == "" {
		return ""
	}
	target, rel, ok := strings.Cut(link, ">")
	if !ok || !strings.HasPrefix(target, "<") || strings.TrimSpace(strings.TrimPrefix(rel, ";")) != `rel="next"` {
		t.Fatalf("%s: got Link %q, want <address>; rel=\"next\"", a.Asked, link)
	}
	return target[1:]
}
