package crash_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
)

// asRoot calls an operation of the ecrin service with the key of a root user.
func asRoot(ctx context.Context, s *apptest.Server, a apptest.Account, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Ecrin_20261101."+operation)
	hash := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: a.KeyID, SecretAccessKey: a.Secret}
	if err := v4.NewSigner().SignHTTP(ctx, key, r, hex.EncodeToString(hash[:]), "ecrin", a.Region, time.Now()); err != nil {
		return err
	}
	got, err := s.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return err
	}
	if got.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: got %d %s", operation, got.StatusCode, text)
	}
	return json.Unmarshal(text, out)
}

// TestKillAfterAnApproval: the server is killed when an approval of a request for access was answered and its event was not delivered, and
// while it approves. The event of what is granted is delivered by the next process, and nothing else is told.
func TestKillAfterAnApproval(t *testing.T) {
	bin, dir := program(t), t.TempDir()
	random := seedtest.New(seedtest.Seed(t), 0)
	hook := hooktest.New(t)
	serving := func() *process {
		return serve(t, bin, dir, "", "--egress-allow", "127.0.0.1", "--egress-ca", hook.CA)
	}
	p := serving()
	s := apptest.Attach(t, dir)
	root := s.Root(t) // its key is the same after each start
	root.CreateRepository(t, "team/app")
	other := s.NewAccount(t, "444455556666")
	s.Operator(t, "CreateWebhook", &ecrintypes.CreateWebhookRequest{WebhookName: "ci", WebhookUrl: hook.URL},
		new(ecrintypes.CreateWebhookResponse))
	granted := func(id string) (n int) {
		for _, g := range hook.All() {
			if g.Action == "ACCESS_GRANTED" && strings.Contains(g.Body, `"`+id+`"`) {
				n++
			}
		}
		return n
	}
	cut := 0
	for round := range 2 * rounds() {
		var asked ecrintypes.RequestAccessResponse
		if err := asRoot(t.Context(), s, other, "RequestAccess", ecrintypes.RequestAccessRequest{
			Address: "pull:" + root.ID + "/us-east-1/team/app"}, &asked); err != nil {
			t.Fatal(err)
		}
		id := asked.Request.AccessRequestId
		hook.Answer(func(hooktest.Got) int { return http.StatusServiceUnavailable })
		approve := func() error {
			return asRoot(t.Context(), s, root, "ApproveAccessRequest", ecrintypes.ApproveAccessRequestRequest{AccessRequestId: id,
				Until: awswire.Time{Time: time.Now().Add(time.Hour)}}, new(ecrintypes.AccessRequestResponse))
		}
		answered := true
		if round%2 == 0 {
			if err := approve(); err != nil {
				t.Fatal(err)
			}
			p.kill()
		} else {
			done := make(chan error, 1)
			go func() { done <- approve() }()
			timer := time.NewTimer(time.Duration(random.IntN(8000)) * time.Microsecond)
			<-timer.C
			p.kill()
			answered = <-done == nil
		}
		hook.Answer(nil)
		p = serving()
		s = apptest.Attach(t, dir)
		var now ecrintypes.DescribeAccessRequestResponse
		if err := asRoot(t.Context(), s, root, "DescribeAccessRequest", ecrintypes.DescribeAccessRequestRequest{AccessRequestId: id},
			&now); err != nil {
			t.Fatal(err)
		}
		is := now.Request.Status == "GRANTED"
		if answered && !is {
			t.Fatalf("round %d: the approval was answered and the request is %s", round, now.Request.Status)
		}
		if !answered {
			cut++
		}
		if is {
			eventually(t, "the event of an approval", func() bool { return granted(id) > 0 })
			err := asRoot(t.Context(), s, root, "RevokeAccess", ecrintypes.DecideAccessRequest{AccessRequestId: id},
				new(ecrintypes.AccessRequestResponse))
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		if n := granted(id); n != 0 {
			t.Errorf("round %d: got %d events of an approval that was not stored", round, n)
		}
		if err := approve(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the event of the second approval", func() bool { return granted(id) > 0 })
		if err := asRoot(t.Context(), s, root, "RevokeAccess", ecrintypes.DecideAccessRequest{AccessRequestId: id},
			new(ecrintypes.AccessRequestResponse)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d approvals had no answer", cut)
}
