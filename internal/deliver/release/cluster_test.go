package release_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/deliver/release"
	"github.com/ecrin-dev/ecrin/internal/test/kubestand"
)

// registries is a client of registries that have every image but those with the tag broken.
type registries struct{}

func (registries) RoundTrip(q *http.Request) (*http.Response, error) {
	status := http.StatusOK
	if strings.Contains(q.URL.Path, "/broken/") {
		status = http.StatusNotFound
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Request: q,
		Body: io.NopCloser(bytes.NewReader([]byte("{}")))}, nil
}

// api is an API server of which a request can be the last that is answered, or the first that is not.
type api struct {
	*kubestand.Cluster
	left atomic.Int64 // requests until then; negative for no end
	last bool         // the last request is served, and its answer is lost
	kill func()       // ends the client then
	see  func(*http.Request)
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.see != nil {
		a.see(r)
	}
	left := a.left.Add(-1)
	if left > 0 || left < forever/2 {
		a.Cluster.ServeHTTP(w, r)
		return
	}
	if left == 0 && a.last {
		a.Cluster.ServeHTTP(httptest.NewRecorder(), r)
	}
	a.kill()
	panic(http.ErrAbortHandler)
}

const forever = -2_000_000

// target returns a cluster for a deployment.
func (a *api) target(t *testing.T, wait time.Duration) *release.Cluster {
	t.Helper()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(kubestand.Kubeconfig(server.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := kube.Open(kube.Config{Kubeconfig: file})
	if err != nil {
		t.Fatal(err)
	}
	return &release.Cluster{Objects: kube.NewObjects(at), Namespace: "preview", Name: "preview", Wait: wait, Pause: 50 * time.Millisecond}
}

func newAPI() *api {
	a := &api{Cluster: kubestand.New(&http.Client{Transport: registries{}})}
	a.left.Store(forever)
	return a
}

// workflow is a template with jobs. The annotation that makes a job fail is not in templates, so that the stand-in decides by names.
const workflow = `app: shop
environment_templates: [{name: ephemeral}]
services:
- {name: db, image: r.example.com/db:1}
- {name: web, image: r.example.com/web:1, ports: [{target_port: 80}]}
jobs:
- {name: migrate, from_services: web}
workflows:
- {name: setup, order_from: [services.db, jobs.migrate, services.web]}
- {name: patch, order_from: [jobs.migrate, services.all]}
`

// deployOf returns a deployment of a template to a target.
func deployOf(t *testing.T, target release.Target, text string) *release.Deploy {
	t.Helper()
	d := deployment(t, target, "")
	d.App.Text = []byte(text)
	return d
}

// state returns the names of the objects of the namespace, with the images of the Deployments.
func (a *api) state(t *testing.T) (all []string) {
	t.Helper()
	for _, kind := range []string{"Deployment", "Service", "Job", "CronJob"} {
		for _, o := range a.Objects("preview", kind) {
			var d struct {
				Metadata struct{ Name string }
				Spec     struct {
					Template struct {
						Spec struct{ Containers []struct{ Image string } }
					}
				}
			}
			if err := json.Unmarshal(o, &d); err != nil {
				t.Fatal(err)
			}
			label := d.Metadata.Name
			if kind == "Job" { // its name ends with that of the deployment
				label = label[:strings.LastIndexByte(label, '-')]
			}
			for _, c := range d.Spec.Template.Spec.Containers {
				image, _, _ := strings.Cut(c.Image, "@")
				label += " " + image
			}
			all = append(all, kind+" "+label)
		}
	}
	return all
}

// Stages wait for each other, and a deployment has its own Jobs, which replace those of the one before.
func TestStagesOfACluster(t *testing.T) {
	t.Parallel()
	a := newAPI()
	r, err := deployOf(t, a.target(t, time.Minute), workflow).Run(t.Context())
	if err != nil || r.Environment.State != release.Deployed || len(r.Workloads) != 3 {
		t.Fatalf("got %+v, %v", r, err)
	}
	applied := func() string {
		var all []string
		for _, one := range a.Applied() {
			if kind, label, _ := strings.Cut(one, " "); kind == "Deployment" || kind == "Job" {
				all = append(all, kind+" "+strings.Split(label, "-")[0])
			}
		}
		return strings.Join(all, ", ")
	}
	if got, want := applied(), "Deployment db, Job migrate, Deployment web"; got != want {
		t.Errorf("setup: got %s, want %s", got, want)
	}
	first := a.Objects("preview", "Job")
	a.see = func(r *http.Request) { // the Jobs of two deployments do not run beside each other
		if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/jobs/") && len(a.Objects("preview", "Job")) > 0 {
			t.Errorf("a Job is applied while that of the deployment before is there")
		}
	}
	if _, err := deployOf(t, a.target(t, time.Minute), workflow).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := applied(), "Job migrate, Deployment db, Deployment web"; got != want {
		t.Errorf("patch: got %s, want %s", got, want)
	}
	second := a.Objects("preview", "Job")
	if len(first) != 1 || len(second) != 1 || bytes.Equal(first[0], second[0]) {
		t.Errorf("the Jobs: got %s and %s, want another one", first, second)
	}
}

// A workload that fails ends the deployment before the next stage, with the words of the cluster; the next deployment has other Jobs. A
// time that ends is no failure: the deployment is continued.
func TestWorkloadsThatDoNotRun(t *testing.T) {
	t.Parallel()
	a := newAPI()
	broken := strings.Replace(workflow, "r.example.com/db:1", "r.example.com/broken/db:1", 1)
	r, err := deployOf(t, a.target(t, time.Minute), broken).Run(t.Context())
	var failed *release.WorkloadError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "Deployment db does not run: pod db-") ||
		!strings.Contains(err.Error(), "ImagePullBackOff") || r.Environment.State != release.Failed {
		t.Fatalf("got %+v, %v", r, err)
	}
	if got := a.state(t); !slices.Equal(got, []string{"Deployment db r.example.com/broken/db:1"}) {
		t.Errorf("after the first stage has failed: got %q", got)
	}
	d := deployOf(t, a.target(t, time.Minute), workflow)
	d.Recreate = true
	if r, err = d.Run(t.Context()); err != nil || r.Environment.Workflow != "setup" {
		t.Fatalf("repaired: got %+v, %v", r, err)
	}
	// A Job that does not end in time is waited for again, and not started twice.
	slow := newAPI()
	slow.Refuse(func(kind, _ string) bool { return kind == "Deployment" })
	if _, err := deployOf(t, slow.target(t, time.Minute), workflow).Run(t.Context()); err == nil || !strings.Contains(err.Error(),
		"the quota is exceeded") || !strings.Contains(err.Error(), "repeat it") {
		t.Fatalf("refused by the API server: got %v", err)
	}
	slow.Refuse(nil)
	if r, err := deployOf(t, slow.target(t, time.Minute), workflow).Run(t.Context()); err != nil || r.Environment.Workflow != "setup" {
		t.Errorf("repeated: got %+v, %v", r, err)
	}
}

// A deployment whose process is killed at any request, before it is served or behind it, and that is run again, has the state of one that
// was not killed, and has run each Job once.
func TestKilledAtAnyRequest(t *testing.T) {
	t.Parallel()
	const second = "r.example.com/web:2"
	changed := strings.Replace(strings.Replace(workflow, "r.example.com/web:1", second, 1), "- {name: db, image: r.example.com/db:1}\n", "", 1)
	changed = strings.ReplaceAll(changed, "services.db, ", "")
	want := []string{"Deployment web " + second, "Service web", "Job migrate " + second}
	kills := 0
	for _, last := range []bool{false, true} {
		for at := int64(1); ; at++ {
			a := newAPI()
			a.last = last
			if _, err := deployOf(t, a.target(t, time.Minute), workflow).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			a.Applied()
			a.left.Store(at)
			killed := deployOf(t, a.target(t, time.Minute), changed)
			killed.Recreate = true
			ctx, kill := context.WithCancel(t.Context())
			a.kill = kill
			_, err := killed.Run(ctx)
			kill()
			a.left.Store(forever)
			if err == nil {
				break // it has fewer requests
			}
			kills++
			left, err := a.target(t, time.Minute).Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			done := left.State == release.Deployed // the answer to the last write was lost: the next one is another deployment
			again := deployOf(t, a.target(t, time.Minute), changed)
			again.Recreate = true
			if r, err := again.Run(t.Context()); err != nil || r.Environment.State != release.Deployed {
				t.Fatalf("killed at request %d, served %t, and repeated: got %+v, %v", at, last, r, err)
			}
			if got := a.state(t); !slices.Equal(got, want) {
				t.Errorf("killed at request %d, served %t, and repeated: got %q, want %q", at, last, got, want)
			}
			jobs := map[string]bool{}
			for _, one := range a.Applied() {
				if strings.HasPrefix(one, "Job ") {
					jobs[one] = true
				}
			}
			if len(jobs) > 1 && !done {
				t.Errorf("killed at request %d, served %t: the Jobs %v ran, want one", at, last, jobs)
			}
		}
	}
	if kills < 20 {
		t.Errorf("only %d kills", kills)
	}
}

// A deployment that another one has overtaken changes nothing more, and says so.
func TestOvertakenDeployment(t *testing.T) {
	t.Parallel()
	a := newAPI()
	slow := deployOf(t, a.target(t, time.Minute), workflow)
	slow.Before = func(ctx context.Context, _ []release.Answer) error {
		other := deployOf(t, a.target(t, time.Minute), strings.ReplaceAll(workflow, "web:1", "web:2"))
		other.Recreate = true
		_, err := other.Run(ctx)
		return err
	}
	if _, err := slow.Run(t.Context()); !errors.Is(err, release.ErrAnother) {
		t.Errorf("got %v", err)
	}
	if got := a.state(t); !slices.Contains(got, "Deployment web r.example.com/web:2") {
		t.Errorf("got %q, want what the later deployment has made", got)
	}
}
