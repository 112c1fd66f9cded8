package upstream

import (
	"io"
	"sync"
	"time"
)

// minProgress is how many bytes a body must advance in the time Limits.Stall.
const minProgress = 16 << 10

// watch calls stalled if the other side lets this side wait too long: longer than limit for minProgress bytes, or for
// the end of the wait. Only the time between begin and end counts, so that a slow reader or source of this side is no
// fault of the other side.
type watch struct {
	stalled func()

	mu      sync.Mutex
	timer   *time.Timer // nil before the first begin and after stop
	stopped bool
	limit   time.Duration
	left    time.Duration // of the limit
	bytes   int64         // since left was the limit
	since   time.Time     // of the wait that has begun; zero if none has
}

func newWatch(limit time.Duration, stalled func()) *watch {
	return &watch{stalled: stalled, limit: limit, left: limit}
}

// begin starts the time of the other side.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || !w.since.IsZero() {
		return
	}
	w.since = time.Now()
	if w.timer == nil {
		w.timer = time.AfterFunc(w.left, w.stalled)
		return
	}
	w.timer.Reset(w.left)
}

// end stops the time of the other side, which has advanced by n bytes.
func (w *watch) end(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return
	}
	w.timer.Stop()
	w.left = max(0, w.left-time.Since(w.since))
	w.since = time.Time{}
	if w.bytes += n; w.bytes >= minProgress {
		w.left, w.bytes = w.limit, 0
	}
}

// renew begins a new limit.
func (w *watch) renew(limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit, w.left, w.bytes = limit, limit, 0
}

// stop ends the watch. Later calls have no effect.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped, w.since = true, time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

// received is the body of a response. Its errors are those of network.
type received struct {
	io.ReadCloser
	watch  *watch
	failed func(error) error // returns the error for an error of the connection; io.EOF for the end of a body
	closed func()
	once   sync.Once
}

func (b *received) Read(p []byte) (int, error) {
	b.watch.begin()
	n, err := b.ReadCloser.Read(p)
	b.watch.end(int64(n))
	if err != nil {
		err = b.failed(err)
	}
	return n, err
}

func (b *received) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(b.closed)
	return err
}

// sent is the body of a request. The time in which the transport does not read belongs to the other side.
type sent struct {
	io.ReadCloser
	watch  *watch
	answer time.Duration // limit for the answer, after the end of the body
	n      int64         // bytes of the last Read
}

func (b *sent) Read(p []byte) (int, error) {
	b.watch.end(b.n)
	n, err := b.ReadCloser.Read(p)
	b.n = int64(n)
	if err != nil {
		b.watch.renew(b.answer)
	}
	b.watch.begin()
	return n, err
}
