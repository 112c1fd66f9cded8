// Package config reads and checks the configuration of a server: the defaults, one file, the environment and flags.
// Each overrides those before it.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/core/configrepo"
	"github.com/ecrin-dev/ecrin/internal/core/events"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Config holds all settings. The comment of each field is its reference documentation.
type Config struct {
	// Data is the directory of the database, the blobs and the master key. It is created if missing. Default
	// ./ecrin-data.
	Data string `yaml:"data"`
	// Database is the address of a PostgreSQL database for the metadata, postgres://USER:PASSWORD@HOST/NAME; the
	// directory Data then holds the rest. It is a secret: set it in the file or the environment rather than on the
	// command line, which other users of the machine can read. Default none: SQLite, in the directory Data.
	Database secret.String `yaml:"database"`
	// Ephemeral deletes the directory Data when the server stops, for tests and trials. Data must then be missing or empty; with the default
	// of Data it is a new folder for temporary files. Default false.
	Ephemeral bool `yaml:"ephemeral"`
	// Seed lists files of `ecrin apply` that are applied at each start, before the server is ready. Default none.
	Seed []string `yaml:"seed"`
	// Listen lists the addresses to serve on, HOST:PORT; port 0 selects a free port. Default 127.0.0.1:5100.
	Listen []string `yaml:"listen"`
	// Account is the 12-digit default account, created at the first start. Default 000000000000.
	Account string `yaml:"account"`
	// Region is the region of the default registry. Default us-east-1.
	Region string `yaml:"region"`
	// Domains lists domains that are served like amazonaws.com: with ecr.example.com,
	// 111122223333.dkr.ecr.eu-west-1.ecr.example.com is a registry and api.ecr.eu-west-1.ecr.example.com its API.
	// Default none.
	Domains []string `yaml:"domains"`
	// TLS configures how connections are secured. Default off.
	TLS TLS `yaml:"tls"`
	// CreateOnPush creates the repository that a push names if it does not exist and no creation template applies. Default false.
	CreateOnPush bool `yaml:"create_on_push"`
	// SparseIndexes accepts a push of an index whose images are not all in the repository, as drafts of the next OCI
	// distribution specification permit. ECR refuses it. Default false.
	SparseIndexes bool `yaml:"sparse_indexes"`
	// StrictECR lists the departures of ECR from the OCI specification to apply: all, none, or names joined by commas
	// (see docs/ecr-divergences.md). Default none.
	StrictECR string `yaml:"strict_ecr"`
	// Anonymous admits requests without credentials to pull, list and describe where policies with the principal * allow
	// them. Default false: every request without credentials is refused, regardless of policies.
	Anonymous bool `yaml:"anonymous"`
	// AnonymousWrite admits requests without credentials also to push, delete and change settings where policies with
	// the principal * allow them. It requires Anonymous. Default false: they can only pull, list and describe.
	AnonymousWrite bool `yaml:"anonymous_write"`
	// TrustedProxies lists addresses or ranges, such as 10.0.0.0/8, of proxies in front of the server. X-Forwarded-For
	// and X-Forwarded-Proto are read only in requests from these addresses. Default none.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// Organization is the value of the condition keys aws:PrincipalOrgID and aws:ResourceOrgID for every account: o-
	// and 10 to 32 lower-case letters or digits. Default none.
	Organization string `yaml:"organization"`
	// ManagementAccount is the account to which service and resource control policies do not apply. Default none.
	ManagementAccount string `yaml:"management_account"`
	// EgressAllow lists addresses or ranges that the server may dial although they are private, loopback or link-local,
	// such as that of an identity provider in the same network. Default none; public addresses are always allowed.
	EgressAllow []string `yaml:"egress_allow"`
	// EgressDeny lists addresses or ranges that the server may not dial; it overrides EgressAllow. Default none.
	EgressDeny []string `yaml:"egress_deny"`
	// EgressHosts lists names, NAME=ADDRESS or NAME=ADDRESS:PORT, that the server dials at this address, such as those of ECR at a private
	// endpoint. The TLS certificate must be for the name, and the address permitted like any other. Default none.
	EgressHosts []string `yaml:"egress_hosts"`
	// EgressDNS lists name servers, ADDRESS or ADDRESS:PORT, that the server asks for the addresses of the names that it dials. It then reads
	// no hosts file, so that names of AWS that the hosts file points at this server lead to AWS. Default none: the system's resolver.
	EgressDNS []string `yaml:"egress_dns"`
	// EgressCA is a PEM file with certificates of private CAs. The server trusts them in addition to the CAs of the
	// system when it dials out. Default none.
	EgressCA string `yaml:"egress_ca"`
	// WebIdentities lists what accounts may do with an identity of the server, ACCOUNT ROLE_ARN FILE: integrations of the account may assume
	// this role of AWS with the token in the file. Default none: no account may use an identity of the server.
	WebIdentities []string `yaml:"web_identities"`
	// ConfigRepositoryPaths lists the bare repositories of this machine in which accounts may keep their integrations, ACCOUNT PATH. Default
	// none: configuration repositories are elsewhere.
	ConfigRepositoryPaths []string `yaml:"config_repository_paths"`
	// RancherAPI serves the registries of environments by the v1 API of Rancher 1.x, under /v1, to callers with an access key (see
	// docs/rancher.md). Default false.
	RancherAPI bool `yaml:"rancher_api"`
	// Shipping is about what vendors ship to customers.
	Shipping `yaml:",inline"`
	Access   `yaml:",inline"`
	// MaxConnections is how many connections the server has at once; 0 for three quarters of the file descriptors that the process
	// may have, at most 16384. When there are more, idle ones are closed for new ones. Default 0.
	MaxConnections int `yaml:"max_connections"`
	// MaxConnectionsPerAddress is the same for one client address. Addresses in TrustedProxies are not counted. Default 4096.
	MaxConnectionsPerAddress int `yaml:"max_connections_per_address"`
	// MaxIdleConnections is how many connections may be idle of those without a request with valid credentials. Default 1024.
	MaxIdleConnections int `yaml:"max_idle_connections"`
	// MaxUploadsPerPrincipal is how many layer uploads of one user, role or root user may be open at once, neither completed nor
	// cancelled; they expire a week after the last write, or without a byte an hour after their begin. All sessions of a role count
	// together. Default 2000.
	MaxUploadsPerPrincipal int `yaml:"max_uploads_per_principal"`
	// MaxUploadsPerRepository is the same for one repository. Principals of other accounts are refused from half of it on. Default
	// 10000.
	MaxUploadsPerRepository int `yaml:"max_uploads_per_repository"`
	// MaxTokensPerPrincipal is how many authorization tokens one user, role or root user may have that have not expired. Default
	// 20000.
	MaxTokensPerPrincipal int `yaml:"max_tokens_per_principal"`
	// MaxSessionsPerPrincipal is how many sessions (temporary credentials) may exist, not expired, that one user, role or root user,
	// or all web identities of an account together, have asked for. Default 20000.
	MaxSessionsPerPrincipal int `yaml:"max_sessions_per_principal"`
	// MetricsListen lists addresses, HOST:PORT, that serve /metrics, /healthz and /readyz without TLS and credentials. With one,
	// /metrics is not served on the addresses of Listen. Default none: on Listen, to clients of this machine.
	MetricsListen []string `yaml:"metrics_listen"`
	// MetricsToken is a secret of at least 16 characters. With it, /metrics is served on Listen to clients that send it as a Bearer
	// token, from any address. Set it in the file or the environment rather than on the command line. Default none.
	MetricsToken secret.String `yaml:"metrics_token"`
	// Traces says where spans of requests and jobs are sent. Default nowhere.
	Traces Traces `yaml:"traces"`
	// AuditKeep is the size, in MiB, up to which the audit trail is kept in DATA/audit; the oldest files beyond it are
	// deleted. An eighth of it is for lines of anonymous callers and for failed requests from other accounts.
	// Default 1024.
	AuditKeep int `yaml:"audit_keep"`
	// GCGrace is how long deleted repositories and images can be restored, and how long a blob is kept to which no image refers,
	// before the next collection removes them. Default 168h, a week.
	GCGrace time.Duration `yaml:"gc_grace"`
	// GCInterval is the time between two collections; 0 for none but those of `ecrin gc`. Default 1h.
	GCInterval time.Duration `yaml:"gc_interval"`
	// EventPulls says which pulls have events: off, counted (one event for the pulls of an image in 5 minutes), or sampled (one of 100 pulls).
	// Default off.
	EventPulls string `yaml:"event_pulls"`
	// EventDenials says whether denied requests have events: off, or counted (one event for those alike in 5 minutes). Default counted.
	EventDenials string `yaml:"event_denials"`
	// EventsKeep is how many events of each registry are kept, for `ecrin events` and for webhooks that have not read them. Default 100000.
	EventsKeep int `yaml:"events_keep"`
	// EventsKeepFor is how long events are kept. Default 168h, a week.
	EventsKeepFor time.Duration `yaml:"events_keep_for"`
	// PullLogKeep is how many lines of the pull log of each application are kept. Who has most loses lines first. Default 1000000.
	PullLogKeep int `yaml:"pull_log_keep"`
	// PullLogKeepFor is how long lines of the pull log are kept. Default 2160h, 90 days.
	PullLogKeepFor time.Duration `yaml:"pull_log_keep_for"`
	// LogLevel is debug, info, warn or error. Requests are logged at level info, requests that end with status 500 or
	// higher at level error. Default info.
	LogLevel string `yaml:"log_level"`
	// LogFormat is auto, text or json. Auto is text, readable lines, if standard error is a terminal, and json otherwise.
	// Default auto.
	LogFormat string `yaml:"log_format"`
	// StopTimeout is the time that requests in flight have to finish when the server stops. Default 30s.
	StopTimeout time.Duration `yaml:"stop_timeout"`
}

// Default returns the configuration without a file, environment or flags.
func Default() Config {
	return Config{
		Data: "./ecrin-data", Listen: []string{"127.0.0.1:5100"}, Account: "000000000000", Region: "us-east-1",
		TLS: TLS{Mode: TLSOff}, StrictECR: "none", AuditKeep: 1024, MaxConnectionsPerAddress: 4096, MaxIdleConnections: 1024,
		GCGrace: 7 * 24 * time.Hour, GCInterval: time.Hour, PullLogKeep: 1_000_000, PullLogKeepFor: 90 * 24 * time.Hour,
		EventPulls: string(events.Off), EventDenials: string(events.Counted), EventsKeep: 100_000, EventsKeepFor: 7 * 24 * time.Hour,
		Shipping:               Shipping{CustomerRequests: 6000, LicenseWarning: 14 * 24 * time.Hour, InactiveAfter: 24 * time.Hour},
		Access:                 Access{MaxAccessGrant: 90 * 24 * time.Hour},
		MaxUploadsPerPrincipal: 2000, MaxUploadsPerRepository: 10_000, MaxTokensPerPrincipal: 20_000, MaxSessionsPerPrincipal: 20_000,
		Traces: Traces{Ratio: 1}, LogLevel: "info", LogFormat: "auto", StopTimeout: 30 * time.Second,
	}
}

// Read sets the fields of c that a YAML file contains, and keeps the others.
//
// Errors: a file that cannot be read, and those of Parse.
func (c *Config) Read(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	if err := c.Parse(text); err != nil {
		return fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	return nil
}

// Parse sets the fields of c that a YAML text contains, and keeps the others.
//
// Errors: invalid YAML, more than one document, unknown keys, values of a wrong type.
func (c *Config) Parse(text []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return plain(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("the file contains more than one document")
	}
	return nil
}

var unknownKey = lazyregexp.New(`field (\S+) not found in type \S+`)

// plain replaces Go types in a YAML error by the name of the setting.
func plain(err error) error {
	var problems *yaml.TypeError
	if !errors.As(err, &problems) {
		return err
	}
	var all []error
	for _, p := range problems.Errors {
		p = unknownKey.ReplaceAllStringFunc(p, func(text string) string {
			key := unknownKey.FindStringSubmatch(text)[1]
			text = fmt.Sprintf("there is no setting %q", key)
			if strings.Contains(key, "-") {
				text += ": the names of settings in the file have underscores, " + strings.ReplaceAll(key, "-", "_")
			}
			return text
		})
		if value, ok := strings.CutSuffix(p, " into []string"); ok {
			p = strings.Replace(value, "cannot unmarshal !!str", "want a list, such as [a, b], got the text", 1)
		}
		all = append(all, errors.New(p))
	}
	return errors.Join(all...)
}

// Setting describes how the environment and the command line set one field.
type Setting struct {
	Flag  string
	Env   string
	Usage string
	Value string             // current value of the field
	Alone string             // value of a flag without a value; if "", the flag requires a value
	Set   func(string) error // sets the field
}

// Settings returns the fields of c that the environment and flags can set.
func (c *Config) Settings() []Setting {
	text := func(p *string) func(string) error { return func(s string) error { *p = s; return nil } }
	list := func(p *[]string) func(string) error {
		return func(s string) error {
			*p = nil
			for _, one := range strings.Split(s, ",") {
				if one = strings.TrimSpace(one); one != "" {
					*p = append(*p, one)
				}
			}
			return nil
		}
	}
	truth := func(p *bool) func(string) error {
		return func(s string) error {
			switch s {
			case "true", "1":
				*p = true
			case "false", "0", "":
				*p = false
			default:
				return fmt.Errorf("want true or false, got %q", s)
			}
			return nil
		}
	}
	number := func(p *int) func(string) error {
		return func(s string) error {
			n, err := strconv.Atoi(s)
			if err != nil {
				return fmt.Errorf("want a number, got %q", s)
			}
			*p = n
			return nil
		}
	}
	return append([]Setting{
		{"data", "ECRIN_DATA", "`directory` of the database, the blobs and the master key", c.Data, "", text(&c.Data)},
		{"database", "ECRIN_DATABASE",
			"`address` of a PostgreSQL database for the metadata, postgres://USER:PASSWORD@HOST/NAME; without one it is SQLite in the data directory", "", "", func(s string) error {
				c.Database = secret.New(s)
				return nil
			}},
		{"ephemeral", "ECRIN_EPHEMERAL", "delete the data when the server stops; without --data they are in a folder for temporary files",
			fmt.Sprint(c.Ephemeral), "true", truth(&c.Ephemeral)},
		{"seed", "ECRIN_SEED", "`files` of ecrin apply that are applied before the server is ready, joined by commas",
			strings.Join(c.Seed, ","), "", list(&c.Seed)},
		{"listen", "ECRIN_LISTEN", "`addresses` to serve on, HOST:PORT, joined by commas; port 0 takes a free one",
			strings.Join(c.Listen, ","), "", list(&c.Listen)},
		{"account", "ECRIN_ACCOUNT", "the default `account`, 12 digits, made at the first start", c.Account, "", text(&c.Account)},
		{"region", "ECRIN_REGION", "the `region` of the default registry", c.Region, "", text(&c.Region)},
		{"domain", "ECRIN_DOMAINS", "`domains` served like amazonaws.com, joined by commas", strings.Join(c.Domains, ","), "", list(&c.Domains)},
		{"tls", "ECRIN_TLS", "the `mode`: off, auto (a private CA, see ecrin trust) or files", c.TLS.Mode, "", text(&c.TLS.Mode)},
		{"tls-regions", "ECRIN_TLS_REGIONS",
			"with --tls=auto: the `regions` whose ECR names get certificates, joined by commas; without one it is that of --region",
			strings.Join(c.TLS.Regions, ","), "", list(&c.TLS.Regions)},
		{"tls-iam-sts", "ECRIN_TLS_IAM_STS", "with --tls=auto: also certificates for the names of IAM and STS under amazonaws.com",
			fmt.Sprint(c.TLS.IAMSTS), "true", truth(&c.TLS.IAMSTS)},
		{"tls-cert", "ECRIN_TLS_CERT", "PEM `file` of the certificate chain, for --tls=files", c.TLS.Cert, "", text(&c.TLS.Cert)},
		{"tls-key", "ECRIN_TLS_KEY", "PEM `file` of the private key, for --tls=files", c.TLS.Key, "", text(&c.TLS.Key)},
		{"create-on-push", "ECRIN_CREATE_ON_PUSH", "replaced by creation templates: a push creates its repository",
			fmt.Sprint(c.CreateOnPush), "true", truth(&c.CreateOnPush)},
		{"sparse-indexes", "ECRIN_SPARSE_INDEXES", "accept an index whose images are not all in the repository",
			fmt.Sprint(c.SparseIndexes), "true", truth(&c.SparseIndexes)},
		{"anonymous", "ECRIN_ANONYMOUS",
			"let clients without credentials in, as far as repository policies with the principal * allow",
			fmt.Sprint(c.Anonymous), "true", truth(&c.Anonymous)},
		{"anonymous-write", "ECRIN_ANONYMOUS_WRITE",
			"with --anonymous: let clients without credentials also push and delete, as far as policies with the principal * allow", fmt.Sprint(c.AnonymousWrite), "true", truth(&c.AnonymousWrite)},
		{"trusted-proxies", "ECRIN_TRUSTED_PROXIES",
			"`addresses` or ranges of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, joined by commas",
			strings.Join(c.TrustedProxies, ","), "", list(&c.TrustedProxies)},
		{"organization", "ECRIN_ORGANIZATION", "the `id` that policies see in aws:PrincipalOrgID, such as o-abcdef1234",
			c.Organization, "", text(&c.Organization)},
		{"management-account", "ECRIN_MANAGEMENT_ACCOUNT", "the `account` that control policies do not bind",
			c.ManagementAccount, "", text(&c.ManagementAccount)},
		{"egress-allow", "ECRIN_EGRESS_ALLOW",
			"private `addresses` or ranges that the server may dial, such as an identity provider's, joined by commas",
			strings.Join(c.EgressAllow, ","), "", list(&c.EgressAllow)},
		{"egress-deny", "ECRIN_EGRESS_DENY", "`addresses` or ranges that the server may not dial, joined by commas",
			strings.Join(c.EgressDeny, ","), "", list(&c.EgressDeny)},
		{"egress-hosts", "ECRIN_EGRESS_HOSTS",
			"`names` that the server dials at an address instead of looking them up, NAME=ADDRESS[:PORT], joined by commas",
			strings.Join(c.EgressHosts, ","), "", list(&c.EgressHosts)},
		{"egress-dns", "ECRIN_EGRESS_DNS",
			"name `servers` that the server asks when it dials out, instead of the hosts file and the system's, ADDRESS[:PORT], joined by commas",
			strings.Join(c.EgressDNS, ","), "", list(&c.EgressDNS)},
		{"egress-ca", "ECRIN_EGRESS_CA", "PEM `file` of private CAs to trust when the server dials out", c.EgressCA, "", text(&c.EgressCA)},
		{"web-identities", "ECRIN_WEB_IDENTITIES",
			"roles of AWS that `accounts` may assume by integrations with a token of this server, ACCOUNT ROLE_ARN FILE, joined by commas",
			strings.Join(c.WebIdentities, ","), "", list(&c.WebIdentities)},
		{"config-repository-paths", "ECRIN_CONFIG_REPOSITORY_PATHS",
			"bare repositories of this machine in which `accounts` may keep their integrations, ACCOUNT PATH, joined by commas",
			strings.Join(c.ConfigRepositoryPaths, ","), "", list(&c.ConfigRepositoryPaths)},
		{"rancher-api", "ECRIN_RANCHER_API", "serve the registries of environments by the v1 API of Rancher 1.x, under /v1",
			fmt.Sprint(c.RancherAPI), "true", truth(&c.RancherAPI)},
		{"max-connections", "ECRIN_MAX_CONNECTIONS",
			"`number` of connections at once; 0 is three quarters of the file descriptors", strconv.Itoa(c.MaxConnections), "",
			number(&c.MaxConnections)},
		{"max-connections-per-address", "ECRIN_MAX_CONNECTIONS_PER_ADDRESS", "`number` of connections of one client address",
			strconv.Itoa(c.MaxConnectionsPerAddress), "", number(&c.MaxConnectionsPerAddress)},
		{"max-idle-connections", "ECRIN_MAX_IDLE_CONNECTIONS", "`number` of idle connections without credentials",
			strconv.Itoa(c.MaxIdleConnections), "", number(&c.MaxIdleConnections)},
		{"max-uploads-per-principal", "ECRIN_MAX_UPLOADS_PER_PRINCIPAL", "`number` of open layer uploads of one user or role",
			strconv.Itoa(c.MaxUploadsPerPrincipal), "", number(&c.MaxUploadsPerPrincipal)},
		{"max-uploads-per-repository", "ECRIN_MAX_UPLOADS_PER_REPOSITORY", "`number` of open layer uploads of one repository",
			strconv.Itoa(c.MaxUploadsPerRepository), "", number(&c.MaxUploadsPerRepository)},
		{"max-tokens-per-principal", "ECRIN_MAX_TOKENS_PER_PRINCIPAL", "`number` of valid authorization tokens of one user or role",
			strconv.Itoa(c.MaxTokensPerPrincipal), "", number(&c.MaxTokensPerPrincipal)},
		{"max-sessions-per-principal", "ECRIN_MAX_SESSIONS_PER_PRINCIPAL",
			"`number` of valid sessions that one user, role or the web identities of one account have asked for",
			strconv.Itoa(c.MaxSessionsPerPrincipal), "", number(&c.MaxSessionsPerPrincipal)},
		{"metrics-listen", "ECRIN_METRICS_LISTEN",
			"`addresses` that serve /metrics without credentials, HOST:PORT, joined by commas; without one it is served to this machine", strings.Join(c.MetricsListen, ","), "", list(&c.MetricsListen)},
		{"metrics-token", "ECRIN_METRICS_TOKEN",
			"`secret` that clients send as a Bearer token to read /metrics from other machines", "", "", func(s string) error {
				c.MetricsToken = secret.New(s)
				return nil
			}},
		{"audit-keep", "ECRIN_AUDIT_KEEP", "how many `MiB` of the audit trail are kept", strconv.Itoa(c.AuditKeep), "", func(s string) error {
			n, err := strconv.Atoi(s)
			if err != nil {
				return fmt.Errorf("want a number of MiB, got %q", s)
			}
			c.AuditKeep = n
			return nil
		}},
		{"strict-ecr", "ECRIN_STRICT_ECR",
			"departures of ECR from the OCI specification to take over: all, none, or some of these `names`, joined by commas: " +
				strings.Join(registry.QuirkNames(), ", "), c.StrictECR, "all", func(s string) error {
				if s == "true" { // ECRIN_STRICT_ECR=true means the same as the flag without a value
					s = "all"
				}
				c.StrictECR = s
				return nil
			}},
		{"log-level", "ECRIN_LOG_LEVEL", "the `level`: debug, info, warn or error", c.LogLevel, "", text(&c.LogLevel)},
		{"log-format", "ECRIN_LOG_FORMAT", "the `format` of the log: auto (text on a terminal, json elsewhere), text or json",
			c.LogFormat, "", text(&c.LogFormat)},
		{"stop-timeout", "ECRIN_STOP_TIMEOUT",
			"how long requests in flight may take to finish when the server stops, a `duration` such as 30s",
			c.StopTimeout.String(), "", duration(&c.StopTimeout)},
		{"gc-grace", "ECRIN_GC_GRACE", "how long deleted repositories and images can be restored, a `duration` such as 168h",
			c.GCGrace.String(), "", duration(&c.GCGrace)},
		{"gc-interval", "ECRIN_GC_INTERVAL", "`duration` between collections, 0 for none", c.GCInterval.String(), "", duration(&c.GCInterval)},
		{"event-pulls", "ECRIN_EVENT_PULLS", "which pulls have events, a `mode`: off, counted or sampled", c.EventPulls, "", text(&c.EventPulls)},
		{"event-denials", "ECRIN_EVENT_DENIALS", "whether denied requests have events, a `mode`: off or counted", c.EventDenials, "",
			text(&c.EventDenials)},
		{"events-keep", "ECRIN_EVENTS_KEEP", "`number` of events of each registry that are kept", strconv.Itoa(c.EventsKeep), "",
			number(&c.EventsKeep)},
		{"events-keep-for", "ECRIN_EVENTS_KEEP_FOR", "how long events are kept, a `duration` such as 168h", c.EventsKeepFor.String(), "",
			duration(&c.EventsKeepFor)},
		{"pull-log-keep", "ECRIN_PULL_LOG_KEEP", "`number` of lines of the pull log of each application that are kept",
			strconv.Itoa(c.PullLogKeep), "", number(&c.PullLogKeep)},
		{"pull-log-keep-for", "ECRIN_PULL_LOG_KEEP_FOR", "how long lines of the pull log are kept, a `duration` such as 720h",
			c.PullLogKeepFor.String(), "", duration(&c.PullLogKeepFor)},
	}, slices.Concat(c.Traces.settings(), c.Shipping.settings(list), c.Access.settings())...)
}

// ReadEnv sets the fields of c whose environment variables are set and not empty. get has the contract of os.LookupEnv.
//
// Errors: all invalid values, joined, each with the name of its variable.
func (c *Config) ReadEnv(get func(string) (string, bool)) error {
	var errs []error
	for _, s := range c.Settings() {
		if v, ok := get(s.Env); ok && v != "" {
			if err := s.Set(v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.Env, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Checked is a configuration with its parsed values.
type Checked struct {
	Config
	Registry     name.Registry // default account and region
	TLSRegions   []name.Region // from TLS.Regions; the default region if that is empty
	Quirks       registry.Quirks
	Level        slog.Level
	Proxies      []netip.Prefix
	Egress       []netip.Prefix            // from EgressAllow
	NoEgress     []netip.Prefix            // from EgressDeny
	Hosts        map[string]netip.AddrPort // from EgressHosts
	DNS          []netip.AddrPort          // from EgressDNS
	Web          []integration.WebIdentity // from WebIdentities
	ConfigPaths  []configrepo.LocalPath    // from ConfigRepositoryPaths
	HostRights   []vendor.HostRight        // from Shipping.ApplicationHosts
	Pulls        events.Mode               // from EventPulls
	Denials      events.Mode               // from EventDenials
	TraceHeaders map[string]string         // from Traces.Headers; the values are secret
	Management   name.Account              // zero if ManagementAccount is ""

	// New permits starting a new installation in a data directory that has lost its database. It is the flag --new of
	// one start and not a setting, because a permanent permission would also apply when a later loss is not intended.
	New bool
}

// Check parses all values.
//
// Errors: all invalid values, joined, each with its key.
func (c Config) Check() (Checked, error) {
	out := Checked{Config: c}
	var errs []error
	note := func(key string, err error) {
		var coded *fault.Error
		if errors.As(err, &coded) {
			err = errors.New(coded.Public)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	if c.Data == "" {
		note("data", errors.New("want a directory"))
	}
	if url := c.Database.Reveal(); url != "" && !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		note("database", errors.New("want postgres://USER:PASSWORD@HOST/NAME")) // the value may contain a password
	}
	if c.Ephemeral && c.Database.Reveal() != "" {
		note("ephemeral", errors.New("want no database beside it: the metadata would stay in PostgreSQL"))
	}
	if c.AnonymousWrite && !c.Anonymous {
		note("anonymous_write", errors.New("want anonymous: true beside it"))
	}
	if len(c.Listen) == 0 {
		note("listen", errors.New("want at least one HOST:PORT"))
	}
	for _, l := range c.Listen {
		note("listen", checkAddress(l))
	}
	for _, l := range c.MetricsListen {
		note("metrics_listen", checkAddress(l))
	}
	if n := len(c.MetricsToken.Reveal()); n > 0 && n < 16 {
		note("metrics_token", errors.New("want at least 16 characters"))
	}
	if c.MaxConnections < 0 {
		note("max_connections", fmt.Errorf("want a number from 1, or 0 for the default, got %d", c.MaxConnections))
	}
	if c.MaxConnectionsPerAddress < 1 {
		note("max_connections_per_address", fmt.Errorf("want a number from 1, got %d", c.MaxConnectionsPerAddress))
	}
	if c.MaxIdleConnections < 1 {
		note("max_idle_connections", fmt.Errorf("want a number from 1, got %d", c.MaxIdleConnections))
	}
	for _, m := range []struct {
		key string
		n   int
	}{
		{"max_uploads_per_principal", c.MaxUploadsPerPrincipal}, {"max_uploads_per_repository", c.MaxUploadsPerRepository},
		{"max_tokens_per_principal", c.MaxTokensPerPrincipal}, {"max_sessions_per_principal", c.MaxSessionsPerPrincipal},
	} {
		if m.n < 1 {
			note(m.key, fmt.Errorf("want a number from 1, got %d", m.n))
		}
	}
	var err error
	out.Registry.Account, err = name.ParseAccount(c.Account)
	note("account", err)
	out.Registry.Region, err = name.ParseRegion(c.Region)
	note("region", err)
	for _, text := range c.TLS.Regions {
		region, err := name.ParseRegion(text)
		note("tls.regions", err)
		out.TLSRegions = append(out.TLSRegions, region)
	}
	if len(out.TLSRegions) == 0 {
		out.TLSRegions = []name.Region{out.Registry.Region}
	} else if len(out.TLSRegions) > maxTLSRegions {
		note("tls.regions", fmt.Errorf("want at most %d, got %d: the certificate has several names for each", maxTLSRegions, len(out.TLSRegions)))
	}
	out.HostRights = c.Shipping.check(note)
	for _, d := range c.Domains {
		if strings.ContainsAny(d, "/:* ") || !strings.Contains(d, ".") {
			note("domains", fmt.Errorf("want names such as ecr.example.com, got %q", d))
		}
	}
	switch c.TLS.Mode {
	case TLSOff, TLSAuto:
		if c.TLS.Cert != "" || c.TLS.Key != "" {
			note("tls", errors.New("cert and key need mode files: give both --tls-cert and --tls-key"))
		}
	case TLSFiles:
		if c.TLS.Cert == "" || c.TLS.Key == "" {
			note("tls", errors.New("mode files needs cert and key: give both --tls-cert and --tls-key"))
		}
	default:
		note("tls", fmt.Errorf("want off, auto or files, got %q", c.TLS.Mode))
	}
	out.Quirks, err = registry.ParseQuirks(c.StrictECR)
	note("strict_ecr", err)
	if out.Level.UnmarshalText([]byte(c.LogLevel)) != nil {
		note("log_level", fmt.Errorf("want debug, info, warn or error, got %q", c.LogLevel))
	}
	if c.LogFormat != "auto" && c.LogFormat != "text" && c.LogFormat != "json" {
		note("log_format", fmt.Errorf("want auto, text or json, got %q", c.LogFormat))
	}
	out.Proxies, err = prefixes(c.TrustedProxies)
	note("trusted_proxies", err)
	out.Egress, err = prefixes(c.EgressAllow)
	note("egress_allow", err)
	out.NoEgress, err = prefixes(c.EgressDeny)
	note("egress_deny", err)
	out.Hosts, err = hosts(c.EgressHosts)
	note("egress_hosts", err)
	out.DNS, err = nameServers(c.EgressDNS)
	note("egress_dns", err)
	out.Web, err = webIdentities(c.WebIdentities)
	note("web_identities", err)
	out.ConfigPaths, err = configPaths(c.ConfigRepositoryPaths)
	note("config_repository_paths", err)
	if c.Organization != "" && !organizationID.MatchString(c.Organization) {
		note("organization", fmt.Errorf("want o- and 10 to 32 lower-case letters or digits, got %q", c.Organization))
	}
	if c.ManagementAccount != "" {
		out.Management, err = name.ParseAccount(c.ManagementAccount)
		note("management_account", err)
	}
	out.TraceHeaders, err = c.Traces.check()
	note("traces", err)
	if c.AuditKeep < 1 {
		note("audit_keep", fmt.Errorf("want at least 1 MiB, got %d", c.AuditKeep))
	}
	if c.GCGrace < 0 {
		note("gc_grace", errors.New("must not be negative"))
	}
	if c.GCInterval < 0 || c.GCInterval > 0 && c.GCInterval < time.Second {
		note("gc_interval", fmt.Errorf("want at least 1s, or 0 for no collections, got %s", c.GCInterval))
	}
	out.Pulls, err = events.ParseMode(c.EventPulls, true)
	note("event_pulls", err)
	out.Denials, err = events.ParseMode(c.EventDenials, false)
	note("event_denials", err)
	if c.EventsKeep < 1 {
		note("events_keep", fmt.Errorf("want a number from 1, got %d", c.EventsKeep))
	}
	if c.EventsKeepFor < time.Minute {
		note("events_keep_for", fmt.Errorf("want at least 1m, got %s", c.EventsKeepFor))
	}
	c.Access.check(note)
	if c.PullLogKeep < 1 {
		note("pull_log_keep", fmt.Errorf("want a number from 1, got %d", c.PullLogKeep))
	}
	if c.PullLogKeepFor < time.Minute {
		note("pull_log_keep_for", fmt.Errorf("want at least 1m, got %s", c.PullLogKeepFor))
	}
	if c.StopTimeout < 0 {
		note("stop_timeout", errors.New("must not be negative"))
	}
	return out, errors.Join(errs...)
}

// maxTLSRegions limits TLS.Regions: the certificate of the CA, which has some names of each, is sent in every handshake.
const maxTLSRegions = 20
