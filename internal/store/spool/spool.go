// Package spool keeps bytes that are too many for memory in temporary files without a name: bodies of requests before they are
// verified, and answers. A spool has a budget. When it is used up, a file whose bytes still arrive is given up for a new one.
package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Spool is a folder of temporary files. It is safe for concurrent use.
type Spool struct {
	dir      string
	maxFiles int
	maxBytes int64

	mu    sync.Mutex
	files map[*File]bool
	used  int64 // bytes of all files
}

// Options holds the budget of a spool: how many files it has at once, and how many bytes they have together.
type Options struct {
	MaxFiles int
	MaxBytes int64
}

// Open opens a spool in a folder, which it creates if it does not exist. It removes what a killed process has left there.
func Open(dir string, o Options) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for temporary files: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "spool-*"))
	if err != nil {
		return nil, fmt.Errorf("listing old temporary files: %w", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("removing an old temporary file: %w", err)
		}
	}
	return &Spool{dir: dir, maxFiles: o.MaxFiles, maxBytes: o.MaxBytes, files: map[*File]bool{}}, nil
}

// state is how far the use of a file has come.
type state uint8

const (
	arriving state = iota // its bytes arrive; it is the first to be given up
	waiting               // it is complete and waits for its turn; it is given up if no file is arriving
	taken                 // it is being read, and is not given up
	ended                 // it was given up, or closed
)

// File is a temporary file. It has no name in the folder, so nothing is left of it when the process ends. Its methods are called
// from one goroutine.
type File struct {
	spool *Spool
	file  *os.File
	owner string
	begun time.Time

	// guarded by spool.mu
	state state
	size  int64
	end   func()
}

// Create makes an empty file whose bytes are about to arrive. owner is on whose account the file is; if the budget is used up, a
// file of the owner with the most files is given up, the one that has received the fewest bytes per second. end is called, from
// another goroutine, when this file is given up, and must make its user call Close soon.
//
// Errors: fault.Unavailable (the budget is used up by files that are not given up, or the disk is full).
func (s *Spool) Create(owner string, end func()) (*File, error) {
	f, err := os.CreateTemp(s.dir, "spool-*")
	if err != nil {
		return nil, failed("making a temporary file", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, failed("making a temporary file", err)
	}
	n := &File{spool: s, file: f, owner: owner, begun: time.Now(), end: end}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.makeRoom(n, 1, 0); err != nil {
		f.Close()
		return nil, err
	}
	s.files[n] = true
	return n, nil
}

// makeRoom gives files other than n up until the spool has room. s.mu is held.
func (s *Spool) makeRoom(n *File, files int, bytes int64) error {
	for len(s.files)+files > s.maxFiles || s.used+bytes > s.maxBytes {
		victim := s.victim(n)
		if victim == nil {
			return fault.Unavailable.New("too many large requests are under way")
		}
		s.drop(victim)
		// The bytes are freed now; the user of the file may take a moment until it closes the file.
		_ = victim.file.Truncate(0)
		victim.end()
	}
	return nil
}

// victim returns the file to give up in favour of n, or nil.
func (s *Spool) victim(n *File) *File {
	owned := map[string]int{n.owner: 1}
	var all []*File
	for f := range s.files {
		owned[f.owner]++
		if f != n && f.state < taken {
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return nil
	}
	now := time.Now()
	return slices.MinFunc(all, func(a, b *File) int {
		return cmp.Or(
			cmp.Compare(a.state, b.state),
			cmp.Compare(owned[b.owner], owned[a.owner]),
			cmp.Compare(a.rate(now), b.rate(now)),
			a.begun.Compare(b.begun))
	})
}

// minAge is the age up to which a file has no rate yet: a file that has just begun is not the slowest.
const minAge = time.Second

// rate returns the bytes per second since the file began.
func (f *File) rate(now time.Time) float64 {
	age := now.Sub(f.begun)
	if age < minAge {
		return 1 << 62
	}
	return float64(f.size) / age.Seconds()
}

// drop takes a file out of the budget. s.mu is held.
func (s *Spool) drop(f *File) {
	if s.files[f] {
		delete(s.files, f)
		s.used -= f.size
	}
	f.state = ended
}

// Write appends bytes.
//
// Errors: fault.RequestTimeout (the file was given up for others), fault.Unavailable (as of Create).
func (f *File) Write(p []byte) (int, error) {
	s := f.spool
	s.mu.Lock()
	err := f.grow(int64(len(p)))
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := f.file.Write(p)
	if err != nil {
		return n, failed("writing a temporary file", err)
	}
	return n, nil
}

func (f *File) grow(n int64) error {
	if f.state == ended {
		return f.givenUp()
	}
	if err := f.spool.makeRoom(f, 0, n); err != nil {
		return err
	}
	f.size += n
	f.spool.used += n
	return nil
}

func (f *File) givenUp() error {
	return fault.RequestTimeout.New("the request was ended because it was the slowest of too many large ones")
}

// Await says that all bytes have arrived and that the file waits for its turn. end replaces that of Create.
//
// Errors: fault.RequestTimeout (the file was given up for others).
func (f *File) Await(end func()) error { return f.become(waiting, end) }

// Take says that the file is about to be read, and that it is not to be given up any more.
//
// Errors: fault.RequestTimeout (the file was given up for others).
func (f *File) Take() error { return f.become(taken, nil) }

func (f *File) become(to state, end func()) error {
	f.spool.mu.Lock()
	defer f.spool.mu.Unlock()
	if f.state == ended {
		return f.givenUp()
	}
	f.state, f.end = to, end
	return nil
}

// Size returns the number of bytes.
func (f *File) Size() int64 {
	f.spool.mu.Lock()
	defer f.spool.mu.Unlock()
	return f.size
}

// Reader returns a reader of all bytes. It is an *os.File, so that the kernel can send it.
func (f *File) Reader() (io.ReadSeeker, error) {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading a temporary file: %w", err)
	}
	return f.file, nil
}

// Close frees the file. Further calls do nothing.
func (f *File) Close() {
	f.spool.mu.Lock()
	f.spool.drop(f)
	f.spool.mu.Unlock()
	f.file.Close()
}

func failed(doing string, err error) error {
	if durable.IsFull(err) {
		return fault.Unavailable.New("the registry's disk is full: nothing of this request was stored").Because(fmt.Errorf("%s: %w", doing, err))
	}
	if errors.Is(err, os.ErrClosed) {
		return fault.Unavailable.New("the request was ended").Because(err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
