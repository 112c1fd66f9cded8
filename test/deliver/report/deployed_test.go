package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

// C14: of two reported repositories the one that an application runs is the only one that is deployed, with the name of the application.
func TestC14(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	for i, repo := range []string{"demo/app", "demo/other"} {
		w.root.CreateRepository(t, repo).Push(t, "1", built(uint64(i+1), "linux", "amd64", 100))
		w.report(t, w.host()+"/"+repo+":1").want(t, 0)
	}
	image := w.host() + "/demo/app:1"
	w.deployed(t, "shop", "production", image).want(t, 0, "shop runs "+image)
	all := w.list(t, "--deployed")
	if len(all) != 1 || all[0].ImageName != image || len(all[0].Applications) != 1 || all[0].Applications[0] != "shop" {
		t.Errorf("what is deployed: got %+v, want %s by shop", all, image)
	}
	if all := w.list(t, "--application", "shop"); len(all) != 1 || all[0].ImageName != image {
		t.Errorf("what shop runs: got %+v, want %s", all, image)
	}
	if all := w.list(t, "--deployed=false"); len(all) != 1 || all[0].ImageName != w.host()+"/demo/other:1" {
		t.Errorf("what is not deployed: got %+v, want the other one", all)
	}
	w.deployed(t, "shop", "production").want(t, 0, "shop runs no images")
	if all := w.list(t, "--deployed"); len(all) != 0 {
		t.Errorf("after shop runs nothing: got %+v, want nothing", all)
	}
}

// The first level of the dashboard has a line for each repository: its newest image, and what is deployed of it.
func TestRepositoriesOfTheDashboard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	repo := w.root.CreateRepository(t, "demo/app")
	for i, day := range []string{"03", "01", "02"} {
		tag := "v" + day
		repo.Push(t, tag, builtAt("2026-11-"+day+"T10:00:00Z", uint64(i+1), "linux", "amd64", 100))
		w.report(t, w.host()+"/demo/app:"+tag).want(t, 0)
	}
	w.root.CreateRepository(t, "demo/other").Push(t, "1", built(9, "linux", "amd64", 100))
	w.report(t, w.host()+"/demo/other:1").want(t, 0)
	w.deployed(t, "shop", "production", w.host()+"/demo/app:v01", w.host()+"/demo/app:v02").want(t, 0)
	w.deployed(t, "bank", "production", w.host()+"/demo/app:v01").want(t, 0)
	var all []struct {
		Repository   string
		Newest       struct{ ImageTag string }
		Deployed     int
		Applications []string
	}
	w.ecrin(t, &all, "report", "list", "--repositories")
	if len(all) != 2 || all[0].Repository != w.host()+"/demo/app" || all[0].Newest.ImageTag != "v03" || all[0].Deployed != 2 ||
		strings.Join(all[0].Applications, ",") != "bank,shop" || all[1].Deployed != 0 || len(all[1].Applications) != 0 {
		t.Errorf("got %+v, want v03 as the newest of two, of which two run by bank and shop", all)
	}
	run(t, nil, "report", "list", "--repositories", "--data", w.Dir).want(t, 0, "DEPLOYED", "bank,shop", "v03")
}

// deployed reports what an application runs.
func (w *world) deployed(t *testing.T, application, namespace string, images ...string) result {
	t.Helper()
	args := append([]string{"report", "deployed", "--application", application, "--namespace", namespace, "--data", w.Dir}, images...)
	return run(t, nil, args...)
}

// The matrix has a row for each repository and a column for each environment, with the tags that run there.
func TestEnvironmentMatrix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	repo := w.root.CreateRepository(t, "demo/app")
	for i, tag := range []string{"1", "2"} {
		repo.Push(t, tag, built(uint64(i+1), "linux", "amd64", 100))
	}
	w.root.CreateRepository(t, "demo/job").Push(t, "7", built(3, "linux", "amd64", 100))
	at := w.host() + "/demo/"
	for _, image := range []string{"app:1", "app:2", "job:7"} {
		w.report(t, at+image).want(t, 0)
	}
	w.deployed(t, "shop", "production", at+"app:1").want(t, 0)
	w.deployed(t, "shop", "staging", at+"app:2", at+"job:7").want(t, 0)
	w.deployed(t, "canary", "staging", at+"app:1").want(t, 0)
	got := run(t, nil, "report", "matrix", "--data", w.Dir).want(t, 0).out
	var lines []string
	for line := range strings.Lines(got) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	want := "REPOSITORY production staging|" + at + "app 1 1,2|" + at + "job - 7"
	if text := strings.Join(lines, "|"); text != want {
		t.Errorf("the matrix: got %s, want %s", text, want)
	}
}

// No lifecycle policy deletes an image that is reported to be deployed; of a repository whose images are not, the same policy does.
func TestLifecycleSparesReportedDeployments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	for n, repo := range []string{"demo/app", "demo/other"} {
		r := w.root.CreateRepository(t, repo)
		for i, tag := range []string{"1", "2", "3"} {
			r.Push(t, tag, built(uint64(n*10+i+1), "linux", "amd64", 100))
		}
	}
	deployed := w.host() + "/demo/app:1"
	w.report(t, deployed).want(t, 0)
	w.deployed(t, "shop", "production", deployed).want(t, 0)
	put := func(repo string) {
		t.Helper()
		if _, err := w.root.ECR().PutLifecyclePolicy(t.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: &repo,
			LifecyclePolicyText: aws.String(`{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan",
"countNumber":1},"action":{"type":"expire"}}]}`)}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(repo, tags string) {
		t.Helper()
		got := ""
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if got = string(w.root.Docker(t).Repo(repo).Tags(t, "").Body); strings.Contains(got, tags) {
				return
			}
		}
		t.Errorf("the images of %s: got %s, want %s", repo, got, tags)
	}
	put("demo/app")
	put("demo/other")
	want("demo/other", `["3"]`)
	want("demo/app", `["1","3"]`)
	w.deployed(t, "shop", "production").want(t, 0)
	put("demo/app")
	want("demo/app", `["3"]`)
}
