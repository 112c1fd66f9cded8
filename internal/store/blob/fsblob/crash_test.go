package fsblob_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/blobtest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// helperEnv names the role of a child process of the tests; helperDir is the directory of its store.
const (
	helperEnv = "FSBLOB_TEST_HELPER"
	helperDir = "FSBLOB_TEST_DIR"
)

// helpers maps the role of a child process to its function.
var helpers = map[string]func(){"crash": crashHelper}

func TestMain(m *testing.M) {
	if role := os.Getenv(helperEnv); role != "" {
		helpers[role]()
		return
	}
	os.Exit(m.Run())
}

// helper returns the command that runs this test binary as a child process in the given role.
func helper(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+role, helperDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// acked is what the child process writes to its output after a call has returned nil.
type acked struct {
	Blob   string      `json:",omitempty"`
	Upload blob.Upload // with Seed, the upload can be continued
	Seed   uint64
}

// sizeOf returns a size between one byte and 3 MB that depends on seed.
func sizeOf(seed uint64) int { return 1 + int(seed*2_654_435_761%3_000_000) }

// crashHelper pushes blobs from several goroutines, in chunks, until it is killed.
func crashHelper() {
	s, err := openErr(os.Getenv(helperDir))
	if err != nil {
		fatal(err)
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(a acked) {
		mu.Lock()
		defer mu.Unlock()
		if err := out.Encode(a); err != nil {
			os.Exit(0) // the test has ended
		}
	}
	var wg sync.WaitGroup
	for n := range uint64(4) {
		wg.Go(func() {
			random := seedtest.New(seedtest.OfParent(), n)
			for {
				if err := pushInChunks(s, random.Uint64N(60_000), say); err != nil {
					fatal(err)
				}
			}
		})
	}
	wg.Wait()
}

func pushInChunks(s blob.Store, seed uint64, say func(acked)) error {
	data := blobtest.Bytes(seed, sizeOf(seed))
	u, err := s.Begin(ctx, name.SHA256)
	if err != nil {
		return err
	}
	for range seed % 3 {
		n := int64(len(data)) / 4
		if u, err = s.Append(ctx, u, bytes.NewReader(data[u.Size:u.Size+n]), -1); err != nil {
			return err
		}
		say(acked{Upload: u, Seed: seed})
	}
	d := blobtest.SHA256(data)
	if _, err := s.Commit(ctx, u, bytes.NewReader(data[u.Size:]), -1, d); err != nil {
		return err
	}
	say(acked{Blob: d.String(), Upload: u, Seed: seed})
	return nil
}

// A child process is killed at a random moment, again and again over one directory. Afterwards each file under
// a digest has that digest, each acknowledged blob is there, and each acknowledged upload can be continued.
func TestCrash(t *testing.T) {
	t.Parallel()
	rounds := slowtest.Rounds(2, 8)
	if testing.Short() {
		rounds = 2
	}
	dir := t.TempDir()
	blobs := map[string]bool{}
	resumed := 0
	random := seedtest.New(seedtest.Seed(t), 0)
	// On a busy machine the child may be killed before it has begun an upload: then there are some more rounds.
	for round := 0; round < rounds || round < 10*rounds && (len(blobs) == 0 || resumed == 0); round++ {
		open := map[string]acked{} // by upload
		for _, a := range runAndKill(t, dir, random) {
			if a.Blob != "" {
				blobs[a.Blob] = true
				delete(open, a.Upload.ID)
			} else {
				open[a.Upload.ID] = a
			}
		}
		s := mustOpen(t, dir)
		found := verifyAll(t, s)
		for b := range blobs {
			if !slices.Contains(found, b) {
				t.Errorf("round %d: %s was acknowledged and is not there", round, b)
			}
		}
		for _, a := range open {
			resumed += resume(t, s, a, blobs)
		}
		for id, err := range s.Stale(ctx, time.Now().Add(time.Hour)) {
			if err == nil {
				err = s.Abort(ctx, blob.Upload{ID: id})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(blobs) == 0 || resumed == 0 {
		t.Errorf("in %d rounds: got %d acknowledged blobs and %d continued uploads, want some of both", rounds, len(blobs), resumed)
	}
	t.Logf("%d rounds: %d acknowledged blobs, %d continued uploads", rounds, len(blobs), resumed)
}

// resume completes an upload that the killed child process had acknowledged. The child may have committed the
// upload without having reported it; then the blob is there.
func resume(t *testing.T, s blob.Store, a acked, blobs map[string]bool) int {
	t.Helper()
	data := blobtest.Bytes(a.Seed, sizeOf(a.Seed))
	d := blobtest.SHA256(data)
	_, err := s.Commit(ctx, a.Upload, bytes.NewReader(data[a.Upload.Size:]), -1, d)
	if err != nil {
		if _, statErr := s.Stat(ctx, d); statErr != nil {
			t.Errorf("upload %s with %d acknowledged bytes: Commit: %v, and the blob: %v", a.Upload.ID, a.Upload.Size, err, statErr)
		}
		return 0
	}
	blobs[d.String()] = true
	return 1
}

// runAndKill runs a child process until it is killed, and returns what it has acknowledged.
func runAndKill(t *testing.T, dir string, random *rand.Rand) (all []acked) {
	t.Helper()
	cmd := helper(t, "crash", dir)
	cmd.Env = append(cmd.Env, seedtest.Environment(random.Uint64()))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for stop := 1 + random.IntN(30); lines.Scan(); { // by the number of results, not by time, so that a slow machine has results too
		var a acked
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			break // the last line may be cut
		}
		if all = append(all, a); len(all) == stop {
			time.AfterFunc(time.Duration(random.IntN(4000))*time.Microsecond, func() { cmd.Process.Kill() })
		}
	}
	cmd.Process.Kill() // also when the output ended early
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended with %v, want killed", err)
	}
	return all
}

// verifyAll reads every blob and returns the digests.
func verifyAll(t *testing.T, s blob.Store) (all []string) {
	t.Helper()
	for info, err := range s.List(ctx, name.Digest{}) {
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := s.Open(ctx, info.Digest)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		r.Close()
		if got := blobtest.SHA256(data); err != nil || got != info.Digest || int64(len(data)) != info.Size {
			t.Errorf("blob %s of %d bytes: got %d bytes with digest %s, %v", info.Digest, info.Size, len(data), got, err)
		}
		all = append(all, info.Digest.String())
	}
	return all
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "fsblob test helper:", err)
	os.Exit(2)
}
