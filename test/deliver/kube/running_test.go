package kube_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

const deploymentYAML = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"},"spec":{"replicas":1,
"selector":{"matchLabels":{"a":"web"}},"template":{"metadata":{"labels":{"a":"web"}},"spec":{"hostNetwork":true,
"terminationGracePeriodSeconds":0,"tolerations":[{"operator":"Exists"}],"containers":[{"name":"main","image":%q}]}}}}`

// onlyPods is a service account that may list and watch pods, and nothing else.
const onlyPods = `{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"watcher","namespace":"default"}},
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"watcher"},
"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["list","watch"]}]},
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"watcher"},
"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"watcher"},
"subjects":[{"kind":"ServiceAccount","name":"watcher","namespace":"default"}]}]}`

// deployments returns what runs by the registry: CLUSTER.NAMESPACE/APPLICATION IMAGE.
func (r registry) deployments(t *testing.T) (all []string) {
	t.Helper()
	var out ecrintypes.DeploymentsResponse
	r.Operator(t, "ListDeployments", ecrintypes.ListDeploymentsRequest{}, &out)
	for _, d := range out.Deployments {
		all = append(all, d.Namespace+"/"+d.ApplicationName+" "+d.ImageName)
	}
	return all
}

// C14: a Deployment whose pod a node runs is deployed by itself, with the digest that the node has pulled; no lifecycle policy deletes its
// image. When it is scaled to nothing, it runs nothing.
func TestC14WhatANodeRunsIsDeployed(t *testing.T) {
	t.Parallel()
	c, r, digest := startNode(t, nil)
	repo := r.Root(t).Docker(t).Repo("team/app")
	for i, tag := range []string{"1.1", "1.2"} {
		repo.Push(t, tag, ocitest.NewImage(uint64(i+1), 100))
	}
	c.Apply(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`)
	c.Apply(onlyPods)
	c.Eventually(t, wait, "the service account", func() error { _, err := get(c, "shop", "sa/default"); return err })
	if out, err := once(t, r.env, "--kubeconfig", c.Kubeconfig, "--registry", r.host, "--namespace", "shop"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	image := r.host + "/team/app:1.0"
	c.Apply(fmt.Sprintf(deploymentYAML, image))
	own := c.KubeconfigOf("watcher", strings.TrimSpace(c.Kubectl("create", "token", "watcher")))
	w := start(t, r.env, "report", "watch", "--cluster", "staging", "--kubeconfig", own, "--url", r.URL)
	want := []string{"staging.shop/web " + image + "@" + digest}
	c.Eventually(t, time.Minute, "the deployment", func() error {
		if got := r.deployments(t); !slices.Equal(got, want) {
			return fmt.Errorf("got %q, want %q\n%s", got, want, c.Kubectl("describe", "pods", "-n", "shop"))
		}
		return nil
	})
	policy := `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},
"action":{"type":"expire"}}]}`
	if _, err := r.Root(t).ECR().PutLifecyclePolicy(t.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: aws.String("team/app"),
		LifecyclePolicyText: &policy}); err != nil {
		t.Fatal(err)
	}
	c.Eventually(t, time.Minute, "the lifecycle policy", func() error {
		if got := string(repo.Tags(t, "").Body); !strings.Contains(got, `["1.0","1.2"]`) {
			return fmt.Errorf("got %s, want the deployed image and the newest one", got)
		}
		return nil
	})
	c.Kubectl("scale", "-n", "shop", "deployment/web", "--replicas=0")
	c.Eventually(t, time.Minute, "the deployment without pods", func() error {
		if got := r.deployments(t); len(got) > 0 {
			return fmt.Errorf("got %q, want none", got)
		}
		return nil
	})
	w.stop(t)
}

// start starts a command of the program until the test ends.
func start(t *testing.T, env []string, args ...string) *refresher {
	t.Helper()
	r := &refresher{log: &log{}, end: make(chan error, 1)}
	r.cmd = exec.CommandContext(context.Background(), binary, args...)
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = env, r.log, r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.end <- r.cmd.Wait() }()
	t.Cleanup(func() {
		_ = r.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
		if t.Failed() {
			t.Logf("the log of %q:\n%s", args, r.log)
		}
	})
	return r
}

// server keeps what is reported to it.
type server struct {
	mu    sync.Mutex
	err   error
	apps  map[kube.Application][]string
	calls int
}

func (s *server) report(_ context.Context, a kube.Application, images []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	switch {
	case s.err != nil:
		return s.err
	case len(images) == 0:
		delete(s.apps, a)
	default:
		s.apps[a] = images
	}
	return nil
}

func (s *server) reported(context.Context) ([]kube.Application, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.apps)), s.err
}

func (s *server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// text returns what is stored: NAMESPACE/APPLICATION=IMAGE,…
func (s *server) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for a, images := range s.apps {
		all = append(all, a.Namespace+"/"+a.Name+"="+strings.Join(images, ","))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

const runDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// pod makes a pod with an owner, and gives it the status of one whose container has been started from an image.
func pod(c *kubetest.Cluster, name, labels, kind, owner, phase, imageID string) {
	owners := ""
	if kind != "" {
		owners = fmt.Sprintf(`"ownerReferences":[{"apiVersion":"x/v1","kind":%q,"name":%q,"uid":"1","controller":true}],`, kind, owner)
	}
	c.Apply(fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":"shop",%s"labels":{%s}},"spec":{
"automountServiceAccountToken":false,"containers":[{"name":"main","image":"r.test/app:1"}]}}`, name, owners, labels))
	c.Kubectl("patch", "pod", "-n", "shop", name, "--subresource=status", "--type=merge", "-p", fmt.Sprintf(`{"status":{"phase":%q,
"containerStatuses":[{"name":"main","image":"r.test/app:1","imageID":%q,"ready":true,"restartCount":0}]}}`, phase, imageID))
}

// The application of a pod is its label, else what has made it. A pod that has ended runs nothing, unless it is one of a job; an image
// whose digest the node does not know is left out. Failures of the server are repeated, what was stored and runs no more is removed, and
// while the API server is away everything stays.
func TestWhatPodsRun(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t, kubetest.Options{})
	c.Apply(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`)
	c.Apply(`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default","namespace":"shop"}}`)
	id := "r.test/app@" + runDigest
	pod(c, "web-7c9-x1", `"pod-template-hash":"7c9"`, "ReplicaSet", "web-7c9", "Running", id)
	pod(c, "web-7c9-x2", `"pod-template-hash":"7c9"`, "ReplicaSet", "web-7c9", "Running", "docker-pullable://"+id)
	pod(c, "labelled", `"app.kubernetes.io/instance":"store"`, "ReplicaSet", "any-1", "Running", id)
	pod(c, "db-0", "", "StatefulSet", "db", "Running", id)
	pod(c, "night-28000000-z", "", "Job", "night-28000000", "Succeeded", id)
	pod(c, "evicted", "", "ReplicaSet", "gone-1", "Failed", id)
	pod(c, "imported", "", "", "", "Running", runDigest)
	pod(c, "alone", "", "", "", "Running", id)
	image := "r.test/app:1@" + runDigest
	s := &server{apps: map[kube.Application][]string{{Namespace: "shop", Name: "old"}: {image}}}
	var now clock
	var lines log
	o := kube.RunningOptions{Label: "app.kubernetes.io/instance", Report: s.report, Reported: s.reported, Renew: time.Hour, Now: now.now,
		Log: slog.New(slog.NewTextHandler(&lines, nil))}
	at, err := kube.Open(kube.Config{Kubeconfig: c.Kubeconfig, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s.fail(errors.New("the server fails"))
	r := kube.NewRunning(at, o)
	if err := r.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "the server fails") {
		t.Errorf("the server fails: got %v, want its error", err)
	}
	answer := httptest.NewRecorder()
	if r.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil)); answer.Code != http.StatusServiceUnavailable {
		t.Errorf("/readyz while the server fails: got %d, want 503", answer.Code)
	}
	s.fail(nil)
	before := s.calls
	if r.Step(t.Context()); s.calls != before {
		t.Errorf("at once after a failure: got %d calls, want a pause", s.calls-before)
	}
	now.move(10 * time.Second)
	r.Step(t.Context())
	want := ""
	for _, a := range []string{"alone", "db", "night", "store", "web"} {
		want += " shop/" + a + "=" + image
	}
	want = want[1:]
	if got := s.text(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	before = s.calls
	if r.Step(t.Context()); s.calls != before {
		t.Errorf("nothing has changed: got %d calls, want none", s.calls-before)
	}
	now.move(2 * time.Hour)
	if r.Step(t.Context()); s.calls != before+5 {
		t.Errorf("after the time of a report: got %d calls, want 5", s.calls-before)
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var ended sync.WaitGroup
	defer ended.Wait()
	follow := kube.NewRunning(at, o)
	ended.Go(func() { follow.Run(ctx) })
	c.Kubectl("delete", "pod", "-n", "shop", "alone", "--grace-period=0", "--force")
	want = strings.TrimPrefix(want, "shop/alone="+image+" ")
	c.Eventually(t, wait, "a pod is deleted", func() error {
		if got := s.text(); got != want {
			return fmt.Errorf("got %s\nwant %s", got, want)
		}
		return nil
	})
	back := c.Away(t)
	now.move(2 * time.Hour)
	if got := s.text(); got != want {
		t.Errorf("the API server is away: got %s\nwant %s", got, want)
	}
	back()
	pod(c, "more", "", "", "", "Running", id)
	c.Eventually(t, time.Minute, "after the API server is back", func() error {
		if got := s.text(); !strings.Contains(got, "shop/more="+image) || !strings.Contains(got, "shop/web=") {
			return fmt.Errorf("got %s", got)
		}
		return nil
	})
	stop()
}
