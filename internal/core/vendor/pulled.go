package vendor

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// comparedOffers is the number of the newest offered versions of a channel with which pulls are compared.
const comparedOffers = 50

// pullsOf finds the versions that customers have pulled. It reads each customer and channel once.
type pullsOf struct {
	s         *Service
	a         meta.Application
	customers map[string][]meta.PulledImage
	channels  map[string][]offered
}

// offered is a version with the images of its release.
type offered struct {
	meta.Promotion
	images []meta.ReleaseImage
}

func (s *Service) pullsOf(a meta.Application) *pullsOf {
	return &pullsOf{s: s, a: a, customers: map[string][]meta.PulledImage{}, channels: map[string][]offered{}}
}

// LastPulled returns the last pull of each image by a customer, by tag and by digest.
func (s *Service) LastPulled(ctx context.Context, a meta.Application, customer string) ([]meta.PulledImage, error) {
	return s.meta.PulledImages(ctx, a.ID, customer)
}

func (p *pullsOf) pulled(ctx context.Context, customer string) (all []meta.PulledImage, err error) {
	all, known := p.customers[customer]
	if !known {
		if all, err = p.s.LastPulled(ctx, p.a, customer); err == nil {
			p.customers[customer] = all
		}
	}
	return all, err
}

func (p *pullsOf) offers(ctx context.Context, channel string) ([]offered, error) {
	if all, known := p.channels[channel]; known {
		return all, nil
	}
	newest, err := p.s.meta.Offers(ctx, channel, 0, 0, false, comparedOffers)
	if err != nil {
		return nil, err
	}
	all := make([]offered, len(newest))
	for i, one := range newest {
		all[i].Promotion = one
		if all[i].images, err = p.s.meta.ReleaseImages(ctx, p.a.ID, one.Release); err != nil {
			return nil, err
		}
	}
	p.channels[channel] = all
	return all, nil
}

// version returns the version of a channel that a customer has pulled; the zero value if it is not known.
func (p *pullsOf) version(ctx context.Context, channel, customer string) (meta.Promotion, error) {
	pulled, err := p.pulled(ctx, customer)
	if err != nil || len(pulled) == 0 {
		return meta.Promotion{}, err
	}
	offers, err := p.offers(ctx, channel)
	return pulledVersion(offers, pulled), err
}

// pulledVersion returns the first of versions whose images are what was pulled last: of each image, among the references that any version
// names. At least one of its images was pulled since it was promoted; which others were not says nothing.
func pulledVersion(versions []offered, pulled []meta.PulledImage) meta.Promotion {
	type image struct{ repository, reference string }
	named, last := map[image]bool{}, map[string]meta.PulledImage{}
	for _, v := range versions {
		for _, i := range v.images {
			named[image{i.Repository, referenceOf(i)}] = true
		}
	}
	for _, p := range pulled {
		if named[image{p.Image, p.Reference}] && !p.At.Before(last[p.Image].At) {
			last[p.Image] = p
		}
	}
	for _, v := range versions {
		found, other := false, false
		for _, i := range v.images {
			if p, ok := last[i.Repository]; ok {
				same := p.Reference == referenceOf(i)
				found, other = found || same && !p.At.Before(v.PromotedAt), other || !same
			}
		}
		if found && !other {
			return v.Promotion
		}
	}
	return meta.Promotion{}
}

// referenceOf returns the digest or the tag by which a release names an image.
func referenceOf(i meta.ReleaseImage) string { return cmp.Or(i.Digest, i.Tag, "latest") }

// known returns at most limit installations of an application after a key, in the order of the ids of customers and
// installations: those that were seen, and of customers who have pulled and have none one without an id.
func (p *pullsOf) known(ctx context.Context, after meta.InstanceKey, limit int) ([]meta.Instance, error) {
	all, err := p.s.meta.Instances(ctx, p.a.ID, after, limit)
	if err != nil {
		return nil, err
	}
	pullers, err := p.s.meta.Pullers(ctx, p.a.ID, after.Customer, limit)
	if err != nil {
		return nil, err
	}
	for _, of := range pullers {
		i, err := p.puller(ctx, of)
		if errors.Is(err, fault.ObjectNotFound) {
			continue // it was deleted now
		}
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b meta.Instance) int {
		return cmp.Or(cmp.Compare(a.Customer, b.Customer), cmp.Compare(a.ID, b.ID))
	})
	return all[:min(len(all), limit)], nil
}

// puller returns what is known of the installation of a customer by its pulls.
func (p *pullsOf) puller(ctx context.Context, customer string) (meta.Instance, error) {
	c, err := p.s.meta.Customer(ctx, p.a, customer)
	if err != nil {
		return meta.Instance{}, err
	}
	of, _, err := p.s.channelOf(ctx, p.a, c, "")
	if err != nil && !errors.Is(err, fault.AccessDenied) { // it may be on no channel
		return meta.Instance{}, err
	}
	pulled, err := p.pulled(ctx, customer)
	if err != nil {
		return meta.Instance{}, err
	}
	i := meta.Instance{Application: p.a.ID, Customer: customer, Channel: of.ID}
	for _, one := range pulled {
		if i.FirstSeen.IsZero() || one.At.Before(i.FirstSeen) {
			i.FirstSeen = one.At
		}
		if one.At.After(i.LastSeen) {
			i.LastSeen = one.At
		}
	}
	version, err := p.version(ctx, of.ID, customer)
	i.Sequence = version.Sequence
	return i, err
}
