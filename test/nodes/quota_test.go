package nodes_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Clients of two processes that push at one quota store exactly as many images and bytes as it allows: the transaction of each change
// decides, and the database has one of them at a time.
func TestQuotaOfTwoProcesses(t *testing.T) {
	t.Parallel()
	a, b := nodes(t)
	const images, layer, allowed = 12, 10_000, 5
	root := a.Root(t)
	root.CreateRepository(t, "bytes/app")
	root.CreateRepository(t, "images/app")
	put := func(in ecrintypes.PutQuotaRequest) { a.Operator(t, "PutQuota", &in, &ecrintypes.QuotaResponse{}) }
	most := int64(allowed*layer + layer/2) // five layers and their configs, and no sixth
	number := int64(allowed)
	put(ecrintypes.PutQuotaRequest{Prefix: "bytes/", MaxBytes: &most})
	put(ecrintypes.PutQuotaRequest{Prefix: "images/", MaxImages: &number})
	var stored, refused [2]atomic.Int64
	var wait sync.WaitGroup
	for process, s := range []*apptest.Server{a, b} {
		docker := root.Docker(t)
		docker.Base = s.URL
		for i := range images {
			for kind, repo := range []string{"bytes/app", "images/app"} {
				wait.Go(func() {
					im := ocitest.NewImage(uint64(1000*process+100*kind+i), layer)
					answer, err := docker.Repo(repo).TryPush(context.WithoutCancel(t.Context()), fmt.Sprintf("v%d-%d", process, i), im)
					switch {
					case err != nil:
						t.Errorf("a push to %s: %v", repo, err)
					case answer.Status == http.StatusCreated:
						stored[kind].Add(1)
					case answer.Status == http.StatusForbidden:
						refused[kind].Add(1)
					default:
						t.Errorf("a push to %s: got %d %s, want 201 or 403", repo, answer.Status, answer.Body)
					}
				})
			}
		}
	}
	wait.Wait()
	var have ecrintypes.DescribeQuotasResponse
	a.Operator(t, "DescribeQuotas", &ecrintypes.DescribeQuotasRequest{}, &have)
	for _, q := range have.Quotas {
		switch q.Prefix {
		case "bytes/":
			if q.Bytes > most || q.Bytes < allowed*layer/2 {
				t.Errorf("the repositories have %d bytes, want at most %d, and not few", q.Bytes, most)
			}
		case "images/":
			if q.Images != allowed || stored[1].Load() != allowed {
				t.Errorf("the repositories have %d images, and %d pushes were stored, want %d", q.Images, stored[1].Load(), allowed)
			}
		}
	}
	for kind := range stored {
		if got := stored[kind].Load() + refused[kind].Load(); got != 2*images || stored[kind].Load() > allowed {
			t.Errorf("%d pushes were stored and %d refused, want at most %d of %d stored", stored[kind].Load(), refused[kind].Load(), allowed,
				2*images)
		}
	}
}
