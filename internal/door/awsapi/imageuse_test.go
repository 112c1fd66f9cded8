package awsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// answered decodes the answer of an operation of ecrin that must succeed.
func answered[T any](s *server, key aws.Credentials, operation, body string) (out T) {
	s.t.Helper()
	a := s.callEcrin(key, operation, body)
	if err := json.Unmarshal([]byte(a.Body), &out); err != nil || a.Status != 200 {
		s.t.Fatalf("%s %s: got %s, %v", operation, body, a, err)
	}
	return out
}

// Acceptance rows of who pulls an image.
//
//	| row | the user does | expected |
//	| IP1 | pulls an image by tag, digest, HEAD and digest, in sessions of a role, without credentials | each principal with pulls and tags |
//	| IP2 | asks by pages of one | each principal once, the most pulls first, and the same sums on each page |
//	| IP3 | asks without permission, of no image, and since before 30 days | AccessDenied, ImageNotFound, InvalidParameter |
//	| IP4 | asks for the usage of repositories and of tags by name | their days alone; refused for one that the caller may not see |
func TestImagePullRows(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *config.Config) { c.Anonymous = true })
	s.repository("team/app")
	s.repository("second")
	s.must("SetRepositoryPolicy", object("repositoryName", "team/app", "policyText",
		object("Version", "2012-10-17", "Statement", []any{map[string]any{"Effect": "Allow", "Principal": "*",
			"Action": []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}}})))
	image := ocitest.NewImage(3, 500)
	digest := ocitest.SHA256(image.Manifest)
	app := s.Root(t).Docker(t).Repo("team/app")
	app.Push(t, "v1", image)
	app.Push(t, "v2", image)
	app.Manifest(t, "v1").Want(t, 200)
	app.Manifest(t, "v1").Want(t, 200)
	app.Manifest(t, digest).Want(t, 200)
	app.Do(t, http.MethodHead, app.Path("/manifests/v2"), nil).Want(t, 200)
	app.Manifest(t, digest).Want(t, 200) // of v2
	anonymous := ocitest.Client{HTTP: s.HTTP, Base: s.URL}.Repo("team/app")
	anonymous.Manifest(t, "v1").Want(t, 200)
	s.role("ci", allow("ecr:*"))
	user := s.user("user", allow("sts:*"))
	for _, session := range []string{"one", "two", "three"} {
		a := s.send(raw{key: s.assume(user, "ci", session, ""), target: ecrTarget + "BatchGetImage",
			body: object("repositoryName", "team/app", "imageIds", ids(digest, ""))})
		if a.Status != 200 {
			t.Fatalf("IP1: got %s", a)
		}
	}
	s.Restart(t)
	named := object("repositoryName", "team/app", "imageTag", "v1")
	out := answered[ecrintypes.ListImagePullsResponse](s, s.key, "ListImagePulls", named)
	want := []string{"arn:aws:iam::" + home + ":root 4 1 v1,v2", "arn:aws:sts::" + home + ":assumed-role/ci 3 3 ", "anonymous 1 0 v1"}
	text := func(p ecrintypes.PulledBy) string {
		slices.Sort(p.ImageTags)
		return fmt.Sprintf("%s %d %d %s", p.Principal, p.Pulls, p.DigestPulls, strings.Join(p.ImageTags, ","))
	}
	var got []string
	for _, p := range out.Pulls {
		got = append(got, text(p))
	}
	if !slices.Equal(got, want) || out.ImageDigest != digest || out.TotalPulls != 8 || out.Principals != 3 || out.OtherPulls != 0 ||
		out.UncountedPulls != 0 {
		t.Errorf("IP1: got %q of %+v, want %q", got, out, want)
	}

	got = nil
	for token := ""; ; { // IP2
		body := object("repositoryName", "team/app", "imageDigest", digest, "maxResults", 1)
		if token != "" {
			body = object("repositoryName", "team/app", "imageDigest", digest, "maxResults", 1, "nextToken", token)
		}
		page := answered[ecrintypes.ListImagePullsResponse](s, s.key, "ListImagePulls", body)
		if len(page.Pulls) != 1 || page.TotalPulls != 8 || page.Principals != 3 {
			t.Fatalf("IP2: got the page %+v", page)
		}
		got = append(got, text(page.Pulls[0]))
		if token = page.NextToken; token == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("IP2: got %q, want %q", got, want)
	}

	reader := s.user("reader", rule("Allow", "Action", "arn:aws:ecr:*:*:repository/team/*", "ecrin:ListImagePulls", "ecrin:GetUsageHistory"))
	answered[ecrintypes.ListImagePullsResponse](s, reader, "ListImagePulls", named)
	s.callEcrin(user, "ListImagePulls", named).want(t, "IP3", 400, "AccessDeniedException", "ecrin:ListImagePulls on resource")
	s.callEcrin(reader, "ListImagePulls", object("repositoryName", "second", "imageTag", "v1")).want(t, "IP3", 400, "AccessDeniedException",
		"")
	s.callEcrin(s.account(otherAccount), "ListImagePulls", object("registryId", home, "repositoryName", "team/app", "imageTag", "v1")).
		want(t, "IP3", 400, "AccessDeniedException", "")
	s.callEcrin(s.key, "ListImagePulls", object("repositoryName", "team/app", "imageTag", "none")).want(t, "IP3", 400,
		"ImageNotFoundException", "")
	for _, body := range []string{object("repositoryName", "team/app", "imageTag", "v1", "since", s.now().Add(-32*24*time.Hour).Unix()),
		object("repositoryName", "team/app", "imageTag", "v1", "nextToken", "x"),
		object("repositoryName", "team/app"), object("repositoryName", "team/app", "imageTag", "v1", "imageDigest", digest)} {
		s.callEcrin(s.key, "ListImagePulls", body).want(t, "IP3, "+body, 400, "InvalidParameterException", "")
	}

	days := func(key aws.Credentials, pairs ...any) (all []string) {
		t.Helper()
		body := object(append(pairs, "granularity", "DAILY")...)
		for _, u := range answered[ecrintypes.GetUsageHistoryResponse](s, key, "GetUsageHistory", body).Usage {
			all = append(all, fmt.Sprintf("%s:%s %d", u.RepositoryName, u.ImageTag, u.Pulls))
		}
		return all
	}
	if got := days(s.key, "repositoryNames", []string{"team/app", "none"}); !slices.Equal(got, []string{"team/app: 8"}) { // IP4
		t.Errorf("IP4: got %q of a repository", got)
	}
	if got := days(s.key, "repositoryName", "team/app", "groupBy", "TAG", "imageTags", []string{"v2", "none"}); !slices.Equal(got,
		[]string{"team/app:v2 1"}) {
		t.Errorf("IP4: got %q of a tag", got)
	}
	if got := days(reader, "repositoryNames", []string{"team/app"}); len(got) != 1 {
		t.Errorf("IP4: got %q for a reader of team/*", got)
	}
	s.callEcrin(reader, "GetUsageHistory", object("repositoryNames", []string{"team/app", "second"})).want(t, "IP4", 400,
		"AccessDeniedException", "repository/second")
	for _, body := range []string{object("repositoryNames", []string{"a1"}, "groupBy", "PRINCIPAL"),
		object("repositoryNames", []string{"a1"}, "repositoryName", "a1"), object("imageTags", []string{"v1"}, "groupBy", "TAG"),
		object("repositoryName", "a1", "imageTags", []string{"v1"}), object("repositoryNames", []string{"a1"}, "nextToken", "x"),
		object("repositoryNames", []string{"a1"}, "startTime", s.now().Add(-40*time.Hour).Unix())} {
		s.callEcrin(s.key, "GetUsageHistory", body).want(t, "IP4, "+body, 400, "InvalidParameterException", "")
	}
}

// Acceptance rows of layers, tags and totals.
//
//	| row | the user does | expected |
//	| LT1 | asks where the layers of an image are | each with the images and repositories that the caller may see, this one among them |
//	| LT2 | asks without the right to pull, or of an image of another account | AccessDenied |
//	| LT3 | lists tags by pages of one, and by a pattern | the last pushed first; by name those that are like it, each once |
//	| LT4 | lists tags without ecr:ListImages, and with a token of another listing | AccessDenied, InvalidParameter |
//	| LT5 | searches repositories with totals | what the registry has; none for who may not describe all |
//	| LT6 | counts what waits | open requests for access and failing integrations, each for who may list them |
func TestLayersTagsAndTotalsRows(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, repo := range []string{"team/app", "team/web", "secret"} {
		s.repository(repo)
	}
	docker := s.Root(t).Docker(t)
	shared := ocitest.NewImage(1, 300)
	for i, repo := range []string{"team/app", "team/web", "secret"} {
		docker.Repo(repo).Push(t, "v1", shared)
		s.advance(time.Second)
		docker.Repo(repo).Push(t, fmt.Sprint("own-", i), ocitest.NewImage(uint64(10+i), 200))
		s.advance(time.Second)
	}
	layer := ocitest.SHA256(shared.Layers[0])
	v1 := object("repositoryName", "team/app", "imageTag", "v1")
	holders := func(key aws.Credentials) string {
		t.Helper()
		out := answered[ecrintypes.ListImageLayersResponse](s, key, "ListImageLayers", v1)
		var all []string
		for _, l := range out.Layers {
			for _, r := range l.Repositories {
				all = append(all, fmt.Sprint(l.LayerDigest == layer, " ", r.RepositoryName, " ", r.Images, " of ", l.Images))
			}
		}
		return strings.Join(all, ", ")
	}
	if got := holders(s.key); got != "true secret 1 of 3, true team/app 1 of 3, true team/web 1 of 3" { // LT1
		t.Errorf("LT1: got %q", got)
	}
	team := "arn:aws:ecr:*:*:repository/team/*"
	seer := s.user("seer", rule("Allow", "Action", team, "ecrin:ListImageLayers", "ecrin:ListTags", "ecr:*"))
	if got := holders(seer); got != "true team/app 1 of 2, true team/web 1 of 2" {
		t.Errorf("LT1: a user without rights on secret got %q", got)
	}
	half := s.user("half", rule("Allow", "Action", team, "ecrin:*"))
	s.callEcrin(half, "ListImageLayers", v1).want(t, "LT2", 400, "AccessDeniedException", "ecr:BatchGetImage")
	foreign := s.account(otherAccount)
	s.callEcrin(foreign, "ListImageLayers", object("registryId", home, "repositoryName", "team/app", "imageTag", "v1")).want(t, "LT2", 400,
		"AccessDeniedException", "")

	tags := func(key aws.Credentials, pattern string, step int) (all []string) {
		t.Helper()
		for token := ""; ; {
			pairs := []any{"repositoryName", "team/app", "maxResults", step}
			if pattern != "" {
				pairs = append(pairs, "tagPattern", pattern)
			}
			if token != "" {
				pairs = append(pairs, "nextToken", token)
			}
			out := answered[ecrintypes.ListTagsResponse](s, key, "ListTags", object(pairs...))
			for _, one := range out.Tags {
				all = append(all, one.ImageTag)
			}
			if token = out.NextToken; token == "" {
				return all
			}
		}
	}
	app := docker.Repo("team/app")
	app.Push(t, "a-second", shared)
	app.Push(t, "z1", shared)
	for _, step := range []int{1, 2, 3, 100} { // LT3
		for pattern, want := range map[string]string{"": "own-0 a-second v1 z1", "*": "a-second own-0 v1 z1", "*1": "v1 z1", "own-*": "own-0",
			"v1": "v1", "?1": "v1 z1", "zz*": ""} {
			got := strings.Join(tags(seer, pattern, step), " ")
			if got != want {
				t.Errorf("LT3, %q by %d: got %q, want %q", pattern, step, got, want)
			}
		}
	}
	s.callEcrin(half, "ListTags", object("repositoryName", "team/app")).want(t, "LT4", 400, "AccessDeniedException", "ecr:ListImages")
	token := answered[ecrintypes.ListTagsResponse](s, s.key, "ListTags", object("repositoryName", "team/app", "maxResults", 1)).NextToken
	s.callEcrin(s.key, "ListTags", object("repositoryName", "team/web", "nextToken", token)).want(t, "LT4", 400,
		"InvalidParameterException", "")
	s.callEcrin(s.key, "ListTags", object("repositoryName", "team/app", "tagPattern", "*", "nextToken", token)).want(t, "LT4", 400,
		"InvalidParameterException", "")

	all := answered[ecrintypes.SearchRepositoriesResponse](s, s.key, "SearchRepositories", `{"totals":true,"maxResults":1}`)
	if all.Totals == nil || all.Totals.Repositories != 3 || all.Totals.Images != 6 || all.Totals.SizeInBytes == 0 { // LT5
		t.Errorf("LT5: got %+v", all.Totals)
	}
	searcher := s.user("searcher", object("Version", "2012-10-17", "Statement", []any{
		map[string]any{"Effect": "Allow", "Action": "ecrin:SearchRepositories", "Resource": "*"},
		map[string]any{"Effect": "Allow", "Action": "ecr:DescribeRepositories", "Resource": team}}))
	some := answered[ecrintypes.SearchRepositoriesResponse](s, searcher, "SearchRepositories", `{"totals":true}`)
	if some.Totals != nil || len(some.Repositories) != 2 {
		t.Errorf("LT5: a user with rights on team/* got %+v, %d repositories", some.Totals, len(some.Repositories))
	}

	nobody := s.user("nobody", allow("sts:GetCallerIdentity")) // LT6
	s.asked(nobody, "pull:"+home+"/us-east-1/secret")
	waits := func(key aws.Credentials) string {
		t.Helper()
		a := s.callEcrin(key, "CountWaiting", `{}`)
		return strings.TrimSpace(a.Body)
	}
	for what, c := range map[string]struct {
		key  aws.Credentials
		want string
	}{
		"root": {s.key, `{"openAccessRequests":1,"failingIntegrations":0}`}, "foreign": {foreign,
			`{"openAccessRequests":0,"failingIntegrations":0}`},
		"lister":  {s.user("lister", allow("ecrin:CountWaiting", "ecrin:ListAccessRequests")), `{"openAccessRequests":1}`},
		"counter": {s.user("counter", allow("ecrin:CountWaiting")), `{}`},
	} {
		if got := waits(c.key); got != c.want {
			t.Errorf("LT6, %s: got %s, want %s", what, got, c.want)
		}
	}
	s.callEcrin(foreign, "CountWaiting", object("registryId", home)).want(t, "LT6", 400, "AccessDeniedException", "")
	s.callEcrin(nobody, "CountWaiting", `{}`).want(t, "LT6", 400, "AccessDeniedException", "")
}
