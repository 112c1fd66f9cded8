package ociapi

import (
	"errors"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// listedReleases is the number of the newest releases on offer whose images customers find in lists.
	listedReleases = 10
	// maxListedTags is the number of tags of a repository that are decided for the list of a customer.
	maxListedTags = 2000
)

// customersTags sets what a customer may see of the tags of a repository: of the vendor's all that its entitlements allow, of an external
// registry those of the newest releases. It returns the ask for one of them; without any, that for the repository, which is denied.
//
// Source: the vendors' documentation of the proxy, which ignores the parameters of pages.
func (a *API) customersTags(q *request, ask guard.Ask) ([]guard.Ask, error) {
	q.listed = []string{} // not null in an answer
	var tags []string
	var err error
	if q.up == nil {
		if q.found.ID != 0 {
			tags, _, err = a.registry.Tags(q.r.Context(), q.found, "", maxListedTags)
		}
	} else {
		q.absent = nil // what was not fetched yet has a list too
		var images []vendor.ReleaseImage
		images, err = a.vendor.RecentImages(q.r.Context(), q.caller.Application, listedReleases)
		for _, i := range images {
			if i.Repository == q.known() && i.Digest == "" {
				tags = append(tags, orLatest(i.Tag))
			}
		}
		slices.Sort(tags)
		tags = slices.Compact(tags)
	}
	if err != nil {
		return nil, err
	}
	asks := append(q.asks[:0], ask)
	for _, text := range tags {
		tag, err := name.ParseTag(text)
		if err != nil {
			continue // no image has it
		}
		one := ask
		if one.Image, err = a.imageOf(q, q.found, name.Reference{Tag: tag}); err != nil {
			return nil, err
		}
		allowed, err := a.guard.Allowed(q.r.Context(), q.caller, q.ev.From, one)
		if err != nil {
			return nil, err
		}
		if allowed {
			q.listed, asks[0], q.absent = append(q.listed, text), one, nil
		}
	}
	return asks, nil
}

// customersCatalog sets the names by which a customer pulls the images of the newest releases that its entitlements allow. It returns the
// ask for one of them; without any, that for all repositories, which is denied.
func (a *API) customersCatalog(q *request, ask guard.Ask) ([]guard.Ask, error) {
	q.listed = []string{} // not null in an answer
	asks := append(q.asks[:0], ask)
	images, err := a.vendor.RecentImages(q.r.Context(), q.caller.Application, listedReleases)
	if err != nil {
		return nil, err
	}
	def := name.Registry{Account: q.caller.Account, Region: a.hosts.Default().Region}
	for _, i := range images {
		label, external := i.Repository, false
		if r, err := rewrite.ParseReference(i.Repository); err == nil && r.Host != "" {
			label, external = proxyPath+q.caller.Slug()+"/"+i.Repository, true
		}
		if strings.Contains(label, ":") || slices.Contains(q.listed, label) {
			continue // a registry at a port is reached by the name of its integration alone
		}
		one := guard.Ask{Action: "ecr:BatchGetImage", Owner: guard.OwnedBy(def.Account), Region: def.Region,
			Resource: def.RepositoryARN(i.Repository)}
		ref, err := name.ParseReference(referenceOf(i))
		if err != nil {
			continue // no image has it
		}
		found, err := a.storedAs(q, def, i.Repository, external)
		if err != nil {
			return nil, err
		}
		if found.ID != 0 {
			one.Repository = &found
		}
		if one.Image, err = a.imageOf(q, found, ref); err != nil {
			return nil, err
		}
		allowed, err := a.guard.Allowed(q.r.Context(), q.caller, q.ev.From, one)
		if err != nil {
			return nil, err
		}
		if allowed {
			q.listed, asks[0] = append(q.listed, label), one
		}
	}
	slices.Sort(q.listed)
	return asks, nil
}

// storedAs returns the repository of the vendor that is named in a release, or that has what was fetched of an external one; the zero value
// if there is none, or if the registry is not shared with the application.
func (a *API) storedAs(q *request, def name.Registry, known string, external bool) (registry.Repository, error) {
	repo, err := name.ParseRepo(known)
	if external {
		var up *integration.Upstream
		if up, err = a.shared.Upstream(q.r.Context(), q.caller.Account, q.caller.Application, known); err == nil {
			repo, err = up.Repository()
		}
	}
	if errors.Is(err, fault.AccessDenied) || errors.Is(err, fault.NameInvalid) {
		return registry.Repository{}, nil
	}
	if err != nil {
		return registry.Repository{}, err
	}
	found, err := a.registry.Repository(q.r.Context(), def, repo)
	if errors.Is(err, fault.RepositoryNotFound) {
		err = nil
	}
	return found, err
}

// imageOf returns an image of a repository as a pull decides it: with its digest, if it is stored.
func (a *API) imageOf(q *request, of registry.Repository, ref name.Reference) (guard.Image, error) {
	i := guard.Image{Reference: ref, Stored: true}
	if of.ID == 0 {
		return i, nil
	}
	head, err := a.registry.Head(q.r.Context(), of, ref)
	if err == nil {
		i.Digest = head.Digest
	}
	if errors.Is(err, fault.ImageNotFound) {
		err = nil
	}
	return i, err
}

func orLatest(tag string) string {
	if tag == "" {
		return "latest"
	}
	return tag
}

// referenceOf returns the tag or the digest of an image of a release.
func referenceOf(i vendor.ReleaseImage) string {
	if i.Digest != "" {
		return i.Digest
	}
	return orLatest(i.Tag)
}
