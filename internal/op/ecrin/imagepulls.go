package ecrin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

const (
	// pulledSince is the time for which ListImagePulls tells who has pulled an image.
	pulledSince = 30 * 24 * time.Hour
	// maxPulledTags is how many tags a principal of its answer has.
	maxPulledTags = 10
)

// pulledPlace is where a listing of principals continues.
type pulledPlace struct {
	Pulls     int64
	Principal string
}

// ListImagePulls tells who has pulled an image in the last 30 days, by tag or by its digest: the most pulls first. since is a later begin;
// days are counted whole, UTC. Of an index, what clients pull of its images counts for these. Pulls of principals that have no row of their
// own are otherPulls, and uncountedPulls are those of the account that are of no image. Numbers appear after up to half a minute.
//
// Errors: fault.ImageNotFound, fault.RepositoryNotFound, fault.InvalidParameter (nextToken, or since is before that).
func (s *Service) ListImagePulls(ctx context.Context, _ identity.Caller, im PinnedImage, in *ecrintypes.ListImagePullsRequest) (
	*ecrintypes.ListImagePullsResponse, error) {
	since := s.now().Add(-pulledSince).UTC().Truncate(24 * time.Hour)
	if in.Since != nil {
		if in.Since.Before(since) {
			return nil, ecr.BadMember("since", "the pulls of the last 30 days are kept")
		}
		since = in.Since.UTC().Truncate(24 * time.Hour)
	}
	scope := "ListImagePulls " + im.Repository.ARN() + " " + im.Digest.String() + " " + since.Format(time.DateOnly)
	var at pulledPlace
	if err := s.resume(scope, in.NextToken, &at); err != nil {
		return nil, err
	}
	rows, err := s.meta.ImagePulls(ctx, im.Repository.Repository, im.Digest.String(), since)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListImagePullsResponse{ImageDigest: im.Digest.String(), StartTime: *awswire.At(since),
		Pulls: []ecrintypes.PulledBy{}}
	if out.UncountedPulls, err = s.meta.UncountedImagePulls(ctx, im.Repository.Registry.Account, since); err != nil {
		return nil, err
	}
	all := pulledBy(rows)
	for _, p := range all {
		out.TotalPulls += p.Pulls
	}
	if i := slices.IndexFunc(all, func(p ecrintypes.PulledBy) bool { return p.Principal == "" }); i >= 0 {
		out.OtherPulls = all[i].Pulls
		all = slices.Delete(all, i, i+1)
	}
	out.Principals = int32(len(all))
	place := func(p ecrintypes.PulledBy) pulledPlace { return pulledPlace{p.Pulls, p.Principal} }
	if in.NextToken != "" {
		all = slices.DeleteFunc(all, func(p ecrintypes.PulledBy) bool { return place(p).compare(at) <= 0 })
	}
	limit := pageSize(in.MaxResults, 100)
	if len(all) > limit {
		all = all[:limit]
		out.NextToken = s.pages.Listing(scope).SealJSON(place(all[limit-1]))
	}
	out.Pulls = append(out.Pulls, all...)
	return out, nil
}

// compare orders places: the most pulls first, then by name.
func (p pulledPlace) compare(q pulledPlace) int {
	return cmp.Or(cmp.Compare(q.Pulls, p.Pulls), cmp.Compare(p.Principal, q.Principal))
}

// pulledBy returns the pulls of each principal, the most first, each with its tags, that of the last pull first.
func pulledBy(rows []meta.ImagePull) (all []ecrintypes.PulledBy) {
	slices.SortFunc(rows, func(a, b meta.ImagePull) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Tag, b.Tag)) })
	at := map[string]int{}
	for _, r := range rows {
		i, known := at[r.Principal]
		if !known {
			i = len(all)
			at[r.Principal] = i
			all = append(all, ecrintypes.PulledBy{Principal: r.Principal, ImageTags: []string{}, LastPulledAt: *awswire.At(r.At)})
		}
		p := &all[i]
		if p.Pulls += r.Pulls; r.Tag == "" {
			p.DigestPulls += r.Pulls
		} else if len(p.ImageTags) < maxPulledTags {
			p.ImageTags = append(p.ImageTags, r.Tag)
		}
	}
	slices.SortFunc(all, func(a, b ecrintypes.PulledBy) int {
		return pulledPlace{a.Pulls, a.Principal}.compare(pulledPlace{b.Pulls, b.Principal})
	})
	return all
}
