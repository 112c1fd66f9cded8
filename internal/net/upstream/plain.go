package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"

	"oras.land/oras-go/v2/registry/remote"
)

// PlainLocal reports whether a registry of this machine, localhost or a loopback address, answers by http and not by https. Other
// registries are asked by https alone: it sends nothing to them. The client is one whose guard has
// nothing in Plain.
func (c *Client) PlainLocal(ctx context.Context, host string) bool {
	if !Local(host) {
		return false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/v2/", nil)
	if err != nil {
		return false
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		_, plain := errors.AsType[tls.RecordHeaderError](err)
		return plain
	}
	_ = resp.Body.Close() // it is not read
	return false
}

// Local reports whether a host, HOST or HOST:PORT, is localhost or a loopback address.
func Local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

const maxRepositories = 100_000 // that a registry lists

// Repositories returns the names of the repositories that a registry lists, at most 100,000.
//
// Errors: an [Error], or that of ctx.
func (r *Registry) Repositories(ctx context.Context) ([]string, error) {
	list, err := remote.NewRegistry(r.host)
	if err != nil {
		return nil, invalid("the host of the registry is not valid")
	}
	list.Client, list.PlainHTTP, list.RepositoryListPageSize, list.MaxMetadataBytes = doer{r}, r.http == "http", pageSize, maxPage
	var all []string
	var own error
	err = list.Repositories(ctx, "", func(names []string) error {
		for _, one := range names {
			if _, own = r.repo(one); own != nil {
				own = r.fail(Lied, "the list has a repository whose name is not valid")
				return own
			}
		}
		if all = append(all, names...); len(all) > maxRepositories {
			own = r.fail(Lied, "the registry lists more than %d repositories", maxRepositories)
		}
		return own
	})
	if own != nil {
		return nil, own
	}
	return all, r.library(ctx, err)
}
