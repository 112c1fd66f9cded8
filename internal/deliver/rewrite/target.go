package rewrite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Target is a registry of a customer, with what is sent to it. Without a password, credentials are those of the configuration of
// credentials and of the environment of the aws CLI for the host, or none.
type Target struct {
	Host               string `json:"host"`                // with port
	Plain              bool   `json:"plainHttp,omitempty"` // it has no TLS
	Username, Password string `json:"-"`

	// Of a registry of ECR.
	Role       string `json:"role,omitempty"` // ARN
	ExternalID string `json:"externalId,omitempty"`
	Profile    string `json:"profile,omitempty"` // of the aws CLI
	API        string `json:"api,omitempty"`     // URL
}

// ParseTarget parses HOST[:PORT][/NAMESPACE]. With http:// before it, the registry has no TLS.
//
// Errors: it is no such text.
func ParseTarget(text string) (t Target, l rule.Local, err error) {
	rest, plain := strings.CutPrefix(text, "http://")
	if !plain {
		rest = strings.TrimPrefix(rest, "https://")
	}
	t.Plain = plain
	t.Host, l.Namespace, _ = strings.Cut(strings.Trim(rest, "/"), "/")
	l.Host = t.Host
	named := t.Host == "localhost" || strings.ContainsAny(t.Host, ".:") // else the name of an image would have no host
	if _, err := rule.ParseReference(l.For(rule.Reference{Path: "a"})); err != nil || !named {
		return t, l, fmt.Errorf("want HOST[:PORT][/NAMESPACE], where HOST has a dot or a port, got %q", text)
	}
	return t, l, nil
}

// Endpoint returns the registry with its credentials. config is the path of the configuration of credentials, "" for the usual one; ca is a
// PEM file of further authorities for the API of ECR, or "".
func (t Target) Endpoint(ctx context.Context, config, ca string, getenv func(string) string) (upstream.Endpoint, error) {
	e := upstream.Endpoint{Host: t.Host, Username: t.Username, Password: secret.New(t.Password)}
	if t.Password != "" || t.Plain && cmp.Or(t.Role, t.Profile, t.API) == "" {
		return e, nil
	}
	c, err := credential.LoadConfig(config, getenv)
	if err != nil {
		return e, err
	}
	if cmp.Or(t.Role, t.Profile, t.API) != "" {
		own := credential.Rule{Match: t.Host, Role: t.Role, ExternalID: t.ExternalID, Profile: t.Profile, Endpoint: t.API, CAFile: ca}
		c.Hosts = append([]credential.Rule{own}, c.Hosts...)
	}
	source := &credential.AWS{Config: c, Getenv: getenv}
	e.AWS, err = source.Upstream(ctx, t.Host)
	if errors.Is(err, credential.ErrNone) {
		return e, nil
	}
	e.Kind = upstream.ECR
	return e, err
}

// everywhere are all addresses: who names a registry may name one at a private address.
var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// Client returns a client for the registry alone, with the authorities of o.
func (t Target) Client(o egress.Options) *upstream.Client {
	o.Allow, o.Deny = everywhere, nil
	host := strings.ToLower(t.Host)
	o.Plain = func(h string) bool { return t.Plain && h == host }
	return upstream.New(upstream.Options{Guard: egress.New(o)})
}
