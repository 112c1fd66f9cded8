// Package hosts keeps a block of names in a hosts file, between two marks, and leaves all other lines of the file as they are.
package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// The marks around the block. They are whole lines.
const (
	begin = "# begin of ecrin: written by ecrin hosts, which also removes it"
	end   = "# end of ecrin"
)

// maxNames limits the names of a block; resolvers read the whole file for each name.
const maxNames = 2000

// namePattern matches the names that Block accepts: nothing in them can end a line or begin a comment.
var namePattern = lazyregexp.New(`^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$`)

// Block returns the block that maps names to an address, with one line for each, since some systems limit the names of a line.
//
// Errors: no names or more than 2,000; a name that is not a DNS name in lower case; an address that is not valid or has a zone, which
// could contain any characters and means another network on another machine.
func Block(addr netip.Addr, names []string) (string, error) {
	if len(names) == 0 || len(names) > maxNames {
		return "", fmt.Errorf("a hosts file gets from 1 to %d names, got %d: name fewer accounts and regions", maxNames, len(names))
	}
	if !addr.IsValid() || addr.Zone() != "" {
		return "", fmt.Errorf("%q is not an address for a hosts file: give one without a zone", addr)
	}
	var b strings.Builder
	b.WriteString(begin + "\n")
	for _, n := range names {
		if len(n) > 253 || !namePattern.MatchString(n) || strings.Contains(n, "..") {
			return "", fmt.Errorf("%q is not a host name", n[:min(len(n), 80)])
		}
		fmt.Fprintf(&b, "%s\t%s\n", addr, n)
	}
	b.WriteString(end + "\n")
	return b.String(), nil
}

// With returns a hosts file with the block in place of the one that it has, or at the end. An empty block removes the one that it has.
//
// Errors: a mark without the other, or several blocks; the file was changed by somebody else.
func With(file []byte, block string) ([]byte, error) {
	var before, after []byte
	inside, seen := false, false
	for line := range bytes.Lines(file) {
		switch strings.TrimRight(string(line), "\r\n") {
		case begin:
			if seen {
				return nil, errors.New("it has two blocks of ecrin: remove one of them by hand")
			}
			inside, seen = true, true
		case end:
			if !inside {
				return nil, fmt.Errorf("it has the line %q without the line %q before it: remove it by hand", end, begin)
			}
			inside = false
		default:
			switch {
			case inside:
			case seen:
				after = append(after, line...)
			default:
				before = append(before, line...)
			}
		}
	}
	if inside {
		return nil, fmt.Errorf("it has the line %q without the line %q after it: correct it by hand", begin, end)
	}
	if block != "" && len(before) > 0 && before[len(before)-1] != '\n' {
		before = append(before, '\n')
	}
	return slices.Concat(before, []byte(block), after), nil
}

// Elsewhere returns the lines outside of the block of a hosts file that map one of the names to another address: resolvers use the
// first line of the file that has a name.
func Elsewhere(file []byte, addr netip.Addr, names []string) []string {
	outside, err := With(file, "")
	if err != nil {
		outside = file
	}
	var found []string
	for line := range bytes.Lines(outside) {
		text, _, _ := strings.Cut(strings.TrimSpace(string(line)), "#")
		words := strings.Fields(text)
		if len(words) < 2 || words[0] == addr.String() {
			continue
		}
		if slices.ContainsFunc(words[1:], func(w string) bool { return slices.Contains(names, strings.ToLower(w)) }) {
			found = append(found, strings.TrimSpace(string(line)))
		}
	}
	return found
}

// Update replaces the block of the hosts file at path, see With, and reports whether the file has changed. A missing file is
// created unless block is empty. A symbolic link is followed.
//
// The file is replaced by a rename, so that programs read the old or the new content. Where that is not possible, as for the hosts
// file of a container, which is a mount, it is written in place.
//
// On Unix, changes at the same time take turns.
//
// Errors: those of With, and of the file system, usually fs.ErrPermission; another program has held the lock for 30 seconds.
func Update(path, block string) (changed bool, err error) { return update(path, block, os.Rename) }

func update(path, block string, rename func(from, to string) error) (changed bool, err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if content, _, err := planned(path, block); err != nil || content == nil {
		return false, err // no change needs neither the lock nor the rights
	}
	unlock, err := lock(path)
	if err != nil {
		return false, fmt.Errorf("locking %s: %w", path, err)
	}
	defer unlock()
	content, mode, err := planned(path, block)
	if err != nil || content == nil {
		return false, err
	}
	err = replace(path, content, mode, rename)
	if !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EXDEV) && !errors.Is(err, fs.ErrPermission) {
		return err == nil, err
	}
	// O_TRUNC before the write could leave an empty file on a full disk: the file is only cut after the write.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, mode)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		return false, fmt.Errorf("writing %s: %w", path, err)
	}
	if err := f.Truncate(int64(len(content))); err != nil {
		return false, err
	}
	return true, f.Sync()
}

// planned returns the new content and the mode of the hosts file at path; nil for no change.
func planned(path, block string) (content []byte, mode fs.FileMode, err error) {
	mode = 0o644
	if info, err := os.Stat(path); err == nil {
		if !info.Mode().IsRegular() {
			return nil, 0, fmt.Errorf("%s is not a regular file", path)
		}
		mode = info.Mode().Perm()
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	if content, err = With(old, block); err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", path, err)
	}
	if bytes.Equal(content, old) {
		return nil, 0, nil
	}
	if content == nil {
		content = []byte{} // the block was all of the file
	}
	return content, mode, nil
}

// replace writes a new file and renames it. The owner of the file stays the same, or it is an error.
func replace(path string, content []byte, mode fs.FileMode, rename func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".ecrin-hosts-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is no such file
	defer f.Close()
	if err := keepOwner(f, path); err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return rename(f.Name(), path)
}
