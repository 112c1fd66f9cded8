package metatest

import (
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func testBackfills(fx *Fixture) {
	to := name.Registry{Account: Account, Region: london}
	b, err := fx.StartBackfill(fx.Ctx, Registry, to)
	fx.Must(err)
	_, err = fx.StartBackfill(fx.Ctx, Registry, to)
	fx.Want(err, fault.BackfillInProgress, "a second backfill to a region")
	jobs, err := fx.Jobs(fx.Ctx, Account.String(), 0, 10)
	fx.Must(err)
	if len(jobs) != 1 || jobs[0].Kind != meta.BackfillKind || jobs[0].Key != fmt.Sprint(b.ID) {
		fx.Errorf("the jobs: got %+v, want one of the backfill", jobs)
	}
	fx.Must(fx.BeginBackfill(fx.Ctx, b.ID, 3))
	results := []meta.BackfillResult{{Repository: "a", Digest: "d", Tag: "1"}, {Repository: "a", Digest: "d", Tag: "2"},
		{Repository: "b", Digest: "e", Code: "Bad"}}
	for range 2 { // a job repeats what it did before it was interrupted
		got, err := fx.AddBackfillResults(fx.Ctx, b.ID, results)
		fx.Must(err)
		if got.Completed != 2 || got.Failed != 1 || fmt.Sprint(got.Codes) != "[Bad]" || got.Total != 3 || got.Status != meta.BackfillInProgress {
			fx.Errorf("after the results: got %+v", got)
		}
	}
	list := func(status meta.BackfillStatus, after meta.BackfillResult, limit int) []meta.BackfillResult {
		fx.Helper()
		all, err := fx.BackfillResults(fx.Ctx, b.ID, status, after, limit)
		fx.Must(err)
		return all
	}
	fx.Equal(list(0, meta.BackfillResult{}, 2), results[:2], "the first page of results")
	fx.Equal(list(0, results[1], 2), results[2:], "the second page")
	fx.Equal(list(meta.BackfillFailed, meta.BackfillResult{}, 9), results[2:], "the failed results")
	fx.Equal(list(meta.BackfillComplete, meta.BackfillResult{}, 9), results[:2], "the other results")

	_, err = fx.StopBackfill(fx.Ctx, to, b.ID)
	fx.Want(err, fault.BackfillNotFound, "stopping a backfill of another registry")
	stopped, err := fx.StopBackfill(fx.Ctx, Registry, b.ID)
	fx.Must(err)
	if stopped.Status != meta.BackfillStopping {
		fx.Errorf("the stopping backfill: got %+v", stopped)
	}
	_, err = fx.StopBackfill(fx.Ctx, Registry, b.ID)
	fx.Want(err, fault.BackfillEnded, "stopping twice")
	fx.Must(fx.BeginBackfill(fx.Ctx, b.ID, 3))
	fx.Must(fx.EndBackfill(fx.Ctx, b.ID, meta.BackfillStopped, ""))
	if got, err := fx.Backfill(fx.Ctx, Registry, b.ID); err != nil || got.Status != meta.BackfillStopped || got.EndedAt.IsZero() {
		fx.Errorf("the end: got %+v, %v", got, err)
	}
	for i := range 10 {
		region := name.Registry{Account: Account, Region: must(name.ParseRegion(fmt.Sprintf("eu-test-%d", i)))}
		_, err := fx.StartBackfill(fx.Ctx, Registry, region)
		fx.Must(err)
	}
	_, err = fx.StartBackfill(fx.Ctx, Registry, to)
	fx.Want(err, fault.LimitExceeded, "an eleventh backfill")
	page, err := fx.Backfills(fx.Ctx, Registry, 0, 3)
	fx.Must(err)
	rest, err := fx.Backfills(fx.Ctx, Registry, page[2].ID, 100)
	fx.Must(err)
	if len(page) != 3 || len(rest) != 8 || rest[7].ID != b.ID {
		fx.Errorf("the list in pages: got %d and %d, want 3 and 8, the first backfill last", len(page), len(rest))
	}
	_, err = fx.BackfillByID(fx.Ctx, 1)
	fx.Want(err, fault.BackfillNotFound, "no backfill")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
