package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/durable"
)

const (
	flushEvery = 200 * time.Millisecond // how long a line of Append waits at most before it is in a file
	flushBytes = 64 << 10               // so much wakes the writer earlier
	syncEvery  = time.Second            // how often the disk is asked to keep what was written
	retryEvery = time.Second            // how often lines that could not be written are tried again
	maxWaiting = 16 << 20               // lines that cannot be written wait in memory up to here; those after are lost
)

// Options of a Log. The zero value of each field is its default.
type Options struct {
	MaxBytes int64            // of one file, 64 MiB; one line may go beyond it
	Keep     int64            // of all files together, 1 GiB; the oldest files beyond it are deleted
	Now      func() time.Time // time.Now
	Logger   *slog.Logger     // hears when the trail cannot be written, and when it can again; slog.Default()
}

// Log is the trail in its directory: files audit-<time of the first line>-<number>.ndjson, a line for each event. All
// methods are safe for concurrent use. One process at a time may have the directory open; whoever opens it sees to that.
type Log struct {
	dir  string
	opts Options

	mu   sync.Mutex // the lines that wait
	buf  []byte
	idle []byte // to be the next buf, so that it need not grow again
	busy int    // bytes that are being written, which wait again when that fails
	cuts []int  // where in buf a new file begins
	next target // where the next line goes
	lost loss

	turn    chan struct{} // the files; who wants both takes the turn before mu
	files   []*file       // oldest first
	out     *os.File      // the last of files while it is written; nil: the next line begins a new one
	synced  int64         // how much of it the disk has promised to keep
	undone  int           // lines after that
	syncAt  time.Time
	failing bool
	triedAt time.Time // by the background

	wake chan struct{}
	stop context.CancelFunc
	done chan struct{}
}

// target describes the file that the next line goes to, as it will be when all that waits is written.
type target struct {
	open  bool
	bytes int64
	day   int64 // of its first line, days since 1970
	last  int64 // the newest time in it, seconds since 1970
}

// loss counts lines that are in no file.
type loss struct {
	lines    int64
	from, to time.Time
}

// OpenLog opens or makes the directory and goes on with its last file. A line that a crash has torn there gets a newline,
// so that it is not glued to the next.
func OpenLog(dir string, opts Options) (*Log, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = 64 << 20
	}
	if opts.Keep <= 0 {
		opts.Keep = 1 << 30
	}
	opts.MaxBytes = min(opts.MaxBytes, opts.Keep)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the audit trail: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Log{dir: dir, opts: opts, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	if err := l.resume(); err != nil {
		stop()
		return nil, fmt.Errorf("opening the audit trail: %w", err)
	}
	go l.run(ctx)
	return l, nil
}

// Append adds a record, a line for each account (see AppendLines). It does not wait for the disk: the line is in a file
// soon after, and survives the process from then on. While the disk is full lines wait in memory, up to 16 MiB; those
// after are lost, and a line with the name "AuditLinesLost" and their number follows when there is space again.
func (l *Log) Append(r *Record, accounts ...string) {
	l.mu.Lock()
	start := len(l.buf)
	if start+l.busy >= maxWaiting {
		l.lose(1)
		l.mu.Unlock()
		return
	}
	l.buf = r.AppendLines(l.buf, accounts...)
	l.place(start, r.Time.Unix())
	full := start < flushBytes && len(l.buf) >= flushBytes // once, not again while it cannot be written
	l.mu.Unlock()
	if full {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// AppendDurable adds lines that were made before, and returns when the disk keeps them. After an error it is not known
// which of them are in the files.
func (l *Log) AppendDurable(ctx context.Context, lines [][]byte) error {
	if err := l.take(ctx); err != nil {
		return err
	}
	defer l.give()
	return l.drain(lines)
}

// Flush returns when the lines of all earlier calls of Append are in files, where Search finds them.
func (l *Log) Flush(ctx context.Context) error {
	if err := l.take(ctx); err != nil {
		return err
	}
	defer l.give()
	return l.drain(nil)
}

// Close writes what waits, and makes it durable.
func (l *Log) Close() error {
	l.stop()
	<-l.done
	if err := l.take(context.Background()); err != nil {
		return err
	}
	defer l.give()
	err := l.drain(nil)
	if err == nil {
		err = l.drain(nil) // the first may have left a line about lost ones
	}
	l.mu.Lock()
	l.lose(int64(bytes.Count(l.buf, []byte("\n"))))
	l.buf = nil
	if n := l.lost.lines; n > 0 {
		err = errors.Join(err, fmt.Errorf("%d lines of the audit trail are lost", n))
	}
	l.mu.Unlock()
	return errors.Join(err, l.rotate())
}

func (l *Log) take(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *Log) give() { <-l.turn }

// run writes in the background until Close.
func (l *Log) run(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.wake:
		case <-ctx.Done():
			return
		}
		if l.take(ctx) != nil {
			return
		}
		if l.failing && time.Since(l.triedAt) < retryEvery {
			l.give()
			continue
		}
		l.triedAt = time.Now()
		err := l.drain(nil)
		if err == nil && l.undone > 0 && time.Since(l.syncAt) >= syncEvery {
			err = l.sync(0)
		}
		l.tell(err)
		l.give()
	}
}

// tell says once that the trail cannot be written, and once that it can again.
func (l *Log) tell(err error) {
	switch {
	case err != nil && !l.failing:
		l.opts.Logger.Error("the audit trail cannot be written: lines wait in memory, and are lost when too many wait", "cause", err)
	case err == nil && l.failing:
		l.opts.Logger.Info("the audit trail is written again")
	}
	l.failing = err != nil
}

// place decides whether the line that begins at start in buf begins a new file. The rules make it possible to skip
// whole files by time: no file has lines of two days, and no line is older by more than lateness than one before it.
func (l *Log) place(start int, seconds int64) {
	n, day := int64(len(l.buf)-start), seconds/86400
	t := &l.next
	if t.open && (t.bytes > 0 && t.bytes+n > l.opts.MaxBytes || day > t.day || seconds < t.last-lateness) {
		l.cuts = append(l.cuts, start)
		t.open = false
	}
	if !t.open {
		*t = target{open: true, day: day, last: seconds}
	}
	t.bytes += n
	t.last = max(t.last, seconds)
}

func (l *Log) lose(lines int64) {
	if lines == 0 {
		return
	}
	now := l.opts.Now()
	if l.lost.lines == 0 {
		l.lost.from = now
	}
	l.lost.to = now
	l.lost.lines += lines
}

// drain writes what waits and then the lines of own, which it makes durable. What could not be written waits again, but
// for own. The caller has the turn.
func (l *Log) drain(own [][]byte) error {
	l.mu.Lock()
	mark := len(l.buf)
	for _, line := range own {
		start := len(l.buf)
		l.buf = append(append(l.buf, line...), '\n')
		seconds, ok := lineTime(line)
		if !ok {
			seconds = l.opts.Now().Unix()
		}
		l.place(start, seconds)
	}
	buf, cuts := l.buf, l.cuts
	l.buf, l.idle, l.cuts, l.busy = l.idle, nil, nil, mark
	l.mu.Unlock()

	n, err := l.write(buf, cuts)
	if err == nil && len(own) > 0 {
		err = l.sync(len(own))
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = 0
	if err != nil && len(own) > 0 {
		l.next.bytes = l.opts.MaxBytes // what it says of the file is not so: the next line begins another
	}
	if n < mark {
		l.putBack(buf[:mark], cuts, n)
	} else if cap(buf) <= 4*flushBytes {
		l.idle = buf[:0]
	}
	if err == nil && l.lost.lines > 0 {
		start := len(l.buf)
		r := l.lost.record(l.opts.Now())
		l.buf = append(r.AppendJSON(l.buf), '\n')
		l.place(start, r.Time.Unix())
		l.lost = loss{}
	}
	return err
}

// putBack lets the part of buf from n on wait again, before what came since.
func (l *Log) putBack(buf []byte, cuts []int, n int) {
	var all []int
	for _, c := range cuts {
		if c >= n && c < len(buf) {
			all = append(all, c-n)
		}
	}
	rest := bytes.Clone(buf[n:])
	for _, c := range l.cuts {
		all = append(all, c+len(rest))
	}
	l.buf, l.cuts = append(rest, l.buf...), all
}

// lostName is the eventName of the line that says how many lines are missing before it.
const lostName = "AuditLinesLost"

func (m loss) record(now time.Time) Record {
	r := Record{
		EventID: NewID(), Time: now, Source: "ecrin", Name: lostName, Type: TypeServiceEvent, ReadOnly: true,
		Identity: Identity{Type: AWSService, InvokedBy: "ecrin"},
	}
	r.Service.Int("lines", m.lines)
	r.Service.String("from", m.from.UTC().Format(timeForm))
	r.Service.String("to", m.to.UTC().Format(timeForm))
	return r
}
