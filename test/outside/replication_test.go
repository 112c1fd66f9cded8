package outside_test

import (
	"bytes"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrsdk "github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// branch is the destination that the integrations of these tests stand for. No account of the first server has this number.
var branch = ecrsdk.ReplicationDestination{RegistryId: aws.String("999988887777"), Region: aws.String("eu-west-1")}

// pair starts a far server behind a front, and a near one that replicates all of its default registry to it by key.
func pair(t testing.TB, change func(*ecrintypes.CreateIntegrationRequest)) (n, far *apptest.Server, f *front) {
	t.Helper()
	far = apptest.Start(t, apptest.Options{})
	f = before(t, far)
	n = near(t, nil, f)
	in := byKey("branch", f, far.Root(t))
	in.ReplicatesTo = &ecrintypes.ReplicationTarget{RegistryId: *branch.RegistryId, Region: *branch.Region}
	if change != nil {
		change(&in)
	}
	add(t, n, in)
	replicate(t, n.Root(t), branch)
	return n, far, f
}

// status returns the state and the failure code of the only replication of an image.
func status(t testing.TB, a apptest.Account, repo, digest string) (ecrsdk.ReplicationStatus, string) {
	t.Helper()
	out, err := a.ECR().DescribeImageReplicationStatus(t.Context(), &ecr.DescribeImageReplicationStatusInput{RepositoryName: &repo,
		ImageId: &ecrsdk.ImageIdentifier{ImageDigest: &digest}})
	if err != nil || len(out.ReplicationStatuses) != 1 || *out.ReplicationStatuses[0].RegistryId != *branch.RegistryId {
		t.Fatalf("DescribeImageReplicationStatus: got %s, %v", shown(out), err)
	}
	return out.ReplicationStatuses[0].Status, aws.ToString(out.ReplicationStatuses[0].FailureCode)
}

func complete(t testing.TB, a apptest.Account, repo, digest string) {
	t.Helper()
	eventually(t, "the replication of "+repo+"@"+digest, func() bool {
		state, _ := status(t, a, repo, digest)
		return state == ecrsdk.ReplicationStatusComplete
	})
}

// pulls checks that an image with its layers is at a server under a reference.
func pulls(t testing.TB, s *apptest.Server, repo, ref string, im ocitest.Image) {
	t.Helper()
	r := s.Root(t).Docker(t).Repo(repo)
	if got := r.Manifest(t, ref).Want(t, http.StatusOK); !bytes.Equal(got.Body, im.Manifest) {
		t.Errorf("%s:%s: got another manifest", repo, ref)
	}
	for _, layer := range im.Layers {
		if got := r.Blob(t, ocitest.SHA256(layer)).Want(t, http.StatusOK); !bytes.Equal(got.Body, layer) {
			t.Errorf("%s:%s: got another layer", repo, ref)
		}
	}
}

// An image, a multi-platform index and a referrer arrive with their tags at another installation, whose repositories are made by the copy.
// What is there is not sent again, and what another repository has is mounted.
func TestReplicationToAnotherInstallation(t *testing.T) {
	t.Parallel()
	n, far, f := pair(t, nil)
	root := n.Root(t)
	repo := root.CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 1000, 300_000)
	repo.Push(t, "v1", im)
	complete(t, root, "team/app", im.Digest)
	pulls(t, far, "team/app", "v1", im)

	subject := ocitest.Describe(ocitest.ImageType, im.Manifest)
	empty := []byte("{}")
	repo.PutBlob(t, empty)
	config := ocitest.Describe(ocitest.EmptyType, empty)
	referrer := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: "application/x", Config: &config,
		Layers: []ocitest.Descriptor{config}, Subject: &subject}.JSON()
	repo.PutManifest(t, ocitest.SHA256(referrer), ocitest.ImageType, referrer).Want(t, http.StatusCreated)
	complete(t, root, "team/app", ocitest.SHA256(referrer))
	out, err := far.Root(t).ECR().ListImageReferrers(t.Context(), &ecr.ListImageReferrersInput{RepositoryName: aws.String("team/app"),
		SubjectId: &ecrsdk.SubjectIdentifier{ImageDigest: &im.Digest}})
	if err != nil || len(out.Referrers) != 1 || *out.Referrers[0].Digest != ocitest.SHA256(referrer) {
		t.Errorf("the referrers there: got %s, %v, want the one", shown(out), err)
	}

	second := root.CreateRepository(t, "team/multi")
	arm := ocitest.NewImage(2, 500)
	second.Push(t, im.Digest, im)
	second.Push(t, arm.Digest, arm)
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{
		ocitest.Describe(ocitest.ImageType, im.Manifest), ocitest.Describe(ocitest.ImageType, arm.Manifest)}}.JSON()
	second.PutManifest(t, "multi", ocitest.IndexType, index).Want(t, http.StatusCreated)
	complete(t, root, "team/multi", ocitest.SHA256(index))
	pulls(t, far, "team/multi", im.Digest, im)
	pulls(t, far, "team/multi", arm.Digest, arm)
	if got := far.Root(t).Docker(t).Repo("team/multi").Manifest(t, "multi").Want(t, http.StatusOK); !bytes.Equal(got.Body, index) {
		t.Error("the index there is another one")
	}
	layer := ocitest.SHA256(im.Layers[1])
	if got := f.count("HEAD", "/team/multi/blobs/"+layer); got == 0 {
		t.Error("the layer of the second repository was not asked for")
	}
	before := f.count("PATCH", "") + f.count("PUT", "/blobs/")
	root.CreateRepository(t, "team/third").Push(t, "v1", im)
	complete(t, root, "team/third", im.Digest)
	if got := f.count("PATCH", "") + f.count("PUT", "/blobs/"); got != before {
		t.Errorf("an image whose layers are there: %d uploads, want none, for they are mounted", got-before)
	}
}

// A destination that is away gets the images when it is back, with the tag as it is then; meanwhile status and integration say so.
func TestReplicationToADestinationThatWasAway(t *testing.T) {
	t.Parallel()
	n, far, f := pair(t, nil)
	root := n.Root(t)
	repo := root.CreateRepository(t, "team/app")
	f.set(down)
	first, second := ocitest.NewImage(1, 1000), ocitest.NewImage(2, 1000)
	repo.Push(t, "v1", first)
	eventually(t, "the failure", func() bool {
		state, code := status(t, root, "team/app", first.Digest)
		return state == ecrsdk.ReplicationStatusFailed && code == "DestinationUnavailable"
	})
	repo.Push(t, "v1", second) // the tag moves
	var show ecrintypes.DescribeIntegrationsResponse
	if err := call(t, n, "DescribeIntegrations", ecrintypes.DescribeIntegrationsRequest{}, &show); err != nil ||
		!strings.Contains(show.Integrations[0].LastError, "DestinationUnavailable") {
		t.Errorf("the integration: got %s, %v", shown(show), err)
	}
	f.set(nil)
	complete(t, root, "team/app", first.Digest)
	complete(t, root, "team/app", second.Digest)
	pulls(t, far, "team/app", "v1", second)
	pulls(t, far, "team/app", first.Digest, first)
	eventually(t, "the integration that works again", func() bool {
		var show ecrintypes.DescribeIntegrationsResponse
		err := call(t, n, "DescribeIntegrations", ecrintypes.DescribeIntegrationsRequest{}, &show)
		return err == nil && show.Integrations[0].LastError == ""
	})
}

// A wrong key fails with a code and a cure, and the copies arrive after the key was corrected.
func TestReplicationWithAWrongKey(t *testing.T) {
	t.Parallel()
	n, far, _ := pair(t, func(in *ecrintypes.CreateIntegrationRequest) { in.AwsSecretAccessKey = "wrong" })
	root := n.Root(t)
	im := ocitest.NewImage(1, 1000)
	root.CreateRepository(t, "team/app").Push(t, "v1", im)
	eventually(t, "the failure", func() bool {
		state, code := status(t, root, "team/app", im.Digest)
		return state == ecrsdk.ReplicationStatusFailed && code == "CredentialsNotAccepted"
	})
	var list ecrintypes.ListJobsResponse
	eventually(t, "the job with the cure", func() bool {
		err := call(t, n, "ListJobs", ecrintypes.ListJobsRequest{Kind: "replication_outside"}, &list)
		return err == nil && len(list.Jobs) == 1 && strings.Contains(list.Jobs[0].Error, "ecrin integration update")
	})
	right := far.Root(t)
	if err := call(t, n, "UpdateIntegration", ecrintypes.UpdateIntegrationRequest{IntegrationName: "branch", AwsAccessKeyId: right.KeyID,
		AwsSecretAccessKey: right.Secret}, &ecrintypes.IntegrationResponse{}); err != nil {
		t.Fatal(err)
	}
	complete(t, root, "team/app", im.Digest)
	pulls(t, far, "team/app", "v1", im)
	err := call(t, n, "DeleteIntegration", ecrintypes.IntegrationRequest{IntegrationName: "branch"}, &ecrintypes.IntegrationResponse{})
	if code(err) != "IntegrationInUseException" || !strings.Contains(err.Error(), "rule 1") {
		t.Errorf("deleting an integration that a rule uses: got %v", err)
	}
}

// A destination that limits the rate is left alone as long as it asks for, and a slow one delays no other.
func TestReplicationBesideASlowDestination(t *testing.T) {
	t.Parallel()
	n, far, _ := pair(t, nil)
	slow := before(t, far)
	var asked atomic.Int64
	slow.set(func(w http.ResponseWriter, _ *http.Request) bool {
		asked.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}`))
		return true
	})
	in := ecrintypes.CreateIntegrationRequest{IntegrationName: "slow", Kind: "OCI", RegistryHost: slow.Host,
		ReplicatesTo: &ecrintypes.ReplicationTarget{RegistryId: *branch.RegistryId, Region: "eu-west-2"}}
	add(t, n, in)
	root := n.Root(t)
	replicate(t, root, branch, ecrsdk.ReplicationDestination{RegistryId: branch.RegistryId, Region: aws.String("eu-west-2")})
	repo := root.CreateRepository(t, "team/app")
	for i := range 5 {
		im := ocitest.NewImage(uint64(i+1), 1000)
		repo.Push(t, "v1", im)
		eventually(t, "the copy at the other destination", func() bool {
			return far.Root(t).Docker(t).Repo("team/app").Manifest(t, im.Digest).Status == http.StatusOK
		})
	}
	if got := asked.Load(); got == 0 || got > 8 {
		t.Errorf("the destination that limits the rate was asked %d times, want a few", got)
	}
}

// A backfill copies what was pushed before.
func TestBackfillToAnotherInstallation(t *testing.T) {
	t.Parallel()
	n, far, _ := pair(t, nil)
	root := n.Root(t)
	replicate(t, root)
	im := ocitest.NewImage(1, 1000)
	root.CreateRepository(t, "team/app").Push(t, "v1", im)
	replicate(t, root, branch)
	_, err := root.ECR().StartReplicationBackfill(t.Context(), &ecr.StartReplicationBackfillInput{Destination: &branch})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the backfill", func() bool {
		return far.Root(t).Docker(t).Repo("team/app").Manifest(t, "v1").Status == http.StatusOK
	})
	pulls(t, far, "team/app", "v1", im)
}

// What waits is copied after the server was restarted.
func TestReplicationContinuesAfterARestart(t *testing.T) {
	t.Parallel()
	n, far, f := pair(t, nil)
	root := n.Root(t)
	repo := root.CreateRepository(t, "team/app")
	f.set(down)
	im := ocitest.NewImage(1, 1000)
	repo.Push(t, "v1", im)
	n.Restart(t)
	f.set(nil)
	complete(t, root, "team/app", im.Digest)
	pulls(t, far, "team/app", "v1", im)
}
