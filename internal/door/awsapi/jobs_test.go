package awsapi_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// A job says what it is about in the names of its owner, whatever its kind: here a webhook's that waits, and a copy's that fails and is
// repeated. The jobs of another account are not shown.
func TestJobsSayWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	stranger := s.account(otherAccount)
	s.repository("app")
	if a := s.callEcrin(s.key, "CreateWebhook", `{"webhookName":"ci","webhookUrl":"https://receiver.invalid/hook"}`); a.Status != 200 {
		t.Fatalf("CreateWebhook: got %s", a)
	}
	if a := s.call("PutReplicationConfiguration",
		`{"replicationConfiguration":{"rules":[{"destinations":[{"region":"eu-west-1","registryId":"`+otherAccount+`"}]}]}}`); a.Status != 200 {
		t.Fatalf("PutReplicationConfiguration: got %s", a)
	}
	// The job of a webhook is gone when it has tried: this one waits, and is of a webhook that has no other. One that was queued before the
	// webhook was disabled may still end, and takes the place of the waiting one.
	if a := s.callEcrin(s.key, "UpdateWebhook", `{"webhookName":"ci","enabled":false}`); a.Status != 200 {
		t.Fatalf("UpdateWebhook: got %s", a)
	}
	hook, err := s.Meta().Webhook(t.Context(), s.Registry(), "ci")
	if err != nil {
		t.Fatal(err)
	}
	waiting := meta.NewJob{Kind: "webhook", Key: fmt.Sprint(hook.ID), Account: home, Input: "{}", Due: s.now().Add(time.Hour)}
	digest := digestOf(s.image("app", "one", "1.0"))
	want := map[string]string{"webhook": "us-east-1 ci", "replication": "us-east-1 app@" + digest + " to " + otherAccount + "/eu-west-1"}
	eventually(t, func() string {
		if err := s.Meta().Enqueue(t.Context(), waiting); err != nil {
			t.Fatal(err)
		}
		var out ecrintypes.ListJobsResponse
		s.operator("ListJobs", ecrintypes.ListJobsRequest{AccountId: home}, &out)
		got := map[string]string{}
		for _, j := range out.Jobs {
			if j.FailedAttempts > 0 || j.Kind == "webhook" {
				got[j.Kind] = j.About
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Sprintf("the jobs are about %q, want %q", got, want)
		}
		return ""
	})
	if a := s.callEcrin(stranger, "ListJobs", `{}`); a.Status != 200 || a.Body != `{"jobs":[]}` {
		t.Errorf("ListJobs of another account: got %s, want none", a)
	}
}

// A job whose object is deleted is still listed, and is about nothing. A job that does not count its work has no total.
func TestJobsOfDeletedObjects(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for kind, input := range map[string]string{"lifecycle": "{}", "lifecycle_preview": "{}", "webhook": "{}", "replication_backfill": "{}",
		"replication": `{"repository":12,"digest":"sha256:1","account":"` + otherAccount + `","region":"eu-west-1"}`} {
		j := meta.NewJob{Kind: kind, Key: "12", Account: home, Input: input, Due: s.now().Add(time.Hour)}
		if err := s.Meta().Enqueue(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	var out ecrintypes.ListJobsResponse
	s.operator("ListJobs", ecrintypes.ListJobsRequest{AccountId: home}, &out)
	if len(out.Jobs) != 5 {
		t.Errorf("got %d jobs, want five", len(out.Jobs))
	}
	for _, j := range out.Jobs {
		if j.About != "" || j.Total != nil || j.State != "QUEUED" || j.DueAt == nil || j.StartedAt != nil {
			t.Errorf("the job %s: got %+v, want one that waits, is about nothing and has no total", j.Kind, j)
		}
	}
}
