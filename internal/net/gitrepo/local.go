package gitrepo

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// local is a bare repository of this machine.
type local struct {
	at    Location
	store *filesystem.Storage
}

// lockSuffix is what the names of the files end with under which git changes a branch; go-git lists them as branches.
const lockSuffix = ".lock"

// maxCache limits the objects of a local repository that are kept in memory, in bytes.
const maxCache = 1 << 20

func openLocal(at Location) (*local, error) {
	for _, part := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(at.Path, part)); err != nil || !info.IsDir() {
			return nil, fail(Missing, err, "there is no bare repository at the path that the server may read: git init --bare makes one")
		}
	}
	if _, err := os.Stat(filepath.Join(at.Path, "reftable")); err == nil {
		return nil, fail(Invalid, nil, "the repository keeps its branches in the format reftable, which is not read")
	}
	return &local{at, filesystem.NewStorage(osfs.New(at.Path, osfs.WithBoundOS()), cache.NewObjectLRU(maxCache))}, nil
}

// head returns the last commit of the branch, zero for a repository without commits.
func (l *local) head() (plumbing.Hash, error) {
	ref, err := l.store.Reference(l.at.branch())
	switch {
	case err == nil && ref.Type() == plumbing.HashReference:
		return ref.Hash(), nil
	case err == nil:
		return plumbing.ZeroHash, fail(Invalid, nil, "the branch %s is a symbolic reference", l.at.Branch)
	case !errors.Is(err, plumbing.ErrReferenceNotFound):
		return plumbing.ZeroHash, fail(Away, err, "the branches of the repository cannot be read")
	}
	all, err := l.branches()
	if err == nil && len(all) > 0 {
		err = l.at.noBranch()
	}
	return plumbing.ZeroHash, err
}

// branches returns the names of the branches in their order.
func (l *local) branches() (names []string, err error) {
	all, err := l.store.IterReferences()
	if err != nil {
		return nil, fail(Away, err, "the branches of the repository cannot be read")
	}
	defer all.Close()
	for {
		ref, err := all.Next()
		if err != nil {
			slices.Sort(names)
			return names, nil
		}
		if ref.Name().IsBranch() && !strings.HasSuffix(ref.Name().String(), lockSuffix) {
			names = append(names, printable(ref.Name().Short()))
		}
	}
}

func fetchLocal(at Location) (*Tree, error) {
	l, err := openLocal(at)
	if err != nil {
		return nil, err
	}
	head, err := l.head()
	if err != nil {
		return nil, err
	}
	t := &Tree{head: head, objects: l.store, read: map[plumbing.Hash][]entry{}}
	if !head.IsZero() {
		t.root, err = rootOf(l.store, head)
	}
	return t, err
}

// rootOf returns the tree of a commit.
func rootOf(from trees, commit plumbing.Hash) (plumbing.Hash, error) {
	o, err := from.EncodedObject(plumbing.CommitObject, commit)
	if err != nil {
		return plumbing.ZeroHash, fail(Invalid, err, "the repository has no commit %s", commit)
	}
	b, err := readAll(o, maxTree)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	id, ok := bytes.CutPrefix(line, []byte("tree "))
	if !ok || !plumbing.IsHash(string(id)) {
		return plumbing.ZeroHash, fail(Invalid, nil, "the commit %s of the repository has no tree", commit)
	}
	return plumbing.NewHash(string(id)), nil
}

// The modes of the files of a repository, as git makes them; the mask of the process applies.
const (
	objectMode = 0o444
	refMode    = 0o666
	folderMode = 0o777
)

// pushLocal stores the objects of a commit durably, and then moves the branch, as git does: it makes the file BRANCH.lock, which no other
// program then makes, compares, and renames. Hooks are programs, and are not run.
func pushLocal(at Location, from plumbing.Hash, m made) error {
	l, err := openLocal(at)
	if err != nil {
		return err
	}
	for _, o := range m.objects {
		if err := l.put(o); err != nil {
			return fail(Away, err, "the repository cannot be written")
		}
	}
	path := filepath.Join(at.Path, filepath.FromSlash(at.branch().String()))
	if err := durable.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return fail(Away, err, "the repository cannot be written")
	}
	lock, err := os.OpenFile(path+lockSuffix, os.O_CREATE|os.O_EXCL|os.O_WRONLY, refMode)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fail(Diverged, err, "another program changes the branch %s: if none runs, remove its .lock file", at.Branch)
		}
		return fail(Away, err, "the repository cannot be written")
	}
	moved := false
	defer func() {
		if !moved {
			_ = os.Remove(path + lockSuffix) // the error of the push is returned
		}
	}()
	_, err = fmt.Fprintln(lock, m.id)
	if err == nil {
		err = lock.Sync()
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		return fail(Away, err, "the repository cannot be written")
	}
	now, err := l.head()
	switch {
	case err != nil:
		return err
	case now != from:
		return fail(Diverged, nil, "another push has changed the branch %s", at.Branch)
	}
	if err := durable.Rename(path+lockSuffix, path); err != nil {
		return fail(Away, err, "the repository cannot be written")
	}
	moved = true
	return nil
}

// put stores an object as a file, unless it is stored.
func (l *local) put(o object) error {
	id := o.id.String()
	folder := filepath.Join(l.at.Path, "objects", id[:2])
	if l.store.HasEncodedObject(o.id) == nil {
		return nil
	}
	var file bytes.Buffer
	z := zlib.NewWriter(&file)
	_, err := fmt.Fprintf(z, "%s %d\x00", o.kind, len(o.content))
	if err == nil {
		_, err = z.Write(o.content)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		return fmt.Errorf("compressing an object: %w", err)
	}
	if err := durable.MkdirAll(folder, folderMode); err != nil {
		return err
	}
	if err := durable.CreateFile(filepath.Join(folder, id[2:]), file.Bytes(), objectMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
