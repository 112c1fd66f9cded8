package ecrin

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
)

// SignDocument signs a document of a bundle, which is named by its digest, with the key of an application. What it signs cannot be taken
// for a licence.
func (s *Service) SignDocument(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.SignDocumentRequest) (
	*ecrintypes.SignDocumentResponse, error) {
	d, err := s.vendor.Sign(ctx, at.Application, bundle.Message(bundle.Kind(in.DocumentType), in.DocumentDigest))
	if err != nil {
		return nil, err
	}
	return &ecrintypes.SignDocumentResponse{PublicKey: d.PublicKey, Signature: d.Signature, RootKeyId: d.RootKeyID,
		Endorsement: d.Endorsement}, nil
}
