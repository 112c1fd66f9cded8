package awsapi

import (
	"errors"

	"github.com/ecrin-dev/ecrin/internal/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/registry"
)

func (a *API) initiateLayerUpload(c *call, in *ecrtypes.InitiateLayerUploadRequest) (*ecrtypes.InitiateLayerUploadResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	u, err := a.registry.BeginUpload(c.ctx, c.caller, r, name.SHA256)
	if err != nil {
		return nil, err
	}
	size := registry.WantPart
	return &ecrtypes.InitiateLayerUploadResponse{UploadId: u.ID, PartSize: &size}, nil
}

func (a *API) uploadLayerPart(c *call, in *ecrtypes.UploadLayerPartRequest) (*ecrtypes.UploadLayerPartResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	u, err := a.registry.Upload(c.ctx, c.caller, r, in.UploadId)
	if err != nil {
		return nil, err
	}
	u, err = a.registry.UploadPart(c.ctx, r, u, in.PartFirstByte, in.PartLastByte, in.LayerPartBlob)
	if err != nil {
		return nil, err
	}
	last := u.Blob.Size - 1
	return &ecrtypes.UploadLayerPartResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(), UploadId: u.ID, LastByteReceived: &last}, nil
}

func (a *API) completeLayerUpload(c *call, in *ecrtypes.CompleteLayerUploadRequest) (*ecrtypes.CompleteLayerUploadResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	var digests []name.Digest
	for _, s := range in.LayerDigests {
		d, err := name.ParseDigest(s)
		if err != nil {
			return nil, badMember("layerDigests", "must be sha256: and 64, or sha512: and 128, hexadecimal digits")
		}
		digests = append(digests, d)
	}
	u, err := a.registry.Upload(c.ctx, c.caller, r, in.UploadId)
	if errors.Is(err, fault.UploadNotFound) {
		return nil, a.completedBefore(c, r, digests, err)
	}
	if err != nil {
		return nil, err
	}
	d, err := a.registry.CompleteParts(c.ctx, r, u, digests)
	if err != nil {
		return nil, err
	}
	c.ev.Digest = d.String()
	return &ecrtypes.CompleteLayerUploadResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(), UploadId: in.UploadId, LayerDigest: d.String()}, nil
}

// completedBefore is the answer to a call whose upload is gone: a client that repeats it, since it got no answer, hears
// that the layer is there. Errors: fault.LayerAlreadyExists, otherwise gone.
func (a *API) completedBefore(c *call, r meta.Repository, digests []name.Digest, gone error) error {
	for _, d := range digests {
		switch _, err := a.registry.Meta().Holding(c.ctx, r.ID, d); {
		case err == nil:
			return registry.LayerAlreadyExists(r, d)
		case !errors.Is(err, fault.BlobNotFound):
			return err
		}
	}
	return gone
}

func (a *API) batchCheckLayerAvailability(c *call, in *ecrtypes.BatchCheckLayerAvailabilityRequest) (*ecrtypes.BatchCheckLayerAvailabilityResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.BatchCheckLayerAvailabilityResponse{Layers: []ecrtypes.Layer{}, Failures: []ecrtypes.LayerFailure{}}
	for _, s := range in.LayerDigests {
		d, err := name.ParseDigest(s)
		if err != nil {
			f := ecrtypes.LayerFailure{LayerDigest: &s, FailureCode: ecrtypes.LayerFailureCodeInvalidLayerDigest, FailureReason: "Invalid layer digest"}
			if s == "" {
				f.FailureCode, f.FailureReason = ecrtypes.LayerFailureCodeMissingLayerDigest, "Missing layer digest"
			}
			out.Failures = append(out.Failures, f)
			continue
		}
		h, err := a.registry.Meta().Holding(c.ctx, r.ID, d)
		switch {
		case errors.Is(err, fault.BlobNotFound):
			out.Layers = append(out.Layers, ecrtypes.Layer{LayerDigest: s, LayerAvailability: ecrtypes.LayerAvailabilityUNAVAILABLE})
		case err != nil:
			return nil, err
		default:
			out.Layers = append(out.Layers, ecrtypes.Layer{LayerDigest: s, LayerAvailability: ecrtypes.LayerAvailabilityAVAILABLE, LayerSize: &h.Size, MediaType: h.MediaType})
		}
	}
	return out, nil
}

// getDownloadURLForLayer answers a direct address on the host that was asked. Only layers that an image names have one.
// Source: ECR API reference, GetDownloadUrlForLayer.
func (a *API) getDownloadURLForLayer(c *call, in *ecrtypes.GetDownloadUrlForLayerRequest) (*ecrtypes.GetDownloadUrlForLayerResponse, error) {
	r, err := a.find(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	d, err := name.ParseDigest(in.LayerDigest)
	if err != nil {
		return nil, badMember("layerDigest", "must be sha256: and 64, or sha512: and 128, hexadecimal digits")
	}
	h, err := a.registry.Meta().Holding(c.ctx, r.ID, d)
	switch {
	case errors.Is(err, fault.BlobNotFound):
		return nil, fault.LayersNotFound.New("The layer with digest '%s' does not exist in the repository with name '%s' in the registry with id '%s'", d, r.Name, r.Registry.Account)
	case err != nil:
		return nil, err
	case !h.Referenced:
		return nil, fault.LayerInaccessible.New("The layer with digest '%s' is not available: no image of the repository with name '%s' refers to it", d, r.Name)
	}
	scheme := "http"
	if c.secure {
		scheme = "https"
	}
	return &ecrtypes.GetDownloadUrlForLayerResponse{
		DownloadUrl: scheme + "://" + c.host.String() + a.links.Make(c.caller, r.Registry, r.Name, d),
		LayerDigest: d.String(),
	}, nil
}
