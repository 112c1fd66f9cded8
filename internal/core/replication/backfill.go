package replication

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// backfillPage is how many images one step of a backfill copies, after which its results are recorded.
	backfillPage = 20
	// judgedAfter is how many images a backfill has tried before it can fail: it fails when half of them failed. Source: ECR user guide,
	// replication backfill.
	judgedAfter = 100
	// codeTooManyFailures is the failure code of such a backfill.
	codeTooManyFailures = "TooManyFailures"
)

// backfillPlace is where the job of a backfill continues.
type backfillPlace struct {
	Repository string        `json:"repository"` // the last one that is complete
	Position   meta.Position `json:"position"`   // of the last image of the next one
	Counted    int64         `json:"counted"`    // while it is prepared
	Copying    bool          `json:"copying"`
}

// backfill executes a replication backfill: it counts what is to be copied, and copies it.
func (s *Service) backfill(ctx context.Context, j *jobs.Job) error {
	id, err := strconv.ParseInt(j.Key(), 10, 64)
	if err != nil {
		return jobs.Permanent(err)
	}
	b, err := s.meta.BackfillByID(ctx, id)
	if errors.Is(err, fault.BackfillNotFound) {
		return jobs.Permanent(err)
	}
	var at backfillPlace
	if err == nil {
		err = j.Place(&at)
	}
	for err == nil && !b.Status.Ended() {
		switch {
		case b.Status == meta.BackfillStopping:
			return s.meta.EndBackfill(ctx, id, meta.BackfillStopped, "")
		case b.Completed+b.Failed >= judgedAfter && 2*b.Failed >= b.Completed+b.Failed:
			return s.meta.EndBackfill(ctx, id, meta.BackfillFailed, codeTooManyFailures)
		}
		var ended bool
		saved := time.Now()
		touch := func() { // a long transfer shows that the attempt lives
			if time.Since(saved) > touchEvery {
				saved = time.Now()
				_ = j.Save(ctx, at, b.Completed+b.Failed, b.Total) // a lost lease ends ctx
			}
		}
		if ended, err = s.backfillStep(ctx, b, &at, touch); err != nil {
			break
		}
		switch {
		case ended && at.Copying:
			return s.meta.EndBackfill(ctx, id, meta.BackfillComplete, "")
		case ended:
			err = s.meta.BeginBackfill(ctx, id, at.Counted)
			at = backfillPlace{Copying: true}
		}
		if err == nil {
			err = j.Save(ctx, at, b.Completed+b.Failed, b.Total)
		}
		if err == nil {
			b, err = s.meta.BackfillByID(ctx, id)
		}
	}
	return err
}

// backfillStep counts or copies one page of images, and reports whether it was the last one.
func (s *Service) backfillStep(ctx context.Context, b meta.Backfill, at *backfillPlace, touch func()) (ended bool, err error) {
	rules, err := s.meta.ReplicationRules(ctx, b.From)
	if err != nil {
		return false, err
	}
	repo, found, err := s.meta.NextRepository(ctx, b.From, at.Repository)
	if err != nil || !found {
		return err == nil, err
	}
	if !selects(rules, repo.Name, b.To) {
		at.Repository, at.Position = repo.Name.String(), meta.Position{}
		return false, nil
	}
	page, err := s.meta.Images(ctx, repo.ID, meta.Any, at.Position, backfillPage)
	if err != nil {
		return false, err
	}
	var results []meta.BackfillResult
	for _, im := range page {
		if at.Counted += int64(max(1, len(im.Tags))); !at.Copying {
			continue
		}
		code, err := s.backfillImage(ctx, b, repo, im, touch)
		if err != nil {
			return false, err
		}
		one := meta.BackfillResult{Repository: repo.Name.String(), Digest: im.Digest.String(), Code: code}
		for _, tag := range im.Tags {
			one.Tag = tag
			results = append(results, one)
		}
		if len(im.Tags) == 0 {
			results = append(results, one)
		}
	}
	if len(results) > 0 {
		if _, err := s.meta.AddBackfillResults(ctx, b.ID, results); err != nil {
			return false, err
		}
	}
	if len(page) < backfillPage {
		at.Repository, at.Position = repo.Name.String(), meta.Position{}
		return false, nil
	}
	last := page[len(page)-1]
	at.Position = meta.Position{PushedAt: last.PushedAt.UnixMicro(), Digest: last.Digest.String()}
	return false, nil
}

// backfillImage copies one image and returns the code of its failure, "" for success. An error is one after which it is tried again.
func (s *Service) backfillImage(ctx context.Context, b meta.Backfill, repo meta.Repository, im meta.Image,
	touch func()) (code string, err error) {
	switch i, err := s.meta.IntegrationFor(ctx, b.From.Account, b.To); {
	case err == nil:
		return s.backfillOutside(ctx, i, repo, im.Digest, touch)
	case !errors.Is(err, fault.IntegrationNotFound):
		return "", err
	}
	to, err := s.destination(ctx, repo, b.To)
	if err == nil {
		_, err = s.copy(ctx, repo, to, im.Digest, meta.Put{Principal: identity.RootARN(b.From.Account)},
			meta.CopyOptions{AllTags: true, Last: true})
	}
	var refused *refusal
	switch {
	case err == nil:
		return "", nil
	case errors.As(err, &refused):
		return refused.code, nil
	case errors.Is(err, fault.ImageNotFound), errors.Is(err, fault.RepositoryNotFound):
		return codeLost, nil
	case errors.Is(err, fault.LayersNotFound), errors.Is(err, fault.ReferencedImagesNotFound), errors.Is(err, fault.ManifestInvalid):
		return codeUnavailable, nil
	}
	return "", err
}

// selects reports whether one of the rules copies what is pushed to a repository to a destination.
func selects(rules []meta.ReplicationRule, repo name.Repo, to name.Registry) bool {
	return slices.ContainsFunc(rules, func(r meta.ReplicationRule) bool {
		return slices.Contains(r.Destinations, to) && (len(r.Prefixes) == 0 ||
			slices.ContainsFunc(r.Prefixes, func(p string) bool { return strings.HasPrefix(repo.String(), p) }))
	})
}
