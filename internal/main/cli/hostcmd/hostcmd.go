// Package hostcmd implements the commands for the machine of a client: `ecrin trust`, `ecrin hosts` and `ecrin
// doctor`.
//
// Data is written to Options.Out; everything else is written to Options.Err, in lines that start with "ecrin: ".
package hostcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/host/doctor"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Server describes the server. A field may be empty if a flag of the command sets it.
type Server struct {
	URL     string   // the URL for clients: http(s)://HOST[:PORT]
	DataDir string   // the data directory if the server is on this machine
	Account string   // account of the default registry
	Region  string   // region of the default registry
	Regions []string // regions of the configuration whose ECR names are served
	Domains []string // the configured domains
	CAPath  string   // the CA that signs the server's certificates; "" for a public CA
	TLS     bool
	IAMSTS  bool // the names of IAM and STS are served
}

// Options are the dependencies of the commands.
type Options struct {
	Resolve  func(ctx context.Context) (Server, error)          // called if the flags do not describe the server
	InUse    func(ctx context.Context) ([]name.Registry, error) // the registries in use; nil if they cannot be known
	Out, Err io.Writer

	tune func(*doctor.Options) // set by tests to replace the machine; may be nil
}

// ErrUnhealthy is the error of a doctor command with a failed check. The findings have been printed.
var ErrUnhealthy = errors.New("checks failed")

func (o Options) say(format string, args ...any) {
	fmt.Fprintf(o.Err, "ecrin: "+format+"\n", args...)
}

// hosts returns the addresses of the server in image references: the host of the URL, and the ECR names of the
// registries in use.
//
// Without TLS the domains of AWS are left out: plain HTTP for Amazon's names must be requested explicitly.
func (s Server) hosts(inUse []name.Registry) ([]string, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("the server's address %q is not a URL", s.URL)
	}
	port := u.Port()
	if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		port = ""
	}
	withPort := func(host string) string {
		switch {
		case port != "":
			return net.JoinHostPort(host, port)
		case strings.Contains(host, ":"):
			return "[" + host + "]"
		}
		return host
	}
	hosts := []string{withPort(u.Hostname())}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil && addr.IsLoopback() {
		hosts = append(hosts, withPort("localhost"))
	}
	domains := slices.DeleteFunc(slices.Clone(s.Domains), func(d string) bool { return d == "amazonaws.com" })
	if s.TLS {
		domains = append(domains, "") // that of AWS for the region
	}
	if len(inUse) > maxRegistries {
		return nil, fmt.Errorf("the server has %d registries, and at most %d are set up at once: name the hosts of those that this machine uses",
			len(inUse), maxRegistries)
	}
	for _, domain := range domains {
		for _, r := range inUse {
			host := withPort(endpoint.HostNames([]name.Registry{r}, domain, false)[0])
			if !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts, nil
}

func (o Options) printJSON(v any) error {
	e := json.NewEncoder(o.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// maxRegistries limits the registries of one change: each has folders and files of each client.
const maxRegistries = 500

// quiet keeps cobra from printing errors, and the usage after errors.
func quiet(cmd *cobra.Command) *cobra.Command {
	cmd.SilenceUsage = true
	cmd.SilenceErrors = true
	return cmd
}
