package hostcmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/host/hosts"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// hostsFlags are the flags of hosts.
type hostsFlags struct {
	accounts, regions, domains    []string
	address, url                  string
	iamSTS, write, remove, asJSON bool
}

// NewHostsCommand returns `ecrin hosts`.
func NewHostsCommand(o Options) *cobra.Command {
	var f hostsFlags
	cmd := quiet(&cobra.Command{
		Use:   "hosts [FILE]",
		Short: "Make the ECR names of the server resolve on this machine",
		Long: `Print the lines for /etc/hosts that make the ECR names of the server resolve to
it, or write them with --write. Clients that require these names need them where
no DNS server has them: the credential helpers of AWS, older SDKs and CLIs.

Without --account and --region the names are those of the registries in use: every
account in the default region, and every region in which it has repositories. The
names of IAM and STS are only printed with --with-iam-sts: with them, all calls of
the AWS tools on this machine go to ecrin unless they have an endpoint.

The lines are between two marks. --write replaces the lines between the marks, or
adds them at the end of FILE (default: the hosts file of the system), and changes
nothing else; --remove removes them. Both can be repeated.`,
		Example: `  ecrin hosts
  sudo ecrin hosts --write
  sudo ecrin hosts --remove

  # on another machine, without the data directory of the server
  sudo ecrin hosts --account 111122223333 --region eu-west-1 --address 10.0.0.7 --write`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.hostsFile(cmd.Context(), f, args) },
	})
	cmd.SetOut(o.Out)
	cmd.SetErr(o.Err)
	flags := cmd.Flags()
	flags.StringSliceVar(&f.accounts, "account", nil, "the `accounts` whose registries get names; default: those of the server")
	flags.StringSliceVar(&f.regions, "region", nil, "the `regions` of these registries; default: those in use on the server")
	flags.StringSliceVar(&f.domains, "domain", nil,
		"the `domains` that end the names; default: that of AWS, and the domains of the server's configuration")
	flags.BoolVar(&f.iamSTS, "with-iam-sts", false, "also the names of IAM and STS (the private CA needs serve --tls-iam-sts for them)")
	flags.StringVar(&f.address, "address", "", "the `address` that the names resolve to; default: that of the server")
	flags.StringVar(&f.url, "url", "", "the server's address, http(s)://HOST[:PORT], for a server on another machine")
	flags.BoolVar(&f.write, "write", false, "write the lines to FILE")
	flags.BoolVar(&f.remove, "remove", false, "remove the lines from FILE")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON: {\"address\", \"names\"}")
	cmd.MarkFlagsMutuallyExclusive("write", "remove", "json")
	return cmd
}

// hostsPath returns the path of the hosts file of the system.
func hostsPath() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("SystemRoot"), "System32", "drivers", "etc", "hosts")
	}
	return "/etc/hosts"
}

func (o Options) hostsFile(ctx context.Context, f hostsFlags, args []string) error {
	path := hostsPath()
	if len(args) > 0 {
		if path = args[0]; !f.write && !f.remove {
			return fmt.Errorf("what is to be done with %s? Give --write or --remove", path)
		}
	}
	if f.remove {
		return o.updateHosts(path, "", "removed the names of ecrin from ")
	}
	addr, names, s, err := o.hostNames(ctx, f)
	if err != nil {
		return err
	}
	o.uncertified(s, names)
	if f.asJSON {
		return o.printJSON(map[string]any{"address": addr, "names": names})
	}
	block, err := hosts.Block(addr, names)
	if err != nil {
		return err
	}
	if !f.write {
		_, err := fmt.Fprint(o.Out, block)
		return err
	}
	if content, err := os.ReadFile(path); err == nil {
		for _, line := range hosts.Elsewhere(content, addr, names) {
			o.say("this line of %s is for another address: remove it if it comes before the names of ecrin: %s", path, line)
		}
	}
	return o.updateHosts(path, block, fmt.Sprintf("wrote %d names to ", len(names)))
}

// updateHosts replaces the block of a hosts file, and says what was done.
func (o Options) updateHosts(path, block, done string) error {
	changed, err := hosts.Update(path, block)
	if errors.Is(err, fs.ErrPermission) {
		o.say("hint: run it with sudo")
	}
	if err != nil {
		return err
	}
	if !changed {
		o.say("nothing to change in %s", path)
		return nil
	}
	o.say("%s%s", done, path)
	return nil
}

// uncertified says which names resolve to the server but get no certificate from its private CA.
func (o Options) uncertified(s Server, names []string) {
	if s.CAPath == "" {
		return
	}
	served := endpoint.Served{IAMSTS: s.IAMSTS, Domains: s.Domains}
	for _, text := range s.Regions {
		if r, err := name.ParseRegion(text); err == nil {
			served.Regions = append(served.Regions, r)
		}
	}
	subtrees := served.Subtrees()
	for _, n := range names {
		if !endpoint.Within(n, subtrees) {
			o.say("the server has no certificate for %s; %s", n, served.Advice(n))
			return // one is enough: the advice is for serve
		}
	}
}

// hostNames returns the address and the names of the block, and the server if that was needed.
func (o Options) hostNames(ctx context.Context, f hostsFlags) (netip.Addr, []string, Server, error) {
	var s Server
	if len(f.accounts) == 0 || len(f.regions) == 0 || f.address == "" && f.url == "" {
		var err error
		if s, err = o.Resolve(ctx); err != nil {
			return netip.Addr{}, nil, s, fmt.Errorf("finding the server (or give --account, --region, and --address or --url): %w", err)
		}
	}
	if f.url != "" {
		s.URL = f.url
	}
	registries, err := o.registries(ctx, f, s)
	if err != nil {
		return netip.Addr{}, nil, s, err
	}
	domains := f.domains
	if len(domains) == 0 {
		domains = append([]string{""}, s.Domains...)
	}
	var names []string
	for _, d := range domains {
		if d == "amazonaws.com" { // with the domains of its other partitions
			d = ""
		}
		for _, n := range endpoint.HostNames(registries, d, f.iamSTS) {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	addr, err := o.address(ctx, f.address, s.URL)
	return addr, names, s, err
}

// registries returns the registries that get names.
func (o Options) registries(ctx context.Context, f hostsFlags, s Server) ([]name.Registry, error) {
	var accounts []name.Account
	for _, text := range f.accounts {
		a, err := name.ParseAccount(text)
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, a)
	}
	var regions []name.Region
	for _, text := range f.regions {
		r, err := name.ParseRegion(text)
		if err != nil {
			return nil, err
		}
		regions = append(regions, r)
	}
	if len(accounts) > 0 && len(regions) > 0 {
		return cross(accounts, regions), nil
	}
	used := o.inUse(ctx, s)
	if len(used) == 0 {
		return nil, errors.New("the accounts and regions of the server are not known: give --account and --region")
	}
	var all []name.Registry
	for _, r := range used {
		as, rs := accounts, regions
		if len(as) == 0 {
			as = []name.Account{r.Account}
		}
		if len(rs) == 0 {
			rs = []name.Region{r.Region}
		}
		all = append(all, cross(as, rs)...)
	}
	return all, nil
}

func cross(accounts []name.Account, regions []name.Region) []name.Registry {
	var all []name.Registry
	for _, a := range accounts {
		for _, r := range regions {
			all = append(all, name.Registry{Account: a, Region: r})
		}
	}
	return all
}

// inUse returns the default registry, those of the default account in the regions of the configuration, and those that InUse finds.
func (o Options) inUse(ctx context.Context, s Server) []name.Registry {
	account, err := name.ParseAccount(s.Account)
	if err != nil {
		return nil
	}
	var all []name.Registry
	add := func(r name.Registry) {
		if !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	for _, text := range append([]string{s.Region}, s.Regions...) {
		if region, err := name.ParseRegion(text); err == nil {
			add(name.Registry{Account: account, Region: region})
		}
	}
	if o.InUse == nil || s.DataDir == "" {
		return all
	}
	used, err := o.InUse(ctx)
	if err != nil {
		o.say("the accounts of the server are not known, only the default registry: %v", err)
	}
	for _, r := range used {
		add(r)
	}
	return all
}

// address returns the address of the server.
func (o Options) address(ctx context.Context, given, server string) (netip.Addr, error) {
	host := given
	if host == "" {
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" {
			return netip.Addr{}, fmt.Errorf("the server's address %q is not a URL: give --address", server)
		}
		host = u.Hostname()
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap(), nil
	}
	if given != "" {
		return netip.Addr{}, fmt.Errorf("--address wants an IP address, got %q", name.Clip(given))
	}
	if host == "localhost" {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		return netip.Addr{}, fmt.Errorf("the address of %s is not known: give --address: %w", host, err)
	}
	return found[0].Unmap(), nil
}
