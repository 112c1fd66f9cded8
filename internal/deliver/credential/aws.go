package credential

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// AWS gets tokens of ECR and ecrin by GetAuthorizationToken, with the credentials that a configuration names, or those of the environment
// of the aws CLI. It is safe for concurrent use.
//
// A token is sent to the host that it was asked for, so the host must belong to the issuer of the token: it is one of ECR, it is the
// host of the endpoint or below it, or a rule of the configuration names it.
type AWS struct {
	Config Config
	Getenv func(string) string // os.Getenv; the SDK itself reads the environment of the process
	Now    func() time.Time    // nil means time.Now

	// Credentials are used in place of those of profiles and of the environment; nil for none.
	Credentials aws.CredentialsProvider
	// Identity is the token of a service account, with which the first role is assumed; the zero value for none.
	Identity Identity
}

// Identity is a token of an OIDC provider, and the role that is assumed with it.
type Identity struct {
	Token secret.String
	Role  string // ARN; "" for the role of the rule
}

const (
	maxCall      = 15 * time.Second // for one attempt of a call
	maxFetch     = time.Minute      // for all calls that a token needs
	defaultLabel = "us-east-1"      // the region, if nothing names one
	awsUser      = "AWS"
)

// Credential returns a new token for the registry of a host.
//
// Errors: [ErrNone]; [CallError]; the configuration of the aws CLI cannot be read.
func (a *AWS) Credential(ctx context.Context, host string) (Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, maxFetch)
	defer cancel()
	if rule := a.Config.rule(host); rule != nil && rule.Integration != "" {
		return a.ofIntegration(ctx, host, rule)
	}
	p, err := a.api(ctx, host)
	if err != nil {
		return Credential{}, err
	}
	now := a.now()
	// Without registryIds, which is deprecated: the token is one for every registry that the caller may use.
	out, err := p.client().GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return Credential{}, failed("GetAuthorizationToken", host, err)
	}
	if len(out.AuthorizationData) != 1 {
		return Credential{}, bad(host, "the answer has %d tokens, want 1", len(out.AuthorizationData))
	}
	data := out.AuthorizationData[0]
	c, err := read(data, host, now)
	if err != nil {
		return Credential{}, err
	}
	proxy, err := ParseHost(aws.ToString(data.ProxyEndpoint))
	if got, want := registryOf(proxy).region, registryOf(host).region; err == nil && got != "" && want != "" && got != want {
		return Credential{}, bad(host, "the token is of the region %s, and the registry is in %s, where it counts as expired", got, want)
	}
	return c, nil
}

const maxRegistries = 100 // registryIds of one call. Source: ECR API reference, GetAuthorizationToken

// Registries returns the tokens of the registries of some accounts, by one call and in the order of the answer, each with the host that the
// answer names, or with that of the endpoint if it is not one of AWS and names hosts of AWS. Without accounts it is the registry of the
// caller's account. The rule says how the tokens are got; its pattern has no meaning.
//
// Errors: [CallError]; more than 100 accounts; the configuration of the aws CLI cannot be read.
func (a *AWS) Registries(ctx context.Context, rule Rule, accounts []string) ([]Credential, error) {
	if len(accounts) > maxRegistries {
		return nil, fmt.Errorf("got %d accounts, want at most %d", len(accounts), maxRegistries)
	}
	ctx, cancel := context.WithTimeout(ctx, maxFetch)
	defer cancel()
	cfg, err := a.load(ctx, &rule, rule.Endpoint, rule.Region)
	if err != nil {
		return nil, err
	}
	const all = "the registries"
	api := ecr.NewFromConfig(cfg, func(o *ecr.Options) { setURL(&o.BaseEndpoint, rule.Endpoint) })
	now := a.now()
	//lint:ignore SA1019 the entries of the answer name the hosts of the registries, for which there is no other way
	out, err := api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{RegistryIds: accounts})
	if err != nil {
		return nil, failed("GetAuthorizationToken", all, err)
	}
	if want := max(1, len(accounts)); len(out.AuthorizationData) != want {
		return nil, bad(all, "the answer has %d tokens, want %d", len(out.AuthorizationData), want)
	}
	var tokens []Credential
	for _, data := range out.AuthorizationData {
		host, err := ParseHost(aws.ToString(data.ProxyEndpoint))
		if err != nil {
			return nil, bad(all, "the answer has a token without the host of its registry: %v", err)
		}
		// An ecrin at an address without names of registries below it names those of AWS, for which its token is none.
		if base := aws.ToString(api.Options().BaseEndpoint); notAWS(base) && registryOf(host).aws {
			if host, err = ParseHost(base); err != nil {
				return nil, fmt.Errorf("the endpoint of the ECR API: %w", err)
			}
		}
		c, err := read(data, host, now)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, c)
	}
	return tokens, nil
}

// bad returns the error for an answer of GetAuthorizationToken that cannot be used.
func bad(host, format string, args ...any) error {
	return &CallError{Operation: "GetAuthorizationToken", Host: host, Message: fmt.Sprintf(format, args...)}
}

// read returns the credential for a host of an entry of an answer that was got at a time.
func read(data types.AuthorizationData, host string, now time.Time) (Credential, error) {
	plain, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	user, password, ok := strings.Cut(string(plain), ":")
	unsafe := func(r rune) bool { return r <= ' ' || r > '~' }
	if err != nil || !ok || user != awsUser || password == "" || strings.ContainsFunc(password, unsafe) {
		return Credential{}, bad(host, "the answer has no token of the form AWS:PASSWORD in base64")
	}
	c := Credential{Host: host, Username: user, Password: secret.New(password), From: now, ExpiresAt: aws.ToTime(data.ExpiresAt)}
	if !c.ExpiresAt.After(now) {
		return Credential{}, bad(host, "the token has ended at %s, and the clock of this machine shows %s",
			c.ExpiresAt.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return c, nil
}

func (a *AWS) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

// api is where the token of a registry comes from.
type api struct {
	cfg      aws.Config
	endpoint string // "" for that of the environment or of AWS
	fips     bool
}

// client returns a client of the API.
func (p api) client() *ecr.Client {
	return ecr.NewFromConfig(p.cfg, func(o *ecr.Options) {
		setURL(&o.BaseEndpoint, p.endpoint)
		if p.fips {
			o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
		}
	})
}

// api returns where the tokens for a host come from. Errors: [ErrNone]; the configuration of the aws CLI cannot be read.
func (a *AWS) api(ctx context.Context, host string) (api, error) {
	said := registryOf(host)
	rule := a.Config.rule(host)
	named := rule != nil
	if !named {
		rule = &Rule{}
	}
	endpoint := rule.Endpoint
	if named && endpoint == "" && !said.aws && a.Getenv("AWS_ENDPOINT_URL_ECR") == "" && a.Getenv("AWS_ENDPOINT_URL") == "" {
		endpoint = "https://" + host
	}
	cfg, err := a.load(ctx, rule, endpoint, cmp.Or(rule.Region, said.region))
	if err != nil {
		if !named && !said.aws { // what is wrong with the settings of AWS is no matter of this host
			return api{}, ErrNone
		}
		return api{}, err
	}
	p := api{cfg, endpoint, said.fips}
	base := aws.ToString(p.client().Options().BaseEndpoint)
	if !named && !said.aws && !below(base, host) && !(said.ported && notAWS(base)) {
		return api{}, ErrNone
	}
	return p, nil
}

// Upstream returns how a client of registries gets tokens for a host, and makes repositories there: from the same place, and with the same
// credentials, as Credential.
//
// Errors: [ErrNone]; the host has a rule with an integration, which has tokens only; the configuration of the aws CLI cannot be read.
func (a *AWS) Upstream(ctx context.Context, host string) (*upstream.AWS, error) {
	if rule := a.Config.rule(host); rule != nil && rule.Integration != "" {
		return nil, fmt.Errorf("the token for %s is one of the integration %s, which makes no repositories", host, rule.Integration)
	}
	p, err := a.api(ctx, host)
	if err != nil {
		return nil, err
	}
	base := aws.ToString(p.client().Options().BaseEndpoint)
	return &upstream.AWS{Credentials: p.cfg.Credentials.Retrieve, Region: p.cfg.Region, API: base}, nil
}

// below reports whether a host belongs to the server at a URL: it is its host, or a name of a registry below that. The ports must be the
// same, for another port may be another user's.
func below(base, host string) bool {
	u, err := url.Parse(base)
	if base == "" || err != nil {
		return false
	}
	of, err := ParseHost(u.Host)
	if err != nil {
		return false
	}
	if u.Scheme == "http" {
		of, host = strings.TrimSuffix(of, ":80"), strings.TrimSuffix(host, ":80")
	}
	label, _, _ := strings.Cut(host, ":")
	return host == of || strings.HasSuffix(host, "."+of) && registryHost.MatchString(label)
}

// load returns the settings of the SDK for a rule.
func (a *AWS) load(ctx context.Context, rule *Rule, endpoint, region string) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithTimeout(maxCall)
	if rule.CAFile != "" {
		pool, err := Roots(rule.CAFile)
		if err != nil {
			return aws.Config{}, err
		}
		client = client.WithTransportOptions(func(t *http.Transport) {
			t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		})
	}
	address := rule.STSEndpoint
	if address == "" && notAWS(endpoint) {
		address = endpoint
	}
	there := func(o *sts.Options) { setURL(&o.BaseEndpoint, address) }
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		// Roles of the profile and of the environment are assumed at the same server, too. The SDK alone asks AWS.
		config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) {
			if c, ok := o.Client.(*sts.Client); ok {
				o.Client = sts.New(c.Options(), there)
			}
		}),
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			if c, ok := o.Client.(*sts.Client); ok {
				o.Client = sts.New(c.Options(), there)
			}
		}),
	}
	if rule.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(rule.Profile))
	}
	if rule.AWSConfigFile != "" {
		options = append(options, config.WithSharedConfigFiles([]string{rule.AWSConfigFile}))
	}
	if rule.AWSCredentialsFile != "" {
		options = append(options, config.WithSharedCredentialsFiles([]string{rule.AWSCredentialsFile}))
	}
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	if a.Credentials != nil || a.Identity.Token.Reveal() != "" || rule.WebIdentityTokenFile != "" {
		own := cmp.Or[aws.CredentialsProvider](a.Credentials, aws.AnonymousCredentials{})
		options = append(options, config.WithCredentialsProvider(own))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cfg, fmt.Errorf("reading the configuration of the aws CLI: %w", err)
	}
	cfg.Region = cmp.Or(cfg.Region, defaultLabel)
	a.assume(&cfg, rule, there)
	return cfg, nil
}

// assume puts the credentials of the roles into the settings of the SDK.
func (a *AWS) assume(cfg *aws.Config, rule *Rule, there func(*sts.Options)) {
	roles := rule.chain()
	var first stscreds.IdentityTokenRetriever
	if rule.WebIdentityTokenFile != "" {
		first = stscreds.IdentityTokenFile(rule.WebIdentityTokenFile)
	}
	if token := a.Identity.Token; token.Reveal() != "" {
		first = heldToken{token}
		if a.Identity.Role != "" {
			roles = []RoleRule{{ARN: a.Identity.Role}}
		}
	}
	session := cmp.Or(rule.SessionName, "ecrin")
	for i, role := range roles {
		if i == 0 && first != nil {
			cfg.Credentials = aws.NewCredentialsCache(stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(*cfg, there), role.ARN, first,
				func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = session }))
			continue
		}
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(*cfg, there), role.ARN,
			func(o *stscreds.AssumeRoleOptions) {
				o.RoleSessionName = session
				if role.ExternalID != "" {
					o.ExternalID = &role.ExternalID
				}
			}))
	}
}

// heldToken is a token that the caller has given.
type heldToken struct{ token secret.String }

// GetIdentityToken returns the token.
func (t heldToken) GetIdentityToken() ([]byte, error) { return []byte(t.token.Reveal()), nil }

func setURL(field **string, value string) {
	if value != "" {
		*field = &value
	}
}

// notAWS reports whether a URL is one of another server than AWS, which may have names of ECR on another port.
func notAWS(base string) bool {
	u, err := url.Parse(base)
	return base != "" && err == nil && !ofAWS(u.Hostname())
}

// ofAWS reports whether a host is one of AWS, such as an endpoint in a private network of AWS.
func ofAWS(host string) bool {
	for label := strings.ToLower(host); label != ""; {
		if awsDomain.MatchString(label) {
			return true
		}
		_, label, _ = strings.Cut(label, ".")
	}
	return false
}

// Roots returns the certificate authorities of the system and those of a PEM file.
//
// Errors: the file cannot be read, or has no certificate.
func Roots(file string) (*x509.CertPool, error) {
	pem, err := readLimited(file, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("reading certificate authorities: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return pool, nil
}

// keyVariables are the variables of the environment that choose the credentials of the SDK or their issuer.
var keyVariables = []string{
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE",
	"AWS_SHARED_CREDENTIALS_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ECR",
	"AWS_ENDPOINT_URL_STS", "AWS_REGION", "AWS_DEFAULT_REGION",
}

// Key returns what determines the token for a host, as a hash: the host, the rule, and the credentials that the environment chooses, with
// the state of the files of the aws CLI. It is "" if the token must not be kept, because it was got for one caller among several.
func (a *AWS) Key(host string) string {
	if a.Identity.Token.Reveal() != "" || a.Credentials != nil {
		return ""
	}
	parts := []any{"1", host}
	rule := a.Config.rule(host)
	if rule == nil {
		rule = &Rule{}
	}
	parts = append(parts, *rule)
	for _, variable := range keyVariables {
		parts = append(parts, a.Getenv(variable))
	}
	home := a.Getenv("HOME")
	for _, file := range []string{
		cmp.Or(rule.AWSConfigFile, a.Getenv("AWS_CONFIG_FILE"), filepath.Join(home, ".aws", "config")),
		cmp.Or(rule.AWSCredentialsFile, a.Getenv("AWS_SHARED_CREDENTIALS_FILE"), filepath.Join(home, ".aws", "credentials")),
	} {
		if info, err := os.Stat(file); err == nil {
			parts = append(parts, info.ModTime().UnixNano(), info.Size())
		}
	}
	text, err := json.Marshal(parts)
	if err != nil { // not reached: all parts are texts and numbers
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
