package endpoint_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var (
	def   = name.Registry{Account: name.MustAccount("000000000000"), Region: name.MustRegion("us-east-1")}
	other = name.Registry{Account: name.MustAccount("111122223333"), Region: name.MustRegion("eu-west-1")}
)

func TestParse(t *testing.T) {
	m := endpoint.NewMap([]string{"ecr.example.com"}, def)
	for _, c := range []struct {
		host string
		kind endpoint.Kind
		reg  string
	}{
		{"111122223333.dkr.ecr.eu-west-1.amazonaws.com", endpoint.Registry, "111122223333/eu-west-1"},
		{"111122223333.DKR.ecr.eu-west-1.amazonaws.com:5100", endpoint.Registry, "111122223333/eu-west-1"},
		{"111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com", endpoint.Registry, "111122223333/us-gov-west-1"},
		{"111122223333.dkr-ecr.eu-west-1.on.aws", endpoint.Registry, "111122223333/eu-west-1"},
		{"111122223333.dkr-ecr-fips.eu-west-1.on.aws", endpoint.Registry, "111122223333/eu-west-1"},
		{"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", endpoint.Registry, "111122223333/cn-north-1"},
		{"111122223333.dkr.ecr.eu-west-1.ecr.example.com", endpoint.Registry, "111122223333/eu-west-1"},
		{"111122223333.dkr.ecr.eu-west-1.localhost:5100", endpoint.Registry, "111122223333/eu-west-1"},
		{"api.ecr.eu-west-1.amazonaws.com", endpoint.ECR, "/eu-west-1"},
		{"api.ecr-fips.eu-west-1.amazonaws.com", endpoint.ECR, "/eu-west-1"},
		{"ecr.eu-west-1.amazonaws.com", endpoint.ECR, "/eu-west-1"},
		{"ecr.eu-west-1.api.aws", endpoint.ECR, "/eu-west-1"},
		{"sts.amazonaws.com", endpoint.STS, "/"},
		{"sts.eu-west-1.amazonaws.com", endpoint.STS, "/eu-west-1"},
		{"sts-fips.us-east-1.amazonaws.com", endpoint.STS, "/us-east-1"},
		{"iam.amazonaws.com", endpoint.IAM, "/"},
		{"iam-fips.amazonaws.com", endpoint.IAM, "/"},
		{"iam.eu-west-1.amazonaws.com", endpoint.IAM, "/"}, // IAM has no regions
		{"ecr-fips.eu-west-1.amazonaws.com", endpoint.ECR, "/eu-west-1"},
		{"localhost:5100", endpoint.Any, "/"},
		{"127.0.0.1:5100", endpoint.Any, "/"},
		{"[::1]:5100", endpoint.Any, "/"},
		{"registry.example.org", endpoint.Any, "/"},
		{"", endpoint.Any, "/"},
		// names of other services, and names that have one label more or less
		{"s3.amazonaws.com", endpoint.Any, "/"},
		{"s3.eu-west-1.amazonaws.com", endpoint.Any, "/"},
		{"api.s3.eu-west-1.amazonaws.com", endpoint.Any, "/"},
		{"x.ecr.eu-west-1.amazonaws.com", endpoint.Any, "/"},
		{"x.api.ecr.eu-west-1.amazonaws.com", endpoint.Any, "/"},
		{"111122223333.x.ecr.eu-west-1.amazonaws.com", endpoint.Any, "/"},
		{"ecr.amazonaws.com", endpoint.Any, "/"},
		{"sts.nowhere.amazonaws.com", endpoint.Any, "/"},
		{"sts.eu-west-1.x.amazonaws.com", endpoint.Any, "/"},
		{"iam.nowhere.amazonaws.com", endpoint.Any, "/"},
		{"iam.eu-west-1.x.amazonaws.com", endpoint.Any, "/"},
		{"amazonaws.com", endpoint.Any, "/"},
	} {
		h, err := m.Parse(c.host)
		if err != nil || h.Kind != c.kind || h.Registry.String() != c.reg {
			t.Errorf("Parse(%q) = kind %d, %q, %v; want kind %d, %q", c.host, h.Kind, h.Registry, err, c.kind, c.reg)
		}
	}
	for _, bad := range []string{"4999999999999.dkr.ecr.eu-west-1.amazonaws.com", "abc.dkr.ecr.eu-west-1.localhost",
		"111122223333.dkr.ecr.nowhere.amazonaws.com",
		"111122223333.dkr.ecr.amazonaws.com", "api.ecr.x.amazonaws.com", "ecr.x.amazonaws.com",
		"111122223333.dkr.s3.eu-west-1.amazonaws.com", "111122223333.dkr.ecr.eu-west-1.x.amazonaws.com",
		"4999999999999.dkr-ecr.eu-west-1.on.aws", "111122223333.dkr-ecr.nowhere.on.aws", "111122223333.dkr-s3.eu-west-1.on.aws",
		"111122223333.dkr-ecr.eu-west-1.x.on.aws"} {
		if _, err := m.Parse(bad); !errors.Is(err, fault.RegistryUnresolved) {
			t.Errorf("Parse(%q) = %v, want RegistryUnresolved", bad, err)
		}
	}
}

func TestResolveAndURI(t *testing.T) {
	m := endpoint.NewMap(nil, def)
	for _, c := range []struct{ host, path, reg, repo, uri string }{
		{"localhost:5100", "team/app", "000000000000/us-east-1", "team/app", "localhost:5100/team/app"},
		{"localhost:5100", "111122223333/eu-west-1/team/app", "111122223333/eu-west-1", "team/app",
			"localhost:5100/111122223333/eu-west-1/team/app"},
		{"localhost:5100", "111122223333/app", "000000000000/us-east-1", "111122223333/app", "localhost:5100/111122223333/app"},
		{"111122223333.dkr.ecr.eu-west-1.amazonaws.com", "000000000000/us-east-1/app", "111122223333/eu-west-1", "000000000000/us-east-1/app",
			"111122223333.dkr.ecr.eu-west-1.amazonaws.com/000000000000/us-east-1/app"},
	} {
		h, err := m.Parse(c.host)
		if err != nil {
			t.Fatal(err)
		}
		reg, repo, err := m.Resolve(h, c.path)
		if err != nil || reg.String() != c.reg || repo.String() != c.repo {
			t.Errorf("Resolve(%q, %q) = %s, %s, %v; want %s, %s", c.host, c.path, reg, repo, err, c.reg, c.repo)
			continue
		}
		if got := m.URI(h, reg, repo); got != c.uri {
			t.Errorf("URI(%q, %s, %s) = %q, want %q", c.host, reg, repo, got, c.uri)
		}
	}
	h, _ := m.Parse("localhost:5100")
	if _, _, err := m.Resolve(h, "4999999999999/eu-west-1/app"); !errors.Is(err, fault.RegistryUnresolved) {
		t.Errorf("a 13-digit account in the path: %v, want RegistryUnresolved", err)
	}
	api, _ := m.Parse("api.ecr.eu-west-1.amazonaws.com:5100")
	if got, want := m.RegistryHost(api, other), "111122223333.dkr.ecr.eu-west-1.amazonaws.com:5100"; got != want {
		t.Errorf("RegistryHost = %q, want %q", got, want)
	}
	if got, want := m.RegistryHost(h, other), "111122223333.dkr.ecr.eu-west-1.amazonaws.com"; got != want {
		t.Errorf("RegistryHost by localhost = %q, want %q", got, want)
	}
}

// The host of a registry is in the domain that the client used, or in the registry domain of the same partition if that domain has only
// APIs.
func TestRegistryHostIsInTheDomainOfTheClient(t *testing.T) {
	m := endpoint.NewMap([]string{".ECR.example.com."}, def)
	beijing := name.Registry{Account: other.Account, Region: name.MustRegion("cn-north-1")}
	sovereign := name.Registry{Account: other.Account, Region: name.MustRegion("eusc-de-east-1")}
	for _, c := range []struct {
		host string
		reg  name.Registry
		want string
	}{
		{"ecr.eu-west-1.api.aws", other, "111122223333.dkr.ecr.eu-west-1.amazonaws.com"},
		{"111122223333.dkr-ecr.eu-west-1.on.aws:443", other, "111122223333.dkr.ecr.eu-west-1.amazonaws.com:443"},
		{"ecr.cn-north-1.api.amazonwebservices.com.cn", beijing, "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn"},
		{"111122223333.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", beijing, "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn"},
		{"api.ecr.cn-north-1.amazonaws.com.cn:5100", beijing, "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn:5100"},
		{"ecr.eusc-de-east-1.api.amazonwebservices.eu", sovereign, "111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu"},
		{"api.ecr.eusc-de-east-1.amazonaws.eu", sovereign, "111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu"},
		{"api.ecr.eu-west-1.ecr.example.com:5100", other, "111122223333.dkr.ecr.eu-west-1.ecr.example.com:5100"},
		{"api.ecr.eu-west-1.localhost:5100", beijing, "111122223333.dkr.ecr.cn-north-1.localhost:5100"},
		{"localhost:5100", other, "111122223333.dkr.ecr.eu-west-1.amazonaws.com"},
		{"localhost:5100", beijing, "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn"},
		{"www.ecr.example.com:5100", beijing, "111122223333.dkr.ecr.cn-north-1.ecr.example.com"},
	} {
		h, err := m.Parse(c.host)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.RegistryHost(h, c.reg); got != c.want {
			t.Errorf("RegistryHost(%q, %s) = %q, want %q", c.host, c.reg, got, c.want)
		}
		if h.Kind != endpoint.Any {
			if got, want := m.URI(h, c.reg, name.MustRepo("team/app")), c.want+"/team/app"; got != want {
				t.Errorf("URI(%q, %s) = %q, want %q", c.host, c.reg, got, want)
			}
		}
		wantBase := def
		if h.Kind == endpoint.Registry {
			wantBase = c.reg
		}
		if got := m.Base(h); got != wantBase {
			t.Errorf("Base(%q) = %s, want %s", c.host, got, wantBase)
		}
		if got := h.String(); got != c.host {
			t.Errorf("String of %q = %q", c.host, got)
		}
	}
	if got := m.Domains(); len(got) < 2 || got[0] != "ecr.example.com" || m.Default() != def {
		t.Errorf("domains %q and default %s, want ecr.example.com first and %s", got, m.Default(), def)
	}
}

// A login at the address of proxyEndpoint is one at the host of repositoryUri, except for the credential helper of AWS.
func TestProxyEndpointIsTheHostOfTheURI(t *testing.T) {
	m := endpoint.NewMap([]string{"ecr.example.com"}, def)
	const helper = "aws-sdk-go-v2/1.41.2 ua/2.1 os/linux lang/go#1.26.8 md/GOOS#linux md/GOARCH#amd64 api/ecr#1.55.3 m/E,g" // version 0.12.0
	for _, c := range []struct {
		host   string
		reg    name.Registry
		secure bool
		agent  string
		want   string
	}{
		{"localhost:5100", def, false, "aws-cli/1.45.11", "http://localhost:5100"},
		{"127.0.0.1:5100", other, false, "", "http://127.0.0.1:5100"},
		{"[::1]:5100", other, false, "", "http://[::1]:5100"},
		{"Registry.Example.org", def, true, "aws-sdk-js/3.1", "https://registry.example.org"},
		{"localhost:5100", def, false, helper, "https://000000000000.dkr.ecr.us-east-1.amazonaws.com"},
		{"localhost:5100", other, false, helper, "https://111122223333.dkr.ecr.eu-west-1.amazonaws.com"},
		{"localhost:5100", def, false, "amazon-ecr-credential-helper/0.3", "https://000000000000.dkr.ecr.us-east-1.amazonaws.com"},
		{"", def, false, "", "https://000000000000.dkr.ecr.us-east-1.amazonaws.com"},
		{"api.ecr.eu-west-1.amazonaws.com", other, true, "", "https://111122223333.dkr.ecr.eu-west-1.amazonaws.com"},
		{"api.ecr.eu-west-1.ecr.example.com:5100", other, false, "", "https://111122223333.dkr.ecr.eu-west-1.ecr.example.com:5100"},
	} {
		h, err := m.Parse(c.host)
		if err != nil {
			t.Fatal(err)
		}
		got := m.ProxyEndpoint(h, c.reg, c.secure, c.agent)
		if got != c.want {
			t.Errorf("ProxyEndpoint(%q, %s, %t, %q) = %q, want %q", c.host, c.reg, c.secure, c.agent, got, c.want)
		}
		_, login, _ := strings.Cut(got, "://")
		host, _, _ := strings.Cut(m.URI(h, c.reg, name.MustRepo("app")), "/")
		if c.agent != helper && !strings.HasPrefix(c.agent, "amazon-ecr") && c.host != "" && login != host {
			t.Errorf("by %q, the login is at %s, and the repository at %s", c.host, login, host)
		}
	}
}

func FuzzParse(f *testing.F) {
	m := endpoint.NewMap([]string{"ecr.example.com"}, def)
	f.Add("111122223333.dkr.ecr.eu-west-1.amazonaws.com:443", "a/b")
	f.Add("sts..amazonaws.com", "000000000000/us-east-1/a/../b")
	f.Fuzz(func(t *testing.T, host, path string) {
		h, err := m.Parse(host)
		if err != nil {
			return
		}
		if h.Kind == endpoint.Registry && h.Registry.Account == (name.Account{}) {
			t.Errorf("Parse(%q) is a registry without account", host)
		}
		if _, repo, err := m.Resolve(h, path); err == nil {
			if _, err := name.ParseRepo(repo.String()); err != nil {
				t.Errorf("Resolve(%q, %q) made an invalid repository %q", host, path, repo)
			}
		}
	})
}

// TestOwn: names of a configured domain are this installation's, names of AWS and of localhost may be those of another one.
func TestOwn(t *testing.T) {
	m := endpoint.NewMap([]string{"ecr.example.com", "localhost"}, def)
	for host, want := range map[string]bool{
		"ecr.example.com": true, "ECR.example.com:5100": true, "ecr.example.com.": true,
		"111122223333.dkr.ecr.eu-west-1.ecr.example.com": true, "api.ecr.eu-west-1.ecr.example.com:443": true, "sts.ecr.example.com": true,
		"git.ecr.example.com": false, "x.dkr.ecr.eu-west-1.ecr.example.com": false, "notecr.example.com": false, "example.com": false,
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com": false, "localhost": false, "localhost:5100": false, "127.0.0.1:5100": false,
		"111122223333.dkr.ecr.eu-west-1.localhost": false, "": false,
	} {
		if got := m.Own(host); got != want {
			t.Errorf("%q: got %t, want %t", host, got, want)
		}
	}
}
