package audit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// Line is the audit line of one request. The first change of the store that is made with a Line also inserts
// the line in the same transaction: both are committed or neither is. A Line is safe for concurrent use.
type Line struct {
	mu        sync.Mutex // held while text runs
	text      func() []byte
	principal func() string // nil for none
	arn       func() string // nil for none
	written   atomic.Bool
	collected bool // the current transaction inserts the line; only the store's writer uses this field
}

// NewLine returns a Line. text returns one or more lines, each with its newline; an empty text is not stored.
// The goroutine that makes a change calls text immediately before the change is queued, for each change until
// one has stored the line. There is at most one call at a time.
func NewLine(text func() []byte) *Line { return &Line{text: text} }

// For sets the function that returns the principal of the request, as limits count it, and returns l. It must be called
// before l is in use.
func (l *Line) For(principal func() string) *Line {
	l.principal = principal
	return l
}

// By sets the ARN of the caller of the request, "" for one without credentials, and returns l.
func (l *Line) By(arn func() string) *Line {
	l.arn = arn
	return l
}

// ARN returns the ARN of the caller of the request, "" if it is not known or the client has no credentials. It is called as Principal
// is.
func (l *Line) ARN() string {
	if l.arn == nil {
		return ""
	}
	return l.arn()
}

// Principal returns the principal of the request, as limits count it; "" if it is not known or the client has no
// credentials. The goroutine that makes a change calls it before the change is queued.
func (l *Line) Principal() string {
	if l.principal == nil {
		return ""
	}
	return l.principal()
}

// Written reports whether a change has stored the line. If not, the caller of NewLine appends the line to the
// trail. It is also true if a change may have stored the line, because the connection was lost during the
// commit and the result is unknown.
func (l *Line) Written() bool { return l.written.Load() }

// Render returns the text for a change, or nil if an earlier change has stored the line. If the text function
// panics, Render returns an error.
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

// Collect reports whether the current transaction must store the line; it is true for one transaction at a
// time. Only the store's writer calls it.
func (l *Line) Collect() bool {
	if l.collected || l.written.Load() {
		return false
	}
	l.collected = true
	return true
}

// Settle ends the transaction for which Collect returned true; stored reports whether the transaction was
// committed. Only the store's writer calls it.
func (l *Line) Settle(stored bool) {
	if l.collected {
		l.collected = false
		l.written.Store(stored)
	}
}

type lineKey struct{}

// WithLine returns a context with l, which the first change that is made with the context stores.
func WithLine(ctx context.Context, l *Line) context.Context {
	return context.WithValue(ctx, lineKey{}, l)
}

// LineOf returns the Line of a context, or nil if there is none.
func LineOf(ctx context.Context) *Line {
	l, _ := ctx.Value(lineKey{}).(*Line)
	return l
}
