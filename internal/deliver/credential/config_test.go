package credential_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

const role = "arn:aws:iam::111122223333:role/pull"

// TestParseConfig: every key is read, and every mistake is reported with its place.
func TestParseConfig(t *testing.T) {
	t.Parallel()
	c, err := credential.ParseConfig([]byte(`cache: off
hosts:
  - match: Registry.example.com:5100
    profile: prod
    roles: [{arn: ` + role + `, external_id: abc}, {arn: ` + role + `2}]
    session_name: ci
    region: eu-west-1
    endpoint: https://api.example.com:5100
    sts_endpoint: https://sts.example.com
    ca_file: ca.pem
  - match: "*.dkr.ecr.*.amazonaws.com"
    role: ` + role + `
    web_identity_token_file: /token
`))
	if err != nil {
		t.Fatal(err)
	}
	want := credential.Config{Cache: "off", Hosts: []credential.Rule{
		{Match: "registry.example.com:5100", Profile: "prod", Roles: []credential.RoleRule{{ARN: role, ExternalID: "abc"}, {ARN: role + "2"}},
			SessionName: "ci", Region: "eu-west-1", Endpoint: "https://api.example.com:5100",
			STSEndpoint: "https://sts.example.com", CAFile: "ca.pem"},
		{Match: "*.dkr.ecr.*.amazonaws.com", Role: role, WebIdentityTokenFile: "/token"},
	}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	for text, want := range map[string]string{
		"hosts: [{match: a.b, profil: x}]":      "profil",
		"hosts: [{}]":                           "hosts[0]: match",
		"hosts: [{match: a.b}, {match: 'a/b'}]": "hosts[1]: match",
		"hosts: [{match: a.b, role: " + role + ", roles: [{arn: " + role + "}]}]":    "exclude each other",
		"hosts: [{match: a.b, external_id: abc}]":                                    "there is none",
		"hosts: [{match: a.b, role: admin}]":                                         "want arn:aws:iam",
		"hosts: [{match: a.b, region: A_B}]":                                         "a region",
		"hosts: [{match: a.b, endpoint: 'ftp://x'}]":                                 "endpoint: got",
		"hosts: [{match: a.b, endpoint: 'https://u:p@x'}]":                           "endpoint: got",
		"hosts: [{match: '*.example.com'}]":                                          "endpoint must say",
		"hosts: [{match: '*.dkr.ecr.*.*'}]":                                          "endpoint must say",
		"hosts: [{match: a.b, web_identity_token_file: x}]":                          "needs the role",
		"hosts: [{match: a.b, web_identity_token_file: x, profile: p, role: " + role: "",
	} {
		if _, err := credential.ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", text, err, want)
		}
	}
}

// TestConfigKeysAreDocumented: the page for users names every key, and the fields of the types have no other.
func TestConfigKeysAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/credentials.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{credential.Config{}, credential.Rule{}, credential.RoleRule{}} {
		for i := range reflect.TypeOf(v).NumField() {
			key := reflect.TypeOf(v).Field(i).Tag.Get("yaml")
			if key == "" || !strings.Contains(string(page), "`"+key+"`") {
				t.Errorf("docs/credentials.md does not have the key %q of %T", key, v)
			}
		}
	}
}

// TestLoadConfig: the file is the named one, that of the environment, or that of the user, which need not exist. Files in it are relative
// to it.
func TestLoadConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := map[string]string{"HOME": dir}
	getenv := func(key string) string { return env[key] }
	c, err := credential.LoadConfig("", getenv)
	if err != nil || len(c.Hosts) != 0 || c.Cache != filepath.Join(dir, ".cache/ecrin") {
		t.Errorf("without a file: got %+v, %v", c, err)
	}
	path := filepath.Join(dir, "x", "c.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	content := "cache: k\nhosts: [{match: a.b, ca_file: ca.pem}, {match: c.d, ca_file: ~/ca.pem}]"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	env["ECRIN_CREDENTIALS_CONFIG"] = path
	c, err = credential.LoadConfig("", getenv)
	if err != nil || c.Cache != filepath.Join(dir, "x/k") || c.Hosts[0].CAFile != filepath.Join(dir, "x/ca.pem") ||
		c.Hosts[1].CAFile != filepath.Join(dir, "ca.pem") {
		t.Errorf("got %+v, %v", c, err)
	}
	env["ECRIN_CREDENTIALS_CACHE"] = "off"
	if c, err = credential.LoadConfig(path, getenv); err != nil || c.Cache != credential.CacheOff {
		t.Errorf("with ECRIN_CREDENTIALS_CACHE=off: got %+v, %v", c, err)
	}
	env["ECRIN_CREDENTIALS_CONFIG"] = path + "x"
	if _, err = credential.LoadConfig("", getenv); err == nil {
		t.Error("a named file that does not exist: got no error")
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("hosts: [{match: '*.dkr.ecr.*.amazonaws.com', role: " + role + "}]"))
	f.Add([]byte("cache: off\nhosts:\n - match: a.b:5100\n   endpoint: http://a.b:5100\n"))
	f.Add([]byte("hosts: [{match: a.b, roles: [{arn: x}, {}]}]"))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := credential.ParseConfig(content)
		if err == nil {
			c.Named()
		}
	})
}
