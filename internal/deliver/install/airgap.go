package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	carried "github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// ErrAirgap says that something needs the server of the vendor, which an installation from airgap bundles does not ask.
var ErrAirgap = errors.New("the application was installed from an airgap bundle, and the vendor is not asked: get a bundle of the new " +
	"version, and run ecrin update airgap FILE (with a network again: ecrin update registry --none)")

// airgapDir has the contents of an airgap bundle while it is installed, in the folder of an installation.
const airgapDir = "airgap"

// AirgapBundle is an airgap bundle to take a version from.
type AirgapBundle struct {
	Path     string
	Revoked  []string  // lists of the ids of keys that are refused
	Registry *Registry // that gets the images from now on; nil for the one of the installation
}

// Airgap takes a version from an airgap bundle: it verifies the bundle with the licence, unpacks it, pushes its images to the registry of
// the customer, and makes the version, which pulls all images from there. Neither the server of the vendor nor another registry is asked.
// What is in the registry already is not sent: after an error, or the end of the process, a second call goes on. Of a version that is in
// the history already, only the images are pushed again.
//
// Errors: the licence has ended, permits no airgap installation, or is for another application or channel; those of bundle.OpenAirgap and
// Unpack; releases that are required before it were not installed; a later version is there; those of the registry; an image that an
// object names is neither in the bundle nor in the registry.
func (i *Installation) Airgap(ctx context.Context, from AirgapBundle) (Version, error) {
	if err := i.mayAirgap(); err != nil {
		return Version{}, err
	}
	next := i.state
	if from.Registry != nil {
		next.Registry = from.Registry
	}
	if next.Registry == nil {
		return Version{}, errors.New("a registry of your own is needed, which gets the images of the bundle: name it by --registry")
	}
	keys, err := i.keys(from.Revoked)
	if err != nil {
		return Version{}, err
	}
	a, err := bundle.OpenAirgap(from.Path, keys)
	if err != nil {
		return Version{}, fmt.Errorf("nothing was changed: %w", err)
	}
	defer a.Close()
	v, known, err := i.offered(a.Statement)
	if err != nil {
		return v, fmt.Errorf("nothing was changed: %w", err)
	}
	i.o.Say("unpacking the version %s with %d images", v.Label, len(a.Statement.Images))
	u, err := a.Unpack(ctx, filepath.Join(i.dir, airgapDir), i.o.Bundled)
	if err != nil {
		return v, fmt.Errorf("nothing was changed: %w", err)
	}
	i.unpacked = u
	defer func() {
		i.unpacked = nil
		if err := u.Remove(); err != nil {
			i.o.Say("the folder with the unpacked bundle stays: %v", err)
		}
	}()
	files, err := unpack(u.App)
	if err != nil {
		return v, fmt.Errorf("nothing was changed: the files of the version %s: %w", v.Label, err)
	}
	if known {
		e, closed, err := i.engine()
		if err != nil {
			return v, err
		}
		defer closed()
		_, out, _, err := i.output(ctx, e, v, next, files)
		if err != nil {
			return v, err
		}
		return v, i.provide(ctx, next.Registry, out)
	}
	if err := i.build(ctx, v, files, func(s *state) { s.Registry = next.Registry }); err != nil {
		return v, err
	}
	return i.Version(v.Sequence)
}

// mayAirgap checks what the licence permits.
func (i *Installation) mayAirgap() error {
	if !i.license.Features.Airgap {
		return errors.New("the licence does not permit an installation without a network: ask the vendor for one with the feature airgap")
	}
	return ended(i.license, i.o.Now())
}

// ended returns an error if a licence has ended.
func ended(l license.Verified, now time.Time) error {
	end, err := l.Expiry()
	if err == nil && !end.IsZero() && !now.Before(end) {
		err = fmt.Errorf("License is expired: it ended on %s", end.UTC().Format(time.RFC3339)) //nolint:staticcheck // the text of the guide
	}
	return err
}

// keys returns the keys that sign bundles of the application: the one of the licence.
func (i *Installation) keys(revoked []string) (*carried.Keys, error) {
	var keys carried.Keys
	if err := keys.Add(i.state.PublicKey); err != nil {
		return nil, err
	}
	if err := keys.AddLicense([]byte(i.state.License)); err != nil {
		return nil, err
	}
	for _, list := range revoked {
		if err := keys.Revoke(list); err != nil {
			return nil, err
		}
	}
	return &keys, nil
}

// offered returns the version of a bundle, which is to be added to the history, or is known there.
func (i *Installation) offered(a *carried.Airgap) (v Version, known bool, err error) {
	s := a.Spec
	if s.AppSlug != i.license.AppSlug {
		return v, false, fmt.Errorf("the bundle is of the application %s, and the licence for %s", printable(s.AppSlug), i.license.AppSlug)
	}
	licensed := false
	for _, c := range i.license.Channels {
		licensed = licensed || c.ID == s.ChannelID
	}
	if !licensed {
		return v, false, fmt.Errorf("the bundle is of the channel %s, for which the licence is not", printable(s.ChannelName))
	}
	last := int64(0)
	for _, one := range i.state.Versions {
		if one.ChannelID != s.ChannelID || one.Status == PendingDownload {
			continue
		}
		if last = one.ChannelSequence; last == s.Sequence() {
			v, known = one, true // the last one that has its files
		}
	}
	if known && last == s.Sequence() {
		v.Airgap = true
		return v, true, nil
	}
	if s.Sequence() < last {
		return v, false, fmt.Errorf("the bundle is of the version %s, and a later one is in the history: see ecrin update list, and "+
			"ecrin update rollback", printable(s.VersionLabel))
	}
	if last > 0 {
		var missing []string
		for _, r := range s.RequiredReleases {
			if r.Sequence() > last {
				missing = append(missing, printable(r.VersionLabel))
			}
		}
		if len(missing) > 0 {
			return v, false, fmt.Errorf("the vendor requires other versions before it: take first the bundles of %s", strings.Join(missing, ", "))
		}
	}
	n := len(i.state.Versions)
	if n > 0 && i.state.Versions[n-1].Status == PendingDownload {
		n-- // of an attempt with a network, which did not end
	}
	if n >= maxVersions {
		return v, false, fmt.Errorf("the history has %d versions", maxVersions)
	}
	v = Version{Sequence: int64(n), Source: AirgapUpdate, Airgap: true, ChannelID: s.ChannelID, ChannelName: s.ChannelName,
		ChannelSequence: s.Sequence(), Label: printable(s.VersionLabel), Required: s.Required, Notes: s.ReleaseNotes,
		ReleasedAt: a.ReleasedAt.UTC().Format(time.RFC3339), CreatedAt: i.o.Now().UTC()}
	if n == 0 {
		v.Source = AirgapInstall
	}
	return v, false, nil
}

// own returns the registry of the customer, and a function that ends its client.
func (i *Installation) own(ctx context.Context, r Registry) (*upstream.Registry, func(), error) {
	var o egress.Options
	var err error
	if o.Roots, err = i.roots(); err != nil {
		return nil, nil, err
	}
	target := r.target()
	endpoint, err := target.Endpoint(ctx, r.Config, i.state.Settings.CA, i.o.Getenv)
	if err != nil {
		return nil, nil, err
	}
	client := target.Client(o)
	to, err := client.Registry(endpoint)
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return to, client.Close, nil
}

// provide pushes the images of the bundle that is unpacked, if one is, and checks that the registry has all images of a version.
func (i *Installation) provide(ctx context.Context, r *Registry, out rewrite.Output) error {
	if r == nil || r.NoCopy && i.unpacked == nil {
		return nil
	}
	to, closed, err := i.own(ctx, *r)
	if err != nil {
		return err
	}
	defer closed()
	if u := i.unpacked; u != nil {
		local := r.local()
		_, err := u.Push(ctx, bundle.Target{To: to, Each: i.o.Bundled, Repository: func(ref rule.Reference) string {
			_, repo, _ := strings.Cut(local.For(ref), "/")
			return repo
		}}, alsoAt(u.Statement.Images, r.Host, out)...)
		if err != nil {
			return fmt.Errorf("pushing to %s: %w", r.Host, err)
		}
	}
	var missing []string
	for _, image := range out.Images {
		ref, err := rule.ParseReference(image.PulledAs)
		if err != nil || ref.Host != r.Host {
			continue
		}
		name := ref.Digest
		if name == "" {
			if name = ref.Tag; name == "" {
				name = "latest"
			}
		}
		_, err = to.Head(ctx, ref.Path, name, nil)
		switch {
		case errors.Is(err, upstream.NotFound):
			missing = append(missing, image.PulledAs)
		case err != nil:
			return fmt.Errorf("asking the registry for %s: %w", image.PulledAs, err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the registry does not have %s, which the version runs, and no bundle that was installed has it: push it there, or "+
			"ask the vendor for a bundle with it (additionalImages, or builder values of the chart), and run the command again",
			strings.Join(missing, ", "))
	}
	return nil
}

// alsoAt returns the further places of images: charts name the registry of the customer by templates, with the last part of the path of the
// image alone.
func alsoAt(images []carried.Image, host string, out rewrite.Output) (all []bundle.Also) {
	for _, o := range out.Images {
		ref, err := rule.ParseReference(o.Image)
		if err != nil || ref.Host != host {
			continue
		}
		tag := ref.Tag
		if tag == "" {
			tag = "latest"
		}
		digest, found := "", ""
		for _, i := range images {
			r, err := rule.ParseReference(i.Name)
			if err != nil || path.Base(r.Path) != path.Base(ref.Path) {
				continue
			}
			if ref.Digest == i.Digest || ref.Digest == "" && r.Tag == tag {
				if digest != "" && digest != i.Digest {
					found = "" // two images that differ
					break
				}
				digest, found = i.Digest, i.Name
			}
		}
		if found == "" {
			continue
		}
		if ref.Digest != "" {
			tag = ""
		}
		all = append(all, bundle.Also{Image: found, Repository: ref.Path, Tag: tag})
	}
	return all
}

// tidy removes what an installation from an airgap bundle has left that was killed.
func (i *Installation) tidy() error { return os.RemoveAll(filepath.Join(i.dir, airgapDir)) }
