package cli_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// remove makes a repository with an image and deletes it.
func remove(t *testing.T, root apptest.Account, name string, seed uint64) {
	t.Helper()
	root.CreateRepository(t, name).Push(t, "v1", ocitest.NewImage(seed, 100_000))
	if _, err := root.ECR().DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: &name, Force: true}); err != nil {
		t.Fatal(err)
	}
}

// ended waits until a job has ended, and returns it.
func ended(t *testing.T, s *apptest.Server, id string) ecrintypes.Job {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var out ecrintypes.JobResponse
		s.Operator(t, "DescribeJob", &ecrintypes.JobRequest{JobId: id}, &out)
		if state := string(out.Job.State); state != "QUEUED" && state != "RUNNING" {
			return out.Job
		}
		if time.Now().After(deadline) {
			t.Fatalf("the job %s has not ended: %+v", id, out.Job)
		}
	}
}

// ecrin gc is a job, which others see, and which goes on without the command.
func TestGCIsAJob(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	remove(t, root, "team/gone", 1)
	var got struct {
		Job   string
		Blobs int64
		Bytes int64
	}
	for _, full := range []bool{false, true} {
		args := []string{"gc", "--grace", "0s", "--json", "--data", s.Dir}
		if full {
			args = append(args, "--full")
		}
		code, out, errs := run(t, args...)
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.Job == "" || (got.Blobs == 2) == full {
			t.Fatalf("%v: got %d, %s, %s, %v", args, code, out, errs, err)
		}
		job := ended(t, s, got.Job)
		if job.State != "DONE" || job.Kind != registry.CollectNowWork || job.Done != got.Bytes {
			t.Errorf("the job: got %+v, want a collection with %d bytes", job, got.Bytes)
		}
	}
	if _, out, _ := run(t, "job", "list", "--kind", registry.CollectNowWork, "--data", s.Dir); strings.Count(out, "DONE") != 2 {
		t.Errorf("job list: got %s, want two that are done", out)
	}
	code, out, _ := run(t, "gc", "--dry-run", "--json", "--data", s.Dir)
	if code != 0 || strings.Contains(out, `"job"`) {
		t.Errorf("a dry run: got %d, %s, want no job", code, out)
	}

	// A job whose caller has gone, and whose server was stopped, goes on with the next server.
	remove(t, root, "team/later", 2)
	id, err := s.Meta().StartJob(t.Context(), meta.NewJob{Kind: registry.CollectNowWork, Node: s.Meta().Node(),
		Input: `{"grace":0,"now":true}`})
	if err != nil {
		t.Fatal(err)
	}
	s.Restart(t)
	if job := ended(t, s, strconv.FormatInt(id, 10)); job.State != "DONE" || job.Done < 100_000 {
		t.Errorf("after a restart: got %+v, want a collection that has removed the layer", job)
	}
}
