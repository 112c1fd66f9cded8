package outside_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrsdk "github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// limit sets the quota of bytes of the account of a server.
func limit(t testing.TB, s *apptest.Server, bytes int64) {
	t.Helper()
	s.Operator(t, "PutQuota", &ecrintypes.PutQuotaRequest{MaxBytes: &bytes}, &ecrintypes.QuotaResponse{})
}

// full makes a destination full, each in another way, and returns what makes room.
var full = map[string]func(t *testing.T, far *apptest.Server, f *front) (room func()){
	"quota": func(t *testing.T, far *apptest.Server, _ *front) func() {
		limit(t, far, 10_000)
		return func() { limit(t, far, 1_000_000_000) }
	},
	"disk": func(_ *testing.T, _ *apptest.Server, f *front) func() {
		f.set(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut && r.Method != http.MethodPatch {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"errors":[{"code":"UNAVAILABLE","message":"the registry's disk is full: nothing of this request was stored"}]}`))
			return true
		})
		return func() { f.set(nil) }
	},
}

// A destination that is full says so, in the status of the image and at the integration, and has the image when there is room.
func TestReplicationToAFullDestination(t *testing.T) {
	t.Parallel()
	for what, fill := range full {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n, far, f := pair(t, nil)
			root := n.Root(t)
			room := fill(t, far, f)
			im := ocitest.NewImage(1, 100_000)
			root.CreateRepository(t, "team/app").Push(t, "v1", im)
			eventually(t, "the failure", func() bool {
				state, code := status(t, root, "team/app", im.Digest)
				return state == ecrsdk.ReplicationStatusFailed && code == "DestinationFull"
			})
			var show ecrintypes.DescribeIntegrationsResponse
			if err := call(t, n, "DescribeIntegrations", ecrintypes.DescribeIntegrationsRequest{}, &show); err != nil ||
				!strings.Contains(show.Integrations[0].LastError, "make room at the other side") {
				t.Errorf("the integration: got %s, %v, want that it says what to do", shown(show), err)
			}
			room()
			complete(t, root, "team/app", im.Digest)
			pulls(t, far, "team/app", "v1", im)
		})
	}
}

// A copy to a destination that is full is tried again, says why, and ends when there is room.
func TestCopyToAFullDestination(t *testing.T) {
	t.Parallel()
	for what, fill := range full {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n, far, f := target(t)
			room := fill(t, far, f)
			im := ocitest.NewImage(1, 100_000)
			n.Root(t).CreateRepository(t, "team/app").Push(t, "v1", im)
			id := started(t, n, ecrintypes.CopyImageRequest{RepositoryName: "team/app", ImageTag: "v1", DestinationRepositoryName: "team/app"})
			eventually(t, "the failure of an attempt", func() bool {
				var out ecrintypes.JobResponse
				err := call(t, n, "DescribeJob", ecrintypes.JobRequest{JobId: id}, &out)
				if err != nil || out.Job.State == ecrintypes.JobStateFAILED {
					t.Fatalf("the job: got %s, %v, want one that is tried again", shown(out), err)
				}
				return strings.Contains(out.Job.Error, "DestinationFull") && strings.Contains(out.Job.Error, "make room at the other side")
			})
			room()
			if j := ended(t, n, id); j.State != ecrintypes.JobStateDONE {
				t.Errorf("the copy: got %s, want it done", shown(j))
			}
			pulls(t, far, "team/app", "v1", im)
		})
	}
}

// An immutable tag of the destination stays where it is. The image arrives without it, also when it has other tags, and the replication
// is complete.
func TestReplicationToAnImmutableTag(t *testing.T) {
	t.Parallel()
	n, far, _ := pair(t, nil)
	if _, err := far.Root(t).ECR().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("team/app"),
		ImageTagMutability: ecrsdk.ImageTagMutabilityImmutable}); err != nil {
		t.Fatal(err)
	}
	first, second := ocitest.NewImage(1, 1000), ocitest.NewImage(2, 1000)
	far.Root(t).Docker(t).Repo("team/app").Push(t, "v1", first)
	root := n.Root(t)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "v1", second)
	complete(t, root, "team/app", second.Digest)
	pulls(t, far, "team/app", "v1", first)
	pulls(t, far, "team/app", second.Digest, second)
	repo.Push(t, "v2", second)
	eventually(t, "the tag that is free there", func() bool {
		return far.Root(t).Docker(t).Repo("team/app").Manifest(t, "v2").Status == http.StatusOK
	})
	pulls(t, far, "team/app", "v2", second)
	pulls(t, far, "team/app", "v1", first)
}

// What waits while the master key of the source is replaced is sent afterwards: the secret of the integration is sealed again.
func TestReplicationAfterAnotherMasterKey(t *testing.T) {
	t.Parallel()
	n, far, f := pair(t, nil)
	root := n.Root(t)
	f.set(down)
	im := ocitest.NewImage(1, 1000)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "v1", im)
	id := started(t, n, ecrintypes.CopyImageRequest{RepositoryName: "team/app", ImageTag: "v1", DestinationRepositoryName: "team/copy"})
	n.Stop(t)
	if code, _, errs := ecrin(t, n, "key", "rotate"); code != 0 {
		t.Fatalf("ecrin key rotate: got %d, %s", code, errs)
	}
	n.Restart(t)
	f.set(nil)
	complete(t, root, "team/app", im.Digest)
	if j := ended(t, n, id); j.State != ecrintypes.JobStateDONE {
		t.Errorf("the copy: got %s, want it done", shown(j))
	}
	pulls(t, far, "team/app", "v1", im)
	pulls(t, far, "team/copy", "v1", im)
	root.Docker(t).Repo("team/app").Push(t, "v2", im) // the clients of the source go on too
}
