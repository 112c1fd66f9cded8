package outside_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// lost is the time of pulls that a crash may lose: five seconds between two writes of the log, and the time of a write on a loaded machine.
const lost = 5*time.Second + 3*time.Second

// TestPullLogAfterAKill: the program is killed at random moments while customers pull by the licence proxy and from repositories of the
// vendor. Each pull whose answer was complete before the stated bound has one line afterwards, no pull has two, and what was sent in the
// month is no more than what was sent, and no less than what the lines say.
func TestPullLogAfterAKill(t *testing.T) {
	t.Parallel()
	there := apptest.Start(t, apptest.Options{})
	f := before(t, there)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, f.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	start := func() (*apptest.Server, func()) {
		return process(t, dir, "ECRIN_EGRESS_ALLOW=127.0.0.1/32", "ECRIN_EGRESS_CA="+ca)
	}
	here, kill := start()
	s := &shop{far: &far{near: here}}
	add(t, here, byKey("far", f, there.Root(t)))
	s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "Shop"}, nil)
	s.ok(t, "ShareIntegration", ecrintypes.ShareIntegrationRequest{ApplicationSlug: "shop", IntegrationName: "far"}, nil)
	im := ocitest.NewImage(1, 1000, 30_000)
	there.Root(t).CreateRepository(t, "demo/one").Push(t, "1", im)
	here.Root(t).CreateRepository(t, "own/app").Push(t, "1", im)
	_, license := s.customer(t, "shop", "big", f.Host+"/demo/*", "own/*")
	var paths []string
	for _, image := range []string{"proxy/shop/far/demo/one/", "own/app/"} {
		paths = append(paths, image+"manifests/1", image+"blobs/"+ocitest.SHA256(im.Layers[0]), image+"blobs/"+ocitest.SHA256(im.Layers[1]))
	}
	type pull struct {
		sent  int // bytes
		ended time.Time
	}
	asked, complete := map[string]bool{}, map[string]pull{} // by the agent, of which each request has its own
	most := int64(0)                                        // bytes and
	var pulls int64                                         // manifests that may have been sent
	random := seedtest.New(seedtest.Seed(t), 0)
	checked := 0
	for round := range slowtest.Rounds(1, 6) {
		var mu sync.Mutex
		var work sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		c := ocitest.Client{Base: here.URL, HTTP: here.HTTP}
		for worker := range 3 {
			work.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					agent, path := fmt.Sprintf("pull/%d-%d-%d", round, worker, n), paths[(n+worker)%len(paths)]
					mu.Lock()
					asked[agent] = true
					if (n+worker)%3 == 0 {
						pulls++
						most += int64(len(im.Manifest))
					} else {
						most += int64(len(im.Layers[(n+worker)%3-1]))
					}
					mu.Unlock()
					a, err := c.Try(ctx, http.MethodGet, "/v2/"+path, nil, "Authorization", basic(license), "User-Agent", agent)
					if err == nil && a.Status == http.StatusOK {
						mu.Lock()
						complete[agent] = pull{len(a.Body), time.Now()}
						mu.Unlock()
					}
					select { // a pace at which the machine has time for other tests
					case <-ctx.Done():
					case <-time.After(10 * time.Millisecond):
					}
				}
			})
		}
		select {
		case <-time.After(lost + time.Duration(1000+random.IntN(5000))*time.Millisecond):
		case <-t.Context().Done():
		}
		kill()
		killed := time.Now()
		cancel()
		work.Wait()
		here, kill = start()
		s.near = here
		lines := map[string]ecrintypes.Pull{}
		var sent, manifests int64
		in := ecrintypes.ListPullsRequest{ApplicationSlug: "shop", MaxResults: new(int32(1000))}
		for more := true; more; more = in.NextToken != "" {
			var out ecrintypes.ListPullsResponse
			s.ok(t, "ListPulls", in, &out)
			for _, l := range out.Pulls {
				if _, twice := lines[l.UserAgent]; twice || !asked[l.UserAgent] {
					t.Errorf("round %d: the line of %s: it is there twice: %v, it was asked for: %v", round, l.UserAgent, twice, asked[l.UserAgent])
				}
				lines[l.UserAgent] = l
				if l.HttpStatus == http.StatusOK {
					sent += l.SentBytes
				}
				if l.Action == ecrintypes.PullActionMANIFEST && l.ErrorCode == "" {
					manifests++
				}
			}
			in.NextToken = out.NextToken
		}
		for agent, p := range complete {
			l, logged := lines[agent]
			if old := killed.Sub(p.ended) > lost; old {
				checked++
				if !logged {
					t.Errorf("round %d: the pull %s ended %v before the kill: it has no line", round, agent, killed.Sub(p.ended))
				}
			}
			if logged && (l.HttpStatus != http.StatusOK || l.SentBytes != int64(p.sent) || l.ErrorCode != "") {
				t.Errorf("round %d: the pull %s of %d bytes has the line %s", round, agent, p.sent, shown(l))
			}
			if !logged {
				delete(complete, agent) // it was lost, and stays so
			}
		}
		var egress ecrintypes.ListEgressResponse
		s.ok(t, "ListEgress", ecrintypes.ListEgressRequest{ApplicationSlug: "shop"}, &egress)
		var total, counted int64
		for _, e := range egress.Egress {
			total, counted = total+e.SentBytes, counted+e.Pulls
		}
		if total < sent || total > most || counted < manifests || counted > pulls {
			t.Errorf("round %d: the month has %d bytes and %d pulls: want %d to %d, and %d to %d", round, total, counted, sent, most, manifests,
				pulls)
		}
	}
	if checked == 0 {
		t.Error("no pull was older than what a kill may lose: the test shows nothing")
	}
}
