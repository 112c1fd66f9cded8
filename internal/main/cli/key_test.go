package cli_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A rotation that is killed at a random moment leaves an installation that starts and whose clients go on.
func TestKilledKeyRotation(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("ecrin")
	if err != nil {
		t.Fatal(err)
	}
	s := apptest.Start(t, apptest.Options{})
	root, image := s.Root(t), ocitest.NewImage(1, 1000)
	root.CreateRepository(t, "team/app").Push(t, "1.0", image)
	docker := root.Docker(t)
	for range 50 { // so that the transaction takes a while
		if _, err := root.STS().GetSessionToken(t.Context(), &sts.GetSessionTokenInput{}); err != nil {
			t.Fatal(err)
		}
	}
	rounds, killed, ended := 10, 0, 0
	for i := range rounds {
		s.Stop(t)
		cmd := exec.Command(program, "key", "rotate", "--data", s.Dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wait := time.NewTimer(time.Duration(rand.IntN(150)) * time.Millisecond)
		<-wait.C
		_ = cmd.Process.Kill() // it may have ended
		if cmd.Wait() == nil {
			ended++
		} else {
			killed++
		}
		s.Restart(t)
		if _, err := root.ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{}); err != nil {
			t.Fatalf("round %d: the access key: %v", i, err)
		}
		docker.Repo("team/app").Manifest(t, "1.0").Want(t, 200)
	}
	t.Logf("%d rotations were killed, %d had ended", killed, ended)
}

// The key that a backup needs is named, and the installation that was restored with it can get another one.
func TestKeyOfABackup(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	s.Root(t).CreateRepository(t, "team/app")
	dir := t.TempDir()
	_, id, _ := run(t, "key", "show", "--data", s.Dir)
	id = strings.TrimSpace(id)
	errs := must(t, "backup", filepath.Join(dir, "backup"), "--data", s.Dir)
	key, err := os.ReadFile(filepath.Join(s.Dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	s.Stop(t)
	code, out, more := run(t, "key", "rotate", "--data", s.Dir, "--json")
	var got struct {
		MasterKey, Before string
		Values            map[string]int
	}
	err = json.Unmarshal([]byte(out), &got)
	if err != nil || code != 0 || got.Before != id || got.MasterKey == id || got.Values["access_keys"] != 1 {
		t.Fatalf("key rotate: got %d, %s, %s, %v, want another key than %s", code, out, more, err, id)
	}
	if !strings.Contains(errs, "the master key "+id) {
		t.Errorf("backup: got %q, want the id %s", errs, id)
	}
	restored := filepath.Join(dir, "restored")
	if errs := must(t, "restore", filepath.Join(dir, "backup"), "--data", restored); !strings.Contains(errs, "the master key "+id) {
		t.Errorf("restore: got %q, want the id %s", errs, id)
	}
	if err := os.WriteFile(filepath.Join(restored, "master.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "key", "rotate", "--data", restored, "--end-tokens")
	r := apptest.Start(t, apptest.Options{Dir: restored})
	if _, err := r.Root(t).ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{}); err != nil {
		t.Errorf("the restored installation with another key: %v", err)
	}
}
