package awsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// reported is a repository of a listing of reported repositories.
type reported struct {
	Repository    string
	ImageCount    int
	DeployedCount int
	Applications  []string
	Newest        *struct{ ImageTag string }
}

// reportedIn returns the repositories of a listing, by pages of a size, as texts.
func (s *server) reportedIn(size int, members ...any) (all []string) {
	s.t.Helper()
	for token := ""; ; {
		pairs := append([]any{"maxResults", size}, members...)
		if token != "" {
			pairs = append(pairs, "nextToken", token)
		}
		a := s.send(raw{key: s.key, at: s.now(), service: "ecrin", target: ecrinTarget + "ListReportedRepositories", body: object(pairs...)})
		var page struct {
			Repositories []reported
			NextToken    string
		}
		if err := json.Unmarshal([]byte(a.Body), &page); err != nil || a.Status != http.StatusOK || len(page.Repositories) > size {
			s.t.Fatalf("%v: got %s", members, a)
		}
		for _, r := range page.Repositories {
			newest := "-"
			if r.Newest != nil {
				newest = r.Newest.ImageTag
			}
			all = append(all, fmt.Sprint(r.Repository, " ", r.ImageCount, " ", newest, " ", r.DeployedCount, " ", strings.Join(r.Applications, "+")))
		}
		if token = page.NextToken; token == "" {
			return all
		}
	}
}

// The repositories of reports and of what runs are listed by pages, whatever their size, in both orders, with and without filters: each
// once, with the count of its images, the newest one, and what runs. What is reported under an index alone, and what has ended, is not
// listed.
func TestPagesOfReportedRepositories(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	account := s.Registry().Account
	put := func(repository, tag, branch string, list bool, age time.Duration) {
		t.Helper()
		digest := digestOf(repository + tag)
		if err := s.Meta().PutReport(t.Context(), account, []meta.ImageReport{{Image: repository + ":" + tag, Digest: digest,
			Repository: repository,
			Tag:        tag, Type: "OTHER", Branch: branch, List: list, CreatedAt: s.now().Add(-age), Details: "{}"}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	run := func(application, repository, tag string, ends time.Duration) {
		t.Helper()
		d, err := name.ParseDigest(digestOf(repository + tag))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Meta().PutDeployments(t.Context(), account, application, "prod", []meta.Deployment{{Application: application,
			Namespace: "prod", Image: repository + ":" + tag, Repository: repository, Tag: tag, Digest: d, Until: s.now().Add(ends)}}); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range []int{1, 3, 2, 1, 4} {
		repository := fmt.Sprint("h.example.com/r", i)
		for k := range n {
			put(repository, fmt.Sprint("1.", k), []string{"main", "dev"}[k%2], false, time.Duration(n-k)*time.Hour)
			s.advance(time.Second)
		}
	}
	put("h.example.com/index", "1.0", "main", true, 0)
	run("shop", "h.example.com/r1", "1.2", time.Hour)
	run("cart", "h.example.com/r1", "1.0", time.Hour)
	s.advance(time.Second)
	run("other", "h.example.com/unreported", "7", time.Hour)
	run("gone", "h.example.com/ended", "7", -time.Minute)
	s.advance(time.Second)
	put("h.example.com/r0", "1.0", "main", false, time.Hour) // again
	for _, tt := range []struct {
		members []any
		want    []string
	}{
		{nil, []string{"r0 1 1.0 0 ", "r1 3 1.2 2 cart+shop", "r2 2 1.1 0 ", "r3 1 1.0 0 ", "r4 4 1.3 0 ", "unreported 0 - 1 other"}},
		{[]any{"sortBy", "UPDATED"},
			[]string{"r0 1 1.0 0 ", "unreported 0 - 1 other", "r4 4 1.3 0 ", "r3 1 1.0 0 ", "r2 2 1.1 0 ", "r1 3 1.2 2 cart+shop"}},
		{[]any{"gitBranch", "dev"}, []string{"r1 1 1.1 0 cart+shop", "r2 1 1.1 0 ", "r4 2 1.3 0 "}},
		{[]any{"gitBranch", "dev", "sortBy", "UPDATED"}, []string{"r4 2 1.3 0 ", "r2 1 1.1 0 ", "r1 1 1.1 0 cart+shop"}},
		{[]any{"deployed", true}, []string{"r1 2 1.2 2 cart+shop", "unreported 0 - 1 other"}},
		{[]any{"search", "r4"}, []string{"r4 4 1.3 0 "}},
		{[]any{"search", "none"}, nil},
	} {
		for i, text := range tt.want {
			if !strings.HasPrefix(text, "h.") {
				tt.want[i] = "h.example.com/" + text
			}
		}
		for _, size := range []int{1, 2, 4, 100} {
			if got := s.reportedIn(size, tt.members...); !slices.Equal(got, tt.want) {
				t.Errorf("%v by %d:\n got %q\nwant %q", tt.members, size, got, tt.want)
			}
		}
	}
}
