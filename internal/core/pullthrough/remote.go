package pullthrough

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// KindECR is the value of CacheRule.Upstream for registries of ECR. Source: ECR API reference, CreatePullThroughCacheRule.
const KindECR = "ecr"

// SecretPrefix begins the names of secrets that rules may use. Source: ECR user guide, pull through cache rules.
const SecretPrefix = "ecr-pullthroughcache/"

// Credentials is the content of a secret: for an OCI registry Username and AccessToken, for ECR a key.
type Credentials struct {
	Username        string `json:"username,omitempty"`
	AccessToken     string `json:"accessToken,omitempty"`
	AccessKeyID     string `json:"accessKeyId,omitempty"`
	SecretAccessKey string `json:"secretAccessKey,omitempty"`
	SessionToken    string `json:"sessionToken,omitempty"`
}

// ParseCredentials parses the content of a secret. The texts of its errors do not contain it.
//
// Errors: fault.UnableToDecryptSecretValue.
func ParseCredentials(text secret.String) (c Credentials, err error) {
	wrong := fault.UnableToDecryptSecretValue.New(`the value of a secret is JSON: {"username": "…", "accessToken": "…"}, or for ECR {"accessKeyId": "…", "secretAccessKey": "…"}`)
	if err := json.Unmarshal([]byte(text.Reveal()), &c); err != nil {
		return Credentials{}, wrong // the error of the parser may quote the text
	}
	oci := c.Username != "" && c.AccessToken != "" && c.AccessKeyID == "" && c.SecretAccessKey == ""
	ecr := c.Username == "" && c.AccessToken == "" && c.AccessKeyID != "" && c.SecretAccessKey != ""
	if !oci && !ecr {
		return Credentials{}, wrong
	}
	return c, nil
}

// SecretOf returns the secret with an ARN, for a rule of a registry.
//
// Errors: fault.UnableToAccessSecret (it is of another account or region, or its name does not begin with SecretPrefix),
// fault.SecretNotFound.
func SecretOf(ctx context.Context, m *meta.Store, reg name.Registry, arn string) (meta.Secret, error) {
	a, err := name.ParseARN(arn)
	if err != nil {
		return meta.Secret{}, err
	}
	full, ok := strings.CutPrefix(a.Resource, "secret:")
	if !ok || a.Service != "secretsmanager" ||
		a.Account != reg.Account || a.Region != reg.Region.String() || !strings.HasPrefix(full, SecretPrefix) {
		return meta.Secret{}, fault.UnableToAccessSecret.New("The secret '%s' is not one that rules of the registry %s in %s can use: the name of a secret of its account and region that begins with %s is needed",
			name.Clip(arn), reg.Account, reg.Region, SecretPrefix)
	}
	if i := strings.LastIndexByte(full, '-'); i > 0 {
		found, err := m.Secret(ctx, reg, full[:i])
		if err == nil && found.Suffix == full[i+1:] {
			return found, nil
		}
		if err != nil && fault.From(err).Code != fault.SecretNotFound {
			return meta.Secret{}, err
		}
	}
	return meta.Secret{}, fault.SecretNotFound.New("The ARN of the secret specified in the pull through cache rule was not found: '%s'",
		name.Clip(arn))
}

// remotes keeps the clients of registries, so that their requests share tokens. The zero value is ready.
type remotes struct {
	mu  sync.Mutex
	all map[string]*upstream.Registry
}

// maxRemotes is the number of clients of registries that are kept.
const maxRemotes = 512

// remote returns the registry of an origin, with the credentials of its rule.
//
// Errors: those of SecretOf, fault.UnableToDecryptSecretValue, an upstream.Error with the reason Invalid.
func (s *Service) remote(ctx context.Context, o origin) (*upstream.Registry, error) {
	key, held := o.key(), meta.Secret{}
	if o.rule.Credential != "" {
		var err error
		if held, err = SecretOf(ctx, s.meta, o.rule.Registry, o.rule.Credential); err != nil {
			return nil, err
		}
		key += " " + held.ARN() + " " + held.UpdatedAt.Format(time.RFC3339Nano)
	}
	s.remotes.mu.Lock()
	defer s.remotes.mu.Unlock()
	if r := s.remotes.all[key]; r != nil {
		return r, nil
	}
	e := upstream.Endpoint{Host: o.rule.Host}
	var c Credentials
	if o.rule.Credential != "" {
		var err error
		if c, err = s.Open(held); err != nil {
			return nil, err
		}
	}
	switch {
	case c.AccessKeyID != "" || o.rule.Upstream == KindECR:
		if c.AccessKeyID == "" {
			return nil, fault.UnableToAccessSecret.New("a rule for a registry of ECR needs a secret with the accessKeyId and secretAccessKey of a principal that may pull from it")
		}
		keys := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
		e.Kind, e.AWS = upstream.ECR, &upstream.AWS{Roles: upstream.RolesOf(o.rule.Role, ""),
			Credentials: func(context.Context) (aws.Credentials, error) { return keys, nil }}
	case c.Username != "":
		e.Username, e.Password = c.Username, secret.New(c.AccessToken)
	}
	r, err := s.client.Registry(e)
	if err != nil {
		return nil, err
	}
	if s.remotes.all == nil || len(s.remotes.all) >= maxRemotes {
		s.remotes.all = map[string]*upstream.Registry{}
	}
	s.remotes.all[key] = r
	return r, nil
}

// with calls do with the registry of an origin. For an upstream of the proxy it calls do with the registries of its integrations, one after
// the other, until one does not deny it; each has the result of its use. The origin that do gets has the name of the repository in the
// protocol of the registry.
//
// Errors: those of remote and of integration.Service.Try, and that of the last call of do.
func (s *Service) with(ctx context.Context, o origin, do func(*upstream.Registry, origin) error) error {
	if o.upstream == nil {
		r, err := s.remote(ctx, o)
		if err != nil {
			return err
		}
		return do(r, o)
	}
	return s.shared.Try(ctx, o.upstream.By, func(r *integration.Remote) error {
		at := o
		at.repo = r.Path(o.repo)
		err := do(r.Registry, at)
		s.used(ctx, o.upstream, r, err)
		return err
	})
}

// used stores what the use of an integration said about its credentials.
func (s *Service) used(ctx context.Context, u *integration.Upstream, r *integration.Remote, err error) {
	var problem error
	e, ok := errors.AsType[*upstream.Error](err)
	switch {
	case ok && e.Reason == upstream.Unauthorized:
		problem = fault.IntegrationFailed.New("%s", e.Public)
	case err != nil: // it says nothing about them
		return
	}
	for _, i := range u.By { // they are as they are stored now, r.Integration may be older
		if i.ID != r.Integration.ID {
			continue
		}
		if err := s.shared.Used(ctx, &i, problem); err != nil {
			s.log.Warn("the state of an integration could not be stored", "integration", i.ARN(), "error", err)
		}
	}
}

// Open unseals a secret.
//
// Errors: fault.UnableToDecryptSecretValue.
func (s *Service) Open(held meta.Secret) (Credentials, error) {
	text, err := s.keys.OpenForeign(held.ARN(), held.Sealed)
	if err != nil {
		return Credentials{}, fault.UnableToDecryptSecretValue.New("The secret '%s' cannot be unsealed with the master key of this installation",
			held.Name).Because(err)
	}
	return ParseCredentials(text)
}

// Check asks the registry of a rule whether it answers and accepts the credentials.
//
// Errors: those of remote, and of upstream.Registry.Ping.
func (s *Service) Check(ctx context.Context, r meta.CacheRule) error {
	o := origin{rule: r}
	leave, err := s.places.enter(ctx, holder{account: r.Registry.Account})
	if err != nil {
		return err
	}
	defer leave()
	remote, err := s.remote(ctx, o)
	if err != nil {
		return err
	}
	return remote.Ping(ctx)
}
