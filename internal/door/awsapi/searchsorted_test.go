package awsapi_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// foundRepositories returns the repositories of all pages of a search.
func (s *server) foundRepositories(key aws.Credentials, pairs ...any) (names []string, all []ecrintypes.FoundRepository) {
	s.t.Helper()
	token := ""
	for range 50 {
		with := slices.Clone(pairs)
		if token != "" {
			with = append(with, "nextToken", token)
		}
		a := s.callEcrin(key, "SearchRepositories", object(with...))
		var out ecrintypes.SearchRepositoriesResponse
		if err := json.Unmarshal([]byte(a.Body), &out); err != nil || a.Status != 200 {
			s.t.Fatalf("SearchRepositories %v: got %s, %v", with, a, err)
		}
		for _, r := range out.Repositories {
			names, all = append(names, r.RepositoryName), append(all, r)
		}
		if token = out.NextToken; token == "" {
			return names, all
		}
	}
	s.t.Fatalf("SearchRepositories %v: got more than 50 pages", pairs)
	return nil, nil
}

// Acceptance rows of sorted searches.
//
//	| row | the user does | expected |
//	| SO1 | sorts images by size, push and pull, both ways, by pages of any size | each image once, in that order |
//	| SO2 | sorts with a prefix, a pattern of tags or a text | the images that have it, in that order |
//	| SO3 | sorts as a user whom policies deny a repository for either action | no image and no repository of it, and no error |
//	| SO4 | sorts repositories by size, images, push and pull, both ways, by pages of one | each repository once, in that order |
//	| SO5 | searches repositories by a pattern and a prefix | these alone, with sizes, numbers and times |
//	| SO6 | deletes a repository or an image | it is not found any more; a repository that is restored is |
//	| SO7 | searches repositories without permission, or in another account | AccessDenied |
//	| SO8 | sends an order of names that is descending, no key, or a token of another order | InvalidParameter |
func TestSortedSearchRows(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	foreign := s.account("111122223333")
	for _, repo := range []string{"zoo", "app", "team/app", "team/secret"} {
		s.repository(repo)
		s.advance(time.Second)
	}
	for i, one := range []struct{ repo, seed, tag string }{
		{"team/app", strings.Repeat("s", 30), "v30"}, {"app", strings.Repeat("s", 10), "v10"}, {"app", strings.Repeat("s", 40), "v40"},
		{"team/secret", strings.Repeat("s", 20), "v20"},
	} {
		s.image(one.repo, one.seed, one.tag)
		s.advance(time.Duration(i+1) * time.Second)
	}
	for _, pull := range []string{"v40", "v10"} { // v40 first
		s.must("BatchGetImage", object("repositoryName", "app", "imageIds", ids("", pull)))
		s.advance(time.Second)
	}
	eventually(t, func() string {
		if got := s.found(s.key, "sortBy", "PULLED"); len(got) != 4 || got[0] != "app:v10" || got[1] != "app:v40" {
			return fmt.Sprintf("SO1, pulls: got %q, want v10, v40 and two others", got)
		}
		return ""
	})
	bySize := []string{"app:v40", "team/app:v30", "team/secret:v20", "app:v10"}
	byPush := []string{"team/secret:v20", "app:v40", "app:v10", "team/app:v30"}
	reversed := func(all []string) []string { all = slices.Clone(all); slices.Reverse(all); return all }
	for _, c := range []struct {
		row   string
		pairs []any
		want  []string
	}{
		{"SO1", []any{"sortBy", "SIZE"}, bySize},
		{"SO1", []any{"sortBy", "SIZE", "maxResults", 1}, bySize},
		{"SO1", []any{"sortBy", "SIZE", "sortOrder", "ASCENDING", "maxResults", 1}, reversed(bySize)},
		{"SO1", []any{"sortBy", "PUSHED", "maxResults", 3}, byPush},
		{"SO1", []any{"sortBy", "PUSHED", "sortOrder", "ASCENDING", "maxResults", 1}, reversed(byPush)},
		{"SO2", []any{"sortBy", "SIZE", "repositoryPrefix", "team/"}, bySize[1:3]},
		{"SO2", []any{"sortBy", "SIZE", "tagPattern", "v?0", "text", "app:", "sortOrder", "ASCENDING"},
			[]string{"app:v10", "team/app:v30", "app:v40"}},
	} {
		if got := s.found(s.key, c.pairs...); !slices.Equal(got, c.want) {
			t.Errorf("%s, %v: got %q, want %q", c.row, c.pairs, got, c.want)
		}
	}
	if got := s.found(s.key, "sortBy", "PULLED", "sortOrder", "ASCENDING"); len(got) != 4 || got[2] != "app:v40" || got[3] != "app:v10" {
		t.Errorf("SO1, ascending pulls: got %q, want the two that were never pulled, v40 and v10", got)
	}

	seeing := []string{"ecrin:SearchImages", "ecr:DescribeImages", "ecrin:SearchRepositories", "ecr:DescribeRepositories"}
	for i := range 2 { // SO3
		key := s.user(fmt.Sprint("denied", i), object("Version", "2012-10-17", "Statement", []any{
			map[string]any{"Effect": "Allow", "Action": seeing, "Resource": "*"},
			map[string]any{"Effect": "Deny", "Action": []string{seeing[i], seeing[i+2]}, "Resource": "arn:aws:*:*:*:repository/team/secret"}}))
		if got, want := s.found(key, "sortBy", "SIZE", "maxResults", 1), []string{bySize[0], bySize[1], bySize[3]}; !slices.Equal(got, want) {
			t.Errorf("SO3, %s denied: got %q, want %q", seeing[i], got, want)
		}
		if got, _ := s.foundRepositories(key, "sortBy", "SIZE", "maxResults", 1); !slices.Equal(got, []string{"app", "team/app", "zoo"}) {
			t.Errorf("SO3, %s denied: got %q, want all repositories but team/secret", seeing[i+2], got)
		}
	}

	for _, c := range []struct {
		row   string
		pairs []any
		want  []string
	}{
		{"SO4", []any{"sortBy", "SIZE", "maxResults", 1}, []string{"app", "team/app", "team/secret", "zoo"}},
		{"SO4", []any{"sortBy", "SIZE", "sortOrder", "ASCENDING", "maxResults", 1}, []string{"zoo", "team/secret", "team/app", "app"}},
		{"SO4", []any{"sortBy", "IMAGES", "maxResults", 1}, []string{"app", "team/secret", "team/app", "zoo"}},
		{"SO4", []any{"sortBy", "PUSHED", "maxResults", 1}, []string{"team/secret", "app", "team/app", "zoo"}},
		{"SO4", []any{"sortBy", "PUSHED", "sortOrder", "ASCENDING"}, []string{"zoo", "team/app", "app", "team/secret"}},
		{"SO4", []any{"sortBy", "PULLED"}, []string{"app", "team/secret", "team/app", "zoo"}},
		{"SO4", []any{"maxResults", 1}, []string{"app", "team/app", "team/secret", "zoo"}},
		{"SO4", []any{"sortBy", "NAME", "repositoryPrefix", "team/", "maxResults", 1}, []string{"team/app", "team/secret"}},
		{"SO5", []any{"namePattern", "*app"}, []string{"app", "team/app"}},
		{"SO5", []any{"namePattern", "?oo", "sortBy", "SIZE"}, []string{"zoo"}},
		{"SO5", []any{"namePattern", "*e*", "repositoryPrefix", "team/s", "sortBy", "IMAGES"}, []string{"team/secret"}},
	} {
		if got, _ := s.foundRepositories(s.key, c.pairs...); !slices.Equal(got, c.want) {
			t.Errorf("%s, %v: got %q, want %q", c.row, c.pairs, got, c.want)
		}
	}
	_, all := s.foundRepositories(s.key, "namePattern", "app")
	if len(all) != 1 || all[0].Images != 2 || all[0].SizeInBytes != int64(len(`{"seed":""}`)*2+50) || all[0].LastPushedAt == nil ||
		all[0].LastRecordedPullTime == nil || all[0].CreatedAt.IsZero() {
		t.Errorf("SO5: got %+v, want 2 images, 72 bytes and all times", all)
	}

	page := s.callEcrin(s.key, "SearchImages", object("sortBy", "SIZE", "maxResults", 1)) // SO6, SO8
	var first ecrintypes.SearchImagesResponse
	if err := json.Unmarshal([]byte(page.Body), &first); err != nil {
		t.Fatal(err)
	}
	s.must("DeleteRepository", object("repositoryName", "team/app", "force", true))
	s.must("BatchDeleteImage", object("repositoryName", "app", "imageIds", ids("", "v10")))
	if got := s.found(s.key, "sortBy", "SIZE", "nextToken", first.NextToken); !slices.Equal(got, bySize[2:3]) {
		t.Errorf("SO6: got %q, want %q", got, bySize[2:3])
	}
	if got, _ := s.foundRepositories(s.key, "sortBy", "IMAGES"); !slices.Equal(got, []string{"team/secret", "app", "zoo"}) {
		t.Errorf("SO6: got %q, want three repositories", got)
	}

	s.callEcrin(s.user("lister", allow("ecr:*")), "SearchRepositories", `{}`).want(t, "SO7", 400, "AccessDeniedException",
		"ecrin:SearchRepositories on resource")
	s.callEcrin(foreign, "SearchRepositories", object("registryId", home)).want(t, "SO7", 400, "AccessDeniedException", "")
	if got, _ := s.foundRepositories(foreign, "sortBy", "SIZE"); len(got) != 0 {
		t.Errorf("SO7: got %q for another account, want its own repositories, none", got)
	}
	for _, operation := range []string{"SearchImages", "SearchRepositories"} {
		for _, body := range []string{`{"sortOrder":"DESCENDING"}`, `{"sortBy":"NAME","sortOrder":"DESCENDING"}`, `{"sortBy":"AGE"}`,
			object("sortBy", "PUSHED", "nextToken", first.NextToken),
			object("sortBy", "SIZE", "sortOrder", "ASCENDING", "nextToken", first.NextToken)} {
			s.callEcrin(s.key, operation, body).want(t, "SO8, "+body, 400, "InvalidParameterException", "")
		}
	}
}

// A page of a sorted search decides about at most 200 repositories, and the next one continues.
func TestSortedSearchOfManyRepositories(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for i := range 203 {
		s.repository(fmt.Sprintf("many/%03d", i))
	}
	var first ecrintypes.SearchRepositoriesResponse
	page := s.callEcrin(s.key, "SearchRepositories", `{"sortBy":"SIZE","maxResults":1000}`)
	if err := json.Unmarshal([]byte(page.Body), &first); err != nil {
		t.Fatal(err)
	}
	if len(first.Repositories) != 200 || first.NextToken == "" {
		t.Errorf("first page: got %d repositories, token %q, want 200 and a token", len(first.Repositories), first.NextToken)
	}
	if got, _ := s.foundRepositories(s.key, "sortBy", "SIZE", "maxResults", 1000); len(got) != 203 {
		t.Errorf("all pages: got %d repositories, want 203", len(got))
	}
}
