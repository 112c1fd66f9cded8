package meta

import (
	"context"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

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
	if len(w.text) > 0 && w.line.Collect() {
		t.emit(w.text)
	}
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
		if w.line != nil {
			w.line.Settle(stored)
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
