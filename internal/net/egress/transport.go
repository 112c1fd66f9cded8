package egress

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// dialError is an error before any HTTP was read. Its text comes from this program or from the system, not from
// the other side.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// transport refuses URLs that are not https, limits response bodies and keeps the text of responses out of
// errors.
type transport struct {
	base *http.Transport
	max  int64 // of a body; negative means unlimited

	marker string // of Options
	guard  *Guard
}

// CloseIdleConnections closes the connections that serve no request.
func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// RoundTrip sends one request. http.Client also calls it for each redirect.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.guard.checkURL(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // required of a RoundTripper; the error of the check is returned
		}
		return nil, err
	}
	if t.marker != "" {
		marked := *r // a RoundTripper may not change the request
		if marked.Header = r.Header.Clone(); marked.Header == nil {
			marked.Header = http.Header{}
		}
		marked.Header.Set(LoopHeader, t.marker)
		r = &marked
	}
	answer, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, silent(r, err)
	}
	if t.marker != "" && answer.StatusCode == http.StatusLoopDetected && answer.Header.Get(LoopHeader) == t.marker {
		_ = answer.Body.Close() // its text is known
		return nil, &RefusedError{Host: r.URL.Host, Rule: "a name of this installation, where the request arrived", Setting: settingDNS,
			Loop: true}
	}
	if to := answer.Header.Get("Location"); to != "" {
		if _, err := r.URL.Parse(to); err != nil { // http.Client would put it into its error
			_ = answer.Body.Close() // the body is not used
			return nil, errors.New("the response redirects to an invalid URL")
		}
	}
	if t.max < 0 {
		return answer, nil
	}
	answer.Body = &bounded{ReadCloser: answer.Body, left: t.max, max: t.max}
	return answer, nil
}

func (g *Guard) checkURL(u *url.URL) error {
	switch {
	case u.Scheme != g.Scheme(strings.ToLower(u.Host)):
		return &RefusedError{Host: u.Host, Rule: "not asked by " + g.Scheme(strings.ToLower(u.Host))}
	case u.User != nil:
		return &RefusedError{Host: u.Host, Rule: "given with a user name, which hides where the host begins"}
	}
	return nil
}

// silent removes the text of errors that may quote the other side's response.
func silent(r *http.Request, err error) error {
	if d, ok := errors.AsType[*dialError](err); ok {
		return d.err
	}
	if cause := r.Context().Err(); cause != nil {
		return cause
	}
	if n, ok := errors.AsType[net.Error](err); ok { // a text of the system
		return n
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the connection ended before the response: %w", io.ErrUnexpectedEOF)
	}
	return errors.New("the response is not valid HTTP")
}

// bounded is a body that returns an error when it is longer than its limit.
type bounded struct {
	io.ReadCloser
	left, max int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one byte more, to detect a longer body
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		err = fmt.Errorf("the response is longer than %d bytes", b.max)
	}
	b.left -= int64(n)
	return n, err
}
