package oidc

import (
	"context"
	"crypto/sha1" // the API identifies certificates by SHA-1
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	fetchTimeout = 5 * time.Second // for each of the two documents
	maxDocument  = 512 << 10       // bytes; enough for 200 keys of the largest kind
)

// errUnreachable marks failures that may be temporary.
var errUnreachable = errors.New("the identity provider cannot be reached")

// fetch gets the issuer's discovery document and then its keys. Errors are coded.
// Source: OpenID Connect Discovery 1.0, section 4.
func fetch(ctx context.Context, guard *egress.Guard, issuer string, thumbprints []string, now func() time.Time) (map[string]key, error) {
	client := guard.Client(egress.ClientOptions{
		Timeout:  fetchTimeout,
		MaxBytes: maxDocument,
		VerifyTLS: func(host string, chain []*x509.Certificate, roots *x509.CertPool) error {
			return verifyChain(host, chain, roots, thumbprints, now())
		},
	})
	keys, err := keysOf(ctx, client, issuer)
	switch {
	case err == nil:
		return keys, nil
	case errors.Is(err, errUnreachable):
		return nil, fault.IDPCommunication.New("the identity provider cannot be reached, or does not answer; try again later").Because(err)
	}
	return nil, noKey().Because(err)
}

func keysOf(ctx context.Context, client *http.Client, issuer string) (map[string]key, error) {
	text, err := get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, fmt.Errorf("discovery document: %w", err)
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, errors.New("discovery document: it is not JSON") // the JSON error would quote the document
	}
	if document.Issuer != issuer {
		return nil, errors.New("discovery document: it has another issuer")
	}
	if text, err = get(ctx, client, document.JWKSURI); err != nil { // on any host; the guard allows https only
		return nil, fmt.Errorf("keys: %w", err)
	}
	return parseKeys(text)
}

func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("the URL is not valid")
	}
	r.Header.Set("Accept", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return nil, failure(egress.Cause(err))
	}
	defer func() { _ = answer.Body.Close() }() // the body was read
	if answer.StatusCode != http.StatusOK {
		err := fmt.Errorf("the status is %d", answer.StatusCode)
		if answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests {
			err = fmt.Errorf("%w: %w", errUnreachable, err)
		}
		return nil, err
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, failure(err)
	}
	return text, nil
}

// failure marks network errors as temporary, except for those of the guard and of certificates.
func failure(err error) error {
	if _, refused := errors.AsType[*egress.RefusedError](err); refused {
		return err
	}
	// Nor of names that do not exist: such a name and one whose address the guard refuses look the same, for whoever
	// registers a provider must not find out which names a private network has.
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return err
	}
	if _, network := errors.AsType[net.Error](err); network || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", errUnreachable, err)
	}
	return err
}

// verifyChain returns nil if the roots verify the chain, or if the last certificate of the chain has one of the
// thumbprints and verifies the rest. Host and time are checked in both cases.
// Source: IAM user guide, obtaining the thumbprint for an OIDC provider: the last certificate of the chain presented.
func verifyChain(host string, chain []*x509.Certificate, roots *x509.CertPool, thumbprints []string, now time.Time) error {
	o := x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	if err == nil {
		return nil
	}
	top := chain[len(chain)-1]
	sum := sha1.Sum(top.Raw)
	if !slices.ContainsFunc(thumbprints, func(t string) bool { return strings.EqualFold(t, hex.EncodeToString(sum[:])) }) {
		return err
	}
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(top)
	if _, err := chain[0].Verify(o); err != nil {
		return fmt.Errorf("by the thumbprint: %w", err)
	}
	return nil
}
