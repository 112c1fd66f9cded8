package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/configrepo"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// checkAddress checks an address to listen on.
func checkAddress(l string) error {
	if _, err := strconv.ParseUint(l, 10, 16); err == nil {
		return fmt.Errorf("want HOST:PORT, got %s: write 127.0.0.1:%s for this machine, or :%s for all addresses", l, l, l)
	}
	_, port, err := net.SplitHostPort(l)
	if n, bad := strconv.ParseUint(port, 10, 16); err == nil && (bad != nil || strconv.FormatUint(n, 10) != port) {
		err = fmt.Errorf("want a port from 0 to 65535 in %q", l)
	}
	return err
}

// organizationID matches the id of an organization. Source: Organizations API reference.
var organizationID = lazyregexp.New(`^o-[a-z0-9]{10,32}$`)

// prefixes parses ranges of addresses. A single address is a range with one element.
func prefixes(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, s := range texts {
		p, err := netip.ParsePrefix(s)
		if a, err2 := netip.ParseAddr(s); err != nil && err2 == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("want an address or a range such as 10.0.0.0/8, got %q", s)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// webIdentities parses what accounts may do with an identity of the server: ACCOUNT ROLE_ARN FILE, each pair once.
func webIdentities(texts []string) (all []integration.WebIdentity, err error) {
	for _, s := range texts {
		f := strings.Fields(s)
		bad := fmt.Errorf("want ACCOUNT ROLE_ARN FILE, each account and role once, the file with its whole path, got %q", s)
		if len(f) != 3 || !filepath.IsAbs(f[2]) || !strings.HasPrefix(f[1], "arn:") || !strings.Contains(f[1], ":role/") {
			return nil, bad
		}
		one := integration.WebIdentity{RoleARN: f[1], File: f[2]}
		if one.Account, err = name.ParseAccount(f[0]); err != nil {
			return nil, bad
		}
		for _, had := range all {
			if had.Account == one.Account && had.RoleARN == one.RoleARN {
				return nil, bad
			}
		}
		all = append(all, one)
	}
	return all, nil
}

// configPaths parses which account may use which bare repository of this machine.
func configPaths(texts []string) (all []configrepo.LocalPath, err error) {
	for _, s := range texts {
		f := strings.Fields(s)
		bad := fmt.Errorf("want ACCOUNT PATH, the whole path of a bare repository, got %q", s)
		if len(f) != 2 || !filepath.IsAbs(f[1]) || filepath.Clean(f[1]) != f[1] {
			return nil, bad
		}
		account, err := name.ParseAccount(f[0])
		if err != nil {
			return nil, bad
		}
		all = append(all, configrepo.LocalPath{Account: account, Path: f[1]})
	}
	return all, nil
}

func duration(to *time.Duration) func(string) error {
	return func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("want a duration such as 30s, got %q", s)
		}
		*to = d
		return nil
	}
}
