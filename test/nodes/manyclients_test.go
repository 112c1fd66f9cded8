package nodes_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/farside"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A thousand clients ask a cache for one layer of 100 MB that it does not have: the other registry gets one request, and the resident
// memory of the cache stays below 150 MB. Each client reads all bytes.
func TestThousandClientsOfOneLayer(t *testing.T) {
	if os.Getenv("ECRIN_SLOW") != "1" {
		t.Skip("set ECRIN_SLOW=1: it reads 100 GB")
	}
	const clients, size = 1000, 100 << 20
	im, far := source(t, size)
	dir := t.TempDir()
	process(t, built(t), dir, farside.Environment(far.Site)...)
	s := apptest.Attach(t, dir)
	root := s.Root(t)
	cacheRule(t, root)
	docker := root.Docker(t)
	repo := docker.Repo("cache/team/app")
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
	layer := ocitest.SHA256(im.Layers[0])
	before := time.Now()
	many := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer many.CloseIdleConnections()
	var all, begun sync.WaitGroup
	begun.Add(clients)
	far.On("/blobs/"+layer, 1, farside.Fault{Kind: farside.Call, After: size / 2, Do: begun.Wait}) // all wait for one fetch
	var got atomic.Int64
	for range clients {
		all.Go(func() {
			started := sync.OnceFunc(begun.Done)
			defer started()
			r, err := http.NewRequestWithContext(t.Context(), "GET", docker.Base+repo.Path("/blobs/"+layer), nil)
			if err != nil {
				t.Error(err)
				return
			}
			r.SetBasicAuth("AWS", docker.Password)
			a, err := many.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer a.Body.Close()
			first, err := io.CopyN(io.Discard, a.Body, 1000)
			started()
			rest, err2 := io.Copy(io.Discard, a.Body)
			if err != nil || err2 != nil || first+rest != size {
				t.Errorf("got %d bytes, %v, %v", first+rest, err, err2)
			}
			got.Add(first + rest)
		})
	}
	all.Wait()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%s/status", pid(t, dir)))
	if err != nil {
		t.Skipf("the resident memory: %v", err)
	}
	var peak int
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &peak)
	}
	t.Logf("%d clients got %d GB in %s; %d requests to the other registry; peak resident memory %d MB", clients, got.Load()>>30,
		time.Since(before).Round(time.Second), len(far.Requests("/blobs/")), peak>>10)
	// The aim is 100 MB (a row of the benchmark); 328 MB were needed before the clients shared buffers.
	if peak == 0 || peak >= 150<<10 {
		t.Errorf("the peak of the resident memory: got %d kB, want less than 150 MB", peak)
	}
	if n := len(far.Requests("/blobs/")); n != 1 {
		t.Errorf("got %d requests to the other registry, want 1", n)
	}
}

// pid returns the id of the process that serves a data directory.
func pid(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		text, _ := os.ReadFile(file) // a process may have ended
		if strings.Contains(string(text), "--data\x00"+dir+"\x00") {
			return filepath.Base(filepath.Dir(file))
		}
	}
	t.Skip("this system has no /proc")
	return ""
}
