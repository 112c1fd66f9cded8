package meta

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ecrin-dev/ecrin/internal/audit"
)

// AuditLine is what the audit trail says of one request. The first change that is made with it carries it: the change
// and the line are committed together or not at all. Safe for concurrent use.
type AuditLine struct {
	text     func() []byte
	written  atomic.Bool
	inserted bool // in the transaction that runs now; only the committer touches it
}

// NewAuditLine makes a line whose text is made inside the transaction, after the change itself has succeeded. text
// answers one line or more, each with its newline; none at all keeps nothing. It may be called more than once, by
// another goroutine, while the writes of all wait: it must be quick and touch nothing that others change.
func NewAuditLine(text func() []byte) *AuditLine { return &AuditLine{text: text} }

// Written tells whether a change has carried the line. Whoever made it appends the line to the trail otherwise.
func (l *AuditLine) Written() bool { return l.written.Load() }

type auditKey struct{}

// WithAudit lets the first change that is made with the context carry a line.
func WithAudit(ctx context.Context, l *AuditLine) context.Context {
	return context.WithValue(ctx, auditKey{}, l)
}

func auditLine(ctx context.Context) *AuditLine {
	l, _ := ctx.Value(auditKey{}).(*AuditLine)
	return l
}

// carry writes the line of a write into its transaction, once.
func (c *committer) carry(t *tx, l *AuditLine) error {
	if l == nil || l.inserted || l.written.Load() {
		return nil
	}
	lines := l.text()
	if len(lines) == 0 {
		return nil
	}
	if c.lastAudit == 0 {
		// From here on they grow, also when the table is empty in between: nobody meets the same identifier twice.
		if _, err := t.one(`SELECT COALESCE(MAX(id), 0) FROM audit_pending`, nil, &c.lastAudit); err != nil {
			return fmt.Errorf("reading the last audit line: %w", err)
		}
	}
	c.lastAudit++
	if _, err := t.exec(`INSERT INTO audit_pending (id, lines) VALUES ($1, $2)`, c.lastAudit, lines); err != nil {
		return fmt.Errorf("writing the audit line: %w", err)
	}
	l.inserted = true
	return nil
}

// settle says of each line that was in the transaction whether it is there to stay.
func settle(group []*write, committed bool) {
	for _, w := range group {
		if w.audit != nil && w.audit.inserted {
			w.audit.inserted = false
			w.audit.written.Store(committed)
		}
	}
}

// PendingAudit answers the lines of up to limit changes whose identifier is above after, in the order of their commits.
func (s *Store) PendingAudit(ctx context.Context, after int64, limit int) (all []audit.Pending, err error) {
	err = s.read.rows(ctx, `SELECT id, lines FROM audit_pending WHERE id > $1 ORDER BY id LIMIT $2`, args{after, limit}, func(scan func(...any) error) error {
		var one audit.Pending
		if err := scan(&one.ID, &one.Lines); err != nil {
			return err
		}
		all = append(all, one)
		return nil
	})
	return all, err
}

// DeleteAudit forgets the lines of the changes up to an identifier, for they are in the trail's files.
func (s *Store) DeleteAudit(ctx context.Context, through int64) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM audit_pending WHERE id <= $1`, through)
		return err
	})
}
