package pullthrough_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrsdk "github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// replicate copies what is pushed to the repositories of an account to another region of it.
func replicate(t testing.TB, a apptest.Account, region string) {
	t.Helper()
	if _, err := a.ECR().PutReplicationConfiguration(t.Context(), &ecr.PutReplicationConfigurationInput{
		ReplicationConfiguration: &ecrsdk.ReplicationConfiguration{Rules: []ecrsdk.ReplicationRule{{
			Destinations: []ecrsdk.ReplicationDestination{{RegistryId: &a.ID, Region: &region}}}}}}); err != nil {
		t.Fatal(err)
	}
}

// replications returns the states of the replications of an image.
func replications(t testing.TB, a apptest.Account, repo, digest string) (all []ecrsdk.ReplicationStatus) {
	t.Helper()
	out, err := a.ECR().DescribeImageReplicationStatus(t.Context(), &ecr.DescribeImageReplicationStatusInput{RepositoryName: &repo,
		ImageId: &ecrsdk.ImageIdentifier{ImageDigest: &digest}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range out.ReplicationStatuses {
		all = append(all, s.Status)
	}
	return all
}

func replicated(t testing.TB, a apptest.Account, repo, digest string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got := replications(t, a, repo, digest)
		if len(got) == 1 && got[0] == ecrsdk.ReplicationStatusComplete {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the replications of %s@%s: got %v, want a complete one within a minute", repo, digest, got)
		}
	}
}

// An image that a rule has brought is replicated when its layers are here, as one that was pushed is, and so is an index with those of its
// images that are. The copies are not replicated on.
func TestCachedImagesAreReplicated(t *testing.T) {
	t.Parallel()
	far, there := open(t)
	f := before(t, far)
	up := there.CreateRepository(t, "base/app")
	publish(t, there, "base/app")
	amd, arm := ocitest.NewImage(1, 1000, 2000), ocitest.NewImage(2, 500)
	up.Push(t, amd.Digest, amd)
	up.Push(t, arm.Digest, arm)
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{
		ocitest.Describe(ocitest.ImageType, amd.Manifest), ocitest.Describe(ocitest.ImageType, arm.Manifest)}}.JSON()
	up.PutManifest(t, "multi", ocitest.IndexType, index).Want(t, http.StatusCreated)
	up.PutManifest(t, "single", ocitest.ImageType, amd.Manifest).Want(t, http.StatusCreated)

	s := near(t, nil, nil, f)
	root := s.Root(t)
	west, last := root.In("eu-west-1"), root.In("eu-west-2")
	rule(t, root, "cache", f)
	replicate(t, root, west.Region)
	replicate(t, west, last.Region)
	const repo = "cache/base/app"
	r := root.Docker(t).Repo(repo)
	r.Manifest(t, "multi").Want(t, http.StatusOK)
	r.Manifest(t, amd.Digest).Want(t, http.StatusOK)
	r.Blob(t, ocitest.SHA256(amd.Config)).Want(t, http.StatusOK)
	r.Blob(t, ocitest.SHA256(amd.Layers[0])).Want(t, http.StatusOK)
	r.Manifest(t, arm.Digest).Want(t, http.StatusOK) // without its layers
	for _, d := range []string{amd.Digest, arm.Digest, ocitest.SHA256(index)} {
		if got := replications(t, root, repo, d); len(got) != 0 {
			t.Errorf("the replications of %s, whose layers are not here: got %v, want none", d, got)
		}
	}
	r.Blob(t, ocitest.SHA256(amd.Layers[1])).Want(t, http.StatusOK)
	replicated(t, root, repo, amd.Digest)
	replicated(t, root, repo, ocitest.SHA256(index))
	copies := west.Docker(t).Repo(repo)
	copies.Manifest(t, "multi").Want(t, http.StatusOK)
	for _, layer := range amd.Layers {
		copies.Blob(t, ocitest.SHA256(layer)).Want(t, http.StatusOK)
	}
	copies.Manifest(t, arm.Digest).Want(t, http.StatusNotFound)

	r.Manifest(t, "single").Want(t, http.StatusOK) // all of its layers are here: only the tag is new
	for end := time.Now().Add(time.Minute); copies.Manifest(t, "single").Status != http.StatusOK; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the tag of a complete image was not replicated within a minute")
		}
	}
	r.Blob(t, ocitest.SHA256(arm.Config)).Want(t, http.StatusOK)
	r.Blob(t, ocitest.SHA256(arm.Layers[0])).Want(t, http.StatusOK)
	replicated(t, root, repo, arm.Digest)
	copies.Manifest(t, arm.Digest).Want(t, http.StatusOK)
	for _, d := range []string{amd.Digest, arm.Digest, ocitest.SHA256(index)} {
		if got := replications(t, west, repo, d); len(got) != 0 {
			t.Errorf("the replications of the copy of %s: got %v, want none", d, got)
		}
	}
	if _, err := last.ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{
		RepositoryNames: []string{repo}}); err == nil {
		t.Error("the copies were copied on")
	}
}
