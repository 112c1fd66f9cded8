package ecrin

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// CollectStorage removes a part of what nothing refers to, see registry.Service.Collect. graceSeconds is by default that of the
// server; with it nothing is held back. The last part has no nextToken.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) CollectStorage(ctx context.Context, _ identity.Caller, _ guard.Nothing,
	in *ecrintypes.CollectStorageRequest) (*ecrintypes.CollectStorageResponse, error) {
	const scope = "CollectStorage"
	var from registry.CollectPlace
	if in.NextToken != "" {
		if err := s.resume(scope, in.NextToken, &from); err != nil {
			return nil, err
		}
	}
	o := registry.CollectOptions{Grace: s.registry.Grace(), Full: in.Full != nil && *in.Full, Dry: in.DryRun != nil && *in.DryRun}
	if in.GraceSeconds != nil {
		o.Grace, o.Now = time.Duration(*in.GraceSeconds)*time.Second, true
	}
	c, err := s.registry.Collect(ctx, from, o)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.CollectStorageResponse{Repositories: int32(c.Repositories), Images: int32(c.Images), Blobs: int32(c.Blobs),
		Bytes: c.Bytes, Uploads: int32(c.Uploads), Pinned: c.Pinned, Failed: int32(c.Failed), GraceSeconds: int64(o.Grace / time.Second)}
	out.HeldUntil = awswire.At(c.HeldUntil)
	if c.Next.Stage != registry.CollectDone {
		out.NextToken = s.pages.Listing(scope).SealJSON(c.Next)
	}
	return out, nil
}
