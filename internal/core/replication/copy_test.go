package replication_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A copy by the operator is in a repository of another account and region at once, with its layers.
func TestCopyToAnotherAccount(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	there := s.NewAccount(t, other).In("eu-west-1")
	im := ocitest.NewImage(1, 1000)
	s.Root(t).CreateRepository(t, "staging/app").Push(t, "1.4", im)
	there.CreateRepository(t, "production/app")
	in := ecrintypes.CopyImageRequest{RepositoryName: "staging/app", ImageTag: "1.4", DestinationRegistryId: other,
		DestinationRegion: "eu-west-1", DestinationRepositoryName: "production/app", DestinationTags: []string{"stable", "1.4"}}
	var out ecrintypes.CopyImageResponse
	s.Operator(t, "CopyImage", &in, &out)
	if out.ImageDigest != im.Digest || !out.New || len(out.ImageTags) != 2 {
		t.Errorf("the answer: got %+v", out)
	}
	for _, tag := range []string{"stable", "1.4"} {
		if err := there.Docker(t).Repo("production/app").Verify(t.Context(), tag); err != nil {
			t.Error(err)
		}
	}
}
