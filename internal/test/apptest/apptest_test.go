package apptest_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// An image survives a restart, accounts are separate, and the metadata can be read.
func TestServer(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 1000)
	repo.Push(t, "v1", im)
	s.Restart(t)
	got := repo.Manifest(t, "v1").Want(t, 200)
	if string(got.Body) != string(im.Manifest) {
		t.Errorf("after a restart: got %s, want %s", got.Body, im.Manifest)
	}
	other := s.NewAccount(t, "111122223333").In("eu-west-1")
	other.CreateRepository(t, "team/app").Push(t, "v1", ocitest.NewImage(2, 1000))
	who, err := other.STS().GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *who.Account != other.ID {
		t.Errorf("GetCallerIdentity of the second account = %v, %v", who, err)
	}
	r, err := s.Meta().Repository(t.Context(), s.Registry(), name.MustRepo("team/app"))
	if err != nil {
		t.Fatal(err)
	}
	if tags, err := s.Meta().Tags(t.Context(), r.ID, "", -1); err != nil || len(tags) != 1 {
		t.Errorf("Tags = %v, %v; want v1 alone", tags, err)
	}
}
