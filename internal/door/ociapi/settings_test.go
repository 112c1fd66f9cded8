package ociapi_test

import (
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The setting organization is the value of aws:PrincipalOrgID in policies of resources, and of aws:ResourceOrgID in policies
// of users. Without it the keys are absent.
func TestOrganizationInPolicies(t *testing.T) {
	t.Parallel()
	const ours = "o-abcdef1234"
	for setting, want := range map[string]int{ours: http.StatusOK, "o-zyxwvu9876": http.StatusForbidden, "": http.StatusForbidden} {
		s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.Organization = setting }})
		root := s.Root(t)
		alice := personOf(s, root)
		im := ocitest.NewImage(1, 10)
		for _, repo := range []string{"shared", "own"} {
			root.CreateRepository(t, repo).Push(t, "v1", im)
		}
		alice.ecr(t, "SetRepositoryPolicy", "repositoryName", "shared", "policyText", document(
			`{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage","Condition":{"StringEquals":{"aws:PrincipalOrgID":"`+ours+`"}}}`)).
			Want(t, http.StatusOK)
		bob := s.NewAccount(t, bobID).Docker(t).Repo("shared")
		bob.Prefix = "000000000000/us-east-1/"
		if a := bob.Manifest(t, "v1"); a.Status != want {
			t.Errorf("organization %q, another account by aws:PrincipalOrgID: got %d %s, want %d", setting, a.Status, a.Body, want)
		}
		user := alice.user(t, "user", document(
			`{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}`,
			`{"Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"*","Condition":{"StringEquals":{"aws:ResourceOrgID":"`+ours+`"}}}`))
		if a := user.docker(t).Repo("own").Manifest(t, "v1"); a.Status != want {
			t.Errorf("organization %q, a user by aws:ResourceOrgID: got %d %s, want %d", setting, a.Status, a.Body, want)
		}
	}
}

// With create_on_push a push creates its repository only for a caller who may create it; without the setting for nobody.
func TestCreateOnPushNeedsThePermission(t *testing.T) {
	t.Parallel()
	const push = `{"Effect":"Allow","Action":["ecr:GetAuthorizationToken","ecr:InitiateLayerUpload","ecr:UploadLayerPart",` +
		`"ecr:CompleteLayerUpload","ecr:PutImage","ecr:BatchCheckLayerAvailability"],"Resource":"*"}`
	const create = `{"Effect":"Allow","Action":"ecr:CreateRepository","Resource":"*"}`
	for on, want := range map[bool]struct{ pusher, maker int }{true: {403, 202}, false: {404, 404}} {
		s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.CreateOnPush = on }})
		root := s.Root(t)
		alice := personOf(s, root)
		begin := func(p person) int {
			r := p.docker(t).Repo("team/new")
			return r.Do(t, http.MethodPost, r.Path("/blobs/uploads/"), nil).Status
		}
		if got := begin(alice.user(t, "pusher", document(push))); got != want.pusher {
			t.Errorf("create on push %t, a user who may not create repositories: got %d, want %d", on, got, want.pusher)
		}
		root.Docker(t).Repo("team/new").Tags(t, "").WantError(t, http.StatusNotFound, "NAME_UNKNOWN")
		if got := begin(alice.user(t, "maker", document(push, create))); got != want.maker {
			t.Errorf("create on push %t, a user who may create repositories: got %d, want %d", on, got, want.maker)
		}
		there := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[on]
		root.Docker(t).Repo("team/new").Tags(t, "").Want(t, there)
	}
}

// The condition keys of the image apply in repository and registry policies too, by tag and by digest.
func TestImageKeysInPoliciesOfResources(t *testing.T) {
	t.Parallel()
	public, secret := ocitest.NewImage(1, 10), ocitest.NewImage(2, 10)
	for what, set := range map[string]func(t *testing.T, alice person, condition string){
		"repository policy": func(t *testing.T, alice person, condition string) {
			alice.ecr(t, "SetRepositoryPolicy", "repositoryName", "app", "policyText",
				document(`{"Effect":"Allow","Principal":{"AWS":"`+bobID+`"},"Action":"ecr:BatchGetImage","Condition":`+condition+`}`)).Want(t, 200)
		},
		"registry policy": func(t *testing.T, alice person, condition string) {
			alice.ecr(t, "PutRegistryPolicy", "policyText", document(`{"Effect":"Allow","Principal":{"AWS":"`+bobID+`"},`+
				`"Action":"ecr:BatchGetImage","Resource":"arn:aws:ecr:us-east-1:000000000000:repository/*","Condition":`+condition+`}`)).Want(t, 200)
		},
	} {
		for key, condition := range map[string]string{
			"tag":    `{"StringLike":{"ecrin:ImageTag":"public-*"}}`,
			"digest": `{"StringEquals":{"ecrin:ImageDigest":"` + public.Digest + `"}}`,
		} {
			s := apptest.Start(t, apptest.Options{})
			repo := s.Root(t).CreateRepository(t, "app")
			repo.Push(t, "public-1", public)
			repo.Push(t, "secret-1", secret)
			bob := s.NewAccount(t, bobID).Docker(t).Repo("app")
			set(t, personOf(s, s.Root(t)), condition)
			bob.Prefix = "000000000000/us-east-1/"
			for reference, want := range map[string]int{"public-1": 200, public.Digest: 200, "secret-1": 403, secret.Digest: 403} {
				if a := bob.Manifest(t, reference); a.Status != want {
					t.Errorf("%s with a condition on the %s: %s got %d %s, want %d", what, key, reference, a.Status, a.Body, want)
				}
			}
		}
	}
}

// A name that only resembles ACCOUNT/REGION/NAME is the name of a repository of the default registry.
func TestNamesThatResembleARegistry(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	for i, name := range []string{"team/us-east-1/x", "us-east-1/x", "team/000000000000/us-east-1/x"} {
		im := ocitest.NewImage(uint64(i), 10)
		repo := root.CreateRepository(t, name)
		repo.Push(t, "v1", im)
		repo.Manifest(t, "v1").Want(t, http.StatusOK).WantHeader(t, "Docker-Content-Digest", im.Digest)
		var list struct{ Name string }
		if repo.Tags(t, "").JSON(t, &list); list.Name != name {
			t.Errorf("the list of tags is that of %q, want %q", list.Name, name)
		}
	}
}
