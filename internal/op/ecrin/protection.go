package ecrin

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// protections are the values of protection in the order of those of meta.Protection.
var protections = [...]ecrintypes.Protection{
	meta.Unprotected:      ecrintypes.ProtectionNONE,
	meta.ProtectsItself:   ecrintypes.ProtectionREPOSITORY,
	meta.ProtectsContents: ecrintypes.ProtectionREPOSITORY_AND_IMAGES,
}

// PutRepositoryProtection sets what of a repository cannot be deleted, by nobody: nothing, the repository, or also its images and tags.
//
// Errors: fault.RepositoryNotFound.
func (s *Service) PutRepositoryProtection(ctx context.Context, _ identity.Caller, r ecr.Repository,
	in *ecrintypes.PutRepositoryProtectionRequest) (*ecrintypes.RepositoryProtectionResponse, error) {
	for p, value := range protections {
		if value == in.Protection {
			r.Protection = meta.Protection(p)
		}
	}
	return protectionOf(r), s.meta.SetProtection(ctx, r.Repository, r.Protection)
}

// GetRepositoryProtection returns what of a repository cannot be deleted.
func (s *Service) GetRepositoryProtection(_ context.Context, _ identity.Caller, r ecr.Repository,
	_ *ecrintypes.GetRepositoryProtectionRequest) (*ecrintypes.RepositoryProtectionResponse, error) {
	return protectionOf(r), nil
}

func protectionOf(r ecr.Repository) *ecrintypes.RepositoryProtectionResponse {
	return &ecrintypes.RepositoryProtectionResponse{RegistryId: r.Registry.Account.String(), RepositoryName: r.Name.String(),
		Protection: protections[r.Protection]}
}
