package ecrin

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// OnInstances resolves the application whose installations are listed. They tell about all customers. What was reported to run tells about
// all of the account, so that the caller needs ecrin:ListDeployments for it.
func OnInstances(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListInstancesRequest) (guard.Target[Shipped], error) {
	t, err := onCustomers(s, ctx, req, in)
	if err == nil && yes(in.Reported) {
		deployments := t.Asks[0]
		deployments.Action, deployments.Resource = "ecrin:ListDeployments", meta.Application{Account: t.Value.Account, Slug: "*"}.ARN()
		t.Asks = append(t.Asks, deployments)
	}
	return t, err
}

// ListInstances lists the installations of the customers of an application: which version each runs, how many it is behind, and what the
// customer has pulled. A customer who has pulled, and of whom no installation was seen, has one without an id. With reported the first page
// has the images of the application that the clusters of the vendor are reported to run, at most 1,000.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListInstances(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.ListInstancesRequest) (
	*ecrintypes.ListInstancesResponse, error) {
	scope, after := "ListInstances "+at.ID, meta.InstanceKey{}
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.vendor.Fleet(ctx, at.Application, after, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListInstancesResponse{Instances: []ecrintypes.VendorInstance{}}
	for i, f := range rows {
		if i == limit {
			last := rows[i-1]
			out.NextToken = s.pages.Listing(scope).SealJSON(meta.InstanceKey{Customer: last.Customer, ID: last.ID})
			break
		}
		one := ecrintypes.VendorInstance{CustomerId: f.Customer, CustomerName: f.CustomerName, InstanceId: f.ID, ClusterId: f.Cluster,
			ChannelId: f.Channel, ChannelSlug: f.ChannelSlug, ChannelSequence: f.Sequence, VersionLabel: f.Running.Label,
			VersionsBehind: int32(f.Behind), NewestVersion: f.Newest, KubernetesVersion: f.Kubernetes, Status: f.Status, Address: f.Address,
			FirstSeenAt: awswire.Time{Time: f.FirstSeen}, LastSeenAt: awswire.Time{Time: f.LastSeen}}
		if f.Running.Release != 0 {
			one.ReleaseSequence = &f.Running.Release
		}
		for _, image := range f.Images {
			one.Images = append(one.Images, ecrintypes.ReleaseImage{Repository: image.Repository, ImageTag: image.Tag, ImageDigest: image.Digest})
		}
		one.PulledVersion = f.PulledLast.Label
		for _, p := range f.Pulled {
			one.PulledImages = append(one.PulledImages, ecrintypes.PulledImage{Image: p.Image, Reference: p.Reference, ImageDigest: p.Digest,
				TokenName: p.Token, PulledAt: awswire.Time{Time: p.At}})
		}
		out.Instances = append(out.Instances, one)
	}
	if !yes(in.Reported) || in.NextToken != "" {
		return out, nil
	}
	running, leftOut, err := s.vendor.Running(ctx, at.Application, at.Host, name.Registry{Account: at.Account, Region: at.Region})
	if leftOut > 0 {
		out.RunningLeftOut = new(int32(leftOut))
	}
	for _, r := range running {
		out.RunningImages = append(out.RunningImages, showRunning(r))
	}
	return out, err
}

func showRunning(r vendor.Running) ecrintypes.RunningImage {
	one := ecrintypes.RunningImage{Environment: r.Namespace, ApplicationName: r.Application, ImageName: r.Deployment.Image, Image: r.Image,
		ImageDigest: r.Digest.String(), NewestVersion: r.Newest, ReportedAt: awswire.Time{Time: r.ReportedAt}, Until: awswire.Time{Time: r.Until}}
	for i, v := range r.Versions {
		if i == 0 {
			one.VersionsBehind = new(int32(v.Behind))
		}
		shown := ecrintypes.RunningVersion{ChannelId: v.Channel, ChannelSlug: v.ChannelSlug, ChannelSequence: v.Sequence,
			ReleaseSequence: v.Release, VersionLabel: v.Label}
		if v.ByTag {
			shown.ByTag = &v.ByTag
		}
		one.Versions = append(one.Versions, shown)
	}
	if r.LeftOut > 0 {
		one.VersionsLeftOut = new(int32(r.LeftOut))
	}
	return one
}
