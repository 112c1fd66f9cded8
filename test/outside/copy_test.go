package outside_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrsdk "github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// ecrin runs a command on a server and returns its exit code and output.
func ecrin(t testing.TB, s *apptest.Server, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = cli.Run(t.Context(), cli.Env{Args: append(args, "--data", s.Dir), Out: &o, Err: &e,
		Lookup: func(string) (string, bool) { return "", false }})
	return code, o.String(), e.String()
}

// target starts a far server behind a front, and a near one with the integration branch, for no replications.
func target(t testing.TB) (n, far *apptest.Server, f *front) {
	t.Helper()
	n, far, f = pair(t, nil)
	replicate(t, n.Root(t))
	return n, far, f
}

// started asks for a copy by the integration branch and returns the id of its job.
func started(t testing.TB, n *apptest.Server, in ecrintypes.CopyImageRequest) string {
	t.Helper()
	var out ecrintypes.CopyImageResponse
	in.DestinationIntegration = "branch"
	if err := call(t, n, "CopyImage", in, &out); err != nil || out.JobId == "" {
		t.Fatalf("CopyImage: got %s, %v, want a job", shown(out), err)
	}
	return out.JobId
}

// ended waits for the end of a job.
func ended(t testing.TB, n *apptest.Server, id string) (j ecrintypes.Job) {
	t.Helper()
	eventually(t, "the end of the job "+id, func() bool {
		var out ecrintypes.JobResponse
		if err := call(t, n, "DescribeJob", ecrintypes.JobRequest{JobId: id}, &out); err != nil {
			t.Fatal(err)
		}
		j = out.Job
		return j.State != ecrintypes.JobStateQUEUED && j.State != ecrintypes.JobStateRUNNING
	})
	return j
}

// signature pushes a referrer of an image and returns its digest.
func signature(t testing.TB, repo ocitest.Repo, mediaType string, subject []byte, kind string) string {
	t.Helper()
	empty := []byte("{}")
	repo.PutBlob(t, empty)
	config, of := ocitest.Describe(ocitest.EmptyType, empty), ocitest.Describe(mediaType, subject)
	body := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: kind, Config: &config,
		Layers: []ocitest.Descriptor{config}, Subject: &of}.JSON()
	repo.PutManifest(t, ocitest.SHA256(body), ocitest.ImageType, body).Want(t, http.StatusCreated)
	return ocitest.SHA256(body)
}

// The command copies an index with its images, and the signatures of both, to the registry of an integration, shows how far it is, and
// sends nothing twice. The destination of a replication rule names the integration too.
func TestCopyToAnotherInstallation(t *testing.T) {
	t.Parallel()
	n, far, _ := target(t)
	root := n.Root(t)
	repo := root.CreateRepository(t, "team/app")
	amd, arm := ocitest.NewImage(1, 1000, 300_000), ocitest.NewImage(2, 500)
	repo.Push(t, amd.Digest, amd)
	repo.Push(t, arm.Digest, arm)
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{
		ocitest.Describe(ocitest.ImageType, amd.Manifest), ocitest.Describe(ocitest.ImageType, arm.Manifest)}}.JSON()
	repo.PutManifest(t, "1.4", ocitest.IndexType, index).Want(t, http.StatusCreated)
	ofIndex := signature(t, repo, ocitest.IndexType, index, "application/a")
	ofImage := signature(t, repo, ocitest.ImageType, amd.Manifest, "application/b")

	code, out, errs := ecrin(t, n, "image", "copy", "team/app:1.4", "prod/app:stable", "--tag", "1.4", "--to-integration", "branch", "--json")
	var got struct {
		ImageTags []string       `json:"imageTags"`
		JobID     string         `json:"jobId"`
		Job       ecrintypes.Job `json:"job"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.Job.State != ecrintypes.JobStateDONE || errs != "" {
		t.Fatalf("image copy: got %d, %s, %s, %v, want a job that is done", code, out, errs, err)
	}
	// Two configs, three layers, and the empty blob of both signatures.
	if p := got.Job.Transfer; p == nil || p.LayersTotal != 6 || p.LayersDone != 6 || p.BytesDone != p.BytesTotal ||
		p.BytesSent != p.BytesTotal || p.BytesTotal < 301_500 {
		t.Errorf("the progress: got %s, want all of 6 layers", shown(got.Job))
	}
	pulls(t, far, "prod/app", amd.Digest, amd)
	pulls(t, far, "prod/app", arm.Digest, arm)
	there := far.Root(t).Docker(t).Repo("prod/app")
	for _, tag := range []string{"stable", "1.4"} {
		if got := there.Manifest(t, tag).Want(t, http.StatusOK); !bytes.Equal(got.Body, index) {
			t.Errorf("%s: got another manifest", tag)
		}
	}
	for _, d := range []string{ofIndex, ofImage} {
		there.Manifest(t, d).Want(t, http.StatusOK)
	}

	code, out, errs = ecrin(t, n, "image", "copy", "team/app:1.4", *branch.RegistryId+"/"+*branch.Region+"/prod/app:again")
	if code != 0 || !strings.Contains(errs, "6 of 6 layers") || !strings.Contains(errs, "0 bytes sent") {
		t.Errorf("a copy of what is there: got %d, %s%s, want nothing sent", code, out, errs)
	}
	there.Manifest(t, "again").Want(t, http.StatusOK)
	code, out, errs = ecrin(t, n, "image", "copy", "team/app:1.4", "prod/app:later", "--to-integration", "branch", "--no-wait", "--json")
	got.JobID = ""
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.JobID == "" {
		t.Fatalf("--no-wait: got %d, %s, %s, %v", code, out, errs, err)
	}
	ended(t, n, got.JobID)
	there.Manifest(t, "later").Want(t, http.StatusOK)
	code, out, _ = ecrin(t, n, "job", "show", got.JobID)
	if want := "by branch to prod/app:later"; code != 0 || !strings.Contains(out, want) || !strings.Contains(out, "6 of 6 layers") {
		t.Errorf("job show: got %d, %s, want %q and the layers", code, out, want)
	}
	if code, _, errs = ecrin(t, n, "image", "copy", "team/app:1.4", "prod/app", "--to-integration", "none"); code != 1 ||
		!strings.Contains(errs, "there is no integration none") {
		t.Errorf("an integration that does not exist: got %d, %s", code, errs)
	}
}

// What is copied is what the request named: tags that move meanwhile change nothing, and what is deleted meanwhile fails the job, which
// says what is missing.
func TestCopyOfWhatChangesMeanwhile(t *testing.T) {
	t.Parallel()
	n, far, f := target(t)
	root := n.Root(t)
	first, second := ocitest.NewImage(1, 1000), ocitest.NewImage(2, 1000)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "v1", first)
	root.CreateRepository(t, "team/gone").Push(t, "v1", first)
	f.set(down)
	moved := started(t, n, ecrintypes.CopyImageRequest{RepositoryName: "team/app", ImageTag: "v1", DestinationRepositoryName: "team/app"})
	lost := started(t, n, ecrintypes.CopyImageRequest{RepositoryName: "team/gone", ImageTag: "v1", DestinationRepositoryName: "team/one"})
	repo.Push(t, "v1", second)
	deleted := started(t, n, ecrintypes.CopyImageRequest{RepositoryName: "team/app", ImageTag: "v1", DestinationRepositoryName: "team/two"})
	if _, err := root.ECR().DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: aws.String("team/gone"),
		Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.ECR().BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: aws.String("team/app"),
		ImageIds: []ecrsdk.ImageIdentifier{{ImageDigest: &second.Digest}}}); err != nil {
		t.Fatal(err)
	}
	f.set(nil)
	if j := ended(t, n, moved); j.State != ecrintypes.JobStateDONE {
		t.Fatalf("a copy whose tag has moved: got %s", shown(j))
	}
	pulls(t, far, "team/app", "v1", first)
	if j := ended(t, n, deleted); j.State != ecrintypes.JobStateFAILED || !strings.Contains(j.Error, second.Digest+" was deleted") {
		t.Errorf("a copy of an image that was deleted: got %s", shown(j))
	}
	if j := ended(t, n, lost); j.State != ecrintypes.JobStateFAILED || !strings.Contains(j.Error, "was deleted") {
		t.Errorf("a copy from a repository that was deleted: got %s", shown(j))
	}
	f.set(down)
	without := started(t, n, ecrintypes.CopyImageRequest{RepositoryName: "team/app", ImageDigest: first.Digest,
		DestinationRepositoryName: "team/three"})
	if err := call(t, n, "DeleteIntegration", ecrintypes.IntegrationRequest{IntegrationName: "branch"},
		&ecrintypes.IntegrationResponse{}); err != nil {
		t.Fatal(err)
	}
	if j := ended(t, n, without); j.State != ecrintypes.JobStateFAILED || !strings.Contains(j.Error, "integration") {
		t.Errorf("a copy whose integration was deleted: got %s", shown(j))
	}
}

// An immutable tag of the destination fails a copy, which says so and is not tried again; so do credentials that are not accepted.
func TestCopyThatTheDestinationRefuses(t *testing.T) {
	t.Parallel()
	n, far, f := target(t)
	if _, err := far.Root(t).ECR().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("team/app"),
		ImageTagMutability: ecrsdk.ImageTagMutabilityImmutable}); err != nil {
		t.Fatal(err)
	}
	first, second := ocitest.NewImage(1, 1000), ocitest.NewImage(2, 1000)
	far.Root(t).Docker(t).Repo("team/app").Push(t, "v1", first)
	n.Root(t).CreateRepository(t, "team/app").Push(t, "v1", second)
	code, _, errs := ecrin(t, n, "image", "copy", "team/app:v1", "team/app", "--to-integration", "branch")
	if code != 1 || !strings.Contains(errs, "the tag v1 is immutable at the destination") || !strings.Contains(errs, "ecrin job retry") {
		t.Errorf("a copy to an immutable tag: got %d, %s", code, errs)
	}
	pulls(t, far, "team/app", "v1", first)
	wrong := byKey("wrong", f, far.Root(t))
	wrong.AwsSecretAccessKey = "wrong"
	add(t, n, wrong)
	code, _, errs = ecrin(t, n, "image", "copy", "team/app:v1", "team/other", "--to-integration", "wrong")
	if code != 1 || !strings.Contains(errs, "CredentialsNotAccepted") || !strings.Contains(errs, "ecrin integration update") {
		t.Errorf("a copy with a wrong key: got %d, %s", code, errs)
	}
}

// A copy waits for a destination that is away, also over a restart, and ends when it is back. The same request again is the same job.
func TestCopyToADestinationThatWasAway(t *testing.T) {
	t.Parallel()
	n, far, f := target(t)
	im := ocitest.NewImage(1, 1000)
	n.Root(t).CreateRepository(t, "team/app").Push(t, "v1", im)
	f.set(down)
	in := ecrintypes.CopyImageRequest{RepositoryName: "team/app", ImageTag: "v1", DestinationRepositoryName: "team/app"}
	id := started(t, n, in)
	eventually(t, "the failure of an attempt", func() bool {
		var out ecrintypes.JobResponse
		err := call(t, n, "DescribeJob", ecrintypes.JobRequest{JobId: id}, &out)
		return err == nil && strings.Contains(out.Job.Error, "DestinationUnavailable")
	})
	if again := started(t, n, in); again != id {
		t.Errorf("the same copy again: got the job %s, want %s", again, id)
	}
	n.Restart(t)
	f.set(nil)
	if j := ended(t, n, id); j.State != ecrintypes.JobStateDONE {
		t.Errorf("the copy: got %s, want it done", shown(j))
	}
	pulls(t, far, "team/app", "v1", im)
}

// A canceled copy ends while its bytes are on their way.
func TestCopyThatIsCanceled(t *testing.T) {
	t.Parallel()
	n, _, f := target(t)
	n.Root(t).CreateRepository(t, "team/app").Push(t, "v1", ocitest.NewImage(1, 1000))
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	asked := make(chan struct{}, 100)
	f.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut || r.Method == http.MethodPatch {
			asked <- struct{}{}
			select {
			case <-held:
			case <-r.Context().Done():
			}
		}
		return false
	})
	id := started(t, n, ecrintypes.CopyImageRequest{RepositoryName: "team/app", ImageTag: "v1", DestinationRepositoryName: "team/app"})
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("nothing was sent within a minute")
	}
	if err := call(t, n, "CancelJob", ecrintypes.JobRequest{JobId: id}, &ecrintypes.JobResponse{}); err != nil {
		t.Fatal(err)
	}
	if j := ended(t, n, id); j.State != ecrintypes.JobStateCANCELED {
		t.Errorf("the copy: got %s, want it canceled", shown(j))
	}
}
