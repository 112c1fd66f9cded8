package web

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// recorder records the status and the number of bytes of an answer, and moves the write deadline of the connection while the client
// takes bytes. It implements io.ReaderFrom, so that package http can still send files by sendfile.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	conn    *connection // nil in tests
	timeout time.Duration
	status  int
	sent    int64

	mu       sync.Mutex
	deadline time.Time // as it was set last
	ended    bool      // by interrupt: the deadline is not extended any more
}

// maxWrite is how many bytes are written with one deadline: a client that takes fewer in maxIdle is disconnected.
const maxWrite = 512 << 10

func newRecorder(w http.ResponseWriter, timeout time.Duration) *recorder {
	return &recorder{ResponseWriter: w, control: http.NewResponseController(w), timeout: timeout}
}

// extend gives the client another timeout to take what is written next.
func (r *recorder) extend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Not before every write: setting a deadline costs a lock and a timer.
	if want := time.Now().Add(r.timeout); !r.ended && want.Sub(r.deadline) > r.timeout/8 {
		r.deadline = want
		// The writers of some tests have no deadlines; they work without.
		_ = r.control.SetWriteDeadline(want)
	}
}

// interrupt ends the answer: a write that waits fails at once, and so do all later ones. Any goroutine may call it.
func (r *recorder) interrupt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	_ = r.control.SetWriteDeadline(time.Unix(1, 0))
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.extend()
	r.ResponseWriter.WriteHeader(status)
}

// begun says that bytes of the answer are sent, before which package http sends status 200 if the handler has sent none.
func (r *recorder) begun() {
	if r.status == 0 {
		r.status = http.StatusOK
	}
}

func (r *recorder) Write(p []byte) (n int, err error) {
	r.begun()
	r.conn.wait(1)
	defer r.conn.wait(-1)
	for first := true; first || len(p) > 0 && err == nil; first = false {
		r.extend()
		var m int
		m, err = r.ResponseWriter.Write(p[:min(len(p), maxWrite)])
		n, p = n+m, p[m:]
		r.conn.touch()
	}
	r.sent += int64(n)
	return n, err
}

// ReadFrom copies src in pieces of maxWrite bytes. Package http sends each by sendfile if src is an *os.File, or the *io.LimitedReader of
// one.
func (r *recorder) ReadFrom(src io.Reader) (n int64, err error) {
	r.conn.wait(1)
	defer r.conn.wait(-1)
	left := int64(1) << 62
	if limited, ok := src.(*io.LimitedReader); ok {
		// The file itself is copied in pieces: a limit of a limit would hide it from sendfile.
		src, left = limited.R, limited.N
		defer func() { limited.N -= n }()
	}
	for left > 0 {
		r.extend()
		piece := min(left, maxWrite)
		var m int64
		m, err = io.Copy(r.ResponseWriter, &io.LimitedReader{R: src, N: piece})
		if n, left = n+m, left-m; n > 0 {
			r.begun()
		}
		r.conn.touch()
		if err != nil || m < piece {
			break
		}
	}
	r.sent += n
	return n, err
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
