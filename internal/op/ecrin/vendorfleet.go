package ecrin

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// OnInstances resolves the application whose installations are listed. They tell about all customers.
func OnInstances(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListInstancesRequest) (guard.Target[Shipped], error) {
	return onCustomers(s, ctx, req, in)
}

// ListInstances lists the installations of the customers of an application: which version each runs, how many it is behind, and what the
// customer has pulled. A customer who has pulled, and of whom no installation was seen, has one without an id.
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
	return out, nil
}
