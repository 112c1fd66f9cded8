package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// SignOn are the settings of the console's single sign-on.
type SignOn struct {
	// Issuer is the URL of the OpenID Connect provider at which people sign in to the console: the member iss of its tokens. The account of
	// Role must have it as an identity provider. Default none: no single sign-on.
	Issuer string `yaml:"sso_issuer"`
	// ClientID is the id that the provider has given to this server, whose address for its answers is
	// https://HOST/console/sso/callback. It must be an audience of the identity provider in the account of Role. Default none.
	ClientID string `yaml:"sso_client_id"`
	// ClientSecret is the secret for ClientID, for providers that want one besides PKCE. Default none.
	ClientSecret secret.String `yaml:"sso_client_secret"`
	// Role is the ARN of the role that people have after the sign-in. Its trust policy says who. Default none.
	Role string `yaml:"sso_role"`
	// Title is the name of the provider in the form to sign in. Default "single sign-on".
	Title string `yaml:"sso_title"`
}

func (s *SignOn) settings() []Setting {
	text := func(p *string) func(string) error { return func(v string) error { *p = v; return nil } }
	return []Setting{
		{"sso-issuer", "ECRIN_SSO_ISSUER", "`URL` of the OpenID Connect provider at which people sign in to the console", s.Issuer, "",
			text(&s.Issuer)},
		{"sso-client-id", "ECRIN_SSO_CLIENT_ID", "`id` that the provider has given to this server", s.ClientID, "", text(&s.ClientID)},
		{"sso-client-secret", "ECRIN_SSO_CLIENT_SECRET", "`secret` for the id, for providers that want one", "", "",
			func(v string) error { s.ClientSecret = secret.New(v); return nil }},
		{"sso-role", "ECRIN_SSO_ROLE", "`ARN` of the role that people have after the sign-in", s.Role, "", text(&s.Role)},
		{"sso-title", "ECRIN_SSO_TITLE", "`name` of the provider in the form to sign in", s.Title, "", text(&s.Title)},
	}
}

// check notes each setting that is wrong.
func (s *SignOn) check(note func(key string, err error)) {
	if s.Issuer == "" {
		if s.ClientID != "" || s.Role != "" {
			note("sso_issuer", errors.New("is missing: sso_client_id and sso_role are of a provider"))
		}
		return
	}
	if _, err := oidc.ParseIssuer(s.Issuer); err != nil || !strings.HasPrefix(s.Issuer, "https://") {
		note("sso_issuer", fmt.Errorf("want a URL such as https://issuer.example.com, got %q", s.Issuer))
	}
	if s.ClientID == "" || len(s.ClientID) > 255 {
		note("sso_client_id", errors.New("want the id that the provider has given to this server"))
	}
	if _, e, err := name.ParseEntityARN(s.Role); err != nil || e.Kind != name.IAMRole {
		note("sso_role", fmt.Errorf("want the ARN of a role, got %q", s.Role))
	}
}
