// Package crash_test kills the real program in the middle of pushes, repeatedly over one data directory.
package crash_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// rounds returns the number of kills.
func rounds() int { return slowtest.Soak(3, 12, 50) }

// program builds the program.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ecrin")
	build := exec.Command("go", "build", "-o", path, "github.com/ecrin-dev/ecrin/cmd/ecrin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return path
}

// process is a running server.
type process struct {
	cmd *exec.Cmd
	log *apptest.Buffer
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// serve starts the program on a data directory, with the metadata in the PostgreSQL database of an address or without one in
// SQLite, and waits until it says that it is ready.
func serve(t *testing.T, program, dir, database string, flags ...string) *process {
	t.Helper()
	args := append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}, flags...)
	p := &process{cmd: exec.Command(program, args...), log: &apptest.Buffer{}}
	if database != "" {
		p.cmd.Env = append(os.Environ(), "ECRIN_DATABASE="+database)
	}
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatalf("starting the program: %v", err)
	}
	t.Cleanup(func() { p.kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "ecrin is ready") {
		t.Fatalf("the program printed %q, %v\n%s", line, err, p.log)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return p
}

// kill ends the process with SIGKILL, so that it cannot clean up. It is no error if the process has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// TestKillDuringPush: after each kill and restart, every acknowledged image can be pulled byte for byte, no tag
// is without its manifest, no manifest is without its blobs, and every upload can be continued at the
// acknowledged offset.
func TestKillDuringPush(t *testing.T) {
	killDuringPush(t, t.TempDir(), "", false, func(p *process) { p.kill() })
}

// The same with the metadata in PostgreSQL.
func TestKillDuringPushOnPostgreSQL(t *testing.T) {
	killDuringPush(t, t.TempDir(), postgres(t).NewDatabase(t), false, func(p *process) { p.kill() })
}

// The same, and the PostgreSQL server is killed or stopped under it, before ecrin is killed or at the same time.
func TestKillPostgreSQLDuringPush(t *testing.T) {
	postgres(t) // or skip
	server := pgtest.New(t)
	round := 0
	killDuringPush(t, t.TempDir(), server.NewDatabase(t), true, func(p *process) {
		round++
		switch round % 3 {
		case 0:
			server.Kill()
			server.Start(t)
		case 1:
			server.Kill()
			p.kill()
			server.Start(t)
		case 2:
			server.Stop()
			server.Start(t)
		}
		p.kill() // the next round starts one
	})
}

// postgres is the server that the tests share.
func postgres(t *testing.T) *pgtest.Server {
	t.Helper()
	if os.Getenv("ECRIN_POSTGRES") != "1" {
		t.Skip("make postgres runs it")
	}
	return pgtest.Start(t)
}

// killDuringPush pushes and kills, again and again, and looks at what is in the data directory after each start. mayRefuse is
// whether a server may answer 503 since its database was killed.
func killDuringPush(t *testing.T, dir, database string, mayRefuse bool, kill func(*process)) {
	t.Helper()
	bin := program(t)
	acked := &ledger{tags: map[string]string{}, moving: map[string][]string{}, uploads: map[string]*upload{}, mayRefuse: mayRefuse}
	resumed := 0
	random := seedtest.New(seedtest.Seed(t), 0)
	for round := range rounds() {
		p := serve(t, bin, dir, database)
		s := apptest.Attach(t, dir)
		root := s.Root(t)
		var repo ocitest.Repo
		if round == 0 {
			repo = root.CreateRepository(t, "team/app")
		} else {
			repo = root.Docker(t).Repo("team/app")
			resumed += acked.check(t, round, root, repo)
		}
		if t.Failed() {
			t.Logf("the server's log ends with\n%s", tail(p.log.String(), 5000))
			return
		}
		acked.pushUntil(t, round, repo, 40+random.IntN(200), func() { kill(p) })
	}
	p := serve(t, bin, dir, database)
	root := apptest.Attach(t, dir).Root(t)
	repo := root.Docker(t).Repo("team/app")
	resumed += acked.check(t, rounds(), root, repo)
	for tag, d := range acked.tags {
		if err := repo.Verify(t.Context(), tag); err != nil {
			t.Errorf("%s, acknowledged as %s: %v", tag, d, err)
		}
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the last server ended with an error: %v\n%s", err, p.log)
	}
	t.Logf("%d kills: %d tags acknowledged and complete, %d uploads continued", rounds(), len(acked.tags), resumed)
	if len(acked.tags) == 0 || resumed == 0 {
		t.Errorf("the kills interrupted nothing: %d tags were acknowledged, %d uploads were continued", len(acked.tags), resumed)
	}
}

// check compares the server's content with what it has acknowledged, and returns the number of uploads that it
// continued.
func (l *ledger) check(t *testing.T, round int, root apptest.Account, repo ocitest.Repo) (resumed int) {
	t.Helper()
	ctx := t.Context()
	if _, err := repo.VerifyAll(ctx); err != nil {
		t.Errorf("after kill %d: %v", round, err)
	}
	for _, tag := range l.fresh {
		a := repo.Do(t, http.MethodHead, repo.Path("/manifests/"+tag), nil)
		if got := a.Header.Get("Docker-Content-Digest"); a.Status != http.StatusOK || got != l.tags[tag] {
			t.Errorf("after kill %d: %s was acknowledged as %s, and is %d %s", round, tag, l.tags[tag], a.Status, got)
		}
	}
	for tag, may := range l.moving {
		a := repo.Do(t, http.MethodHead, repo.Path("/manifests/"+tag), nil)
		if got := a.Header.Get("Docker-Content-Digest"); a.Status != http.StatusOK || got != may[0] && (len(may) < 2 || got != may[1]) {
			t.Errorf("after kill %d: moving tag %s is %d %s, want one of %v (acknowledged, requested)", round, tag, a.Status, got, may)
		}
	}
	// Images without a tag are checked too: children of the index, and images of pushes that were not
	// acknowledged.
	in := &ecr.ListImagesInput{RepositoryName: aws.String("team/app"), MaxResults: aws.Int32(1000)}
	for pages := ecr.NewListImagesPaginator(root.ECR(), in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		// In about one of some hundred starts, the client closed a connection that it was reading, after the
		// server's 200. The request is repeated only then, since it only reads content that must exist at any
		// time; it is not repeated after an error response of the server.
		for try := 0; try < 3 && err != nil && !isAnswer(err); try++ {
			t.Logf("after kill %d, listing again: %v", round, err)
			page, err = pages.NextPage(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range page.ImageIds {
			if id.ImageTag == nil {
				if err := repo.Verify(ctx, aws.ToString(id.ImageDigest)); err != nil {
					t.Errorf("after kill %d: an image without tag: %v", round, err)
				}
			}
		}
	}
	for location, u := range l.uploads {
		if u.resume(ctx, t, repo, location) {
			resumed++
		}
	}
	l.fresh, l.moving, l.uploads = nil, map[string][]string{}, map[string]*upload{}
	return resumed
}

// isAnswer distinguishes an error response of the server from an error of the connection.
func isAnswer(err error) bool {
	var answer smithy.APIError
	return errors.As(err, &answer)
}

// resume continues an upload at the offset that the server returns, which is not below the acknowledged one.
func (u *upload) resume(ctx context.Context, t *testing.T, repo ocitest.Repo, location string) bool {
	a := repo.Do(t, http.MethodGet, location, nil)
	if a.Status == http.StatusNotFound && u.closing {
		return false // it was completed, but the response was lost
	}
	var last int
	if _, err := fmt.Sscanf(a.Header.Get("Range"), "0-%d", &last); err != nil || a.Status != http.StatusNoContent {
		t.Errorf("upload %s with %d acknowledged bytes: %d %s %s", location, u.acked, a.Status, a.Header.Get("Range"), a.Body)
		return false
	}
	at := last + 1
	if last == 0 && u.acked == 0 {
		at = 0
	}
	if at < u.acked || at > u.sent {
		t.Errorf("upload %s is at %d: %d bytes were acknowledged and %d sent", location, at, u.acked, u.sent)
		return false
	}
	d := ocitest.SHA256(u.content)
	a, err := repo.Try(ctx, http.MethodPut, location+"?digest="+d, strings.NewReader(string(u.content[at:])),
		"Content-Range", fmt.Sprintf("%d-%d", at, len(u.content)-1))
	if err == nil && a.Status == http.StatusNotFound && u.closing {
		// Its bytes are a blob already, but the holding is not recorded: the upload is unknown, and the client
		// starts again.
		repo.Do(t, http.MethodGet, location, nil).WantError(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
		repo.PutBlob(t, u.content)
		return false
	}
	if err != nil || a.Status != http.StatusCreated {
		t.Errorf("upload %s, continued at %d of %d: %+v, %v", location, at, len(u.content), a, err)
		return false
	}
	if got := repo.Blob(t, d); got.Status != http.StatusOK || ocitest.SHA256(got.Body) != d {
		t.Errorf("upload %s, after continuing at %d: the blob has other bytes", location, at)
	}
	return true
}
