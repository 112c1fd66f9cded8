package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// httpSession is a service by HTTPS. Redirects are not followed: the token stays with its host.
type httpSession struct {
	remote  *Remote
	client  *http.Client
	service string
	said    *packp.AdvRefs
}

func (r *Remote) openHTTP(ctx context.Context, service string) (session, error) {
	s := &httpSession{remote: r, service: service, client: &http.Client{Transport: r.guard.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	in, err := s.do(ctx, http.MethodGet, "/info/refs?service="+service, "", nil, "application/x-"+service+"-advertisement")
	if err != nil {
		s.end()
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was read
	if s.said, err = decodeRefs(in); err != nil {
		s.end()
		return nil, r.broken(ctx, err, "the list of branches cannot be read")
	}
	return s, nil
}

func (s *httpSession) refs() *packp.AdvRefs { return s.said }

func (s *httpSession) request(ctx context.Context, body []byte) (io.ReadCloser, error) {
	return s.do(ctx, http.MethodPost, "/"+s.service, "application/x-"+s.service+"-request", body, "application/x-"+s.service+"-result")
}

func (s *httpSession) end() { s.client.CloseIdleConnections() }

// do sends a request whose answer must have the given type.
func (s *httpSession) do(ctx context.Context, method, path, kind string, body []byte, want string) (io.ReadCloser, error) {
	at := s.remote.at
	u := url.URL{Scheme: HTTPS, Host: at.Host, Path: at.Path}
	if at.Port != "" {
		u.Host += ":" + at.Port
	}
	q, err := http.NewRequestWithContext(ctx, method, u.String()+path, bytes.NewReader(body))
	if err != nil {
		return nil, fail(Invalid, err, "the URL of the repository cannot be used")
	}
	q.Header.Set("User-Agent", "git/2.0 (ecrin)") // some hosts answer nothing but git
	q.Header.Set("Accept", want)
	if kind != "" {
		q.Header.Set("Content-Type", kind)
	}
	if p := s.remote.access.Password.Reveal(); p != "" {
		q.SetBasicAuth(s.remote.access.Username, p)
	}
	answer, err := s.client.Do(q)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return nil, away(ctx, err)
	}
	if answer.StatusCode == http.StatusOK && answer.Header.Get("Content-Type") == want {
		return answer.Body, nil
	}
	_ = answer.Body.Close() // what it says is not used
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized:
		return nil, fail(Denied, nil, "the server does not accept the user name and the token (401)")
	case code == http.StatusForbidden:
		return nil, fail(Denied, nil, "the owner of the token may not %s (403)", doing[s.service])
	case code == http.StatusNotFound:
		return nil, fail(Missing, nil, "there is no such repository, or the owner of the token may not see it (404)")
	case code == http.StatusOK, code >= 300 && code < 400:
		return nil, fail(Invalid, nil, "at the URL is no repository of git: check it, and that it needs no redirect (%d)", code)
	default:
		return nil, fail(Away, nil, "the server answers with the status %d", code)
	}
}

// doing are the services in messages.
var doing = map[string]string{uploadPack: "read the repository", receivePack: "write to the repository"}
