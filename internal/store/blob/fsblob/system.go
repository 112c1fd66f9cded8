package fsblob

import (
	"io/fs"
	"os"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// system has the calls to the file system that a Store makes and that may fail. Each Store has its own, so that a test can
// make one call of one Store fail. Closing and unlocking are not among them: their errors are of no consequence.
type system struct {
	openRead      func(path string) (*os.File, error)
	openFile      func(path string, flags int, perm fs.FileMode) (*os.File, error)
	tryLock       func(*os.File) error
	fstat         func(*os.File) (fs.FileInfo, error)
	stat          func(path string) (fs.FileInfo, error)
	lstat         func(path string) (fs.FileInfo, error)
	readDir       func(path string) ([]fs.DirEntry, error)
	entryInfo     func(fs.DirEntry) (fs.FileInfo, error)
	readAt        func(f *os.File, b []byte, off int64) (int, error)
	writeAt       func(f *os.File, b []byte, off int64) (int, error)
	truncate      func(f *os.File, size int64) error
	chtimes       func(path string, atime, mtime time.Time) error
	syncData      func(*os.File) error
	syncDir       func(path string) error
	mkdirAll      func(path string, perm fs.FileMode) error
	link          func(from, to string) error
	rename        func(from, to string) error
	renameDurably func(from, to string) error
	remove        func(path string) error
}

// newSystem returns the calls of packages os and durable.
func newSystem() system {
	return system{
		openRead:      openRead,
		openFile:      os.OpenFile,
		tryLock:       durable.TryLock,
		fstat:         (*os.File).Stat,
		stat:          os.Stat,
		lstat:         os.Lstat,
		readDir:       os.ReadDir,
		entryInfo:     fs.DirEntry.Info,
		readAt:        (*os.File).ReadAt,
		writeAt:       (*os.File).WriteAt,
		truncate:      (*os.File).Truncate,
		chtimes:       os.Chtimes,
		syncData:      durable.SyncData,
		syncDir:       durable.SyncDir,
		mkdirAll:      durable.MkdirAll,
		link:          os.Link,
		rename:        os.Rename,
		renameDurably: durable.Rename,
		remove:        os.Remove,
	}
}
