package cli

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// image is a repository, and a tag or digest in it, as given by an argument.
type image struct {
	registry name.Registry // the default registry of the server if the text names none
	named    bool          // the text names the registry
	repo     name.Repo
	tag      name.Tag
	digest   name.Digest
}

// parseImage parses [HOST/][ACCOUNT/REGION/]REPOSITORY[:TAG][@DIGEST] for the server s. The text before the first
// slash is a host if it has a port, is an address or localhost, or is a name of the server: names of repositories may
// contain dots too. The error has the public text.
func parseImage(s *client.Client, text string) (image, error) {
	account, err1 := name.ParseAccount(s.Server.Account)
	region, err2 := name.ParseRegion(s.Server.Region)
	if err := errors.Join(err1, err2); err != nil {
		return image{}, fmt.Errorf("reading where the server is: %w", err)
	}
	hosts := endpoint.NewMap(s.Server.Domains, name.Registry{Account: account, Region: region})
	var host endpoint.Host
	var badHost error
	ref, err := name.ParseImageRef(text, func(first string) name.HostKind {
		h, err := hosts.Parse(first)
		switch {
		case err != nil:
			badHost = err
		case h.Kind == endpoint.Registry:
			host = h
			return name.RegistryHost
		case isHost(s, first):
			return name.AnyHost
		}
		return name.NoHost
	})
	if err := errors.Join(badHost, err); err != nil {
		return image{}, errors.New(fault.From(err).Public)
	}
	out := image{registry: ref.Registry, named: true, repo: ref.Repo, tag: ref.Tag, digest: ref.Digest}
	switch {
	case host.Kind == endpoint.Registry:
		out.registry = host.Registry
	case ref.Registry == (name.Registry{}):
		out.registry, out.named = hosts.Default(), ref.Host != ""
	}
	return out, nil
}

func isHost(s *client.Client, first string) bool {
	own, err := url.Parse(s.Server.URL)
	return strings.Contains(first, ":") || first == "localhost" || net.ParseIP(first) != nil ||
		slices.Contains(s.Server.Domains, first) || err == nil && own.Hostname() == first
}
