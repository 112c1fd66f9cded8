package app_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/main/client"
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

// Neither the secret of a webhook nor the path of its URL is in a file of the server, its log, its trail, a row or an event.
func TestSecretsOfWebhooksAreNowhere(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	s := apptest.Start(t, apptest.Options{Config: local(r)})
	repo := s.Root(t).CreateRepository(t, "team/app")
	const canary = "canary-7d1c"
	all := []string{canary, hook(t, s, "deploy", r.URL+"/"+canary, "").Reveal()}
	var changed ecrintypes.UpdateWebhookResponse
	yes, other := true, r.URL+"/x?token="+canary
	s.Operator(t, "UpdateWebhook", &ecrintypes.UpdateWebhookRequest{WebhookName: "deploy", WebhookUrl: other, NewSecret: &yes}, &changed)
	all = append(all, changed.Secret)
	if c, err := client.Open(s.Dir, ""); err != nil {
		t.Fatal(err)
	} else if err := c.Call(t.Context(), "CreateWebhook", &ecrintypes.CreateWebhookRequest{WebhookName: "bad",
		WebhookUrl: "http://" + canary + "@example.com/"}, nil); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("a URL with a user name: got %v, want an error without it", err)
	}
	repo.Push(t, "1.0", ocitest.NewImage(1, 1000))
	r.Wait(t, "a push", func(all []hooktest.Got) bool { return len(all) > 0 })
	r.Close() // the next delivery fails
	repo.Push(t, "2.0", ocitest.NewImage(2, 1000))
	var list ecrintypes.ListWebhooksResponse
	for limit := time.Now().Add(time.Minute); list.Webhooks == nil || list.Webhooks[0].LastError == ""; {
		if time.Now().After(limit) {
			t.Fatal("no failure within a minute")
		}
		s.Operator(t, "ListWebhooks", &ecrintypes.ListWebhooksRequest{}, &list)
	}
	if got := list.Webhooks[0]; got.LastError != "the connection failed" || got.Host != strings.TrimPrefix(r.URL, "https://") {
		t.Errorf("the webhook: got %+v", got)
	}
	s.Stop(t)
	look := func(what string, text []byte) {
		for _, one := range all {
			if one == "" || bytes.Contains(text, []byte(one)) {
				t.Errorf("%s has the secret %q", what, one)
			}
		}
	}
	look("the log", []byte(s.Log.String()))
	if err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		look(path, text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// The owner of a webhook sees of an answer the status, and nothing that the receiver wrote; another account sees no webhook.
func TestWebhooksOfOthers(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	s := apptest.Start(t, apptest.Options{Config: local(r)})
	hook(t, s, "deploy", r.URL, "")
	r.Answer(func(hooktest.Got) int { return 418 })
	var out ecrintypes.TestWebhookResponse
	s.Operator(t, "TestWebhook", &ecrintypes.WebhookRequest{WebhookName: "deploy"}, &out)
	if out.Received || out.Status == nil || *out.Status != 418 || out.Error != "the receiver answered 418" {
		t.Errorf("a test: got %+v", out)
	}
	s.NewAccount(t, "111122223333")
	var list ecrintypes.ListWebhooksResponse
	s.Operator(t, "ListWebhooks", &ecrintypes.ListWebhooksRequest{RegistryId: "111122223333"}, &list)
	if len(list.Webhooks) != 0 {
		t.Errorf("the webhooks of another account: got %+v", list.Webhooks)
	}
}

// A denied request and a pull have counted events.
func TestDenialsAndPullsAreCounted(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.EventPulls = "counted" }})
	repo := s.Root(t).CreateRepository(t, "team/app")
	image := ocitest.NewImage(1, 1000)
	repo.Push(t, "1.0", image)
	repo.Manifest(t, "1.0").Want(t, 200)
	other, name := s.NewAccount(t, "111122223333"), "team/app"
	account := s.Running.Account
	for range 3 {
		if _, err := other.ECR().ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: &name, RegistryId: &account}); err == nil {
			t.Fatal("another account may list images")
		}
	}
	s.Restart(t) // the stop writes what is counted
	var out ecrintypes.ListEventsResponse
	s.Operator(t, "ListEvents", &ecrintypes.ListEventsRequest{Position: "1"}, &out)
	text := strings.Join(out.Events, "\n")
	for _, want := range []string{`"image-digest":"` + image.Digest + `","action-type":"PULL","count":1,`,
		`"action":"ecr:ListImages","request-id":"`, `"count":3,`} {
		if !strings.Contains(text, want) {
			t.Errorf("the events have no %s:\n%s", want, text)
		}
	}
}
