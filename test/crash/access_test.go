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
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
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
// while it approves. The event of what is granted is delivered by the next process, and nothing else is told. Each kill has a server of its
// own, for the next process waits until the lease of the dead one has ended.
func TestKillAfterAnApproval(t *testing.T) {
	bin := program(t)
	var cut atomic.Int32
	t.Run("kills", func(t *testing.T) {
		for round := range slowtest.Soak(4, 8, 16) {
			t.Run(fmt.Sprint(round), func(t *testing.T) {
				t.Parallel()
				if !killApproval(t, bin, round) {
					cut.Add(1)
				}
			})
		}
	})
	t.Logf("%d approvals had no answer", cut.Load())
}

// killApproval kills a server after an approval or, in odd rounds, during one, and reports whether the approval was answered.
func killApproval(t *testing.T, bin string, round int) (answered bool) {
	dir := t.TempDir()
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
	var asked ecrintypes.RequestAccessResponse
	if err := asRoot(t.Context(), s, other, "RequestAccess", ecrintypes.RequestAccessRequest{
		Address: "pull:" + root.ID + "/us-east-1/team/app"}, &asked); err != nil {
		t.Fatal(err)
	}
	id := asked.Request.AccessRequestId
	granted := func() (n int) {
		for _, g := range hook.All() {
			if g.Action == "ACCESS_GRANTED" && strings.Contains(g.Body, `"`+id+`"`) {
				n++
			}
		}
		return n
	}
	hook.Answer(func(hooktest.Got) int { return http.StatusServiceUnavailable })
	approve := func() error {
		return asRoot(t.Context(), s, root, "ApproveAccessRequest", ecrintypes.ApproveAccessRequestRequest{AccessRequestId: id,
			Until: awswire.Time{Time: time.Now().Add(time.Hour)}}, new(ecrintypes.AccessRequestResponse))
	}
	if round%2 == 0 {
		if err := approve(); err != nil {
			t.Fatal(err)
		}
		answered = true
		p.kill()
	} else {
		random := seedtest.New(seedtest.Seed(t), uint64(round))
		done := make(chan error, 1)
		go func() { done <- approve() }()
		timer := time.NewTimer(time.Duration(random.IntN(8000)) * time.Microsecond)
		<-timer.C
		p.kill()
		answered = <-done == nil
	}
	hook.Answer(nil)
	p = serving()
	defer p.kill()
	s = apptest.Attach(t, dir)
	var now ecrintypes.DescribeAccessRequestResponse
	if err := asRoot(t.Context(), s, root, "DescribeAccessRequest", ecrintypes.DescribeAccessRequestRequest{AccessRequestId: id},
		&now); err != nil {
		t.Fatal(err)
	}
	is := now.Request.Status == "GRANTED"
	if answered && !is {
		t.Fatalf("the approval was answered and the request is %s", now.Request.Status)
	}
	if !is {
		if n := granted(); n != 0 {
			t.Errorf("got %d events of an approval that was not stored", n)
		}
		if err := approve(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the event of the approval", func() bool { return granted() > 0 })
	return answered
}
