package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// maxLateness is how many seconds a line may be older than a line before it in the same file. Lines are made
// when their request is completed, so that only lines that waited in the database, or that were made after the
// clock was set back, come late.
const maxLateness = 15 * 60

// file is one file of the trail.
type file struct {
	path   string
	number int64 // increases from file to file
	start  int64 // the time of the first line, seconds since 1970; no line is older by more than maxLateness
	size   int64 // size of the whole lines, in bytes; after a failed write the file may be longer
	last   int64 // the time of the last line, 0 until it is looked up; no line is newer by more than maxLateness
	marks  marks
}

// nameForm is the format of the time in the name of a file.
const nameForm = "20060102T150405Z"

var fileName = lazyregexp.New(`^audit-([0-9]{8}T[0-9]{6}Z)-([0-9]{1,18})\.ndjson$`)

func list(dir string) ([]*file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*file
	for _, e := range entries {
		m := fileName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		start, err := time.Parse(nameForm, m[1])
		if err != nil {
			continue // not a file of the trail
		}
		number, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return nil, err
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		all = append(all, &file{path: filepath.Join(dir, e.Name()), number: number, start: start.Unix(), size: info.Size()})
	}
	slices.SortFunc(all, func(a, b *file) int { return int(min(1, max(-1, a.number-b.number))) })
	return all, nil
}

// resume lists the files and opens the last one. If the disk is full, it leaves that file unchanged, and the
// next line begins a new file.
func (l *Log) resume() (err error) {
	l.files, err = list(l.dir)
	if l.unmade && errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil || len(l.files) == 0 {
		return err
	}
	last := l.files[len(l.files)-1]
	f, err := os.OpenFile(last.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	size, err := complete(f, last.size)
	if err == nil {
		err = durable.SyncData(f) // the lines that are found count as written
	}
	if err != nil {
		if err = errors.Join(err, f.Close()); durable.IsFull(err) {
			err = nil
		}
		return err
	}
	l.out, last.size, l.synced = f, size, size
	l.next = target{open: true, bytes: size, day: last.start / 86400, last: last.start}
	return blocks(context.Background(), f, 0, size, false, func(_ int64, block []byte) bool {
		last.marks.add(block)
		for line := range bytes.Lines(block) {
			if seconds, ok := lineTime(line); ok {
				l.next.last = max(l.next.last, seconds)
			}
		}
		return true
	})
}

// complete appends a newline to a file that does not end with one, and returns the size of the file.
func complete(f *os.File, size int64) (int64, error) {
	if size == 0 {
		return 0, nil
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil {
		return 0, err
	}
	if last[0] == '\n' {
		return size, nil
	}
	_, err := f.WriteAt([]byte("\n"), size)
	return size + 1, err
}

// write appends lines to files, and begins a new file at each cut. It returns the number of bytes that are
// written for good.
func (l *Log) write(buf []byte, cuts []int) (n int, err error) {
	for n < len(buf) {
		if len(cuts) > 0 && cuts[0] == n {
			if err := l.rotate(); err != nil {
				return n, err
			}
			cuts = cuts[1:]
		}
		end := len(buf)
		if len(cuts) > 0 {
			end = cuts[0]
		}
		if err := l.writeLines(buf[n:end]); err != nil {
			return n, err
		}
		n = end
	}
	return n, nil
}

// writeLines appends lines to one file: all of them or none.
func (l *Log) writeLines(lines []byte) error {
	if l.out == nil {
		if err := l.create(lines); err != nil {
			return fmt.Errorf("beginning a file of the audit trail: %w", err)
		}
	}
	f := l.files[len(l.files)-1]
	// WriteAt, not append: if a write fails half-way and the file cannot be truncated, the next write overwrites
	// its bytes.
	if _, err := l.out.WriteAt(lines, f.size); err != nil {
		return errors.Join(fmt.Errorf("writing the audit trail: %w", err), l.out.Truncate(f.size))
	}
	if f.marks.size == f.size {
		f.marks.add(lines)
	}
	f.size += int64(len(lines))
	l.undone += bytes.Count(lines, []byte("\n"))
	l.expire()
	return nil
}

// create begins a file. The time of the first line becomes part of its name.
func (l *Log) create(lines []byte) error {
	start, ok := lineTime(lines)
	if !ok {
		start = l.opts.Now().Unix()
	}
	number := int64(1)
	if len(l.files) > 0 {
		number = l.files[len(l.files)-1].number + 1
	}
	path := filepath.Join(l.dir, fmt.Sprintf("audit-%s-%06d.ndjson", time.Unix(start, 0).UTC().Format(nameForm), number))
	if l.unmade {
		if err := durable.MkdirAll(l.dir, 0o700); err != nil {
			return err
		}
		l.unmade = false
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := durable.SyncDir(l.dir); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	l.out, l.synced, l.undone, l.syncAt = f, 0, 0, time.Now()
	l.files = append(l.files, &file{path: path, number: number, start: start})
	return nil
}

// rotate ends the current file. A file without a line is removed, since the next line may be older than the
// time in its name.
func (l *Log) rotate() error {
	if l.out == nil {
		return nil
	}
	if f := l.files[len(l.files)-1]; f.size == 0 {
		err := errors.Join(l.out.Close(), os.Remove(f.path))
		l.out, l.files = nil, l.files[:len(l.files)-1]
		return err
	}
	if l.undone > 0 {
		if err := l.sync(0); err != nil {
			return err
		}
	}
	err := l.out.Close()
	l.out = nil
	if f := l.files[len(l.files)-1]; f.marks.size == f.size {
		f.marks.keep(f.path)
	}
	return err
}

// sync makes the written lines durable. If that fails, the lines since the last sync count as lost, except for
// the last own lines, which the caller still has, and the file is truncated to its length at the last sync.
func (l *Log) sync(own int) error {
	if l.out == nil {
		return nil
	}
	f := l.files[len(l.files)-1]
	err := durable.SyncData(l.out)
	if err == nil {
		l.synced, l.undone, l.syncAt = f.size, 0, time.Now()
		return nil
	}
	err = errors.Join(fmt.Errorf("syncing the audit trail: %w", err), l.out.Truncate(l.synced), l.out.Close())
	l.mu.Lock()
	l.lose(int64(max(0, l.undone-own)))
	l.mu.Unlock()
	l.out, f.size, l.undone = nil, l.synced, 0
	f.marks.cut(f.size)
	return err
}

// expire deletes the oldest files while the size of all files exceeds the limit.
func (l *Log) expire() {
	total := int64(0)
	for _, f := range l.files {
		total += f.size
	}
	for total > l.opts.Keep && len(l.files) > 1 {
		if err := os.Remove(l.files[0].path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.opts.Logger.Error("an old file of the audit trail cannot be deleted", "cause", err)
			return
		}
		_ = os.Remove(l.files[0].path + marksEnding) // most have one
		total -= l.files[0].size
		l.files = l.files[1:]
	}
}

// blockBytes is how much of a file is read at once. It is more than a line, so that each block has at least one
// whole line; a block without one has no line of this trail.
const blockBytes = 2 * maxLine

// blocks calls each with the whole lines of f between the offsets from and to, block by block, until each
// returns false. With backward, the last block comes first. The block is valid only during the call.
func blocks(ctx context.Context, f io.ReaderAt, from, to int64, backward bool, each func(at int64, block []byte) bool) error {
	buf := make([]byte, min(blockBytes, max(0, to-from)))
	for from < to {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		at, n := from, min(int64(len(buf)), to-from)
		if backward {
			at = to - n
		}
		block := buf[:n]
		if got, err := f.ReadAt(block, at); err != nil && (err != io.EOF || got < len(block)) {
			return fmt.Errorf("reading the audit trail: %w", err)
		}
		switch {
		case backward && at > from: // the first line may begin before this block
			first := bytes.IndexByte(block, '\n') + 1
			if first == len(block) {
				first = 0
			}
			at, block = at+int64(first), block[first:]
			to = at
		case backward:
			to = from
		case at+n < to: // the last line may end after this block
			if last := bytes.LastIndexByte(block, '\n') + 1; last > 0 {
				block = block[:last]
			}
			from = at + int64(len(block))
		default:
			from = to
		}
		if !each(at, block) {
			return nil
		}
	}
	return nil
}
