package ecrin

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// SnapshotDatabase writes a consistent copy of the database to a file of the data directory, whose name it returns: "" if the
// database is in a PostgreSQL server, which has its own ways.
func (s *Service) SnapshotDatabase(ctx context.Context, _ identity.Caller, _ guard.Nothing,
	_ *ecrintypes.SnapshotDatabaseRequest) (*ecrintypes.SnapshotDatabaseResponse, error) {
	file, err := s.meta.Snapshot(ctx)
	return &ecrintypes.SnapshotDatabaseResponse{FileName: file}, err
}

// VerifyStorage compares a part of what is stored with its digests, see registry.Service.Verify. The last part has no
// nextToken.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) VerifyStorage(ctx context.Context, _ identity.Caller, _ guard.Nothing,
	in *ecrintypes.VerifyStorageRequest) (*ecrintypes.VerifyStorageResponse, error) {
	const scope = "VerifyStorage"
	var from registry.VerifyPlace
	if err := s.resume(scope, in.NextToken, &from); err != nil {
		return nil, err
	}
	rate := int64(0)
	if in.BytesPerSecond != nil {
		rate = *in.BytesPerSecond
	}
	v, err := s.registry.Verify(ctx, from, rate)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.VerifyStorageResponse{Blobs: int32(v.Blobs), Manifests: int32(v.Manifests), Bytes: v.Bytes,
		Damages: []ecrintypes.Damage{}}
	for _, d := range v.Damages {
		kind := ecrintypes.DamageKindBLOB
		if d.Manifest {
			kind = ecrintypes.DamageKindMANIFEST
		}
		out.Damages = append(out.Damages, ecrintypes.Damage{Digest: d.Digest, Kind: kind, Reason: d.Reason, Quarantined: d.Quarantined})
	}
	if v.Next.Stage != registry.VerifyDone {
		out.NextToken = s.pages.Listing(scope).SealJSON(v.Next)
	}
	return out, nil
}
