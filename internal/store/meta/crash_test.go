package meta_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

func init() { helpers["crash"] = crashHelper }

// note is what the child reports about a tag: that it is about to move the tag, or that the move was acknowledged.
type note struct {
	Tag    string
	Digest string // the new image of the tag; "" for a removal
	Acked  bool
}

const crashWriters = 4

var crashRepo = name.MustRepo("team/app")

// crashHelper moves tags from several goroutines, each its own tags, until it is killed.
func crashHelper(dir string) {
	ctx := context.Background()
	s, err := meta.OpenSQLite(ctx, dir, time.Now)
	if err != nil {
		fatal(err)
	}
	r, err := crashRepository(ctx, s)
	if err != nil {
		fatal(err)
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(n note) {
		mu.Lock()
		defer mu.Unlock()
		if out.Encode(n) != nil {
			os.Exit(0) // the test has ended
		}
	}
	var wg sync.WaitGroup
	for writer := range crashWriters {
		wg.Go(func() {
			random := seedtest.New(seedtest.OfParent(), uint64(writer))
			for {
				if err := moveSomeTag(ctx, s, r, random, writer, say); err != nil {
					fatal(err)
				}
			}
		})
	}
	wg.Wait()
}

func crashRepository(ctx context.Context, s *meta.Store) (meta.Repository, error) {
	err := s.CreateAccount(ctx, meta.Account{ID: metatest.Account}, metatest.Key(metatest.Account, "AKIA"))
	if err != nil && !errors.Is(err, fault.AccountAlreadyExists) {
		return meta.Repository{}, err
	}
	r, err := s.CreateRepository(ctx, meta.Repository{Registry: metatest.Registry, Name: crashRepo,
		Mutability: meta.Mutability{Mode: meta.Mutable}}, nil)
	if errors.Is(err, fault.RepositoryAlreadyExists) {
		return s.Repository(ctx, metatest.Registry, crashRepo)
	}
	return r, err
}

func moveSomeTag(ctx context.Context, s *meta.Store, r meta.Repository, random *rand.Rand, writer int, say func(note)) error {
	tag := fmt.Sprintf("w%d-%d", writer, random.IntN(3))
	last := random.IntN(2) == 0
	n := note{Tag: tag}
	var move func() error
	switch random.IntN(4) {
	case 0:
		move = func() error {
			_, err := s.DeleteTag(ctx, r, metatest.Tag(tag).Tag, name.Digest{}, last, metatest.Principal)
			if errors.Is(err, fault.ImageNotFound) {
				err = nil
			}
			return err
		}
	default:
		config := fmt.Sprintf("config %d %d", writer, random.IntN(20))
		p := metatest.As(metatest.ImageOf(config), tag)
		n.Digest = p.Digest.String()
		move = func() error {
			if _, err := s.AddBlob(ctx, r, blob.Info{Digest: metatest.Digest(config), Size: int64(len(config))}, ""); err != nil {
				return err
			}
			return s.PutImage(ctx, r, p)
		}
	}
	say(n)
	if err := move(); err != nil {
		return fmt.Errorf("%+v: %w", n, err)
	}
	n.Acked = true
	say(n)
	return nil
}

// A process that is killed at any moment has stored all acknowledged changes, and no part of any other. The next
// process continues from there.
func TestCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rounds := 3
	if slowtest.Enabled() {
		rounds = 50
	}
	acked, tried := map[string]string{}, map[string]string{} // by tag; a tag is in tried from the first note of a move to the second
	seed := seedtest.Seed(t)
	random := seedtest.New(seed, 100)
	for round := range rounds {
		cmd := helper(t, "crash", dir)
		cmd.Env = append(cmd.Env, seedtest.Environment(seed+uint64(round)))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		limit, acks := random.IntN(150), 0
		if slowtest.Enabled() && round%5 == 0 { // at a random time of the start
			time.AfterFunc(time.Duration(random.IntN(40))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		} else if limit == 0 {
			limit = 1
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n note
			if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
				t.Fatalf("the child said %q: %v", lines.Text(), err)
			}
			if !n.Acked {
				tried[n.Tag] = n.Digest
				continue
			}
			acked[n.Tag] = n.Digest
			delete(tried, n.Tag)
			if acks++; acks == limit {
				_ = cmd.Process.Kill() // its output until then is still read
			}
		}
		_ = cmd.Wait()
		checkAfterCrash(t, dir, round, acked, tried)
		if t.Failed() {
			return
		}
	}
}

func checkAfterCrash(t *testing.T, dir string, round int, acked, tried map[string]string) {
	t.Helper()
	s, err := meta.OpenSQLite(t.Context(), dir, time.Now)
	if err != nil {
		t.Fatalf("round %d: opening after the crash: %v", round, err)
	}
	defer s.Close()
	if err := sound(t.Context(), s); err != nil {
		t.Errorf("round %d: %v", round, err)
	}
	r, err := crashRepository(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for writer := range crashWriters {
		for i := range 3 {
			tag := fmt.Sprintf("w%d-%d", writer, i)
			h, err := s.Head(t.Context(), r.ID, metatest.Tag(tag))
			if err != nil && !errors.Is(err, fault.ImageNotFound) {
				t.Fatal(err)
			}
			got := h.Digest.String()
			other, wasTried := tried[tag]
			if got != acked[tag] && (!wasTried || got != other) {
				t.Errorf("round %d: %s got %q, want %q, which was acknowledged, or %q, which was in progress (%t)", round, tag, got,
					acked[tag], other, wasTried)
			}
			acked[tag] = got
			delete(tried, tag)
		}
	}
}
