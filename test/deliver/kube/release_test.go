package kube_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// releaser deploys an application by the real program to a cluster with a node, as the operator, with the pull secret of a user.
type releaser struct {
	registry
	c   *kubetest.Cluster
	dir string // of the application
	env []string
}

// newReleaser makes the user nodes, without policies, a cluster whose principal it is, and an application with a job.
func newReleaser(t *testing.T, c *kubetest.Cluster) *releaser {
	t.Helper()
	r := &releaser{registry: startRegistry(t, nil), c: c, dir: t.TempDir()}
	nodes := "nodes"
	if _, err := r.iam(t).CreateUser(t.Context(), &iam.CreateUserInput{UserName: &nodes}); err != nil {
		t.Fatal(err)
	}
	key, err := r.iam(t).CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &nodes})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range r.registry.env {
		if !strings.HasPrefix(one, "AWS_ACCESS_KEY_ID=") && !strings.HasPrefix(one, "AWS_SECRET_ACCESS_KEY=") {
			r.env = append(r.env, one)
		}
	}
	r.env = append(r.env, "AWS_ACCESS_KEY_ID="+*key.AccessKey.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+*key.AccessKey.SecretAccessKey)
	root := r.Root(t)
	if out, err := r.ecrin(t, "cluster", "add", "staging", "--region", root.Region, "--principal",
		"arn:aws:iam::"+root.ID+":user/nodes").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// permit lets the user pull.
func (r *releaser) permit(t *testing.T) {
	t.Helper()
	nodes, text := "nodes", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:GetAuthorizationToken","ecr:BatchGetImage",`+
		`"ecr:GetDownloadUrlForLayer"],"Resource":"*"}]}`
	if _, err := r.iam(t).PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &nodes, PolicyName: &nodes,
		PolicyDocument: &text}); err != nil {
		t.Fatal(err)
	}
}

// template writes the template, whose service runs a tag.
func (r *releaser) template(t *testing.T, tag string) {
	t.Helper()
	text := fmt.Sprintf(`app: seed
context: staging
environment_templates: [{name: ephemeral}]
services:
- {name: web, image: '%s/vendorapp:%s', has_repo: false, static: false}
- {name: site, static: true}
jobs:
- {name: migrate, from_services: web, command: [/bin/busybox, "true"]}
workflows:
- {name: setup, order_from: [jobs.migrate, services.all]}
- {name: patch, order_from: [jobs.migrate, services.all]}
`, r.host, tag)
	file := filepath.Join(r.dir, ".release", "application_template.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *releaser) ecrin(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), binary, append(args, "--data", r.Dir)...)
	cmd.Env = r.env
	return cmd
}

func (r *releaser) deploy(t *testing.T) *exec.Cmd {
	return r.ecrin(t, "application", "deploy", "preview", r.dir, "--kubeconfig", r.c.Kubeconfig, "--write-pull-secret", "--wait", "2m",
		"--recreate")
}

// deployed deploys, and checks the exit code.
func (r *releaser) deployed(t *testing.T, want int) string {
	t.Helper()
	cmd := r.deploy(t)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
		pods, _ := r.c.TryKubectl(r.c.Kubeconfig, "", "describe", "pods", "-n", "preview")
		t.Fatalf("got %v, want the exit code %d: %s\n%s\n%s", err, want, out, pods, r.c.Logs())
	}
	return string(out)
}

// runs checks that the Deployment web has one pod, whose container was started from a digest, and that all Jobs there are have ended.
func (r *releaser) runs(t *testing.T, digest string) {
	t.Helper()
	type pod struct {
		Metadata struct{ DeletionTimestamp string }
		Status   struct {
			ContainerStatuses []struct {
				ImageID string
				State   struct{ Running *struct{ StartedAt string } }
			}
		}
	}
	var pods struct{ Items []pod }
	r.c.Eventually(t, wait, "one pod", func() error {
		out, err := r.c.TryKubectl(r.c.Kubeconfig, "", "get", "pods", "-n", "preview", "-l", "app.kubernetes.io/name=web", "-o", "json")
		if pods.Items = nil; err == nil {
			err = json.Unmarshal([]byte(out), &pods)
		}
		pods.Items = slices.DeleteFunc(pods.Items, func(p pod) bool { return p.Metadata.DeletionTimestamp != "" }) // the kubelet ends it
		if err == nil && len(pods.Items) != 1 {
			err = fmt.Errorf("%d pods", len(pods.Items))
		}
		return err
	})
	s := pods.Items[0].Status.ContainerStatuses
	if len(s) != 1 || s[0].State.Running == nil || !strings.HasSuffix(s[0].ImageID, "@"+digest) {
		t.Errorf("the container: got %+v, want one that was started from %s", s, digest)
	}
	jobs := r.c.Kubectl("get", "jobs", "-n", "preview", "-o", "jsonpath={range .items[*]}{.status.succeeded} {end}")
	if strings.TrimSpace(jobs) != "1" {
		t.Errorf("the Jobs that have ended well: got %q, want one", jobs)
	}
}

// R3: the container runs the digest that latest points at. R4: without the permission the deployment is refused, and nothing is made. A
// container that does not run ends a deployment with the words of the kubelet. A deployment that is killed at any time, and repeated, has
// the state of one that was not.
func TestR3ContainerDigest(t *testing.T) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is not installed: run tools/clients/install kubernetes")
	}
	var images [3]ocitest.Image
	for i, command := range []string{`"/bin/busybox","sleep","100000"`, `"/bin/busybox","sleep","100001"`, `"/bin/busybox","false"`} {
		if images[i], err = kubetest.Program(path, "bin/busybox", `"Cmd":[`+command+`]`); err != nil {
			t.Fatal(err)
		}
	}
	sandbox, err := kubetest.Archive(images[0], kubetest.Sandbox)
	if err != nil {
		t.Fatal(err)
	}
	r := newReleaser(t, kubetest.Start(t, kubetest.Options{Node: true, Network: true, Image: sandbox}))
	repo := r.Root(t).CreateRepository(t, "vendorapp")
	repo.Push(t, "latest", images[0])
	repo.Push(t, "next", images[1])
	repo.Push(t, "broken", images[2])
	r.template(t, "latest")
	if out := r.deployed(t, 3); !strings.Contains(out, "ecr:GetAuthorizationToken") {
		t.Errorf("R4: got %s", out)
	}
	if out, err := r.c.TryKubectl(r.c.Kubeconfig, "", "get", "namespace", "preview"); err == nil {
		t.Errorf("R4: a refused deployment has made %s", out)
	}
	r.permit(t)
	if out := r.deployed(t, 0); !strings.Contains(out, "Deployment web: ready") {
		t.Errorf("R3: got %s", out)
	}
	r.runs(t, images[0].Digest)
	repo.Push(t, "latest", images[1]) // the tag moves: a deployment without a change of the template takes it
	r.deployed(t, 0)
	r.runs(t, images[1].Digest)
	repo.Push(t, "latest", images[0])

	r.template(t, "broken")
	if out := r.deployed(t, 1); !strings.Contains(out, "Deployment web does not run: pod web-") || !strings.Contains(out, "CrashLoopBackOff") {
		t.Errorf("a container that ends: got %s", out)
	}
	for i := range 12 {
		tag, digest := "latest", images[0].Digest
		if i%2 == 1 {
			tag, digest = "next", images[1].Digest
		}
		r.template(t, tag)
		killed := r.deploy(t)
		if err := killed.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(50+150*i)*time.Millisecond, func() { _ = killed.Process.Kill() }) // it may have ended
		_ = killed.Wait()
		timer.Stop()
		r.deployed(t, 0)
		r.runs(t, digest)
	}
}
