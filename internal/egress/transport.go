package egress

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// dialError marks what went wrong before anything was read as HTTP. Its text is ours or the system's.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// transport refuses what is not https, bounds answers and keeps their text out of errors.
type transport struct {
	base *http.Transport
	max  int64
}

// RoundTrip sends one request; http.Client calls it for each redirect too.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkURL(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as RoundTripper must; the request is refused anyway
		}
		return nil, err
	}
	answer, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, silent(r, err)
	}
	if to := answer.Header.Get("Location"); to != "" {
		if _, err := r.URL.Parse(to); err != nil { // http.Client would show it in its error
			_ = answer.Body.Close() // nothing of it is used
			return nil, errors.New("the answer redirects to something that is no address")
		}
	}
	answer.Body = &bounded{ReadCloser: answer.Body, left: t.max, max: t.max}
	return answer, nil
}

func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "https":
		return &RefusedError{Host: u.Host, Rule: "not asked by https"}
	case u.User != nil:
		return &RefusedError{Host: u.Host, Rule: "given with a user name, which hides where the host begins"}
	}
	return nil
}

// silent drops the text of errors that may quote what the other side sent.
func silent(r *http.Request, err error) error {
	if d, ok := errors.AsType[*dialError](err); ok {
		return d.err
	}
	if cause := r.Context().Err(); cause != nil {
		return cause
	}
	if n, ok := errors.AsType[net.Error](err); ok { // the system's own words
		return n
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the connection ended before the answer: %w", io.ErrUnexpectedEOF)
	}
	return errors.New("the answer cannot be read as HTTP")
}

// bounded is a body that fails when it is longer than it may be.
type bounded struct {
	io.ReadCloser
	left, max int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more, to see that there is more
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		err = fmt.Errorf("the answer is longer than %d bytes", b.max)
	}
	b.left -= int64(n)
	return n, err
}
