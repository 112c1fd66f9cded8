package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

const whole = `
data: /var/lib/ecrin
database: postgres://ecrin:canary@db.example.com/ecrin
listen: ["127.0.0.1:1", "[::1]:2"]
account: "111122223333"
region: eu-central-1
domains: [ecr.example.com]
tls: {mode: files, cert: c.pem, key: k.pem}
create_on_push: true
sparse_indexes: true
anonymous: true
anonymous_write: true
trusted_proxies: [10.1.2.3/8, "::1"]
organization: o-abcdef1234
management_account: "000011112222"
egress_allow: [192.168.7.0/24]
egress_deny: [192.168.7.9]
egress_hosts: [ECR.example.com=192.168.7.3, "b.example.com=[fd00::1]:8443"]
egress_dns: [192.168.7.53, "[fd00::1]:5353"]
egress_ca: roots.pem
web_identities: ["111122223333 arn:aws:iam::444455556666:role/x /run/token"]
config_repository_paths: ["111122223333 /srv/git/config.git"]
rancher_api: true
license_endpoint: https://updates.example.com
sso_issuer: https://issuer.example.com
sso_client_id: ecrin
sso_client_secret: hidden
sso_role: arn:aws:iam::111122223333:role/console
sso_title: Example
proxy_domain: proxy.example.com
registry_domain: registry.example.com:5000
customer_requests: 60
license_warning: 48h
instance_inactive_after: 2h
max_connections: 1000
max_connections_per_address: 100
max_idle_connections: 10
max_uploads_per_principal: 20
max_uploads_per_repository: 30
max_tokens_per_principal: 40
max_sessions_per_principal: 50
metrics_listen: ["127.0.0.1:9100"]
metrics_token: canary-0123456789
audit_keep: 7
strict_ecr: quotas,page-100
gc_grace: 48h
gc_interval: 10m
event_pulls: sampled
event_denials: "off"
events_keep: 5
events_keep_for: 2h
pull_log_keep: 7
pull_log_keep_for: 3h
max_access_grant: 4h
traces: {url: "https://collector.example.com/", headers: "X-Key=canary%2C, a=b", ratio: 0.5}
ephemeral: true
seed: [a.yaml, b.yaml]
log_level: debug
log_format: json
stop_timeout: 1m30s
`

const consoleRole = "arn:aws:iam::111122223333:role/console"

func TestRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ecrin.yaml")
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	got := config.Default()
	if err := got.Read(path); err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Data: "/var/lib/ecrin", Database: secret.New("postgres://ecrin:canary@db.example.com/ecrin"), Listen: []string{
			"127.0.0.1:1", "[::1]:2"}, Account: "111122223333", Region: "eu-central-1",
		Domains: []string{"ecr.example.com"}, TLS: config.TLS{Mode: config.TLSFiles, Cert: "c.pem", Key: "k.pem"},
		CreateOnPush: true, SparseIndexes: true,
		Anonymous: true, AnonymousWrite: true, TrustedProxies: []string{"10.1.2.3/8",
			"::1"}, Organization: "o-abcdef1234", ManagementAccount: "000011112222",
		EgressAllow: []string{"192.168.7.0/24"}, EgressDeny: []string{"192.168.7.9"}, EgressCA: "roots.pem", AuditKeep: 7,
		EgressHosts:           []string{"ECR.example.com=192.168.7.3", "b.example.com=[fd00::1]:8443"},
		EgressDNS:             []string{"192.168.7.53", "[fd00::1]:5353"},
		WebIdentities:         []string{"111122223333 arn:aws:iam::444455556666:role/x /run/token"},
		ConfigRepositoryPaths: []string{"111122223333 /srv/git/config.git"},
		RancherAPI:            true,
		Shipping: config.Shipping{LicenseEndpoint: "https://updates.example.com", ProxyDomain: "proxy.example.com",
			RegistryDomain: "registry.example.com:5000", CustomerRequests: 60, LicenseWarning: 48 * time.Hour, InactiveAfter: 2 * time.Hour},
		MaxConnections: 1000, MaxConnectionsPerAddress: 100, MaxIdleConnections: 10,
		MaxUploadsPerPrincipal: 20, MaxUploadsPerRepository: 30, MaxTokensPerPrincipal: 40, MaxSessionsPerPrincipal: 50,
		MetricsListen: []string{"127.0.0.1:9100"}, MetricsToken: secret.New("canary-0123456789"),
		GCGrace: 48 * time.Hour, GCInterval: 10 * time.Minute,
		Traces:    config.Traces{URL: "https://collector.example.com/", Headers: secret.New("X-Key=canary%2C, a=b"), Ratio: 0.5},
		Ephemeral: true, Seed: []string{"a.yaml", "b.yaml"},
		EventPulls: "sampled", EventDenials: "off", EventsKeep: 5, EventsKeepFor: 2 * time.Hour,
		PullLogKeep: 7, PullLogKeepFor: 3 * time.Hour, Access: config.Access{MaxAccessGrant: 4 * time.Hour,
			SignOn: config.SignOn{Issuer: "https://issuer.example.com", ClientID: "ecrin", ClientSecret: secret.New("hidden"),
				Role: "arn:aws:iam::111122223333:role/console", Title: "Example"}},
		StrictECR: "quotas,page-100", LogLevel: "debug", LogFormat: "json", StopTimeout: 90 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, "canary") {
		t.Errorf("the configuration prints the address of the database: %s", text)
	}
	if _, err := got.Check(); err == nil || !strings.Contains(err.Error(), "ephemeral: want no database") {
		t.Errorf("Check of an ephemeral server with a database: got %v, want a refusal", err)
	}
	got.Ephemeral = false
	checked, err := got.Check()
	if err != nil {
		t.Fatal(err)
	}
	if checked.Registry.String() != "111122223333/eu-central-1" ||
		checked.Quirks != (registry.Quirks{Quotas: true, Page100: true}) || checked.Level != slog.LevelDebug {
		t.Errorf("Check: got registry %s, quirks %+v, level %s", checked.Registry, checked.Quirks, checked.Level)
	}
	if diff := cmp.Diff(map[string]string{"X-Key": "canary,", "a": "b"}, checked.TraceHeaders); diff != "" {
		t.Errorf("Check: headers of traces (-want +got):\n%s", diff)
	}
	prefixes := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		checked.Proxies, prefixes); diff != "" {
		t.Errorf("Check: proxies (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}, checked.Egress, prefixes); diff != "" {
		t.Errorf("Check: egress (-want +got):\n%s", diff)
	}
	hosts := map[string]netip.AddrPort{
		"ecr.example.com": netip.AddrPortFrom(netip.MustParseAddr("192.168.7.3"), 0), "b.example.com": netip.MustParseAddrPort("[fd00::1]:8443")}
	if got := fmt.Sprint(checked.DNS); got != "[192.168.7.53:53 [fd00::1]:5353]" {
		t.Errorf("Check: name servers: got %s", got)
	}
	if !maps.Equal(checked.Hosts, hosts) {
		t.Errorf("Check: hosts: got %v, want %v", checked.Hosts, hosts)
	}
	if got, want := checked.Management, name.MustAccount("000011112222"); got != want {
		t.Errorf("Check: management account: got %s, want %s", got, want)
	}
	if err := got.Read(path + ".not"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path+".not") {
		t.Errorf("Read of a missing file: got %v, want its name and fs.ErrNotExist", err)
	}
}

// Fields that a file does not contain keep their values, and an empty file changes nothing.
func TestParseKeepsTheRest(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n# only a comment\n", "---\n", "region: us-east-1\n"} {
		got := config.Default()
		if err := got.Parse([]byte(text)); err != nil {
			t.Errorf("Parse(%q): %v", text, err)
		}
		if diff := cmp.Diff(config.Default(), got); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{"colour: red", "tls: {colour: red}", "data: [a]", "data: a\ndata: b",
		"data: a\n---\ndata: b", "{", "stop_timeout: soon", "\x00"} {
		c := config.Default()
		if err := c.Parse([]byte(text)); err == nil {
			t.Errorf("Parse(%q): no error", text)
		}
	}
}

// Every field of the file has an environment variable and a flag, and its default is a valid value for both.
func TestSettingsCoverTheFile(t *testing.T) {
	t.Parallel()
	c := config.Default()
	settings := map[string]config.Setting{}
	for _, s := range c.Settings() {
		if _, twice := settings[s.Flag]; twice || s.Usage == "" || !strings.HasPrefix(s.Env, "ECRIN_") {
			t.Errorf("setting %+v : want a unique flag, a usage text and an ECRIN_ variable", s)
		}
		settings[s.Flag] = s
		if err := s.Set(s.Value); err != nil {
			t.Errorf("--%s does not accept its default %q: %v", s.Flag, s.Value, err)
		}
	}
	if diff := cmp.Diff(config.Default(), c); diff != "" {
		t.Errorf("setting every field to its default changes the configuration (-want +got):\n%s", diff)
	}
	fields := 0
	for _, of := range []any{config.Config{}, config.TLS{}, config.Traces{}, config.Shipping{}, config.Access{}, config.SignOn{}} {
		fields += reflect.TypeOf(of).NumField()
	}
	if want := fields - 5; len(settings) != want { // TLS, Traces, Shipping, Access and SignOn have no settings of their own
		t.Errorf("got %d settings, want %d", len(settings), want)
	}
}

func TestReadEnv(t *testing.T) {
	t.Parallel()
	environ := map[string]string{
		"ECRIN_DATA": "/d", "ECRIN_LISTEN": " 127.0.0.1:1 ,, [::1]:2", "ECRIN_CREATE_ON_PUSH": "1", "ECRIN_STRICT_ECR": "true",
		"ECRIN_REGION":  "",
		"ECRIN_DOMAINS": "a.example, b.example", "ECRIN_STOP_TIMEOUT": "5s", "ECRIN_ANONYMOUS": "true", "ECRIN_ANONYMOUS_WRITE": "1",
		"ECRIN_TRUSTED_PROXIES": "10.0.0.0/8", "ECRIN_ORGANIZATION": "o-abcdef1234", "ECRIN_MANAGEMENT_ACCOUNT": "000011112222",
		"ECRIN_EGRESS_ALLOW": "fd00::/8,192.168.7.1", "ECRIN_EGRESS_CA": "roots.pem", "ECRIN_AUDIT_KEEP": "9",
		"ECRIN_DATABASE": "postgres://u@h/d", "ECRIN_SPARSE_INDEXES": "true",
	}
	get := func(k string) (string, bool) { v, ok := environ[k]; return v, ok }
	got := config.Default()
	if err := got.ReadEnv(get); err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Data, want.Listen, want.CreateOnPush, want.StrictECR = "/d", []string{"127.0.0.1:1", "[::1]:2"}, true, "all"
	want.Domains, want.StopTimeout = []string{"a.example", "b.example"}, 5*time.Second
	want.AnonymousWrite, want.SparseIndexes = true, true
	want.Anonymous, want.TrustedProxies, want.Organization = true, []string{"10.0.0.0/8"}, "o-abcdef1234"
	want.ManagementAccount, want.EgressAllow = "000011112222", []string{"fd00::/8", "192.168.7.1"}
	want.EgressCA, want.AuditKeep, want.Database = "roots.pem", 9, secret.New("postgres://u@h/d")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ReadEnv (-want +got):\n%s", diff)
	}
	environ = map[string]string{"ECRIN_CREATE_ON_PUSH": "maybe", "ECRIN_STOP_TIMEOUT": "soon", "ECRIN_ANONYMOUS": "perhaps",
		"ECRIN_AUDIT_KEEP": "all"}
	err := got.ReadEnv(get)
	for _, key := range []string{"ECRIN_CREATE_ON_PUSH: ", "ECRIN_STOP_TIMEOUT: ", "ECRIN_ANONYMOUS: ", "ECRIN_AUDIT_KEEP: "} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("ReadEnv of bad values: got %v, want %q in it", err, key)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if _, err := config.Default().Check(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for _, c := range []struct {
		change func(*config.Config)
		want   string
	}{
		{func(c *config.Config) { c.Data = "" }, "data: "},
		{func(c *config.Config) { c.Database = secret.New("mysql://canary") }, "database: want postgres://USER:PASSWORD@HOST/NAME"},
		{func(c *config.Config) { c.Listen = nil }, "listen: want at least one"},
		{func(c *config.Config) { c.AnonymousWrite = true }, "anonymous_write: want anonymous: true beside it"},
		{func(c *config.Config) { c.Listen = []string{"127.0.0.1"} }, "listen: "},
		{func(c *config.Config) { c.Listen = []string{"127.0.0.1:"} }, "listen: want a port"},
		{func(c *config.Config) { c.Listen = []string{"127.0.0.1:65536"} }, "listen: want a port"},
		{func(c *config.Config) { c.Listen = []string{"127.0.0.1:0080"} }, "listen: want a port"},
		{func(c *config.Config) { c.Account = "1234567890123" }, "account: an account id has exactly 12 digits"},
		{func(c *config.Config) { c.Region = "mars" }, "region: "},
		{func(c *config.Config) { c.Domains = []string{"*.example.com"} }, "domains: "},
		{func(c *config.Config) { c.Domains = []string{"localdomain"} }, "domains: "},
		{func(c *config.Config) { c.Issuer, c.ClientID, c.Role = "http://a.example.com", "c", consoleRole }, "sso_issuer: want a URL"},
		{func(c *config.Config) { c.Issuer, c.Role = "https://a.example.com", consoleRole }, "sso_client_id: want"},
		{func(c *config.Config) { c.Issuer, c.ClientID, c.Role = "https://a.example.com", "c", "admin" }, "sso_role: want the ARN"},
		{func(c *config.Config) { c.Role = consoleRole }, "sso_issuer: is missing"},
		{func(c *config.Config) { c.LicenseEndpoint = "updates.example.com" }, "license_endpoint: want a URL"},
		{func(c *config.Config) { c.LicenseEndpoint = "https://a@updates.example.com" }, "license_endpoint: want a URL"},
		{func(c *config.Config) { c.ProxyDomain = "https://proxy.example.com" }, "proxy_domain: want a host"},
		{func(c *config.Config) { c.RegistryDomain = "a/b" }, "registry_domain: want a host"},
		{func(c *config.Config) { c.CustomerRequests = -1 }, "customer_requests: want a number"},
		{func(c *config.Config) { c.LicenseWarning = 1 }, "license_warning: want at least 1m"},
		{func(c *config.Config) { c.InactiveAfter = -1 }, "instance_inactive_after: want at least 1m"},
		{func(c *config.Config) { c.TLS.Mode = "" }, "tls: "},
		{func(c *config.Config) { c.TLS.Cert = "c.pem" }, "tls: cert and key need mode files"},
		{func(c *config.Config) { c.TLS = config.TLS{Mode: config.TLSFiles, Cert: "c.pem"} }, "tls: mode files needs cert and key"},
		{func(c *config.Config) { c.StrictECR = "all,typo" }, "strict_ecr: "},
		{func(c *config.Config) { c.TrustedProxies = []string{"proxy"} }, "trusted_proxies: want an address or a range"},
		{func(c *config.Config) { c.EgressDeny = []string{"here"} }, "egress_deny: want an address or a range"},
		{func(c *config.Config) { c.EgressAllow = []string{"10.0.0.0/33"} }, "egress_allow: want an address or a range"},
		{func(c *config.Config) { c.EgressDNS = []string{"dns.example"} }, "egress_dns: want the addresses of name servers"},
		{func(c *config.Config) { c.EgressDNS = []string{"10.0.0.1:0"} }, "egress_dns: want the addresses of name servers"},
		{func(c *config.Config) { c.EgressHosts = []string{"a.example=b.example"} }, "egress_hosts: want each name once"},
		{func(c *config.Config) { c.EgressHosts = []string{"a.example=10.0.0.1:65536"} }, "egress_hosts: want each name once"},
		{func(c *config.Config) {
			c.WebIdentities = []string{"111122223333 arn:aws:iam::444455556666:role/x token"}
		}, "web_identities: want"},
		{func(c *config.Config) { c.WebIdentities = []string{"1 arn:aws:iam::444455556666:role/x /token"} }, "web_identities: want"},
		{func(c *config.Config) { c.WebIdentities = []string{"111122223333 /token"} }, "web_identities: want"},
		{func(c *config.Config) {
			c.WebIdentities = []string{"111122223333 arn:aws:iam::1:role/x /a", "111122223333 arn:aws:iam::1:role/x /b"}
		}, "web_identities: want"},
		{func(c *config.Config) { c.ConfigRepositoryPaths = []string{"/srv/git/a.git"} }, "config_repository_paths: want"},
		{func(c *config.Config) { c.ConfigRepositoryPaths = []string{"111122223333 /srv/../a.git"} }, "config_repository_paths: want"},
		{func(c *config.Config) { c.ConfigRepositoryPaths = []string{"1 /srv/git/a.git"} }, "config_repository_paths: want"},
		{func(c *config.Config) { c.EgressHosts = []string{"10.0.0.1"} }, "egress_hosts: want each name once"},
		{func(c *config.Config) { c.EgressHosts = []string{"=10.0.0.1"} }, "egress_hosts: want each name once"},
		{func(c *config.Config) { c.EgressHosts = []string{"A.example=10.0.0.1", "a.example=10.0.0.2"} }, "egress_hosts: want each name once"},
		{func(c *config.Config) { c.Organization = "o-short" }, "organization: want o- and"},
		{func(c *config.Config) { c.ManagementAccount = "12" }, "management_account: an account id has exactly 12 digits"},
		{func(c *config.Config) { c.AuditKeep = 0 }, "audit_keep: want at least 1 MiB"},
		{func(c *config.Config) { c.LogLevel = "trace" }, "log_level: want debug, info, warn or error"},
		{func(c *config.Config) { c.LogFormat = "xml" }, "log_format: want auto, text or json"},
		{func(c *config.Config) { c.GCGrace = -1 }, "gc_grace: "},
		{func(c *config.Config) { c.GCInterval = 1 }, "gc_interval: want at least 1s"},
		{func(c *config.Config) { c.EventPulls = "all" }, "event_pulls: want off, counted or sampled"},
		{func(c *config.Config) { c.EventDenials = "sampled" }, "event_denials: want off or counted"},
		{func(c *config.Config) { c.EventsKeep = 0 }, "events_keep: want a number from 1"},
		{func(c *config.Config) { c.EventsKeepFor = 1 }, "events_keep_for: want at least 1m"},
		{func(c *config.Config) { c.PullLogKeep = 0 }, "pull_log_keep: want a number from 1"},
		{func(c *config.Config) { c.PullLogKeepFor = 1 }, "pull_log_keep_for: want at least 1m"},
		{func(c *config.Config) { c.MaxAccessGrant = 1 }, "max_access_grant: want at least 1m"},
		{func(c *config.Config) { c.StopTimeout = -1 }, "stop_timeout: "},
	} {
		cfg := config.Default()
		c.change(&cfg)
		if _, err := cfg.Check(); err == nil || !strings.HasPrefix(err.Error(), c.want) ||
			strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "canary") {
			t.Errorf("Check of %+v: got %v, want one error %q", cfg, err, c.want)
		}
	}
	var empty config.Config
	_, err := empty.Check()
	for _, key := range []string{"data: ", "listen: ", "account: ", "region: ", "tls: ", "log_level: "} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Check of the zero Config: got %v, want %q in it", err, key)
		}
	}
}

// Neither Parse nor Check of what Parse accepted panics, and Parse returns the same result for the same text.
func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add("listen: 1\n")
	f.Add("a: &a [*a]\n")
	f.Add("data: x\n---\ndata: y\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := config.Default()
		if c.Parse([]byte(text)) != nil {
			return
		}
		again := config.Default()
		if err := again.Parse([]byte(text)); err != nil || !cmp.Equal(c, again) {
			t.Errorf("Parse(%q): got %+v, then %+v (%v)", text, c, again, err)
		}
		_, _ = c.Check()
	})
}
