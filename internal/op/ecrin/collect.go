package ecrin

import (
	"context"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// collectionPage is where the answers of CollectStorage continue.
type collectionPage struct {
	Job int64                 // 0 for a dry run
	Sum registry.Collected    // what earlier answers had
	Dry registry.CollectPlace // of a dry run
}

// CollectStorage removes what nothing refers to in a job, see registry.Service.StartCollection, and returns what the job has removed
// since the answer before, after a few seconds at the latest. The last answer has no nextToken. graceSeconds is by default that of the
// server; with it nothing is held back. A dry run needs no job.
//
// Errors: fault.InvalidParameter (nextToken), fault.Unavailable (the job failed or was canceled).
func (s *Service) CollectStorage(ctx context.Context, _ identity.Caller, _ guard.Nothing,
	in *ecrintypes.CollectStorageRequest) (*ecrintypes.CollectStorageResponse, error) {
	const scope = "CollectStorage"
	var at collectionPage
	if err := s.resume(scope, in.NextToken, &at); err != nil {
		return nil, err
	}
	o := registry.CollectOptions{Grace: s.registry.Grace(), Full: in.Full != nil && *in.Full, Dry: in.DryRun != nil && *in.DryRun}
	if in.GraceSeconds != nil {
		o.Grace, o.Now = time.Duration(*in.GraceSeconds)*time.Second, true
	}
	var new registry.Collected
	ended := false
	if o.Dry {
		c, err := s.registry.Collect(ctx, at.Dry, o)
		if err != nil {
			return nil, err
		}
		new = registry.Collected{Repositories: c.Repositories, Images: c.Images, Blobs: c.Blobs, Uploads: c.Uploads, Failed: c.Failed,
			Bytes: c.Bytes, Pinned: c.Pinned, HeldUntil: c.HeldUntil}
		at.Dry, ended = c.Next, c.Next.Stage == registry.CollectDone
	} else {
		var err error
		if at.Job == 0 {
			if at.Job, err = s.registry.StartCollection(ctx, registry.RequestedCollection{Grace: o.Grace, Now: o.Now, Full: o.Full}); err != nil {
				return nil, err
			}
		}
		sum, end, err := s.registry.RequestedProgress(ctx, at.Job)
		if err != nil {
			return nil, err
		}
		new, ended, at.Sum = sum.Since(at.Sum), end, sum
	}
	out := &ecrintypes.CollectStorageResponse{Repositories: int32(new.Repositories), Images: int32(new.Images), Blobs: int32(new.Blobs),
		Bytes: new.Bytes, Uploads: int32(new.Uploads), Pinned: new.Pinned, Failed: int32(new.Failed), GraceSeconds: int64(o.Grace / time.Second)}
	if at.Job != 0 {
		out.JobId = strconv.FormatInt(at.Job, 10)
	}
	out.HeldUntil = awswire.At(new.HeldUntil)
	if !ended {
		out.NextToken = s.pages.Listing(scope).SealJSON(at)
	}
	return out, nil
}
