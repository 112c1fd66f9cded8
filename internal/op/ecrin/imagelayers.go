package ecrin

import (
	"cmp"
	"context"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The limits of ListImageLayers: layers of an image, repositories that hold one layer, both together, and images of one repository.
const (
	maxSharedLayers  = 64
	maxLayerHolders  = 50
	maxSharedLookups = 600
	maxLayerImages   = 1000
)

// OnLayers resolves the image whose layers are looked for in others: for callers that may pull it too.
func OnLayers(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListImageLayersRequest) (t guard.Target[PinnedImage],
	err error) {
	if t, err = OnPinned(s, ctx, req, in); err != nil {
		return t, err
	}
	if req.By.Kind != identity.Operator { // who has all actions of ecrin and none of ECR
		pull := t.Asks[0]
		pull.Action = "ecr:BatchGetImage"
		t.Asks = append(t.Asks, pull)
	}
	return t, nil
}

// ListImageLayers tells of each layer of an image in how many images of which repositories of the registry it is, this one among them. A
// repository is found if the caller may both ecrin:ListImageLayers and ecr:DescribeImages on it. more says that there can be further
// repositories than the 50 of a layer, or layers than the 64 of an image, or that one page has looked at enough; at most 1,000 images of a
// repository are counted.
//
// Errors: fault.ImageNotFound, fault.RepositoryNotFound.
func (s *Service) ListImageLayers(ctx context.Context, by identity.Caller, im PinnedImage, _ *ecrintypes.ListImageLayersRequest) (
	*ecrintypes.ListImageLayersResponse, error) {
	body, err := s.meta.Body(ctx, im.Digest) // a pull would be recorded
	if err != nil {
		return nil, err
	}
	head, err := s.registry.Head(ctx, im.Repository.Repository, name.Reference{Digest: im.Digest})
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListImageLayersResponse{ImageDigest: im.Digest.String(), Layers: []ecrintypes.SharedLayer{}}
	m, err := manifest.Parse(body, head.MediaType)
	if err != nil {
		return out, nil // manifests are checked when they are pushed
	}
	r := im.Repository.At
	sight, lookups, seen := s.sightOf(by, r, "ecrin:ListImageLayers", "ecr:DescribeImages"), 0, map[name.Digest]bool{}
	for _, l := range m.Layers {
		if seen[l.Digest] {
			continue
		}
		if len(out.Layers) == maxSharedLayers || lookups >= maxSharedLookups {
			out.More = true
			break
		}
		seen[l.Digest] = true
		one, err := s.sharedLayer(ctx, r, l.Digest, sight, &lookups)
		if err != nil {
			return nil, err
		}
		out.Layers = append(out.Layers, one)
	}
	return out, nil
}

// sharedLayer tells of one layer where it is, as far as the caller sees it.
func (s *Service) sharedLayer(ctx context.Context, r ecr.Registry, d name.Digest, sight *sight, lookups *int) (
	one ecrintypes.SharedLayer, err error) {
	one = ecrintypes.SharedLayer{LayerDigest: d.String(), Repositories: []ecrintypes.LayerHolder{}}
	ids, err := s.meta.Holders(ctx, r.Registry, d, maxLayerHolders)
	if err != nil {
		return one, err
	}
	one.More = len(ids) == maxLayerHolders
	for _, id := range ids {
		repo, full, err := sight.of(ctx, id)
		if err != nil {
			return one, err
		}
		if *lookups++; full {
			one.More = true
		}
		if repo == nil {
			continue
		}
		n, err := s.meta.ImagesWithBlob(ctx, id, d, maxLayerImages)
		if err != nil {
			return one, err
		}
		if n > 0 {
			one.Images += int32(n)
			one.Repositories = append(one.Repositories, ecrintypes.LayerHolder{RepositoryName: repo.Name.String(), Images: int32(n)})
		}
	}
	slices.SortFunc(one.Repositories, func(a, b ecrintypes.LayerHolder) int { return cmp.Compare(a.RepositoryName, b.RepositoryName) })
	return one, nil
}
