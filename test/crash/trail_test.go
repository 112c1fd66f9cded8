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
func TestKillKeepsTheTrail(t *testing.T) {
	killKeepsTheTrail(t, t.TempDir(), "", false, func(p *process) { p.kill() })
}

// The same with the metadata in PostgreSQL: the lines wait there for the process that made them.
func TestKillKeepsTheTrailOnPostgreSQL(t *testing.T) {
	killKeepsTheTrail(t, t.TempDir(), postgres(t).NewDatabase(t), false, func(p *process) { p.kill() })
}

// killKeepsTheTrail makes changes and kills, again and again, and looks at the trail in the end. With moved, all lines are in the
// files before the kill; otherwise the last ones wait in the database.
func killKeepsTheTrail(t *testing.T, dir, database string, moved bool, kill func(*process)) {
	t.Helper()
	bin := program(t)
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
		if moved { // a search moves all lines first
			s.Operator(t, "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{MaxResults: aws.Int32(1)}, &ecrintypes.ListAuditEventsResponse{})
		}
		kill(p)
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
