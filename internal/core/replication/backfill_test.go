package replication_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// ended waits until a backfill has ended, and returns it with its results.
func ended(t *testing.T, a apptest.Account, id *string) *ecr.DescribeReplicationBackfillResultsOutput {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		in := &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: id}
		out, err := a.ECR().DescribeReplicationBackfillResults(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if out.EndedAt != nil {
			return out
		}
		if len(out.Results) != 0 {
			t.Fatalf("a backfill that goes on shows results: %+v", out.Results)
		}
	}
	t.Fatal("the backfill has not ended in 30 s")
	return nil
}

// A backfill copies what was pushed before the rule, once for each tag, to the destination that is named, and shows what became of it.
func TestBackfillCopiesWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	here, there := s.Root(t), s.Root(t).In("eu-west-1")
	repo := here.CreateRepository(t, "team/app")
	for i := range 23 { // more than one step copies
		repo.Push(t, fmt.Sprintf("v%d", i), ocitest.NewImage(uint64(i+1), 1000))
	}
	repo.Push(t, "again", ocitest.NewImage(1, 1000))
	here.CreateRepository(t, "other").Push(t, "v1", ocitest.NewImage(99, 1000))
	region := "eu-west-1"
	destination := &types.ReplicationDestination{Region: &region, RegistryId: aws.String(home)}
	_, err := here.ECR().StartReplicationBackfill(t.Context(), &ecr.StartReplicationBackfillInput{Destination: destination})
	wantError(t, err, "InvalidParameterException") // no rule has it
	rule(t, here, "team/", to("eu-west-1", home))
	started, err := here.ECR().StartReplicationBackfill(t.Context(), &ecr.StartReplicationBackfillInput{Destination: destination})
	if err != nil {
		t.Fatal(err)
	}
	if started.Status != types.ReplicationBackfillStatusPreparing || started.StartedAt == nil {
		t.Errorf("the start: got %+v", started)
	}
	done := ended(t, here, started.ReplicationBackfillId)
	if p := done.Progress; done.Status != types.ReplicationBackfillStatusComplete || *p.TotalReplicationCount != 24 ||
		*p.CompletedReplicationCount != 24 || *p.FailedReplicationCount != 0 || len(done.Results) != 24 {
		t.Errorf("the end: got %s, %+v with %d results, want 24 copies", done.Status, p, len(done.Results))
	}
	for _, tag := range []string{"v0", "v22", "again"} {
		if err := there.Docker(t).Repo("team/app").Verify(t.Context(), tag); err != nil {
			t.Error(err)
		}
	}
	unselected := "other"
	_, err = there.ECR().ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: &unselected})
	wantError(t, err, "RepositoryNotFoundException")

	size := int32(10)
	var got []string
	in := &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: started.ReplicationBackfillId, MaxResults: &size}
	for {
		page, err := here.ECR().DescribeReplicationBackfillResults(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Results {
			got = append(got, aws.ToString(r.ImageId.ImageTag))
		}
		if in.NextToken = page.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(got) != 24 {
		t.Errorf("the results in pages: got %q, want 24", got)
	}
	in = &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: started.ReplicationBackfillId,
		ResultStatusFilter: types.ReplicationBackfillResultStatusFailed}
	if page, err := here.ECR().DescribeReplicationBackfillResults(t.Context(), in); err != nil || len(page.Results) != 0 {
		t.Errorf("the failed results: got %+v, %v, want none", page, err)
	}
	list, err := here.ECR().ListReplicationBackfills(t.Context(), &ecr.ListReplicationBackfillsInput{})
	if err != nil || len(list.Backfills) != 1 || *list.Backfills[0].ReplicationBackfillId != *started.ReplicationBackfillId {
		t.Errorf("the list: got %+v, %v", list, err)
	}
	stop := &ecr.StopReplicationBackfillInput{ReplicationBackfillId: started.ReplicationBackfillId}
	_, err = here.ECR().StopReplicationBackfill(t.Context(), stop)
	wantError(t, err, "ReplicationBackfillInvalidStatusException")
	_, err = there.ECR().StopReplicationBackfill(t.Context(), stop)
	wantError(t, err, "ReplicationBackfillNotFoundException")
}

// Images that the destination refuses are results with a code; when half of a hundred failed, the backfill has failed.
func TestBackfillFails(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	here := s.Root(t)
	s.NewAccount(t, other)
	repo := here.CreateRepository(t, "app")
	im := ocitest.NewImage(1, 1000)
	repo.PushBlobs(t, im)
	for i := range 120 {
		body := fmt.Sprintf("%s%*s", im.Manifest, i, "") // the same with another digest
		repo.PutManifest(t, fmt.Sprintf("v%d", i), ocitest.ImageType, []byte(body)).Want(t, 201)
	}
	region := s.Running.Region
	rule(t, here, "", to(region, other))
	started, err := here.ECR().StartReplicationBackfill(t.Context(), &ecr.StartReplicationBackfillInput{
		Destination: &types.ReplicationDestination{Region: &region, RegistryId: aws.String(other)}})
	if err != nil {
		t.Fatal(err)
	}
	done := ended(t, here, started.ReplicationBackfillId)
	if p := done.Progress; done.Status != types.ReplicationBackfillStatusFailed || aws.ToString(done.FailureCode) == "" ||
		*p.FailedReplicationCount != 100 || len(p.FailureCodes) != 1 || p.FailureCodes[0] != "AccessDenied" {
		t.Errorf("the end: got %s %s, %+v, want that it failed after 100", done.Status, aws.ToString(done.FailureCode), p)
	}
	if r := done.Results; len(r) != 100 || r[0].Status != types.ReplicationBackfillResultStatusFailed ||
		aws.ToString(r[0].FailureCode) != "AccessDenied" {
		t.Errorf("the results: got %d, the first %+v", len(r), r[0])
	}
}
