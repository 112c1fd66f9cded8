package durable

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CreateFile creates the file at path with the content data, durably. Unlike WriteFile it never replaces a file: of several
// concurrent calls for one path, one creates the file and the others return an error. Readers see the whole content or no file.
//
// Errors: fs.ErrExist if there is a file at path; the existing file is not changed.
func CreateFile(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, os.Link)
}

// place writes data to a temporary file beside path, and lets give give the file its name. Afterwards there is no temporary file.
func place(path string, data []byte, perm fs.FileMode, give func(from, to string) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		os.Remove(f.Name()) // after a rename there is no such file
		if err != nil {
			f.Close()
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil { // not SyncData: the mode must be there too
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := give(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}
