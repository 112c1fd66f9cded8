package upstream

import (
	"context"
	"io"
	"sync"
)

// watched is the body of a request, from a source. It keeps the error of the source, which is not one of the registry,
// and lets no Read of the transport reach the source after close.
type watched struct {
	mu   sync.Mutex
	from io.ReadCloser // nil if it is closed
	left int64
	err  error
}

// open opens n bytes from an offset on.
func (w *watched) open(ctx context.Context, source Source, offset, n int64) error {
	from, err := source(ctx, offset)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from, w.left, w.err = from, n, err
	return err
}

func (w *watched) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *watched) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.from != nil {
		_ = w.from.Close() // it was only read
		w.from = nil
	}
}

// Read reads from the source. Content that ends before its size is an error of the source.
func (w *watched) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return 0, w.err
	case w.left == 0:
		return 0, io.EOF
	case w.from == nil:
		return 0, io.ErrClosedPipe
	}
	n, err := w.from.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	switch {
	case err == io.EOF && w.left > 0:
		w.err = io.ErrUnexpectedEOF
	case err != nil && err != io.EOF:
		w.err = err
	}
	return n, w.err
}
