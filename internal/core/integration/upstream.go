package integration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Upstream is an image of an external registry that is shared with an application.
type Upstream struct {
	Host     string // of the registry, HOST or HOST:PORT; docker.io for Docker Hub
	Path     string // of the repository there
	Uncached bool   // layers are not stored
	// By are the integrations by which it is reached, in the order in which they are tried. Their ids are in Label.
	By []meta.Integration
	// Label is the part of names of repositories that tells what was fetched by one list of integrations from what was fetched by another,
	// so that an application gets nothing by an integration that is not shared with it.
	Label string
	// Version changes when an integration does.
	Version string
}

// Name returns the name by which decisions and releases know the image: HOST/PATH.
func (u *Upstream) Name() string { return u.Host + "/" + u.Path }

// Repository returns the repository of the vendor that has what was fetched. The host is a part of it: when an integration gets another
// host, what was fetched from the one before is not served as an image of the new one. Errors: fault.NameInvalid.
func (u *Upstream) Repository() (name.Repo, error) {
	return name.ParseRepo("proxy/" + u.Label + "/" + strings.ReplaceAll(u.Host, ":", "-") + "/" + u.Path)
}

// ErrNoIntegration is the cause of the denial of a registry of which the account has no integration at all.
var ErrNoIntegration = errors.New("no integration has the registry")

// Upstream returns what text, the part of a name of an image after proxy/SLUG/, names for the customers of an application. Only
// integrations that are shared with the application lead anywhere: no other host is ever reached, Docker Hub included.
//
// Errors: fault.NameInvalid, fault.AccessDenied (no integration that is shared with the application has the registry).
func (s *Service) Upstream(ctx context.Context, account name.Account, application, text string) (*Upstream, error) {
	var named meta.Integration
	var failed error
	at, ok := rewrite.ParseUpstream(text, func(first string) bool {
		i, err := s.meta.Integration(ctx, account, first)
		if err != nil {
			if !errors.Is(err, fault.IntegrationNotFound) {
				failed = err
			}
			return false
		}
		named = i
		return !isSite(i.Kind)
	})
	switch {
	case failed != nil:
		return nil, failed
	case !ok:
		return nil, fault.NameInvalid.New("%q is no image of a registry, such as registry.example.com/team/app", name.Clip(text))
	}
	rows, err := s.meta.RegistriesFor(ctx, account, application)
	if err != nil {
		return nil, err
	}
	shared, uncached := map[int64]bool{}, map[int64]bool{}
	for _, r := range rows {
		shared[r.Integration], uncached[r.Integration] = true, uncached[r.Integration] || r.Uncached
	}
	u := &Upstream{Host: at.Host, Path: at.Path}
	var all []meta.Integration
	if at.Registry != "" {
		settings, err := SettingsOf(named)
		if err != nil {
			return nil, err
		}
		if u.Host = strings.ToLower(settings.Host); rewrite.IsHub(u.Host) {
			u.Host, u.Path = rewrite.Hub, rewrite.OfHub(u.Path)
		}
		all = []meta.Integration{named}
	} else if all, err = s.forHosts(ctx, account, at.Host); err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range all {
		if !shared[i.ID] || isSite(i.Kind) {
			continue
		}
		version, err := s.Versions(ctx, i)
		if err != nil {
			return nil, err
		}
		u.By, u.Uncached, u.Version = append(u.By, i), u.Uncached || uncached[i.ID], u.Version+" "+version
		ids = append(ids, fmt.Sprint(i.ID))
	}
	if len(u.By) == 0 {
		of := at.Host
		if of == "" {
			of = at.Registry
		}
		denied := fault.AccessDenied.New("the registry %s is not shared with this application", name.Clip(of))
		if len(all) == 0 {
			denied = denied.Because(ErrNoIntegration)
		}
		return nil, denied
	}
	if u.Label = u.By[0].Name; len(u.By) > 1 {
		sum := sha256.Sum256([]byte(strings.Join(ids, " ")))
		u.Label += "." + hex.EncodeToString(sum[:6])
	}
	return u, nil
}

// forHosts returns the integrations for a host, which has several names for Docker Hub, in the order in which they are tried.
func (s *Service) forHosts(ctx context.Context, account name.Account, host string) (all []meta.Integration, err error) {
	hosts := []string{host}
	if host == rewrite.Hub {
		hosts = append(hosts, "index."+rewrite.Hub, "registry-1."+rewrite.Hub)
	}
	for _, h := range hosts {
		some, err := s.ForHost(ctx, account, h, "")
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}
