package pullthrough_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A fetch that fails makes an event with its reason, and a repository at most one in a minute.
func TestFailedFetchMakesAnEvent(t *testing.T) {
	t.Parallel()
	im := ocitest.NewImage(1, 100_000)
	fails := true
	f := newFar(t, func(w http.ResponseWriter, r *http.Request) {
		if fails {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = w.Write(im.Layers[0])
			return
		}
		w.Header().Set("Content-Type", ocitest.ImageType)
		_, _ = w.Write(im.Manifest)
	})
	s := near(t, nil, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	repo := root.Docker(t).Repo("cache/app")
	for _, tag := range []string{"v1", "v1", "v2"} {
		if got := repo.Manifest(t, tag); got.Status == http.StatusOK {
			t.Fatalf("the tag %s: got %d, want a failure", tag, got.Status)
		}
	}
	failed := func() (all []string) {
		t.Helper()
		events, err := s.Meta().Events(t.Context(), s.Registry(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if strings.Contains(e.Body, `"sync-status":"FAILED"`) {
				all = append(all, e.Body)
			}
		}
		return all
	}
	var got []string
	for deadline := time.Now().Add(time.Minute); len(got) == 0; time.Sleep(10 * time.Millisecond) {
		if got = failed(); time.Now().After(deadline) {
			t.Fatal("the failed fetch made no event")
		}
	}
	for _, want := range []string{`"image-tag":"v1"`, `"failure-code":"Denied"`, `"repository-name":"cache/app"`,
		`"ecr-repository-prefix":"cache"`, `"failure-reason":"`} {
		if len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("got %q, want one event with %s", got, want)
		}
	}
	// Bytes that are stored are not fetched again, and counted.
	fails = false
	other := root.Docker(t).Repo("cache/other")
	digest := ocitest.SHA256(im.Layers[0])
	for range 3 {
		other.Manifest(t, "v1").Want(t, http.StatusOK)
		other.Blob(t, digest).Want(t, http.StatusOK)
	}
	text := string(other.Do(t, http.MethodGet, "/metrics", nil).Want(t, http.StatusOK).Body)
	saved := ""
	for line := range strings.Lines(text) {
		if rest, is := strings.CutPrefix(line, "ecrin_pullthrough_saved_bytes_total "); is {
			saved = strings.TrimSpace(rest)
		}
	}
	if saved == "" || saved == "0" {
		t.Errorf("the saved bytes: got %q, want those of two pulls", saved)
	}
	for _, want := range []string{"# TYPE ecrin_jobs_seconds_total counter", "# TYPE ecrin_webhook_lag_seconds gauge",
		"# TYPE ecrin_pullthrough_saved_bytes_total counter"} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
}
