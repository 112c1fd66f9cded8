package credential

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Verify asks the registry of a credential whether it accepts it: GET /v2/ by https, or by http if the configuration or the environment
// names its API so.
//
// Errors: [ErrRefused] (it answers 401 or 403); it cannot be reached, or answers another status than 200.
func (a *AWS) Verify(ctx context.Context, c Credential) error {
	rule := a.Config.rule(c.Host)
	if rule == nil {
		rule = &Rule{}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	ca := rule.CAFile
	if ca == "" {
		ca = a.Getenv("AWS_CA_BUNDLE")
	}
	if ca != "" {
		pool, err := Roots(ca)
		if err != nil {
			return err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	scheme := "https"
	for _, base := range []string{rule.Endpoint, a.Getenv("AWS_ENDPOINT_URL_ECR"), a.Getenv("AWS_ENDPOINT_URL")} {
		if u, err := url.Parse(base); base != "" && err == nil {
			if u.Scheme == "http" && below(base, c.Host) {
				scheme = "http"
			}
			break
		}
	}
	client := &http.Client{Transport: transport, Timeout: maxCall, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // credentials are for this host
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+c.Host+"/v2/", nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(c.Username, c.Password.Reveal())
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking %s whether it accepts the new credentials: %w", c.Host, err)
	}
	_ = answer.Body.Close() // its content has no meaning
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s answers %s: %w", c.Host, answer.Status, ErrRefused)
	default:
		return fmt.Errorf("%s does not accept the new credentials: %s", c.Host, answer.Status)
	}
}

// Ended reports whether a credential can be used no more at a time.
func (c Credential) Ended(at time.Time) bool { return !c.ExpiresAt.IsZero() && !at.Before(c.ExpiresAt) }
