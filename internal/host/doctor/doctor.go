// Package doctor finds the reasons why a registry cannot be used from this machine. It checks names, port, TLS,
// clock, docker, containerd, the AWS tools, and the server's data folder.
//
// [Run] returns a list of [Check] values; each one with a problem has one sentence, with the exact command,
// that says how to correct it. Run only reads: it changes nothing. With the access key of the environment it signs one call
// of GetCallerIdentity to the server; it sends no secret access key and no docker password. The credential helper of AWS, which
// it runs, signs another call and writes its own log.
package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Status is the outcome of a check.
type Status string

// The outcomes. Warn means that some clients do not work or will stop working soon; Skip means not applicable.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
	Skip Status = "skip"
)

// Check is the result of one check.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`        // the finding
	Fix    string `json:"fix,omitempty"` // the instruction; set for Warn and Fail
}

// Options describe the server to check and the environment. All fields except URL, Account and Region may be
// empty; the default functions and folders are those of the machine.
type Options struct {
	URL     string // URL of the server, as clients use it: http(s)://HOST[:PORT]
	Account name.Account
	Region  name.Region
	Domains []string        // domains of the server's ECR names; amazonaws.com and localhost are always included
	InUse   []name.Registry // registries of the server beside that of Account and Region, whose names are checked too
	IAMSTS  bool            // the names of IAM and STS are wanted too
	CAPath  string          // the CA of the server's certificate; "" if it is a public CA
	DataDir string          // the server's data folder, if the server is on this machine

	Lookup   func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	Command  func(ctx context.Context, path string, args ...string) (output string, err error)
	Helper   func(ctx context.Context, path, input string) (output string, err error) // runs a credential helper: PATH get <input
	Free     func(dir string) (bytes int64, err error)                                // free disk space; needed with DataDir
	Getenv   func(key string) string
	Now      func() time.Time
	Roots    *x509.CertPool // the system's CAs
	PathDirs []string       // folders of programs
	Root     string         // root folder of the machine, default "/"
	Home     string         // home folder of the user
	Timeout  time.Duration  // of each connection and each run of a program; 0 means 5 s
}

// server is the server's address in Options, after validation.
type server struct {
	scheme, host, port string
	addr               string // host:port as in image names: without the scheme's default port
	dial               string // host:port, always with a port
}

// doctor is the state of one call of Run.
type doctor struct {
	Options
	server
	aws     awsSettings    // see checkAWS
	hasKeys bool           // there are credentials, valid or not; see checkAWS
	docker  string         // the docker client's path; "" if there is none
	ca      []byte         // content of CAPath
	pool    *x509.CertPool // the certificates of ca; nil without a CA
	caErr   error
	own     []netip.Addr                   // addresses of the server's own name
	names   []domainNames                  // see checkNames
	shown   map[string][]*x509.Certificate // the certificates that the server presents for a name; see checkTLS
}

// Run makes all checks. If ctx ends, it returns the checks made so far and one with the status Fail.
func Run(ctx context.Context, o Options) []Check {
	d, err := newDoctor(o)
	if err != nil {
		return []Check{{"server", Fail, err.Error(), "Give the server's address as http://HOST:PORT or https://HOST:PORT."}}
	}
	var checks []Check
	for _, part := range []func(context.Context) []Check{
		d.checkNames, d.checkPort, d.checkTLS, d.checkReady,
		d.checkDocker, d.checkContainerd, d.checkAWS, d.checkData,
	} {
		if ctx.Err() != nil {
			return append(checks, Check{"doctor", Fail, "was stopped before all checks were made", "Run it again: ecrin doctor"})
		}
		checks = append(checks, part(ctx)...)
	}
	return checks
}

// Failed returns the number of checks with the status Fail.
func Failed(checks []Check) int {
	n := 0
	for _, c := range checks {
		if c.Status == Fail {
			n++
		}
	}
	return n
}

func newDoctor(o Options) (*doctor, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("the server's address %q is not an http or https URL", name.Clip(o.URL))
	}
	s := server{scheme: u.Scheme, host: u.Hostname(), port: u.Port(), addr: strings.ToLower(u.Host)}
	own := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if s.port == "" {
		s.port = own
	}
	if s.port == own {
		s.addr = strings.TrimSuffix(s.addr, ":"+own)
	}
	s.dial = net.JoinHostPort(s.host, s.port)
	d := &doctor{Options: o.withDefaults(), server: s, shown: map[string][]*x509.Certificate{}}
	d.docker = d.find("docker")
	if d.CAPath != "" {
		if d.ca, d.caErr = os.ReadFile(d.CAPath); d.caErr == nil {
			d.pool = x509.NewCertPool()
			if !d.pool.AppendCertsFromPEM(d.ca) {
				d.pool, d.caErr = nil, errors.New("no certificate in it")
			}
		}
	}
	return d, nil
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Command == nil {
		o.Command = func(ctx context.Context, path string, args ...string) (string, error) {
			out, err := exec.CommandContext(ctx, path, args...).CombinedOutput() // aws 1.x writes its version to stderr
			return string(out), err
		}
	}
	if o.Helper == nil {
		o.Helper = runHelper
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Roots == nil {
		if o.Roots, _ = x509.SystemCertPool(); o.Roots == nil {
			o.Roots = x509.NewCertPool()
		}
	}
	if o.PathDirs == nil {
		o.PathDirs = filepath.SplitList(o.Getenv("PATH"))
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Home == "" {
		o.Home, _ = os.UserHomeDir()
	}
	return o
}

// find returns the path of a program, or "" if there is none.
func (d *doctor) find(program string) string {
	for _, dir := range d.PathDirs {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// registryHost returns the registry's ECR name under a domain.
func (d *doctor) registryHost(domain string) string {
	return endpoint.RegistryName(name.Registry{Account: d.Account, Region: d.Region}, domain)
}

// withPort returns a name with the server's port, as in image names.
func (d *doctor) withPort(host string) string {
	if _, port, err := net.SplitHostPort(d.addr); err == nil {
		return net.JoinHostPort(host, port)
	}
	return host
}

// quote returns s as one word of a shell command.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._:=@%+,-~") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
