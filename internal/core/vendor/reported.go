package vendor

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	maxRunning         = 1000 // images of an answer
	maxRunningVersions = 10   // of an image
)

// Running is an image of an application that clusters of the vendor are reported to run.
type Running struct {
	meta.Deployment
	Image    string           // as decisions name it
	Versions []RunningVersion // that have the image, at most 10: first those that are least behind, and of them the ones that are offered
	LeftOut  int              // versions
	Newest   string           // label of the newest version of the channel of the first version
}

// RunningVersion is a version of a channel that has a reported image.
type RunningVersion struct {
	meta.Promotion
	ChannelSlug string
	Behind      int  // versions that the channel offers after it
	ByTag       bool // the version names the image by a tag, of which this server does not know the digest: the tags are equal
}

// compared is a channel with the versions with which reports are compared.
type compared struct {
	meta.Channel
	versions []offered // the newest ones, with those that were demoted
}

// behind returns how many versions a channel offers after one, and the label of the newest one.
func (c compared) behind(p meta.Promotion) (n int, newest string) {
	var all []meta.Promotion
	for _, v := range c.versions {
		if v.DemotedAt.IsZero() {
			all = append(all, v.Promotion)
		}
	}
	if len(all) == 0 {
		return 0, ""
	}
	if c.SemverRequired {
		installed, _ := semver.Parse(p.Label)
		newest = later(slices.Clone(all), 0, semver.Version{})[0].Label
		return len(later(all, p.Sequence, installed)), newest
	}
	for _, one := range all {
		if one.Sequence > p.Sequence {
			n++
		}
	}
	return n, all[0].Label
}

// running finds the versions that have reported images.
type running struct {
	s    *Service
	a    meta.Application
	host endpoint.Host
	def  name.Registry

	channels []compared
	images   map[string]bool     // that versions name
	names    map[string][]string // of images as reports write them, as decisions name them
	digests  map[string]string   // of tags of the vendor's repositories; "" for none
}

// Running returns at most 1,000 of the images of an application that run somewhere by what was reported for its account
// (meta.Store.Deployments), in the order of environments, applications and images, and how many it leaves out. They are compared with the
// 50 newest versions of each channel, by digests: a tag that a version names in a repository of the vendor is the digest that it has now.
// host is where the vendor reaches the installation, and def the registry of names that have neither account nor region.
func (s *Service) Running(ctx context.Context, a meta.Application, host endpoint.Host, def name.Registry) (all []Running, leftOut int,
	err error) {
	r := &running{s: s, a: a, host: host, def: def, images: map[string]bool{}, names: map[string][]string{}, digests: map[string]string{}}
	if err := r.compare(ctx); err != nil || len(r.images) == 0 {
		return nil, 0, err
	}
	reported, err := s.meta.Deployments(ctx, a.Account)
	if err != nil {
		return nil, 0, err
	}
	slices.SortStableFunc(reported, func(a, b meta.Deployment) int { return cmp.Compare(a.Namespace, b.Namespace) })
	for _, d := range reported {
		image, err := r.image(ctx, d)
		if err != nil {
			return nil, 0, err
		}
		if image == "" {
			continue
		}
		if len(all) == maxRunning {
			leftOut++
			continue
		}
		one := Running{Deployment: d, Image: image}
		if err := r.find(ctx, &one); err != nil {
			return nil, 0, err
		}
		all = append(all, one)
	}
	return all, leftOut, nil
}

// compare reads the versions of all channels.
func (r *running) compare(ctx context.Context) error {
	channels, err := r.s.meta.Channels(ctx, r.a.ID)
	if err != nil {
		return err
	}
	images := map[int64][]meta.ReleaseImage{} // of releases
	for _, c := range channels {
		newest, err := r.s.meta.NewestPromotions(ctx, c.ID, 0, true, comparedOffers)
		if err != nil {
			return err
		}
		of := compared{Channel: c}
		for _, p := range newest {
			if _, known := images[p.Release]; !known {
				if images[p.Release], err = r.s.meta.ReleaseImages(ctx, r.a.ID, p.Release); err != nil {
					return err
				}
			}
			of.versions = append(of.versions, offered{p, images[p.Release]})
			for _, i := range images[p.Release] {
				r.images[i.Repository] = true
			}
		}
		r.channels = append(r.channels, of)
	}
	return nil
}

// image returns the name by which decisions know a reported image; "" if no version names it.
func (r *running) image(ctx context.Context, d meta.Deployment) (string, error) {
	names, seen := r.names[d.Repository]
	if !seen {
		if ref, err := rewrite.ParseReference(d.Repository); err == nil {
			if names, err = r.s.known(ctx, r.a, r.host, ref); err != nil {
				return "", err
			}
		}
		r.names[d.Repository] = names
	}
	for _, one := range names {
		if r.images[one] {
			return one, nil
		}
	}
	return "", nil
}

// find sets the versions that have a reported image.
func (r *running) find(ctx context.Context, of *Running) error {
	newest := map[string]string{} // of channels
	for _, c := range r.channels {
		for _, v := range c.versions {
			for _, i := range v.images {
				if i.Repository != of.Image {
					continue
				}
				has, byTag, err := r.has(ctx, i, of.Deployment)
				if err != nil {
					return err
				}
				if !has {
					continue
				}
				one := RunningVersion{Promotion: v.Promotion, ChannelSlug: c.Slug, ByTag: byTag}
				one.Behind, newest[c.Slug] = c.behind(v.Promotion)
				of.Versions = append(of.Versions, one)
				break
			}
		}
	}
	slices.SortStableFunc(of.Versions, func(a, b RunningVersion) int {
		return cmp.Or(cmp.Compare(a.Behind, b.Behind), a.DemotedAt.Compare(b.DemotedAt), cmp.Compare(b.Release, a.Release))
	})
	if len(of.Versions) > 0 {
		of.Newest = newest[of.Versions[0].ChannelSlug]
	}
	of.LeftOut = max(0, len(of.Versions)-maxRunningVersions)
	of.Versions = of.Versions[:len(of.Versions)-of.LeftOut]
	return nil
}

// has reports whether a reported image is the one that a release names, and whether only the tags say so.
func (r *running) has(ctx context.Context, i meta.ReleaseImage, d meta.Deployment) (has, byTag bool, err error) {
	if i.Digest != "" {
		return i.Digest == d.Digest.String(), false, nil
	}
	tag := referenceOf(i)
	own, ok, err := r.s.Own(ctx, r.a.Account, r.def, r.host, d.Repository)
	switch {
	case !ok && err == nil, errors.Is(err, fault.AccessDenied): // an image of another registry, also one that was got by the proxy
		return d.Tag == tag, true, nil
	case errors.Is(err, fault.NameInvalid):
		return false, false, nil
	case err != nil:
		return false, false, err
	}
	digest, err := r.digest(ctx, own, tag)
	return digest == d.Digest.String(), false, err
}

// digest returns the digest that a tag of a repository of the vendor has now; "" for none.
func (r *running) digest(ctx context.Context, own OwnRepository, tag string) (string, error) {
	key := own.Registry.String() + "/" + own.Repo.String() + ":" + tag
	if digest, known := r.digests[key]; known {
		return digest, nil
	}
	digest := ""
	parsed, err := name.ParseTag(tag)
	if err != nil {
		return "", nil
	}
	repo, err := r.s.meta.Repository(ctx, own.Registry, own.Repo)
	if err == nil {
		var head meta.ManifestHead
		if head, err = r.s.meta.Head(ctx, repo.ID, name.Reference{Tag: parsed}); err == nil {
			digest = head.Digest.String()
		}
	}
	if err != nil && !errors.Is(err, fault.RepositoryNotFound) && !errors.Is(err, fault.ImageNotFound) {
		return "", err
	}
	r.digests[key] = digest
	return digest, nil
}
