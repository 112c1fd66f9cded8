package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/host/trust/clientconf"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// checkDocker checks the settings of the docker daemon, and the credentials of the docker client.
func (d *doctor) checkDocker(ctx context.Context) []Check {
	if d.docker == "" {
		return []Check{{"docker", Skip, "docker is not installed", ""}}
	}
	// The system's daemon, Docker Desktop and a rootless daemon have their files in different folders.
	dirs := []string{filepath.Join(d.Root, "etc/docker"), filepath.Join(d.Home, ".docker"), filepath.Join(d.Home, ".config/docker")}
	var daemon clientconf.DockerDaemon
	for _, dir := range dirs {
		path := filepath.Join(dir, "daemon.json")
		content, err := readMaybe(path)
		if err != nil {
			return []Check{{"docker daemon", Skip, err.Error(), ""}}
		}
		one, err := clientconf.ParseDockerDaemon(content)
		if err != nil {
			return []Check{{"docker daemon", Fail, fmt.Sprintf("%s: %v", path, err),
				"Correct the file; this shows the error: python3 -m json.tool " + quote(path)}}
		}
		daemon.InsecureRegistries = append(daemon.InsecureRegistries, one.InsecureRegistries...)
	}
	var checks []Check
	for _, host := range d.registryHosts() {
		checks = append(checks, d.dockerDaemon(ctx, host, daemon, dirs))
	}
	return append(checks, d.dockerClient()...)
}

// dockerDaemon checks whether the daemon accepts the server under one name.
func (d *doctor) dockerDaemon(ctx context.Context, host string, daemon clientconf.DockerDaemon, dirs []string) Check {
	image := d.withPort(host)
	c := Check{Name: "docker daemon for " + image, Status: OK}
	addrs, _ := d.lookup(ctx, host)
	insecure := daemon.Insecure(image, addrs)
	if d.scheme == "http" {
		if c.Detail = "may use plain HTTP"; !insecure {
			c.Status, c.Detail = Fail, "docker refuses plain HTTP with it"
			c.Fix = "List it in docker's insecure-registries; this prints how: ecrin trust install --print --plain-http --for docker " + image
		}
		return c
	}
	if d.shown[host] == nil {
		c.Status, c.Detail = Skip, "the server presented no certificate"
		return c
	}
	var certs []string
	for _, dir := range dirs {
		certs = append(certs, matches(filepath.Join(dir, "certs.d", image), "*.crt")...)
	}
	switch {
	case d.trusts(d.Roots, host):
		c.Detail = "the system trusts its certificate"
	case d.trusts(poolOf(certs), host):
		c.Detail = "trusts its certificate by " + strings.Join(certs, ", ")
	case insecure:
		c.Detail = "accepts any certificate from it (loopback or insecure-registries)"
	default:
		c.Status, c.Detail = Fail, "docker does not trust its certificate: there is no CA for it in certs.d"
		if len(certs) > 0 {
			c.Detail = "docker does not trust its certificate: the CA in " + strings.Join(certs, ", ") + " is another one"
		}
		c.Fix = d.installFor("docker", image)
	}
	return c
}

// installFor returns the instruction that makes clients trust the server's CA.
func (d *doctor) installFor(target, image string) string {
	ca := d.CAPath
	if ca == "" {
		ca = "ca.pem"
	}
	return fmt.Sprintf("Install the server's CA: sudo ecrin trust install --for %s --ca %s %s", target, quote(ca), image)
}

// ecrHost matches the names that docker-credential-ecr-login accepts as registries, without the port.
// Source: amazon-ecr-credential-helper, the pattern of registries.
var ecrHost = lazyregexp.New(`^\d{12}\.dkr[.-]ecr(-fips)?\.[a-zA-Z0-9][a-zA-Z0-9_-]*\.(amazonaws\.(com|com\.cn|eu)|on\.aws|on\.amazonwebservices\.com\.cn|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$`)

const (
	ecrLogin  = "ecr-login"
	ownHelper = "ecrin" // it is this program, under another name
)

// dockerClient checks the credential settings for each name of the registry.
func (d *doctor) dockerClient() []Check {
	dir := d.Getenv("DOCKER_CONFIG")
	if dir == "" {
		dir = filepath.Join(d.Home, ".docker")
	}
	path := filepath.Join(dir, "config.json")
	content, err := readMaybe(path)
	if err != nil {
		return []Check{{"docker credentials", Skip, err.Error(), ""}}
	}
	conf, err := clientconf.ParseDockerClient(content)
	if err != nil {
		return []Check{{"docker credentials", Fail, fmt.Sprintf("%s: %v", path, err),
			"Correct the file; this shows the error: python3 -m json.tool " + quote(path)}}
	}
	var checks []Check
	for i, host := range d.registryHosts() {
		c := d.credentials(conf, path, host)
		if i == 0 || c.Status != Warn || c.Detail != notLoggedIn { // one warning about a missing login is enough
			checks = append(checks, c)
		}
	}
	if conf.CredsStore == ecrLogin {
		checks = append(checks, Check{"docker credsStore", Warn,
			"ecr-login is set for all registries, but it stores no passwords: docker login fails for every other one",
			fmt.Sprintf("Take credsStore out of %s and name the registries instead: \"credHelpers\": {\"%s\": \"ecr-login\"}",
				path, d.withPort(d.registryHost("amazonaws.com")))})
	}
	return checks
}

const notLoggedIn = "there are no credentials for it"

func (d *doctor) credentials(conf clientconf.DockerClient, path, host string) Check {
	image := d.withPort(host)
	c := Check{Name: "docker credentials for " + image, Status: OK}
	login := "aws ecr get-login-password | docker login --username AWS --password-stdin " + image
	helper, named := conf.Helper(image)
	_, bare := conf.CredHelpers[host]
	program := "docker-credential-" + helper
	switch {
	case !named && bare && image != host:
		c.Status, c.Detail = Warn, "credHelpers names "+host+", but images are addressed with the port"
		c.Fix = fmt.Sprintf("Name the registry with its port in credHelpers of %s: \"%s\": \"%s\"", path, image, conf.CredHelpers[host])
	case helper != "" && d.find(program) == "":
		c.Status, c.Detail = Fail, "docker will call "+program+", which is not on the PATH"
		c.Fix = fmt.Sprintf("Install %s, or take it out of %s and log in: %s", program, path, login)
	case helper == ecrLogin && !ecrHost.MatchString(host):
		c.Status, c.Detail = Fail, "docker will call docker-credential-ecr-login, which refuses every name that is not one of ECR's"
		c.Fix = fmt.Sprintf("Take it out of %s for this registry and log in: %s", path, login)
	case named && conf.HasAuth(image):
		c.Status, c.Detail = Warn, "there is an old login besides the credential helper and may be used instead of it"
		c.Fix = "Remove it: docker logout " + image
	case helper == ecrLogin || helper == ownHelper:
		c.Detail = "docker calls " + program
	case conf.HasAuth(image):
		c.Detail = "docker is logged in (a password lasts 12 hours)"
	default:
		c.Status, c.Detail = Warn, notLoggedIn
		c.Fix = "Log in: " + login
	}
	return c
}

// readMaybe reads a file; a missing file has no content.
func readMaybe(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	return content, err
}

// matches returns the files in dir whose names match a pattern. Unlike with filepath.Glob, dir may contain
// brackets.
func matches(dir, pattern string) []string {
	entries, _ := os.ReadDir(dir)
	var found []string
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); ok {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found
}

// poolOf returns the CAs of some files; files that cannot be read are skipped.
func poolOf(paths []string) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, path := range paths {
		if content, err := os.ReadFile(path); err == nil {
			pool.AppendCertsFromPEM(content)
		}
	}
	return pool
}
