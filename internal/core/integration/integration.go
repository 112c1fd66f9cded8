// Package integration keeps how services outside of the installation are reached: their addresses, credentials and who may use them, as
// objects of an account that replication, copies and tests name.
//
// The kinds are registries: of Amazon ECR by an access key or by a role that is assumed with it, of another ecrin by an access key, and of
// the OCI protocol by a password or anonymously; and hosts of git repositories and trackers of issues, by a token. Settings of further
// kinds are further fields of [Settings] and [Secrets], which are stored as JSON.
//
// Secrets are sealed with the ARN of the integration as the context. No operation returns them. Every connection passes the egress guard.
package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// The kinds.
const (
	ECR   = "ECR"   // a registry of Amazon ECR
	Ecrin = "ECRIN" // a registry of another ecrin
	OCI   = "OCI"   // a registry of the OCI distribution protocol

	GitKind = "GIT"    // a host of git repositories, which reports use
	Issues  = "ISSUES" // a tracker of issues, likewise
)

// Settings are what is not secret of an integration.
type Settings struct {
	Host        string   `json:"host"`                  // of the registry, HOST or HOST:PORT
	Region      string   `json:"region,omitempty"`      // of ECR and ecrin
	RegistryID  string   `json:"registryId,omitempty"`  // likewise: 12 digits
	API         string   `json:"api,omitempty"`         // URL of the ECR API; "" for that of AWS
	STS         string   `json:"sts,omitempty"`         // URL of the STS API; "" for that of AWS
	AccessKeyID string   `json:"accessKeyId,omitempty"` // of ECR and ecrin
	RoleARN     string   `json:"roleArn,omitempty"`     // a role, or the name of one of the caller's account; "" for none
	ExternalID  string   `json:"externalId,omitempty"`  // for the role
	SecondRole  string   `json:"secondRole,omitempty"`  // a role that is assumed with the first; "" for none
	SecondID    string   `json:"secondId,omitempty"`    // external id for the second role
	Cloud       string   `json:"cloud,omitempty"`       // a cloud integration whose key and role come first; "" for AccessKeyID
	WebIdentity bool     `json:"webIdentity,omitempty"` // the role is assumed with a token of the server, which the operator allows
	Provider    string   `json:"provider,omitempty"`    // of GIT and ISSUES: one of package forge; of registries: see providers
	AuthType    string   `json:"authType,omitempty"`    // of registries: what tools of vendors call the credentials; it is only shown
	Unchecked   bool     `json:"unchecked,omitempty"`   // of ECR: registry id and key id may have other forms than those of AWS
	URL         string   `json:"url,omitempty"`         // likewise
	KnownHosts  string   `json:"knownHosts,omitempty"`  // of GIT by ssh: the keys of the host, in the form of known_hosts
	Username    string   `json:"username,omitempty"`    // of OCI, GIT and ISSUES; "" for anonymous, or for a token alone
	TokenHosts  []string `json:"tokenHosts,omitempty"`  // of OCI: hosts that may issue tokens, beside Host

	SecretSetAt time.Time `json:"secretSetAt,omitzero"` // when the key, password or token was set; zero for none, and if it is not known
}

// providers are what tools of vendors call the registries of a kind.
var providers = map[string][]string{
	ECR:   {"ecr"},
	Ecrin: {"ecr", "other"},
	OCI:   {"dockerhub", "gar", "gcr", "ghcr", "quay", "other"},
}

const (
	accessKey = "accesskey" // the AuthType of an access key
	minKeyID  = 16          // characters. Source: IAM API reference, AccessKey
)

// Secrets are the credentials of an integration.
type Secrets struct {
	SecretAccessKey string `json:"secretAccessKey,omitempty"`
	SessionToken    string `json:"sessionToken,omitempty"`
	Password        string `json:"password,omitempty"` // of GIT and ISSUES: the token
	Key             string `json:"key,omitempty"`      // of GIT by ssh: a private key in the form of OpenSSH or PEM, without a passphrase
}

// Keys seals secrets.
type Keys interface {
	// SealForeign seals a text, which opens only with the same context.
	SealForeign(context string, s secret.String) []byte
	// OpenForeign opens what SealForeign has sealed.
	OpenForeign(context string, sealed []byte) (secret.String, error)
}

// Service keeps integrations. It is safe for concurrent use.
type Service struct {
	meta   *meta.Store
	keys   Keys
	client *upstream.Client
	once   *upstream.Client // repeats nothing, for tests
	web    []WebIdentity
	guard  *egress.Guard
	own    func(string) bool
	local  func(name.Account, string) bool

	mu      sync.Mutex
	remotes map[int64]*Remote
	tests   map[name.Account]int // that run
}

// Options holds the parameters of New. All but the web identities are required.
type Options struct {
	Meta   *meta.Store
	Keys   Keys
	Client *upstream.Client
	Once   *upstream.Client // for tests: its limits allow one attempt
	Guard  *egress.Guard    // of requests to hosts of git and of issues

	WebIdentities []WebIdentity // that the operator allows; may be empty

	Own func(host string) bool // reports whether HOST or HOST:PORT is a name of this installation; nil for none
	// Local reports whether the operator lets an account use the bare repository of git at a path of this machine; nil for none.
	Local func(account name.Account, path string) bool
}

// New returns a Service.
func New(o Options) *Service {
	return &Service{meta: o.Meta, keys: o.Keys, client: o.Client, once: o.Once, web: o.WebIdentities, guard: o.Guard, own: o.Own,
		local:   o.Local,
		remotes: map[int64]*Remote{},
		tests:   map[name.Account]int{}}
}

// Close ends what waits for tokens. The service must not be used again.
func (s *Service) Close() {
	s.client.Close()
	s.once.Close()
}

// Input is an integration to be made.
type Input struct {
	Account  name.Account
	Name     string
	Kind     string
	Settings Settings
	Secrets  Secrets
	Scope    []string
	Serves   name.Registry
	By       string // ARN
}

// Create stores an integration. It makes no call: Test does.
//
// Errors: fault.InvalidParameter (settings), and those of meta.Store.CreateIntegration.
func (s *Service) Create(ctx context.Context, in Input) (meta.Integration, error) {
	i := meta.Integration{Account: in.Account, Name: in.Name, Kind: in.Kind, Scope: in.Scope, Serves: in.Serves, CreatedBy: in.By}
	if err := s.fill(ctx, &i, in.Settings, in.Secrets); err != nil {
		return meta.Integration{}, err
	}
	return s.meta.CreateIntegration(ctx, i, meta.MaxIntegrations)
}

// Update replaces settings, secrets, scope and destination of an integration.
//
// Errors: fault.InvalidParameter (settings), and those of meta.Store.UpdateIntegration.
func (s *Service) Update(ctx context.Context, i meta.Integration, settings Settings, secrets Secrets) (meta.Integration, error) {
	if err := s.fill(ctx, &i, settings, secrets); err != nil {
		return meta.Integration{}, err
	}
	return s.meta.UpdateIntegration(ctx, i)
}

// fill checks settings and secrets, and puts them into i.
func (s *Service) fill(ctx context.Context, i *meta.Integration, settings Settings, secrets Secrets) error {
	if err := complete(i.Kind, &settings, secrets); err != nil {
		return err
	}
	if err := s.checkLocal(i.Account, settings); err != nil {
		return err
	}
	if err := s.checkForeign(settings); err != nil {
		return err
	}
	if _, err := s.tokenFile(i.Account, settings); err != nil {
		return err
	}
	if err := s.checkScope(ctx, *i, settings); err != nil {
		return err
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return fmt.Errorf("encoding the settings of an integration: %w", err)
	}
	hidden, err := json.Marshal(secrets)
	if err != nil {
		return fmt.Errorf("encoding the secrets of an integration: %w", err)
	}
	i.Uses = nil
	for _, runtime := range i.Scope {
		i.Uses = append(i.Uses, meta.ObjectName{Kind: meta.KindRuntime, Name: runtime})
	}
	if settings.Cloud != "" {
		i.Uses = append(i.Uses, meta.ObjectName{Kind: meta.KindCloud, Name: settings.Cloud})
	}
	i.Settings, i.Sealed = string(text), s.keys.SealForeign(i.ARN(), secret.New(string(hidden)))
	switch {
	case isSite(i.Kind) && i.Serves != (name.Registry{}):
		return Bad("replicatesTo", "must be absent for the kind "+i.Kind)
	case isSite(i.Kind):
		return nil
	}
	if settings.Unchecked { // each use refuses what is wrong
		return nil
	}
	if _, err := s.client.Registry(endpointOf(i.Kind, settings, secrets, keySource(settings, secrets))); err != nil {
		return Bad("endpoint", publicOf(err)).Because(err)
	}
	return nil
}

// checkForeign refuses names of this installation: a registry does not use itself as another one.
//
// Errors: fault.InvalidParameter.
func (s *Service) checkForeign(settings Settings) error {
	if s.own == nil {
		return nil
	}
	for _, one := range append([]struct{ member, host string }{{"registryHost", settings.Host}, {"endpoint", urlHost(settings.API)},
		{"stsEndpoint", urlHost(settings.STS)}, {"url", urlHost(settings.URL)}}, tokenHosts(settings)...) {
		if one.host != "" && s.own(one.host) {
			return Bad(one.member, "must be a host of another installation: "+name.Clip(one.host)+" is one of this")
		}
	}
	return nil
}

func tokenHosts(settings Settings) (all []struct{ member, host string }) {
	for _, h := range settings.TokenHosts {
		all = append(all, struct{ member, host string }{"tokenHosts", h})
	}
	return all
}

// urlHost returns HOST or HOST:PORT of a URL; "" if it has none.
func urlHost(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}

// Open returns settings and secrets of an integration.
//
// Errors: one without a code, if the master key is another.
func (s *Service) Open(i meta.Integration) (settings Settings, secrets Secrets, err error) {
	if settings, err = SettingsOf(i); err != nil {
		return settings, secrets, err
	}
	text, err := s.keys.OpenForeign(i.ARN(), i.Sealed)
	if err == nil {
		err = json.Unmarshal([]byte(text.Reveal()), &secrets)
	}
	if err != nil {
		return settings, Secrets{}, fmt.Errorf("unsealing the integration %s: %w", i.Name, err)
	}
	return settings, secrets, nil
}

// SettingsOf returns what is not secret of an integration.
func SettingsOf(i meta.Integration) (settings Settings, err error) {
	if err := json.Unmarshal([]byte(i.Settings), &settings); err != nil {
		return settings, fmt.Errorf("reading the settings of the integration %s: %w", i.Name, err)
	}
	return settings, nil
}

// Bad returns the error of a member of a request that a constraint does not allow.
func Bad(member, constraint string) *fault.Error {
	return fault.InvalidParameter.New("Invalid parameter at '%s' failed to satisfy constraint: '%s'", member, constraint)
}

// roleARN is the form of the ARN of a role, roleName that of its name with or without its path. Source: IAM API reference, CreateRole.
var (
	roleARN  = lazyregexp.New(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]{1,512}$`)
	roleName = lazyregexp.New(`^(?:/?[\w+=,.@/-]{1,511}/)?[\w+=,.@-]{1,64}$`)
)

// complete checks settings and secrets of a kind, and fills in what follows from others.
//
// Errors: fault.InvalidParameter.
func complete(kind string, s *Settings, secrets Secrets) error {
	key := s.AccessKeyID != "" || secrets.SecretAccessKey != "" || secrets.SessionToken != ""
	password := s.Username != "" || secrets.Password != ""
	roles := s.RoleARN != "" || s.ExternalID != "" || s.SecondRole != "" || s.SecondID != "" || s.Cloud != "" || s.WebIdentity
	switch {
	case isSite(kind) && (key || roles || s.Region != "" || s.RegistryID != "" || s.API != "" || s.STS != "" || len(s.TokenHosts) > 0):
		return Bad("kind", kind+" has provider, url, username and password only")
	case isSite(kind) && (s.AuthType != "" || s.Unchecked):
		return Bad("authType", "must be absent for the kind "+kind)
	case isSite(kind):
		return checkSite(kind, s, secrets)
	case s.URL != "":
		return Bad("url", "must be absent for the kind "+kind)
	case s.Provider != "" && !slices.Contains(providers[kind], s.Provider):
		return Bad("provider", "must be absent or one of "+strings.Join(providers[kind], ", ")+" for the kind "+kind)
	case s.AuthType != "" && (s.AuthType == accessKey) != (kind != OCI):
		return Bad("authType", "must be accesskey for an access key, and another one for a password")
	case s.Unchecked && (kind != ECR || s.Host == ""):
		return Bad("unchecked", "must be absent unless the kind is ECR and registryHost is present")
	case s.KnownHosts != "" || secrets.Key != "":
		return Bad("privateKey", "must be absent for the kind "+kind)
	case kind == OCI && key:
		return Bad("awsAccessKeyId", "must be absent for the kind OCI, which has username and password")
	case kind == OCI && (roles || s.Region != "" || s.RegistryID != "" || s.API != "" || s.STS != ""):
		return Bad("kind", "OCI has registryHost, username, password and tokenHosts only")
	case kind != OCI && (password || len(s.TokenHosts) > 0):
		return Bad("username", "must be absent for the kind "+kind+", which has an access key")
	case kind == OCI && (s.Username == "") != (secrets.Password == ""):
		return Bad("username", "must be present together with password")
	case kind == OCI:
		if s.Host == "" {
			return Bad("registryHost", "must be HOST or HOST:PORT")
		}
		return nil
	}
	if err := checkSource(kind, s, secrets, key); err != nil {
		return err
	}
	if s.Unchecked {
		if _, err := name.ParseRegion(s.Region); err != nil {
			return Bad("remoteRegion", "must be a region, such as eu-west-1").Because(err)
		}
		return checkAPIs(s)
	}
	if s.AccessKeyID != "" && len(s.AccessKeyID) < minKeyID {
		return Bad("awsAccessKeyId", "must have at least 16 characters")
	}
	at, err := registryOf(s)
	if err != nil {
		return err
	}
	if kind == Ecrin {
		if s.API == "" {
			return Bad("endpoint", "must be the URL of the server, https://HOST or https://HOST:PORT")
		}
		host, err := hostOf("endpoint", s.API)
		if err != nil {
			return err
		}
		if s.Host == "" {
			s.Host = host
		}
		if s.STS == "" {
			s.STS = s.API
		}
	} else if s.Host == "" {
		s.Host = endpoint.RegistryName(at, domainOf(at))
	}
	if s.WebIdentity && (s.API != "" || s.STS != "" || s.Host != endpoint.RegistryName(at, domainOf(at))) {
		return Bad("webIdentity", "goes to Amazon ECR only: registryHost, endpoint and stsEndpoint must be absent, so that no other server gets the token")
	}
	return checkAPIs(s)
}

// checkAPIs checks the URLs of the APIs of AWS. Errors: fault.InvalidParameter.
func checkAPIs(s *Settings) error {
	for member, text := range map[string]string{"endpoint": s.API, "stsEndpoint": s.STS} {
		if text == "" {
			continue
		}
		if _, err := hostOf(member, text); err != nil {
			return err
		}
	}
	return nil
}

// domainOf returns the domain of the hosts of a registry of AWS.
func domainOf(at name.Registry) string {
	switch at.Region.Partition() {
	case "aws-cn":
		return "amazonaws.com.cn"
	case "aws-eusc":
		return "amazonaws.eu"
	}
	return "amazonaws.com"
}

// registryOf returns the registry that region and registry id name. Errors: fault.InvalidParameter.
func registryOf(s *Settings) (r name.Registry, err error) {
	if r.Account, err = name.ParseAccount(s.RegistryID); err != nil {
		return r, Bad("remoteRegistryId", "must be the 12 digits of an account").Because(err)
	}
	if r.Region, err = name.ParseRegion(s.Region); err != nil {
		return r, Bad("remoteRegion", "must be a region, such as eu-west-1").Because(err)
	}
	return r, nil
}

// hostOf returns the host and port of a URL of a server. Errors: fault.InvalidParameter.
func hostOf(member, text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" ||
		u.Fragment != "" {
		return "", Bad(member, "must be https://HOST or https://HOST:PORT")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", Bad(member, "must have a valid port")
		}
	}
	return u.Host, nil
}

// endpointOf returns the endpoint of a registry, for which AWS gives credentials to who.
func endpointOf(kind string, s Settings, secrets Secrets, who source) upstream.Endpoint {
	if kind == OCI {
		return upstream.Endpoint{Host: s.Host, Username: s.Username, Password: secret.New(secrets.Password), TokenHosts: s.TokenHosts}
	}
	sts := s.STS
	if sts == "" {
		sts = who.sts
	}
	return upstream.Endpoint{Host: s.Host, Kind: upstream.ECR, AWS: &upstream.AWS{Credentials: who.credentials, WebIdentity: who.web,
		Roles: who.roles, Region: s.Region, API: strings.TrimRight(s.API, "/"), STS: strings.TrimRight(sts, "/")}}
}

// Remote is a registry outside of the installation, with the credentials of an integration.
type Remote struct {
	*upstream.Registry
	Integration meta.Integration
	prefix      string // of the names of repositories
	version     int64
	source      int64 // version of the cloud integration
	used        time.Time
}

// Path returns the name of a repository in the protocol of the registry.
func (r *Remote) Path(repo string) string { return r.prefix + repo }

// maxRemotes is the number of registries whose tokens are kept.
const maxRemotes = 1024

// Remote returns the registry of an integration. The same one serves all calls until the integration, or the cloud integration that it
// names, changes, so that they share tokens.
//
// Errors: fault.IntegrationFailed (settings or secrets cannot be read, or the operator does not allow the web identity any more).
func (s *Service) Remote(ctx context.Context, i meta.Integration) (*Remote, error) {
	settings, err := SettingsOf(i)
	if err != nil {
		return nil, err
	}
	if err := CheckRegistry(i); err != nil {
		return nil, err
	}
	cloud, err := s.cloudOf(ctx, i, settings)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.remotes[i.ID]; have != nil && have.version == i.Version && have.source == cloud.Version {
		have.used = time.Now()
		return have, nil
	}
	e, err := s.open(i, cloud)
	if err != nil {
		return nil, err
	}
	r, err := s.client.Registry(e)
	if err != nil {
		return nil, fault.IntegrationFailed.New("the settings of the integration %s are not valid: %s", i.Name, publicOf(err)).Because(err)
	}
	made := &Remote{Registry: r, Integration: i, prefix: prefixOf(i.Kind, settings), version: i.Version, source: cloud.Version,
		used: time.Now()}
	if len(s.remotes) >= maxRemotes {
		var oldest int64
		for id, one := range s.remotes {
			if oldest == 0 || one.used.Before(s.remotes[oldest].used) {
				oldest = id
			}
		}
		delete(s.remotes, oldest)
	}
	s.remotes[i.ID] = made
	return made, nil
}

// Used stores what the last use of an integration said, in i too: nil for success. What i has is not written again.
func (s *Service) Used(ctx context.Context, i *meta.Integration, err error) error {
	problem := ""
	if err != nil {
		problem = fault.From(err).Public
	}
	if problem == i.Error {
		return nil
	}
	i.Error = problem
	return s.meta.IntegrationTested(ctx, *i, problem, false)
}

// prefixOf returns what precedes the names of repositories. A server of ecrin has many registries, which paths name.
func prefixOf(kind string, s Settings) string {
	if kind == Ecrin {
		return s.RegistryID + "/" + s.Region + "/"
	}
	return ""
}
