package app_test

import (
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// local lets the server send to a receiver on this machine.
func local(r *hooktest.Receiver) func(*config.Config) {
	return func(c *config.Config) { c.EgressAllow, c.EgressCA = []string{"127.0.0.0/8"}, r.CA }
}

// hook makes a webhook and returns its secret.
func hook(t *testing.T, s *apptest.Server, name, url, pattern string) secret.String {
	t.Helper()
	var out ecrintypes.CreateWebhookResponse
	s.Operator(t, "CreateWebhook", &ecrintypes.CreateWebhookRequest{WebhookName: name, WebhookUrl: url, Pattern: pattern}, &out)
	return secret.New(out.Secret)
}

// A push has an event, which ListEvents returns and a webhook gets, signed.
func TestPushReachesAWebhook(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	s := apptest.Start(t, apptest.Options{Config: local(r)})
	repo := s.Root(t).CreateRepository(t, "team/app")
	key := hook(t, s, "deploy", r.URL+"/hook?token=x", `{"detail":{"action-type":["PUSH"]}}`)
	var begin ecrintypes.ListEventsResponse
	s.Operator(t, "ListEvents", &ecrintypes.ListEventsRequest{}, &begin)
	repo.Push(t, "1.0", ocitest.NewImage(1, 1000))

	got := r.Wait(t, "a push", func(all []hooktest.Got) bool { return len(all) > 0 })
	if len(got) != 1 || got[0].Action != "PUSH" || got[0].Tag != "1.0" {
		t.Errorf("the receiver got %+v, want the push of 1.0", got)
	}
	if err := event.Verify(got[0].Signature, []byte(got[0].Body), time.Now(), event.SignatureTolerance, key); err != nil {
		t.Errorf("the signature of the delivery: %v", err)
	}
	var out ecrintypes.ListEventsResponse
	s.Operator(t, "ListEvents", &ecrintypes.ListEventsRequest{Position: begin.Position}, &out)
	if len(out.Events) != 1 || out.Events[0] != got[0].Body {
		t.Errorf("ListEvents: got %q, want the delivered event %s", out.Events, got[0].Body)
	}
}
