package clientconf_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/host/trust/clientconf"
)

func TestDockerDaemonInsecure(t *testing.T) {
	t.Parallel()
	d, err := clientconf.ParseDockerDaemon(
		[]byte(`{"debug": true, "insecure-registries": ["reg.test:5100", "10.1.0.0/16", "http://old.test"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		host, addr string
		want       bool
	}{
		{"reg.test:5100", "192.0.2.1", true},
		{"REG.test:5100", "192.0.2.1", true},
		{"reg.test", "192.0.2.1", false},
		{"old.test", "192.0.2.1", true},
		{"other.test", "10.1.2.3", true},
		{"other.test", "10.2.2.3", false},
		{"other.test", "::ffff:10.1.2.3", true},
		{"anything:5100", "127.0.0.5", true},
		{"anything:5100", "::1", true},
	} {
		if got := d.Insecure(tc.host, []netip.Addr{netip.MustParseAddr(tc.addr)}); got != tc.want {
			t.Errorf("Insecure(%s at %s) = %v, want %v", tc.host, tc.addr, got, tc.want)
		}
	}
}

func TestDockerClient(t *testing.T) {
	t.Parallel()
	c, err := clientconf.ParseDockerClient([]byte("\ufeff" + `{"auths": {"https://a.test/v1/": {"auth": "c2VjcmV0"}, "b.test:5100": {}},
		"credHelpers": {"c.test": "ecr-login"}, "credsStore": "desktop", "plugins": {}}`))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{"a.test": true, "b.test:5100": true, "b.test": false, "c.test": false} {
		if got := c.HasAuth(host); got != want {
			t.Errorf("HasAuth(%s) = %v, want %v", host, got, want)
		}
	}
	if helper, named := c.Helper("c.test"); helper != "ecr-login" || !named {
		t.Errorf("Helper(c.test) = %q, %v", helper, named)
	}
	if helper, named := c.Helper("d.test"); helper != "desktop" || named {
		t.Errorf("Helper(d.test) = %q, %v", helper, named)
	}
	if empty, err := clientconf.ParseDockerClient([]byte(" \n")); err != nil || empty.CredsStore != "" {
		t.Errorf("an empty file: got %v, %v", empty, err)
	}
	if _, err := clientconf.ParseDockerClient([]byte(`{"auths": []}`)); err == nil {
		t.Error("auths as a list: got no error")
	}
}

func TestContainerd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		toml string
		want clientconf.Containerd
	}{
		"empty": {"", clientconf.Containerd{}},
		"release 1": {"version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n" +
			"[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n",
			clientconf.Containerd{ConfigPaths: []string{"/etc/containerd/certs.d"}, Imports: []string{"/etc/containerd/conf.d/*.toml"}}},
		"release 2": {"version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/a:/b'\n",
			clientconf.Containerd{ConfigPaths: []string{"/a", "/b"}}},
		"mirrors": {"[plugins.cri.registry.mirrors.\"reg.test\"]\nendpoint = ['http://reg.test']\n",
			clientconf.Containerd{Mirrors: []string{"reg.test"}}},
		"as docker's package has it": {"disabled_plugins = [\"cri\"]\n", clientconf.Containerd{NoCRI: true}},
		"other kinds": {"imports = 1\n[plugins.cri]\nregistry = true\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = 7\n",
			clientconf.Containerd{}},
	} {
		got, err := clientconf.ParseContainerd([]byte(tc.toml))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := clientconf.ParseContainerd([]byte("= 1")); err == nil {
		t.Error("a broken file: got no error")
	}
}

func TestHostsFile(t *testing.T) {
	t.Parallel()
	got, err := clientconf.ParseHostsFile([]byte(`
server = "https://reg.test"
[host."https://z.test"]
  capabilities = ["pull", "resolve"]
  ca = "z.crt"
  [host."https://z.test".header]
    x = "1"
[host."http://a.test"]
  ca = ["a.crt", "b.crt"]
  skip_verify = true
`))
	if err != nil {
		t.Fatal(err)
	}
	want := clientconf.HostsFile{
		Server: clientconf.Endpoint{URL: "https://reg.test"},
		Hosts: []clientconf.Endpoint{
			{URL: "https://z.test", CA: []string{"z.crt"}, Capabilities: []string{"pull", "resolve"}},
			{URL: "http://a.test", CA: []string{"a.crt", "b.crt"}, SkipVerify: true},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAWSFile(t *testing.T) {
	t.Parallel()
	f := clientconf.ParseAWSFile([]byte(`
region = nowhere
[default]
region = eu-west-1
endpoint_url = http://localhost:5100   ` + `
[profile  dev]
services = local
aws_secret_access_key = hunter2
s3 =
  max_bandwidth = 5
; a comment
[services local]
ecr =
  endpoint_url = http://ecr.test
sts =
  endpoint_url = http://sts.test
`))
	for _, tc := range []struct{ profile, service, want string }{
		{"default", "ecr", "http://localhost:5100"},
		{"dev", "ecr", "http://ecr.test"},
		{"dev", "sts", "http://sts.test"},
		{"dev", "iam", ""},
		{"none", "ecr", ""},
	} {
		if got := f.Endpoint(tc.profile, tc.service); got != tc.want {
			t.Errorf("Endpoint(%s, %s) = %q, want %q", tc.profile, tc.service, got, tc.want)
		}
	}
	if got := f["default"]["region"]; got != "eu-west-1" {
		t.Errorf("region = %q", got)
	}
	if got := f["dev"]["aws_secret_access_key"]; got != "set" {
		t.Errorf("the secret is kept as %q, want the mark", got)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"aws-cli/1.45.11 Python/3.11.7 Linux/6.1":  "1.45.11",
		"aws-cli/2.9.19 Python/3.11.2":             "2.9.19",
		"helper\nVersion:    0.6.0\nGit commit: 1": "0.6.0",
		"v2.13": "2.13.0", "1.2.3.4": "1.2.3", "none": "", "7": "", "99999999999999999999.1": "", "": "",
	} {
		got, ok := clientconf.ParseVersion(answer)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("ParseVersion(%q) = %v, %v, want %q", answer, got, ok, want)
		}
	}
	if !(clientconf.Version{2, 9, 19}).Less(clientconf.Version{2, 13, 0}) || (clientconf.Version{2, 13}).Less(clientconf.Version{2, 13}) {
		t.Error("Less does not order by number")
	}
}

func FuzzDocker(f *testing.F) {
	f.Add([]byte(`{"insecure-registries":["a:1","10.0.0.0/8"],"auths":{"https://a/":{"auth":"eA=="}},"credHelpers":{"a":"b"},"credsStore":"c"}`))
	f.Add([]byte("\ufeff{}"))
	f.Add([]byte(`{"auths":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		d, _ := clientconf.ParseDockerDaemon(content)
		for _, r := range d.InsecureRegistries {
			if !strings.Contains(r, "://") && !d.Insecure(r, nil) {
				t.Errorf("listed registry %q is not taken as insecure", r)
			}
		}
		if c, err := clientconf.ParseDockerClient(content); err == nil {
			for host := range c.CredHelpers {
				if _, named := c.Helper(host); !named {
					t.Errorf("the helper of %q is not found", host)
				}
			}
		}
	})
}

func FuzzContainerd(f *testing.F) {
	f.Add([]byte("imports = ['a']\n[plugins.cri.registry]\nconfig_path = '/a:/b'\n[plugins.cri.registry.mirrors.x]\n"))
	f.Add([]byte("server = 'https://a'\n[host.'https://b']\nca = ['c', 1]\ncapabilities = 'pull'\n"))
	f.Add([]byte("host = 1\n"))
	f.Add([]byte("[[host]]\na = 1\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		_, err1 := clientconf.ParseContainerd(content)
		h, err2 := clientconf.ParseHostsFile(content)
		if (err1 == nil) != (err2 == nil) {
			t.Errorf("one reader takes the file, the other does not: %v, %v", err1, err2)
		}
		seen := map[string]bool{}
		for _, e := range h.Hosts {
			if seen[e.URL] {
				t.Errorf("host %q is listed twice", e.URL)
			}
			seen[e.URL] = true
		}
	})
}

func FuzzAWSFile(f *testing.F) {
	f.Add([]byte("[default]\nregion=a\n[profile b]\nservices = c\n[services c]\necr =\n  endpoint_url = http://x\n"))
	f.Add([]byte("[\n=\n = \n[a]\n=b\n  c=d\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for name, section := range clientconf.ParseAWSFile(content) {
			for key, value := range section {
				if strings.Contains(key, "secret") && value != "" && value != "set" {
					t.Errorf("[%s] %s keeps its value", name, key)
				}
			}
		}
	})
}

func FuzzVersion(f *testing.F) {
	f.Add("aws-cli/2.13.0 Python/3")
	f.Add("1..2")
	f.Fuzz(func(t *testing.T, answer string) {
		if v, ok := clientconf.ParseVersion(answer); ok {
			again, ok := clientconf.ParseVersion(v.String())
			if !ok || again != v {
				t.Errorf("ParseVersion(%q) = %v, which reads as %v", answer, v, again)
			}
		}
	})
}
