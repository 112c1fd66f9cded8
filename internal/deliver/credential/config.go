package credential

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// Config says which credentials of AWS get the tokens of which registries. The file is credentials.yaml in the folder ecrin of the user's
// configuration, or the one that the variable ECRIN_CREDENTIALS_CONFIG names. Without a file, the environment of the aws CLI is used for
// the hosts of ECR and those under the endpoint that the environment names.
type Config struct {
	// Cache is the folder for tokens, by default ecrin in the user's cache folder; off keeps none. The variable ECRIN_CREDENTIALS_CACHE
	// overrides it.
	Cache string `yaml:"cache"`
	// Hosts are tried in their order; the first whose pattern has the host is used.
	Hosts []Rule `yaml:"hosts"`
}

// Rule is how the credentials for some hosts are got.
type Rule struct {
	// Match is HOST or HOST:PORT. Each * stands for any part of one label, as in matchImages of the kubelet:
	// "*.dkr.ecr.*.amazonaws.com". A pattern without a port does not have a host with one. Required.
	Match string `yaml:"match"`
	// Profile is a profile of the aws CLI. Default: its environment, with AWS_PROFILE.
	Profile string `yaml:"profile"`
	// AWSConfigFile is the file of profiles. Default: AWS_CONFIG_FILE or ~/.aws/config. A kubelet has no home folder.
	AWSConfigFile string `yaml:"aws_config_file"`
	// AWSCredentialsFile is the file of keys of profiles. Default: AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials.
	AWSCredentialsFile string `yaml:"aws_credentials_file"`
	// Role is the ARN of a role that is assumed with the credentials, or with the web identity token.
	Role string `yaml:"role"`
	// ExternalID is the external id for Role.
	ExternalID string `yaml:"external_id"`
	// Roles are several roles in place of Role, each assumed with the credentials of the one before.
	Roles []RoleRule `yaml:"roles"`
	// SessionName is the name of the sessions of roles. Default: ecrin.
	SessionName string `yaml:"session_name"`
	// WebIdentityTokenFile is a file with a token of an OIDC provider, with which the first role is assumed. It is read each time.
	WebIdentityTokenFile string `yaml:"web_identity_token_file"`
	// Region is the region of the registry. Default: that of the host, then that of the environment or profile, then us-east-1.
	Region string `yaml:"region"`
	// Endpoint is the URL of the ECR API. Default: that of AWS, or of the environment, for hosts of ECR; for another host without a *,
	// https://HOST, for an ecrin has both on one address. A pattern with a * for other hosts needs it.
	Endpoint string `yaml:"endpoint"`
	// STSEndpoint is the URL of the STS API. Default: Endpoint if that is not one of AWS, otherwise that of AWS or of the environment.
	STSEndpoint string `yaml:"sts_endpoint"`
	// Integration is the name of an integration of the ecrin at Endpoint, which then gets the token: this machine needs credentials of that
	// ecrin and none of the registry. The caller needs ecrin:GetIntegrationToken.
	Integration string `yaml:"integration"`
	// IntegrationAccount is the account of the integration, 12 digits. Default: that of the caller.
	IntegrationAccount string `yaml:"integration_account"`
	// CAFile is a PEM file of certificate authorities that are trusted beside those of the system.
	CAFile string `yaml:"ca_file"`
}

// RoleRule is one role of a chain.
type RoleRule struct {
	ARN        string `yaml:"arn"`         // of the role; required
	ExternalID string `yaml:"external_id"` // "" for none
}

const (
	maxConfig = 1 << 20 // bytes of a configuration
	maxRules  = 1000
	maxRoles  = 5 // of a rule
)

// CacheOff is the value of Config.Cache with which no token is kept.
const CacheOff = "off"

var (
	patternForm  = lazyregexp.New(`^[a-z0-9.*_-]+(:[1-9][0-9]{0,4})?$`)
	roleForm     = lazyregexp.New(`^arn:aws[a-z-]*:iam::\d{12}:role/[\x21-\x7e]+$`)
	regionForm   = lazyregexp.New(`^[a-z0-9-]+$`)
	sessionForm  = lazyregexp.New(`^[A-Za-z0-9_=,.@-]+$`)
	accountForm  = lazyregexp.New(`^\d{12}$`)
	remoteForm   = lazyregexp.New(`^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$`) // names of integrations
	externalForm = lazyregexp.New(`^[A-Za-z0-9_=,.@:/+-]+$`)
)

// ParseConfig reads a configuration.
//
// Errors: all that is wrong in it, joined, each with its place: a key that does not exist, a value of another form, fields that exclude
// each other.
func ParseConfig(content []byte) (Config, error) {
	var c Config
	if len(content) > maxConfig {
		return c, fmt.Errorf("the configuration has %d bytes, and at most %d are read", len(content), maxConfig)
	}
	d := yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, err
	}
	var all []error
	if len(c.Hosts) > maxRules {
		all = append(all, fmt.Errorf("hosts: got %d entries, want at most %d", len(c.Hosts), maxRules))
	}
	for i := range c.Hosts {
		for _, problem := range c.Hosts[i].check() {
			all = append(all, fmt.Errorf("hosts[%d]: %s", i, problem))
		}
	}
	if err := errors.Join(all...); err != nil {
		return Config{}, err
	}
	return c, nil
}

func (r *Rule) check() (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	r.Match = strings.TrimSuffix(strings.ToLower(r.Match), ":443")
	if !patternForm.MatchString(r.Match) {
		bad("match: got %q, want HOST or HOST:PORT, with * for parts of labels", r.Match)
	}
	if r.Role != "" && len(r.Roles) > 0 {
		bad("role and roles exclude each other")
	}
	if r.Role == "" && r.ExternalID != "" {
		bad("external_id is that of a role, and there is none")
	}
	switch {
	case r.Integration == "" && r.IntegrationAccount != "":
		bad("integration_account is that of an integration, and there is none")
	case r.Integration != "" && r.Endpoint == "":
		bad("integration needs endpoint, the URL of the ecrin that has it")
	case r.Integration != "" && !remoteForm.MatchString(r.Integration):
		bad("integration: got %q, want the name of an integration", r.Integration)
	case r.IntegrationAccount != "" && !accountForm.MatchString(r.IntegrationAccount):
		bad("integration_account: got %q, want 12 digits", r.IntegrationAccount)
	}
	if len(r.Roles) > maxRoles {
		bad("roles: got %d, want at most %d", len(r.Roles), maxRoles)
	}
	for _, one := range r.chain() {
		if !validRole(one.ARN) {
			bad("role: got %q, want arn:aws:iam::ACCOUNT:role/NAME", one.ARN)
		}
		if one.ExternalID != "" && (len(one.ExternalID) < 2 || len(one.ExternalID) > 1224 || !externalForm.MatchString(one.ExternalID)) {
			bad("external_id: got %q, want 2 to 1224 letters, digits and _=,.@:/+-", one.ExternalID)
		}
	}
	if r.WebIdentityTokenFile != "" {
		if len(r.chain()) == 0 {
			bad("web_identity_token_file needs the role that is assumed with the token")
		} else if r.chain()[0].ExternalID != "" {
			bad("a role that is assumed with a web identity token takes no external_id")
		}
		if r.Profile != "" {
			bad("profile and web_identity_token_file exclude each other")
		}
	}
	for _, one := range []struct {
		key, value, want string
		form             *lazyregexp.Regexp
	}{
		{"region", r.Region, "a region", regionForm},
		{"session_name", r.SessionName, "2 to 64 letters, digits and _=,.@-", sessionForm},
	} {
		if one.value != "" && (len(one.value) < 2 || len(one.value) > 64 || !one.form.MatchString(one.value)) {
			bad("%s: got %q, want %s", one.key, one.value, one.want)
		}
	}
	for key, value := range map[string]string{"endpoint": r.Endpoint, "sts_endpoint": r.STSEndpoint} {
		if u, err := url.Parse(value); value != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil ||
			u.RawQuery != "" || strings.Trim(u.Path, "/") != "") {
			bad("%s: got %q, want https://HOST or https://HOST:PORT", key, value)
		}
	}
	if strings.Contains(r.Match, "*") && r.Endpoint == "" && !patternOfECR(r.Match) {
		bad("match: %q may stand for hosts that are not those of ECR, so that endpoint must say where their tokens come from", r.Match)
	}
	return problems
}

// validRole reports whether a text is the ARN of a role.
func validRole(arn string) bool { return len(arn) <= 2048 && roleForm.MatchString(arn) }

// patternOfECR reports whether a pattern only has hosts of ECR: its domain, after the region, has no *.
func patternOfECR(pattern string) bool {
	parts := strings.SplitN(pattern, ".", 5)
	if len(parts) == 5 && parts[1] == "dkr" && (parts[2] == "ecr" || parts[2] == "ecr-fips") {
		return awsDomain.MatchString(parts[4])
	}
	parts = strings.SplitN(pattern, ".", 4)
	return len(parts) == 4 && (parts[1] == "dkr-ecr" || parts[1] == "dkr-ecr-fips") && awsDomain.MatchString(parts[3])
}

// chain returns the roles that are assumed, in their order.
func (r *Rule) chain() []RoleRule {
	if r.Role != "" {
		return []RoleRule{{r.Role, r.ExternalID}}
	}
	return r.Roles
}

// rule returns the first rule for a host; nil if there is none.
func (c *Config) rule(host string) *Rule {
	for i := range c.Hosts {
		if MatchHost(c.Hosts[i].Match, host) {
			return &c.Hosts[i]
		}
	}
	return nil
}

// Named returns the hosts that the configuration names without a *.
func (c *Config) Named() (hosts []string) {
	for _, r := range c.Hosts {
		if !strings.Contains(r.Match, "*") {
			hosts = append(hosts, r.Match)
		}
	}
	return hosts
}

// LoadConfig reads the configuration of a user. path is the file that an option names, "" for the one of the environment or the default
// one, which need not exist. Relative names of files in it are relative to its folder; ~/ is the home folder.
//
// Errors: those of [ParseConfig] with the path of the file; the file cannot be read.
func LoadConfig(path string, getenv func(string) string) (Config, error) {
	named := true
	if path == "" {
		path = getenv("ECRIN_CREDENTIALS_CONFIG")
	}
	if path == "" {
		named = false
		path = userFile(getenv, "XDG_CONFIG_HOME", ".config", "ecrin/credentials.yaml")
	}
	var c Config
	content, err := readLimited(path, maxConfig)
	switch {
	case path == "" || !named && errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return c, fmt.Errorf("reading the configuration of credentials: %w", err)
	default:
		if c, err = ParseConfig(content); err != nil {
			return c, fmt.Errorf("%s: %w", path, err)
		}
		for i := range c.Hosts {
			rule := &c.Hosts[i]
			for _, file := range []*string{&rule.CAFile, &rule.WebIdentityTokenFile, &rule.AWSConfigFile, &rule.AWSCredentialsFile} {
				*file = fileFrom(filepath.Dir(path), *file, getenv)
			}
		}
		if c.Cache != CacheOff {
			c.Cache = fileFrom(filepath.Dir(path), c.Cache, getenv)
		}
	}
	if folder := getenv("ECRIN_CREDENTIALS_CACHE"); folder != "" {
		c.Cache = folder
	}
	if c.Cache == "" {
		c.Cache = userFile(getenv, "XDG_CACHE_HOME", ".cache", "ecrin")
	}
	return c, nil
}

// fileFrom returns the path of a file that a file in a folder names.
func fileFrom(folder, file string, getenv func(string) string) string {
	rest, ok := strings.CutPrefix(file, "~/")
	switch {
	case file == "" || filepath.IsAbs(file):
		return file
	case ok && getenv("HOME") != "":
		return filepath.Join(getenv("HOME"), rest)
	}
	return filepath.Join(folder, file)
}

// userFile returns the path of a file in a folder of the user: that of a variable, or one in the home folder; "" if there is no home
// folder, as for a kubelet.
func userFile(getenv func(string) string, variable, folder, file string) string {
	if dir := getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, file)
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, folder, file)
	}
	return ""
}

// readLimited reads a file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return content, err
}
