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

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A client without credentials, one with invalid ones, and one with the key of another account cause more lines than the trail
// may have, with as many names of repositories as they like. All lines of the owner's changes and denials are still there.
func TestStrangersDoNotReplaceLinesOfOwners(t *testing.T) {
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
