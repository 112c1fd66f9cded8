package outside_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A customer whose fetches hang does not keep the images of the others back.
func TestCustomersDoNotStarveEachOther(t *testing.T) {
	t.Parallel()
	s, f, there := behind(t)
	root := there.Root(t)
	sizes := make([]int, 40)
	for i := range sizes {
		sizes[i] = 100 + i
	}
	many, small := ocitest.NewImage(1, sizes...), ocitest.NewImage(2, 100)
	root.CreateRepository(t, "slow/app").Push(t, "1", many)
	root.CreateRepository(t, "quick/app").Push(t, "1", small)
	_, greedy := s.customer(t, "shop", "greedy", f.Host+"/slow/*")
	_, other := s.customer(t, "shop", "other", f.Host+"/quick/*")
	ended := make(chan struct{})
	var hanging, work sync.WaitGroup
	const most = 8 // of one customer
	hanging.Add(most)
	n := 0
	var mu sync.Mutex
	f.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/slow/app/blobs/") {
			return false
		}
		mu.Lock()
		if n < most {
			hanging.Done()
		}
		n++
		mu.Unlock()
		select {
		case <-ended:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	})
	get(t, s.near, greedy, http.MethodGet, "proxy/shop/far/slow/app/manifests/1").Want(t, 200)
	ctx, cancel := context.WithCancel(t.Context())
	for _, layer := range many.Layers {
		work.Go(func() {
			c := ocitest.Client{Base: s.near.URL, HTTP: s.near.HTTP}
			_, _ = c.Try(ctx, http.MethodGet, "/v2/proxy/shop/far/slow/app/blobs/"+ocitest.SHA256(layer), nil, "Authorization", basic(greedy))
		})
	}
	hanging.Wait()
	begun := time.Now()
	for _, path := range []string{"manifests/1", "blobs/" + ocitest.SHA256(small.Layers[0])} {
		get(t, s.near, other, http.MethodGet, "proxy/shop/far/quick/app/"+path).Want(t, 200)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("the pull of the other customer took %v", took)
	}
	cancel()
	close(ended)
	work.Wait()
}

// Customers who do not read the layers that are passed on to them take no places of the others, of their vendor or of another one.
func TestSlowReadersDoNotStarveOthers(t *testing.T) {
	t.Parallel()
	s, f, there := behind(t)
	s.ok(t, "ShareIntegration", ecrintypes.ShareIntegrationRequest{ApplicationSlug: "shop", IntegrationName: "far", Uncached: new(true)}, nil)
	root := there.Root(t)
	large, small := ocitest.NewImage(1, 24<<20), ocitest.NewImage(2, 100)
	root.CreateRepository(t, "slow/app").Push(t, "1", large)
	root.CreateRepository(t, "quick/app").Push(t, "1", small)
	path := "proxy/shop/far/slow/app/"
	layer := "/v2/" + path + "blobs/" + ocitest.SHA256(large.Layers[0])
	begun := time.Now()
	for _, label := range []string{"one", "two", "three", "four", "five"} {
		_, license := s.customer(t, "shop", label, f.Host+"/slow/*")
		get(t, s.near, license, http.MethodGet, path+"manifests/1").Want(t, 200)
		for range 8 { // of one customer
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.near.URL+layer, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.SetBasicAuth("x", license)
			resp, err := s.near.HTTP.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close() // of which nothing is read
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("a layer for the customer %s: got %s", label, resp.Status)
			}
		}
	}
	_, other := s.customer(t, "shop", "other", f.Host+"/quick/*")
	for _, of := range []string{"manifests/1", "blobs/" + ocitest.SHA256(small.Layers[0])} {
		get(t, s.near, other, http.MethodGet, "proxy/shop/far/quick/app/"+of).Want(t, 200)
	}
	if took := time.Since(begun); took > 25*time.Second { // a reader is given up after 30 s in which it has read nothing
		t.Errorf("the pulls of all customers began within %v, want no wait for the readers", took)
	}
}
