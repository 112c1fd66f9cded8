// Package hostcmd is the part of the command line that concerns the machine it runs on: `ecrin trust` and `ecrin doctor`.
//
// Data goes to Options.Out; everything else, as lines that start with "ecrin: ", to Options.Err.
package hostcmd

import (
	"context"
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

// Server is what the commands have to know about the server. Fields may be empty where a flag of the command fills them.
type Server struct {
	URL     string   // as clients use it: http(s)://HOST[:PORT]
	DataDir string   // the data folder if the server is on this machine
	Account string   // of the default registry
	Region  string   // of the default registry
	Domains []string // the domains that were configured
	CAPath  string   // the CA that signs the server's certificates; "" if a public one does
	TLS     bool
}

// Options are what the commands are made of.
type Options struct {
	Resolve  func(ctx context.Context) (Server, error) // called when a command needs what no flag tells it
	Out, Err io.Writer

	tune func(*doctor.Options) // lets a test replace the machine; may be nil
}

// ErrUnhealthy is the error of a doctor that found a failure. The findings are printed already.
var ErrUnhealthy = errors.New("checks failed")

func (o Options) say(format string, args ...any) {
	fmt.Fprintf(o.Err, "ecrin: "+format+"\n", args...)
}

// hosts are the addresses by which docker and its like know the server: of the URL, and the default registry's ECR names.
//
// Without TLS amazonaws.com is left out: nobody should permit plain HTTP with Amazon's names unasked.
func (s Server) hosts() ([]string, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("the server's address %q is no URL", s.URL)
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
	domains := slices.Clone(s.Domains)
	if s.TLS {
		domains = append(domains, "amazonaws.com")
	} else {
		domains = slices.DeleteFunc(domains, func(d string) bool { return d == "amazonaws.com" })
	}
	if s.Account == "" || s.Region == "" {
		return hosts, nil
	}
	account, err := name.ParseAccount(s.Account)
	if err != nil {
		return nil, err
	}
	region, err := name.ParseRegion(s.Region)
	if err != nil {
		return nil, err
	}
	for _, domain := range domains {
		host := withPort(endpoint.RegistryName(name.Registry{Account: account, Region: region}, domain))
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// quiet keeps cobra from printing usage for an error that is not about usage.
func quiet(cmd *cobra.Command) *cobra.Command {
	cmd.SilenceUsage = true
	cmd.SilenceErrors = true
	return cmd
}
