package report_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/kubestand"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// podsAt serves pods as an API server does that is asked for all of them, and returns a kubeconfig. A pod is NAMESPACE, name, image and the
// image that its node has pulled.
func podsAt(t *testing.T, pods func() [][4]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		items := []any{}
		for _, p := range pods() {
			items = append(items, map[string]any{"metadata": map[string]any{"namespace": p[0], "name": p[1], "uid": p[0] + p[1],
				"resourceVersion": "1"}, "spec": map[string]any{"containers": []any{map[string]any{"name": "main", "image": p[2]}}},
				"status": map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{"name": "main", "image": p[2],
					"imageID": p[3]}}}})
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/pods" {
			w.WriteHeader(http.StatusNotFound)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "PodList", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": "1"},
			"items": items})
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(kubestand.Kubeconfig(server.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What the watch of a cluster has reported is in the fleet of an application: by its digest the versions that have it, and who is behind.
func TestFleetHasWhatClustersReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	repo := w.root.CreateRepository(t, "demo/app")
	digests := map[string]string{}
	for i, tag := range []string{"v0", "v1", "v2"} {
		im := ocitest.NewImage(uint64(i+1), 100)
		repo.Push(t, tag, im)
		digests[tag] = im.Digest
	}
	app := w.host() + "/demo/app"
	w.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Shop"}, &ecrintypes.VendorApplicationResponse{})
	var channels ecrintypes.ListChannelsResponse
	w.Operator(t, "ListChannels", &ecrintypes.ApplicationRequest{ApplicationSlug: "shop"}, &channels)
	promote := func(label string, channel int, images ...string) {
		t.Helper()
		var files []ecrintypes.ReleaseFile
		for i, image := range images {
			files = append(files, ecrintypes.ReleaseFile{Path: fmt.Sprint(i, ".yaml"), Content: fmt.Sprintf(
				"apiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\nspec: {containers: [{name: main, image: %q}]}\n", i, image)})
		}
		var made ecrintypes.ReleaseResponse
		w.Operator(t, "CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop", Files: files}, &made)
		w.Operator(t, "PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: made.Release.Sequence,
			ChannelIds: []string{channels.Channels[channel].ChannelId}, VersionLabel: label}, &ecrintypes.PromoteReleaseResponse{})
	}
	const unstable, stable = 0, 2
	promote("1.0.0", stable, app+":v1", "nginx:1.27")
	promote("1.1.0", stable, app+":v1", "nginx:1.28")
	promote("1.2.0", stable, app+":v2", "nginx:1.28")
	promote("2.0.0", unstable, app+"@"+digests["v2"])
	other := "sha256:" + strings.Repeat("a", 64)
	pods := [][4]string{
		{"shop", "web", app + ":v1", app + "@" + digests["v1"]},
		{"shop", "proxy", "nginx:1.28", "docker.io/library/nginx@" + other},
		{"next", "web", app + ":v2", app + "@" + digests["v2"]},
		{"old", "web", app + ":v1", app + "@" + digests["v0"]}, // the tag was moved since
		{"proxied", "web", w.host() + "/proxy/shop/docker.io/library/nginx:1.27", w.host() + "/proxy/shop/docker.io/library/nginx@" + other},
		{"else", "web", w.host() + "/demo/other:1", w.host() + "/demo/other@" + other},
	}
	kubeconfig := podsAt(t, func() [][4]string { return pods })
	watch := func() {
		t.Helper()
		run(t, nil, "report", "watch", "--once", "--cluster", "staging", "--kubeconfig", kubeconfig, "--data", w.Dir).want(t, 0)
	}
	fleet := func(args ...string) (all []string) {
		t.Helper()
		var out ecrintypes.ListInstancesResponse
		w.ecrin(t, &out, append([]string{"app", "fleet", "shop"}, args...)...)
		for _, r := range out.RunningImages {
			line := r.Environment + "/" + r.ApplicationName + " " + r.Image + ":"
			for _, v := range r.Versions {
				line += " " + v.ChannelSlug + " " + v.VersionLabel
				if v.ByTag != nil {
					line += " by tag"
				}
			}
			if r.VersionsBehind != nil {
				line += fmt.Sprintf(", %d behind %s", *r.VersionsBehind, r.NewestVersion)
			}
			all = append(all, line)
		}
		return all
	}
	want := func(what string, got []string, lines ...string) {
		t.Helper()
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", lines) {
			t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(lines, "\n"))
		}
	}
	want("before any report", fleet())
	watch()
	next := "staging.next/web demo/app: unstable 2.0.0 stable 1.2.0, 0 behind 2.0.0"
	old := "staging.old/web demo/app:"
	proxied := "staging.proxied/web docker.io/library/nginx: stable 1.0.0 by tag, 2 behind 1.2.0"
	web := "staging.shop/web demo/app: stable 1.1.0 stable 1.0.0, 1 behind 1.2.0"
	want("after the watch", fleet(), next, old, proxied,
		"staging.shop/proxy docker.io/library/nginx: stable 1.2.0 by tag stable 1.1.0 by tag, 0 behind 1.2.0", web)
	want("who is behind", fleet("--behind"), old, proxied, web)
	run(t, nil, "app", "fleet", "shop", "--data", w.Dir).want(t, 0, "no installation was seen", "images that are reported to run",
		"staging.shop", "stable 1.1.0, stable 1.0.0", digests["v1"][7:15])

	pods = [][4]string{{"shop", "web", app + ":v2", app + "@" + digests["v2"]}}
	watch()
	want("after an update of the cluster", fleet(), "staging.shop/web demo/app: unstable 2.0.0 stable 1.2.0, 0 behind 2.0.0")
	// A demoted version is shown where it runs, and is no version that others are behind.
	w.Operator(t, "DemoteRelease", &ecrintypes.DemoteReleaseRequest{ApplicationSlug: "shop", ChannelId: channels.Channels[unstable].ChannelId,
		ChannelSequence: 1}, &ecrintypes.DemoteReleaseResponse{})
	want("after a version was demoted", fleet(), "staging.shop/web demo/app: stable 1.2.0 unstable 2.0.0, 0 behind 1.2.0")
}
