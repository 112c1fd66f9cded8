package attacks_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// maxMB is what the process may have resident under these loads, in MB.
const maxMB = 150

// largestImage stores an image whose manifest has 3.9 MB, under 100 tags.
func largestImage(t *testing.T, a apptest.Account, repository string) (digest string, tags []string) {
	t.Helper()
	repo := a.CreateRepository(t, repository)
	im := ocitest.NewImage(1, 10)
	repo.PushBlobs(t, im)
	var m map[string]any
	if err := json.Unmarshal(im.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	m["annotations"] = map[string]string{"note": strings.Repeat("n", 3_900_000)}
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		tags = append(tags, fmt.Sprint(i))
	}
	digest = ocitest.SHA256(body)
	for i := 0; i < 100; i += 10 {
		query := "?tag=" + strings.Join(tags[i:i+10], "&tag=")
		repo.Do(t, http.MethodPut, repo.Path("/manifests/"+digest+query), body, "Content-Type", ocitest.ImageType).Want(t, http.StatusCreated)
	}
	return digest, tags
}

// get calls BatchGetImage. The SDK decodes the answer in this process. A call is repeated once if this process closed the
// connection while it read the answer, which has been seen once, on a busy machine, and is not explained yet.
func get(t *testing.T, a apptest.Account, repository string, ids []types.ImageIdentifier) {
	in := &ecr.BatchGetImageInput{RepositoryName: &repository, ImageIds: ids}
	out, err := a.ECR().BatchGetImage(t.Context(), in)
	if errors.Is(err, net.ErrClosed) {
		t.Logf("BatchGetImage of %d ids, repeated after: %v", len(ids), err)
		out, err = a.ECR().BatchGetImage(t.Context(), in)
	}
	if err != nil {
		t.Errorf("BatchGetImage of %d ids: %v", len(ids), err)
		return
	}
	var answer int
	for _, im := range out.Images {
		answer += len(aws.ToString(im.ImageManifest))
	}
	if answer > 8<<20 || answer == 0 {
		t.Errorf("BatchGetImage of %d ids: got %d bytes of manifests, want some, at most 8 MiB", len(ids), answer)
	}
}

// The same large manifest a hundred times over, by digest and by a hundred tags, from four clients at once and then from sixteen, some
// of which do not read the answer, does not fill the memory.
func TestBatchGetImageOfLargeManifestsKeepsMemory(t *testing.T) {
	p := serve(t, "")
	root := p.Root(t)
	digest, tags := largestImage(t, root, "team/app")
	var same, tagged []types.ImageIdentifier
	for _, tag := range tags {
		same = append(same, types.ImageIdentifier{ImageDigest: &digest})
		tagged = append(tagged, types.ImageIdentifier{ImageTag: &tag})
	}
	for _, load := range []struct {
		name    string
		clients int
		ids     []types.ImageIdentifier
	}{{"the same digest", 4, same}, {"a hundred tags", 4, tagged}, {"a hundred tags", 16, tagged}} {
		p.resetPeak(t)
		var all sync.WaitGroup
		for range load.clients {
			all.Go(func() {
				for range 2 {
					get(t, root, "team/app", load.ids)
				}
			})
		}
		all.Wait()
		got := p.peak(t)
		t.Logf("%s, %d clients: %d MB", load.name, load.clients, got)
		if got > maxMB {
			t.Errorf("%s, %d clients: got %d MB resident, want at most %d", load.name, load.clients, got, maxMB)
		}
	}

	p.resetPeak(t)
	body, err := json.Marshal(map[string]any{"repositoryName": "team/app", "imageIds": tagged})
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		conn := dial(t, p)
		r := sign(t, p, root, "BatchGetImage", body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err := r.Write(conn); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	get(t, root, "team/app", same)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("an honest call beside 200 that do not read their answers: got %v, want less than 5s", took)
	}
	got := p.peak(t)
	t.Logf("200 answers that nobody reads: %d MB", got)
	if got > maxMB {
		t.Errorf("200 answers that nobody reads: got %d MB resident, want at most %d", got, maxMB)
	}
}
