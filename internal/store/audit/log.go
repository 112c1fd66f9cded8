package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

const (
	flushEvery = 200 * time.Millisecond // maximum delay until a line of Append is in a file
	flushBytes = 64 << 10               // number of waiting bytes that wakes the writer earlier
	syncEvery  = time.Second            // interval of syncs
	retryEvery = time.Second            // interval of attempts to write after an error
	maxWaiting = 16 << 20               // bytes of lines that wait in memory while they cannot be written; further lines are lost
)

const (
	defaultMaxBytes = 64 << 20
	defaultKeep     = 1 << 30
)

// Options configure a Log. The zero value of each field means its default.
type Options struct {
	MaxBytes int64            // maximum size of a file, default 64 MiB; a file has at least one line
	Keep     int64            // maximum size of all files together, default 1 GiB; the oldest files beyond it are deleted
	Now      func() time.Time // default time.Now
	Logger   *slog.Logger     // logs when the trail cannot be written, and when it can be written again; default slog.Default()
	// Report, if not nil, is called with the result of each write in the background. work is FilesWork, or StrangersFilesWork for
	// the log of strangers of OpenLogs.
	Report func(work string, err error)

	strangers bool
}

// The kinds of background work, for Options.Report and Pump.Report.
const (
	LinesWork          = "audit_lines"
	FilesWork          = "audit_files"
	StrangersFilesWork = "audit_files_of_strangers"
)

// Log is the audit trail in its directory: files audit-<time of the first line>-<number>.ndjson with a line for
// each event. All methods are safe for concurrent use. Only one process at a time may have the directory open;
// the caller of OpenLog ensures that.
type Log struct {
	dir  string
	opts Options

	mu   sync.Mutex // guards the fields up to lost
	buf  []byte     // lines that wait to be written
	idle []byte     // the next buf, kept for its capacity
	busy int        // bytes being written, which are put back if the write fails
	cuts []int      // offsets in buf at which a new file begins
	next target     // the file of the next line
	lost loss

	everLost atomic.Uint64 // lines since the log was opened

	turn    chan struct{} // guards the fields up to triedAt; acquired before mu
	files   []*file       // oldest first
	out     *os.File      // the last of files while it is open; nil if the next line begins a new file
	synced  int64         // durable bytes of out
	undone  int           // lines after the durable bytes
	syncAt  time.Time
	unmade  bool // the directory could not be made, because the disk was full
	failing bool
	triedAt time.Time // last attempt of the background writer

	wake chan struct{}
	stop context.CancelFunc
	done chan struct{}
}

// target describes the file of the next line as it will be when all waiting lines are written.
type target struct {
	open  bool
	bytes int64
	day   int64 // day of its first line, days since 1970
	last  int64 // newest time of its lines, seconds since 1970
}

// loss counts lines that were not written to any file.
type loss struct {
	lines    int64
	from, to time.Time
}

// OpenLog opens or creates the directory and continues its last file. If a crash tore the last line, OpenLog
// ends that line with a newline, so that the next line begins after it.
func OpenLog(dir string, opts Options) (*Log, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = defaultMaxBytes
	}
	if opts.Keep <= 0 {
		opts.Keep = defaultKeep
	}
	opts.MaxBytes = min(opts.MaxBytes, opts.Keep)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	err := durable.MkdirAll(dir, 0o700)
	full := durable.IsFull(err)
	if err != nil && !full {
		return nil, fmt.Errorf("making the directory of the audit trail: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Log{dir: dir, opts: opts, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	l.unmade = full
	if err := l.resume(); err != nil {
		stop()
		return nil, fmt.Errorf("opening the audit trail: %w", err)
	}
	go l.run(ctx)
	return l, nil
}

// Append adds the lines of a record, one for each account (see AppendLines). It does not wait for the disk: a
// line is in a file within 200 ms, and survives the process from then on. While the disk is full, lines wait in
// memory, up to 16 MiB; further lines are lost. When there is space again, a line with the name
// "AuditLinesLost" records their number.
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
	full := start < flushBytes && len(l.buf) >= flushBytes // true only once, not again while the lines cannot be written
	l.mu.Unlock()
	if full {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// AppendDurable adds encoded lines and returns when they are durable. After an error, some of the lines may be
// in the files.
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

// Close writes the waiting lines and makes them durable. If lines are lost, the error has their number.
func (l *Log) Close() error {
	l.stop()
	<-l.done
	if err := l.take(context.Background()); err != nil {
		return err
	}
	defer l.give()
	err := l.drain(nil)
	if err == nil {
		err = l.drain(nil) // the first call may have added the line AuditLinesLost
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

// run writes waiting lines in the background until Close.
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
		l.logState(err)
		l.give()
	}
}

// logState logs the first error of writing the trail, and the first success after errors.
func (l *Log) logState(err error) {
	switch {
	case err != nil && !l.failing:
		l.opts.Logger.Error("the audit trail cannot be written: lines wait in memory, and are lost when too many wait", "cause", err)
	case err == nil && l.failing:
		l.opts.Logger.Info("the audit trail is written again")
	}
	l.failing = err != nil
	if l.opts.Report == nil {
		return
	}
	work := FilesWork
	if l.opts.strangers {
		work = StrangersFilesWork
	}
	l.opts.Report(work, err)
}

// place decides whether the line that begins at start in buf begins a new file. Its rules allow Search to skip
// whole files by time: a file has lines of one day only, and no line is older by more than maxLateness than a
// line before it.
func (l *Log) place(start int, seconds int64) {
	n, day := int64(len(l.buf)-start), seconds/86400
	t := &l.next
	if t.open && (t.bytes > 0 && t.bytes+n > l.opts.MaxBytes || day > t.day || seconds < t.last-maxLateness) {
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
	l.everLost.Add(uint64(lines)) //nolint:gosec // a number of lines
	now := l.opts.Now()
	if l.lost.lines == 0 {
		l.lost.from = now
	}
	l.lost.to = now
	l.lost.lines += lines
}

// drain writes the waiting lines and then the lines of own, which it makes durable. Waiting lines that could
// not be written wait again; those of own do not. The caller holds the turn.
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
		l.next.bytes = l.opts.MaxBytes // next does not describe the file any more, so that the next line begins a new file
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

// putBack puts the part of buf from n on back before the lines that were added in the meantime.
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

// lostName is the eventName of the line that records how many lines are missing before it.
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
