package crash_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// TestKillKeepsTheTrail: a change whose answer was sent has its line after a kill right behind the answer, once.
func TestKillKeepsTheTrail(t *testing.T) { killKeepsTheTrail(t, "") }

// The same with the metadata in PostgreSQL: the lines wait there for the process that made them.
func TestKillKeepsTheTrailOnPostgreSQL(t *testing.T) {
	killKeepsTheTrail(t, postgres(t).NewDatabase(t))
}

func killKeepsTheTrail(t *testing.T, database string) {
	t.Helper()
	bin, dir := program(t), t.TempDir()
	want := map[string]bool{} // by name and parameters of the change
	for round := range rounds() {
		p := serve(t, bin, dir, database)
		s := apptest.Attach(t, dir)
		api := s.Root(t).ECR()
		repository := fmt.Sprintf("team/r%d", round)
		if _, err := api.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &repository}); err != nil {
			t.Fatal(err)
		}
		want["CreateRepository "+repository] = true
		repo := s.Root(t).Docker(t).Repo(repository)
		im := ocitest.NewImage(uint64(round), 100)
		repo.PushBlobs(t, im)
		for i := range 5 {
			tag := fmt.Sprintf("t%d", i)
			repo.PutManifest(t, tag, ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
			want["PutImage "+repository+":"+tag] = true
		}
		p.kill()
	}
	p := serve(t, bin, dir, database)
	s := apptest.Attach(t, dir)
	got := map[string]int{}
	ids := map[string]bool{}
	in := ecrintypes.ListAuditEventsRequest{Changes: aws.Bool(true), MaxResults: aws.Int32(1000)}
	for more := true; more; more = in.NextToken != "" {
		var page ecrintypes.ListAuditEventsResponse
		s.Operator(t, "ListAuditEvents", &in, &page)
		in.NextToken = page.NextToken
		for _, line := range page.Events {
			var e struct {
				EventName, EventID string
				RequestParameters  struct{ RepositoryName, ImageTag string }
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if ids[e.EventID] {
				t.Errorf("the event %s is there twice", e.EventID)
			}
			ids[e.EventID] = true
			what := e.EventName + " " + e.RequestParameters.RepositoryName
			if e.RequestParameters.ImageTag != "" {
				what += ":" + e.RequestParameters.ImageTag
			}
			got[what]++
		}
	}
	for what := range want {
		if got[what] != 1 {
			t.Errorf("%s succeeded before a kill, and is in the trail %d times, want once", what, got[what])
		}
	}
	p.kill()
}
