package trail_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// A client without credentials, one with invalid ones, and one with the key of another account cause more lines than the trail
// may have, with as many names of repositories as they like. All lines of the owner's changes and denials are still there.
func TestStrangersDoNotReplaceLinesOfOwners(t *testing.T) {
	slowtest.Only(t, "it sends 4,200 requests")
	t.Parallel()
	var c clock
	s := apptest.Start(t, apptest.Options{Now: c.now, Config: func(c *config.Config) { c.Anonymous, c.AuditKeep = true, 1 }})
	owner, other := root(s.Root(t), s), root(s.NewAccount(t, partner), s)
	s.Root(t).CreateRepository(t, "team/app")
	alice := owner.user(t, "alice", `["ecr:GetAuthorizationToken"]`)
	alice.docker(t, "").Repo("team/app").Tags(t, "").Want(t, 403)
	for i := range 20 {
		s.Root(t).CreateRepository(t, fmt.Sprintf("change/n%d", i))
	}
	nobody := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
	invalid := ocitest.Client{Base: s.URL, HTTP: s.HTTP, Password: "garbage"}
	mallory := other.docker(t, home+"/"+region+"/")
	length := strings.Repeat("x", 200)
	sent := 0
	for minute := range 2 {
		for i := range 70 {
			name := fmt.Sprintf("%s%d", length, i)
			for range 10 {
				nobody.Repo(name).Do(t, http.MethodGet, nobody.Repo(name).Path("/manifests/1.0"), nil).Want(t, 401)
				invalid.Do(t, http.MethodGet, "/v2/"+name+"/tags/list", nil).Want(t, 400)
				mallory.Repo(name).Tags(t, "").Want(t, 403)
				sent += 3
			}
		}
		c.ahead.Store(int64(minute+1) * int64(2*time.Minute))
	}
	size := int64(0)
	must(t, 0, filepath.WalkDir(filepath.Join(s.Dir, "audit"), func(_ string, e fs.DirEntry, err error) error {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return err
	}))
	if size > 1<<20+64<<10 {
		t.Errorf("after %d requests the trail has %d bytes, want at most 1 MiB", sent, size)
	}
	for what, want := range map[string]int{"CreateRepository": 21, "CreateUser": 1, "CreateAccount": 1} {
		if got := events(t, s, ecrintypes.ListAuditEventsRequest{EventName: what}); len(got) != want {
			t.Errorf("%s: got %d events, want %d", what, len(got), want)
		}
	}
	if got := events(t, s, ecrintypes.ListAuditEventsRequest{Principal: "user/alice", Denied: aws.Bool(true)}); len(got) != 1 {
		t.Errorf("the denial of the owner's user: got %d events, want 1", len(got))
	}
	var page ecrintypes.ListAuditEventsResponse // the newest first
	s.Operator(t, "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{AccountId: partner, MaxResults: aws.Int32(1)}, &page)
	if last := read(t, page.Events); len(last) != 1 || last[0].RecipientAccountID != partner {
		t.Errorf("the trail of the stranger's account: got %+v, want its newest line", last)
	}
}

// A stranger fails on many names of a third account and of accounts that do not exist before it probes the repositories of an
// owner. The owner's trail has all probes nevertheless, some by their number.
func TestProbesAreInTheTrailOfTheirOwner(t *testing.T) {
	t.Parallel()
	const third = "222233334444"
	s := apptest.Start(t, apptest.Options{})
	mallory := root(s.NewAccount(t, partner), s).docker(t, "")
	s.NewAccount(t, third)
	probe := func(account, repository string) {
		mallory.Prefix = account + "/" + region + "/"
		mallory.Repo(repository).Tags(t, "").Want(t, 403)
	}
	for i := range 74 {
		probe(third, fmt.Sprintf("r%d", i))
	}
	for i := range 330 {
		probe(fmt.Sprintf("3%011d", i), "none")
	}
	for i := range 5 {
		s.Root(t).CreateRepository(t, fmt.Sprintf("team/secret%d", i))
		for range 20 {
			probe(home, fmt.Sprintf("team/secret%d", i))
		}
	}
	s.Restart(t) // writes the sums
	var page ecrintypes.ListAuditEventsResponse
	s.Operator(t, "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{AccountId: home, Denied: aws.Bool(true),
		MaxResults: aws.Int32(1000)}, &page)
	single, counted := 0, 0
	for _, e := range read(t, page.Events) {
		if e.UserIdentity["accountId"] == partner {
			single++
		}
	}
	for _, sum := range summaries(t, page.Events) {
		if single--; sum.Additional.Counted.Scope != "cause" || sum.UserIdentity["accountId"] != partner {
			t.Errorf("got the sum %+v, want one of each repository", sum)
		}
		counted += sum.Additional.Counted.Requests
	}
	if single != 50 || counted != 50 {
		t.Errorf("the owner's trail has %d lines and %d counted requests of the stranger, want 50 and 50", single, counted)
	}
}

// Clients without credentials know access keys of an account, which are no secrets, and send signatures with as many different
// texts as they like. The denials of the account's users have their lines nevertheless.
func TestRefusedSignaturesLeaveRoomForDenials(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	owner := root(s.Root(t), s)
	alice := owner.user(t, "alice", `["ecr:GetAuthorizationToken"]`).docker(t, "")
	refused := func(key aws.Credentials, at time.Time) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/", strings.NewReader("{}"))
		must(t, 0, err)
		request.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories")
		request.Header.Set("Content-Type", "application/x-amz-json-1.1")
		const hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" // of {}
		must(t, 0, v4.NewSigner().SignHTTP(t.Context(), key, request, hash, "ecr", region, at))
		response, err := s.HTTP.Do(request)
		if must(t, response, err).Body.Close(); response.StatusCode != http.StatusBadRequest {
			t.Fatalf("a wrong signature: got %d, want 400", response.StatusCode)
		}
	}
	for i := range 4 {
		known := owner.user(t, fmt.Sprintf("user%d", i), `["ecr:GetAuthorizationToken"]`).key
		known.SecretAccessKey = "guess"
		for n := range 64 {
			refused(known, time.Now().Add(-time.Duration(n+60)*time.Minute))
		}
	}
	const repositories = 15
	for i := range repositories {
		s.Root(t).CreateRepository(t, fmt.Sprintf("team/app%d", i))
		alice.Repo(fmt.Sprintf("team/app%d", i)).Tags(t, "").Want(t, 403)
	}
	s.Restart(t) // writes the sums
	if got := events(t, s, ecrintypes.ListAuditEventsRequest{Principal: "user/alice", Denied: aws.Bool(true)}); len(got) != repositories {
		t.Errorf("alice was denied on %d repositories: got %d lines, want as many", repositories, len(got))
	}
	sums := summaries(t, lines(t, s))
	for _, sum := range sums {
		if sum.EventName != "Authenticate" || sum.Additional.Counted.Requests != 54 {
			t.Errorf("got the sum %+v, want one of 54 refused signatures of each key", sum)
		}
	}
	if len(sums) != 4 {
		t.Errorf("got %d sums, want one of each key", len(sums))
	}
}
