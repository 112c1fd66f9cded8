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

	"github.com/ecrin-dev/ecrin/internal/doctor"
	"github.com/ecrin-dev/ecrin/internal/trust"
)

const (
	ok, warn, fail, skip = doctor.OK, doctor.Warn, doctor.Fail, doctor.Skip

	day = 24 * time.Hour
)

// healthy gives a world in which a user has done all that the documentation says.
func healthy(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "https", 0)
	w.pointHere()
	w.o.Roots.AppendCertsFromPEM(w.ca.CAPEM())
	image := registry + w.port()
	w.program("docker", "")
	w.program("containerd", "")
	w.program("docker-credential-ecr-login", "amazon-ecr-credential-helper\nVersion:    0.12.0\n")
	w.program("aws", "aws-cli/2.31.0 Python/3.13.7\n")
	w.home(".docker/config.json", `{"credHelpers": {"`+image+`": "ecr-login"}, "auths": {"`+w.addr()+`": {}}}`)
	w.root("etc/containerd/config.toml", "[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n")
	w.env["AWS_ACCESS_KEY_ID"], w.env["AWS_SECRET_ACCESS_KEY"], w.env["AWS_REGION"] = "AKIAEXAMPLE", "secret", "eu-west-1"
	w.env["AWS_ENDPOINT_URL"], w.env["AWS_CA_BUNDLE"] = w.o.URL, w.o.CAPath
	return w
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	w := healthy(t)
	checks := w.run()
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
	w := newWorld(t, "http", 0)
	w.o.DataDir = ""
	for name, status := range map[string]doctor.Status{
		"name reg.test": ok, "port": ok, "ready": ok, "clock": ok, "TLS": skip, "docker": skip, "containerd": skip,
		"aws CLI": skip, "ECR credential helper": skip, "data folder": skip, "AWS credentials": warn, "ECR names under amazonaws.com": skip,
	} {
		w.expect(name, status)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "https", 0)
	names := "ECR names under amazonaws.com"
	w.expect(names, skip, "do not resolve", "192.0.2.10 "+registry[:4], "tee -a /etc/hosts")
	w.o.Domains = []string{"amazonaws.com", "ecr.test"}
	w.expect(names, warn)
	w.expect("ECR names under ecr.test", warn, "111111111111.dkr.ecr.eu-west-1.ecr.test")
	w.pointHere()
	w.expect(names, ok)
	w.names["api.ecr.eu-west-1.amazonaws.com"] = "203.0.113.1"
	w.expect(names, warn, "lead to another server", "echo '192.0.2.10 api.ecr.eu-west-1.amazonaws.com'")
	w.o.URL = "https://" + registry + w.port()
	w.expect(names, fail)
	delete(w.names, "reg.test")
	w.o.URL = "https://reg.test" + w.port()
	w.expect("name reg.test", fail, "no such host", "/etc/hosts")
}

func TestPortAndReadiness(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "https", 0)
	w.status = 503
	w.expect("ready", fail, "503", "starting", "curl -k")
	w.o.URL = strings.Replace(w.o.URL, "https", "http", 1)
	w.expect("ready", fail, "400", "right scheme")
	w.o.URL = "https://reg.test:1"
	w.expect("port", fail, "reg.test:1", "ecrin serve")
	w.expect("clock", skip)
	w.expect("TLS reg.test", fail)
	plain := newWorld(t, "http", 0)
	plain.o.URL = strings.Replace(plain.o.URL, "http", "https", 1)
	plain.expect("ready", fail, "Use http://")
	for _, url := range []string{"", "reg.test:5100", "ftp://reg.test", "http://", "://"} {
		w.o.URL = url
		w.expect("server", fail, "http://HOST:PORT")
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "http", 0)
	for skew, want := range map[time.Duration]doctor.Status{
		30 * time.Second: ok, -30 * time.Second: ok, 2 * time.Minute: warn, -2 * time.Minute: warn, 6 * time.Minute: fail, -time.Hour: fail,
	} {
		w.skew = skew
		w.expect("clock", want)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	const check = "TLS reg.test"
	w := newWorld(t, "https", 0)
	w.expect(check, warn, "does not trust", "sudo ecrin trust install --ca "+w.o.CAPath)
	ca := w.o.CAPath
	w.o.CAPath = ""
	w.expect(check, fail, "does not know", "sudo ecrin trust install --ca ca.pem")
	w.o.CAPath = filepath.Join(t.TempDir(), "other.pem")
	w.expect("TLS", fail, "cannot be read", "ecrin doctor --ca ca.pem")
	w.write(w.o.CAPath, w.otherCA())
	w.expect(check, fail, "not signed by the CA", "Copy the CA anew")
	w.o.CAPath = ca
	w.o.Roots.AppendCertsFromPEM(w.ca.CAPEM())
	w.expect(check, ok, time.Now().Add(90*day-time.Hour).Format(time.DateOnly))
	w.names["other.test"] = outside
	w.o.URL = "https://other.test" + w.port()
	w.expect("TLS other.test", fail, "no TLS connection", "openssl s_client -connect other.test"+w.port())
}

func TestTLSDatesAndNames(t *testing.T) {
	t.Parallel()
	const check = "TLS reg.test"
	for _, tc := range []struct {
		age    time.Duration
		status doctor.Status
		words  string
	}{{85 * day, warn, "ends in"}, {100 * day, fail, "has ended on"}, {-2 * day, fail, "valid only from"}} {
		w := newWorld(t, "https", tc.age)
		w.expect(check, tc.status, tc.words)
		w.o.Roots.AppendCertsFromPEM(w.ca.CAPEM())
		w.expect(check, tc.status, tc.words)
	}
	w := newWorld(t, "https", 0)
	// A name that TLS cannot ask for gets the certificate of the address.
	w.o.URL = "https://" + outside + w.port()
	w.expect("TLS "+outside, fail, "other names")
}

func TestDockerDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "https", 0)
	w.program("docker", "")
	check := "docker daemon for " + w.addr()
	w.expect(check, fail, "no CA for it", "sudo ecrin trust install --for docker --ca "+w.o.CAPath+" "+w.addr())
	w.root("etc/docker/certs.d/"+w.addr()+"/ca.crt", w.otherCA())
	w.expect(check, fail, "is another one")
	w.root("etc/docker/daemon.json", `{"insecure-registries": ["`+w.addr()+`"]}`)
	w.expect(check, ok, "any certificate")
	w.root("etc/docker/daemon.json", `{"insecure-registries": `)
	w.expect("docker daemon", fail, "daemon.json", "python3 -m json.tool")
	w.root("etc/docker/daemon.json", "")
	w.install(trust.Docker)
	w.expect(check, ok, "certs.d")
	// Names of ECR that lead here are judged too.
	w.pointHere()
	w.expect("docker daemon for "+registry+w.port(), fail)

	plain := newWorld(t, "http", 0)
	plain.program("docker", "")
	check = "docker daemon for " + plain.addr()
	plain.expect(check, fail, "refuses plain HTTP", "--plain-http --for docker "+plain.addr())
	plain.home(".docker/daemon.json", `{"insecure-registries": ["192.0.2.0/24"]}`)
	plain.expect(check, ok)
	loop := newWorld(t, "http", 0)
	loop.program("docker", "")
	loop.names["reg.test"] = "127.0.0.1"
	loop.expect("docker daemon for "+loop.addr(), ok)
}

// install does what the fixes say.
func (w *world) install(target trust.Target) {
	w.t.Helper()
	o := trust.Options{Root: w.o.Root, Hosts: []string{w.addr()}, CAPEM: w.ca.CAPEM(), PlainHTTP: strings.HasPrefix(w.o.URL, "http:"), Targets: []trust.Target{target}}
	plan, err := trust.Install(o)
	if err == nil {
		err = plan.Apply(w.t.Context(), nil, nil)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestDockerCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "https", 0)
	w.pointHere()
	w.program("docker", "")
	own, image := "docker credentials for "+w.addr(), registry+w.port()
	ecr := "docker credentials for " + image
	w.expect(own, warn, "no credentials", "aws ecr get-login-password | docker login --username AWS --password-stdin "+w.addr())
	w.home(".docker/config.json", `{"auths": {"`+w.addr()+`": {"auth": "c2VjcmV0"}}}`)
	w.expect(own, ok, "logged in")
	w.home(".docker/config.json", `{"credHelpers": {"`+image+`": "ecr-login", "`+w.addr()+`": "ecr-login"}}`)
	w.expect(ecr, fail, "not on the PATH", "Install docker-credential-ecr-login")
	w.program("docker-credential-ecr-login", "")
	w.expect(ecr, ok)
	w.expect(own, fail, "refuses every name", "docker login")
	w.home(".docker/config.json", `{"credHelpers": {"`+image+`": "ecr-login"}, "auths": {"https://`+image+`": {}}}`)
	w.expect(ecr, warn, "old login", "docker logout "+image)
	w.home(".docker/config.json", `{"credHelpers": {"`+registry+`": "ecr-login"}}`)
	w.expect(ecr, warn, "with the port", `"`+image+`": "ecr-login"`)
	w.home(".docker/config.json", `{"credsStore": "ecr-login"}`)
	w.expect("docker credsStore", warn, "every other one", "credHelpers")
	w.home(".docker/config.json", `{"credsStore": "desktop"}`)
	w.expect(own, fail, "docker-credential-desktop")
	w.home(".docker/config.json", `{"auths": 7}`)
	w.expect("docker credentials", fail, "config.json", "python3 -m json.tool")
	w.env["DOCKER_CONFIG"] = w.mkdir("elsewhere", 0o700)
	w.expect(own, warn, "no credentials")
}

func TestContainerd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "https", 0)
	check, dir := "containerd for "+w.addr(), "etc/containerd/certs.d/"+w.addr()
	w.root("etc/containerd/config.toml", "version = 2\n")
	w.expect("containerd config", warn, "no config_path", "sudo systemctl restart containerd")
	w.expect(check, fail, "no folder", "sudo ecrin trust install --for containerd")
	w.root("etc/containerd/config.toml", "imports = ['/etc/containerd/conf.d/*.toml']\n")
	w.root("etc/containerd/conf.d/ecrin.toml", "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n")
	w.expect("containerd config", ok)

	w.root(dir+"/ca.crt", w.otherCA())
	w.expect(check, fail, "no CA that signs")
	w.root(dir+"/ca.crt", string(w.ca.CAPEM()))
	w.expect(check, ok)
	for content, want := range map[string]string{
		"= 1":                         "not TOML",
		"server = 'https://mirror'\n": "does not name https://" + w.addr(),
		"[host.'https://" + w.addr() + "']\ncapabilities = ['push']\n": "capabilities",
		"[host.'https://" + w.addr() + "']\nca = 'none.crt'\n":         "names no CA",
	} {
		w.root(dir+"/hosts.toml", content)
		w.expect(check, fail, want)
	}
	for _, content := range []string{
		"[host.'https://" + w.addr() + "']\nca = 'ca.crt'\n", "server = 'https://" + w.addr() + "'\nskip_verify = true\n",
	} {
		w.root(dir+"/hosts.toml", content)
		w.expect(check, ok)
	}
	if err := os.RemoveAll(filepath.Join(w.o.Root, dir)); err != nil {
		t.Fatal(err)
	}
	w.install(trust.Containerd)
	w.expect(check, ok)
	w.root("etc/containerd/config.toml", "= 1")
	w.expect("containerd config", fail, "config.toml")
	w.root("etc/containerd/config.toml", "disabled_plugins = ['cri']\n")
	w.expect("containerd", skip)

	plain := newWorld(t, "http", 0)
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
	w := newWorld(t, "https", 0)
	w.expect("AWS credentials", warn, `eval "$(ecrin env)"`)
	w.expect("AWS region", warn, "is not set", "export AWS_REGION=eu-west-1")
	w.expect("AWS endpoint for ecr", warn, "go to Amazon", "export AWS_ENDPOINT_URL="+w.o.URL)
	w.expect("AWS CA bundle", warn, "export AWS_CA_BUNDLE="+w.o.CAPath)

	w.home(".aws/config", "[default]\nregion = us-east-1\nendpoint_url = "+w.o.URL+"/\nca_bundle = "+w.o.CAPath+
		"\n[profile dev]\nservices = s\n[services s]\necr =\n  endpoint_url = http://127.0.0.9:1\n")
	w.home(".aws/credentials", "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = hunter2\n")
	w.expect("AWS credentials", ok, "profile default")
	w.expect("AWS region", warn, "is us-east-1 by the profile default")
	w.expect("AWS endpoint for ecr", ok)
	w.expect("AWS CA bundle", ok)
	w.env["AWS_PROFILE"] = "dev"
	w.expect("AWS credentials", warn)
	w.expect("AWS endpoint for ecr", warn, "127.0.0.9", "not this server")
	w.expect("AWS endpoint for sts", warn, "go to Amazon")
	w.env["AWS_ENDPOINT_URL"] = strings.Replace(w.o.URL, "https", "http", 1)
	w.expect("AWS endpoint for sts", warn, "while the server speaks https")
	w.env["AWS_ENDPOINT_URL_STS"] = "https://" + outside + w.port() // the same server by address
	w.expect("AWS endpoint for sts", ok, "AWS_ENDPOINT_URL_STS")
	w.env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
	w.expect("AWS endpoint for sts", warn, "unset AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
	w.env["AWS_ACCESS_KEY_ID"] = "AKIAEXAMPLE"
	w.expect("AWS credentials", fail, "only one of")
	w.env["AWS_CA_BUNDLE"] = filepath.Join(t.TempDir(), "none.pem")
	w.expect("AWS CA bundle", fail, "cannot be read")
	w.write(w.env["AWS_CA_BUNDLE"], w.otherCA())
	w.expect("AWS CA bundle", warn, "does not hold")
	for _, c := range w.run() {
		if strings.Contains(c.Detail+c.Fix, "hunter2") {
			t.Errorf("a secret is shown: %+v", c)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "http", 0)
	for answer, want := range map[string]doctor.Status{
		"aws-cli/2.9.19 Python/3": warn, "aws-cli/2.13.0 Python/3": ok, "aws-cli/1.28.9": warn, "aws-cli/1.45.11": ok, "no such thing": skip,
	} {
		w.program("aws", answer)
		w.expect("aws CLI", want)
	}
	w.program("aws", "aws-cli/2.9.19")
	w.expect("aws CLI", warn, "aws --endpoint-url "+w.o.URL)
	w.program("docker-credential-ecr-login", "Version:    0.6.0")
	w.expect("ECR credential helper", warn, "go install")
	w.program("docker-credential-ecr-login", "Version:    0.12.0")
	w.expect("ECR credential helper", ok)
}

func TestData(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "https", 0)
	w.expect("data folder", ok)
	w.expect("key files", ok, "1, readable")
	w.write(filepath.Join(w.o.DataDir, "master.key"), "secret")
	w.expect("key files", ok, "2, readable")
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(filepath.Join(w.o.DataDir, "master.key"), 0o640)
	w.expect("key files", fail, "chmod 600 "+filepath.Join(w.o.DataDir, "master.key"))
	chmod(w.o.DataDir, 0o750)
	w.expect("data folder", warn, "chmod 700 "+w.o.DataDir)
	chmod(w.o.DataDir, 0o777)
	w.expect("data folder", fail, "can change")
	w.free = 1 << 30
	w.expect("disk space", warn, "1.0 GiB", "du -sh")
	w.free = 1 << 20
	w.expect("disk space", fail)
	w.o.DataDir += "/none"
	w.expect("data folder", fail, "--data DIR")
}

func TestStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "http", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	checks := doctor.Run(ctx, w.o)
	if len(checks) != 1 || checks[0].Status != fail {
		t.Errorf("got %+v, want one failure", checks)
	}
}

func TestDefaultsWorkOnThisMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "http", 0)
	// Only what has no effect outside and does not depend on the machine is left to its default.
	w.o.Free, w.o.Now, w.o.Roots = nil, nil, nil
	if c := w.run()["disk space"]; !strings.Contains(c.Detail, "GiB are free") {
		t.Errorf("disk space says %q, want a number", c.Detail)
	}
	w.expect("clock", ok)
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
