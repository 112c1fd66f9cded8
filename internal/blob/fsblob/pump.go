package fsblob

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/ecrin-dev/ecrin/internal/durable"
	"github.com/ecrin-dev/ecrin/internal/fault"
)

// The sizes were measured, see docs/design/blob-writing.md. An upload holds one small buffer, then at most maxBuffers
// large ones; all uploads together hold spareBuffers large ones beyond the first of each. So 32 uploads need at most
// 13 MiB and a thousand slow ones 165 MiB, and slow ones are not starved by fast ones.
const (
	smallBuffer    = 32 << 10
	largeBuffer    = 128 << 10
	maxBuffers     = 4
	spareBuffers   = 64
	writebackEvery = 1 << 20 // bytes written before the disk is told to start on them
)

var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }}
	largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}
)

// pump copies r to the file at f.start and into h, and returns the number of bytes. It reads at most one byte beyond
// limit. What fits into a small buffer is done in turn; beyond that reading, hashing and writing go on at the same
// time. All goroutines have ended when it returns; r is read by the caller's only.
// Errors: fault.SizeInvalid, fault.Unavailable (disk full), those of ctx and r.
func (s *Store) pump(ctx context.Context, f *uploadFile, h hasher, r io.Reader, limit int64) (int64, error) {
	in := &intake{ctx: ctx, r: r, limit: limit}
	b := smallBuffers.Get().(*[]byte)
	defer smallBuffers.Put(b)
	n, err := in.fill(*b)
	if err != nil && err != io.EOF {
		return 0, err
	}
	h.Write((*b)[:n])
	out := &outlet{f: f.File, off: f.start, begun: f.start}
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

// chunk is a large buffer on its way: filled by the reader, hashed, written, and free again.
type chunk struct {
	buf *[]byte
	n   int
}

// stream runs the three stages until in ends. A stage that has failed goes on emptying its channel, so that nobody
// blocks for ever.
func (s *Store) stream(in *intake, h hasher, out *outlet) (err error) {
	var (
		toHash  = make(chan chunk, maxBuffers)
		toWrite = make(chan chunk, maxBuffers)
		free    = make(chan *[]byte, maxBuffers)
		held    int         // buffers this call has taken from the pool
		failed  atomic.Bool // the writer has failed: reading on is in vain
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
	defer func() { // also when r panics, as the reader of a request's body may
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
			err = werr // the reason why reading was given up
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

// buffer gives a free buffer: one that came back, a new one while the call and the store have some left, else it
// waits for the writer. The first of a call is always given.
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

// intake reads a client's bytes and counts them against a limit.
type intake struct {
	ctx   context.Context
	r     io.Reader
	limit int64 // most bytes taken; negative is none
	n     int64 // bytes taken
}

// fill reads until b is full. The error is io.EOF when r has ended, and then b may hold its last bytes; with any other
// error what was read does not count.
func (in *intake) fill(b []byte) (n int, err error) {
	idle := 0
	for n < len(b) {
		if err := in.ctx.Err(); err != nil {
			return 0, err
		}
		most := len(b) - n
		if in.limit >= 0 && int64(most) > in.limit-in.n {
			most = int(in.limit-in.n) + 1 // one byte more tells a long reader from one that ends in time
		}
		m, err := in.r.Read(b[n : n+most])
		n += m
		in.n += int64(m)
		if in.limit >= 0 && in.n > in.limit {
			return 0, fault.SizeInvalid.New("the request sends more than the %d bytes it may", in.limit)
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

// outlet writes at increasing offsets and keeps the disk busy behind.
type outlet struct {
	f     *os.File
	off   int64 // where the next byte goes
	begun int64 // up to here the disk was told to start
}

func (o *outlet) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := o.f.WriteAt(b, o.off)
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
