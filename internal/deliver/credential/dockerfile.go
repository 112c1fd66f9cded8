package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// DockerFile is a configuration file of docker into which credentials are written.
type DockerFile struct {
	Path string
	Log  func(format string, args ...any)
}

// maxMerges limits the attempts to change a file that other programs write at the same time.
const maxMerges = 5

// Deliver puts credentials into the file, in place and atomically: readers see the old or the new content. The mode of the file stays, a
// new file has 0600. A link is followed. A file that another program changes meanwhile is read again.
//
// Errors: those of [MergeDockerConfig], with the path; the file cannot be read or written. Then the file is as it was.
func (d *DockerFile) Deliver(_ context.Context, all []Credential) error {
	path, err := filepath.EvalSymlinks(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		path, err = d.Path, nil
	}
	if err != nil {
		return err
	}
	for range maxMerges {
		before, mode, err := readWithMode(path)
		if err != nil {
			return err
		}
		after, err := MergeDockerConfig(before, all, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Path, err)
		}
		if bytes.Equal(before, after) {
			return nil
		}
		d.warn(before, all)
		if now, _, err := readWithMode(path); err != nil || !bytes.Equal(now, before) {
			continue
		}
		return replace(path, after, mode)
	}
	return fmt.Errorf("%s: another program changes the file all the time", d.Path)
}

func (d *DockerFile) warn(content []byte, all []Credential) {
	hosts := make([]string, len(all))
	for i, c := range all {
		hosts[i] = c.Host
	}
	if named := helpersFor(content, hosts); len(named) > 0 && d.Log != nil {
		d.Log("%s names a credential helper for %s, which some clients use instead of these credentials", d.Path, strings.Join(named, ", "))
	}
}

func readWithMode(path string) (content []byte, mode fs.FileMode, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0o600, nil
	}
	if err != nil {
		return nil, 0, err
	}
	content, err = readLimited(path, maxDockerConfig)
	return content, info.Mode().Perm(), err
}

// replace writes a file. One that is mounted by itself, as into a container, cannot be renamed to: its content is replaced.
func replace(path string, content []byte, mode fs.FileMode) error {
	err := durable.WriteFile(path, content, mode)
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV) {
		return os.WriteFile(path, content, mode)
	}
	return err
}
