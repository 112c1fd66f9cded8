package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A person adds a webhook, tests it, sees that an event was received, changes and deletes the webhook.
func TestWebhookCommands(t *testing.T) {
	t.Parallel()
	r := hooktest.New(t)
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		c.EgressAllow, c.EgressCA = []string{"127.0.0.0/8"}, r.CA
	}})
	repo := s.Root(t).CreateRepository(t, "team/app")
	ecrin := func(wantCode int, args ...string) (out, errs string) {
		t.Helper()
		code, out, errs := run(t, append(args, "--data", s.Dir)...)
		if code != wantCode {
			t.Fatalf("ecrin %s: exit code %d, want %d, %s", strings.Join(args, " "), code, wantCode, errs)
		}
		return out, errs
	}
	pattern := filepath.Join(t.TempDir(), "pushes.json")
	if err := os.WriteFile(pattern, []byte(`{"detail":{"action-type":["PUSH"]}}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ := ecrin(0, "webhook", "add", "deploy", r.URL+"/secret-path", "--pattern", pattern); !strings.HasPrefix(out, "whsec_") {
		t.Errorf("webhook add: got %q, want the secret", out)
	}
	if _, errs := ecrin(0, "webhook", "test", "deploy"); !strings.Contains(errs, "the receiver answered 204") {
		t.Errorf("webhook test: got %q", errs)
	}
	repo.Push(t, "1.0", ocitest.NewImage(1, 1000))
	r.Wait(t, "the push", func(all []hooktest.Got) bool { return len(all) == 2 && all[1].Tag == "1.0" })
	if out, _ := ecrin(0, "webhook", "url", "deploy"); out != r.URL+"/secret-path\n" {
		t.Errorf("webhook url: got %q, want the whole URL", out)
	}
	if _, errs := ecrin(0, "webhook", "try", r.URL+"/new"); !strings.Contains(errs, "the receiver answered 204") {
		t.Errorf("webhook try: got %q", errs)
	}
	if out, _ := ecrin(0, "webhook", "list"); !strings.Contains(out, "deploy") || strings.Contains(out, "secret-path") {
		t.Errorf("webhook list: got %q, want the webhook without its path", out)
	}
	if _, errs := ecrin(0, "webhook", "deliveries", "deploy"); !strings.Contains(errs, "the webhook has received the others") {
		t.Errorf("webhook deliveries: got %q", errs)
	}
	r.Answer(func(hooktest.Got) int { return 500 })
	if _, errs := ecrin(1, "webhook", "test", "deploy"); !strings.Contains(errs, "the receiver answered 500") {
		t.Errorf("webhook test of a failing receiver: got %q", errs)
	}
	if out, _ := ecrin(0, "webhook", "update", "deploy", "--all-events", "--new-secret", "--disable"); !strings.HasPrefix(out, "whsec_") {
		t.Errorf("webhook update --new-secret: got %q", out)
	}
	if out, _ := ecrin(0, "webhook", "list"); !strings.Contains(out, "disabled") {
		t.Errorf("webhook list: got %q, want disabled", out)
	}
	if err := os.WriteFile(pattern, []byte(`{"detail":{"image-tag":{"prefix":"1."}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs := ecrin(1, "webhook", "update", "deploy", "--pattern", pattern); !strings.Contains(errs, "detail.image-tag") {
		t.Errorf("a wrong pattern: got %q, want its path", errs)
	}
	ecrin(0, "webhook", "delete", "deploy")
	if _, errs := ecrin(1, "webhook", "test", "deploy"); !strings.Contains(errs, "there is no webhook deploy") {
		t.Errorf("webhook test of a deleted webhook: got %q", errs)
	}
	ecrin(2, "webhook", "add", "deploy")
}

// ecrin events prints what has happened; with --follow it prints a push while it happens.
func TestEventsCommand(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	image := ocitest.NewImage(1, 1000)
	repo.Push(t, "1.0", image)
	code, out, errs := run(t, "events", "--data", s.Dir)
	if code != 0 || !strings.Contains(out, "Ecrin Repository Action  CREATE  team/app  by arn:aws:iam::") ||
		!strings.Contains(out, "ECR Image Action  PUSH  team/app:1.0@"+image.Digest) {
		t.Errorf("events: exit code %d, got %q, %s", code, out, errs)
	}
	if _, out, _ := run(t, "events", "--json", "--limit", "1", "--data", s.Dir); !json.Valid([]byte(out)) {
		t.Errorf("events --json --limit 1: got %q, want one event", out)
	}
	ctx, stop := context.WithCancel(t.Context())
	read, write := io.Pipe()
	done := make(chan int)
	go func() {
		done <- cli.Run(ctx, cli.Env{Args: []string{"events", "--follow", "--since", "1h", "--data", s.Dir},
			Out: write, Err: io.Discard, Lookup: nothing})
	}()
	lines := bufio.NewScanner(read)
	pushed := false
	for lines.Scan() && !strings.Contains(lines.Text(), "PUSH  team/app:2.0@") {
		if !pushed && strings.Contains(lines.Text(), "PUSH  team/app:1.0@") {
			pushed = true
			repo.Push(t, "2.0", ocitest.NewImage(2, 1000))
		}
	}
	stop()
	if code := <-done; code != 0 || !strings.Contains(lines.Text(), "team/app:2.0") {
		t.Errorf("events --follow: exit code %d, last line %q, want the second push", code, lines.Text())
	}
}
