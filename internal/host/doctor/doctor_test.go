package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/host/doctor"
	"github.com/ecrin-dev/ecrin/internal/host/trust"
)

const (
	ok, warn, fail, skip = doctor.OK, doctor.Warn, doctor.Fail, doctor.Skip

	day = 24 * time.Hour
)

// healthy returns a machine that is set up as the documentation describes.
func healthy(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t, "https", 0)
	m.pointHere()
	m.o.Roots.AppendCertsFromPEM(m.ca.CAPEM())
	image := registry + m.port()
	m.program("docker", "")
	m.program("containerd", "")
	m.program("docker-credential-ecr-login", "amazon-ecr-credential-helper\nVersion:    0.12.0\n")
	m.program("aws", "aws-cli/2.31.0 Python/3.13.7\n")
	m.home(".docker/config.json", `{"credHelpers": {"`+image+`": "ecr-login"}, "auths": {"`+m.addr()+`": {}}}`)
	m.root("etc/containerd/config.toml", "[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n")
	m.env["AWS_ACCESS_KEY_ID"], m.env["AWS_SECRET_ACCESS_KEY"], m.env["AWS_REGION"] = "AKIAEXAMPLE", "secret", "eu-west-1"
	m.env["AWS_ENDPOINT_URL"], m.env["AWS_CA_BUNDLE"] = m.o.URL, m.o.CAPath
	return m
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	m := healthy(t)
	checks := m.run()
	for _, c := range checks {
		if c.Status != ok && !(c.Status == skip && c.Name == "ECR names under localhost") {
			t.Errorf("%s is %s: %s (%s)", c.Name, c.Status, c.Detail, c.Fix)
		}
	}
	if len(checks) < 18 {
		t.Errorf("only %d checks were made", len(checks))
	}
}

func TestBareMachine(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "http", 0)
	m.o.DataDir = ""
	for name, status := range map[string]doctor.Status{
		"name reg.test": ok, "port": ok, "ready": ok, "clock": ok, "TLS": skip, "docker": skip, "containerd": skip,
		"aws CLI": skip, "ECR credential helper": skip, "data folder": skip, "AWS credentials": warn, "ECR names under amazonaws.com": skip,
	} {
		m.expect(name, status)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "https", 0)
	names := "ECR names under amazonaws.com"
	m.expect(names, skip, "do not resolve", "192.0.2.10 "+registry[:4], "tee -a /etc/hosts")
	m.o.Domains = []string{"amazonaws.com", "ecr.test"}
	m.expect(names, warn)
	m.expect("ECR names under ecr.test", warn, "111111111111.dkr.ecr.eu-west-1.ecr.test")
	m.pointHere()
	m.expect(names, ok)
	m.names["api.ecr.eu-west-1.amazonaws.com"] = "203.0.113.1"
	m.expect(names, warn, "lead to another server", "echo '192.0.2.10 api.ecr.eu-west-1.amazonaws.com'")
	m.o.URL = "https://" + registry + m.port()
	m.expect(names, fail)
	delete(m.names, "reg.test")
	m.o.URL = "https://reg.test" + m.port()
	m.expect("name reg.test", fail, "no such host", "/etc/hosts")
}

func TestPortAndReadiness(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "https", 0)
	m.status = 503
	m.expect("ready", fail, "503", "starting", "curl -k")
	m.o.URL = strings.Replace(m.o.URL, "https", "http", 1)
	m.expect("ready", fail, "400", "right scheme")
	m.o.URL = "https://reg.test:1"
	m.expect("port", fail, "reg.test:1", "ecrin serve")
	m.expect("clock", skip)
	m.expect("TLS reg.test", fail)
	plain := newMachine(t, "http", 0)
	plain.o.URL = strings.Replace(plain.o.URL, "http", "https", 1)
	plain.expect("ready", fail, "Use http://")
	for _, url := range []string{"", "reg.test:5100", "ftp://reg.test", "http://", "://"} {
		m.o.URL = url
		m.expect("server", fail, "http://HOST:PORT")
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "http", 0)
	for skew, want := range map[time.Duration]doctor.Status{
		30 * time.Second: ok, -30 * time.Second: ok, 2 * time.Minute: warn, -2 * time.Minute: warn, 6 * time.Minute: fail, -time.Hour: fail,
	} {
		m.skew = skew
		m.expect("clock", want)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	const check = "TLS reg.test"
	m := newMachine(t, "https", 0)
	m.expect(check, warn, "does not trust", "sudo ecrin trust install --ca "+m.o.CAPath)
	ca := m.o.CAPath
	m.o.CAPath = ""
	m.expect(check, fail, "does not know", "sudo ecrin trust install --ca ca.pem")
	m.o.CAPath = filepath.Join(t.TempDir(), "other.pem")
	m.expect("TLS", fail, "cannot be read", "ecrin doctor --ca ca.pem")
	m.write(m.o.CAPath, m.otherCA())
	m.expect(check, fail, "not signed by the CA", "Copy the CA anew")
	m.o.CAPath = ca
	m.o.Roots.AppendCertsFromPEM(m.ca.CAPEM())
	m.expect(check, ok, time.Now().Add(7*day-time.Hour).Format(time.DateOnly))
	m.names["other.test"] = outside
	m.o.URL = "https://other.test" + m.port()
	m.expect("TLS other.test", fail, "no TLS connection", "openssl s_client -connect other.test"+m.port())
}

func TestTLSDatesAndNames(t *testing.T) {
	t.Parallel()
	const check = "TLS reg.test"
	for _, tc := range []struct {
		age    time.Duration
		status doctor.Status
		words  string
	}{{6 * day, warn, "ends in"}, {8 * day, fail, "has ended on"}, {-2 * day, fail, "valid only from"}} {
		m := newMachine(t, "https", tc.age)
		m.expect(check, tc.status, tc.words)
		m.o.Roots.AppendCertsFromPEM(m.ca.CAPEM())
		m.expect(check, tc.status, tc.words)
	}
	m := newMachine(t, "https", 4*day)
	m.o.Roots.AppendCertsFromPEM(m.ca.CAPEM())
	m.expect(check, ok, "until") // three days are left of seven; the server renews a leaf then
	m = newMachine(t, "https", 0)
	// TLS has no server name for an address, so that the server presents the certificate of the address.
	m.o.URL = "https://" + outside + m.port()
	m.expect("TLS "+outside, fail, "other names")
}

// A CA without name constraints, of the server or of a client, is reported, and so is one that ends soon.
func TestPrivateCA(t *testing.T) {
	t.Parallel()
	const check = "private CA"
	m := newMachine(t, "https", 0)
	m.expect(check, ok, "amazonaws.com", "until")
	old, err := os.ReadFile("../trust/testdata/unconstrained-ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	m.root("etc/docker/certs.d/reg.test/ca.crt", string(old))
	m.expect(check, warn, "etc/docker/certs.d/reg.test/ca.crt", "every name to docker", "sudo ecrin trust install")
	m.root("etc/docker/certs.d/reg.test/ca.crt", string(m.ca.CAPEM()))
	m.expect(check, ok)
	m.write(m.o.CAPath, string(old))
	m.expect(check, warn, "no name constraints", "delete ca.pem")
	aged := newMachine(t, "https", 700*day)
	aged.expect(check, warn, "ends in", "sudo ecrin trust install")
	other, err := os.ReadFile("../trust/testdata/other-ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	m.write(m.o.CAPath, string(other))
	if c, is := m.run()[check]; is {
		t.Errorf("a CA of the operator: got %+v, want no check", c)
	}
}

func TestDockerDaemon(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "https", 0)
	m.program("docker", "")
	check := "docker daemon for " + m.addr()
	m.expect(check, fail, "no CA for it", "sudo ecrin trust install --for docker --ca "+m.o.CAPath+" "+m.addr())
	m.root("etc/docker/certs.d/"+m.addr()+"/ca.crt", m.otherCA())
	m.expect(check, fail, "is another one")
	m.root("etc/docker/daemon.json", `{"insecure-registries": ["`+m.addr()+`"]}`)
	m.expect(check, ok, "any certificate")
	m.root("etc/docker/daemon.json", `{"insecure-registries": `)
	m.expect("docker daemon", fail, "daemon.json", "python3 -m json.tool")
	m.root("etc/docker/daemon.json", "")
	m.install(trust.Docker)
	m.expect(check, ok, "certs.d")
	// ECR names that resolve to the server are checked too.
	m.pointHere()
	m.expect("docker daemon for "+registry+m.port(), fail)

	plain := newMachine(t, "http", 0)
	plain.program("docker", "")
	check = "docker daemon for " + plain.addr()
	plain.expect(check, fail, "refuses plain HTTP", "--plain-http --for docker "+plain.addr())
	plain.home(".docker/daemon.json", `{"insecure-registries": ["192.0.2.0/24"]}`)
	plain.expect(check, ok)
	loop := newMachine(t, "http", 0)
	loop.program("docker", "")
	loop.names["reg.test"] = "127.0.0.1"
	loop.expect("docker daemon for "+loop.addr(), ok)
}

// install executes the plan that the fixes name.
func (m *machine) install(target trust.Target) {
	m.t.Helper()
	o := trust.Options{Root: m.o.Root, Hosts: []string{m.addr()}, CAPEM: m.ca.CAPEM(),
		PlainHTTP: strings.HasPrefix(m.o.URL, "http:"), Targets: []trust.Target{target}}
	plan, err := trust.Install(o)
	if err == nil {
		err = plan.Apply(m.t.Context(), nil, nil)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func TestDockerCredentials(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "https", 0)
	m.pointHere()
	m.program("docker", "")
	own, image := "docker credentials for "+m.addr(), registry+m.port()
	ecr := "docker credentials for " + image
	m.expect(own, warn, "no credentials", "aws ecr get-login-password | docker login --username AWS --password-stdin "+m.addr())
	m.home(".docker/config.json", `{"auths": {"`+m.addr()+`": {"auth": "c2VjcmV0"}}}`)
	m.expect(own, ok, "logged in")
	m.home(".docker/config.json", `{"credHelpers": {"`+image+`": "ecr-login", "`+m.addr()+`": "ecr-login"}}`)
	m.expect(ecr, fail, "not on the PATH", "Install docker-credential-ecr-login")
	m.program("docker-credential-ecr-login", "")
	m.expect(ecr, ok)
	m.expect(own, fail, "refuses every name", "docker login")
	m.home(".docker/config.json", `{"credHelpers": {"`+image+`": "ecr-login"}, "auths": {"https://`+image+`": {}}}`)
	m.expect(ecr, warn, "old login", "docker logout "+image)
	m.home(".docker/config.json", `{"credHelpers": {"`+registry+`": "ecr-login"}}`)
	m.expect(ecr, warn, "with the port", `"`+image+`": "ecr-login"`)
	m.home(".docker/config.json", `{"credsStore": "ecr-login"}`)
	m.expect("docker credsStore", warn, "every other one", "credHelpers")
	m.home(".docker/config.json", `{"credsStore": "desktop"}`)
	m.expect(own, fail, "docker-credential-desktop")
	m.home(".docker/config.json", `{"auths": 7}`)
	m.expect("docker credentials", fail, "config.json", "python3 -m json.tool")
	m.env["DOCKER_CONFIG"] = m.mkdir("elsewhere", 0o700)
	m.expect(own, warn, "no credentials")
}

func TestContainerd(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "https", 0)
	check, dir := "containerd for "+m.addr(), "etc/containerd/certs.d/"+m.addr()
	m.root("etc/containerd/config.toml", "version = 2\n")
	m.expect("containerd config", warn, "no config_path", "sudo systemctl restart containerd")
	m.expect(check, fail, "no folder", "sudo ecrin trust install --for containerd")
	m.root("etc/containerd/config.toml", "imports = ['/etc/containerd/conf.d/*.toml']\n")
	m.root("etc/containerd/conf.d/ecrin.toml", "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n")
	m.expect("containerd config", ok)

	m.root(dir+"/ca.crt", m.otherCA())
	m.expect(check, fail, "no CA that signs")
	m.root(dir+"/ca.crt", string(m.ca.CAPEM()))
	m.expect(check, ok)
	for content, want := range map[string]string{
		"= 1":                         "not TOML",
		"server = 'https://mirror'\n": "does not name https://" + m.addr(),
		"[host.'https://" + m.addr() + "']\ncapabilities = ['push']\n": "capabilities",
		"[host.'https://" + m.addr() + "']\nca = 'none.crt'\n":         "names no CA",
	} {
		m.root(dir+"/hosts.toml", content)
		m.expect(check, fail, want)
	}
	for _, content := range []string{
		"[host.'https://" + m.addr() + "']\nca = 'ca.crt'\n", "server = 'https://" + m.addr() + "'\nskip_verify = true\n",
	} {
		m.root(dir+"/hosts.toml", content)
		m.expect(check, ok)
	}
	if err := os.RemoveAll(filepath.Join(m.o.Root, dir)); err != nil {
		t.Fatal(err)
	}
	m.install(trust.Containerd)
	m.expect(check, ok)
	m.root("etc/containerd/config.toml", "= 1")
	m.expect("containerd config", fail, "config.toml")
	m.root("etc/containerd/config.toml", "disabled_plugins = ['cri']\n")
	m.expect("containerd", skip)

	plain := newMachine(t, "http", 0)
	plain.program("containerd", "")
	plain.expect("containerd for "+plain.addr(), fail, "--plain-http --for containerd "+plain.addr())
	plain.install(trust.Containerd)
	plain.expect("containerd for "+plain.addr(), ok)
	plain.o.URL = "http://localhost" + plain.port()
	plain.names["localhost"] = "127.0.0.1"
	plain.expect("containerd for localhost"+plain.port(), ok)
	plain.expect("containerd config", ok)
}

func TestAWS(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "https", 0)
	m.expect("AWS credentials", warn, `eval "$(ecrin env)"`)
	m.expect("AWS region", warn, "is not set", "export AWS_REGION=eu-west-1")
	m.expect("AWS endpoint for ecr", warn, "go to Amazon", "export AWS_ENDPOINT_URL="+m.o.URL)
	m.expect("AWS CA bundle", warn, "export AWS_CA_BUNDLE="+m.o.CAPath)

	m.home(".aws/config", "[default]\nregion = us-east-1\nendpoint_url = "+m.o.URL+"/\nca_bundle = "+m.o.CAPath+
		"\n[profile dev]\nservices = s\n[services s]\necr =\n  endpoint_url = http://127.0.0.9:1\n")
	m.home(".aws/credentials", "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = hunter2\n")
	m.expect("AWS credentials", ok, "profile default")
	m.expect("AWS region", warn, "is us-east-1 by the profile default")
	m.expect("AWS endpoint for ecr", ok)
	m.expect("AWS CA bundle", ok)
	m.env["AWS_PROFILE"] = "dev"
	m.expect("AWS credentials", warn)
	m.expect("AWS endpoint for ecr", warn, "127.0.0.9", "not this server")
	m.expect("AWS endpoint for sts", warn, "go to Amazon")
	m.env["AWS_ENDPOINT_URL"] = strings.Replace(m.o.URL, "https", "http", 1)
	m.expect("AWS endpoint for sts", warn, "while the server uses https")
	m.env["AWS_ENDPOINT_URL_STS"] = "https://" + outside + m.port() // the same server by address
	m.expect("AWS endpoint for sts", ok, "AWS_ENDPOINT_URL_STS")
	m.env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
	m.expect("AWS endpoint for sts", warn, "unset AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
	m.env["AWS_ACCESS_KEY_ID"] = "AKIAEXAMPLE"
	m.expect("AWS credentials", fail, "only one of")
	m.env["AWS_CA_BUNDLE"] = filepath.Join(t.TempDir(), "none.pem")
	m.expect("AWS CA bundle", fail, "cannot be read")
	m.write(m.env["AWS_CA_BUNDLE"], m.otherCA())
	m.expect("AWS CA bundle", warn, "does not contain")
	for _, c := range m.run() {
		if strings.Contains(c.Detail+c.Fix, "hunter2") {
			t.Errorf("a secret is shown: %+v", c)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "http", 0)
	for answer, want := range map[string]doctor.Status{
		"aws-cli/2.9.19 Python/3": warn, "aws-cli/2.13.0 Python/3": ok, "aws-cli/1.28.9": warn, "aws-cli/1.45.11": ok, "no such thing": skip,
	} {
		m.program("aws", answer)
		m.expect("aws CLI", want)
	}
	m.program("aws", "aws-cli/2.9.19")
	m.expect("aws CLI", warn, "aws --endpoint-url "+m.o.URL)
	m.program("docker-credential-ecr-login", "Version:    0.6.0")
	m.expect("ECR credential helper", warn, "go install")
	m.program("docker-credential-ecr-login", "Version:    0.12.0")
	m.expect("ECR credential helper", skip, "was not run")
}

func TestData(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "https", 0)
	m.expect("data folder", ok)
	m.expect("key files", ok, "1, readable")
	m.write(filepath.Join(m.o.DataDir, "master.key"), "secret")
	m.expect("key files", ok, "2, readable")
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(filepath.Join(m.o.DataDir, "master.key"), 0o640)
	m.expect("key files", fail, "chmod 600 "+filepath.Join(m.o.DataDir, "master.key"))
	chmod(m.o.DataDir, 0o750)
	m.expect("data folder", warn, "chmod 700 "+m.o.DataDir)
	chmod(m.o.DataDir, 0o777)
	m.expect("data folder", fail, "can change")
	m.free = 1 << 30
	m.expect("disk space", warn, "1.0 GiB", "du -sh")
	m.free = 1 << 20
	m.expect("disk space", fail)
	m.o.DataDir += "/none"
	m.expect("data folder", fail, "--data DIR")
}

func TestStopped(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "http", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	checks := doctor.Run(ctx, m.o)
	if len(checks) != 1 || checks[0].Status != fail {
		t.Errorf("got %+v, want one failure", checks)
	}
}

func TestDefaultsWorkOnThisMachine(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "http", 0)
	// Only the options that have no effect outside and do not depend on the machine have their defaults.
	m.o.Now, m.o.Roots = nil, nil
	if c := m.run()["disk space"]; !strings.Contains(c.Detail, "GiB are free") {
		t.Errorf("disk space is %q, want a number", c.Detail)
	}
	m.expect("clock", ok)
}

func TestRendering(t *testing.T) {
	t.Parallel()
	checks := []doctor.Check{
		{Name: "port", Status: ok, Detail: "fine"},
		{Name: "names", Status: skip, Detail: "a\x1b[31m\nb", Fix: "If <you> like: x"},
		{Name: "a longer name", Status: fail, Detail: "broken", Fix: "Do it: y"},
	}
	var text, js bytes.Buffer
	if err := doctor.WriteText(&text, checks); err != nil {
		t.Fatal(err)
	}
	want := "ok    port: fine\n" +
		"skip  names: a [31m b\n" +
		"      if needed: If <you> like: x\n" +
		"FAIL  a longer name: broken\n" +
		"      do: Do it: y\n" +
		"\n1 ok, 0 to look at, 1 failed, 1 not applicable\n"
	if text.String() != want {
		t.Errorf("text is\n%s\nwant\n%s", text.String(), want)
	}
	if err := doctor.WriteJSON(&js, checks); err != nil {
		t.Fatal(err)
	}
	var got struct {
		OK     bool
		Checks []doctor.Check
	}
	if err := json.Unmarshal(js.Bytes(), &got); err != nil || got.OK || len(got.Checks) != 3 || got.Checks[1] != checks[1] {
		t.Errorf("JSON reads back as %+v, %v:\n%s", got, err, js.String())
	}
	if !strings.Contains(js.String(), "<you>") {
		t.Errorf("JSON has escapes for HTML:\n%s", js.String())
	}
}
