package crash_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// jobRounds returns the number of kills of the tests of jobs.
func jobRounds() int { return slowtest.Soak(2, 3, 40) }

// manifestOf returns the manifest of an image with the blobs of another one.
func manifestOf(im ocitest.Image, number int) []byte {
	config, layer := ocitest.Describe(ocitest.ConfigType, im.Config), ocitest.Describe(ocitest.LayerType, im.Layers[0])
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[`+
		`{"mediaType":%q,"digest":%q,"size":%d}],"annotations":{"number":"%d"}}`, ocitest.ImageType, config.MediaType, config.Digest, config.Size,
		layer.MediaType, layer.Digest, layer.Size, number)
}

// tagsOf lists the tags of a repository.
func tagsOf(t *testing.T, a apptest.Account, repository string) (all []string) {
	t.Helper()
	in := &ecr.ListImagesInput{RepositoryName: &repository, MaxResults: aws.Int32(1000)}
	for pages := ecr.NewListImagesPaginator(a.ECR(), in); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		for try := 0; try < 3 && err != nil && !isAnswer(err); try++ { // see ledger.check
			page, err = pages.NextPage(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range page.ImageIds {
			all = append(all, aws.ToString(id.ImageTag))
		}
	}
	slices.Sort(all)
	return all
}

// eventually calls is until it returns true. It ends the test after two minutes.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	limit := time.After(5 * time.Minute)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-limit:
			t.Fatalf("%s: not after five minutes", what)
		case <-again.C:
		}
	}
}

// keptVersions is how many images the policy of the test keeps.
const keptVersions = 5

// TestKillDuringLifecycle: the server is killed while a lifecycle policy is carried out. The next one goes on: the images that the rule
// does not name stay and can be pulled, each deleted image was deleted once, and the others are gone.
func TestKillDuringLifecycle(t *testing.T) {
	bin, dir := program(t), t.TempDir()
	random := seedtest.New(seedtest.Seed(t), 0)
	im := ocitest.NewImage(1, 100)
	name := "team/app"
	policy := fmt.Sprintf(`{"rules":[{"rulePriority":1,"selection":{"tagStatus":"tagged","tagPrefixList":["v"],`+
		`"countType":"imageCountMoreThan","countNumber":%d},"action":{"type":"expire"}}]}`, keptVersions)
	var others, versions []string
	interrupted, number := 0, 0
	for round := range jobRounds() {
		p := serve(t, bin, dir, "")
		root := apptest.Attach(t, dir).Root(t)
		if round == 0 {
			root.CreateRepository(t, name).PushBlobs(t, im)
		}
		repo := root.Docker(t).Repo(name)
		push := func(tag string) {
			number++
			repo.PutManifest(t, tag, ocitest.ImageType, manifestOf(im, number)).Want(t, http.StatusCreated)
		}
		other := fmt.Sprintf("other-%d", round)
		push(other)
		others = append(others, other)
		for i := range 150 {
			tag := fmt.Sprintf("v-%04d-%03d", round, i)
			push(tag)
			versions = append(versions, tag)
		}
		before := len(versions)
		setPolicy := func() {
			t.Helper()
			if _, err := root.ECR().PutLifecyclePolicy(t.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: &name,
				LifecyclePolicyText: &policy}); err != nil {
				t.Fatal(err)
			}
		}
		setPolicy()
		if begun := random.IntN(4) > 0; begun { // otherwise it has perhaps not begun
			eventually(t, "the first images are deleted", func() bool { return len(tagsOf(t, root, name)) < before+len(others) })
		}
		p.kill()
		p = serve(t, bin, dir, "")
		root = apptest.Attach(t, dir).Root(t)
		if left := len(tagsOf(t, root, name)) - len(others); keptVersions < left && left < before {
			interrupted++
		}
		versions = versions[len(versions)-keptVersions:]
		want := slices.Sorted(slices.Values(slices.Concat(others, versions)))
		eventually(t, "the policy is carried out", func() bool { return len(tagsOf(t, root, name)) <= len(want) })
		if got := tagsOf(t, root, name); !slices.Equal(got, want) {
			t.Fatalf("after kill %d: got the images %q, want %q", round, got, want)
		}
		if _, err := root.Docker(t).Repo(name).VerifyAll(t.Context()); err != nil {
			t.Errorf("after kill %d: %v", round, err)
		}
		if _, err := root.ECR().DeleteLifecyclePolicy(t.Context(), &ecr.DeleteLifecyclePolicyInput{RepositoryName: &name}); err != nil {
			t.Fatal(err)
		}
		p.kill()
	}
	serve(t, bin, dir, "")
	deleted := map[string]int{}
	in := ecrintypes.ListAuditEventsRequest{MaxResults: aws.Int32(1000)}
	acted := regexp.MustCompile(`"lifecycleEventImage":\{"digest":"([^"]+)"`)
	for more := true; more; more = in.NextToken != "" {
		var page ecrintypes.ListAuditEventsResponse
		apptest.Attach(t, dir).Operator(t, "ListAuditEvents", &in, &page)
		in.NextToken = page.NextToken
		for _, line := range page.Events {
			for _, one := range acted.FindAllStringSubmatch(line, -1) {
				deleted[one[1]]++
			}
		}
	}
	for digest, n := range deleted {
		if n != 1 {
			t.Errorf("the trail has %d deletions of %s, want one", n, digest)
		}
	}
	if got, want := len(deleted), number-len(others)-keptVersions; got != want {
		t.Errorf("the trail has deletions of %d images, want %d", got, want)
	}
	t.Logf("%d kills, %d of them while images were deleted: %d images deleted", jobRounds(), interrupted, len(deleted))
}

// TestKillDuringBackfill: the server is killed while a replication backfill copies images. The next one goes on: the destination has
// exactly the images of the source, all can be pulled, and the backfill has counted each of them once.
func TestKillDuringBackfill(t *testing.T) {
	bin, dir := program(t), t.TempDir()
	random := seedtest.New(seedtest.Seed(t), 0)
	im := ocitest.NewImage(1, 100)
	const images = 150
	interrupted := 0
	for round := range jobRounds() {
		name := fmt.Sprintf("team/r%03d", round)
		p := serve(t, bin, dir, "")
		root := apptest.Attach(t, dir).Root(t)
		repo := root.CreateRepository(t, name)
		repo.PushBlobs(t, im)
		for i := range images {
			repo.PutManifest(t, fmt.Sprintf("v%03d", i), ocitest.ImageType, manifestOf(im, i)).Want(t, http.StatusCreated)
		}
		to := types.ReplicationDestination{Region: aws.String("eu-west-1"), RegistryId: aws.String(root.ID)}
		if _, err := root.ECR().PutReplicationConfiguration(t.Context(), &ecr.PutReplicationConfigurationInput{
			ReplicationConfiguration: &types.ReplicationConfiguration{Rules: []types.ReplicationRule{{
				Destinations:      []types.ReplicationDestination{to},
				RepositoryFilters: []types.RepositoryFilter{{Filter: &name, FilterType: types.RepositoryFilterTypePrefixMatch}}}}}}); err != nil {
			t.Fatal(err)
		}
		started, err := root.ECR().StartReplicationBackfill(t.Context(), &ecr.StartReplicationBackfillInput{Destination: &to})
		if err != nil {
			t.Fatal(err)
		}
		if begun := random.IntN(4) > 0; begun { // otherwise it has perhaps not begun
			eventually(t, "the first images are copied", func() bool { return progressOf(t, root, started.ReplicationBackfillId).Completed > 0 })
		}
		p.kill()
		p = serve(t, bin, dir, "")
		root = apptest.Attach(t, dir).Root(t)
		if p := progressOf(t, root, started.ReplicationBackfillId); p.Completed > 0 && p.Completed < images {
			interrupted++
		}
		want := progress{types.ReplicationBackfillStatusComplete, images, images, 0}
		var got progress
		eventually(t, "the backfill goes on", func() bool {
			got = progressOf(t, root, started.ReplicationBackfillId)
			return got.Status != types.ReplicationBackfillStatusPreparing && got.Status != types.ReplicationBackfillStatusInProgress
		})
		if got != want {
			t.Fatalf("after kill %d: got the backfill %+v, want %+v", round, got, want)
		}
		there := root.In("eu-west-1")
		if a, b := tagsOf(t, there, name), tagsOf(t, root, name); !slices.Equal(a, b) || len(a) != images {
			t.Fatalf("after kill %d: the destination has %d tags, and the source %d: want %d", round, len(a), len(b), images)
		}
		if n, err := there.Docker(t).Repo(name).VerifyAll(t.Context()); err != nil || n != images {
			t.Errorf("after kill %d: got %d images in the destination, %v, want %d", round, n, err, images)
		}
		p.kill()
	}
	t.Logf("%d kills, %d of them while images were copied", jobRounds(), interrupted)
}

// progress is that of a backfill.
type progress struct {
	Status                   types.ReplicationBackfillStatus
	Total, Completed, Failed int32
}

func progressOf(t *testing.T, a apptest.Account, id *string) progress {
	t.Helper()
	in := &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: id}
	out, err := a.ECR().DescribeReplicationBackfillResults(t.Context(), in)
	if _, answered := errors.AsType[smithy.APIError](err); err != nil && !answered { // a broken connection: every client repeats
		t.Logf("repeating a request: %v", err)
		out, err = a.ECR().DescribeReplicationBackfillResults(t.Context(), in)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := progress{Status: out.Status}
	if of := out.Progress; of != nil {
		p.Total, p.Completed = aws.ToInt32(of.TotalReplicationCount), aws.ToInt32(of.CompletedReplicationCount)
		p.Failed = aws.ToInt32(of.FailedReplicationCount)
	}
	return p
}
