package vendor

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// checkPath is the part of a path that asks for updates, which no channel may have as its slug.
const checkPath = "pending"

var domainText = lazyregexp.New(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?$`)

// IsDomain reports whether a text is a host with or without a port, without scheme and path.
func IsDomain(s string) bool { return domainText.MatchString(s) }

// The limits of an answer to a check for updates.
const (
	maxOffers     = 200     // newest versions
	maxRequired   = 200     // required versions, beside them
	maxOfferNotes = 1 << 20 // bytes of release notes in all
)

// licensee returns the application and the customer of a caller. The application must have the slug.
//
// Errors: fault.AccessDenied (the licence is of another application), fault.LicenseInvalid (the customer was deleted).
func (s *Service) licensee(ctx context.Context, by identity.Caller, slug string) (a meta.Application, c meta.Customer, err error) {
	_, named, err := name.ParseEntityARN(by.ARN)
	if by.Kind != identity.Customer || err != nil {
		return a, c, fault.AccessDenied.New("only customers ask for updates, with a licence")
	}
	own, id, _ := strings.Cut(named.Name, "/")
	if own != slug {
		return a, c, fault.AccessDenied.New("the licence is not of the application %s", name.Clip(slug))
	}
	if a, err = s.meta.Application(ctx, by.Account, own); err == nil {
		c, err = s.meta.Customer(ctx, a, id)
	}
	if errors.Is(err, fault.ObjectNotFound) {
		err = fault.LicenseInvalid.New("the licence is not valid").Because(err)
	}
	return a, c, err
}

// channelOf returns the channel of a customer that a request names by its id, slug or name; with "" the default one. pinned is the sequence
// of the newest version that the customer is offered; 0 for any.
//
// Errors: fault.AccessDenied (the licence is not for the channel).
func (s *Service) channelOf(ctx context.Context, a meta.Application, c meta.Customer, asked string) (
	of meta.Channel, pinned int64, err error) {
	first := true
	for _, one := range c.Channels {
		if asked == "" && !one.Default && !first {
			continue
		}
		channel, err := s.meta.Channel(ctx, a.ID, one.Channel)
		if err != nil {
			return of, 0, err
		}
		if asked == "" || asked == channel.ID || asked == channel.Slug || asked == channel.Name {
			of, pinned, first = channel, one.Pinned, false
			if asked != "" || one.Default {
				break
			}
		}
	}
	switch {
	case of.ID != "":
		return of, pinned, nil
	case asked == "":
		return of, 0, fault.AccessDenied.New("the licence is for no channel")
	}
	return of, 0, fault.AccessDenied.New("the licence is not for the channel %s", name.Clip(asked))
}

// Check is a question for updates.
type Check struct {
	Channel  string // id, slug or name; "" for the default channel of the licence
	Sequence int64  // of the channel, of the version that is installed; 0 for none
	Newest   bool   // the newest version is the first in the answer
}

// Offers returns the versions that a customer may install after the one that it has, the oldest first: the newest 200, and those that are
// required. Demoted ones are not among them, nor those after the one to which the customer is pinned. On a channel with semantic versions
// they are in the order of these, and only what is later than the installed version is offered.
//
// Errors: fault.AccessDenied, fault.LicenseInvalid.
func (s *Service) Offers(ctx context.Context, by identity.Caller, slug string, q Check) ([]meta.Promotion, error) {
	a, c, err := s.licensee(ctx, by, slug)
	if err != nil {
		return nil, err
	}
	channel, pinned, err := s.channelOf(ctx, a, c, q.Channel)
	if err != nil {
		return nil, err
	}
	above, installed := q.Sequence, semver.Version{}
	if channel.SemverRequired {
		above = 0
		if p, err := s.meta.Promotion(ctx, channel.ID, q.Sequence); err == nil {
			installed, _ = semver.Parse(p.Label)
		} else if !errors.Is(err, fault.ObjectNotFound) {
			return nil, err
		}
	}
	all, err := s.meta.Offers(ctx, channel.ID, above, pinned, false, maxOffers)
	if err != nil {
		return nil, err
	}
	if len(all) == maxOffers {
		required, err := s.meta.Offers(ctx, channel.ID, above, all[len(all)-1].Sequence-1, true, maxRequired)
		if err != nil {
			return nil, err
		}
		all = append(all, required...)
	}
	if channel.SemverRequired {
		all = later(all, q.Sequence, installed)
	}
	notes := 0
	for i := range all {
		if notes += len(all[i].Notes); notes > maxOfferNotes {
			all[i].Notes = ""
		}
	}
	if !q.Newest {
		slices.Reverse(all)
	}
	return all, nil
}

// later returns the versions that come after the installed one, the latest first. A label that is no semantic version, because the channel
// did not ask for one then, counts as the lowest.
func later(all []meta.Promotion, sequence int64, installed semver.Version) []meta.Promotion {
	version := func(p meta.Promotion) semver.Version { v, _ := semver.Parse(p.Label); return v }
	all = slices.DeleteFunc(all, func(p meta.Promotion) bool {
		return p.Sequence == sequence || sequence > 0 && semver.Compare(version(p), installed) <= 0
	})
	slices.SortStableFunc(all, func(a, b meta.Promotion) int { return semver.Compare(version(b), version(a)) })
	return all
}

// Download is a version of an application that a customer has asked for.
type Download struct {
	meta.Promotion
	Channel meta.Channel
	Places  Places
	Files   []rewrite.File
	Charts  []string // names of the charts among the files
	// Names are the names at the proxy of the registries with a port that the files name, by host: paths of images have no colon.
	Names map[string]string
}

// Download returns a version with its files: the one with a sequence of the channel, or with 0 the newest that is offered; on a channel
// with semantic versions the latest. at has the addresses that the version names if it has none of its own.
//
// Errors: fault.ObjectNotFound (there is no such version, or it is not offered), fault.AccessDenied, fault.LicenseInvalid.
func (s *Service) Download(ctx context.Context, by identity.Caller, slug, channel string, sequence int64, at Places) (Download, error) {
	a, c, err := s.licensee(ctx, by, slug)
	if err != nil {
		return Download{}, err
	}
	of, pinned, err := s.channelOf(ctx, a, c, channel)
	if err != nil {
		return Download{}, err
	}
	d := Download{Channel: of, Places: at}
	if sequence == 0 {
		limit := 1
		if of.SemverRequired {
			limit = maxOffers
		}
		all, err := s.meta.Offers(ctx, of.ID, 0, pinned, false, limit)
		if err != nil {
			return Download{}, err
		}
		if of.SemverRequired {
			all = later(all, 0, semver.Version{})
		}
		if len(all) == 0 {
			return Download{}, fault.ObjectNotFound.New("the channel %s has no version", of.Name)
		}
		d.Promotion = all[0]
	} else if d.Promotion, err = s.meta.Promotion(ctx, of.ID, sequence); err != nil {
		return Download{}, err
	}
	if !d.DemotedAt.IsZero() || pinned > 0 && d.Sequence > pinned {
		return Download{}, fault.ObjectNotFound.New("the version %s of the channel %s is not offered", d.Label, of.Name)
	}
	r, err := s.meta.Release(ctx, a.ID, d.Release)
	if err != nil {
		return Download{}, err
	}
	if d.Files, err = Files(r); err != nil {
		return Download{}, err
	}
	d.Places.Proxy, d.Places.Registry = cmp.Or(d.ProxyDomain, at.Proxy), cmp.Or(d.RegistryDomain, at.Registry)
	d.Charts = charts(d.Files)
	if d.Names, err = s.registryNames(ctx, a, d.Files); err != nil {
		return Download{}, err
	}
	return d, nil
}

// registryNames returns the names at the proxy of the registries with a port that files name: those of the integrations that are shared
// with the application. Of two for one host, the first counts.
func (s *Service) registryNames(ctx context.Context, a meta.Application, files []rewrite.File) (map[string]string, error) {
	rows, err := s.meta.RegistriesFor(ctx, a.Account, a.ID)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, r := range rows {
		i, err := s.meta.IntegrationByID(ctx, r.Integration)
		if errors.Is(err, fault.IntegrationNotFound) {
			continue // it was deleted since
		}
		if err != nil {
			return nil, err
		}
		var settings struct {
			Host string `json:"host"`
		}
		if err := json.Unmarshal([]byte(i.Settings), &settings); err != nil {
			return nil, fmt.Errorf("the settings of the integration %s: %w", i.Name, err)
		}
		host := settings.Host
		named := func(f rewrite.File) bool { return bytes.Contains(f.Data, []byte(host)) }
		if names[host] == "" && strings.Contains(host, ":") && slices.ContainsFunc(files, named) {
			names[host] = i.Name
		}
	}
	return names, nil
}

// charts returns the names of the charts that files of the kind HelmChart name, sorted.
func charts(files []rewrite.File) []string {
	var all []string
	for _, f := range files {
		if !strings.HasSuffix(f.Path, ".yaml") && !strings.HasSuffix(f.Path, ".yml") || !strings.Contains(string(f.Data), "HelmChart") {
			continue
		}
		var chart struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string `yaml:"kind"`
			Spec       struct {
				Chart struct {
					Name string `yaml:"name"`
				} `yaml:"chart"`
			} `yaml:"spec"`
		}
		if safeyaml.Unmarshal(f.Data, &chart) == nil && chart.Kind == "HelmChart" && strings.HasPrefix(chart.APIVersion, "kots.io/") &&
			name.Clip(chart.Spec.Chart.Name) == chart.Spec.Chart.Name && chart.Spec.Chart.Name != "" {
			all = append(all, chart.Spec.Chart.Name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Archive writes the files of a version as a compressed tar archive. Equal versions are equal archives.
func (d Download) Archive(w io.Writer) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for _, f := range d.Files {
		if err := t.WriteHeader(&tar.Header{Name: f.Path, Mode: 0o644, Size: int64(len(f.Data)), Format: tar.FormatPAX,
			ModTime: d.PromotedAt.Truncate(time.Second)}); err != nil {
			return fmt.Errorf("packing %s: %w", f.Path, err)
		}
		if _, err := t.Write(f.Data); err != nil {
			return fmt.Errorf("packing %s: %w", f.Path, err)
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

// OwnLicense returns the licence of the customer who calls, as a file.
//
// Errors: fault.AccessDenied, fault.LicenseInvalid, and those of License.
func (s *Service) OwnLicense(ctx context.Context, by identity.Caller, slug string, v license.Version, at Places) ([]byte, error) {
	a, c, err := s.licensee(ctx, by, slug)
	if err != nil {
		return nil, err
	}
	return s.License(ctx, a, c, v, at)
}
