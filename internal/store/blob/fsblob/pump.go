package fsblob

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// The sizes were measured, see docs/design/blob-writing.md. An upload holds one small buffer, then at most
// maxBuffers large buffers; all uploads together hold at most maxSpareBuffers large buffers beyond the first of
// each. So 32 uploads need at most 13 MiB and a thousand slow uploads 165 MiB, and fast uploads do not starve
// slow ones.
const (
	smallBuffer     = 32 << 10
	largeBuffer     = 128 << 10
	maxBuffers      = 4
	maxSpareBuffers = 64
	writebackEvery  = 1 << 20 // bytes written between two calls of StartWriteback
)

var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }}
	largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}
)

// pump copies r to the file at f.start and into h, and returns the number of bytes copied. It reads at most one
// byte beyond limit. Content that fits into a small buffer is read, hashed and written in turn; beyond that,
// reading, hashing and writing run concurrently. When pump returns, all its goroutines have ended. Only the
// caller's goroutine reads r.
// Errors: fault.SizeInvalid, fault.Unavailable (disk full), those of ctx and r.
func (s *Store) pump(ctx context.Context, f *uploadFile, h hashes, r io.Reader, limit int64) (int64, error) {
	in := &intake{ctx: ctx, r: r, limit: limit}
	b := smallBuffers.Get().(*[]byte)
	defer smallBuffers.Put(b)
	n, err := in.fill(*b)
	if err != nil && err != io.EOF {
		return 0, err
	}
	h.Write((*b)[:n])
	out := &outlet{sys: f.sys, f: f.File, off: f.start, begun: f.start}
	if werr := out.write((*b)[:n]); werr != nil {
		return 0, werr
	}
	if err == io.EOF {
		return in.n, nil
	}
	if err := s.stream(in, h, out); err != nil {
		return 0, err
	}
	return in.n, nil
}

// chunk is a large buffer with n bytes. The reader fills it, then it is hashed and written, and then it is free
// again.
type chunk struct {
	buf *[]byte
	n   int
}

// stream runs the three stages until in ends. A stage that has failed continues to drain its channel, so that
// no other stage blocks.
func (s *Store) stream(in *intake, h hashes, out *outlet) (err error) {
	var (
		toHash  = make(chan chunk, maxBuffers)
		toWrite = make(chan chunk, maxBuffers)
		free    = make(chan *[]byte, maxBuffers)
		held    int         // buffers that this call has taken from the pool
		failed  atomic.Bool // the writer has failed: no more bytes need be read
		stages  sync.WaitGroup
		werr    error
	)
	stages.Go(func() {
		defer close(toWrite)
		for c := range toHash {
			h.Write((*c.buf)[:c.n])
			toWrite <- c
		}
	})
	stages.Go(func() {
		for c := range toWrite {
			if werr == nil {
				if werr = out.write((*c.buf)[:c.n]); werr != nil {
					failed.Store(true)
				}
			}
			free <- c.buf
		}
	})
	defer func() { // also when r panics, as the reader of a request body may
		close(toHash)
		stages.Wait()
		close(free)
		for b := range free {
			largeBuffers.Put(b)
		}
		for range held - 1 {
			<-s.spare
		}
		if werr != nil {
			err = werr // the error that ended the reading
		}
	}()
	for !failed.Load() {
		b := s.buffer(free, &held)
		n, err := in.fill(*b)
		if err != nil && err != io.EOF {
			free <- b
			return err
		}
		toHash <- chunk{b, n}
		if err == io.EOF {
			return nil
		}
	}
	return nil
}

// buffer returns a free buffer: one that was written, or a new one if neither the call nor the store has
// reached its maximum; otherwise it waits for the writer. The first buffer of a call is always given.
func (s *Store) buffer(free chan *[]byte, held *int) *[]byte {
	select {
	case b := <-free:
		return b
	default:
	}
	if *held == 0 {
		*held++
		return largeBuffers.Get().(*[]byte)
	}
	if *held < maxBuffers {
		select {
		case s.spare <- struct{}{}:
			*held++
			return largeBuffers.Get().(*[]byte)
		default:
		}
	}
	return <-free
}

// intake reads a client's bytes, and counts them against a limit.
type intake struct {
	ctx   context.Context
	r     io.Reader
	limit int64 // maximum number of bytes to read; negative means no limit
	n     int64 // bytes read
}

// fill reads until b is full. It returns io.EOF when r has ended; b may then hold the last n bytes. With any
// other error, the bytes read do not count.
func (in *intake) fill(b []byte) (n int, err error) {
	idle := 0
	for n < len(b) {
		if err := in.ctx.Err(); err != nil {
			return 0, err
		}
		maxRead := len(b) - n
		if in.limit >= 0 && int64(maxRead) > in.limit-in.n {
			maxRead = int(in.limit-in.n) + 1 // one byte beyond the limit shows that r has more
		}
		m, err := in.r.Read(b[n : n+maxRead])
		n += m
		in.n += int64(m)
		if in.limit >= 0 && in.n > in.limit {
			return 0, fault.SizeInvalid.New("the request sends more than the %d bytes that it may send", in.limit)
		}
		if err == io.EOF {
			return n, io.EOF
		}
		if err != nil {
			return 0, fmt.Errorf("reading the bytes of an upload: %w", err)
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle == 100 {
			return 0, fmt.Errorf("reading the bytes of an upload: %w", io.ErrNoProgress)
		}
	}
	return n, nil
}

// outlet writes at increasing offsets, and starts writeback of the bytes behind.
type outlet struct {
	sys   *system
	f     *os.File
	off   int64 // offset of the next byte
	begun int64 // end of the bytes whose writeback was started
}

func (o *outlet) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := o.sys.writeAt(o.f, b, o.off)
	if err != nil {
		return writeError("writing an upload", err)
	}
	o.off += int64(n)
	if o.off-o.begun >= writebackEvery {
		durable.StartWriteback(o.f, o.begun, o.off-o.begun)
		o.begun = o.off
	}
	return nil
}
