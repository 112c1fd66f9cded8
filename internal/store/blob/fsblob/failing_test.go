package fsblob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// ErrInjected is in the chain of every injected error.
var ErrInjected = errors.New("injected fault")

// Fault says how one call to the file system fails.
type Fault int

// The faults.
const (
	Before Fault = iota // the call fails without effect; the error says that the disk is full
	Half                // the same, but half of the bytes are read or written
	After               // the call takes effect, then fails; the error says that the disk has failed
	Faults              // the number of faults
)

// Calls are the calls of one Store to the file system. One of them fails if Fail was called.
type Calls struct {
	Meanwhile func(call string) // called before each call, without an argument of it; may be nil

	mu     sync.Mutex
	until  int // number of calls until one fails; 0 for none
	fault  Fault
	made   []string
	failed string // the call that failed
	files  []*os.File
}

// Fail lets the nth call from now on fail. The first is 1.
func (c *Calls) Fail(n int, f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.fault, c.made, c.failed = n, f, nil, ""
}

// Made returns the names of the calls since Fail, and of the one that failed.
func (c *Calls) Made() (all []string, failed string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made, c.failed
}

// Open returns the names of the files that the Store has opened and nobody has closed.
func (c *Calls) Open() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.files {
		if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
			names = append(names, f.Name())
		}
	}
	return names
}

// next returns how the call that begins now fails. make says what part of it takes effect: 0, half or all.
func (c *Calls) next(name string) (part float64, err error) {
	if c.Meanwhile != nil {
		c.Meanwhile(name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = append(c.made, name)
	if c.until == 0 || len(c.made) != c.until {
		return 1, nil
	}
	c.failed = name
	switch c.fault {
	case Before:
		return 0, fmt.Errorf("%s: %w: %w", name, ErrInjected, syscall.ENOSPC)
	case Half:
		return 0.5, fmt.Errorf("%s: %w: %w", name, ErrInjected, syscall.ENOSPC)
	default:
		return 1, fmt.Errorf("%s: %w: %w", name, ErrInjected, syscall.EIO)
	}
}

func (c *Calls) do(name string, call func() error) error {
	part, err := c.next(name)
	if part < 1 {
		return err
	}
	return errors.Join(call(), err)
}

func get[V any](c *Calls, name string, call func() (V, error)) (v V, err error) {
	if err = c.do(name, func() (err error) { v, err = call(); return err }); errors.Is(err, ErrInjected) {
		var none V
		return none, err
	}
	return v, err
}

func (c *Calls) open(name string, call func() (*os.File, error)) (*os.File, error) {
	var f *os.File
	err := c.do(name, func() (err error) { f, err = call(); return err })
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files = append(c.files, f)
	return f, nil
}

func (c *Calls) transfer(name string, b []byte, call func([]byte) (int, error)) (n int, err error) {
	part, fault := c.next(name)
	if part > 0 {
		n, err = call(b[:int(part*float64(len(b)))])
	}
	if fault != nil {
		err = fault
	}
	return n, err
}

// OpenFailing opens a Store with the given calls.
func OpenFailing(dir string, c *Calls) (*Store, error) {
	y := newSystem()
	path := func(name string, call func(string) error) func(string) error {
		return func(path string) error { return c.do(name, func() error { return call(path) }) }
	}
	file := func(name string, call func(*os.File) error) func(*os.File) error {
		return func(f *os.File) error { return c.do(name, func() error { return call(f) }) }
	}
	pair := func(name string, call func(from, to string) error) func(from, to string) error {
		return func(from, to string) error { return c.do(name, func() error { return call(from, to) }) }
	}
	info := func(name string, call func(string) (fs.FileInfo, error)) func(string) (fs.FileInfo, error) {
		return func(path string) (fs.FileInfo, error) {
			return get(c, name, func() (fs.FileInfo, error) { return call(path) })
		}
	}
	return open(dir, system{
		openRead: func(path string) (*os.File, error) {
			return c.open("openRead", func() (*os.File, error) { return y.openRead(path) })
		},
		openFile: func(path string, flags int, perm fs.FileMode) (*os.File, error) {
			return c.open("openFile", func() (*os.File, error) { return y.openFile(path, flags, perm) })
		},
		tryLock: file("tryLock", y.tryLock),
		fstat: func(f *os.File) (fs.FileInfo, error) {
			return get(c, "fstat", func() (fs.FileInfo, error) { return y.fstat(f) })
		},
		stat:  info("stat", y.stat),
		lstat: info("lstat", y.lstat),
		readDir: func(path string) ([]fs.DirEntry, error) {
			return get(c, "readDir", func() ([]fs.DirEntry, error) { return y.readDir(path) })
		},
		entryInfo: func(e fs.DirEntry) (fs.FileInfo, error) {
			return get(c, "entryInfo", func() (fs.FileInfo, error) { return y.entryInfo(e) })
		},
		readAt: func(f *os.File, b []byte, off int64) (int, error) {
			return c.transfer("readAt", b, func(b []byte) (int, error) { return y.readAt(f, b, off) })
		},
		writeAt: func(f *os.File, b []byte, off int64) (int, error) {
			return c.transfer("writeAt", b, func(b []byte) (int, error) { return y.writeAt(f, b, off) })
		},
		truncate: func(f *os.File, size int64) error {
			return c.do("truncate", func() error { return y.truncate(f, size) })
		},
		chtimes: func(path string, atime, mtime time.Time) error {
			return c.do("chtimes", func() error { return y.chtimes(path, atime, mtime) })
		},
		syncData: file("syncData", y.syncData),
		syncDir:  path("syncDir", y.syncDir),
		mkdirAll: func(path string, perm fs.FileMode) error {
			return c.do("mkdirAll", func() error { return y.mkdirAll(path, perm) })
		},
		link:          pair("link", y.link),
		rename:        pair("rename", y.rename),
		renameDurably: pair("renameDurably", y.renameDurably),
		remove:        path("remove", y.remove),
	})
}
