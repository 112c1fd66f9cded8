package ecr

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// InitiateLayerUpload starts an upload that only the caller can continue.
//
// Errors: fault.RepositoryNotFound, fault.QuotaExceeded. Source: ECR API reference, InitiateLayerUpload.
func (s *Service) InitiateLayerUpload(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.InitiateLayerUploadRequest) (*ecrtypes.InitiateLayerUploadResponse, error) {
	if err := s.create(ctx, r); err != nil {
		return nil, err
	}
	u, err := s.registry.BeginUpload(ctx, by, r.Repository, name.SHA256)
	if err != nil {
		return nil, err
	}
	size := registry.WantPart
	return &ecrtypes.InitiateLayerUploadResponse{UploadId: u.ID, PartSize: &size}, nil
}

// UploadLayerPart appends the next part of a layer.
//
// Errors: fault.UploadNotFound, and those of registry.Service.UploadPart. Source: ECR API reference, UploadLayerPart.
func (s *Service) UploadLayerPart(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.UploadLayerPartRequest) (*ecrtypes.UploadLayerPartResponse, error) {
	u, err := s.registry.Upload(ctx, by, r.Repository, in.UploadId)
	if err != nil {
		return nil, err
	}
	u, err = s.registry.UploadPart(ctx, r.Repository, u, in.PartFirstByte, in.PartLastByte, in.LayerPartBlob)
	if err != nil {
		return nil, err
	}
	last := u.Blob.Size - 1
	return &ecrtypes.UploadLayerPartResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		UploadId: u.ID, LastByteReceived: &last}, nil
}

// CompleteLayerUpload checks the digest of an upload and adds its content to the repository as a layer.
//
// Errors: fault.InvalidParameter (a digest), fault.UploadNotFound, fault.LayerAlreadyExists (also for a repeated call),
// and those of registry.Service.CompleteParts. Source: ECR API reference, CompleteLayerUpload.
func (s *Service) CompleteLayerUpload(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.CompleteLayerUploadRequest) (*ecrtypes.CompleteLayerUploadResponse, error) {
	var digests []name.Digest
	for _, text := range in.LayerDigests {
		d, err := name.ParseDigest(text)
		if err != nil {
			return nil, BadMember("layerDigests", "must be sha256: and 64, or sha512: and 128, hexadecimal digits")
		}
		digests = append(digests, d)
	}
	u, err := s.registry.Upload(ctx, by, r.Repository, in.UploadId)
	if errors.Is(err, fault.UploadNotFound) {
		return nil, s.completedBefore(ctx, r.Repository, digests, err)
	}
	if err != nil {
		return nil, err
	}
	d, err := s.registry.CompleteParts(ctx, r.Repository, u, digests)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.CompleteLayerUploadResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		UploadId: in.UploadId, LayerDigest: d.String()}, nil
}

// completedBefore returns the error for the completion of an upload that does not exist. A client may repeat a
// completion whose answer it did not receive; if the repository holds the layer, the error is fault.LayerAlreadyExists,
// otherwise notFound.
func (s *Service) completedBefore(ctx context.Context, r meta.Repository, digests []name.Digest, notFound error) error {
	for _, d := range digests {
		switch _, err := s.meta.Holding(ctx, r.ID, d); {
		case err == nil:
			return registry.LayerAlreadyExists(r, d)
		case !errors.Is(err, fault.BlobNotFound):
			return err
		}
	}
	return notFound
}

// BatchCheckLayerAvailability reports which layers the repository holds.
//
// Source: ECR API reference, BatchCheckLayerAvailability.
func (s *Service) BatchCheckLayerAvailability(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.BatchCheckLayerAvailabilityRequest) (*ecrtypes.BatchCheckLayerAvailabilityResponse, error) {
	out := &ecrtypes.BatchCheckLayerAvailabilityResponse{Layers: []ecrtypes.Layer{}, Failures: []ecrtypes.LayerFailure{}}
	for _, text := range in.LayerDigests {
		d, err := name.ParseDigest(text)
		if err != nil {
			f := ecrtypes.LayerFailure{LayerDigest: &text, FailureCode: ecrtypes.LayerFailureCodeInvalidLayerDigest,
				FailureReason: "Invalid layer digest"}
			if text == "" {
				f.FailureCode, f.FailureReason = ecrtypes.LayerFailureCodeMissingLayerDigest, "Missing layer digest"
			}
			out.Failures = append(out.Failures, f)
			continue
		}
		h, err := s.registry.SoundBlob(ctx, r.Repository, d)
		switch {
		case errors.Is(err, fault.BlobNotFound):
			out.Layers = append(out.Layers, ecrtypes.Layer{LayerDigest: text, LayerAvailability: ecrtypes.LayerAvailabilityUNAVAILABLE})
		case err != nil:
			return nil, err
		default:
			out.Layers = append(out.Layers, ecrtypes.Layer{LayerDigest: text,
				LayerAvailability: ecrtypes.LayerAvailabilityAVAILABLE, LayerSize: &h.Size, MediaType: h.MediaType})
		}
	}
	return out, nil
}

// GetDownloadURLForLayer returns a signed link to a layer, on the host of the request. An image must refer to the
// layer.
//
// Errors: fault.InvalidParameter (the digest), fault.LayersNotFound, fault.LayerInaccessible, and those of bringable.
// Source: ECR API reference, GetDownloadUrlForLayer.
func (s *Service) GetDownloadURLForLayer(ctx context.Context, by identity.Caller, r Repository,
	in *ecrtypes.GetDownloadUrlForLayerRequest) (*ecrtypes.GetDownloadUrlForLayerResponse, error) {
	d, err := name.ParseDigest(in.LayerDigest)
	if err != nil {
		return nil, BadMember("layerDigest", "must be sha256: and 64, or sha512: and 128, hexadecimal digits")
	}
	h, err := s.meta.Holding(ctx, r.ID, d)
	if errors.Is(err, fault.BlobNotFound) {
		l, berr := s.bringable(ctx, by, r, d)
		if berr != nil {
			return nil, berr
		}
		if l != nil {
			h, err = meta.Holding{Digest: d, Size: l.Size, Referenced: true}, nil
		}
	}
	switch {
	case errors.Is(err, fault.BlobNotFound):
		return nil,
			fault.LayersNotFound.New("The layer with digest '%s' does not exist in the repository with name '%s' in the registry with id '%s'", d, r.Name, r.Registry.Account)
	case err != nil:
		return nil, err
	case !h.Referenced:
		return nil,
			fault.LayerInaccessible.New("The layer with digest '%s' is not available: no image of the repository with name '%s' refers to it", d, r.Name)
	}
	scheme := "http"
	if r.At.Secure {
		scheme = "https"
	}
	return &ecrtypes.GetDownloadUrlForLayerResponse{
		DownloadUrl: scheme + "://" + r.At.Host.String() + s.links.Make(by, r.Registry, r.Name, d),
		LayerDigest: d.String(),
	}, nil
}
