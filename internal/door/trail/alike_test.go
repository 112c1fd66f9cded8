package trail_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// clock is a clock of a test, which runs with the real time and can be set forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// countedLine is the part of a line that has the number of requests.
type countedLine struct {
	event
	Additional struct {
		Counted struct {
			Requests                      int
			Scope                         string
			FirstRequestID, LastRequestID string
		}
	} `json:"additionalEventData"`
}

// summaries returns the lines that stand for several requests.
func summaries(t *testing.T, all []string) (found []countedLine) {
	t.Helper()
	for _, line := range all {
		if strings.Contains(line, `"counted":{`) {
			var c countedLine
			must(t, 0, json.Unmarshal([]byte(line), &c))
			found = append(found, c)
		}
	}
	return found
}

// Of requests that are denied for the same reason, the first ten of a minute have a line each, and one line has the number of
// the others. Each has its own id, by which it is explained. Changes are never counted together.
func TestRefusalsOfOneReasonAreCountedTogether(t *testing.T) {
	t.Parallel()
	var c clock
	s := apptest.Start(t, apptest.Options{Now: c.now})
	owner := root(s.Root(t), s)
	s.Root(t).CreateRepository(t, "team/app")
	s.Root(t).CreateRepository(t, "team/web")
	alice := owner.user(t, "alice", `["ecr:GetAuthorizationToken"]`)
	repo := alice.docker(t, "").Repo("team/app")
	var ids []string
	for range 60 {
		ids = append(ids, repo.Tags(t, "").Want(t, 403).Header.Get("X-Amzn-Requestid"))
	}
	alice.docker(t, "").Repo("team/web").Tags(t, "").Want(t, 403) // another resource
	repo.Manifest(t, "1.0").Want(t, 403)                          // another action
	for i := range 30 {
		s.Root(t).CreateRepository(t, fmt.Sprintf("change/n%d", i))
	}
	slices.Sort(ids)
	if len(slices.Compact(slices.Clone(ids))) != 60 {
		t.Error("some refusals have the same request id")
	}
	for _, id := range ids {
		e := explained(t, s, id)
		if e.Allowed || e.DecidedBy != "identity-based" || e.Action != "ecr:ListImages" || e.RequestId != id || len(e.Changes) == 0 {
			t.Fatalf("request %s: got %+v, want the explanation of a denial", id, e)
		}
	}
	c.ahead.Store(int64(2 * time.Minute))
	repo.Tags(t, "").Want(t, 403) // ends the period
	all := lines(t, s)
	for what, want := range map[string]int{"ListImages": 10 + 1 + 1 + 1, "BatchGetImage": 1, "CreateRepository": 32} {
		n := 0
		for _, line := range all {
			if strings.Contains(line, `"eventName":"`+what+`"`) {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: got %d lines, want %d", what, n, want)
		}
	}
	sums := summaries(t, all)
	if len(sums) != 1 || sums[0].Additional.Counted.Requests != 50 || sums[0].Additional.Counted.Scope != "cause" ||
		sums[0].ErrorCode != "AccessDenied" || sums[0].UserIdentity["userName"] != "alice" ||
		!slices.Contains(ids, sums[0].Additional.Counted.FirstRequestID) || !slices.Contains(ids, sums[0].Additional.Counted.LastRequestID) {
		t.Fatalf("got %+v, want one line for 50 requests of alice", sums)
	}
	for _, id := range []string{sums[0].Additional.Counted.FirstRequestID, sums[0].Additional.Counted.LastRequestID} {
		if e := explained(t, s, id); !strings.Contains(e.Note, "stands for 50 requests of the same cause") || e.DecidedBy != "identity-based" {
			t.Errorf("request %s: got %+v, want the explanation of the line for 50 requests", id, e)
		}
	}
}

// A server that stops writes the sums of the period, and explains later by the ids that the line has.
func TestCountsAreWrittenAtTheEnd(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.Anonymous = true }})
	owner := root(s.Root(t), s)
	s.Root(t).CreateRepository(t, "team/app")
	alice := owner.user(t, "alice", `["ecr:ListImages"]`)
	bad := alice
	bad.key.SecretAccessKey = "wrong"
	for range 25 {
		for _, a := range []actor{alice, bad} {
			_, err := a.ecr().DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: aws.String("team/app")})
			if err == nil {
				t.Fatal("the repository could be deleted without the right")
			}
		}
		nobody := s.Root(t).Docker(t).Repo("team/app")
		nobody.Password = ""
		nobody.Do(t, http.MethodGet, nobody.Path("/manifests/1.0"), nil).Want(t, 401)
	}
	s.Restart(t)
	sums := summaries(t, lines(t, s))
	if len(sums) != 3 {
		t.Fatalf("got %d lines with sums, want one of each: a denial, a wrong signature, an anonymous caller", len(sums))
	}
	var refused struct{ Message string }
	for _, sum := range sums {
		if sum.Additional.Counted.Requests != 15 {
			t.Errorf("got %+v, want 15 requests", sum)
		}
		if e := explained(t, s, sum.Additional.Counted.LastRequestID); e.Allowed || !strings.Contains(e.Note, "15 requests") {
			t.Errorf("got %+v, want an explanation", e)
		}
	}
	if status := owner.own(t, "ExplainRequest", `{"requestId":"5ad8e6c6-15c8-4d6b-8d66-1fd0ab7a4b3e"}`, &refused); status != 400 ||
		!strings.Contains(refused.Message, "only the first of each minute have a line") {
		t.Errorf("an unknown request: got %d %s", status, refused.Message)
	}
	var page ecrintypes.ListAuditEventsResponse
	s.Operator(t, "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{Denied: aws.Bool(true)}, &page)
	if len(page.Events) != 33 {
		t.Errorf("got %d denied events, want 10 and a sum of each of three reasons", len(page.Events))
	}
}

// A request that was counted together with requests that failed for other reasons is not explained by one of them: the answer says
// that the trail does not have its reason. The others are explained.
func TestRequestsCountedTogetherHaveNoReasonOfAnother(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	owner := root(s.Root(t), s)
	alice := owner.user(t, "alice", `["ecr:GetAuthorizationToken"]`).docker(t, "")
	var ids []string
	for i := range 64 + 10 + 5 {
		ids = append(ids, alice.Repo(fmt.Sprintf("team/n%d", i)).Tags(t, "").Want(t, 403).Header.Get("X-Amzn-Requestid"))
	}
	for i, id := range ids[:64+10] {
		if e := explained(t, s, id); e.RequestId != id || !strings.HasSuffix(e.Resource, fmt.Sprintf("team/n%d", i)) {
			t.Fatalf("request %d, which has a line: got %+v, want its own explanation", i, e)
		}
	}
	const want = "counted together with requests that failed for other reasons"
	check := func(when string, ids ...string) {
		for _, id := range ids {
			var refused struct{ Message string }
			if status := owner.own(t, "ExplainRequest", `{"requestId":"`+id+`"}`, &refused); status != 400 ||
				!strings.Contains(refused.Message, id) || !strings.Contains(refused.Message, want) {
				t.Errorf("%s: got %d %q, want 400 and %q", when, status, refused.Message, want)
			}
		}
	}
	counted := ids[64+10:]
	check("while it is counted", counted...)
	s.Restart(t)
	check("by the line of all", counted[0], counted[4])
}
