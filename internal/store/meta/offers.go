package meta

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// ImageOffers says which channels of an application offer which images of one repository. It is read only.
type ImageOffers struct {
	id string
	of map[string]imageOffer // by the tag or the digest by which releases name the image
}

type imageOffer struct {
	channels []string // ids of those that offer a release with the image, sorted
	first    int64    // when such a release was promoted first, microseconds since 1970
}

// offersRead is the number of ImageOffers that this process has made.
var offersRead atomic.Uint64

// ImageOffers returns the offers of the images of a repository, by the name that releases have for it.
func (s *Store) ImageOffers(ctx context.Context, application, repository string) (*ImageOffers, error) {
	return cached(&s.cache.offers, offersKey{application, repository}, func() (*ImageOffers, error) {
		all := &ImageOffers{id: strconv.FormatUint(offersRead.Add(1), 10), of: map[string]imageOffer{}}
		err := s.read.rows(ctx, `SELECT p.channel, p.promoted_at, p.demoted_at, i.tag, i.digest FROM release_images i
			CROSS JOIN promotions p WHERE p.application = i.application AND p.release = i.sequence
			AND i.application = $1 AND i.repository = $2`, args{application, repository},
			func(scan func(...any) error) error {
				var channel, tag, digest string
				var promoted, demoted int64
				if err := scan(&channel, &promoted, &demoted, &tag, &digest); err != nil {
					return err
				}
				key := digest
				if key == "" {
					key = tag
				}
				if key == "" {
					key = "latest"
				}
				o, known := all.of[key]
				if !known || promoted < o.first {
					o.first = promoted
				}
				if i, found := slices.BinarySearch(o.channels, channel); demoted == 0 && !found {
					o.channels = slices.Insert(o.channels, i, channel)
				}
				all.of[key] = o
				return nil
			})
		return all, err
	})
}

// ID returns a text that no other ImageOffers with other offers has in this process.
func (all *ImageOffers) ID() string { return all.id }

// weight is the number of texts that it holds.
func (all *ImageOffers) weight() int {
	n := 1
	for _, o := range all.of {
		n += 1 + len(o.channels)
	}
	return n
}

// Of returns the ids of the channels that offer a release which names an image: by one of its tags, its digest, or without
// either, which is the tag latest. They are sorted and must not be modified. first is when such a release was promoted first;
// zero for never.
func (all *ImageOffers) Of(tags []string, digest string) (channels []string, first time.Time) {
	found := false
	var earliest int64
	add := func(key string) {
		o, ok := all.of[key]
		switch {
		case !ok:
			return
		case !found:
			channels, earliest = slices.Clip(o.channels), o.first
		default:
			channels, earliest = append(channels, o.channels...), min(earliest, o.first)
		}
		found = true
	}
	add(digest)
	for _, tag := range tags {
		add(tag)
	}
	if !found {
		return nil, time.Time{}
	}
	if !slices.IsSorted(channels) { // of more than one offer
		slices.Sort(channels)
	}
	return slices.Compact(channels), fromMicros(earliest)
}

// ChannelsOfImage is Of with the ImageOffers of a repository.
func (s *Store) ChannelsOfImage(ctx context.Context, application, repository string, tags []string, digest string) (
	channels []string, first time.Time, err error) {
	all, err := s.ImageOffers(ctx, application, repository)
	if err != nil {
		return nil, time.Time{}, err
	}
	channels, first = all.Of(tags, digest)
	return channels, first, nil
}
