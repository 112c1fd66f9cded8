package audit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// Line is what the trail says of one request. The first change of the store that is made with it also stores the line, in the
// same transaction: both are committed or neither is. Safe for concurrent use.
type Line struct {
	mu        sync.Mutex // held while text runs
	text      func() []byte
	written   atomic.Bool
	collected bool // by the transaction that runs now; only the store's writer uses it
}

// NewLine makes a Line whose text is made right before a change is queued, by the goroutine that makes the change. text returns
// one line or more, each with its newline; an empty text is not kept. It is called for each change until one has stored the
// line, never twice at once.
func NewLine(text func() []byte) *Line { return &Line{text: text} }

// Written reports whether a change has stored the line. If not, the caller of NewLine appends the line to the trail. It is true
// also when a change may have stored it: the connection was lost at the commit and the outcome is not known.
func (l *Line) Written() bool { return l.written.Load() }

// Render makes the text for a change, nil when an earlier change has stored it. A panic of the text function becomes the error.
func (l *Line) Render() (text []byte, err error) {
	if l.written.Load() {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while making an audit line: %v", p)
		}
	}()
	return l.text(), nil
}

// Collect reports whether the transaction that runs now shall store the line, which is so once. Only the store's writer calls it.
func (l *Line) Collect() bool {
	if l.collected || l.written.Load() {
		return false
	}
	l.collected = true
	return true
}

// Settle ends what Collect began: stored tells whether the transaction was committed. Only the store's writer calls it.
func (l *Line) Settle(stored bool) {
	if l.collected {
		l.collected = false
		l.written.Store(stored)
	}
}

type lineKey struct{}

// WithLine lets the first change that is made with the context store a line.
func WithLine(ctx context.Context, l *Line) context.Context {
	return context.WithValue(ctx, lineKey{}, l)
}

// LineOf gives the Line of a context, nil for none.
func LineOf(ctx context.Context) *Line {
	l, _ := ctx.Value(lineKey{}).(*Line)
	return l
}
