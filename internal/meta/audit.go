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
	text      func() []byte
	written   atomic.Bool
	collected bool // for the transaction that runs now; only the committer touches it
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

// collect takes the line of a write that has succeeded into those of its group, once. It runs last in the write's
// savepoint, so that what the group has collected belongs to writes that are in the transaction.
func (c *committer) collect(l *AuditLine) {
	if l == nil || l.collected || l.written.Load() {
		return
	}
	if lines := l.text(); len(lines) > 0 {
		c.lines = append(c.lines, lines...)
		l.collected = true
	}
}

// carry writes what the group has collected into its transaction: one row, so that the line of a request costs the less
// the more there are.
func (c *committer) carry(t *tx) error {
	if len(c.lines) == 0 {
		return nil
	}
	c.lastAudit++
	if _, err := t.exec(`INSERT INTO audit_pending (id, lines) VALUES ($1, $2)`, c.lastAudit, c.lines); err != nil {
		return fmt.Errorf("writing audit lines: %w", err)
	}
	return nil
}

// resumeAudit reads the newest identifier. It comes before anything is deleted: from here on identifiers grow, also when
// the table is empty in between, so that nobody who has met one meets it again, or a lower one.
func (c *committer) resumeAudit(ctx context.Context) error {
	if err := c.stmts.row(ctx, `SELECT COALESCE(MAX(id), 0) FROM audit_pending`, nil, &c.lastAudit); err != nil {
		return fmt.Errorf("reading the last audit line: %w", err)
	}
	return nil
}

// settle says of each line that was collected whether it is there to stay.
func (c *committer) settle(group []*write, committed bool) {
	for _, w := range group {
		if w.audit != nil && w.audit.collected {
			w.audit.collected = false
			w.audit.written.Store(committed)
		}
	}
	c.lines = c.lines[:0]
}

// PendingAudit answers up to limit rows of lines whose identifier is above after, in the order of their commits. A row
// has the lines of all changes of one commit.
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

// DeleteAudit forgets the rows up to an identifier, for their lines are in the trail's files.
func (s *Store) DeleteAudit(ctx context.Context, through int64) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM audit_pending WHERE id <= $1`, through)
		return err
	})
}
