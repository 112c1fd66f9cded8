package web

import (
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/spool"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	// maxIdle is the time for which a client may send no bytes of a body.
	maxIdle = 60 * time.Second

	// maxRest is the time that package http spends on the rest of a body that a handler has refused.
	maxRest = 5 * time.Second

	// maxMemoryBody is how many bytes of a body are in memory before the sender is known.
	maxMemoryBody = 16 << 10

	// minRate, in bytes per second, is the rate that a body received by Receive keeps on average, after its first maxSlowStart. The
	// largest body, 32 MiB, would take half an hour with it; a signature is good for 15 minutes.
	minRate      = 16 << 10
	maxSlowStart = 10 * time.Second
)

// deadlineBody extends the read deadline of the connection while bytes arrive: a transfer may take hours, but it fails
// if no byte arrives for timeout. With keepRate it also fails when it falls below minRate.
type deadlineBody struct {
	io.ReadCloser
	control *http.ResponseController
	conn    *connection // nil in tests
	timeout time.Duration
	begun   time.Time
	// slowStart is the time before minRate holds, with keepRate.
	slowStart time.Duration

	mu        sync.Mutex
	keepsRate bool
	read      int64
	deadline  time.Time // as it was set last
	ended     bool      // by interrupt: the deadline is not extended any more
	whole     bool      // it was read to its end
}

func (b *deadlineBody) extend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	want, step := time.Now().Add(b.timeout), b.timeout/8
	if b.keepsRate {
		slowest := b.begun.Add(b.slowStart + time.Duration(float64(b.read)/minRate*float64(time.Second)))
		if step = b.slowStart / 8; slowest.Before(want) {
			want = slowest
		}
	}
	// Not on every read: setting a deadline costs a lock and a timer.
	if want.Sub(b.deadline) > step {
		b.deadline = want
		// The writers of some tests have no deadlines; they work without.
		_ = b.control.SetReadDeadline(want)
	}
}

// keepRate makes reads fail once the body arrives more slowly than minRate on average.
func (b *deadlineBody) keepRate() {
	b.mu.Lock()
	b.keepsRate, b.deadline = true, time.Time{}
	b.mu.Unlock()
	b.extend()
}

// interrupt ends the body: a read that waits fails at once, and so do all later ones. Any goroutine may call it.
func (b *deadlineBody) interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}

// leave gives the client maxRest for what the handler has not read of the body.
func (b *deadlineBody) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.whole && !b.ended {
		_ = b.control.SetReadDeadline(time.Now().Add(min(b.timeout, maxRest)))
	}
}

func (b *deadlineBody) Read(p []byte) (int, error) {
	b.extend()
	b.conn.wait(1)
	n, err := b.ReadCloser.Read(p)
	b.conn.wait(-1)
	if n > 0 {
		b.conn.touch()
	}
	b.mu.Lock()
	b.read += int64(n)
	b.whole = b.whole || err == io.EOF
	ended := b.ended
	b.mu.Unlock()
	if err == io.EOF && !ended { // the time that the handler now needs is not limited by the client
		_ = b.control.SetReadDeadline(time.Time{})
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = fault.RequestTimeout.New("no bytes arrived for %s, or too few", b.timeout).Because(err)
	}
	return n, err
}

// ReadBody reads the whole body of a request, which may have up to maxBytes bytes. Its buffer grows with what arrives: a length that
// a client only declares costs nothing.
//
// Errors: fault.RequestTooLarge, fault.RequestTimeout, fault.MalformedRequest (the client disconnected, or the body is
// shorter than declared).
func ReadBody(r *http.Request, maxBytes int64) ([]byte, error) {
	if r.ContentLength > maxBytes {
		return nil, tooLarge(maxBytes)
	}
	size := int64(4096)
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength)
	}
	buf := make([]byte, 0, size+1)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Body.Read(buf[len(buf):min(cap(buf), int(maxBytes)+1)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > maxBytes:
			return nil, tooLarge(maxBytes)
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, unread(err)
		}
	}
}

func tooLarge(maxBytes int64) error {
	return fault.RequestTooLarge.New("the body of this request may have up to %d bytes", maxBytes)
}

// unread is the error for a body that cannot be read to its end.
func unread(err error) error {
	if errors.Is(err, fault.RequestTimeout) {
		return err
	}
	return fault.MalformedRequest.New("the body of the request is not complete").Because(err)
}

// Body is the body of a request that has arrived whole: in memory if it is small, otherwise in a file.
type Body struct {
	Sum  [sha256.Size]byte // SHA-256 of the bytes
	Size int64

	memory []byte
	file   *spool.File
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, maxMemoryBody); return &b }}

// Receive reads the whole body of a request, which may have up to maxBytes bytes, and hashes it. Before the sender is known it holds at
// most maxMemoryBody bytes of it in memory; larger bodies go into a file of s. owner is who claims to have sent it. A body that
// arrives too slowly is ended. The caller calls Close.
//
// Errors: as of ReadBody; fault.Unavailable (too many bodies arrive, or the disk is full).
func Receive(r *http.Request, s *spool.Spool, owner string, maxBytes int64) (*Body, error) {
	if r.ContentLength > maxBytes {
		return nil, tooLarge(maxBytes)
	}
	slow, _ := r.Body.(*deadlineBody)
	if slow != nil {
		slow.keepRate()
	}
	if r.ContentLength >= 0 && r.ContentLength <= maxMemoryBody {
		all, err := ReadBody(r, maxMemoryBody)
		return &Body{Sum: sha256.Sum256(all), Size: int64(len(all)), memory: all}, err
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	n, err := io.ReadFull(r.Body, *buf)
	switch {
	case int64(n) > maxBytes:
		return nil, tooLarge(maxBytes)
	case err == io.EOF || err == io.ErrUnexpectedEOF && r.ContentLength < 0:
		all := append([]byte(nil), (*buf)[:n]...)
		return &Body{Sum: sha256.Sum256(all), Size: int64(n), memory: all}, nil
	case err != nil:
		return nil, unread(err)
	}
	f, err := s.Create(owner, func() {
		if slow != nil {
			slow.interrupt()
		}
	})
	if err != nil {
		return nil, err
	}
	b := &Body{Size: int64(n), file: f}
	if err := b.receive(r, *buf, n, maxBytes); err != nil {
		f.Close()
		return nil, err
	}
	return b, nil
}

// receive copies the body into the file, the first n bytes of buf before the rest.
func (b *Body) receive(r *http.Request, buf []byte, n int, maxBytes int64) error {
	h := sha256.New()
	for {
		h.Write(buf[:n])
		if _, err := b.file.Write(buf[:n]); err != nil {
			return err
		}
		var err error
		n, err = r.Body.Read(buf)
		b.Size += int64(n)
		switch {
		case b.Size > maxBytes:
			return tooLarge(maxBytes)
		case err == io.EOF:
			h.Write(buf[:n])
			h.Sum(b.Sum[:0])
			_, err = b.file.Write(buf[:n])
			return err
		case err != nil:
			return unread(err)
		}
	}
}

// Await says that the sender is known and that the body waits for a place. end is called, from another goroutine, if the body is
// given up for others meanwhile.
//
// Errors: fault.RequestTimeout (it was given up).
func (b *Body) Await(end func()) error {
	if b.file == nil {
		return nil
	}
	return b.file.Await(end)
}

// Bytes returns the body and frees its file.
//
// Errors: fault.RequestTimeout (it was given up).
func (b *Body) Bytes() ([]byte, error) {
	if b.file == nil {
		return b.memory, nil
	}
	if err := b.file.Take(); err != nil {
		return nil, err
	}
	from, err := b.file.Reader()
	if err != nil {
		return nil, err
	}
	all := make([]byte, b.Size)
	if _, err := io.ReadFull(from, all); err != nil {
		return nil, err
	}
	b.Close()
	b.file, b.memory = nil, all
	return all, nil
}

// Close frees the body. Further calls do nothing.
func (b *Body) Close() {
	if b.file != nil {
		b.file.Close()
	}
}
