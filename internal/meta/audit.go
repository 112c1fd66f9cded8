package meta

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ecrin-dev/ecrin/internal/audit"
)

// AuditLine is what the audit trail says of one request. The first change that is made with it carries it: the change
// and the line are committed together or not at all. Safe for concurrent use.
type AuditLine struct {
	mu        sync.Mutex // held while make runs
	make      func() []byte
	written   atomic.Bool
	collected bool // for the transaction that runs now; only the writer touches it
}

// NewAuditLine makes a line whose text is made right before a change is queued, by the goroutine that makes the change.
// text returns one line or more, each with its newline; an empty text is not kept. It is called for each change until one
// has carried the line, never twice at once.
func NewAuditLine(text func() []byte) *AuditLine { return &AuditLine{make: text} }

// Written tells whether a change has carried the line. Whoever made it appends the line to the trail otherwise. It is true
// also when a change may have carried it: the connection was lost at the commit, and the outcome could not be found out.
func (l *AuditLine) Written() bool { return l.written.Load() }

// render makes the text for a change, nil when an earlier one has carried it. It keeps a mistake in the making of a line from
// ending more than this change.
func (l *AuditLine) render() (text []byte, err error) {
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
	return l.make(), nil
}

type auditKey struct{}

// WithAudit lets the first change that is made with the context carry a line.
func WithAudit(ctx context.Context, l *AuditLine) context.Context {
	return context.WithValue(ctx, auditKey{}, l)
}

func auditLine(ctx context.Context) *AuditLine {
	l, _ := ctx.Value(auditKey{}).(*AuditLine)
	return l
}

// outbox is what leaves a transaction besides its rows, collected from the writes of a group that have succeeded.
type outbox struct {
	lines  []byte   // of the audit trail: rows of the same transaction
	scopes []scope  // that the caches drop after the commit
	texts  []string // statements of the write that runs now, when inspect is set
}

// emit adds lines of the audit trail to the transaction.
func (t *tx) emit(lines []byte) { t.lines = append(t.lines, lines...) }

// carry emits the line of a write that has succeeded, once for each request. It runs last in the write's savepoint, so that
// what the group has collected belongs to writes that are in the transaction.
func (t *tx) carry(w *write) {
	if len(w.text) == 0 || w.line.collected || w.line.written.Load() {
		return
	}
	t.emit(w.text)
	w.line.collected = true
}

// insertLines writes what the group has emitted into its transaction: one row, so that the line of a request costs the less
// the more there are.
func (t *tx) insertLines(id int64, node string) error {
	if _, err := t.exec(`INSERT INTO audit_pending (id, node, lines) VALUES ($1, $2, $3)`, id, node, t.lines); err != nil {
		return fmt.Errorf("writing audit lines: %w", err)
	}
	return nil
}

// settle says of each line that was collected whether its change is stored.
func settle(group []*write, stored bool) {
	for _, w := range group {
		if w.line != nil && w.line.collected {
			w.line.collected = false
			w.line.written.Store(stored)
		}
	}
}

// PendingAudit answers up to limit rows of this process's lines whose identifier is above after, in the order of their
// commits. A row has the lines of all changes of one commit.
func (s *Store) PendingAudit(ctx context.Context, after int64, limit int) (all []audit.Pending, err error) {
	err = s.read.rows(ctx, `SELECT id, lines FROM audit_pending WHERE node = $1 AND id > $2 ORDER BY id LIMIT $3`, args{s.node, after, limit}, func(scan func(...any) error) error {
		var one audit.Pending
		if err := scan(&one.ID, &one.Lines); err != nil {
			return err
		}
		all = append(all, one)
		return nil
	})
	return all, err
}

// DeleteAudit forgets this process's rows up to an identifier, for their lines are in the trail's files.
func (s *Store) DeleteAudit(ctx context.Context, through int64) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM audit_pending WHERE node = $1 AND id <= $2`, s.node, through)
		return err
	})
}
