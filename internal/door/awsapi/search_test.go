package awsapi_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// found returns the images of all pages of a search, as REPOSITORY:TAG,TAG.
func (s *server) found(key aws.Credentials, pairs ...any) []string {
	s.t.Helper()
	all, token := []string{}, ""
	for range 50 {
		with := slices.Clone(pairs)
		if token != "" {
			with = append(with, "nextToken", token)
		}
		a := s.callEcrin(key, "SearchImages", object(with...))
		var out ecrintypes.SearchImagesResponse
		if err := json.Unmarshal([]byte(a.Body), &out); err != nil || a.Status != 200 {
			s.t.Fatalf("SearchImages %v: got %s, %v", with, a, err)
		}
		for _, i := range out.Images {
			all = append(all, i.RepositoryName+":"+strings.Join(i.ImageTags, ","))
		}
		if token = out.NextToken; token == "" {
			return all
		}
	}
	s.t.Fatalf("SearchImages %v: got more than 50 pages", pairs)
	return nil
}

// Acceptance rows of the search of images.
//
//	| row | the user does | expected |
//	| SE1 | searches by a pattern of tags | the images with such tags, with these tags alone |
//	| SE2 | searches by the beginning of a digest, with and without sha256: | that image in each repository that has it |
//	| SE3 | searches by a prefix of repositories, which may be a whole name | these repositories alone |
//	| SE4 | searches by a text of a repository, a tag, or both | the images that have it |
//	| SE5 | reads pages of one image | all images once, in the order of repositories and push times |
//	| SE6 | searches as a user whom policies deny a repository for either action | no image of it, and no error |
//	| SE7 | searches without permission, or with one for other repositories, or in another account | AccessDenied |
//	| SE8 | sends what is no pattern, prefix or token, or a token of another search | InvalidParameter |
//	| SE9 | searches as the operator | the images of the account |
//	| SE10 | deletes the repository where the next page begins, with images later than others, and creates it again | all that is there |
//	| SE11 | searches by labels, of the config and of the manifest, KEY or KEY=VALUE, in each order | the images that have all, with these |
func TestSearchRows(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	foreign := s.account("111122223333")
	for _, repo := range []string{"app", "team", "team/app", "team/secret", "teams"} {
		s.repository(repo)
	}
	s.image("team", "d", "v1.2")
	s.image("app", "a", "v1.0", "v1.1", "latest")
	s.image("app", "b", "v2.0")
	s.image("app", "c")
	shared := digestOf(s.image("team/app", "e", "v1.3"))
	s.image("team/secret", "e", "v1.4")
	s.image("teams", "f", "v1.5")
	// DescribeImages is denied of one user, and SearchImages of the other.
	seeing := []string{"ecrin:SearchImages", "ecr:DescribeImages"}
	denied := map[string]aws.Credentials{}
	for i, action := range seeing {
		denied[action] = s.user(fmt.Sprint("denied", i), object("Version", "2012-10-17", "Statement", []any{
			map[string]any{"Effect": "Allow", "Action": seeing, "Resource": "*"},
			map[string]any{"Effect": "Deny", "Action": action, "Resource": "arn:aws:*:*:*:repository/team/secret"}}))
	}
	reader := s.user("reader", rule("Allow", "Action", "arn:aws:ecr:*:*:repository/team/*", seeing...))
	searcher := s.user("searcher", allow("ecrin:SearchImages"))
	lister := s.user("lister", allow("ecr:*"))

	everything := []string{"app:latest,v1.0,v1.1", "app:v2.0", "app:", "team:v1.2", "team/app:v1.3", "team/secret:v1.4", "teams:v1.5"}
	open := []string{"app:latest,v1.0,v1.1", "app:v2.0", "app:", "team:v1.2", "team/app:v1.3", "teams:v1.5"}
	for _, c := range []struct {
		row   string
		key   aws.Credentials
		pairs []any
		want  []string
	}{
		{"SE1", s.key, []any{"tagPattern", "v1.?", "repositoryPrefix", "app"}, []string{"app:v1.0,v1.1"}},
		{"SE1", s.key, []any{"tagPattern", "*est"}, []string{"app:latest"}},
		{"SE1", s.key, []any{"tagPattern", "v"}, nil},
		{"SE2", s.key, []any{"digestPrefix", shared}, []string{"team/app:v1.3", "team/secret:v1.4"}},
		{"SE2", s.key, []any{"digestPrefix", strings.TrimPrefix(shared, "sha256:")[:20]}, []string{"team/app:v1.3", "team/secret:v1.4"}},
		{"SE3", s.key, []any{"repositoryPrefix", "team"}, everything[3:]},
		{"SE3", s.key, []any{"repositoryPrefix", "team/"}, everything[4:6]},
		{"SE3", s.key, []any{"repositoryPrefix", "team/app"}, everything[4:5]},
		{"SE3", s.key, []any{"repositoryPrefix", "zzz"}, nil},
		{"SE4", s.key, []any{"text", "ecre"}, everything[5:6]},
		{"SE4", s.key, []any{"text", "2.0"}, everything[1:2]},
		{"SE4", s.key, []any{"text", "app:v"}, []string{everything[0], everything[1], everything[4]}},
		{"SE4", s.key, []any{"text", "app:v", "tagPattern", "v1.3"}, everything[4:5]},
		{"SE5", s.key, []any{"maxResults", 1}, everything},
		{"SE5", s.key, nil, everything},
		{"SE6", denied[seeing[0]], nil, open},
		{"SE6", denied[seeing[1]], nil, open},
		{"SE6", denied[seeing[1]], []any{"repositoryPrefix", "team/secret", "digestPrefix", shared}, nil},
		{"SE6", searcher, nil, nil},
		{"SE7", reader, []any{"repositoryPrefix", "team/"}, everything[4:6]},
	} {
		if got := s.found(c.key, c.pairs...); !slices.Equal(got, c.want) {
			t.Errorf("%s, %v: got %q, want %q", c.row, c.pairs, got, c.want)
		}
	}
	for _, prefix := range []string{"t", "team", "app"} {
		s.callEcrin(reader, "SearchImages", object("repositoryPrefix", prefix)).want(t, "SE7", 400, "AccessDeniedException", "")
	}
	s.callEcrin(lister, "SearchImages", `{}`).want(t, "SE7", 400, "AccessDeniedException", "ecrin:SearchImages on resource")
	s.callEcrin(foreign, "SearchImages", object("registryId", home)).want(t, "SE7", 400, "AccessDeniedException", "")
	if got := s.found(foreign); len(got) != 0 {
		t.Errorf("SE7: got %q for another account, want its own images, none", got)
	}

	var first ecrintypes.SearchImagesResponse // SE9
	s.operator("SearchImages", &ecrintypes.SearchImagesRequest{RegistryId: home, MaxResults: aws.Int32(4)}, &first)
	if len(first.Images) != 4 || first.NextToken == "" || first.Images[0].ImageSizeInBytes == 0 || first.Images[0].ImagePushedAt.IsZero() {
		t.Errorf("SE9: got %+v, want 4 images with sizes and times, and a token", first)
	}
	for _, body := range []string{`{"tagPattern":"[a"}`, `{"repositoryPrefix":"NO"}`, `{"digestPrefix":"%"}`, `{"nextToken":"x"}`,
		`{"text":"a b"}`, object("nextToken", first.NextToken, "text", "a")} { // SE8
		s.callEcrin(s.key, "SearchImages", body).want(t, "SE8, "+body, 400, "InvalidParameterException", "")
	}
	page := s.callEcrin(s.key, "SearchImages", object("maxResults", 1)) // SE10
	if err := json.Unmarshal([]byte(page.Body), &first); err != nil {
		t.Fatal(err)
	}
	s.must("DeleteRepository", `{"repositoryName":"app","force":true}`)
	if got := s.found(s.key, "nextToken", first.NextToken); !slices.Equal(got, everything[3:]) {
		t.Errorf("SE10, deleted: got %q, want %q", got, everything[3:])
	}
	s.repository("app")
	s.image("app", "g", "new")
	want := append([]string{"app:new"}, everything[3:]...)
	if got := s.found(s.key, "nextToken", first.NextToken); !slices.Equal(got, want) {
		t.Errorf("SE10: got %q, want %q", got, want)
	}
}

// Row SE11: an image that is copied has the labels soon, and one that is deleted is not found.
func TestSearchByLabel(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, repo := range []string{"app", "copies", "team"} {
		s.repository(repo)
	}
	labelled := func(repo, tag string, labels, annotations map[string]string) {
		t.Helper()
		config := object("config", map[string]any{"Labels": labels}, "tag", tag)
		s.layer(repo, config)
		m := map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []any{},
			"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digestOf(config), "size": len(config)}}
		if annotations != nil {
			m["annotations"] = annotations
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		s.push(repo, string(text), tag)
	}
	labelled("app", "v1", map[string]string{"maintainer": "ann", "revision": "4d1e"}, nil)
	labelled("app", "v2", map[string]string{"maintainer": "bob", "empty": ""}, map[string]string{"revision": "4d1e"})
	labelled("team", "v3", nil, map[string]string{"maintainer": "ann=bob"})
	s.image("team", "a", "v4")
	for _, c := range []struct {
		labels []string
		want   []string
	}{
		{[]string{"maintainer"}, []string{"app:v1", "app:v2", "team:v3"}},
		{[]string{"maintainer=ann"}, []string{"app:v1"}},
		{[]string{"maintainer=ann=bob"}, []string{"team:v3"}},
		{[]string{"revision=4d1e", "maintainer=bob"}, []string{"app:v2"}},
		{[]string{"empty="}, []string{"app:v2"}},
		{[]string{"Maintainer"}, nil}, {[]string{"revision=4d1"}, nil}, {[]string{"maintainer", "none"}, nil},
	} {
		for _, by := range []string{"NAME", "SIZE"} {
			got := s.found(s.key, "labels", c.labels, "sortBy", by, "maxResults", 1)
			if slices.Sort(got); !slices.Equal(got, c.want) {
				t.Errorf("SE11, %q by %s: got %q, want %q", c.labels, by, got, c.want)
			}
		}
	}
	var out ecrintypes.SearchImagesResponse
	s.operator("SearchImages", &ecrintypes.SearchImagesRequest{RegistryId: home, Labels: []string{"maintainer=bob", "revision"}}, &out)
	if len(out.Images) != 1 || !slices.Equal(out.Images[0].ImageLabels, []string{"maintainer=bob", "revision=4d1e"}) {
		t.Errorf("SE11, the answer: got %+v, want the two labels", out.Images)
	}
	s.callEcrin(s.key, "CopyImage", object("repositoryName", "app", "imageTag", "v1", "destinationRepositoryName", "copies")).want(t, "SE11",
		200, "", "")
	eventually(t, func() string {
		if got := s.found(s.key, "labels", []string{"maintainer=ann"}); !slices.Equal(got, []string{"app:v1", "copies:v1"}) {
			return fmt.Sprintf("SE11, a copy: got %q, want it too", got)
		}
		return ""
	})
	s.must("BatchDeleteImage", object("repositoryName", "app", "imageIds", ids("", "v1")))
	if got := s.found(s.key, "labels", []string{"revision"}); !slices.Equal(got, []string{"app:v2", "copies:v1"}) {
		t.Errorf("SE11, after the deletion of app:v1: got %q", got)
	}
	for _, labels := range [][]string{{""}, slices.Repeat([]string{"a"}, 11), {strings.Repeat("a", 1282)}} {
		s.callEcrin(s.key, "SearchImages", object("labels", labels)).want(t, fmt.Sprint("SE11, ", len(labels)), 400,
			"InvalidParameterException", "")
	}
}

// A page decides at most 200 repositories, whatever is found: it can be empty, and the next one continues.
func TestSearchOfManyRepositories(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for i := range 203 {
		s.repository(fmt.Sprintf("many/%03d", i))
	}
	s.image("many/202", "a", "last")
	var first ecrintypes.SearchImagesResponse
	if err := json.Unmarshal([]byte(s.callEcrin(s.key, "SearchImages", `{}`).Body), &first); err != nil {
		t.Fatal(err)
	}
	if len(first.Images) != 0 || first.NextToken == "" {
		t.Errorf("first page: got %+v, want no image and a token", first)
	}
	if got, want := s.found(s.key), []string{"many/202:last"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
