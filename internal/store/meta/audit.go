package meta

import (
	"context"
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// outbox is what a transaction produces besides its rows. It is collected from the writes of a group that have
// succeeded.
type outbox struct {
	lines  []byte   // lines of the audit trail, stored in the same transaction
	scopes []scope  // what the caches drop after the commit
	texts  []string // statements of the current write, when inspect is set
}

// emit adds lines of the audit trail to the transaction.
func (t *tx) emit(lines []byte) { t.lines = append(t.lines, lines...) }

// emitLine emits the audit line of a write that has succeeded, once for each request. It runs last in the savepoint
// of the write, so that the collected lines belong only to writes that the transaction contains.
func (t *tx) emitLine(w *write) {
	if len(w.text) > 0 && w.line.Collect() {
		t.emit(w.text)
	}
}

// insertLines inserts the emitted lines of the group into its transaction, as one row: the cost for each line falls
// with the number of lines.
func (t *tx) insertLines(id int64, node string) error {
	if _, err := t.exec(`INSERT INTO audit_pending (id, node, lines) VALUES ($1, $2, $3)`, id, node, t.lines); err != nil {
		return fmt.Errorf("writing audit lines: %w", err)
	}
	return nil
}

// settle records for the audit line of each write whether its change is stored.
func settle(group []*write, stored bool) {
	for _, w := range group {
		if w.line != nil {
			w.line.Settle(stored)
		}
	}
}

// PendingAudit returns up to limit rows of this process's audit lines with identifiers above after, in the order of
// their commits. A row has the lines of all changes of one commit.
func (s *Store) PendingAudit(ctx context.Context, after int64, limit int) (all []audit.Pending, err error) {
	err = s.read.rows(ctx, `SELECT id, lines FROM audit_pending WHERE node = $1 AND id > $2 ORDER BY id LIMIT $3`,
		args{s.node, after, limit}, func(scan func(...any) error) error {
			var one audit.Pending
			if err := scan(&one.ID, &one.Lines); err != nil {
				return err
			}
			all = append(all, one)
			return nil
		})
	return all, err
}

// DeleteAudit deletes this process's rows up to the identifier through. Their lines must be in the files of the
// trail.
func (s *Store) DeleteAudit(ctx context.Context, through int64) error {
	return s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM audit_pending WHERE node = $1 AND id <= $2`, s.node, through)
		return err
	})
}
