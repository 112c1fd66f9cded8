package outside_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// An index in an index in an index arrives whole, by a replication and by a copy on request.
func TestNestedIndexesArriveWhole(t *testing.T) {
	t.Parallel()
	n, far, _ := pair(t, nil)
	root := n.Root(t)
	repo := root.CreateRepository(t, "team/app")
	amd, arm := ocitest.NewImage(1, 1000), ocitest.NewImage(2, 1000)
	repo.Push(t, amd.Digest, amd)
	repo.Push(t, arm.Digest, arm)
	index := func(ref string, of ...ocitest.Descriptor) []byte {
		body := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: of}.JSON()
		if ref == "" {
			ref = ocitest.SHA256(body)
		}
		repo.PutManifest(t, ref, ocitest.IndexType, body).Want(t, http.StatusCreated)
		return body
	}
	inner := index("", amd.Descriptor(), arm.Descriptor())
	middle := index("", ocitest.Describe(ocitest.IndexType, inner), arm.Descriptor())
	outer := index("v1", ocitest.Describe(ocitest.IndexType, middle))
	complete(t, root, "team/app", ocitest.SHA256(outer))
	id := started(t, n, ecrintypes.CopyImageRequest{RepositoryName: "team/app", ImageTag: "v1", DestinationRepositoryName: "team/copy"})
	if j := ended(t, n, id); j.State != ecrintypes.JobStateDONE {
		t.Errorf("the copy: got %s, want it done", shown(j))
	}
	for _, name := range []string{"team/app", "team/copy"} {
		there := far.Root(t).Docker(t).Repo(name)
		for ref, want := range map[string][]byte{"v1": outer, ocitest.SHA256(middle): middle, ocitest.SHA256(inner): inner} {
			if got := there.Manifest(t, ref).Want(t, http.StatusOK); !bytes.Equal(got.Body, want) {
				t.Errorf("%s: the index %s there is another one", name, ref)
			}
		}
		pulls(t, far, name, amd.Digest, amd)
		pulls(t, far, name, arm.Digest, arm)
	}
}
