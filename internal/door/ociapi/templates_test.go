package ociapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Acceptance rows of creation templates, each a subtest of TestTemplateRows under its name.
//
//	| row | the user does | expected |
//	| CT1 | pushes to a repository that does not exist, without a template | 404 NAME_UNKNOWN with the command that creates it |
//	| CT2 | makes a template for CREATE_ON_PUSH and pushes again | the push succeeds; the repository has the settings of the template |
//	| CT3 | pushes as a user with only push actions | 403 DENIED that names ecr:CreateRepository; no repository |
//	| CT4 | pushes as a user who may also create repositories | the push succeeds |
//	| CT5 | pushes from another account, whom only the policy of the template allows to push | 403; no repository |
//	| CT6 | also allows that account ecr:CreateRepository in the registry policy | the push succeeds |
//	| CT7 | pushes the same name twice at once, by ten clients | one repository, ten tags |
//	| CT8 | has a template whose policy denies the pusher | 403; no repository |
//	| CT9 | has a longer prefix without CREATE_ON_PUSH | the shorter one applies |
//	| CT10 | has a template with resource tags and no role | 400 that names customRoleArn; no repository |
func TestTemplateRows(t *testing.T) {
	t.Parallel()
	const push = `{"Effect":"Allow","Action":["ecr:GetAuthorizationToken","ecr:InitiateLayerUpload","ecr:UploadLayerPart",` +
		`"ecr:CompleteLayerUpload","ecr:PutImage","ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer"],"Resource":"*"}`
	const create = `{"Effect":"Allow","Action":"ecr:CreateRepository","Resource":"arn:aws:ecr:*:*:repository/team/*"}`
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	alice := personOf(s, root)
	bob := s.NewAccount(t, bobID)
	image := ocitest.NewImage(1, 100)
	try := func(t *testing.T, p person, name string) *ocitest.Answer {
		t.Helper()
		r := p.docker(t).Repo(name)
		return r.Do(t, http.MethodPost, r.Path("/blobs/uploads/"), nil)
	}
	missing := func(t *testing.T, name string) {
		t.Helper()
		root.Docker(t).Repo(name).Tags(t, "").WantError(t, http.StatusNotFound, "NAME_UNKNOWN")
	}
	template := func(t *testing.T, prefix string, pairs ...any) {
		t.Helper()
		pairs = append(pairs, "prefix", prefix, "appliedFor", []string{"CREATE_ON_PUSH"})
		alice.ecr(t, "CreateRepositoryCreationTemplate", pairs...).Want(t, 200)
	}

	foreign := func(t *testing.T, name string) ocitest.Repo {
		r := bob.Docker(t).Repo(name)
		r.Prefix = "000000000000/us-east-1/"
		return r
	}
	pusher, maker := alice.user(t, "pusher", document(push)), alice.user(t, "maker", document(push, create))

	t.Run("CT1", func(t *testing.T) {
		if a := try(t, alice, "team/app"); !strings.Contains(string(a.Body), "aws ecr create-repository --repository-name team/app") {
			t.Errorf("got %s, want the command that creates the repository", a.Body)
		} else {
			a.WantError(t, http.StatusNotFound, "NAME_UNKNOWN")
		}
		missing(t, "team/app")
	})
	t.Run("CT2", func(t *testing.T) {
		template(t, "team", "imageTagMutability", "IMMUTABLE", "repositoryPolicy",
			document(`{"Effect":"Allow","Principal":{"AWS":"`+bobID+`"},"Action":["ecr:BatchGetImage","ecr:PutImage","ecr:InitiateLayerUpload",`+
				`"ecr:UploadLayerPart","ecr:CompleteLayerUpload","ecr:BatchCheckLayerAvailability"]}`))
		root.Docker(t).Repo("team/app").Push(t, "v1", image)
		root.Docker(t).Repo("team/app").Manifest(t, "v1").Want(t, 200)
		if a := alice.ecr(t, "DescribeRepositories", "repositoryNames", []string{"team/app"}); !strings.Contains(string(a.Body), `"IMMUTABLE"`) {
			t.Errorf("the repository: got %s, want IMMUTABLE", a.Body)
		}
		if a := alice.ecr(t, "GetRepositoryPolicy", "repositoryName", "team/app"); !strings.Contains(string(a.Body), bobID) {
			t.Errorf("the policy: got %s, want that of the template", a.Body)
		}
	})
	t.Run("CT3", func(t *testing.T) {
		if a := try(t, pusher, "team/ct3"); a.Status != 403 || !strings.Contains(string(a.Body), "ecr:CreateRepository") {
			t.Errorf("got %d %s, want 403 that names ecr:CreateRepository", a.Status, a.Body)
		}
		missing(t, "team/ct3")
	})
	t.Run("CT4", func(t *testing.T) {
		maker.docker(t).Repo("team/ct4").Push(t, "v1", image)
		try(t, maker, "elsewhere/ct4").WantError(t, http.StatusNotFound, "NAME_UNKNOWN")
	})
	t.Run("CT5", func(t *testing.T) {
		r := foreign(t, "team/ct5")
		if a := r.Do(t, http.MethodPost, r.Path("/blobs/uploads/"), nil); a.Status != 403 {
			t.Errorf("got %d %s, want 403", a.Status, a.Body)
		}
		missing(t, "team/ct5")
	})
	t.Run("CT6", func(t *testing.T) {
		alice.ecr(t, "PutRegistryPolicy", "policyText", document(`{"Effect":"Allow","Principal":{"AWS":"`+bobID+`"},`+
			`"Action":"ecr:CreateRepository","Resource":"arn:aws:ecr:us-east-1:000000000000:repository/team/*"}`)).Want(t, 200)
		foreign(t, "team/ct6").Push(t, "v1", image)
		root.Docker(t).Repo("team/ct6").Manifest(t, "v1").Want(t, 200)
	})
	t.Run("CT7", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var pushes sync.WaitGroup
		errs := make([]error, 10)
		ct7 := root.Docker(t).Repo("team/ct7")
		for i := range errs {
			pushes.Go(func() { _, errs[i] = ct7.TryPush(ctx, fmt.Sprint("v", i), ocitest.NewImage(uint64(i), 100)) })
		}
		pushes.Wait()
		for i, err := range errs {
			if err != nil {
				t.Errorf("push %d: %v", i, err)
			}
		}
		for i := range errs {
			ct7.Manifest(t, fmt.Sprint("v", i)).Want(t, 200)
		}
		all := string(alice.ecr(t, "DescribeRepositories").Want(t, 200).Body)
		if n := strings.Count(all, `"repositoryName":"team/ct7"`); n != 1 {
			t.Errorf("got %d repositories, want 1", n)
		}
	})
	t.Run("CT8", func(t *testing.T) {
		template(t, "team/denied", "repositoryPolicy", document(`{"Effect":"Deny","Principal":"*","Action":"ecr:InitiateLayerUpload"}`))
		if a := try(t, maker, "team/denied/app"); a.Status != 403 || !strings.Contains(string(a.Body), "explicit deny") {
			t.Errorf("got %d %s, want 403 by an explicit deny", a.Status, a.Body)
		}
		missing(t, "team/denied/app")
	})
	t.Run("CT9", func(t *testing.T) {
		alice.ecr(t, "CreateRepositoryCreationTemplate", "prefix", "team/cache", "appliedFor", []string{"PULL_THROUGH_CACHE"}).Want(t, 200)
		maker.docker(t).Repo("team/cache/app").Push(t, "v1", image)
	})
	t.Run("CT10", func(t *testing.T) {
		template(t, "tagged", "resourceTags", []map[string]string{{"Key": "a", "Value": "1"}})
		if a := try(t, alice, "tagged/app"); a.Status != 400 || !strings.Contains(string(a.Body), "customRoleArn") {
			t.Errorf("got %d %s, want 400 that names customRoleArn", a.Status, a.Body)
		}
		missing(t, "tagged/app")
	})
}

// Conditions on resource tags apply to a push that creates its repository as to a repository with the tags of the template: in the creation
// as tags of the request, in the push as tags of the repository.
func TestTemplateTagsInConditions(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	alice := personOf(s, s.Root(t))
	alice.iam(t, "CreateRole", "RoleName", "maker", "AssumeRolePolicyDocument",
		document(`{"Effect":"Allow","Principal":{"Service":"ecr.amazonaws.com"},"Action":"sts:AssumeRole"}`))
	for _, team := range []string{"a", "b"} {
		alice.ecr(t, "CreateRepositoryCreationTemplate", "prefix", team, "appliedFor", []string{"CREATE_ON_PUSH"},
			"customRoleArn", "arn:aws:iam::000000000000:role/maker",
			"resourceTags", []map[string]string{{"Key": "team", "Value": team}}).Want(t, 200)
	}
	user := alice.user(t, "user", document(`{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}`,
		`{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"a"}}}`,
		`{"Effect":"Allow","Action":"ecr:CreateRepository","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"a"}}}`))
	for team, want := range map[string]int{"a": 202, "b": 403} {
		r := user.docker(t).Repo(team + "/app")
		if a := r.Do(t, http.MethodPost, r.Path("/blobs/uploads/"), nil); a.Status != want {
			t.Errorf("a push by the template with the tag %s: got %d %s, want %d", team, a.Status, a.Body, want)
		}
	}
}

// The setting create_on_push has the effect of a template for all names of all registries; a template with a case for pushes wins over it.
func TestCreateOnPushIsATemplateForAll(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.CreateOnPush = true }})
	if !strings.Contains(s.Log.String(), "create-repository-creation-template --prefix ROOT") {
		t.Errorf("the log does not name the command that replaces the setting:\n%s", s.Log)
	}
	alice := personOf(s, s.Root(t))
	alice.ecr(t, "CreateRepositoryCreationTemplate", "prefix", "team", "appliedFor", []string{"CREATE_ON_PUSH"}, "imageTagMutability",
		"IMMUTABLE").Want(t, 200)
	for name, want := range map[string]string{"app": "MUTABLE", "team/app": "IMMUTABLE"} {
		s.Root(t).Docker(t).Repo(name).Push(t, "v1", ocitest.NewImage(1, 100))
		if a := alice.ecr(t, "DescribeRepositories", "repositoryNames", []string{name}); !strings.Contains(string(a.Body), `"`+want+`"`) {
			t.Errorf("%s: got %s, want %s", name, a.Body, want)
		}
	}
}

// Docker pulls of an excluded user, and of a session of an excluded role, do not set the time of the last pull; those of a user with
// the name of the role do.
func TestExcludedDockerPulls(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	alice := personOf(s, root)
	all := document(`{"Effect":"Allow","Action":"*","Resource":"*"}`)
	alice.iam(t, "CreateRole", "RoleName", "scan", "Path", "/tools/", "AssumeRolePolicyDocument",
		document(`{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}`))
	alice.iam(t, "PutRolePolicy", "RoleName", "scan", "PolicyName", "p", "PolicyDocument", all)
	scanner, named := alice.user(t, "scanner", all), alice.user(t, "scan", all)
	session := scanner.as(scanner.sts(t, "AssumeRole", "RoleArn", "arn:aws:iam::000000000000:role/tools/scan", "RoleSessionName", "ci"))
	for _, principal := range []string{"user/scanner", "role/tools/scan"} {
		alice.ecr(t, "RegisterPullTimeUpdateExclusion", "principalArn", "arn:aws:iam::000000000000:"+principal).Want(t, 200)
	}
	repo := root.CreateRepository(t, "app")
	images := map[string]ocitest.Image{}
	for name, p := range map[string]person{"scanner": scanner, "session": session, "named": named} {
		images[name] = ocitest.NewImage(uint64(len(images)), 100)
		repo.Push(t, name, images[name])
		p.docker(t).Repo("app").Manifest(t, name).Want(t, 200)
	}
	s.Restart(t) // writes the times that wait
	for name, want := range map[string]bool{"scanner": false, "session": false, "named": true} {
		d, err := s.Root(t).ECR().DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("app"),
			ImageIds: []types.ImageIdentifier{{ImageDigest: aws.String(images[name].Digest)}}})
		if err != nil || (d.ImageDetails[0].LastRecordedPullTime != nil) != want {
			t.Errorf("the image that %s pulled: got %+v, %v, want a time of the last pull: %t", name, d, err, want)
		}
	}
}
