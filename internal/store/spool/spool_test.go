package spool_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/spool"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func open(t *testing.T, files int, size int64) *spool.Spool {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{MaxFiles: files, MaxBytes: size})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// create makes a file with n bytes; ended tells later whether it was given up.
func create(t *testing.T, s *spool.Spool, owner string, n int) (f *spool.File, ended *bool) {
	t.Helper()
	ended = new(bool)
	f, err := s.Create(owner, func() { *ended = true })
	if err == nil {
		_, err = f.Write(make([]byte, n))
	}
	if err != nil {
		t.Fatalf("a file of %s with %d bytes: %v", owner, n, err)
	}
	return f, ended
}

func TestBytesComeBackAndNoNameIsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left := filepath.Join(dir, "spool-killed")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(dir, spool.Options{MaxFiles: 1, MaxBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Create("a", func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := []byte("some bytes and some more")
	for _, part := range [][]byte{want[:10], want[10:]} {
		if _, err := f.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	r, err := f.Reader()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) || f.Size() != int64(len(want)) {
		t.Errorf("got %q, %v, size %d; want %q", got, err, f.Size(), want)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("names in the folder: got %v, %v; want none", entries, err)
	}
}

// The file that has received the fewest bytes per second is given up, not the one that has just begun.
func TestTheSlowestIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, 3, 1000)
		fast, fastEnded := create(t, s, "a", 100)
		slow, slowEnded := create(t, s, "a", 10)
		time.Sleep(10 * time.Second)
		young, youngEnded := create(t, s, "a", 0)
		next, nextEnded := create(t, s, "a", 1)
		if !*slowEnded || *fastEnded || *youngEnded || *nextEnded {
			t.Errorf("given up: slow %v, fast %v, young %v, next %v; want the slow one alone", *slowEnded, *fastEnded, *youngEnded, *nextEnded)
		}
		if _, err := slow.Write([]byte("x")); !errors.Is(err, fault.RequestTimeout) {
			t.Errorf("a write to the file that was given up: got %v, want RequestTimeout", err)
		}
		for _, f := range []*spool.File{fast, slow, young, next} {
			f.Close()
			f.Close()
		}
	})
}

// Whoever has most of the files loses one, also if they are faster.
func TestTheOwnerOfMostFilesLosesOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, 4, 1000)
		honest, honestEnded := create(t, s, "honest", 1)
		var ended []*bool
		for range 3 {
			f, e := create(t, s, "attacker", 100)
			defer f.Close()
			ended = append(ended, e)
		}
		time.Sleep(10 * time.Second)
		f, _ := create(t, s, "attacker", 1)
		defer f.Close()
		other, _ := create(t, s, "honest", 1)
		defer other.Close()
		n := 0
		for _, e := range ended {
			if *e {
				n++
			}
		}
		if *honestEnded || n != 2 {
			t.Errorf("given up: honest %v, %d of the attacker; want 2 of the attacker alone", *honestEnded, n)
		}
		honest.Close()
	})
}

// The budget counts bytes too. A file that is being read is not given up, one that waits for its turn only as the last.
func TestFilesInUseAreKept(t *testing.T) {
	t.Parallel()
	s := open(t, 10, 100)
	read, readEnded := create(t, s, "a", 40)
	defer read.Close()
	waits, _ := create(t, s, "a", 40)
	defer waits.Close()
	waitsEnded := false
	if err := errors.Join(read.Take(), waits.Await(func() { waitsEnded = true })); err != nil {
		t.Fatal(err)
	}
	arrives, arrivesEnded := create(t, s, "b", 20)
	defer arrives.Close()
	more, _ := create(t, s, "c", 20)
	defer more.Close()
	if !*arrivesEnded || waitsEnded || *readEnded {
		t.Fatalf("given up: arriving %v, waiting %v, read %v; want the arriving one alone", *arrivesEnded, waitsEnded, *readEnded)
	}
	if _, err := more.Write(make([]byte, 40)); err != nil || !waitsEnded || *readEnded {
		t.Errorf("40 bytes more: %v; given up: waiting %v, read %v; want the waiting one", err, waitsEnded, *readEnded)
	}
	if err := waits.Take(); !errors.Is(err, fault.RequestTimeout) {
		t.Errorf("Take of the file that was given up: got %v, want RequestTimeout", err)
	}
	if _, err := more.Write(make([]byte, 1)); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a byte beyond the budget with nothing to give up: got %v, want Unavailable", err)
	}
}
