package outside_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// release makes a release of the application shop with images, and offers it on a channel.
func (s *shop) release(t testing.TB, channel string, images ...string) int64 {
	t.Helper()
	text := "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n"
	for _, i := range images {
		text += "  - {name: a, image: \"" + i + "\"}\n"
	}
	var out ecrintypes.ReleaseResponse
	s.ok(t, "CreateRelease", ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop", Files: []ecrintypes.ReleaseFile{
		{Path: "a.yaml", Content: text}}}, &out)
	s.ok(t, "PromoteRelease", ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: out.Release.Sequence,
		ChannelIds: []string{channel}}, nil)
	return out.Release.Sequence
}

// An image of ECR whose account has the number of the vendor's account here may be one of an integration or of the vendor's own registry:
// an entitlement to a channel allows it either way, and so do lists.
func TestChannelsWithAnAccountOfTheVendorsNumber(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	if !strings.HasPrefix(s.Host, s.near.Running.Account+".") {
		t.Fatalf("the other registry is %s, want one of the account %s", s.Host, s.near.Running.Account)
	}
	there, here := s.root.CreateRepository(t, "demo/one"), s.near.Root(t).CreateRepository(t, "demo/one")
	there.Push(t, "1", ocitest.NewImage(1, 500))
	there.Push(t, "2", ocitest.NewImage(2, 500))
	here.Push(t, "1", ocitest.NewImage(3, 500))
	here.Push(t, "2", ocitest.NewImage(4, 500))
	id, license := s.customer(t, "shop", "stable")
	s.ok(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: id, Repositories: []string{"*"},
		Channels: []string{"stable"}}, nil)
	s.release(t, "stable", s.Host+"/demo/one:1")
	far := "proxy/shop/" + s.Host + "/demo/one/"
	for path, want := range map[string]int{far + "manifests/1": 200, far + "manifests/2": 403, "proxy/shop/aws/demo/one/manifests/1": 200,
		"demo/one/manifests/1": 200, "demo/one/manifests/2": 403, far + "tags/list": 200, "demo/one/tags/list": 200} {
		if a := get(t, s.near, license, http.MethodGet, path); a.Status != want {
			t.Errorf("%s: got %d %s, want %d", path, a.Status, a.Body, want)
		}
	}
	if a := get(t, s.near, license, http.MethodGet, "_catalog"); !strings.Contains(string(a.Body), `"demo/one"`) ||
		!strings.Contains(string(a.Body), `"proxy/shop/`+s.Host+`/demo/one"`) {
		t.Errorf("the catalog: got %d %s, want both names", a.Status, a.Body)
	}
}
