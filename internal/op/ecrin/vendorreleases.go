package ecrin

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

func showRelease(r meta.Release) ecrintypes.VendorRelease {
	out := ecrintypes.VendorRelease{Sequence: r.Sequence, Bytes: r.Bytes, Promoted: r.Promoted, CreatedAt: awswire.Time{Time: r.CreatedAt},
		EditedAt: awswire.Time{Time: r.EditedAt}, CreatedBy: r.CreatedBy}
	for _, c := range r.Charts {
		out.Charts = append(out.Charts, ecrintypes.ReleaseChart{ChartName: c.Name, ChartVersion: c.Version, Path: c.Path, Signed: c.Signed})
	}
	return out
}

func showCompatibility(c meta.Compatibility) ecrintypes.ReleaseCompatibility {
	return ecrintypes.ReleaseCompatibility{Distribution: c.Distribution, KubernetesVersion: c.Version, SucceededAt: awswire.At(c.SuccessAt),
		SuccessNotes: c.SuccessNotes, FailedAt: awswire.At(c.FailureAt), FailureNotes: c.FailureNotes,
		ReportedAt: awswire.Time{Time: c.ReportedAt}, ReportedBy: c.ReportedBy}
}

// maxWarnings limits the warnings about a release in an answer.
const maxWarnings = 100

// warnings says what an installer does not see in the files of a release.
func warnings(f rewrite.Found) []string {
	all := []string{}
	for _, s := range f.Skipped {
		all = append(all, s.Error())
	}
	for _, u := range f.Unseen {
		if u.Err != nil {
			all = append(all, fmt.Sprintf("%v: %s: %v", u.Object, u.Path, u.Err))
			continue
		}
		all = append(all, fmt.Sprintf("%v: the image %s at %s is at a place where installers do not look", u.Object, u.Text, u.Path))
	}
	if n := len(all); n > maxWarnings {
		all = append(all[:maxWarnings], fmt.Sprintf("and %d more", n-maxWarnings))
	}
	return all
}

// putRelease stores the files of a release.
func (s *Service) putRelease(ctx context.Context, by identity.Caller, at Shipped, sequence int64, files []ecrintypes.ReleaseFile) (
	*ecrintypes.ReleaseResponse, error) {
	n := vendor.NewRelease{Sequence: sequence, Host: at.Host, By: by.ARN}
	for _, f := range files {
		if f.Content != "" && len(f.Data) > 0 {
			return nil, ecr.BadMember("Files", "must have content or data for each file, not both")
		}
		one := rewrite.File{Path: f.Path, Data: f.Data}
		if f.Content != "" {
			one.Data = []byte(f.Content)
		}
		n.Files = append(n.Files, one)
	}
	r, found, err := s.vendor.PutRelease(ctx, at.Application, n)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ReleaseResponse{Release: showRelease(r), Images: []ecrintypes.ReleaseImage{}, Warnings: warnings(found)}
	for _, i := range r.Images {
		out.Images = append(out.Images, ecrintypes.ReleaseImage{Repository: i.Repository, ImageTag: i.Tag, ImageDigest: i.Digest})
	}
	return out, nil
}

// CreateRelease stores files as a new release, and returns the images that they name, with warnings about what installers do not see.
//
// Errors: those of vendor.Service.PutRelease.
func (s *Service) CreateRelease(ctx context.Context, by identity.Caller, at Shipped, in *ecrintypes.CreateReleaseRequest) (
	*ecrintypes.ReleaseResponse, error) {
	return s.putRelease(ctx, by, at, 0, in.Files)
}

// UpdateRelease replaces the files of a release that was never promoted.
//
// Errors: those of vendor.Service.PutRelease.
func (s *Service) UpdateRelease(ctx context.Context, by identity.Caller, at Shipped, in *ecrintypes.UpdateReleaseRequest) (
	*ecrintypes.ReleaseResponse, error) {
	return s.putRelease(ctx, by, at, in.Sequence, in.Files)
}

// DescribeRelease returns a release with its files, by their paths, the images that they name, and with what was found out about it on
// clusters.
//
// Errors: fault.ObjectNotFound.
func (s *Service) DescribeRelease(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.DescribeReleaseRequest) (
	*ecrintypes.DescribeReleaseResponse, error) {
	r, err := s.meta.Release(ctx, at.ID, in.Sequence)
	if err != nil {
		return nil, err
	}
	files, err := vendor.Files(r)
	if err != nil {
		return nil, err
	}
	charts, err := s.meta.ReleaseCharts(ctx, at.ID, r.Sequence, r.Sequence)
	if err != nil {
		return nil, err
	}
	results, err := s.meta.Compatibility(ctx, at.ID, r.Sequence, r.Sequence)
	if err != nil {
		return nil, err
	}
	r.Charts = charts[r.Sequence]
	out := &ecrintypes.DescribeReleaseResponse{Release: showRelease(r), Files: []ecrintypes.ReleaseFile{}}
	images, err := s.meta.ReleaseImages(ctx, at.ID, r.Sequence)
	if err != nil {
		return nil, err
	}
	for _, i := range images {
		out.Images = append(out.Images, ecrintypes.ReleaseImage{Repository: i.Repository, ImageTag: i.Tag, ImageDigest: i.Digest})
	}
	for _, c := range results[r.Sequence] {
		out.Compatibility = append(out.Compatibility, showCompatibility(c))
	}
	for _, f := range files {
		one := ecrintypes.ReleaseFile{Path: f.Path}
		if utf8.Valid(f.Data) {
			one.Content = string(f.Data)
		} else {
			one.Data = f.Data
		}
		out.Files = append(out.Files, one)
	}
	return out, nil
}

// ListReleases lists the releases of an application without their files, the newest first; from below a sequence if the request has one.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListReleases(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.ListReleasesRequest) (
	*ecrintypes.ListReleasesResponse, error) {
	scope, below := "ListReleases "+at.ID, int64(0)
	switch {
	case in.Below != nil && in.NextToken != "":
		return nil, ecr.BadMember("Below", "must not be given together with nextToken")
	case in.Below != nil:
		below = *in.Below
	}
	if err := s.resume(scope, in.NextToken, &below); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.Releases(ctx, at.ID, below, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListReleasesResponse{Releases: []ecrintypes.VendorRelease{}}
	if len(rows) == 0 {
		return out, nil
	}
	charts, err := s.meta.ReleaseCharts(ctx, at.ID, rows[len(rows)-1].Sequence, rows[0].Sequence)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		r.Charts = charts[r.Sequence]
		if i == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(rows[i-1].Sequence)
			break
		}
		out.Releases = append(out.Releases, showRelease(r))
	}
	return out, nil
}

// PutReleaseCompatibility stores that a release works on a distribution and version of Kubernetes, or that it does not; without testedAt
// since now. An earlier result of the other kind stays. With the files of a release its results go too.
//
// Errors: fault.ObjectNotFound, fault.LimitExceeded, fault.InvalidParameter (notes with null characters).
func (s *Service) PutReleaseCompatibility(ctx context.Context, by identity.Caller, at Shipped,
	in *ecrintypes.PutReleaseCompatibilityRequest) (*ecrintypes.PutReleaseCompatibilityResponse, error) {
	c := meta.Compatibility{Application: at.ID, Sequence: in.Sequence, Distribution: in.Distribution, Version: in.KubernetesVersion,
		ReportedBy: by.ARN}
	if strings.ContainsRune(in.Notes, 0) {
		return nil, ecr.BadMember("notes", "must be text without null characters")
	}
	tested := s.now()
	if in.TestedAt != nil {
		tested = in.TestedAt.Time
	}
	if in.Passed {
		c.SuccessAt, c.SuccessNotes = tested, in.Notes
	} else {
		c.FailureAt, c.FailureNotes = tested, in.Notes
	}
	c, err := s.meta.PutCompatibility(ctx, c)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.PutReleaseCompatibilityResponse{Compatibility: showCompatibility(c)}, nil
}

func showPromotion(p meta.Promotion, c meta.Channel) ecrintypes.ReleasePromotion {
	return ecrintypes.ReleasePromotion{ChannelId: p.Channel, ChannelSlug: c.Slug, ChannelSequence: p.Sequence, Sequence: p.Release,
		VersionLabel: p.Label, ReleaseNotes: p.Notes, Required: p.Required, PromotedAt: awswire.Time{Time: p.PromotedAt},
		PromotedBy: p.PromotedBy, DemotedAt: awswire.At(p.DemotedAt), ProxyDomain: p.ProxyDomain, RegistryDomain: p.RegistryDomain}
}

// PromoteRelease offers a release on channels.
//
// Errors: those of vendor.Service.Promote.
func (s *Service) PromoteRelease(ctx context.Context, by identity.Caller, at Shipped, in *ecrintypes.PromoteReleaseRequest) (
	*ecrintypes.PromoteReleaseResponse, error) {
	tell := func(p meta.Promotion, c meta.Channel) event.Event {
		return s.told(at, event.Vendor{Action: event.ReleasePromoted, Channel: c.Slug, Version: p.Label, Sequence: p.Sequence, Principal: by.ARN})
	}
	all, channels, err := s.vendor.Promote(ctx, at.Application, vendor.Promotion{Release: in.Sequence, Channels: at.Channels,
		Label: in.VersionLabel, Notes: in.ReleaseNotes, Required: yes(in.Required), By: by.ARN, Tell: tell})
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.PromoteReleaseResponse{}
	for i, p := range all {
		out.Promotions = append(out.Promotions, showPromotion(p, channels[i]))
	}
	return out, nil
}

// DemoteRelease ends the offer of a version on a channel, or with undo offers it again.
//
// Errors: fault.ObjectNotFound.
func (s *Service) DemoteRelease(ctx context.Context, by identity.Caller, at Shipped, in *ecrintypes.DemoteReleaseRequest) (
	*ecrintypes.DemoteReleaseResponse, error) {
	c := at.Channels[0]
	change := event.Vendor{Action: event.ReleaseDemoted, Channel: c.Slug, Sequence: in.ChannelSequence, Principal: by.ARN}
	if yes(in.Undo) {
		change.Action = event.ReleaseRestored
	}
	p, err := s.meta.Demote(s.telling(ctx, at, change), c.ID, in.ChannelSequence, yes(in.Undo))
	return &ecrintypes.DemoteReleaseResponse{Promotion: showPromotion(p, c)}, err
}

// ListPromotions lists the versions of a channel, the oldest first unless newestFirst is true; with demoted those that are not offered too.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListPromotions(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.ListPromotionsRequest) (
	*ecrintypes.ListPromotionsResponse, error) {
	c := at.Channels[0]
	list, scope, from := s.meta.Promotions, fmt.Sprintf("ListPromotions %s %v", c.ID, yes(in.Demoted)), int64(0)
	if yes(in.NewestFirst) {
		list, scope = s.meta.NewestPromotions, scope+" newest first"
	}
	if err := s.resume(scope, in.NextToken, &from); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := list(ctx, c.ID, from, yes(in.Demoted), limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListPromotionsResponse{Promotions: []ecrintypes.ReleasePromotion{}}
	for i, p := range rows {
		if i == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(rows[i-1].Sequence)
			break
		}
		out.Promotions = append(out.Promotions, showPromotion(p, c))
	}
	return out, nil
}
