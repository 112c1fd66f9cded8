package events

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

const (
	// sendTimeout is the time of one attempt, with the name, the connection and the answer.
	sendTimeout = 10 * time.Second
	// maxAnswer is how many bytes of an answer are read, and forgotten, so that its connection can be used again.
	maxAnswer = 64 << 10
)

// failure is why an attempt failed, in words for the owner of the webhook. They have nothing that the receiver has written, no address, and
// not whether a private name exists: the owner of a webhook must not find out what is in the network of the server.
type failure struct {
	text string
	err  error // for the operator
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// send makes one attempt. The status is that of the answer, 0 if there was none. The error is a *failure, or that of ctx.
func (s *Service) send(ctx context.Context, w meta.Webhook, t target, body []byte) (status int, err error) {
	now := s.now()
	signature, err := event.Sign(body, now, t.live(now)...)
	if err != nil {
		return 0, &failure{"the event could not be signed", err}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(body))
	if err != nil {
		return 0, &failure{"the URL is not valid", nil} // the error has the URL
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "ecrin")
	r.Header.Set(event.SignatureHeader, signature)
	answer, err := s.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		f := explain(egress.Cause(err))
		s.log.Debug("an event was not delivered", "webhook", w.Name, "registry", w.Registry.String(), "error", f.err)
		return 0, f
	}
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer) // what the receiver writes does not matter, nor an error in it
	_ = answer.Body.Close()
	switch status = answer.StatusCode; {
	case status >= 200 && status < 300:
		return status, nil
	case status >= 300 && status < 400:
		return status, &failure{fmt.Sprintf("the receiver answered %d, a redirection, which is not followed: give its final URL", status), nil}
	}
	return status, &failure{fmt.Sprintf("the receiver answered %d", status), nil}
}

// explain returns why no answer came.
func explain(err error) *failure {
	_, refused := errors.AsType[*egress.RefusedError](err)
	dns, named := errors.AsType[*net.DNSError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	network, isNetwork := errors.AsType[net.Error](err)
	switch {
	case refused, named && dns.IsNotFound:
		return &failure{"the host does not exist, or the server may not connect to its address", err}
	case certificate, unknown, host:
		return &failure{"the TLS certificate of the receiver is not valid", err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isNetwork && network.Timeout():
		return &failure{fmt.Sprintf("no answer came within %s", sendTimeout), err}
	}
	return &failure{"the connection failed", err}
}
