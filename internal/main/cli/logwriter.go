package cli

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// logDelay is how long a line of the log may wait for others.
	logDelay = 3 * time.Millisecond
	// maxLogWaiting is the size in bytes of the lines that wait at most; who logs more waits too, such as while the reader of a pipe
	// is slow.
	maxLogWaiting = 1 << 20
)

// logWriter writes lines in batches: a system call for each line of a busy server takes more time than to make the lines. It is safe
// for concurrent use. A process that is killed loses the lines of the last milliseconds.
type logWriter struct {
	w     io.Writer
	wake  chan struct{} // has a place: the first line of a batch wakes the goroutine
	ended chan struct{}

	mu      sync.Mutex
	changed *sync.Cond // lines were written, or close was called
	waiting []byte
	spare   []byte // the buffer of an earlier batch
	writing bool
	closed  bool
}

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{w: w, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	l.changed = sync.NewCond(&l.mu)
	go l.run()
	return l
}

// Write implements io.Writer. It returns no error: nobody could log it.
func (l *logWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) >= maxLogWaiting && !l.closed {
		l.changed.Wait()
	}
	if l.closed { // the lines of a stop that takes too long
		return l.w.Write(line)
	}
	first := len(l.waiting) == 0
	l.waiting = append(l.waiting, line...)
	if first {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

func (l *logWriter) run() {
	defer close(l.ended)
	for range l.wake {
		time.Sleep(logDelay)
		l.flush()
	}
}

// flush returns when all lines that wait have been written.
func (l *logWriter) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.writing {
		l.changed.Wait()
	}
	batch := l.waiting
	if len(batch) == 0 {
		return
	}
	l.waiting, l.spare, l.writing = l.spare[:0], nil, true
	l.changed.Broadcast() // there is room for who waits in Write
	l.mu.Unlock()
	_, _ = l.w.Write(batch)
	l.mu.Lock()
	l.spare, l.writing = batch, false
	l.changed.Broadcast()
}

// close writes what waits. Later lines are written one by one.
func (l *logWriter) close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()
	close(l.wake)
	<-l.ended
	l.flush()
}

// promptHandler writes lines of level error at once, with all before them.
type promptHandler struct {
	slog.Handler
	to *logWriter
}

// Handle implements slog.Handler.
func (h promptHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelError {
		h.to.flush()
	}
	return err
}

// WithAttrs implements slog.Handler.
func (h promptHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return promptHandler{h.Handler.WithAttrs(a), h.to}
}

// WithGroup implements slog.Handler.
func (h promptHandler) WithGroup(name string) slog.Handler {
	return promptHandler{h.Handler.WithGroup(name), h.to}
}
